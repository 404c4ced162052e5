//! How far the drain is, and which entries its threads died of: known through all generations, or a packet that stops one would
//! stop every one after it, and all that lies behind would wait for ever.
//!
//! A thread that dies leaves the entries that it had in hand under suspicion. They are taken one by one then, and one that stops
//! a thread alone, more than once, is the guilty one. A thread that hangs says nothing about them: a database that stands still
//! makes every thread hang.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::life::Life;
use crate::spool::Position;

/// Deaths with one entry alone in hand that make it guilty. One may have had another reason.
const DEATHS_MAX: u32 = 2;

/// What a generation of the drain leaves to the next.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Everything before it is in the database.
    drained: Option<Position>,
    /// Entries before it are taken one by one.
    suspects_until: Option<Position>,
    /// The end of the entry that was alone in hand when a thread died last, and how many did so in a row.
    alone: Option<(Position, u32)>,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to read on; `None`: from the oldest entry on.
    pub(super) fn drained(&self) -> Option<Position> {
        self.lock().drained
    }

    /// Everything before `position` is in the database.
    pub(super) fn set_drained(&self, position: Position) {
        let mut known = self.lock();
        // A retired thread may say it late.
        known.drained = known.drained.max(Some(position));
    }

    /// Whether the next entry is to be taken alone.
    pub(super) fn is_careful(&self) -> bool {
        let known = self.lock();
        known
            .suspects_until
            .is_some_and(|until| known.drained.is_none_or(|drained| drained < until))
    }

    /// Whether the entry that ends there has stopped threads, alone as it was.
    pub(super) fn is_guilty(&self, end: Position) -> bool {
        matches!(self.lock().alone, Some((at, n)) if at == end && n >= DEATHS_MAX)
    }

    /// A thread died with entries up to `end` in hand.
    fn died(&self, n_entries: usize, end: Position) {
        let mut known = self.lock();
        known.suspects_until = known.suspects_until.max(Some(end));
        if n_entries == 1 {
            let before = known.alone.filter(|(at, _)| *at == end);
            known.alone = Some((end, before.map_or(0, |(_, n)| n) + 1));
        }
    }
}

/// Entries in hand. Dropped by a panic, it leaves them under suspicion.
pub(super) struct AtWork<'a> {
    pub(super) progress: &'a Progress,
    pub(super) life: &'a Life,
    pub(super) n_entries: usize,
    /// Where the last of them ends.
    pub(super) end: Position,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.life.is_retired() {
            self.progress.died(self.n_entries, self.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(offset: u64) -> Position {
        Position::new(1, offset)
    }

    fn die_of(progress: &Progress, n_entries: usize, end: Position, is_retired: bool) {
        let life = Life::new("drain", 1, Duration::from_secs(10));
        if is_retired {
            life.retire();
        }
        let work = std::panic::AssertUnwindSafe(|| {
            let _at_work = AtWork {
                progress,
                life: &life,
                n_entries,
                end,
            };
            std::panic::resume_unwind(Box::new("died"));
        });
        assert!(std::panic::catch_unwind(work).is_err());
    }

    #[test]
    fn what_a_thread_died_of_is_taken_one_by_one_until_all_of_it_is_drained() {
        let progress = Progress::default();
        assert!(!progress.is_careful());
        die_of(&progress, 100, at(5_000), false);
        assert!(progress.is_careful());
        assert!(!progress.is_guilty(at(5_000)), "one of a hundred");
        progress.set_drained(at(4_000));
        progress.set_drained(at(3_000));
        assert_eq!(progress.drained(), Some(at(4_000)));
        assert!(progress.is_careful());
        progress.set_drained(at(5_000));
        assert!(!progress.is_careful());
    }

    #[test]
    fn an_entry_is_guilty_when_two_threads_died_of_it_alone() {
        let progress = Progress::default();
        die_of(&progress, 1, at(100), false);
        die_of(&progress, 1, at(200), false);
        die_of(&progress, 1, at(100), true);
        assert!(!progress.is_guilty(at(100)) && !progress.is_guilty(at(200)));
        die_of(&progress, 1, at(200), false);
        assert!(progress.is_guilty(at(200)) && !progress.is_guilty(at(100)));
    }

    #[test]
    fn entries_that_were_in_hand_when_all_went_well_are_under_no_suspicion() {
        let progress = Progress::default();
        let life = Life::new("drain", 1, Duration::from_secs(10));
        drop(AtWork {
            progress: &progress,
            life: &life,
            n_entries: 1,
            end: at(100),
        });
        assert!(!progress.is_careful());
    }
}
