//! What is wrong now with the server as a whole: one list, from which `trackport status`, systemd's STATUS line, `/readyz` and
//! the metrics take what they say.
//!
//! Reads what others publish and changes nothing. No trouble names a device, so that the list may be shown to anybody who
//! watches the server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::batch::Link;
use crate::hub::{Hub, Listener, ThreadReport};
use crate::port::{self, Port};
use crate::spooler;
use crate::store::held::Counts;
use crate::writer::Seat;

/// What a trouble means for the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Somebody has to look at it; packets are taken and acknowledged as ever.
    Person,
    /// Packets are acknowledged, but something that they rest on is missing.
    Degraded,
    /// Packets are not acknowledged.
    NotReady,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server has been asked to end.
    Stopping,
    /// Neither the database nor the spool takes what arrives.
    NothingTakes,
    /// No port has a thread that serves it.
    NoPort,
    /// A thread has no database.
    Database {
        /// Its name.
        thread: String,
        /// How it stands with the database.
        link: Link,
        /// What the database said last.
        error: String,
    },
    /// The schema is not there, or is another version's.
    Schema,
    /// The spool takes nothing.
    Spool {
        /// Which kind of trouble.
        kind: spooler::Trouble,
        /// In words.
        text: String,
    },
    /// The device list is not loaded.
    DeviceList {
        /// Devices that are known all the same.
        n_known: usize,
    },
    /// Clocks or records disagree about the time.
    Clock,
    /// A socket could not be bound.
    NotBound {
        /// Whose.
        listener: Listener,
        /// What the conf says.
        listen: String,
        /// Why not.
        reason: String,
    },
    /// A thread does not run, or a former life of it hangs.
    Thread {
        /// Its name.
        name: String,
        /// `waiting`, `retired`, …
        state: &'static str,
        /// Why it failed last.
        failure: String,
    },
    /// Acked packets are in quarantine, the only copies.
    Quarantined(u64),
    /// Devices have no room left in quarantine.
    QuarantineFull(u64),
}

impl Effect {
    /// The word for JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Person => "person",
            Effect::Degraded => "degraded",
            Effect::NotReady => "not_ready",
        }
    }
}

impl Trouble {
    /// The kinds there are, as [`Trouble::kind`] names them.
    pub const KINDS: [&'static str; 12] = [
        "stopping",
        "nothing_takes",
        "no_port",
        "database",
        "schema",
        "spool",
        "device_list",
        "clock",
        "not_bound",
        "thread",
        "quarantined",
        "quarantine_full",
    ];

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::Stopping => "stopping",
            Trouble::NothingTakes => "nothing_takes",
            Trouble::NoPort => "no_port",
            Trouble::Database { .. } => "database",
            Trouble::Schema => "schema",
            Trouble::Spool { .. } => "spool",
            Trouble::DeviceList { .. } => "device_list",
            Trouble::Clock => "clock",
            Trouble::NotBound { .. } => "not_bound",
            Trouble::Thread { .. } => "thread",
            Trouble::Quarantined(_) => "quarantined",
            Trouble::QuarantineFull(_) => "quarantine_full",
        }
    }

    /// What it means for the devices.
    pub fn effect(&self) -> Effect {
        match self {
            Trouble::Stopping
            | Trouble::NothingTakes
            | Trouble::NoPort
            | Trouble::DeviceList { n_known: 0 } => Effect::NotReady,
            Trouble::Clock | Trouble::Quarantined(_) | Trouble::QuarantineFull(_) => Effect::Person,
            Trouble::Database { .. }
            | Trouble::Schema
            | Trouble::Spool { .. }
            | Trouble::DeviceList { .. }
            | Trouble::NotBound { .. }
            | Trouble::Thread { .. } => Effect::Degraded,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Stopping => f.write_str("the server is stopping"),
            Trouble::NothingTakes => f.write_str(
                "neither the database nor the spool takes packets: nothing is acked, the devices keep their records",
            ),
            Trouble::NoPort => f.write_str("no port is served"),
            Trouble::Database {
                thread,
                link,
                error,
            } => {
                let text = format!("{thread}: database {} {error}", link.name());
                f.write_str(text.trim_end())
            }
            Trouble::Schema => f.write_str(
                "the schema is not ready; the log says whether it is being made or what is wrong with it",
            ),
            Trouble::Spool { text, .. } => write!(f, "spool: {text}"),
            Trouble::DeviceList { n_known: 0 } => {
                f.write_str("the device list is not loaded; nobody can tell who is known")
            }
            Trouble::DeviceList { n_known } => write!(
                f,
                "the device list is not loaded; {n_known} devices are known by its copy, or were let in as new ones"
            ),
            Trouble::Clock => f.write_str(
                "the clocks or the newest record disagree about the time; the log says more",
            ),
            Trouble::NotBound {
                listener,
                listen,
                reason,
            } => write!(f, "{} {listen}: {reason}", listener.name()),
            Trouble::Thread {
                name,
                state,
                failure,
            } => write!(f, "{name}: {state} ({failure})"),
            Trouble::Quarantined(n) => {
                let packets = some(*n, "packet is", "packets are");
                write!(
                    f,
                    "{packets} in quarantine for good, the only copy: `trackport quarantine list --acked`; retry, or export and \
                     remove, or dismiss ends this"
                )
            }
            Trouble::QuarantineFull(n) => {
                let devices = some(*n, "device has", "devices have");
                write!(
                    f,
                    "{devices} no room left in quarantine, their unreadable packets are not acked: `trackport quarantine list \
                     --acked`; retry, or export and remove"
                )
            }
        }
    }
}

fn some(n: u64, one: &str, more: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {more}"),
    }
}

/// What is wrong now, what keeps packets from being acked first; empty when nothing is.
pub fn troubles(hub: &Hub) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if hub.stopping.load(Ordering::Relaxed) {
        troubles.push(Trouble::Stopping);
    }
    let schema_ready = hub.schema_ready.load(Ordering::Relaxed);
    let database = |seat: &Seat| seat.state.link() == Link::Up && schema_ready;
    let away = hub.database_away();
    let database_takes = away.is_none() && hub.writers.iter().all(database);
    if !database_takes && !hub.spool.is_usable() {
        troubles.push(Trouble::NothingTakes);
    }
    let threads = hub.threads();
    let is_served = |port: &Arc<Port>| {
        let name = port::thread_name(&port.label);
        let runs = |thread: &ThreadReport| thread.state == "running" && thread.life.name() == name;
        threads.iter().any(runs)
    };
    if !hub.ports().iter().any(is_served) {
        troubles.push(Trouble::NoPort);
    }
    for (writer, seat) in hub.writers.iter().enumerate() {
        let link = seat.state.link();
        if link != Link::Up {
            troubles.push(Trouble::Database {
                thread: format!("writer-{writer}"),
                link,
                error: seat.state.last_error(),
            });
        }
    }
    let writers_know = troubles
        .iter()
        .any(|trouble| matches!(trouble, Trouble::Database { .. }));
    if let Some(error) = away
        && !writers_know
    {
        // They find out when they have something to store.
        troubles.push(Trouble::Database {
            thread: "directory".to_owned(),
            link: Link::Away,
            error,
        });
    }
    if !schema_ready && hub.writers.iter().any(|seat| seat.state.link() == Link::Up) {
        troubles.push(Trouble::Schema);
    }
    if let Some((kind, text)) = hub.spool.trouble() {
        troubles.push(Trouble::Spool { kind, text });
    }
    if !hub.fleet.is_loaded() {
        troubles.push(Trouble::DeviceList {
            n_known: hub.fleet.len(),
        });
    }
    if hub.clock_doubted.load(Ordering::Relaxed) {
        troubles.push(Trouble::Clock);
    }
    for unbound in hub.unbound() {
        troubles.push(Trouble::NotBound {
            listener: unbound.listener,
            listen: unbound.listen,
            reason: unbound.reason,
        });
    }
    for thread in threads {
        if thread.state != "running" {
            troubles.push(Trouble::Thread {
                name: thread.life.name().to_owned(),
                state: thread.state,
                failure: thread.last_failure,
            });
        }
    }
    troubles.extend(quarantine(&hub.quarantine()));
    troubles.sort_by_key(|trouble| trouble.effect() != Effect::NotReady);
    troubles
}

/// What in quarantine needs a person; nothing, once somebody has stored, removed or dismissed it.
fn quarantine(counts: &Counts) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if counts.n_alerting > 0 {
        troubles.push(Trouble::Quarantined(counts.n_alerting));
    }
    if counts.n_full > 0 {
        troubles.push(Trouble::QuarantineFull(counts.n_full));
    }
    troubles
}

/// Whether what devices send now is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It is. What only a person can end may be there, and keeps no packet from its ack.
    #[default]
    Ready,
    /// It is, although something that it rests on is missing.
    Degraded,
    /// It is not.
    NotReady,
}

/// What these troubles mean together.
pub fn readiness(troubles: &[Trouble]) -> Readiness {
    match gravest(troubles) {
        Some(Effect::NotReady) => Readiness::NotReady,
        Some(Effect::Degraded) => Readiness::Degraded,
        Some(Effect::Person) | None => Readiness::Ready,
    }
}

/// The gravest effect of these troubles; `None` when there are none.
pub fn gravest(troubles: &[Trouble]) -> Option<Effect> {
    troubles.iter().map(Trouble::effect).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_is_a_trouble_until_somebody_has_dealt_with_it() {
        let mut counts = Counts {
            n_acked: 7,
            n_alerting: 3,
            n_unacked: 20,
            n_full: 0,
        };
        let troubles = quarantine(&counts);
        assert_eq!(troubles, [Trouble::Quarantined(3)]);
        let text = troubles[0].to_string();
        assert!(
            text.starts_with("3 packets are in quarantine for good"),
            "{text}"
        );
        counts.n_alerting = 0;
        assert!(quarantine(&counts).is_empty());
        // A device that is not acked any more stays a trouble, whatever was dismissed.
        counts.n_full = 1;
        let text = quarantine(&counts)[0].to_string();
        assert!(text.starts_with("1 device has no room"), "{text}");
    }

    #[test]
    fn quarantine_never_makes_the_server_unready() {
        let troubles = [Trouble::Quarantined(3), Trouble::QuarantineFull(1)];
        assert_eq!(gravest(&troubles), Some(Effect::Person));
        assert_eq!(readiness(&troubles), Readiness::Ready);
        assert_eq!(gravest(&[]), None);
    }

    #[test]
    fn every_trouble_has_a_kind_of_its_own_and_words() {
        let text = || "words".to_owned();
        let all = [
            Trouble::Stopping,
            Trouble::NothingTakes,
            Trouble::NoPort,
            Trouble::Database {
                thread: text(),
                link: Link::Away,
                error: text(),
            },
            Trouble::Schema,
            Trouble::Spool {
                kind: spooler::Trouble::Full,
                text: text(),
            },
            Trouble::DeviceList { n_known: 0 },
            Trouble::Clock,
            Trouble::NotBound {
                listener: Listener::Web,
                listen: text(),
                reason: text(),
            },
            Trouble::Thread {
                name: text(),
                state: "waiting",
                failure: text(),
            },
            Trouble::Quarantined(1),
            Trouble::QuarantineFull(1),
        ];
        let kinds: Vec<&str> = all.iter().map(Trouble::kind).collect();
        assert_eq!(kinds, Trouble::KINDS);
        assert!(all.iter().all(|trouble| trouble.to_string().len() > 10));
    }

    #[test]
    fn a_missing_device_list_is_grave_only_where_nobody_is_known() {
        let some = Trouble::DeviceList { n_known: 5 };
        assert_eq!(some.effect(), Effect::Degraded);
        let none = Trouble::DeviceList { n_known: 0 };
        assert_eq!(readiness(std::slice::from_ref(&some)), Readiness::Degraded);
        assert_eq!(readiness(&[some, none]), Readiness::NotReady);
    }
}
