//! The state of a server as an operator reads it at night: what is wrong first, then what one looks at next.
//!
//! Knows the messages of the control socket. Reads no clock.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use super::super::text::{Table, ago, amount, bytes, count, printable, span};
use crate::control::messages::{Session, Status};
use crate::port::thread_name;

/// Ports shown in `status`; a range may have a hundred, and `port list` shows them all.
const PORTS_MAX: usize = 20;

/// Everything, in this order: troubles, ports, writers, threads, counters.
pub(super) fn status(out: &mut impl Write, status: &Status, now: SystemTime) -> io::Result<()> {
    writeln!(
        out,
        "trackport {}, process {}, up for {}, conf {}",
        printable(&status.version),
        status.pid,
        span(Duration::from_secs(status.uptime_s)),
        printable(&status.conf)
    )?;
    writeln!(out)?;
    if status.troubles.is_empty() {
        writeln!(out, "Nothing is wrong.")?;
    } else {
        writeln!(out, "WRONG:")?;
        for trouble in &status.troubles {
            writeln!(out, "  {}", printable(trouble))?;
        }
    }
    writeln!(out)?;
    let n_sessions: usize = status.ports.iter().map(|port| port.sessions).sum();
    let devices = if status.devices_loaded {
        count(status.n_devices, "device")
    } else {
        "device list not loaded".to_owned()
    };
    writeln!(
        out,
        "{} on {}; {devices}; queue {} of {}; half packets {}",
        count(n_sessions, "session"),
        count(status.ports.len(), "port"),
        bytes(status.queue_bytes as u64),
        bytes(status.queue_limit as u64),
        bytes(status.receive_bytes as u64)
    )?;
    if status.quarantine_acked + status.quarantine_unacked > 0 {
        writeln!(
            out,
            "quarantine: {} kept for good, {} of them not dismissed; {} not acknowledged",
            amount(status.quarantine_acked),
            amount(status.quarantine_alerting),
            amount(status.quarantine_unacked)
        )?;
    }
    for trace in &status.traces {
        let to = if trace.to_log {
            "the log"
        } else {
            "a terminal"
        };
        let (imei, until) = (printable(&trace.imei), printable(&trace.until));
        writeln!(out, "traced: {imei} to {to} until {until}")?;
    }
    if status.log_lines_lost > 0 {
        let lost = usize::try_from(status.log_lines_lost).unwrap_or(usize::MAX);
        writeln!(
            out,
            "log: {} lost, because nobody read them in time",
            count(lost, "line")
        )?;
    }
    writeln!(out)?;
    spool(out, status, now)?;
    writeln!(out)?;
    port_table(status, now, PORTS_MAX).write(out, "")?;
    if status.ports.len() > PORTS_MAX {
        writeln!(
            out,
            "and {} more: `trackport port list`",
            status.ports.len() - PORTS_MAX
        )?;
    }
    writeln!(out)?;
    writer_table(status).write(out, "")?;
    writeln!(out)?;
    threads(out, status)?;
    counters(out, status)
}

/// What lies in the spool, in a sentence or two.
fn spool(out: &mut impl Write, status: &Status, now: SystemTime) -> io::Result<()> {
    let spool = &status.spool;
    if spool.records == 0 && spool.packets == 0 {
        write!(out, "spool {}", spool.state)?;
    } else {
        write!(
            out,
            "spool {}: {} records in {}, {}",
            spool.state,
            amount(spool.records),
            count(
                usize::try_from(spool.segments).unwrap_or(usize::MAX),
                "file"
            ),
            bytes(spool.bytes)
        )?;
        if let Some(oldest) = &spool.oldest_at {
            write!(out, ", the oldest from {}", ago_text(oldest, now))?;
        }
        write!(
            out,
            "; in {} and out {} records/s",
            amount(spool.records_in_per_s),
            amount(spool.records_out_per_s)
        )?;
    }
    write!(out, "; room for {}", bytes(spool.room_bytes))?;
    if let Some(left) = spool.empty_in_s.filter(|_| spool.records > 0) {
        write!(out, "; empty in {}", span(Duration::from_secs(left)))?;
    }
    if let Some(left) = spool.full_in_s {
        write!(out, "; full in {}", span(Duration::from_secs(left)))?;
    }
    if spool.set_aside_files > 0 {
        let files = usize::try_from(spool.set_aside_files).unwrap_or(usize::MAX);
        write!(
            out,
            "; {} set aside: `trackport spool list`",
            count(files, "file")
        )?;
    }
    writeln!(out)
}

/// The ports, all of them.
pub(super) fn ports(out: &mut impl Write, status: &Status, now: SystemTime) -> io::Result<()> {
    port_table(status, now, usize::MAX).write(out, "")
}

/// Those that are not as they should be stand first, then the order of the conf.
fn port_table(status: &Status, now: SystemTime, n_max: usize) -> Table {
    let mut table = Table::new([
        "PORT", "STATE", "SESSIONS", "ACCEPTED", "PACKETS", "RECORDS", "READ", "LAST ACK",
        "FAILURES", "REMARK",
    ]);
    let (right, wrong): (Vec<_>, Vec<_>) = status
        .ports
        .iter()
        .partition(|port| port.state == "running");
    for port in wrong.into_iter().chain(right).take(n_max) {
        let thread = status
            .threads
            .iter()
            .find(|thread| thread.name == thread_name(&port.label));
        let remark = [
            port.reason.clone(),
            port.device
                .as_ref()
                .map(|imei| format!("only device {imei}")),
        ];
        table.row(&[
            port.label.clone(),
            port.state.clone(),
            amount(port.sessions as u64),
            amount(port.connections),
            amount(port.packets),
            amount(port.records),
            bytes(port.bytes),
            port.last_ack_at
                .as_deref()
                .map_or_else(|| "never".to_owned(), |at| ago_text(at, now)),
            thread.map_or_else(|| "-".to_owned(), |thread| amount(thread.failures.into())),
            remark.into_iter().flatten().collect::<Vec<_>>().join("; "),
        ]);
    }
    table
}

fn writer_table(status: &Status) -> Table {
    let mut table = Table::new([
        "WRITER",
        "DATABASE",
        "QUEUED",
        "BATCHES",
        "RECORDS",
        "LAST BATCH",
        "LAST ERROR",
    ]);
    for writer in &status.writers {
        table.row(&[
            writer.name.clone(),
            writer.database.clone(),
            amount(writer.queued as u64),
            amount(writer.batches),
            amount(writer.records),
            span(Duration::from_millis(writer.last_batch_ms)),
            writer.last_error.clone(),
        ]);
    }
    table
}

/// Threads that run and never failed are told by their number, the others each.
fn threads(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let mut table = Table::new(["THREAD", "STATE", "LAST BEAT", "STARTS", "FAILURES", "WHY"]);
    let mut n_well = 0;
    for thread in &status.threads {
        if thread.state == "running" && thread.failures == 0 {
            n_well += 1;
            continue;
        }
        table.row(&[
            thread.name.clone(),
            thread.state.clone(),
            format!("{} ago", span(Duration::from_millis(thread.beat_age_ms))),
            amount(thread.generation),
            amount(thread.failures.into()),
            thread.last_failure.clone(),
        ]);
    }
    let slowest = status.threads.iter().map(|thread| thread.beat_age_ms).max();
    writeln!(
        out,
        "{} without a failure; the oldest beat is {} old",
        count(n_well, "thread"),
        span(Duration::from_millis(slowest.unwrap_or(0)))
    )?;
    if table.is_empty() {
        Ok(())
    } else {
        table.write(out, "")
    }
}

fn counters(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let mut table = Table::new(["SINCE THE START", "COUNT"]);
    for (name, n) in status.counts.iter().filter(|(_, n)| *n > 0) {
        table.row(&[name.replace('_', " "), amount(*n)]);
    }
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table.write(out, "")
}

/// The sessions, and how many there are.
pub(super) fn sessions(
    out: &mut impl Write,
    sessions: &[Session],
    total: usize,
    now: SystemTime,
) -> io::Result<()> {
    if sessions.is_empty() {
        return writeln!(out, "no sessions");
    }
    let mut table = Table::new(["DEVICE", "PORT", "FROM", "CONNECTED"]);
    for session in sessions {
        table.row(&[
            session
                .imei
                .clone()
                .unwrap_or_else(|| "not logged in".to_owned()),
            session.port.clone(),
            session.peer.clone(),
            ago_text(&session.connected_at, now),
        ]);
    }
    table.write(out, "")?;
    if sessions.len() < total {
        writeln!(
            out,
            "{} of {total} sessions; --limit shows more",
            sessions.len()
        )
    } else {
        writeln!(out, "{}", count(total, "session"))
    }
}

/// How long ago a time in RFC 3339 was; what is none is shown as it is.
fn ago_text(at: &str, now: SystemTime) -> String {
    at.parse::<jiff::Timestamp>()
        .map_or_else(|_| at.to_owned(), |at| ago(SystemTime::from(at), now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::messages::{Port, Thread, Writer};

    fn port(label: &str, state: &str) -> Port {
        Port {
            label: label.to_owned(),
            state: state.to_owned(),
            sessions: 2,
            connections: 10,
            packets: 1000,
            records: 12_345,
            bytes: 2_000_000,
            last_ack_at: Some("1970-01-01T00:00:10Z".to_owned()),
            device: None,
            reason: (state == "not bound").then(|| "in use".to_owned()),
        }
    }

    fn text(status: &Status) -> String {
        let mut out = Vec::new();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(310);
        super::status(&mut out, status, now).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn troubles_stand_before_everything_else() {
        let mut status = Status {
            version: "1".to_owned(),
            devices_loaded: true,
            n_devices: 3,
            queue_limit: 256 << 20,
            ports: vec![port("[::]:5027", "running"), port("[::]:5028", "not bound")],
            counts: vec![("packets_acked".to_owned(), 1000), ("never".to_owned(), 0)],
            ..Status::default()
        };
        assert!(text(&status).contains("Nothing is wrong."));
        status.troubles.push("writer-0: database away".to_owned());
        let text = text(&status);
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("{part} in {text}"))
        };
        assert!(at("WRONG:\n  writer-0: database away") < at("4 sessions on 2 ports; 3 devices"));
        assert!(
            at("[::]:5028") < at("[::]:5027"),
            "what is wrong stands first"
        );
        assert!(at("12 345") < at("1.9 MiB") && at("1.9 MiB") < at("5 min ago"));
        assert!(at("packets acked") > 0 && !text.contains("never\n"));
    }

    #[test]
    fn a_thread_that_failed_is_shown_with_its_reason() {
        let thread = |name: &str, failures| Thread {
            name: name.to_owned(),
            generation: 3,
            state: "running".to_owned(),
            beat_age_ms: 120,
            failures,
            silences: 0,
            last_failure: if failures > 0 { "panicked: x" } else { "" }.to_owned(),
        };
        let status = Status {
            threads: vec![thread("writer-0", 2), thread("keeper", 0)],
            writers: vec![Writer {
                name: "writer-0".to_owned(),
                database: "up".to_owned(),
                last_error: String::new(),
                queued: 0,
                batches: 1,
                records: 10,
                last_batch_ms: 3,
            }],
            ..Status::default()
        };
        let text = text(&status);
        assert!(
            text.contains("1 thread without a failure; the oldest beat is 120 ms old"),
            "{text}"
        );
        assert!(text.contains("panicked: x"), "{text}");
    }

    #[test]
    fn a_cut_list_of_sessions_says_so() {
        let session = Session {
            port: "[::]:5027".to_owned(),
            peer: "192.0.2.1:4000".to_owned(),
            imei: None,
            connected_at: "1970-01-01T00:00:10Z".to_owned(),
        };
        let mut out = Vec::new();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(70);
        sessions(&mut out, &[session], 5, now).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("not logged in  [::]:5027  192.0.2.1:4000  60 s ago"),
            "{text}"
        );
        assert!(text.ends_with("1 of 5 sessions; --limit shows more\n"));
    }
}
