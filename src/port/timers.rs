//! When which session has to be looked at next: a heap of deadlines that are checked when they come up.
//!
//! A session has at most two entries in it, whatever it sends: a deadline that moves later is noticed when the earlier
//! one comes up. So nothing is scanned, and a quiet session costs one entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Millis;
use crate::mailbox::SessionId;

/// The deadlines of one port's sessions.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, u32, u32)>>,
}

impl Timers {
    /// Looks at `session` at `at`, unless it is looked at earlier anyway; `planned` is when.
    pub(super) fn plan(&mut self, session: SessionId, planned: &mut Millis, at: Millis) {
        if at < *planned {
            *planned = at;
            self.heap.push(Reverse((at, session.slot, session.serial)));
        }
    }

    /// The next session to look at, if its time has come, and the time it was planned for.
    pub(super) fn due(&mut self, now: Millis) -> Option<(SessionId, Millis)> {
        let &Reverse((at, slot, serial)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((SessionId { slot, serial }, at))
    }

    /// When the next entry comes up.
    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|&Reverse((at, _, _))| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId { slot: 1, serial: 1 };

    #[test]
    fn a_session_that_keeps_moving_its_deadline_keeps_one_entry() {
        let mut timers = Timers::default();
        let mut planned = Millis::MAX;
        for at in 100..1100 {
            timers.plan(SESSION, &mut planned, at);
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.due(99), None);
        assert_eq!(timers.due(100), Some((SESSION, 100)));
    }

    #[test]
    fn an_earlier_deadline_comes_first() {
        let mut timers = Timers::default();
        let mut planned = Millis::MAX;
        timers.plan(SESSION, &mut planned, 500);
        timers.plan(SESSION, &mut planned, 200);
        assert_eq!(timers.next(), Some(200));
    }
}
