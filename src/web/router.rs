//! Which address answers what, and the headers that every answer has.
//!
//! A part of the API is a folder with its routes and a line here.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::access::Peer;
use super::refusal::Refusal;
use super::shared::{Around, Shared};
use super::{access, health, live, manage, metrics, openapi, pages, reports, series};
use crate::conf::Http;

/// Bytes of a request's body, where a route does not say otherwise.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The whole site.
pub(super) fn router(around: &Around) -> Router {
    let shared = Shared::new(around.clone());
    Router::new()
        .merge(pages::routes())
        .nest("/api/v1", api(&shared))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(shared.clone(), access::gate))
        .layer(from_fn_with_state(Manners::new(&around.http), with_headers))
        .with_state(shared)
}

/// What pages and programs ask: JSON.
fn api(shared: &Shared) -> Router<Shared> {
    Router::new()
        .merge(access::routes())
        .merge(reports::routes())
        .merge(manage::routes())
        .merge(openapi::routes())
        .merge(live::routes())
        .merge(series::routes())
        .fallback(no_such_question)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(shared.clone(), access::admit))
}

async fn no_such_question() -> Refusal {
    Refusal::not_found("there is nothing at this address; /api/v1/openapi.json says what there is")
}

async fn no_such_method(method: Method) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} is not for this address; /api/v1/openapi.json says what is"),
    )
}

async fn nothing_here(method: Method) -> Response {
    if matches!(method, Method::GET | Method::HEAD) {
        (
            StatusCode::NOT_FOUND,
            "Nothing is here; / says what there is.\n",
        )
            .into_response()
    } else {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    }
}

/// What a browser shall and shall not do with what is sent: believe the content type, load nothing from elsewhere but the map's
/// pictures, run no script that is not a file of the site, be framed by nobody, and ask anew each time.
#[derive(Clone)]
struct Manners {
    always: Arc<Vec<(HeaderName, HeaderValue)>>,
}

impl Manners {
    fn new(http: &Http) -> Manners {
        let tiles = http.tiles.as_ref().map(|tiles| tiles.origin.as_str());
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{}{}; connect-src 'self'; \
             font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            if tiles.is_some() { " " } else { "" },
            tiles.unwrap_or_default(),
        );
        let named = HeaderName::from_static;
        let fixed = [
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (named("cross-origin-opener-policy"), "same-origin"),
            (named("cross-origin-resource-policy"), "same-origin"),
            (
                named("permissions-policy"),
                "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            ),
        ];
        let mut always: Vec<_> = fixed
            .into_iter()
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect();
        // The conf lets no sign into it that a header could not have.
        always.extend(
            HeaderValue::from_str(&policy)
                .ok()
                .map(|policy| (CONTENT_SECURITY_POLICY, policy)),
        );
        Manners {
            always: Arc::new(always),
        }
    }
}

async fn with_headers(State(manners): State<Manners>, request: Request, next: Next) -> Response {
    let is_tls = request
        .extensions()
        .get::<Peer>()
        .is_some_and(|peer| peer.is_tls);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in manners.always.iter() {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if is_tls {
        let a_year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, a_year);
    }
    response
}
