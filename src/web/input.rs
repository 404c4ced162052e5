//! What a request brings, taken in or refused as the API refuses: JSON bodies, query parameters, parts of the path, pages of a list.
//!
//! The extractors of the library answer in plain text; these say in the API's own shape which field is wrong and what would be right.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;

use super::refusal::Refusal;
use super::shared::Shared;

/// Items of a page, where nobody says how many.
const PER_PAGE: u32 = 100;
/// Items of a page at most.
const PER_PAGE_MAX: u32 = 1000;

/// A body of JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Shared) -> Result<Sent<T>, Refusal> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_json = kind
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "the body must be JSON: Content-Type: application/json",
            ));
        }
        let bytes = body(request).await?;
        let read = serde_json::from_slice(&bytes);
        read.map(Sent).map_err(|error| match error.classify() {
            Category::Data => Refusal::invalid(format!("the body: {error}")),
            _ => Refusal::new(
                StatusCode::BAD_REQUEST,
                "bad_json",
                format!("the body is no JSON: {error}"),
            ),
        })
    }
}

/// The whole body, as long as the route allows.
///
/// # Errors
/// 413 where it is longer, 400 where it breaks off.
pub(super) async fn body(request: Request) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, &()).await.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let text = "the body is longer than this address takes; send it in parts";
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
        } else {
            Refusal::new(StatusCode::BAD_REQUEST, "cut_off", "the body breaks off")
        }
    })
}

/// Parameters behind the `?`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Asked<T>, Refusal> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Asked(query.0))
            .map_err(|error| {
                let text = error.body_text();
                let text = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text);
                Refusal::invalid(format!("a parameter: {text}"))
            })
    }
}

/// What stands in the path, for example a number. What is none names nothing, so it is not found.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Named<T>, Refusal> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, shared).await;
        path.map(|path| Named(path.0)).map_err(|error| match error {
            PathRejection::FailedToDeserializePathParams(error) => {
                Refusal::not_found(format!("there is no such thing: {}", error.body_text()))
            }
            _ => Refusal::broken(),
        })
    }
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Page {
    #[serde(default, deserialize_with = "number")]
    page: Option<u32>,
    #[serde(default, deserialize_with = "number")]
    per_page: Option<u32>,
}

/// `serde(flatten)` hands parameters on as texts.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is no page: pages and their sizes are whole numbers from 1"
        ))
    })
}

/// A page that there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    page: u32,
    per_page: u32,
}

impl Page {
    /// # Errors
    /// 422 with the bounds.
    pub(super) fn slice(self) -> Result<Slice, Refusal> {
        self.slice_of(PER_PAGE_MAX)
    }

    /// As `slice`, for a list with heavy items.
    ///
    /// # Errors
    /// 422 with the bounds.
    pub(super) fn slice_of(self, per_page_max: u32) -> Result<Slice, Refusal> {
        let page = self.page.unwrap_or(1);
        let per_page = self.per_page.unwrap_or(PER_PAGE.min(per_page_max));
        if page == 0 {
            return Err(Refusal::field("page", "pages are counted from 1"));
        }
        if !(1..=per_page_max).contains(&per_page) {
            let text = format!("a page has 1 to {per_page_max} items");
            return Err(Refusal::field("per_page", text));
        }
        Ok(Slice { page, per_page })
    }
}

impl Slice {
    /// Items before the page.
    pub(super) fn offset(self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.per_page)
    }

    /// Items of the page.
    pub(super) fn limit(self) -> i64 {
        i64::from(self.per_page)
    }

    /// The answer with these items of so many in all.
    pub(super) fn of<T>(self, items: Vec<T>, total: i64) -> Paged<T> {
        Paged {
            items,
            total,
            page: self.page,
            per_page: self.per_page,
        }
    }

    /// The answer from a list that is short enough to be read as a whole.
    pub(super) fn part<T, U: From<T>>(self, all: Vec<T>) -> Paged<U> {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let place = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let items = all.into_iter().skip(place(self.offset()));
        let items = items.take(place(self.limit())).map(U::from);
        self.of(items.collect(), total)
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Paged<T> {
    items: Vec<T>,
    total: i64,
    page: u32,
    per_page: u32,
}

/// A field that may be absent (leave it), null (take it away) or a value.
pub(super) fn nullable<'de, T, D>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_cannot_be_is_refused_with_its_bounds() {
        let slice = |page, per_page| Page { page, per_page }.slice();
        let third = slice(Some(3), Some(50)).unwrap();
        assert_eq!((third.offset(), third.limit()), (100, 50));
        let last = slice(Some(u32::MAX), Some(1000)).unwrap();
        assert!(last.offset() > 4_000_000_000_000);
        assert_eq!(slice(Some(0), None).unwrap_err().fields[0].0, "page");
        for n in [0, 1001] {
            let refusal = slice(None, Some(n)).unwrap_err();
            assert!(refusal.text.contains("1 to 1000"), "{}", refusal.text);
        }
    }
}
