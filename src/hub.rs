//! What the threads share beyond their queues: the parts that the command line asks about.
//!
//! The supervisor makes it and keeps its lists true; everybody else reads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crossbeam_channel::Sender;

use crate::acks::Acks;
use crate::clock::{self, Millis};
use crate::fleet::Fleet;
use crate::life::Life;
use crate::mailbox::PortMessage;
use crate::port::{Port, Stalls};
use crate::room::Room;
use crate::spooler::SpoolState;
use crate::store::held::Counts;
use crate::trace::{Scribe, Traces};
use crate::writer::Seat;

/// The supervisor's loop turns every 50 ms; one that took this long stands still, and what it watches is watched no more.
pub const SUPERVISOR_TURN_MAX_MS: Millis = 10_000;

/// What one thread is doing.
#[derive(Clone, Debug)]
pub struct ThreadReport {
    /// Its present life.
    pub life: Arc<Life>,
    /// `running`, `restarting`, `waiting`, `retired`.
    pub state: &'static str,
    /// How often it was started again after dying or going silent.
    pub n_failures: u32,
    /// How often of these it had gone silent.
    pub n_silences: u32,
    /// Why it failed last.
    pub last_failure: String,
    /// Microseconds since 1970 UTC.
    pub started_at_us: i64,
}

/// Who listens on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A tracker port.
    Port,
    /// The web thread.
    Web,
}

impl Listener {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Listener::Port => "port",
            Listener::Web => "web",
        }
    }
}

/// A socket that could not be bound.
#[derive(Clone, Debug)]
pub struct UnboundReport {
    /// Whose.
    pub listener: Listener,
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
    /// How many bytes of each of the two there may be.
    pub receive_limit: usize,
    /// Sessions of all ports together.
    pub sessions_open: Arc<AtomicUsize>,
    /// How many there may be.
    pub sessions_max: Arc<AtomicUsize>,
    /// How long acks took.
    pub acks: Arc<Acks>,
    /// Packets that stopped half way, by network.
    pub stalls: Arc<Stalls>,
    /// Whether the schema is there and fits.
    pub schema_ready: Arc<AtomicBool>,
    /// Whether a person has to look at the clocks.
    pub clock_doubted: AtomicBool,
    /// Whether the process has been asked to end.
    pub stopping: AtomicBool,
    /// When the supervisor's loop turned last.
    pub turned_at: AtomicU64,
    /// The writers.
    pub writers: Vec<Seat>,
    /// The spool.
    pub spool: Arc<SpoolState>,
    /// Whoever looks at devices.
    pub traces: Arc<Traces>,
    /// The way to the supervisor.
    pub asks: Sender<Ask>,
    quarantine: Mutex<Counts>,
    database_away: Mutex<Option<String>>,
    ports: RwLock<Vec<Arc<Port>>>,
    threads: RwLock<Vec<ThreadReport>>,
    unbound: RwLock<Vec<UnboundReport>>,
}

impl Hub {
    /// How this process calls itself towards PostgreSQL; its threads add `/` and their names. The time tells it from a process of another
    /// container, where this one's number may be the same.
    pub fn application(&self) -> String {
        let started_s = self.started_at_us / 1_000_000;
        format!("trackport/{}-{started_s}", std::process::id())
    }

    /// A hub without ports and threads yet.
    pub fn new(
        conf_path: PathBuf,
        started_at_us: i64,
        room: Arc<Room>,
        receive_limit: usize,
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
            receive_limit,
            sessions_open: Arc::default(),
            sessions_max: Arc::new(AtomicUsize::new(usize::MAX)),
            acks: Arc::default(),
            stalls: Arc::default(),
            schema_ready,
            clock_doubted: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            turned_at: AtomicU64::new(clock::now()),
            writers,
            spool: Arc::default(),
            traces: Arc::default(),
            asks,
            quarantine: Mutex::default(),
            database_away: Mutex::default(),
            ports: RwLock::default(),
            threads: RwLock::default(),
            unbound: RwLock::default(),
        }
    }

    /// For how long the supervisor's loop has not turned.
    pub fn supervisor_age(&self) -> Millis {
        clock::now().saturating_sub(self.turned_at.load(Ordering::Relaxed))
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

    /// Why the directory does not reach the database, or the keeper while there is no schema yet; `None` when it does. They notice
    /// within seconds, while a writer finds out only when it has something to store.
    pub fn database_away(&self) -> Option<String> {
        self.database_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// One of the two has asked the database something.
    pub fn set_database_away(&self, why: Option<String>) {
        *self
            .database_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = why;
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

    /// The sockets that could not be bound.
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
