//! Stopping in order: ports finish what they handed over, then writers empty their queues, then the rest. The spool takes over
//! meanwhile what the database does not take in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::worker::{Role, State, Worker};
use super::{Supervisor, systemd};
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::port::{Counts, Port};

/// What is kept of the stop time-out for the threads behind the writers.
const STOP_RESERVE: Duration = Duration::from_secs(2);

/// How far the stop has come.
pub(super) struct Stopping {
    deadline: Millis,
    stage: Stage,
    /// For the last count.
    ports: Vec<Arc<Port>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Ports,
    Writers,
    Rest,
}

impl Supervisor {
    pub(super) fn begin_stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let stop = self.conf.timeouts.stop;
        self.hub.stopping.store(true, Ordering::Relaxed);
        systemd::stopping("stopping");
        facts::say(Fact::Daemon, format_args!("stopping within={stop:?}"));
        self.restarts.clear();
        self.stopping = Some(Stopping {
            deadline: clock::now() + clock::millis(stop),
            stage: Stage::Ports,
            ports: self.bound_ports(),
        });
        let finish = stop.saturating_sub(STOP_RESERVE).max(stop / 2);
        for worker in &mut self.workers {
            if let Role::Port(_) | Role::Drain = worker.role {
                worker.stop(finish);
            }
            if let State::Waiting(_) = worker.state {
                // Ports wait for the receipts of writers and the spool; everything else is not needed any more.
                worker.state = match worker.role {
                    Role::Writer(_) | Role::Spooler => State::Waiting(0),
                    _ => State::Done,
                };
            }
        }
    }

    /// Goes on with stopping: ports first, then what waits behind them. True when everything has ended or time is up.
    pub(super) fn is_stopped(&mut self, now: Millis) -> bool {
        let is_port = |worker: &Worker| matches!(worker.role, Role::Port(_));
        let is_writer = |worker: &Worker| matches!(worker.role, Role::Writer(_));
        let ports_left = self.workers.iter().any(is_port);
        let writers_left = self.workers.iter().any(is_writer);
        let Some(stopping) = &mut self.stopping else {
            return false;
        };
        let left = Duration::from_millis(stopping.deadline.saturating_sub(now));
        match stopping.stage {
            Stage::Ports if !ports_left => stopping.stage = Stage::Writers,
            Stage::Writers if !writers_left => stopping.stage = Stage::Rest,
            _ => {}
        }
        // Looked at again and again: a thread that dies meanwhile has a successor that was not told.
        for worker in self.workers.iter().filter(|one| !one.life.is_stopping()) {
            match stopping.stage {
                Stage::Ports => {}
                Stage::Writers if is_writer(worker) => {
                    worker.life.drain(left.saturating_sub(STOP_RESERVE / 2));
                }
                Stage::Writers => {}
                Stage::Rest => worker.life.stop(left),
            }
        }
        if self.workers.is_empty() || left.is_zero() {
            let ports = &stopping.ports;
            let sum = |count: fn(&Counts) -> &AtomicU64| -> u64 {
                ports
                    .iter()
                    .map(|port| count(&port.counts).load(Ordering::Relaxed))
                    .sum()
            };
            let acked = sum(|counts| &counts.packets_acked);
            let unacked = sum(|counts| &counts.packets_unacked);
            let threads_left = self.workers.len() + self.zombies.len();
            facts::flush(Millis::MAX);
            facts::say(
                Fact::Daemon,
                format_args!(
                    "stopped packets_acked={acked} packets_unacked={unacked} threads_left={threads_left}"
                ),
            );
            return true;
        }
        false
    }
}
