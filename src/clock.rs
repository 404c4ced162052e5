//! The two clocks: a monotonic one for deadlines and the wall clock for what is stored.
//!
//! Only threads read them; protocol and policy code gets times as arguments.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds on the process's monotonic clock.
pub type Millis = u64;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process first asked.
pub fn now() -> Millis {
    // Starting at one day leaves room for subtracting a time-out from a time shortly after the start.
    millis(START.elapsed()) + 86_400_000
}

/// Microseconds on the process's monotonic clock.
pub type Micros = u64;

/// Microseconds since the process first asked, for what takes less than a millisecond.
pub fn now_us() -> Micros {
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds since 1970-01-01 00:00:00 UTC on the wall clock; 0 before.
pub fn wall_us() -> i64 {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        });
    #[cfg(feature = "faults")]
    let wall = (wall + fault::shift_us()).max(0);
    wall
}

/// A wall clock that is wrong, for the tests.
#[cfg(feature = "faults")]
mod fault {
    use std::env;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::LazyLock;

    /// Holds the seconds by which the clock is ahead; none of them while it is not there.
    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| env::var_os("TRACKPORT_CLOCK_SHIFT_FILE").map(PathBuf::from));

    pub(super) fn shift_us() -> i64 {
        let text = FILE.as_ref().and_then(|file| fs::read_to_string(file).ok());
        text.and_then(|text| text.trim().parse::<i64>().ok())
            .map_or(0, |seconds| seconds * 1_000_000)
    }
}

/// A wall-clock time in microseconds as the type that the database driver takes.
pub fn system_time(us: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

/// A time of the database in microseconds since 1970, negative before.
pub fn us_since_1970(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

/// A time of the database in UTC, `2026-11-23T17:04:05Z`, with milliseconds where there are any; `None` outside of the calendar.
pub fn utc(at: SystemTime) -> Option<String> {
    let at = jiff::Timestamp::try_from(at).ok()?;
    Some(match at.subsec_millisecond() {
        0 => format!("{at:.0}"),
        _ => format!("{at:.3}"),
    })
}

/// A wall-clock time as people read it: `2026-11-23T17:04:05Z`.
pub fn text(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us)
        .map_or_else(|_| us.to_string(), |time| format!("{time:.0}"))
}

/// A duration in whole microseconds.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
