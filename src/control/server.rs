//! The control thread: answers the command line over a local socket, one question at a time.
//!
//! It reads what others publish and asks the supervisor for what only that may do. If it dies, ingestion does not notice.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::messages::{Port, Request, Response, Session, Spool, Status, Thread, Writer};
use super::trace;
use crate::batch::Link;
use crate::clock;
use crate::facts::{self, Fact};
use crate::hub::{Ask, Hub};
use crate::imei::Imei;
use crate::life::Life;
use crate::logging;
use crate::mailbox::CloseReason;
use crate::spooler::{SpoolState, Trouble};
use crate::store::held::Counts;

/// How long one question may take to arrive and its answer to leave.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a question at most.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;

/// Answers at `path` until `life` says stop; `is_successor` when a retired thread of
/// this process may still listen there.
///
/// # Errors
/// When the socket cannot be made there.
pub fn run(path: &Path, life: &Life, hub: &Arc<Hub>, is_successor: bool) -> Result<(), String> {
    let listener = listen(path, is_successor)
        .map_err(|error| format!("[control] socket {}: {error}", path.display()))?;
    let mut listener = mio::net::UnixListener::from_std(listener);
    let mut poll = Poll::new().map_err(|error| error.to_string())?;
    poll.registry()
        .register(&mut listener, Token(0), Interest::READABLE)
        .map_err(|error| error.to_string())?;
    let mut events = Events::with_capacity(8);
    while !life.is_stopping() {
        life.beat();
        if let Err(error) = poll.poll(
            &mut events,
            Some(life.patience().min(Duration::from_millis(250))),
        ) && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.to_string());
        }
        // Until WouldBlock, as an edge-triggered wait demands.
        while let Ok((stream, _)) = listener.accept() {
            life.beat();
            if let Err(error) = serve(&stream.into(), hub) {
                facts::say(Fact::ControlFailed, format_args!("error={error}"));
            }
        }
    }
    if !life.is_retired() {
        // The next start finds no stale file. An error means that it is gone already.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn listen(path: &Path, is_successor: bool) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        // A predecessor that hangs still listens there.
        if !is_successor && UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                ErrorKind::AddrInUse,
                "another trackport answers there",
            ));
        }
        fs::remove_file(path)?;
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let listener = UnixListener::bind(path)?;
    // The owner and the group may speak; nobody else.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(stream: &UnixStream, hub: &Arc<Hub>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PEER_TIMEOUT))?;
    stream.set_write_timeout(Some(PEER_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let response = match serde_json::from_str(&line) {
        Ok(Request::Trace { imei, for_s, log }) => {
            // Its answers are many, so they are another thread's: the next question waits for none of them.
            match trace::begin(hub, &imei, Duration::from_secs(for_s), log, stream) {
                Ok(Some(done)) => Response::Done { text: done },
                Ok(None) => return Ok(()),
                Err(text) => Response::Error { text },
            }
        }
        Ok(request) => answer(request, hub),
        Err(error) => Response::Error {
            text: format!("not understood: {error}"),
        },
    };
    let mut bytes = serde_json::to_vec(&response)?;
    bytes.push(b'\n');
    let mut stream = stream;
    stream.write_all(&bytes)
}

fn answer(request: Request, hub: &Arc<Hub>) -> Response {
    match request {
        Request::Status => Response::Status(Box::new(status(hub))),
        Request::Sessions { imei, port, limit } => {
            sessions(hub, imei.as_deref(), port.as_deref(), limit)
        }
        Request::CloseSession { imei } => close_session(hub, &imei),
        Request::RestartPort { port } => restart_port(hub, &port),
        Request::Trace { .. } => Response::Error {
            text: "a trace has answers of its own".to_owned(),
        },
    }
}

/// What the running server says of itself.
pub fn status(hub: &Hub) -> Status {
    let now = clock::now();
    let quarantine = hub.quarantine();
    let threads = hub.threads();
    let ports = hub.ports();
    let state_of = |label: &str| {
        let name = crate::port::thread_name(label);
        threads
            .iter()
            .find(|thread| thread.life.name() == name)
            .map_or("stopped", |thread| thread.state)
    };
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        conf: hub.conf_path.display().to_string(),
        started_at: clock::text(hub.started_at_us),
        uptime_s: u64::try_from((clock::wall_us() - hub.started_at_us) / 1_000_000).unwrap_or(0),
        troubles: troubles(hub),
        n_devices: hub.fleet.len(),
        devices_loaded: hub.fleet.is_loaded(),
        queue_bytes: hub.room.used(),
        queue_limit: hub.room.limit(),
        receive_bytes: hub.receive_used.load(Ordering::Relaxed),
        spool: spool(&hub.spool, hub),
        quarantine_acked: quarantine.n_acked,
        quarantine_alerting: quarantine.n_alerting,
        quarantine_unacked: quarantine.n_unacked,
        traces: trace::list(hub),
        log_lines_lost: logging::n_lost(),
        waiting_bytes: hub.waiting_used.load(Ordering::Relaxed),
        counts: facts::totals()
            .into_iter()
            .map(|(name, n)| (name.to_owned(), n))
            .collect(),
        ..Status::default()
    };
    for (index, seat) in hub.writers.iter().enumerate() {
        let (batches, records, last_batch_ms) = seat.state.counts();
        status.writers.push(Writer {
            name: format!("writer-{index}"),
            database: seat.state.link().name().to_owned(),
            last_error: seat.state.last_error(),
            queued: seat.queue.len(),
            batches,
            records,
            last_batch_ms,
        });
    }
    for port in &ports {
        let last_ack_us = port.counts.last_ack_us.load(Ordering::Relaxed);
        status.ports.push(Port {
            label: port.label.clone(),
            state: state_of(&port.label).to_owned(),
            sessions: port.n_sessions(),
            connections: port.counts.connections.load(Ordering::Relaxed),
            packets: port.counts.packets_acked.load(Ordering::Relaxed),
            records: port.counts.records_acked.load(Ordering::Relaxed),
            bytes: port.counts.bytes_read.load(Ordering::Relaxed),
            last_ack_at: (last_ack_us > 0)
                .then(|| clock::text(i64::try_from(last_ack_us).unwrap_or(0))),
            device: port.conf.device.map(|imei| imei.to_string()),
            reason: None,
        });
    }
    for unbound in hub.unbound() {
        status.ports.push(Port {
            label: unbound.listen,
            state: "not bound".to_owned(),
            sessions: 0,
            connections: 0,
            packets: 0,
            records: 0,
            bytes: 0,
            last_ack_at: None,
            device: None,
            reason: Some(unbound.reason),
        });
    }
    for thread in threads {
        status.threads.push(Thread {
            name: thread.life.name().to_owned(),
            generation: thread.life.generation(),
            state: thread.state.to_owned(),
            beat_age_ms: thread.life.age(now),
            failures: thread.n_failures,
            last_failure: thread.last_failure,
        });
    }
    status
}

fn spool(state: &SpoolState, hub: &Hub) -> Spool {
    let (depth, rates, trouble) = (state.depth(), state.rates(), state.trouble());
    let is_up = hub.writers.iter().any(|seat| seat.state.link() == Link::Up);
    let word = match (state.spool(), &trouble) {
        (None, _) => "not usable",
        (Some(_), Some((Trouble::Full, _))) => "full",
        (Some(_), Some((Trouble::Failing, _))) => "failing",
        _ if state.is_taking() => "taking",
        _ if depth.records == 0 => "empty",
        _ if is_up => "draining",
        _ => "waiting",
    };
    Spool {
        state: word.to_owned(),
        trouble: trouble.map(|(_, text)| text),
        segments: depth.segments,
        bytes: depth.bytes,
        room_bytes: state.room(),
        packets: depth.entries,
        records: depth.records,
        oldest_at: depth.oldest_received_at_us.map(clock::text),
        records_in_per_s: rates.records_in,
        records_out_per_s: rates.records_out,
        empty_in_s: state.time_left().map(|left| left.as_secs()),
        full_in_s: state.time_until_full().map(|left| left.as_secs()),
        total_records_in: state.total_in().1,
        total_records_out: state.total_out().1,
        set_aside_files: depth.set_aside_files,
        set_aside_bytes: depth.set_aside_bytes,
    }
}

/// What is wrong now, in words; empty when nothing is.
pub fn troubles(hub: &Hub) -> Vec<String> {
    let mut troubles = Vec::new();
    for (index, seat) in hub.writers.iter().enumerate() {
        if seat.state.link() != Link::Up {
            let (link, error) = (seat.state.link().name(), seat.state.last_error());
            troubles.push(
                format!("writer-{index}: database {link} {error}")
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    if let Some((_, trouble)) = hub.spool.trouble() {
        troubles.push(format!("spool: {trouble}"));
    }
    if !hub.fleet.is_loaded() {
        troubles.push(match hub.fleet.len() {
            0 => "the device list is not loaded; nobody can tell who is known".to_owned(),
            n => format!(
                "the device list is not loaded; {n} devices are known by its copy, or were let in as new ones"
            ),
        });
    }
    if hub.clock_doubted.load(Ordering::Relaxed) {
        troubles.push(
            "the clocks or the newest record disagree about the time; the log says more".to_owned(),
        );
    }
    for unbound in hub.unbound() {
        troubles.push(format!("port {}: {}", unbound.listen, unbound.reason));
    }
    for thread in hub.threads() {
        if thread.state != "running" {
            troubles.push(format!(
                "{}: {} ({})",
                thread.life.name(),
                thread.state,
                thread.last_failure
            ));
        }
    }
    troubles.extend(quarantine_troubles(&hub.quarantine()));
    troubles
}

/// What in quarantine needs a person; nothing, once somebody has stored, removed or dismissed it.
fn quarantine_troubles(counts: &Counts) -> Vec<String> {
    let some = |n: u64, one: &str, more: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {more}"),
    };
    let mut troubles = Vec::new();
    if counts.n_alerting > 0 {
        let packets = some(counts.n_alerting, "packet is", "packets are");
        troubles.push(format!(
            "{packets} in quarantine for good, the only copy: `trackport quarantine list --acked`; retry, or export and remove, or \
             dismiss ends this"
        ));
    }
    if counts.n_full > 0 {
        let devices = some(counts.n_full, "device has", "devices have");
        troubles.push(format!(
            "{devices} no room left in quarantine, their unreadable packets are not acked: `trackport quarantine list --acked`; \
             retry, or export and remove"
        ));
    }
    troubles
}

fn sessions(hub: &Hub, imei: Option<&str>, port: Option<&str>, limit: usize) -> Response {
    let imei: Option<Imei> = match imei.map(str::parse).transpose() {
        Ok(imei) => imei,
        Err(error) => {
            let imei = imei.unwrap_or_default();
            return Response::Error {
                text: format!("{imei:?}: {error}"),
            };
        }
    };
    let mut sessions = Vec::new();
    let mut total = 0;
    for bound in hub.ports() {
        if port.is_some_and(|wanted| !is_port(&bound.label, wanted)) {
            continue;
        }
        let (entries, n_sessions) = bound.sessions(imei, limit - sessions.len());
        total += n_sessions;
        sessions.extend(entries.into_iter().map(|entry| Session {
            port: bound.label.clone(),
            peer: entry.peer.to_string(),
            imei: entry.imei.map(|imei| imei.to_string()),
            connected_at: clock::text(entry.connected_at_us),
        }));
    }
    Response::Sessions { sessions, total }
}

fn close_session(hub: &Hub, imei: &str) -> Response {
    let imei: Imei = match imei.parse() {
        Ok(imei) => imei,
        Err(error) => {
            return Response::Error {
                text: format!("{imei:?}: {error}"),
            };
        }
    };
    match hub.fleet.get(imei).and_then(|device| device.session()) {
        Some(session) => {
            session.close(CloseReason::Asked);
            Response::Done {
                text: format!("the session of {imei} is being closed"),
            }
        }
        None => Response::Error {
            text: format!("{imei} has no session"),
        },
    }
}

fn restart_port(hub: &Hub, port: &str) -> Response {
    let labels: Vec<String> = hub
        .ports()
        .iter()
        .map(|bound| bound.label.clone())
        .filter(|label| is_port(label, port))
        .collect();
    let [label] = labels.as_slice() else {
        let text = match labels.as_slice() {
            [] => format!("no port {port:?} is bound; `trackport port list` shows them"),
            several => format!("{port:?} fits several ports: {}", several.join(", ")),
        };
        return Response::Error { text };
    };
    let (sender, receiver) = crossbeam_channel::bounded(1);
    if hub
        .asks
        .try_send(Ask::RestartPort(label.clone(), sender))
        .is_err()
    {
        return Response::Error {
            text: "the supervisor is busy; try again".to_owned(),
        };
    }
    match receiver.recv_timeout(PEER_TIMEOUT) {
        Ok(true) => Response::Done {
            text: format!("port {label} is being restarted"),
        },
        Ok(false) => Response::Error {
            text: format!("port {label} is gone"),
        },
        Err(_) => Response::Error {
            text: "the supervisor did not answer in time".to_owned(),
        },
    }
}

/// Whether `wanted`, a label or a number, means the port with this label.
fn is_port(label: &str, wanted: &str) -> bool {
    label == wanted || label.rsplit(':').next() == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_is_a_trouble_until_somebody_has_dealt_with_it() {
        let mut counts = Counts {
            n_acked: 7,
            n_alerting: 3,
            n_unacked: 20,
            n_full: 0,
        };
        let troubles = quarantine_troubles(&counts);
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert!(troubles[0].starts_with("3 packets are in quarantine for good"));
        counts.n_alerting = 0;
        assert!(quarantine_troubles(&counts).is_empty());
        // A device that is not acked any more stays a trouble, whatever was dismissed.
        counts.n_full = 1;
        assert!(quarantine_troubles(&counts)[0].starts_with("1 device has no room"));
    }
}
