//! `trackport health`: one line and an exit code for whoever starts containers.
//!
//! Asks the running server over its control socket. Two questions that are easily taken for one: whether the server is alive,
//! which is all that a restart could mend, and whether it acknowledges what devices send.

use std::io::{self, Write};
use std::path::Path;

use super::Failed;
use super::status::ask_status;
use super::text::printable;
use crate::control::messages::Status;

/// The supervisor publishes every second; without a word for this long it stands still, and so does whatever it watches.
const SUPERVISOR_SILENT_MS: u64 = 15_000;

/// What may follow `trackport health`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Healthy only if what devices send now is acknowledged: every port bound, and database or spool takes packets
    #[arg(long)]
    pub ready: bool,
}

/// Says whether the running server is healthy.
///
/// # Errors
/// The mistakes of the conf file, a server that does not answer; `Failed` when it is not healthy.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    let status = ask_status(path)?;
    let mut out = io::stdout().lock();
    let mut reasons = dead(&status);
    if args.ready {
        reasons.extend(unready(&status));
    }
    if !reasons.is_empty() {
        writeln!(out, "unhealthy: {}", printable(&reasons.join("; ")))?;
        return Err(Failed.into());
    }
    match status.troubles.first() {
        None => writeln!(out, "healthy")?,
        Some(trouble) => writeln!(out, "healthy, degraded: {}", printable(trouble))?,
    }
    Ok(())
}

/// What only a new process could mend. The supervisor replaces every other thread itself.
fn dead(status: &Status) -> Vec<String> {
    if status.supervisor_beat_ms <= SUPERVISOR_SILENT_MS {
        return Vec::new();
    }
    let seconds = status.supervisor_beat_ms / 1000;
    vec![format!("the supervisor has said nothing for {seconds} s")]
}

/// What keeps packets that arrive now from being acknowledged.
fn unready(status: &Status) -> Vec<String> {
    let mut reasons = Vec::new();
    for port in &status.ports {
        if port.state != "running" {
            reasons.push(format!("port {}: {}", port.label, port.state));
        }
    }
    let spool_takes = !matches!(
        status.spool.state.as_str(),
        "not usable" | "full" | "failing"
    );
    for writer in &status.writers {
        if writer.database != "up" && !spool_takes {
            reasons.push(format!(
                "{}: database {}, spool {}",
                writer.name, writer.database, status.spool.state
            ));
        }
    }
    if !status.devices_loaded && status.n_devices == 0 {
        reasons.push("the device list is not loaded, and there is no copy of it".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::messages::{Port, Spool, Writer};

    fn server(database: &str, spool: &str, port: &str) -> Status {
        Status {
            devices_loaded: true,
            n_devices: 1,
            writers: vec![Writer {
                name: "writer-0".to_owned(),
                database: database.to_owned(),
                last_error: String::new(),
                queued: 0,
                batches: 0,
                records: 0,
                last_batch_ms: 0,
            }],
            spool: Spool {
                state: spool.to_owned(),
                ..Spool::default()
            },
            ports: vec![Port {
                label: "[::]:5027".to_owned(),
                state: port.to_owned(),
                sessions: 0,
                connections: 0,
                packets: 0,
                records: 0,
                bytes: 0,
                last_ack_at: None,
                device: None,
                reason: None,
            }],
            ..Status::default()
        }
    }

    #[test]
    fn ready_is_who_acknowledges_by_database_or_spool() {
        for (database, spool, port, n_reasons) in [
            ("up", "empty", "running", 0),
            ("up", "not usable", "running", 0),
            ("away", "taking", "running", 0),
            ("away", "full", "running", 1),
            ("away", "failing", "running", 1),
            ("away", "not usable", "not bound", 2),
            ("up", "empty", "not bound", 1),
        ] {
            let reasons = unready(&server(database, spool, port));
            assert_eq!(
                reasons.len(),
                n_reasons,
                "{database} {spool} {port}: {reasons:?}"
            );
        }
        let mut status = server("away", "empty", "running");
        status.devices_loaded = false;
        assert!(
            unready(&status).is_empty(),
            "devices are known by their copy"
        );
        status.n_devices = 0;
        assert_eq!(unready(&status).len(), 1);
    }

    #[test]
    fn nothing_but_a_silent_supervisor_is_a_reason_for_a_restart() {
        let mut status = server("away", "full", "not bound");
        assert!(dead(&status).is_empty());
        status.supervisor_beat_ms = 20_000;
        assert_eq!(dead(&status), ["the supervisor has said nothing for 20 s"]);
    }
}
