//! Times as the API says and takes them: RFC 3339, UTC.

use std::time::SystemTime;

use super::super::refusal::Refusal;

pub(super) fn time(at: SystemTime) -> String {
    // The database's own clock wrote them, so they are within any calendar.
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

/// A time as somebody gave it for the field `name`.
pub(super) fn parse_time(name: &'static str, text: &str) -> Result<SystemTime, Refusal> {
    let time: Result<jiff::Timestamp, _> = text.trim().parse();
    time.map(SystemTime::from).map_err(|_| {
        Refusal::field(
            name,
            format!("{text:?} is no time; write for example 2026-11-24T17:00:00Z"),
        )
    })
}
