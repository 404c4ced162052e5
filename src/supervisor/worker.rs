//! One supervised thread: its role, its present life, and what became of the lives before.

use std::sync::Arc;
use std::time::Duration;

use super::policy::History;
use crate::clock::{self, Millis};
use crate::conf::Timeouts;
use crate::hub::ThreadReport;
use crate::life::Life;
use crate::mailbox::PortMessage;
use crate::port::{self, Port};
use crate::web::Site;
use crate::web::ask::Pool;

/// What a thread is for.
#[derive(Clone)]
pub(super) enum Role {
    /// Serves a tracker port.
    Port(Arc<Port>),
    /// Writes batches; the index.
    Writer(usize),
    /// Keeps on disk what waits too long for the database.
    Spooler,
    /// Brings that to the database.
    Drain,
    /// Keeps the device list.
    Directory,
    /// Keeps house in the database.
    Keeper,
    /// Fills typed columns anew where a model has changed.
    Recompute,
    /// Answers the command line.
    Control,
    /// Answers those who watch the server.
    Web(Arc<Site>),
    /// Asks the database for the web; the index within the pool.
    Query(Pool, usize),
    /// Keeps what the web shows of all assets.
    Live,
}

impl Role {
    fn name(&self) -> String {
        match self {
            Role::Port(bound) => port::thread_name(&bound.label),
            Role::Writer(index) => format!("writer-{index}"),
            Role::Spooler => "spool".to_owned(),
            Role::Drain => "drain".to_owned(),
            Role::Directory => "directory".to_owned(),
            Role::Keeper => "keeper".to_owned(),
            Role::Recompute => "recompute".to_owned(),
            Role::Control => "control".to_owned(),
            Role::Web(_) => "web".to_owned(),
            Role::Query(pool, index) => format!("{}-{index}", pool.name()),
            Role::Live => "live".to_owned(),
        }
    }

    /// Whether it may hang in the database or on the disk, which is no fault of this process.
    pub(super) fn may_hang(&self) -> bool {
        matches!(
            self,
            Role::Writer(_)
                | Role::Spooler
                | Role::Drain
                | Role::Directory
                | Role::Keeper
                | Role::Recompute
                | Role::Query(..)
                | Role::Live
        )
    }

    /// Whether everything else goes on without it: however it hangs, the process is not ended for its sake.
    pub(super) fn is_dispensable(&self) -> bool {
        matches!(
            self,
            Role::Web(_) | Role::Query(..) | Role::Recompute | Role::Live
        )
    }

    /// Without a beat for this long a thread of this role is silent.
    fn silent_after(&self, timeouts: &Timeouts) -> Duration {
        match self {
            Role::Port(_) | Role::Control | Role::Web(_) => timeouts.silent_after,
            // A disk may take as long for a sync as a database for a statement.
            Role::Writer(_)
            | Role::Spooler
            | Role::Drain
            | Role::Directory
            | Role::Keeper
            | Role::Live => timeouts.silent_after_database(),
            // A chunk is several statements.
            Role::Recompute => timeouts.silent_after_database() + timeouts.statement * 5,
            // A report is several statements.
            Role::Query(pool, _) => timeouts.silent_after_database() + pool.statement() * 3,
        }
    }
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It runs.
    Running,
    /// It was asked to end and starts anew.
    Restarting,
    /// It starts at this time.
    Waiting(Millis),
    /// Its port was taken out of the conf: it finishes what it took and does not start again.
    Leaving,
    /// It does not start again.
    Done,
    /// It hangs, and another has taken its place.
    Retired,
}

/// A thread under supervision.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) role: Role,
    pub(super) life: Arc<Life>,
    pub(super) state: State,
    /// What the next life serves, where that differs: the present one has to be buried as what it is.
    pub(super) next_role: Option<Role>,
    silent_after: Duration,
    history: History,
    n_failures: u32,
    n_silences: u32,
    last_failure: String,
    started_at: Millis,
    started_at_us: i64,
}

impl Worker {
    pub(super) fn new(role: Role, timeouts: &Timeouts) -> Worker {
        let silent_after = role.silent_after(timeouts);
        Worker {
            life: Arc::new(Life::new(&role.name(), 0, silent_after)),
            role,
            state: State::Waiting(0),
            next_role: None,
            silent_after,
            history: History::default(),
            n_failures: 0,
            n_silences: 0,
            last_failure: String::new(),
            started_at: 0,
            started_at_us: 0,
        }
    }

    /// The next life begins.
    pub(super) fn begin(&mut self, generation: u64) -> Arc<Life> {
        if let Some(role) = self.next_role.take() {
            self.role = role;
        }
        self.life = Arc::new(Life::new(&self.role.name(), generation, self.silent_after));
        self.state = State::Running;
        self.started_at = clock::now();
        self.started_at_us = clock::wall_us();
        Arc::clone(&self.life)
    }

    /// Asks the present life to end.
    pub(super) fn stop(&self, within: Duration) {
        self.life.stop(within);
        if let Role::Port(bound) = &self.role {
            // It may be waiting for its sockets.
            bound.send(PortMessage::Stop);
        }
    }

    /// The present life failed. Returns how long the next one waits.
    pub(super) fn fail(&mut self, reason: &str, now: Millis) -> Millis {
        self.n_failures += 1;
        reason.clone_into(&mut self.last_failure);
        self.history.failed(now.saturating_sub(self.started_at))
    }

    /// The present life went silent.
    pub(super) fn count_silence(&mut self) {
        self.n_silences += 1;
    }

    /// The present life as a retired one.
    pub(super) fn retired(&self) -> Worker {
        Worker {
            state: State::Retired,
            ..self.clone()
        }
    }

    pub(super) fn report(&self) -> ThreadReport {
        ThreadReport {
            life: Arc::clone(&self.life),
            state: match self.state {
                State::Running => "running",
                State::Restarting => "restarting",
                State::Waiting(_) => "waiting",
                State::Leaving => "leaving",
                State::Done => "ended",
                State::Retired => "retired",
            },
            n_failures: self.n_failures,
            n_silences: self.n_silences,
            last_failure: self.last_failure.clone(),
            started_at_us: self.started_at_us,
        }
    }
}
