//! How far a device has come with telling its life: what it has sent, what it still owes, whether anything comes through.
//!
//! Knows no socket and no clock but the one it is asked with.

use super::{Life, Teller};

/// One packet: the moments from the first to the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) n_records: u8,
    /// The newest record stands first.
    pub(crate) newest: bool,
}

/// What a device does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It sends this.
    Send(Flight),
    /// Nothing is there to be sent until then.
    Wait(u64),
    /// Nothing comes through until then.
    Away(u64),
    /// It never sends again.
    Silent,
}

/// The state of one device's telling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// Everything until here is sent or owed.
    told_ms: u64,
    /// What was recorded after the first and until the second is owed, and sent newest first.
    owed: Option<(u64, u64)>,
    /// No moment is recorded between `told_ms` and this one.
    next_ms: u64,
    /// Nothing comes through since `told_ms`.
    away: bool,
    /// From here on it records nothing.
    ends_ms: u64,
}

impl Course {
    /// A device that has told everything until `told_ms`, at `now_ms`.
    pub(crate) fn new(life: &Life, told_ms: u64, now_ms: u64) -> Course {
        // Some go silent for good: a battery that nobody charges, a vehicle that is sold.
        let silent = life.chance.of("silent");
        let since_ms = now_ms.saturating_sub(silent.of("since").minutes_ms(60.0, 1200.0));
        let is_silent = silent.happens(1.0 / 45.0) && told_ms < since_ms;
        let ends_ms = if is_silent { since_ms } else { u64::MAX };
        // And some are set to send the newest first.
        let newest = life.chance.of("newest").happens(0.2) && told_ms < now_ms;
        Course {
            told_ms: if newest { now_ms.min(ends_ms) } else { told_ms },
            owed: newest.then_some((told_ms, now_ms.min(ends_ms))),
            next_ms: 0,
            away: false,
            ends_ms,
        }
    }

    /// What is to be done at `now_ms`.
    pub(crate) fn step(&mut self, teller: &mut Teller, life: &Life, now_ms: u64) -> Step {
        // What was recorded last comes before what is owed.
        let until_ms = now_ms.min(self.ends_ms);
        if let Some(end_ms) = life.away_until(now_ms) {
            self.away = true;
            return Step::Away(end_ms);
        }
        if std::mem::take(&mut self.away) && self.owed.is_none() && self.told_ms < until_ms {
            self.owed = Some((self.told_ms, until_ms));
            self.told_ms = until_ms;
            self.next_ms = 0;
        }
        while self.told_ms < until_ms && self.next_ms <= until_ms {
            let (flight, next_ms) = teller.choose(life, self.told_ms, until_ms, false);
            self.next_ms = next_ms;
            if let Some(flight) = flight {
                self.told_ms = flight.last_ms;
                return Step::Send(flight);
            }
            // Nothing is recorded before `next_ms`, and it may be a day's first moment.
            self.told_ms = until_ms.min(next_ms - 1);
        }
        while let Some((after_ms, until_ms)) = self.owed {
            if after_ms >= until_ms {
                self.owed = None;
                break;
            }
            let (flight, _) = teller.choose(life, after_ms, until_ms, true);
            match flight {
                Some(flight) => {
                    self.owed = Some((after_ms, flight.first_ms - 1));
                    return Step::Send(flight);
                }
                // Nothing more of this day: on with the day before.
                None => {
                    let day_ms = life.starts_ms(life.day_of(until_ms));
                    self.owed = Some((after_ms, day_ms.saturating_sub(1).min(until_ms - 1)));
                }
            }
        }
        if now_ms >= self.ends_ms {
            return Step::Silent;
        }
        Step::Wait(self.next_ms.max(now_ms + 1))
    }
}
