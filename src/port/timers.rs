//! When which session has to be looked at next: a heap of deadlines that are checked when they come up.
//!
//! A deadline that moves later is noticed when the earlier one comes up, so a session that sends costs no new entry. What
//! a session that is gone, or a deadline that moved earlier, leaves behind is swept out when the heap has grown to twice
//! the number of sessions: its size follows the sessions that are there, and sweeping costs each entry a constant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Millis;
use crate::mailbox::SessionId;

/// Entries too few to be worth a sweep.
const SWEPT_FROM: usize = 64;

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

    /// Forgets the entries that nobody waits for any more, once they may outnumber the `n_sessions` there are; `planned`
    /// says when a session is looked at, `None` when it is gone.
    pub(super) fn sweep(
        &mut self,
        n_sessions: usize,
        planned: impl Fn(SessionId) -> Option<Millis>,
    ) {
        if self.heap.len() > 2 * n_sessions + SWEPT_FROM {
            self.heap.retain(|&Reverse((at, slot, serial))| {
                planned(SessionId { slot, serial }) == Some(at)
            });
        }
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
    fn sessions_that_are_gone_and_deadlines_that_moved_leave_nothing_behind() {
        let mut timers = Timers::default();
        let (mut stays, mut at_most) = (Millis::MAX, 0);
        timers.plan(SESSION, &mut stays, 50_000);
        for serial in 2..10_000 {
            let session = SessionId { slot: 2, serial };
            timers.plan(session, &mut { Millis::MAX }, 100_000);
            timers.plan(SESSION, &mut stays, 50_000 - Millis::from(serial));
            timers.sweep(2, |session| (session == SESSION).then_some(stays));
            at_most = at_most.max(timers.heap.len());
        }
        assert!(at_most <= 2 * 2 + SWEPT_FROM, "{at_most} entries");
        assert_eq!(timers.due(50_000), Some((SESSION, stays)));
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
