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

use super::messages::{
    DeviceNow, Port, Remark, Request, Response, Session, Spool, Stall, Status, Thread, Writer,
};
use super::trace;
use crate::batch::Link;
use crate::clock;
use crate::facts::{self, Fact};
use crate::hub::{Ask, Hub, Listener};
use crate::imei::Imei;
use crate::life::Life;
use crate::logging;
use crate::mailbox::{CloseReason, Store};
use crate::port;
use crate::spooler::{self, SpoolState};
use crate::trouble;

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
        Request::Device { imei } => device(hub, &imei),
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
    let troubles = trouble::troubles(hub);
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        application: hub.application(),
        conf: hub.conf_path.display().to_string(),
        started_at: clock::text(hub.started_at_us),
        uptime_s: u64::try_from((clock::wall_us() - hub.started_at_us) / 1_000_000).unwrap_or(0),
        supervisor_turned_ms_ago: hub.supervisor_age(),
        readiness: trouble::readiness(&troubles),
        troubles: troubles.iter().map(ToString::to_string).collect(),
        n_devices: hub.fleet.len(),
        devices_loaded: hub.fleet.is_loaded(),
        queue_bytes: hub.room.used(),
        queue_limit: hub.room.limit(),
        receive_bytes: hub.receive_used.load(Ordering::Relaxed),
        receive_limit: hub.receive_limit,
        sessions_limit: hub.sessions_max.load(Ordering::Relaxed),
        acks_database: hub.acks.counted(Store::Database).total(),
        acks_spool: hub.acks.counted(Store::Spool).total(),
        quarantine_full_devices: quarantine.n_full,
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
        stalls: hub.stalls.list().iter().map(stall).collect(),
        remarks: facts::remarks().into_iter().map(remark).collect(),
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
    let unbound = hub.unbound();
    for unbound in unbound
        .into_iter()
        .filter(|one| one.listener == Listener::Port)
    {
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
            silences: thread.n_silences,
            last_failure: thread.last_failure,
        });
    }
    status
}

fn stall(stall: &port::Stall) -> Stall {
    Stall {
        network: stall.network.to_string(),
        packets: stall.n_packets,
        in_a_row: stall.n_in_a_row,
        received: stall.received as u64,
        expected: stall.expected.map(|bytes| bytes as u64),
        last_at: clock::text(stall.last_at_us),
    }
}

fn remark(remark: facts::Remark) -> Remark {
    Remark {
        fact: remark.fact.name().to_owned(),
        level: remark.fact.level().as_str().to_ascii_lowercase(),
        text: remark.text,
        at: clock::text(remark.at_us),
    }
}

fn spool(state: &SpoolState, hub: &Hub) -> Spool {
    let (depth, rates, trouble) = (state.depth(), state.rates(), state.trouble());
    let is_up = hub.writers.iter().any(|seat| seat.state.link() == Link::Up);
    let word = match (state.spool(), &trouble) {
        (None, _) => "not usable",
        (Some(_), Some((spooler::Trouble::Full, _))) => "full",
        (Some(_), Some((spooler::Trouble::Failing, _))) => "failing",
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
        oldest_age_s: depth
            .oldest_received_at_us
            .map(|at| u64::try_from((clock::wall_us() - at) / 1_000_000).unwrap_or(0)),
        records_in_per_s: rates.records_in,
        records_out_per_s: rates.records_out,
        empty_in_s: state.time_left().map(|left| left.as_secs()),
        full_in_s: state.time_until_full().map(|left| left.as_secs()),
        total_packets_in: state.total_in().0,
        total_packets_out: state.total_out().0,
        total_records_in: state.total_in().1,
        total_records_out: state.total_out().1,
        set_aside_files: depth.set_aside_files,
        set_aside_bytes: depth.set_aside_bytes,
    }
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

/// What `text` names, or the answer that it names none.
fn named(text: &str) -> Result<Imei, Response> {
    text.parse().map_err(|error| Response::Error {
        text: format!("{text:?}: {error}"),
    })
}

fn device(hub: &Hub, imei: &str) -> Response {
    let imei = match named(imei) {
        Ok(imei) => imei,
        Err(answer) => return answer,
    };
    Response::Device {
        is_loaded: hub.fleet.is_loaded(),
        device: hub.fleet.get(imei).map(|device| DeviceNow {
            id: device.id(),
            state: device.state().to_string(),
            is_kept_out: device.is_kept_out(clock::now()),
            n_holders: device.n_holders(),
        }),
    }
}

fn close_session(hub: &Hub, imei: &str) -> Response {
    let imei = match named(imei) {
        Ok(imei) => imei,
        Err(answer) => return answer,
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
