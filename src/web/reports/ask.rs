//! What reports and exports are asked by: times, assets, a format; and what their answers have in common.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use postgres::Client;
use serde_json::Value;

use super::super::refusal::Refusal;
use crate::clock::utc;
use crate::export::ExportError;
use crate::store::StoreError;
use crate::store::audit::{self, Who};
use crate::store::report::Span;
use crate::store::report::choice::Missing;

/// Numbers in a parameter: `3,17,5`.
pub(super) fn numbers(name: &'static str, text: Option<&str>) -> Result<Vec<i32>, Refusal> {
    let words = text.unwrap_or_default().split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(|word| {
            word.parse().map_err(|_| {
                Refusal::field(
                    name,
                    format!("{word:?} is no number; numbers with commas between them are"),
                )
            })
        })
        .collect()
}

/// Both times, as they were asked for.
pub(super) fn times<'a>(
    from: Option<&'a str>,
    to: Option<&'a str>,
) -> Result<(&'a str, Option<&'a str>), Refusal> {
    let given = |text: Option<&'a str>| text.filter(|text| !text.trim().is_empty());
    let from = given(from).ok_or_else(|| {
        Refusal::field(
            "from",
            "is needed: 2026-11-01T00:00:00Z, a day (2026-11-01), or a word like yesterday",
        )
    })?;
    Ok((from, given(to)))
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Refusal {
        match error {
            ExportError::Store(error) => error.into(),
            // Whoever read is gone, or there is no more memory for a sheet.
            ExportError::Write(_) | ExportError::Sheet(_) => Refusal::broken(),
        }
    }
}

/// What is not there for whoever asks.
pub(super) fn missing(missing: Missing) -> Refusal {
    match missing {
        Missing::Asset(id) => Refusal::not_found(format!("there is no asset {id}")),
        Missing::Group(id) => Refusal::not_found(format!("there is no group {id}")),
    }
}

/// Notes that somebody took data away.
pub(super) fn note(client: &mut Client, who: &Who, what: &Value) -> Result<(), StoreError> {
    audit::note(client, who, "exported", what)
}

/// Headers of a file. The name is made of letters, digits and hyphens, whatever the asset is called.
pub(super) fn file(content_type: &'static str, name: &str) -> [(HeaderName, HeaderValue); 2] {
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{}\"", plain(name)));
    [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (
            CONTENT_DISPOSITION,
            disposition.unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ]
}

/// A name for a file: `trackport-daily-2026-11-01-2026-11-30`, the second day being the last one of the span as UTC has it.
pub(super) fn file_name(what: &str, span: Span, ending: &str) -> String {
    let last = span.to - std::time::Duration::from_secs(1);
    let day = |time| utc(time).map_or_else(String::new, |text| text.chars().take(10).collect());
    format!("trackport-{what}-{}-{}.{ending}", day(span.from), day(last))
}

fn plain(name: &str) -> String {
    let letters = name.chars().map(|one| match one {
        one if one.is_ascii_alphanumeric() || matches!(one, '.' | '-') => one,
        _ => '_',
    });
    letters.take(150).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_cannot_end_the_header() {
        assert_eq!(
            plain("Van \"7\"\r\nSet-Cookie: a=b/../x.gpx"),
            "Van__7___Set-Cookie__a_b_.._x.gpx"
        );
    }

    #[test]
    fn numbers_come_with_commas() {
        assert_eq!(numbers("asset", Some("3, 17")).unwrap(), [3, 17]);
        assert_eq!(numbers("asset", None).unwrap(), [0_i32; 0]);
        let refused = numbers("asset", Some("3;17")).unwrap_err();
        assert!(refused.text.contains("asset"), "{refused:?}");
    }
}
