//! How the spool's disk does: what is wrong with it, when it is tried again, and what is told about it.

use std::time::Duration;

use super::state::{SpoolState, Trouble};
use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::facts::{self, Fact, Reminder};
use crate::spool::{Damage, DamageKind, SpoolError};

/// Between two tries with a disk that refused, or a full one.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The health of the spool's disk, as its thread finds it.
pub(super) struct Health<'a> {
    state: &'a SpoolState,
    trouble: Option<Trouble>,
    retry: Backoff,
    /// The disk is left alone until then.
    retry_at: Millis,
    reminder: Reminder,
}

impl<'a> Health<'a> {
    pub(super) fn new(state: &'a SpoolState) -> Health<'a> {
        Health {
            state,
            trouble: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
            retry_at: 0,
            reminder: Reminder::default(),
        }
    }

    /// Whether the disk may be tried now.
    pub(super) fn may_try(&self) -> bool {
        clock::now() >= self.retry_at
    }

    /// There is room, whatever else is wrong.
    pub(super) fn has_room(&mut self) {
        if self.trouble == Some(Trouble::Full) {
            self.works();
        }
    }

    /// What was tried has worked.
    pub(super) fn works(&mut self) {
        if self.trouble.is_some() {
            self.rests();
            self.retry.reset();
        }
    }

    /// Nothing is to be tried, so nobody knows of any trouble.
    pub(super) fn rests(&mut self) {
        self.trouble = None;
        self.state.set_trouble(None);
        self.reminder.is_over();
    }

    /// Something was refused: it is told, and tried again after a while.
    pub(super) fn failed(&mut self, error: &SpoolError) {
        let (fact, trouble) = match error {
            SpoolError::Full { .. } => (Fact::SpoolFull, Trouble::Full),
            _ if self.state.spool().is_none() => (Fact::SpoolUnusable, Trouble::Failing),
            _ => (Fact::SpoolFailed, Trouble::Failing),
        };
        let text = error.to_string();
        let now = clock::now();
        match self.reminder.is_due(&text, now) {
            Some(lasting_s) => facts::say(
                fact,
                format_args!(
                    "error={text:?} lasting_s={lasting_s}: what the database does not take is not acked meanwhile"
                ),
            ),
            None => facts::count(fact),
        }
        self.trouble = Some(trouble);
        self.state.set_trouble(Some((trouble, text)));
        self.retry_at = now + clock::millis(self.retry.next());
    }
}

/// Says what could not be read. A write that a crash interrupted was never acked.
pub fn tell_damage(damage: &Damage) {
    let fact = match damage.kind {
        DamageKind::TornTail { .. } => Fact::SpoolTorn,
        _ => Fact::SpoolDamaged,
    };
    facts::say(fact, format_args!("{damage}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: SpoolError = SpoolError::Full { needed: 2, room: 1 };

    #[test]
    fn room_ends_a_full_spools_trouble_and_no_other() {
        let state = SpoolState::default();
        let mut health = Health::new(&state);
        health.failed(&FULL);
        assert!(state.trouble().is_some() && !health.may_try());
        health.has_room();
        assert_eq!(state.trouble(), None);
        health.failed(&SpoolError::Superseded);
        health.has_room();
        assert!(
            state.trouble().is_some(),
            "the disk has not shown that it works"
        );
        health.works();
        assert_eq!(state.trouble(), None);
    }
}
