//! What is asked with every question about a span of time: `from`, `to`, `points`, `what`; and who may have an answer.

use axum::http::StatusCode;
use postgres::Client;
use serde::Deserialize;

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::refusal::Refusal;
use crate::clock;
use crate::store::series::{self, Span, Subject, Window};

/// The longest span that is answered.
const SPAN_DAYS_MAX: i64 = 5 * 366;
/// Without `from`.
const SPAN_DAYS: i64 = 1;
/// Longer spans are answered by those who take their time, so that they keep no page waiting.
const QUICK_DAYS_MAX: i64 = 45;
const DAY_US: i64 = 86_400_000_000;
/// Least and most points of a line.
const POINTS: (usize, usize) = (100, 20_000);

/// The parameters, as they were sent.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) points: Option<String>,
    pub(super) what: Option<String>,
    pub(super) before: Option<String>,
    pub(super) limit: Option<String>,
}

impl Asked {
    /// The span; without `to` until now, without `from` a day.
    pub(super) fn span(&self) -> Result<Span, Refusal> {
        let until_us = match &self.to {
            Some(text) => time("to", text)?,
            None => clock::wall_us(),
        };
        let from_us = match &self.from {
            Some(text) => time("from", text)?,
            None => until_us.saturating_sub(SPAN_DAYS * DAY_US),
        };
        if from_us >= until_us {
            return Err(Refusal::field("from", "must be before `to`"));
        }
        if until_us - from_us > SPAN_DAYS_MAX * DAY_US {
            let text = format!("must be at most {SPAN_DAYS_MAX} days before `to`");
            return Err(Refusal::field("from", text));
        }
        Ok(Span { from_us, until_us })
    }

    /// How many points are wanted.
    pub(super) fn points(&self, usual: usize) -> Result<usize, Refusal> {
        let Some(text) = &self.points else {
            return Ok(usual);
        };
        let (min, max) = POINTS;
        text.parse()
            .ok()
            .filter(|points| (min..=max).contains(points))
            .ok_or_else(|| {
                Refusal::field(
                    "points",
                    format!("{text:?} is no number from {min} to {max}"),
                )
            })
    }
}

/// Who answers this span.
pub(super) fn pool(span: Span) -> Pool {
    if span.until_us - span.from_us > QUICK_DAYS_MAX * DAY_US {
        Pool::Slow
    } else {
        Pool::Quick
    }
}

/// A time as it is sent, RFC 3339.
pub(super) fn time(name: &'static str, text: &str) -> Result<i64, Refusal> {
    // A plus sign that was sent as it is arrives as a space.
    let repaired = match text.rsplit_once(' ') {
        Some((time, zone)) if time.len() >= 19 => format!("{time}+{zone}"),
        _ => text.to_owned(),
    };
    let parsed: Option<jiff::Timestamp> = repaired.parse().ok();
    parsed.map(jiff::Timestamp::as_microsecond).ok_or_else(|| {
        let right = "is no time like 2026-11-24T15:30:00Z";
        Refusal::field(name, format!("{text:?} {right}"))
    })
}

/// A number in the address.
pub(super) fn id(text: &str) -> Result<i32, Refusal> {
    text.parse().map_err(|_| no_asset(&text))
}

fn no_asset(id: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is no asset {id}, or you may not see it"),
    )
}

/// The asset with its fittings in the span, if the viewer may see it.
pub(super) fn asset(
    client: &mut Client,
    viewer: &Viewer,
    id: i32,
    span: Span,
) -> Result<Subject, Refusal> {
    series::asset(client, id, span)?
        .filter(|subject| subject.group_id.is_some_and(|group| viewer.sees(group)))
        .ok_or_else(|| no_asset(&id))
}

/// Microseconds of silence that are usual for a window's device after a record: three times its usual interval, and never less than
/// the group's longest gap.
pub(super) fn limit_us(subject: &Subject, window: Option<&Window>, moves: bool) -> i64 {
    let usual_s = window.and_then(|window| {
        if moves {
            window.contact_moving_s
        } else {
            window.contact_parked_s
        }
    });
    let limit_s = usual_s
        .map_or(0.0, |usual| f64::from(usual) * 3.0)
        .max(subject.gap_max_s);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "days at most; a float's cast saturates"
    )]
    let us = (limit_s * 1e6) as i64;
    us
}

/// The end of a span as far as there can be records.
pub(super) fn known_until_us(span: Span) -> i64 {
    span.until_us.min(clock::wall_us()).max(span.from_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str, points: &str) -> Asked {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Asked {
            from: some(from),
            to: some(to),
            points: some(points),
            ..Asked::default()
        }
    }

    #[test]
    fn times_are_understood_as_rfc_3339_has_them() {
        for text in [
            "2026-01-01T01:00:00+01:00",
            "2026-01-01T01:00:00 01:00",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.000000Z",
        ] {
            assert_eq!(time("from", text).unwrap(), 1_767_225_600_000_000, "{text}");
        }
        for text in ["", "yesterday", "2026-01-01", "1767225600"] {
            let refusal = time("from", text).unwrap_err();
            assert_eq!(refusal.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        }
    }

    #[test]
    fn spans_and_points_have_bounds() {
        let end = "2026-01-01T00:00:00Z";
        assert!(asked("2021-01-01T00:00:00Z", end, "").span().is_ok());
        assert!(asked("2020-12-01T00:00:00Z", end, "").span().is_err());
        assert!(asked(end, end, "").span().is_err());
        for (points, expected) in [
            ("", Some(7)),
            ("100", Some(100)),
            ("20000", Some(20_000)),
            ("99", None),
            ("20001", None),
            ("x", None),
        ] {
            assert_eq!(asked("", "", points).points(7).ok(), expected, "{points}");
        }
    }
}
