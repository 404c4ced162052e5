//! Points in time as people type them.

use std::time::SystemTime;

/// Reads `2026-11-24T08:30:00Z` or a time with another offset.
///
/// # Errors
/// What would be right. A time without its zone is refused: the server's and the reader's may differ.
pub(super) fn parse(text: &str) -> Result<SystemTime, String> {
    text.trim()
        .parse::<jiff::Timestamp>()
        .map(SystemTime::from)
        .map_err(|_| {
            format!(
                "{text:?} is no time with its zone; write for example 2026-11-24T08:30:00Z or 2026-11-24T09:30:00+01:00"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_its_zone() {
        let utc = parse("2026-11-24T08:30:00Z").unwrap();
        assert_eq!(parse("2026-11-24T09:30:00+01:00"), Ok(utc));
        assert_eq!(parse("2026-11-24 08:30Z"), Ok(utc));
        assert!(parse("2026-11-24T08:30:00").unwrap_err().contains("zone"));
    }
}
