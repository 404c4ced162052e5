//! What trackport counts: ports, acks, writers, queue, spool, quarantine, threads, troubles, facts.
//!
//! Names are never changed: alerts and dashboards of others rest on them. `conf/prometheus-alerts.yml` and
//! `conf/grafana-dashboard.json` use them too.

use std::fmt;

use super::families::{Families, Labels, Steps, label};
use crate::acks::{BOUNDS_MS, Counted};
use crate::control::messages::{self, Status};
use crate::control::server;
use crate::facts::{self, Fact};
use crate::hub::Hub;
use crate::mailbox::Store;
use crate::trouble::{self, Readiness, Trouble};

const STORES: [(Store, &str); 2] = [(Store::Database, "database"), (Store::Spool, "spool")];

pub(super) fn write(to: &mut Families<'_>, hub: &Hub) -> fmt::Result {
    let status = server::status(hub);
    about(to, hub, &status)?;
    ports(to, &status)?;
    acks(to, hub)?;
    writers(to, &status)?;
    limits(to, &status)?;
    spool(to, &status.spool)?;
    quarantine(to, &status)?;
    threads(to, hub, &status)?;
    let facts = Fact::ALL.iter().map(|&fact| {
        let level = fact.level().as_str().to_ascii_lowercase();
        let labels = vec![("fact", fact.name().to_owned()), ("level", level)];
        (labels, facts::total(fact))
    });
    to.counters(
        "trackport_facts",
        "How often each notable fact of the log happened, lines that were folded included.",
        facts,
    )
}

fn about(to: &mut Families<'_>, hub: &Hub, status: &Status) -> fmt::Result {
    to.info(
        "trackport_build",
        "Which trackport this is.",
        &label("version", &status.version),
    )?;
    let troubles = trouble::troubles(hub);
    let readiness = trouble::readiness(&troubles);
    to.gauge(
        "trackport_ready",
        "1 while packets can be acknowledged, as /readyz says.",
        u64::from(readiness != Readiness::NotReady),
    )?;
    to.gauge(
        "trackport_degraded",
        "1 while packets are acknowledged and something that they rest on is missing, or they are not.",
        u64::from(readiness != Readiness::Ready),
    )?;
    let kinds = Trouble::KINDS.iter().map(|&kind| {
        let n = troubles.iter().filter(|one| one.kind() == kind).count();
        (label("kind", kind), n as u64)
    });
    to.gauges(
        "trackport_troubles",
        "What is wrong now, by kind; trackport status and /readyz have it in words.",
        kinds,
    )?;
    let database_away = troubles.iter().any(|one| one.kind() == "database");
    to.gauge(
        "trackport_database_up",
        "1 while all who need the database reach it, and 0 from the moment on in which one of them does not.",
        u64::from(!database_away),
    )?;
    to.gauge(
        "trackport_devices",
        "Devices known, whatever their state.",
        status.n_devices,
    )?;
    to.gauge(
        "trackport_devices_loaded",
        "1 when the device list was loaded from the database.",
        u64::from(status.devices_loaded),
    )?;
    let doubted = troubles.contains(&Trouble::Clock);
    to.gauge(
        "trackport_clock_doubted",
        "1 while clocks or records disagree about the time and a person has to look.",
        u64::from(doubted),
    )
}

fn ports(to: &mut Families<'_>, status: &Status) -> fmt::Result {
    let all = &status.ports;
    let bound = || all.iter().filter(|port| port.reason.is_none());
    let named = |port: &messages::Port| label("port", &port.label);
    to.gauges(
        "trackport_port_up",
        "1 while the port is bound and its thread runs.",
        all.iter()
            .map(|port| (named(port), u64::from(port.state == "running"))),
    )?;
    to.gauge(
        "trackport_ports_unbound",
        "Ports of the conf that could not be bound.",
        all.iter().filter(|port| port.reason.is_some()).count(),
    )?;
    to.gauges(
        "trackport_sessions",
        "Open connections.",
        bound().map(|port| (named(port), port.sessions)),
    )?;
    to.counters(
        "trackport_connections",
        "Connections accepted.",
        bound().map(|port| (named(port), port.connections)),
    )?;
    to.counters(
        "trackport_packets_acked",
        "Packets acknowledged.",
        bound().map(|port| (named(port), port.packets)),
    )?;
    to.counters(
        "trackport_records_acked",
        "Records acknowledged.",
        bound().map(|port| (named(port), port.records)),
    )?;
    to.counters(
        "trackport_received_bytes",
        "Bytes read from devices.",
        bound().map(|port| (named(port), port.bytes)),
    )
}

fn acks(to: &mut Families<'_>, hub: &Hub) -> fmt::Result {
    let counted = STORES.map(|(store, name)| (name, hub.acks.counted(store)));
    to.counters(
        "trackport_acks",
        "Acknowledgements by where their packet was durable.",
        counted
            .iter()
            .map(|(name, counted)| (label("store", *name), counted.total())),
    )?;
    to.histograms(
        "trackport_ack_latency_seconds",
        "From the last byte of a packet to its acknowledgement, by where it was durable.",
        counted.map(|(name, counted)| (label("store", name), steps(&counted))),
    )
}

fn steps(counted: &Counted) -> Steps {
    let bounds = BOUNDS_MS.iter().map(|&ms| ms as f64 / 1e3);
    Steps {
        sum: counted.sum_us as f64 / 1e6,
        steps: bounds.chain([f64::INFINITY]).zip(counted.steps).collect(),
    }
}

fn writers(to: &mut Families<'_>, status: &Status) -> fmt::Result {
    let each = || {
        let named = |writer: &messages::Writer| label("writer", &writer.name);
        status.writers.iter().map(move |one| (named(one), one))
    };
    to.gauges(
        "trackport_writer_database_up",
        "1 while the writer's database answers; one with nothing to store finds out with its next packet.",
        each().map(|(labels, one)| (labels, u64::from(one.database == "up"))),
    )?;
    to.gauges(
        "trackport_writer_queued_packets",
        "Packets that wait for the writer.",
        each().map(|(labels, one)| (labels, one.queued)),
    )?;
    to.counters(
        "trackport_writer_batches",
        "Batches stored.",
        each().map(|(labels, one)| (labels, one.batches)),
    )?;
    to.counters(
        "trackport_writer_records",
        "Records stored.",
        each().map(|(labels, one)| (labels, one.records)),
    )?;
    to.gauges(
        "trackport_writer_last_batch_seconds",
        "How long the last batch took.",
        each().map(|(labels, one)| (labels, one.last_batch_ms as f64 / 1e3)),
    )
}

fn limits(to: &mut Families<'_>, status: &Status) -> fmt::Result {
    for (name, help, value) in [
        (
            "trackport_queue_bytes",
            "Packets on their way to the database or the spool.",
            status.queue_bytes,
        ),
        (
            "trackport_queue_limit_bytes",
            "How much of them there may be: [limits] queue.",
            status.queue_limit,
        ),
        (
            "trackport_receive_bytes",
            "Incomplete packets of all sessions.",
            status.receive_bytes,
        ),
        (
            "trackport_waiting_bytes",
            "Packets that wait for room in the queue.",
            status.waiting_bytes,
        ),
        (
            "trackport_receive_limit_bytes",
            "How much there may be of each of these two: [limits] receive.",
            status.receive_limit,
        ),
        (
            "trackport_sessions_limit",
            "Sessions that all ports together may have, by the descriptors of the process.",
            status.sessions_limit,
        ),
    ] {
        to.gauge(name, help, value as f64)?;
    }
    Ok(())
}

fn spool(to: &mut Families<'_>, spool: &messages::Spool) -> fmt::Result {
    let states = messages::Spool::STATES.iter().map(|&state| {
        let labels = label("state", state.replace(' ', "_"));
        (labels, u64::from(spool.state == state))
    });
    to.gauges(
        "trackport_spool_state",
        "1 for the state that the spool is in.",
        states,
    )?;
    for (name, help, value) in [
        (
            "trackport_spool_bytes",
            "Bytes of the spool's files.",
            spool.bytes,
        ),
        (
            "trackport_spool_room_bytes",
            "Bytes that may still be added, by max_size and by what is kept free on its disk.",
            spool.room_bytes,
        ),
        (
            "trackport_spool_segments",
            "Files of the spool.",
            spool.segments,
        ),
        (
            "trackport_spool_packets",
            "Packets in the spool that are not in the database yet.",
            spool.packets,
        ),
        (
            "trackport_spool_records",
            "Records in the spool that are not in the database yet.",
            spool.records,
        ),
        (
            "trackport_spool_oldest_age_seconds",
            "How long ago the oldest packet in the spool arrived; 0 when it is empty.",
            spool.oldest_age_s.unwrap_or(0),
        ),
        (
            "trackport_spool_set_aside_files",
            "Files that were set aside because something in them could not be read.",
            spool.set_aside_files,
        ),
        (
            "trackport_spool_set_aside_bytes",
            "Their bytes.",
            spool.set_aside_bytes,
        ),
    ] {
        to.gauge(name, help, value)?;
    }
    for (name, help, value) in [
        (
            "trackport_spool_packets_in",
            "Packets that were kept in the spool.",
            spool.total_packets_in,
        ),
        (
            "trackport_spool_packets_out",
            "Packets that were brought from the spool to the database.",
            spool.total_packets_out,
        ),
        (
            "trackport_spool_records_in",
            "Records that were kept in the spool.",
            spool.total_records_in,
        ),
        (
            "trackport_spool_records_out",
            "Records that were brought from the spool to the database.",
            spool.total_records_out,
        ),
    ] {
        to.counter(name, help, value)?;
    }
    Ok(())
}

fn quarantine(to: &mut Families<'_>, status: &Status) -> fmt::Result {
    to.gauges(
        "trackport_quarantine_packets",
        "Packets in quarantine: acked ones are the only copies, the others rotate.",
        [
            (label("kind", "acked"), status.quarantine_acked),
            (label("kind", "unacked"), status.quarantine_unacked),
        ],
    )?;
    to.gauge(
        "trackport_quarantine_alerting_packets",
        "Acked packets in quarantine that nobody has stored, removed or dismissed.",
        status.quarantine_alerting,
    )?;
    to.gauge(
        "trackport_quarantine_full_devices",
        "Devices without room in quarantine: their unreadable packets are not acked.",
        status.quarantine_full_devices,
    )
}

fn threads(to: &mut Families<'_>, hub: &Hub, status: &Status) -> fmt::Result {
    // A former life that hangs has the name of its successor.
    let is_present = |thread: &&messages::Thread| thread.state != "retired";
    let each = || {
        let named = |thread: &messages::Thread| label("thread", &thread.name);
        let present = status.threads.iter().filter(is_present);
        present.map(move |one| (named(one), one))
    };
    to.gauges(
        "trackport_thread_up",
        "1 while the thread runs.",
        each().map(|(labels, one)| (labels, u64::from(one.state == "running"))),
    )?;
    let failures = each().flat_map(|(labels, one)| {
        let of = |reason: &str, n: u32| -> (Labels, u64) {
            let mut labels = labels.clone();
            labels.push(("reason", reason.to_owned()));
            (labels, u64::from(n))
        };
        [
            of("died", one.failures.saturating_sub(one.silences)),
            of("silent", one.silences),
        ]
    });
    to.counters(
        "trackport_thread_failures",
        "How often the thread died or went silent; each time another took its place.",
        failures,
    )?;
    to.gauges(
        "trackport_thread_heartbeat_age_seconds",
        "Since the thread gave a sign of life.",
        each().map(|(labels, one)| (labels, one.beat_age_ms as f64 / 1e3)),
    )?;
    to.gauge(
        "trackport_threads_retired",
        "Threads that hang and whose place another has taken.",
        status.threads.iter().filter(|one| !is_present(one)).count(),
    )?;
    to.gauge(
        "trackport_supervisor_turn_age_seconds",
        "Since the supervisor's loop turned, which it does every 50 ms.",
        hub.supervisor_age() as f64 / 1e3,
    )
}
