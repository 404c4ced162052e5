//! Whether the wall clock can be believed: its steps, and what others say against it.
//!
//! Nothing is removed by its age, and no partition is made, for a time that only this machine's clock tells of. Records are
//! stored meanwhile as ever: the default partition takes every one.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::store::partition::Partition;
use crate::store::witness::Witnesses;

/// A step of the wall clock that is worth a line.
const STEP_MIN_US: i64 = 60_000_000;

/// A fleet may be quiet for so long before somebody is to look why.
const QUIET_MAX: Duration = Duration::from_secs(7 * 86_400);

/// What the keeper knows about the clock.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The wall clock less the monotonic one, when they were last looked at.
    offset_us: Option<i64>,
    is_apart: bool,
    is_held: bool,
}

impl Watch {
    /// By how much the wall clock was set since the last call, in microseconds; 0: it was not.
    pub(super) fn step(&mut self, now: Millis, wall_us: i64) -> i64 {
        let offset_us = wall_us
            - i64::try_from(now)
                .unwrap_or(i64::MAX / 1000)
                .saturating_mul(1000);
        let by_us = self.offset_us.map_or(0, |before| offset_us - before);
        self.offset_us = Some(offset_us);
        if by_us.abs() < STEP_MIN_US {
            return 0;
        }
        facts::say(
            Fact::ClockStepped,
            format_args!("by_s={} now={}", by_us / 1_000_000, clock::text(wall_us)),
        );
        by_us
    }

    /// Whether partitions may be made for `wall`; if not, that is told.
    pub(super) fn may_make(&mut self, witnesses: &Witnesses, wall: SystemTime) -> bool {
        self.is_apart = witnesses.apart(wall).is_some();
        if self.is_apart {
            facts::say(
                Fact::ClockDoubted,
                format_args!(
                    "{}: no partitions are made and none dropped; set the clock that is wrong",
                    Said(witnesses, wall)
                ),
            );
        }
        !self.is_apart
    }

    /// Tells of partitions that are too old by this machine's clock alone.
    pub(super) fn hold(&mut self, held: &[Partition], witnesses: &Witnesses, wall: SystemTime) {
        let present = witnesses.present(wall).unwrap_or(wall);
        let ahead = wall.duration_since(present).unwrap_or_default();
        self.is_held = !held.is_empty() && ahead > QUIET_MAX;
        if self.is_held {
            let names: Vec<&str> = held.iter().map(|one| one.name.as_str()).collect();
            facts::say(
                Fact::ClockDoubted,
                format_args!(
                    "{} kept={}: set the clock that is wrong; if no device is to come any more, drop these tables yourself",
                    Said(witnesses, wall),
                    names.join(",")
                ),
            );
        }
    }

    /// Whether a person has to look.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_apart || self.is_held
    }
}

/// What each of them says, for a line of the log.
struct Said<'a>(&'a Witnesses, SystemTime);

impl fmt::Display for Said<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said(witnesses, wall) = self;
        let newest = witnesses.newest.map_or_else(|| "-".to_owned(), text);
        let (own, database) = (text(*wall), text(witnesses.database));
        write!(out, "own={own} database={database} newest_record={newest}")
    }
}

fn text(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    clock::text(clock::micros(since.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_is_a_step() {
        let mut watch = Watch::default();
        let start_us = 1_795_435_200_000_000;
        assert_eq!(watch.step(86_400_000, start_us), 0);
        // An hour later by both, and a little slewing.
        assert_eq!(watch.step(90_000_000, start_us + 3_600_900_000), 0);
        let back_us = start_us + 3_600_900_000 - 7_200_000_000;
        assert_eq!(watch.step(90_000_000, back_us), -7_200_000_000);
        assert_eq!(watch.step(90_001_000, back_us + 1_000_000), 0);
        assert_eq!(watch.step(90_001_000, 0), -back_us - 1_000_000);
    }
}
