//! When a thread that died or went silent is started again. Pure: history and time in, a time out.

use crate::clock::Millis;

/// The first restart waits for nobody, the following ones twice as long each, up to the cap.
const SECOND_DELAY_MS: Millis = 100;
const DELAY_MAX_MS: Millis = 30_000;
/// A thread that lived this long starts with a clean slate.
const GOOD_LIFE_MS: Millis = 60_000;
/// Retired threads that may live beside their successors; with more, the process is beyond mending. Those that hang in the
/// database do not count: a database that stands still is no fault of this process, and a new one would hang as well.
pub const ZOMBIES_MAX: usize = 6;
/// Lives of one thread that may hang in the database before its next start waits for one of them to end.
pub const DATABASE_ZOMBIES_MAX: usize = 2;
/// A thread that has hung for longer than any database stands still hangs for another reason.
pub const ZOMBIE_AGE_MAX_MS: Millis = 3_600_000;

/// What is known of a thread's failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    failures: u32,
}

impl History {
    /// The thread failed after living for `lived`. Returns how long its successor waits.
    pub fn failed(&mut self, lived: Millis) -> Millis {
        if lived >= GOOD_LIFE_MS {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => 0,
            n => (SECOND_DELAY_MS << (n - 2).min(20)).min(DELAY_MAX_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_the_others_back_off_to_a_cap() {
        let mut history = History::default();
        let delays: Vec<Millis> = (0..12).map(|_| history.failed(10)).collect();
        assert_eq!(delays[..5], [0, 100, 200, 400, 800]);
        assert_eq!(delays[11], DELAY_MAX_MS);
    }

    #[test]
    fn a_good_life_forgives() {
        let mut history = History::default();
        for _ in 0..5 {
            history.failed(10);
        }
        assert_eq!(history.failed(GOOD_LIFE_MS), 0);
    }
}
