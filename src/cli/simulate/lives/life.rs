//! One vehicle, box or machine: who it is, how its days and weeks lie, how it drives.
//!
//! What it does on which day is `plan.rs`.

use std::cell::OnceCell;

use super::chance::Chance;
use super::day::DAY_MS;
use super::drive::Driving;
use super::fleet::Kind;
use super::map::Town;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// What drove and ran before each day of a week, and in the whole week.
pub(super) type Counters = [(f64, u64); 8];

/// One life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(super) kind: Kind,
    pub(super) chance: Chance,
    home: Town,
    /// When its days begin, after midnight UTC.
    shift_ms: u64,
    /// Days from its week's begin to Monday: somebody is always at work.
    week_shift: u64,
    pub(super) week: OnceCell<Box<Counters>>,
}

impl Life {
    pub(crate) fn new(kind: Kind, seed: u64, number: u64) -> Life {
        let chance = Chance::new(seed).of("life").nth(number);
        // Freight goes day and night, the others by day; each day begins when it rests.
        let around_the_clock = match kind {
            Kind::Truck | Kind::ColdBox => chance.of("night shift").happens(0.7),
            Kind::Van => chance.of("night shift").happens(0.25),
            Kind::Car | Kind::Machine => false,
        };
        let shift_ms = if around_the_clock {
            chance.of("shift").minutes_ms(0.0, 24.0 * 60.0)
        } else {
            3 * HOUR_MS
        };
        Life {
            kind,
            chance,
            home: chance.of("home").below(super::map::N_TOWNS as u64) as Town,
            shift_ms,
            week_shift: if around_the_clock {
                chance.of("rest day").below(7)
            } else {
                0
            },
            week: OnceCell::new(),
        }
    }

    /// The number of the day that has this time.
    pub(super) fn day_of(&self, time_ms: u64) -> u64 {
        time_ms.saturating_sub(self.shift_ms) / DAY_MS
    }

    /// When the day begins.
    pub(super) fn starts_ms(&self, number: u64) -> u64 {
        number * DAY_MS + self.shift_ms
    }

    pub(super) fn driving(&self) -> Driving {
        let haste = self.chance.of("haste").between(0.9, 1.1);
        let (top_kmh, speeds_up, slows_down) = match self.kind {
            Kind::Van => (125.0, 1.2, 1.6),
            Kind::Car => (145.0, 1.6, 2.0),
            Kind::Truck | Kind::ColdBox => (86.0, 0.5, 1.0),
            Kind::Machine => (6.0, 0.4, 0.8),
        };
        Driving {
            top_kmh,
            speeds_up,
            slows_down,
            haste,
        }
    }

    /// The town it belongs to.
    pub(super) fn home(&self) -> Town {
        self.home
    }

    /// Until when nothing comes through, if nothing comes through at this time.
    pub(super) fn away_until(&self, time_ms: u64) -> Option<u64> {
        let within = |start_ms: u64, long_ms: u64| {
            (start_ms..start_ms + long_ms)
                .contains(&time_ms)
                .then_some(start_ms + long_ms)
        };
        let number = self.day_of(time_ms);
        let today = self.chance.of("away").nth(number);
        let long = today.happens(0.06).then(|| {
            let start_ms = self.starts_ms(number) + today.of("when").minutes_ms(60.0, 1200.0);
            within(start_ms, today.of("long").minutes_ms(25.0, 150.0))
        });
        // Some have a bad antenna.
        let slot_ms = 47 * MINUTE_MS;
        let slot = time_ms / slot_ms;
        let now = self.chance.of("gap").nth(slot);
        let short = (self.chance.of("flaky").happens(0.08) && now.happens(0.6)).then(|| {
            let start_ms = slot * slot_ms + now.of("when").minutes_ms(0.0, 36.0);
            within(start_ms, now.of("long").minutes_ms(4.0, 9.0))
        });
        long.flatten().or(short.flatten())
    }

    /// Weeks since its first one.
    pub(super) fn weeks(&self, number: u64) -> i64 {
        ((number + 3 + self.week_shift) / 7).cast_signed()
    }

    /// The day of its week; 0 is the first day of work, 6 that of rest.
    pub(super) fn weekday(&self, number: u64) -> usize {
        ((number + 3 + self.week_shift) % 7) as usize
    }

    /// The first day of the week that has this day.
    pub(super) fn monday(&self, number: u64) -> u64 {
        number - self.weekday(number) as u64
    }
}
