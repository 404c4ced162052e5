//! The supervisor: the main thread. It starts every other thread, hears their heartbeats, replaces what dies or goes silent,
//! hears signals, and tells systemd.
//!
//! It owns the listening sockets, touches no database, decodes nothing and waits for no thread. A silent thread cannot be
//! killed; it is retired: its generation counts no more, its sessions are shut down from outside, and what it says later
//! is ignored. `worker.rs` is one supervised thread, `ports.rs` the ports and the conf's changes, `watchdog.rs` systemd's.

mod policy;
mod ports;
pub mod signals;
mod systemd;
pub mod thread;
mod watchdog;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::clock::{self, Millis};
use crate::conf::Conf;
use crate::control;
use crate::directory;
use crate::facts::{self, Fact};
use crate::hub::{Ask, Hub, WriterSeat};
use crate::intake::{DirectoryMessage, WriterMessage};
use crate::keeper;
use crate::mailbox::PortMessage;
use crate::notes::{Note, Notes};
use crate::port;
use crate::room::Room;
use crate::writer::{self, WriterState};

use ports::Unbound;
use signals::{Request, Signals};
use thread::{Ended, Ending};
use watchdog::Watchdog;
use worker::{Role, State, Worker};

/// How often the supervisor looks around.
const TICK: Duration = Duration::from_millis(50);
/// A loop that took this long says that the whole process stood still; silence of others means nothing then.
const STANDSTILL_MS: Millis = 1_000;
/// What a thread that is restarted on request may take to finish.
const RESTART_FINISH: Duration = Duration::from_secs(3);
/// What is kept of the stop time-out for the threads behind the writers.
const STOP_RESERVE: Duration = Duration::from_secs(2);
/// How long a device is kept out after its session stopped a thread.
const KEEP_OUT_MS: Millis = 60_000;
const SECOND_MS: Millis = 1_000;

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to.
    Stopped,
    /// Too many threads hang; systemd shall start the process anew.
    BeyondMending,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When no thread can be started at all.
pub fn run(conf_path: &Path, conf: Conf, signals: Signals) -> std::io::Result<Outcome> {
    let mut supervisor = Supervisor::new(conf_path, conf, signals);
    supervisor.start_all()?;
    Ok(supervisor.watch())
}

struct Supervisor {
    conf: Conf,
    signals: Signals,
    hub: Arc<Hub>,
    notes: Notes,
    workers: Vec<Worker>,
    zombies: Vec<Worker>,
    unbound: Vec<Unbound>,
    /// Names of threads still to be restarted one after the other.
    restarts: Vec<String>,
    watchdog: Watchdog,
    generation: u64,
    ended: (Sender<Ended>, Receiver<Ended>),
    asks: Receiver<Ask>,
    port_around: port::Surroundings,
    writer_queues: Vec<Receiver<WriterMessage>>,
    directory_queue: Receiver<DirectoryMessage>,
    notes_queue: Receiver<Note>,
    application: String,
    /// Silence is not judged before this.
    judge_from: Millis,
    stopping: Option<Stopping>,
}

/// How far the stop has come.
struct Stopping {
    deadline: Millis,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ports,
    Writers,
    Rest,
}

impl Supervisor {
    fn new(conf_path: &Path, conf: Conf, signals: Signals) -> Supervisor {
        let conf = ports::with_accept(conf);
        let room = Room::new(conf.limits.queue);
        let schema_ready = Arc::new(AtomicBool::new(false));
        let (mut senders, mut queues, mut seats) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..conf.database.writers {
            // The room runs out before the queue does; probes need a little more.
            let (sender, queue) = crossbeam_channel::bounded(room.deliveries_max() + 16);
            senders.push(sender);
            queues.push(queue.clone());
            let state = Arc::new(WriterState::new(Arc::clone(&schema_ready)));
            seats.push(WriterSeat { queue, state });
        }
        let (asks_sender, asks) = crossbeam_channel::bounded(16);
        let (directory, directory_queue) = crossbeam_channel::bounded(directory::QUESTIONS_MAX);
        let (notes, notes_queue) = Notes::new();
        let hub = Arc::new(Hub::new(
            conf_path.to_owned(),
            clock::wall_us(),
            Arc::clone(&room),
            schema_ready,
            seats,
            asks_sender,
        ));
        let port_around = port::Surroundings {
            fleet: Arc::clone(&hub.fleet),
            room,
            receive_used: Arc::clone(&hub.receive_used),
            writers: senders.into(),
            directory,
            notes: notes.clone(),
            timeouts: conf.timeouts.clone(),
            limits: conf.limits.clone(),
        };
        let (pid, started) = (std::process::id(), clock::wall_us() / 1_000_000);
        // One end per worker waits at most; the supervisor reads them every tick.
        let ended = crossbeam_channel::bounded(10_000);
        Supervisor {
            watchdog: Watchdog::new(systemd::watchdog_period()),
            application: format!("trackport/{pid}-{started}"),
            conf,
            signals,
            hub,
            notes,
            workers: Vec::new(),
            zombies: Vec::new(),
            unbound: Vec::new(),
            restarts: Vec::new(),
            generation: 0,
            ended,
            asks,
            port_around,
            writer_queues: queues,
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
        let mut roles = vec![Role::Control, Role::Keeper, Role::Directory];
        roles.extend((0..self.conf.database.writers).map(Role::Writer));
        for role in roles {
            self.hire(role)?;
        }
        for port in self.conf.ports.clone() {
            self.bind(&port);
        }
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
            for request in self.signals.requests() {
                self.handle_signal(request);
            }
            while let Ok(ask) = self.asks.try_recv() {
                self.handle_ask(ask);
            }
            self.replace_silent(now);
            self.start_waiting(now);
            self.roll(now);
            if self.zombies.len() > policy::ZOMBIES_MAX {
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
                self.retry_unbound(now);
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

    /// Adds a thread and starts it.
    fn hire(&mut self, role: Role) -> std::io::Result<()> {
        let mut worker = Worker::new(role, &self.conf.timeouts);
        self.start(&mut worker)?;
        self.workers.push(worker);
        Ok(())
    }

    /// Starts the next generation of a thread.
    fn start(&mut self, worker: &mut Worker) -> std::io::Result<()> {
        self.generation += 1;
        let life = worker.begin(self.generation);
        let ended = self.ended.0.clone();
        let result = match worker.role.clone() {
            Role::Port(bound) => {
                let around = self.port_around.clone();
                thread::start(&life, ended, move |life| {
                    port::thread::run(&bound, life, &around).map_err(|error| error.to_string())
                })
            }
            Role::Writer(index) => {
                let around = writer::Surroundings {
                    queue: self.writer_queues[index].clone(),
                    state: Arc::clone(&self.hub.writers[index].state),
                    room: Arc::clone(&self.hub.room),
                    notes: self.notes.clone(),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    application: self.application.clone(),
                };
                thread::start(&life, ended, move |life| {
                    writer::run(life, &around);
                    Ok(())
                })
            }
            Role::Directory => {
                let around = directory::Surroundings {
                    questions: self.directory_queue.clone(),
                    hub: Arc::clone(&self.hub),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    application: self.application.clone(),
                    max_new_devices: self.conf.devices.max_new_devices,
                };
                thread::start(&life, ended, move |life| {
                    directory::run(life, &around);
                    Ok(())
                })
            }
            Role::Keeper => {
                let around = keeper::Surroundings {
                    notes: self.notes_queue.clone(),
                    hub: Arc::clone(&self.hub),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    retention: self.conf.retention.clone(),
                    application: self.application.clone(),
                };
                thread::start(&life, ended, move |life| {
                    keeper::run(life, &around);
                    Ok(())
                })
            }
            Role::Control => {
                let (socket, hub) = (self.conf.control.socket.clone(), Arc::clone(&self.hub));
                thread::start(&life, ended, move |life| {
                    control::server::run(&socket, life, &hub)
                })
            }
        };
        let (name, generation) = (life.name(), life.generation());
        facts::say(
            Fact::ThreadStarted,
            format_args!("name={name:?} generation={generation}"),
        );
        self.note(&worker.life, "start", "");
        result
    }

    fn handle_ended(&mut self, ended: &Ended) {
        if let Some(place) = self
            .zombies
            .iter()
            .position(|zombie| Arc::ptr_eq(&zombie.life, &ended.life))
        {
            let zombie = self.zombies.swap_remove(place);
            let (name, generation) = (zombie.life.name(), zombie.life.generation());
            facts::say(
                Fact::ZombieEnded,
                format_args!("name={name:?} generation={generation}"),
            );
            return;
        }
        let Some(place) = self
            .workers
            .iter()
            .position(|worker| Arc::ptr_eq(&worker.life, &ended.life))
        else {
            return;
        };
        let name = ended.life.name().to_owned();
        match &ended.ending {
            Ending::Asked => {
                facts::say(
                    Fact::ThreadEnded,
                    format_args!("name={name:?} generation={}", ended.life.generation()),
                );
                self.note(&ended.life, "stop", "");
                let worker = &mut self.workers[place];
                match worker.state {
                    State::Restarting => worker.state = State::Waiting(0),
                    _ => {
                        self.workers.remove(place);
                    }
                }
            }
            Ending::Failed(reason) | Ending::Panicked(reason) => {
                facts::say(
                    Fact::ThreadDied,
                    format_args!(
                        "name={name:?} generation={} reason={reason:?}",
                        ended.life.generation()
                    ),
                );
                self.note(&ended.life, "death", reason);
                self.bury(place, reason);
            }
        }
    }

    /// A thread is gone without having been asked: its sessions end, its successor is planned.
    fn bury(&mut self, place: usize, reason: &str) {
        let now = clock::now();
        let worker = &mut self.workers[place];
        let delay = worker.fail(reason, now);
        match &worker.role {
            Role::Port(bound) => {
                let turn = bound.take_turn();
                let n_sessions = bound.shut_down_sessions();
                if let Some(imei) = turn.imei {
                    // The session on turn may be what stopped the thread; its device comes back in a while.
                    if let Some(device) = self.hub.fleet.get(imei) {
                        device.keep_out(now + KEEP_OUT_MS);
                    }
                    facts::say(
                        Fact::DeviceKeptOut,
                        format_args!(
                            "imei={imei} port={} bytes={} for_s={}: its bytes are in quarantine",
                            bound.label,
                            turn.bytes.len(),
                            KEEP_OUT_MS / 1000
                        ),
                    );
                    self.notes.leave(Note::Poison {
                        imei,
                        at_us: clock::wall_us(),
                        port: bound.address.port(),
                        bytes: turn.bytes,
                        reason: format!(
                            "while these bytes were read the port's thread stopped: {reason}"
                        ),
                    });
                }
                log::info!(target: "trackport", "sessions shut down port={} sessions={n_sessions}", bound.label);
            }
            Role::Writer(index) => {
                let index = *index;
                self.hub.tell_ports(|| PortMessage::WriterGone(index));
            }
            Role::Directory | Role::Keeper | Role::Control => {}
        }
        self.workers[place].state = if self.stopping.is_some() {
            State::Done
        } else {
            State::Waiting(now + delay)
        };
    }

    fn replace_silent(&mut self, now: Millis) {
        if now < self.judge_from {
            return;
        }
        for place in 0..self.workers.len() {
            let worker = &self.workers[place];
            if !matches!(worker.state, State::Running | State::Restarting)
                || !worker.life.is_silent(now)
            {
                continue;
            }
            let life = Arc::clone(&worker.life);
            let (name, generation, age) = (life.name(), life.generation(), life.age(now));
            life.retire();
            facts::say(
                Fact::ThreadSilent,
                format_args!(
                    "name={name:?} generation={generation} silent_ms={age}: a new one takes its place"
                ),
            );
            let reason = format!("no heartbeat for {age} ms");
            self.note(&life, "silent", &reason);
            self.zombies.push(worker.retired());
            self.bury(place, &reason);
        }
    }

    fn start_waiting(&mut self, now: Millis) {
        for place in 0..self.workers.len() {
            if !matches!(self.workers[place].state, State::Waiting(at) if at <= now) {
                continue;
            }
            let mut worker = self.workers.swap_remove(place);
            if let Err(error) = self.start(&mut worker) {
                let delay = worker.fail(&error.to_string(), now);
                worker.state = State::Waiting(now + delay.max(SECOND_MS));
                facts::say(
                    Fact::ThreadDied,
                    format_args!("name={:?} error={error}: not started", worker.life.name()),
                );
            }
            self.workers.push(worker);
            let last = self.workers.len() - 1;
            self.workers.swap(place, last);
        }
        self.workers.retain(|worker| worker.state != State::Done);
    }

    /// Restarts threads one after the other: the next when the last one runs and beats again.
    fn roll(&mut self, now: Millis) {
        let Some(name) = self.restarts.last().cloned() else {
            return;
        };
        let busy = self
            .workers
            .iter()
            .any(|worker| !matches!(worker.state, State::Running));
        if busy
            || self
                .workers
                .iter()
                .any(|worker| worker.life.age(now) > SECOND_MS * 2)
        {
            return;
        }
        self.restarts.pop();
        self.restart(&name);
    }

    /// Asks a thread to end, for its next generation to start. False when there is none of that name.
    fn restart(&mut self, name: &str) -> bool {
        let Some(worker) = self
            .workers
            .iter_mut()
            .find(|worker| worker.life.name() == name)
        else {
            return false;
        };
        if worker.state == State::Running {
            worker.state = State::Restarting;
            worker.life.stop(RESTART_FINISH);
            let life = Arc::clone(&worker.life);
            self.note(&life, "restart", "asked");
        }
        true
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
        }
    }

    fn begin_stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let stop = self.conf.timeouts.stop;
        systemd::stopping("stopping");
        facts::say(Fact::Daemon, format_args!("stopping within={stop:?}"));
        self.restarts.clear();
        self.stopping = Some(Stopping {
            deadline: clock::now() + clock::millis(stop),
            stage: Stage::Ports,
        });
        let finish = stop.saturating_sub(STOP_RESERVE).max(stop / 2);
        for worker in &mut self.workers {
            if let Role::Port(_) = worker.role {
                worker.life.stop(finish);
            }
            if let State::Waiting(_) = worker.state {
                worker.state = State::Done;
            }
        }
    }

    /// Goes on with stopping: ports first, then what waits behind them. True when everything has ended or time is up.
    fn is_stopped(&mut self, now: Millis) -> bool {
        let is_port = |worker: &Worker| matches!(worker.role, Role::Port(_));
        let is_writer = |worker: &Worker| matches!(worker.role, Role::Writer(_));
        let ports_left = self.workers.iter().any(is_port);
        let writers_left = self.workers.iter().any(is_writer);
        let Some(stopping) = &mut self.stopping else {
            return false;
        };
        let left = Duration::from_millis(stopping.deadline.saturating_sub(now));
        match stopping.stage {
            Stage::Ports if !ports_left => {
                stopping.stage = Stage::Writers;
                for worker in self.workers.iter().filter(|worker| is_writer(worker)) {
                    worker.life.drain(left.saturating_sub(STOP_RESERVE / 2));
                }
            }
            Stage::Writers if !writers_left => {
                stopping.stage = Stage::Rest;
                for worker in &self.workers {
                    worker.life.stop(left);
                }
            }
            _ => {}
        }
        if self.workers.is_empty() || left.is_zero() {
            let acked: u64 = self
                .hub
                .ports()
                .iter()
                .map(|port| {
                    port.counts
                        .packets_acked
                        .load(std::sync::atomic::Ordering::Relaxed)
                })
                .sum();
            let queued: usize = self.writer_queues.iter().map(Receiver::len).sum();
            let (threads, zombies) = (self.workers.len(), self.zombies.len());
            facts::flush(Millis::MAX);
            facts::say(
                Fact::Daemon,
                format_args!(
                    "stopped packets_acked={acked} packets_unacked={queued} threads_left={} ",
                    threads + zombies
                ),
            );
            return true;
        }
        false
    }

    fn note(&self, life: &crate::life::Life, event: &'static str, reason: &str) {
        self.notes.leave(Note::PortEvent {
            at_us: clock::wall_us(),
            thread: life.name().to_owned(),
            generation: life.generation(),
            event,
            reason: reason.to_owned(),
        });
    }

    fn publish(&self) {
        let threads = self
            .workers
            .iter()
            .chain(&self.zombies)
            .map(Worker::report)
            .collect();
        let unbound = self.unbound.iter().map(Unbound::report).collect();
        self.hub.publish(self.bound_ports(), threads, unbound);
    }

    /// The state in one line, for systemd and the log.
    fn status_line(&self) -> String {
        let ports = self.bound_ports();
        let sessions: usize = ports.iter().map(|port| port.n_sessions()).sum();
        let troubles = control::server::troubles(&self.hub);
        let trouble = troubles.first().map_or_else(String::new, |first| {
            format!(
                "; degraded: {first}{}",
                if troubles.len() > 1 { ", …" } else { "" }
            )
        });
        format!(
            "{} ports, {sessions} sessions, {} devices{trouble}",
            ports.len(),
            self.hub.fleet.len()
        )
    }

    fn log_state(&self) {
        self.publish();
        let status = control::server::status(&self.hub);
        facts::say(Fact::State, format_args!("{}", self.status_line()));
        let (used, limit, receive) = (status.queue_bytes, status.queue_limit, status.receive_bytes);
        facts::say(
            Fact::State,
            format_args!("queue bytes={used} limit={limit} receive_bytes={receive}"),
        );
        for thread in &status.threads {
            log::info!(target: "trackport", "state thread={:?} generation={} state={} beat_age_ms={} failures={} last_failure={:?}", thread.name, thread.generation, thread.state, thread.beat_age_ms, thread.failures, thread.last_failure);
        }
        for port in &status.ports {
            log::info!(target: "trackport", "state port={} state={} sessions={} connections={} packets={} records={} bytes={}", port.label, port.state, port.sessions, port.connections, port.packets, port.records, port.bytes);
        }
        for writer in &status.writers {
            log::info!(target: "trackport", "state writer={} database={} queued={} batches={} records={} last_batch_ms={} last_error={:?}", writer.name, writer.database, writer.queued, writer.batches, writer.records, writer.last_batch_ms, writer.last_error);
        }
        for (name, n) in &status.counts {
            log::info!(target: "trackport", "state fact={name:?} count={n}");
        }
    }
}
