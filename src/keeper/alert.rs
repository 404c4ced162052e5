//! The alert of quarantine: counts what is in it, for everybody who shows it, and says when it needs a person.
//!
//! What raises it: an entry that was acked, so the only copy of its packet, and that nobody has dismissed. It ends when each is
//! stored by a retry, removed or dismissed.

use postgres::Client;

use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::hub::Hub;
use crate::store::error::StoreError;
use crate::store::held;

/// How often it is counted where nothing is heard of a change: what people do in quarantine is not told to the server.
const COUNT_EVERY_MS: Millis = 5_000;
/// How often it is counted at most, whatever comes in.
const PAUSE_MS: Millis = 1_000;
/// Counting takes one part in so many of the time, however much there is.
const SHARE: Millis = 50;

/// What was counted and told.
#[derive(Default)]
pub(super) struct Alert {
    looked_at: Millis,
    /// How long counting took, in milliseconds.
    took: Millis,
    is_changed: bool,
    /// How many entries were alerting when it was counted last.
    n_told: u64,
}

impl Alert {
    /// Counts when it is time to, sooner when something `is_changed`; says so when more entries need a person than before.
    pub(super) fn look(
        &mut self,
        client: &mut Client,
        hub: &Hub,
        now: Millis,
        is_changed: bool,
    ) -> Result<(), StoreError> {
        self.is_changed |= is_changed;
        let pause = if self.is_changed {
            PAUSE_MS
        } else {
            COUNT_EVERY_MS
        };
        if now.saturating_sub(self.looked_at) < pause.max(self.took * SHARE) {
            return Ok(());
        }
        // An error waits for its turn as well, and the change is not forgotten.
        self.looked_at = now;
        let started = clock::now();
        let counts = held::counts(client)?;
        self.took = clock::now().saturating_sub(started);
        self.is_changed = false;
        hub.set_quarantine(counts);
        if counts.n_alerting > self.n_told {
            facts::say(
                Fact::QuarantineAlert,
                format_args!(
                    "packets={} in_all={}: the only copies, look at them with `trackport quarantine list --acked`",
                    counts.n_alerting, counts.n_acked
                ),
            );
        }
        self.n_told = counts.n_alerting;
        Ok(())
    }
}
