//! What the supervisor tells: the hub's lists, the state in one line for systemd, the state in full for the log.

use std::sync::atomic::Ordering;

use super::ports::Unbound;
use super::worker::Worker;
use super::{Supervisor, descriptors, web};
use crate::control;
use crate::facts::{self, Fact};
use crate::trouble;

impl Supervisor {
    pub(super) fn publish(&self) {
        let threads = self
            .workers
            .iter()
            .chain(&self.zombies)
            .map(Worker::report)
            .collect();
        let unbound = self
            .unbound
            .iter()
            .map(Unbound::report)
            .chain(self.web_unbound.iter().map(web::Unbound::report))
            .collect();
        let ports = self.bound_ports();
        let sessions_max = descriptors::sessions_max(
            ports.len(),
            self.hub.writers.len(),
            self.conf.http.listen.is_some(),
        );
        self.port_around
            .sessions_max
            .store(sessions_max, Ordering::Relaxed);
        self.hub.publish(ports, threads, unbound);
    }

    /// The state in one line, for systemd and the log.
    pub(super) fn status_line(&self) -> String {
        let ports = self.bound_ports();
        let sessions: usize = ports.iter().map(|port| port.n_sessions()).sum();
        let troubles = trouble::troubles(&self.hub);
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

    pub(super) fn log_state(&self) {
        self.publish();
        let status = control::server::status(&self.hub);
        facts::say(Fact::State, format_args!("{}", self.status_line()));
        let (used, limit) = (status.queue_bytes, status.queue_limit);
        let (receive, waiting) = (status.receive_bytes, status.waiting_bytes);
        facts::say(
            Fact::State,
            format_args!(
                "queue bytes={used} limit={limit} receive_bytes={receive} waiting_bytes={waiting}"
            ),
        );
        facts::say(
            Fact::State,
            format_args!(
                "quarantine acked={} alerting={} unacked={}",
                status.quarantine_acked, status.quarantine_alerting, status.quarantine_unacked
            ),
        );
        for thread in &status.threads {
            facts::tell(
                Fact::State,
                format_args!(
                    "thread={:?} generation={} state={} beat_age_ms={} failures={} last_failure={:?}",
                    thread.name,
                    thread.generation,
                    thread.state,
                    thread.beat_age_ms,
                    thread.failures,
                    thread.last_failure
                ),
            );
        }
        for port in &status.ports {
            facts::tell(
                Fact::State,
                format_args!(
                    "port={} state={} sessions={} connections={} packets={} records={} bytes={}",
                    port.label,
                    port.state,
                    port.sessions,
                    port.connections,
                    port.packets,
                    port.records,
                    port.bytes
                ),
            );
        }
        for writer in &status.writers {
            facts::tell(
                Fact::State,
                format_args!(
                    "writer={} database={} queued={} batches={} records={} last_batch_ms={} last_error={:?}",
                    writer.name,
                    writer.database,
                    writer.queued,
                    writer.batches,
                    writer.records,
                    writer.last_batch_ms,
                    writer.last_error
                ),
            );
        }
        let spool = &status.spool;
        facts::tell(
            Fact::State,
            format_args!(
                "spool={} segments={} bytes={} packets={} records={} records_in={} records_out={} trouble={:?}",
                spool.state,
                spool.segments,
                spool.bytes,
                spool.packets,
                spool.records,
                spool.total_records_in,
                spool.total_records_out,
                spool.trouble
            ),
        );
        for (name, n) in &status.counts {
            facts::tell(Fact::State, format_args!("count_of={name:?} count={n}"));
        }
    }
}
