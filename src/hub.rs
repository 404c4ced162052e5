//! What the threads share beyond their queues: the parts that the command line asks about.
//!
//! The supervisor makes it and keeps its lists true; everybody else reads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crossbeam_channel::Sender;

use crate::fleet::Fleet;
use crate::life::Life;
use crate::mailbox::PortMessage;
use crate::port::Port;
use crate::room::Room;
use crate::spooler::SpoolState;
use crate::store::held::Counts;
use crate::trace::{Scribe, Traces};
use crate::writer::Seat;

/// What one thread is doing.
#[derive(Clone, Debug)]
pub struct ThreadReport {
    /// Its present life.
    pub life: Arc<Life>,
    /// `running`, `restarting`, `waiting`, `retired`.
    pub state: &'static str,
    /// How often it was started again after dying or going silent.
    pub n_failures: u32,
    /// Why it failed last.
    pub last_failure: String,
    /// Microseconds since 1970 UTC.
    pub started_at_us: i64,
}

/// A port that could not be bound.
#[derive(Clone, Debug)]
pub struct UnboundReport {
    /// What the conf says.
    pub listen: String,
    /// Why not.
    pub reason: String,
}

/// What the control thread asks of the supervisor.
#[derive(Debug)]
pub enum Ask {
    /// Restart the port with this label; the answer says whether there is one.
    RestartPort(String, Sender<bool>),
    /// Run this in a thread of its own, for which nobody waits.
    Trace(Scribe),
}

/// The shared parts.
pub struct Hub {
    /// Where the conf was read from.
    pub conf_path: PathBuf,
    /// Microseconds since 1970 UTC.
    pub started_at_us: i64,
    /// The devices.
    pub fleet: Arc<Fleet>,
    /// The room of deliveries.
    pub room: Arc<Room>,
    /// Bytes of incomplete packets.
    pub receive_used: Arc<AtomicUsize>,
    /// Bytes of packets that wait for room.
    pub waiting_used: Arc<AtomicUsize>,
    /// Whether the schema is there and fits.
    pub schema_ready: Arc<AtomicBool>,
    /// Whether a person has to look at the clocks.
    pub clock_doubted: AtomicBool,
    /// The writers.
    pub writers: Vec<Seat>,
    /// The spool.
    pub spool: Arc<SpoolState>,
    /// Whoever looks at devices.
    pub traces: Arc<Traces>,
    /// The way to the supervisor.
    pub asks: Sender<Ask>,
    quarantine: Mutex<Counts>,
    ports: RwLock<Vec<Arc<Port>>>,
    threads: RwLock<Vec<ThreadReport>>,
    unbound: RwLock<Vec<UnboundReport>>,
}

impl Hub {
    /// A hub without ports and threads yet.
    pub fn new(
        conf_path: PathBuf,
        started_at_us: i64,
        room: Arc<Room>,
        schema_ready: Arc<AtomicBool>,
        writers: Vec<Seat>,
        asks: Sender<Ask>,
    ) -> Hub {
        Hub {
            conf_path,
            started_at_us,
            fleet: Arc::default(),
            room,
            receive_used: Arc::default(),
            waiting_used: Arc::default(),
            schema_ready,
            clock_doubted: AtomicBool::new(false),
            writers,
            spool: Arc::default(),
            traces: Arc::default(),
            asks,
            quarantine: Mutex::default(),
            ports: RwLock::default(),
            threads: RwLock::default(),
            unbound: RwLock::default(),
        }
    }

    /// How much is in quarantine, as the keeper counted it last.
    pub fn quarantine(&self) -> Counts {
        *self
            .quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The keeper has counted.
    pub fn set_quarantine(&self, counts: Counts) {
        *self
            .quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// The bound ports.
    pub fn ports(&self) -> Vec<Arc<Port>> {
        self.ports
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The threads, the retired ones too.
    pub fn threads(&self) -> Vec<ThreadReport> {
        self.threads
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The ports that could not be bound.
    pub fn unbound(&self) -> Vec<UnboundReport> {
        self.unbound
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The supervisor says what there is.
    pub fn publish(
        &self,
        ports: Vec<Arc<Port>>,
        threads: Vec<ThreadReport>,
        unbound: Vec<UnboundReport>,
    ) {
        self.room.set_ports(ports.len());
        *self.ports.write().unwrap_or_else(PoisonError::into_inner) = ports;
        *self.threads.write().unwrap_or_else(PoisonError::into_inner) = threads;
        *self.unbound.write().unwrap_or_else(PoisonError::into_inner) = unbound;
    }

    /// Tells every port thread something.
    pub fn tell_ports(&self, message: impl Fn() -> PortMessage) {
        for port in self.ports().iter() {
            port.send(message());
        }
    }
}
