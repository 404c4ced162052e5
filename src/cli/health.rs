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
use crate::hub::TURN_MAX_MS;
use crate::trouble::Readiness;

/// What may follow `trackport health`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Healthy only if what devices send now is acknowledged: a port is served, and database or spool takes packets
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
    if let Some(reason) = unhealthy(&status, args.ready) {
        writeln!(out, "unhealthy: {}", printable(&reason))?;
        return Err(Failed.into());
    }
    match status.troubles.first() {
        None => writeln!(out, "healthy")?,
        Some(trouble) => writeln!(out, "healthy, degraded: {}", printable(trouble))?,
    }
    Ok(())
}

/// What makes the server unhealthy, if anything does.
fn unhealthy(status: &Status, must_be_ready: bool) -> Option<String> {
    // Only a new process could mend that; the supervisor replaces every other thread itself.
    if status.supervisor_turned_ms_ago > TURN_MAX_MS {
        let seconds = status.supervisor_turned_ms_ago / 1000;
        return Some(format!("the supervisor has stood still for {seconds} s"));
    }
    // What keeps packets from being acknowledged stands first.
    (must_be_ready && status.readiness == Readiness::NotReady.name())
        .then(|| status.troubles.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_supervisor_that_stands_still_is_a_reason_for_a_restart() {
        let mut status = Status {
            readiness: "not_ready".to_owned(),
            troubles: vec!["nothing takes packets".to_owned()],
            ..Status::default()
        };
        assert_eq!(unhealthy(&status, false), None);
        assert_eq!(
            unhealthy(&status, true).as_deref(),
            Some("nothing takes packets")
        );
        status.readiness = "degraded".to_owned();
        assert_eq!(unhealthy(&status, true), None);
        status.supervisor_turned_ms_ago = 20_000;
        assert_eq!(
            unhealthy(&status, false).as_deref(),
            Some("the supervisor has stood still for 20 s")
        );
    }
}
