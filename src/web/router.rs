//! Which address answers what, and the headers that every answer has.
//!
//! Everything is read: GET and HEAD, whatever else is asked gets 405. A new page is a line here and a function elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::shared::Shared;
use super::{health, home, metrics};
use crate::hub::Hub;

/// Bytes of a request's body; nothing that is asked today has one.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The whole site.
pub(super) fn router(hub: &Arc<Hub>) -> Router {
    let shared = Shared {
        hub: Arc::clone(hub),
    };
    Router::new()
        .route("/", get(home::page))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(with_headers))
        .with_state(shared)
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

/// What a browser shall and shall not do with what is sent: believe the content type, load nothing from elsewhere, be framed by
/// nobody, and ask anew each time.
async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
