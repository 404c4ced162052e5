//! Times as the API says and takes them: RFC 3339 in UTC, to the millisecond.

use std::time::SystemTime;

use serde_json::Value;

use super::refusal::Refusal;
use crate::clock;

/// Of the database's clock.
pub(super) fn time(at: SystemTime) -> String {
    clock::utc(at).unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
}

/// The same of what may not have happened.
pub(super) fn time_or_null(at: Option<SystemTime>) -> Value {
    at.map_or(Value::Null, |at| time(at).into())
}

/// Of microseconds since 1970.
pub(super) fn rfc3339(us: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(us.div_euclid(1000));
    time.map_or_else(|_| us.to_string(), |time| time.to_string())
}

/// A time as somebody gave it for the field `name`.
///
/// # Errors
/// 422 with an example.
pub(super) fn parse_time(name: &'static str, text: &str) -> Result<SystemTime, Refusal> {
    let time: Result<jiff::Timestamp, _> = text.trim().parse();
    time.map(SystemTime::from).map_err(|_| {
        Refusal::field(
            name,
            format!("{text:?} is no time; write for example 2026-11-24T17:00:00Z"),
        )
    })
}
