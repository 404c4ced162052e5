//! What is sent with a question: JSON in its body, parameters in its address. What cannot be understood is refused in the form of the API.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use super::shared::Shared;

/// Items of a page, where nobody says more.
const PER_PAGE: u32 = 100;
/// Items of a page at most.
const PER_PAGE_MAX: u32 = 1000;
/// The last page that can be asked for: further back, a filter is better.
const PAGE_MAX: u32 = 1_000_000;

/// The body as JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Shared) -> Result<Body<T>, Refusal> {
        match Json::<T>::from_request(request, shared).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(JsonRejection::JsonDataError(error)) => Err(Refusal::invalid(error.body_text())),
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is larger than this address takes",
            )),
            Err(error) => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!(
                    "{}; send JSON with content-type: application/json",
                    error.body_text()
                ),
            )),
        }
    }
}

/// Parameters of the address.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Asked<T>, Refusal> {
        match Query::<T>::from_request_parts(parts, shared).await {
            Ok(Query(asked)) => Ok(Asked(asked)),
            Err(error) => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!(
                    "{}; /api/v1/openapi.json says what is understood",
                    error.body_text()
                ),
            )),
        }
    }
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Page {
    page: Option<u32>,
    per_page: Option<u32>,
}

impl Page {
    /// From 1 on.
    pub(super) fn number(self) -> u32 {
        self.page.unwrap_or(1).clamp(1, PAGE_MAX)
    }

    /// Items of it.
    pub(super) fn size(self) -> u32 {
        self.per_page.unwrap_or(PER_PAGE).clamp(1, PER_PAGE_MAX)
    }

    /// Items before it.
    pub(super) fn offset(self) -> i64 {
        i64::from(self.number() - 1) * i64::from(self.size())
    }
}
