//! What is sent with a question: JSON in its body, parameters in its address. What cannot be understood is refused in the form of the API.

use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

/// What stands in the address itself, as the id in `/assets/12`. What cannot be one is nowhere.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<At<T>, Refusal> {
        match Path::<T>::from_request_parts(parts, shared).await {
            Ok(Path(place)) => Ok(At(place)),
            Err(_) => Err(Refusal::not_found(
                "there is nothing at this address: a number in it is none",
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

/// A page of a list.
#[derive(Serialize)]
pub(super) struct Paged<T> {
    items: Vec<T>,
    /// Of the whole list.
    total: i64,
    page: u32,
    per_page: u32,
}

impl Page {
    /// As it was asked for.
    pub(super) fn new(page: Option<u32>, per_page: Option<u32>) -> Page {
        Page { page, per_page }
    }

    /// This page of `all`.
    pub(super) fn of<T>(self, all: Vec<T>) -> Paged<T> {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let offset = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        let size = usize::try_from(self.size()).unwrap_or(usize::MAX);
        self.with(all.into_iter().skip(offset).take(size).collect(), total)
    }

    /// This page, which has these `items` of `total`.
    pub(super) fn with<T>(self, items: Vec<T>, total: i64) -> Paged<T> {
        Paged {
            items,
            total,
            page: self.number(),
            per_page: self.size(),
        }
    }

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

/// A time as the API says it: RFC 3339, UTC.
pub(super) fn time(at: SystemTime) -> String {
    // PostgreSQL's times go further than any calendar; -infinity and the like are nobody's.
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

/// A time as somebody gave it for the field `name`.
pub(super) fn parse_time(name: &'static str, text: &str) -> Result<SystemTime, Refusal> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(SystemTime::from).map_err(|_| {
        Refusal::field(
            name,
            format!("{text:?} is no time; write for example 2026-11-24T17:00:00Z"),
        )
    })
}
