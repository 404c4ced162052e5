//! What an asset recorded: tracks, charts, events and single records of any span of time.
//!
//! `question.rs` is what all of these are asked with, `track.rs`, `charts.rs`, `elements.rs`, `events.rs` and `records.rs` are the
//! answers. They read rows in the order of time and thin while they read, so that a year costs no more memory than a day: `values.rs`
//! thins values, `way.rs` fixes, `gaps.rs` finds where nothing was recorded.
//!
//! Invariants: an asset of a group that whoever asks does not see does not exist for them; a sensor's error is never a value; a line
//! never joins what a gap, a fault or another device parts.

mod charts;
mod elements;
mod events;
mod gaps;
mod question;
mod records;
mod track;
mod values;
mod way;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postgres::Client;
use serde::{Serialize, Serializer};

use super::access::Viewer;
use super::ask::Pool;
use super::refusal::Refusal;
use super::shared::Shared;
use super::times::rfc3339;
use crate::store::series::{Span, Subject};
use gaps::Gap;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/assets/{id}/track", get(track::track))
        .route("/assets/{id}/series", get(charts::series))
        .route("/assets/{id}/elements", get(elements::elements))
        .route("/assets/{id}/events", get(events::events))
        .route("/assets/{id}/records", get(records::of_asset))
        .route("/devices/{imei}/records", get(records::of_device))
}

/// What `read` finds in the span of an asset that the viewer may see.
async fn about_asset<T: Serialize>(
    shared: &Shared,
    viewer: Viewer,
    id: i32,
    span: Span,
    pool: Pool,
    read: impl FnOnce(&mut Client, &Subject) -> Result<T, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let answer = shared.desk.ask(pool, move |client: &mut Client| {
        let subject = question::asset(client, &viewer, id, span)?;
        json(&read(client, &subject)?)
    });
    Ok(response(answer.await?))
}

/// An answer made by the thread that asked the database: JSON of up to some megabytes is not written by the thread that serves all.
fn json(answer: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(answer).map_err(|_| Refusal::broken())
}

/// The same as a response.
fn response(json: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(json)).into_response()
}

/// Microseconds since 1970 as seconds, with a fraction only where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch(i64);

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.div_euclid(1000);
        if ms % 1000 == 0 {
            return serializer.serialize_i64(ms / 1000);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of the next 200 000 years are exact"
        )]
        serializer.serialize_f64(ms as f64 / 1000.0)
    }
}

/// A number, with a fraction only where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here a double counts whole numbers without leaving one out.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is whole and small enough"
            )]
            return serializer.serialize_i64(self.0 as i64);
        }
        serializer.serialize_f64(self.0)
    }
}

/// A gap in the answer.
#[derive(Debug, Serialize)]
struct GapShown {
    from: String,
    to: String,
}

fn shown(gaps: &[Gap]) -> Vec<GapShown> {
    gaps.iter()
        .map(|gap| GapShown {
            from: rfc3339(gap.from_us),
            to: rfc3339(gap.until_us),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_have_no_needless_digits() {
        let text = |value: &dyn erased::Json| value.json();
        assert_eq!(text(&Epoch(1_767_225_600_000_000)), "1767225600");
        assert_eq!(text(&Epoch(1_767_225_600_250_000)), "1767225600.25");
        assert_eq!(text(&Number(-3.0)), "-3");
        assert_eq!(text(&Number(23.5)), "23.5");
    }

    mod erased {
        pub trait Json {
            fn json(&self) -> String;
        }
        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> String {
                serde_json::to_string(self).unwrap()
            }
        }
    }
}
