//! Times as texts: the moment in UTC, and what clocks showed in the report's zone.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::clock::utc;
use crate::store::report::rows::Moment;

/// As `utc`, of a track's points; what no calendar has is the year 0.
pub(super) fn point(time: SystemTime) -> String {
    utc(time).unwrap_or_else(|| "0000-01-01T00:00:00Z".to_owned())
}

/// `2026-11-01T10:00:00+01:00`; `None` outside of the calendar.
pub fn with_offset(moment: Moment) -> Option<String> {
    let local = utc(moment.local)?;
    let local = local.strip_suffix('Z')?;
    let (sign, offset) = match moment.local.duration_since(moment.at) {
        Ok(ahead) => ('+', ahead),
        Err(behind) => ('-', behind.duration()),
    };
    let minutes = (offset + Duration::from_secs(30)).as_secs() / 60;
    Some(format!(
        "{local}{sign}{:02}:{:02}",
        minutes / 60,
        minutes % 60
    ))
}

/// `2026-11-01 10:00:00` on the clocks of the report's zone; `None` outside of the calendar.
pub fn local(moment: Moment) -> Option<String> {
    let local = Timestamp::try_from(moment.local).ok()?;
    Some(local.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: u64, ahead_s: i64) -> Moment {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        let local = if ahead_s < 0 {
            at - Duration::from_secs(ahead_s.unsigned_abs())
        } else {
            at + Duration::from_secs(ahead_s.unsigned_abs())
        };
        Moment { at, local }
    }

    #[test]
    fn the_offset_of_the_zone_is_told() {
        let texts = [3600, 0, -12_600].map(|ahead| with_offset(moment(86_400, ahead)).unwrap());
        assert_eq!(
            texts,
            [
                "1970-01-02T01:00:00+01:00",
                "1970-01-02T00:00:00+00:00",
                "1970-01-01T20:30:00-03:30"
            ]
        );
        assert_eq!(local(moment(86_400, 3600)).unwrap(), "1970-01-02 01:00:00");
    }
}
