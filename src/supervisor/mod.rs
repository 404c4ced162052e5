//! The supervisor: the main thread. It starts every other thread, hears their heartbeats, replaces what dies or goes silent,
//! hears signals, and tells systemd.
//!
//! It owns the listening sockets, touches no database, decodes nothing and waits for no thread. A silent thread cannot be
//! killed; it is retired: its generation counts no more, its sessions are shut down from outside, and what it says later
//! is ignored. `worker.rs` is one supervised thread, `staff.rs` their lives, `ports.rs` the ports and the conf's changes,
//! `web.rs` the web's sockets, `stop.rs` the order of stopping, `report.rs` what is told, `watchdog.rs` systemd's.

pub mod descriptors;
mod policy;
mod ports;
mod report;
pub mod signals;
mod staff;
mod stop;
mod systemd;
pub mod thread;
mod watchdog;
mod web;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::batch::LineState;
use crate::clock::{self, Millis};
use crate::conf::{Conf, PortConf};
use crate::directory;
use crate::doors::Doors;
use crate::drain;
use crate::facts::{self, Fact};
use crate::hub::{Ask, Hub};
use crate::intake::{DirectoryMessage, Queued};
use crate::life::Life;
use crate::notes::{Note, Notes};
use crate::port;
use crate::port::bind::{BindError, Bound};
use crate::port::passed::Passed;
use crate::room::Room;
use crate::trace::{self, Scribe};
use crate::web::ask::{self, Desk, Queues};
use crate::web::live::Board;
use crate::writer::Seat;

use ports::Unbound;
use signals::{Request, Signals};
use stop::Stopping;
use thread::Ended;
use watchdog::Watchdog;
use worker::{Role, Worker};

/// How often the supervisor looks around.
const TICK: Duration = Duration::from_millis(50);
/// A loop that took this long says that the whole process stood still; silence of others means nothing then.
const STANDSTILL_MS: Millis = 1_000;
/// What a thread that is restarted on request may take to finish.
const RESTART_FINISH: Duration = Duration::from_secs(3);
const SECOND_MS: Millis = 1_000;

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to.
    Stopped,
    /// Too many threads hang; systemd shall start the process anew.
    BeyondMending,
}

/// Runs the daemon until it is told to stop. Ports take the sockets that were `passed` in place of new ones.
///
/// # Errors
/// When no thread can be started at all.
pub fn run(
    conf_path: &Path,
    conf: Conf,
    signals: Signals,
    passed: Passed,
) -> std::io::Result<Outcome> {
    let mut supervisor = Supervisor::new(conf_path, conf, signals, passed);
    supervisor.start_all()?;
    Ok(supervisor.watch())
}

/// A port of the conf, and its sockets or why there are none.
type LookedUp = (PortConf, Vec<Result<Bound, BindError>>);

struct Supervisor {
    conf: Conf,
    signals: Signals,
    hub: Arc<Hub>,
    notes: Notes,
    workers: Vec<Worker>,
    zombies: Vec<Worker>,
    unbound: Vec<Unbound>,
    web_unbound: Option<web::Unbound>,
    /// Where the web leaves questions for the database, and where they are taken.
    desk: Desk,
    questions: Queues,
    /// What the web shows of all assets.
    board: Arc<Board>,
    /// Ports whose names were looked up, and what came of it.
    looked_up: (Sender<LookedUp>, Receiver<LookedUp>),
    /// How many are looked up now.
    n_looked_up: usize,
    /// Sockets that the process was started with, as far as no port has asked for them.
    passed: Passed,
    /// Names of threads still to be restarted one after the other.
    restarts: Vec<String>,
    watchdog: Watchdog,
    generation: u64,
    ended: (Sender<Ended>, Receiver<Ended>),
    asks: Receiver<Ask>,
    port_around: port::Surroundings,
    spool_queue: Receiver<Queued>,
    drain_line: Arc<LineState>,
    drain_progress: Arc<drain::Progress>,
    directory_queue: Receiver<DirectoryMessage>,
    notes_queue: Receiver<Note>,
    application: String,
    /// Silence is not judged before this.
    judge_from: Millis,
    stopping: Option<Stopping>,
}

impl Supervisor {
    fn new(conf_path: &Path, conf: Conf, signals: Signals, passed: Passed) -> Supervisor {
        let conf = ports::with_accept(conf);
        let room = Room::new(conf.limits.queue);
        let schema_ready = Arc::new(AtomicBool::new(false));
        // The room runs out before a queue does; probes need a little more.
        let queue_max = room.deliveries_max() + 16;
        let (mut senders, mut seats) = (Vec::new(), Vec::new());
        for _ in 0..conf.database.writers {
            let (sender, queue) = crossbeam_channel::bounded(queue_max);
            senders.push(sender);
            seats.push(Seat {
                queue,
                hand: Arc::default(),
                state: Arc::new(LineState::new(Arc::clone(&schema_ready))),
            });
        }
        let (spool, spool_queue) = crossbeam_channel::bounded(queue_max);
        let hands = seats.iter().map(|seat| Arc::clone(&seat.hand));
        let doors = Doors::new(senders.into_iter().zip(hands), spool);
        let drain_line = Arc::new(LineState::new(Arc::clone(&schema_ready)));
        let (asks_sender, asks) = crossbeam_channel::bounded(16);
        let (directory, directory_queue) = crossbeam_channel::bounded(directory::QUESTIONS_MAX);
        let (notes, notes_queue) = Notes::new();
        let (desk, questions) = ask::desk();
        let hub = Arc::new(Hub::new(
            conf_path.to_owned(),
            clock::wall_us(),
            Arc::clone(&room),
            conf.limits.receive,
            schema_ready,
            seats,
            asks_sender,
        ));
        let port_around = port::Surroundings {
            fleet: Arc::clone(&hub.fleet),
            room,
            receive_used: Arc::clone(&hub.receive_used),
            waiting_used: Arc::clone(&hub.waiting_used),
            strangers: Arc::default(),
            stalls: Arc::clone(&hub.stalls),
            sessions_open: Arc::clone(&hub.sessions_open),
            sessions_max: Arc::clone(&hub.sessions_max),
            doors,
            directory,
            notes: notes.clone(),
            traces: Arc::clone(&hub.traces),
            acks: Arc::clone(&hub.acks),
            timeouts: conf.timeouts.clone(),
            limits: conf.limits.clone(),
        };
        // One end per worker waits at most; the supervisor reads them every tick.
        let ended = crossbeam_channel::bounded(10_000);
        Supervisor {
            watchdog: Watchdog::new(systemd::watchdog_period()),
            application: hub.application(),
            conf,
            signals,
            hub,
            notes,
            workers: Vec::new(),
            zombies: Vec::new(),
            unbound: Vec::new(),
            web_unbound: None,
            desk,
            questions,
            board: Arc::default(),
            looked_up: crossbeam_channel::bounded(10_000),
            n_looked_up: 0,
            passed,
            restarts: Vec::new(),
            generation: 0,
            ended,
            asks,
            port_around,
            spool_queue,
            drain_line,
            drain_progress: Arc::default(),
            directory_queue,
            notes_queue,
            judge_from: 0,
            stopping: None,
        }
    }

    fn start_all(&mut self) -> std::io::Result<()> {
        let (version, conf) = (env!("CARGO_PKG_VERSION"), self.hub.conf_path.display());
        facts::say(
            Fact::Daemon,
            format_args!(
                "starting version={version} pid={} conf={conf}",
                std::process::id()
            ),
        );
        for warning in &self.conf.warnings {
            facts::say(Fact::ConfOdd, format_args!("{warning}"));
        }
        let mut roles = vec![
            Role::Control,
            Role::Keeper,
            Role::Spooler,
            Role::Directory,
            Role::Drain,
            Role::Recompute,
        ];
        roles.extend((0..self.conf.database.writers).map(Role::Writer));
        for role in roles {
            self.hire(role)?;
        }
        for port in self.conf.ports.clone() {
            self.bind(&port);
        }
        self.open_web();
        self.close_unwanted();
        self.publish();
        let status = self.status_line();
        systemd::ready(&status);
        facts::say(Fact::Daemon, format_args!("ready {status}"));
        Ok(())
    }

    fn watch(&mut self) -> Outcome {
        let mut last = clock::now();
        let mut second_at = 0;
        loop {
            if let Ok(ended) = self.ended.1.recv_timeout(TICK) {
                self.handle_ended(&ended);
            }
            while let Ok(ended) = self.ended.1.try_recv() {
                self.handle_ended(&ended);
            }
            let now = clock::now();
            if now - last > STANDSTILL_MS {
                // A frozen machine or process: everybody else stood still as well and gets time to beat.
                self.judge_from = now + clock::millis(self.conf.timeouts.silent_after);
            }
            last = now;
            self.hub.turned_at.store(now, Ordering::Relaxed);
            for request in self.signals.requests() {
                self.handle_signal(request);
            }
            while let Ok(ask) = self.asks.try_recv() {
                self.handle_ask(ask);
            }
            self.replace_silent(now);
            self.start_waiting(now);
            self.roll(now);
            if self.is_beyond_mending(now) {
                let names: Vec<&str> = self
                    .zombies
                    .iter()
                    .map(|zombie| zombie.life.name())
                    .collect();
                facts::say(
                    Fact::TooManyZombies,
                    format_args!(
                        "threads={}: the process ends, so that it is started anew",
                        names.join(",")
                    ),
                );
                return Outcome::BeyondMending;
            }
            if self.stopping.is_some() {
                if self.is_stopped(now) {
                    return Outcome::Stopped;
                }
            } else {
                self.take_looked_up();
                self.retry_unbound(now);
                self.retry_web(now);
                self.close_unwanted();
            }
            self.watchdog.turn(now, &self.hub);
            if now >= second_at {
                second_at = now + SECOND_MS;
                facts::flush(now);
                self.publish();
                systemd::status(&self.status_line());
            }
        }
    }

    fn handle_signal(&mut self, request: Request) {
        match request {
            Request::Stop => self.begin_stop(),
            Request::Reload if self.stopping.is_none() => self.reload(),
            Request::RestartThreads if self.stopping.is_none() => {
                self.restarts = self
                    .workers
                    .iter()
                    .map(|worker| worker.life.name().to_owned())
                    .collect();
                facts::say(
                    Fact::Daemon,
                    format_args!("restarting threads={}", self.restarts.len()),
                );
            }
            Request::LogState => self.log_state(),
            Request::Reload | Request::RestartThreads => {}
        }
    }

    fn handle_ask(&mut self, ask: Ask) {
        match ask {
            Ask::RestartPort(label, answer) => {
                let found = self.restart(&port::thread_name(&label));
                // An error means that the control thread has given up waiting.
                let _ = answer.try_send(found);
            }
            Ask::Trace(scribe) => self.start_trace(scribe),
        }
    }

    /// Starts the thread of one trace. Nobody hears its heartbeat: it hands nothing on and keeps nobody waiting, and its reader sees when it ends.
    fn start_trace(&self, scribe: Scribe) {
        let life = Arc::new(Life::new(&scribe.thread_name(), 0, trace::DURATION_MAX));
        let started = thread::start(&life, self.ended.0.clone(), move |_| {
            scribe.run();
            Ok(())
        });
        if let Err(error) = started {
            facts::say(
                Fact::ControlFailed,
                format_args!("error=no thread for a trace: {error}"),
            );
        }
    }
}
