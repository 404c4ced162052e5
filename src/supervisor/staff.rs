//! The threads: started, buried when they die, retired when they go silent, started again, rolled over on request.

use std::sync::Arc;

use super::policy;
use super::thread::{self, Ended, Ending};
use super::worker::{Role, State, Worker};
use super::{RESTART_FINISH, SECOND_MS, Supervisor};
use crate::clock::{self, Millis};
use crate::control;
use crate::directory;
use crate::drain;
use crate::facts::{self, Fact};
use crate::keeper;
use crate::notes::Note;
use crate::port;
use crate::recompute;
use crate::roster;
use crate::spooler;
use crate::web;
use crate::writer;

/// How long a device is kept out after its session stopped a thread.
const KEEP_OUT_MS: Millis = 60_000;

impl Supervisor {
    /// Adds a thread and starts it.
    pub(super) fn hire(&mut self, role: Role) -> std::io::Result<()> {
        let mut worker = Worker::new(role, &self.conf.timeouts);
        self.start(&mut worker)?;
        self.workers.push(worker);
        Ok(())
    }

    /// Starts the next generation of a thread.
    pub(super) fn start(&mut self, worker: &mut Worker) -> std::io::Result<()> {
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
                    seat: self.hub.writers[index].clone(),
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
            Role::Spooler => {
                let around = spooler::Surroundings {
                    state: Arc::clone(&self.hub.spool),
                    queue: self.spool_queue.clone(),
                    writers: self.hub.writers.clone(),
                    doors: self.port_around.doors.clone(),
                    room: Arc::clone(&self.hub.room),
                    spool: self.conf.spool.clone(),
                    timeouts: self.conf.timeouts.clone(),
                };
                thread::start(&life, ended, move |life| {
                    spooler::run(life, &around);
                    Ok(())
                })
            }
            Role::Drain => {
                let around = drain::Surroundings {
                    hub: Arc::clone(&self.hub),
                    state: Arc::clone(&self.drain_line),
                    progress: Arc::clone(&self.drain_progress),
                    notes: self.notes.clone(),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    application: self.application.clone(),
                };
                thread::start(&life, ended, move |life| {
                    drain::run(life, &around);
                    Ok(())
                })
            }
            Role::Directory => {
                let around = directory::Surroundings {
                    questions: self.directory_queue.clone(),
                    hub: Arc::clone(&self.hub),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    copy: roster::file(&self.conf.spool.directory),
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
            Role::Recompute => {
                let around = recompute::Surroundings {
                    hub: Arc::clone(&self.hub),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    application: self.application.clone(),
                };
                thread::start(&life, ended, move |life| {
                    recompute::run(life, &around);
                    Ok(())
                })
            }
            Role::Control => {
                let (socket, hub) = (self.conf.control.socket.clone(), Arc::clone(&self.hub));
                let is_successor = self
                    .zombies
                    .iter()
                    .any(|zombie| matches!(zombie.role, Role::Control));
                thread::start(&life, ended, move |life| {
                    control::server::run(&socket, life, &hub, is_successor)
                })
            }
            Role::Web(site) => {
                let around = web::Around {
                    hub: Arc::clone(&self.hub),
                    http: self.conf.http.clone(),
                    desk: self.desk.clone(),
                    board: Arc::clone(&self.board),
                };
                thread::start(&life, ended, move |life| {
                    web::thread::run(&site, life, &around)
                })
            }
            Role::Query(pool, _) => {
                let around = web::query::Surroundings {
                    pool,
                    questions: self.questions.of(pool),
                    hub: Arc::clone(&self.hub),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    application: self.application.clone(),
                };
                thread::start(&life, ended, move |life| {
                    web::query::run(life, &around);
                    Ok(())
                })
            }
            Role::Live => {
                let around = web::live::thread::Surroundings {
                    board: Arc::clone(&self.board),
                    hub: Arc::clone(&self.hub),
                    database: self.conf.database.clone(),
                    timeouts: self.conf.timeouts.clone(),
                    application: self.application.clone(),
                };
                thread::start(&life, ended, move |life| {
                    web::live::thread::run(life, &around);
                    Ok(())
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

    pub(super) fn handle_ended(&mut self, ended: &Ended) {
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
                    State::Restarting if self.stopping.is_none() => {
                        worker.state = State::Waiting(0);
                    }
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
    pub(super) fn bury(&mut self, place: usize, reason: &str) {
        let now = clock::now();
        let worker = &mut self.workers[place];
        let delay = worker.fail(reason, now);
        match &worker.role {
            Role::Port(bound) => {
                let turn = bound.take_turn();
                let sessions = bound.shut_down_sessions();
                let n_sessions = sessions.len();
                for (imei, session) in sessions {
                    // The thread cannot say any more that they are gone.
                    if let Some(device) = self.hub.fleet.get(imei)
                        && device.leave(&session)
                        && let Some(device_id) = device.id()
                    {
                        let at_us = clock::wall_us();
                        self.notes.leave(Note::LoggedOut { device_id, at_us });
                    }
                }
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
                log::info!(
                    "sessions shut down port={} sessions={n_sessions}",
                    bound.label
                );
            }
            Role::Writer(index) => {
                // Their devices send them again.
                self.hub.writers[*index].hand.abandon();
                // What it had in hand has given its room back, and nobody else tells those who wait for it.
                self.hub.room.wake();
            }
            Role::Spooler => {
                self.hub.spool.hand.abandon();
                self.hub.room.wake();
            }
            Role::Drain
            | Role::Directory
            | Role::Keeper
            | Role::Recompute
            | Role::Control
            | Role::Web(_)
            | Role::Query(..)
            | Role::Live => {}
        }
        let worker = &mut self.workers[place];
        // While stopping, writers and the spool are still needed: ports wait for their receipts.
        let is_needed =
            self.stopping.is_none() || matches!(worker.role, Role::Writer(_) | Role::Spooler);
        worker.state = match worker.state {
            State::Leaving => State::Done,
            _ if is_needed => State::Waiting(now + delay),
            _ => State::Done,
        };
    }

    pub(super) fn replace_silent(&mut self, now: Millis) {
        if now < self.judge_from {
            return;
        }
        for place in 0..self.workers.len() {
            let worker = &self.workers[place];
            let is_live = matches!(
                worker.state,
                State::Running | State::Restarting | State::Leaving
            );
            if !is_live || !worker.life.is_silent(now) {
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
            self.workers[place].count_silence();
            self.zombies.push(self.workers[place].retired());
            self.bury(place, &reason);
        }
    }

    pub(super) fn start_waiting(&mut self, now: Millis) {
        for place in 0..self.workers.len() {
            if !matches!(self.workers[place].state, State::Waiting(at) if at <= now)
                || self.must_wait_for_zombies(&self.workers[place])
            {
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

    /// Whether two lives of a thread hang in the database, on the disk or in the web already: a third would hang as well.
    fn must_wait_for_zombies(&self, worker: &Worker) -> bool {
        let name = worker.life.name();
        let hang = self
            .zombies
            .iter()
            .filter(|zombie| zombie.life.name() == name)
            .count();
        (worker.role.may_hang() || worker.role.is_dispensable())
            && hang >= policy::DATABASE_ZOMBIES_MAX
    }

    /// Whether so many threads hang, or one so long, that only a new process helps.
    pub(super) fn is_beyond_mending(&self, now: Millis) -> bool {
        let (outside, elsewhere): (Vec<_>, Vec<_>) = self
            .zombies
            .iter()
            .filter(|zombie| !zombie.role.is_dispensable())
            .partition(|zombie| zombie.role.may_hang());
        elsewhere.len() > policy::ZOMBIES_MAX
            || outside
                .iter()
                .any(|zombie| zombie.life.age(now) > policy::ZOMBIE_AGE_MAX_MS)
    }

    /// Restarts threads one after the other: the next when the last one runs and beats again.
    pub(super) fn roll(&mut self, now: Millis) {
        let Some(name) = self.restarts.last().cloned() else {
            return;
        };
        let is_busy = |worker: &Worker| {
            worker.state != State::Running || worker.life.age(now) > SECOND_MS * 2
        };
        if self
            .workers
            .iter()
            .any(|worker| !worker.role.is_dispensable() && is_busy(worker))
        {
            return;
        }
        self.restarts.pop();
        self.restart(&name);
    }

    /// Asks a thread to end, for its next generation to start. False when there is none of that name.
    pub(super) fn restart(&mut self, name: &str) -> bool {
        let Some(worker) = self
            .workers
            .iter_mut()
            .find(|worker| worker.life.name() == name)
        else {
            return false;
        };
        if worker.state == State::Running {
            worker.state = State::Restarting;
            worker.stop(RESTART_FINISH);
            let life = Arc::clone(&worker.life);
            self.note(&life, "restart", "asked");
        }
        true
    }

    pub(super) fn note(&self, life: &crate::life::Life, event: &'static str, reason: &str) {
        self.notes.leave(Note::PortEvent {
            at_us: clock::wall_us(),
            thread: life.name().to_owned(),
            generation: life.generation(),
            event,
            reason: reason.to_owned(),
        });
    }
}
