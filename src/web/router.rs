//! Which address answers what, and the headers that every answer has.
//!
//! A part of the API is a folder with its routes and a line here.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::refusal::Refusal;
use super::shared::{Around, Shared};
use super::{access, health, live, metrics, pages, series};

/// Bytes of a request's body, where a route does not say otherwise.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The whole site.
pub(super) fn router(around: &Around) -> Router {
    let shared = Shared::new(around.clone());
    Router::new()
        .merge(pages::routes())
        .nest("/api/v1", api())
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response_with_state(shared.clone(), with_headers))
        .with_state(shared)
}

/// What pages and programs ask: JSON.
fn api() -> Router<Shared> {
    Router::new()
        .merge(access::routes())
        .merge(live::routes())
        .merge(series::routes())
        .fallback(no_such_question)
        .method_not_allowed_fallback(no_such_method)
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

/// What a browser shall and shall not do with what is sent: believe the content type, load nothing from elsewhere, run no script
/// that is not a file of the site, be framed by nobody, and ask anew each time.
async fn with_headers(State(_): State<Shared>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
