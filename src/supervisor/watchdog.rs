//! systemd's watchdog: fed while a probe passes from a port through a writer's queue and back.
//!
//! A database that is away or slow keeps its writer from reading the queue; that is degraded, not dead, so a writer that says
//! so and is not silent counts as passed. Silent threads are the supervisor's business: as long as it can replace them it feeds on.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::systemd;
use crate::batch::Link;
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::hub::Hub;
use crate::mailbox::{Passed, PortMessage};

/// The watchdog's feeder.
pub(super) struct Watchdog {
    period: Option<Millis>,
    next_at: Millis,
    fed_at: Millis,
    probes: (Sender<Passed>, Receiver<Passed>),
}

impl Watchdog {
    /// A feeder for a watchdog that wants to be fed every `period`; `None`: there is none.
    pub(super) fn new(period: Option<Duration>) -> Watchdog {
        Watchdog {
            period: period.map(clock::millis),
            next_at: 0,
            fed_at: clock::now(),
            probes: crossbeam_channel::bounded(16),
        }
    }

    /// Sends a probe when it is time, and feeds when one came through.
    pub(super) fn turn(&mut self, now: Millis, hub: &Hub) {
        let Some(period) = self.period else { return };
        let passed = self.probes.1.try_iter().count() > 0;
        if passed {
            systemd::feed_watchdog();
            self.fed_at = now;
        }
        if now < self.next_at {
            return;
        }
        self.next_at = now + period / 4;
        if is_excused(now, hub) {
            systemd::feed_watchdog();
            self.fed_at = now;
            return;
        }
        if now - self.fed_at > period / 2 {
            facts::say(
                Fact::WatchdogStarved,
                format_args!(
                    "for_ms={}: no probe comes through a port and a writer",
                    now - self.fed_at
                ),
            );
        }
        if let Some(port) = hub.ports().first() {
            port.send(PortMessage::Probe(self.probes.0.clone()));
        }
    }
}

/// Whether nothing can be expected of a probe: no port is bound, a writer waits for the database, or a thread
/// is being replaced just now.
fn is_excused(now: Millis, hub: &Hub) -> bool {
    let threads = hub.threads();
    let all_live = threads
        .iter()
        .filter(|thread| !matches!(thread.state, "retired" | "waiting"))
        .all(|thread| !thread.life.is_silent(now));
    let database_away = hub
        .writers
        .iter()
        .any(|seat| seat.state.link() != Link::Up || seat.hand.is_waited_for());
    let replacing = threads
        .iter()
        .any(|thread| matches!(thread.state, "waiting" | "restarting"));
    all_live && (database_away || replacing || hub.ports().is_empty())
}
