//! `trackport health`: one line and an exit code for whoever starts containers.
//!
//! Asks the running server over its control socket. Two questions that are easily taken for one: whether the server is alive,
//! which is all that a restart could mend, and whether it acknowledges what devices send. `/healthz` and `/readyz` of
//! the web answer the same two.

use std::io::{self, Write};
use std::path::Path;

use super::Failed;
use super::status::ask_status;
use super::text::printable;
use crate::control::messages::Status;
use crate::hub::SUPERVISOR_TURN_MAX_MS;
use crate::trouble::Readiness;

/// What may follow `trackport health`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Healthy only if what devices send now is acknowledged, by the database or the spool; the same as /readyz
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
    match unhealthy(&status, args.ready) {
        Some(reason) => {
            writeln!(out, "unhealthy: {}", printable(&reason))?;
            Err(Failed.into())
        }
        None => {
            match status.troubles.first() {
                None => writeln!(out, "healthy")?,
                Some(trouble) => writeln!(out, "healthy; wrong: {}", printable(trouble))?,
            }
            Ok(())
        }
    }
}

/// Why the server is not healthy, if it is not. Only a new process could mend a supervisor that stands still; every other thread
/// is replaced by it.
fn unhealthy(status: &Status, must_be_ready: bool) -> Option<String> {
    if status.supervisor_turned_ms_ago > SUPERVISOR_TURN_MAX_MS {
        let seconds = status.supervisor_turned_ms_ago / 1000;
        return Some(format!("the supervisor has stood still for {seconds} s"));
    }
    // What keeps packets from being acknowledged stands first.
    (must_be_ready && status.readiness == Readiness::NotReady).then(|| {
        status
            .troubles
            .first()
            .map_or_else(|| "not ready".to_owned(), Clone::clone)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_supervisor_that_stands_still_is_a_reason_for_a_restart() {
        let mut status = Status {
            readiness: Readiness::NotReady,
            troubles: vec!["no port is served".to_owned()],
            ..Status::default()
        };
        assert_eq!(unhealthy(&status, false), None);
        assert_eq!(
            unhealthy(&status, true).as_deref(),
            Some("no port is served")
        );
        status.readiness = Readiness::Degraded;
        assert_eq!(unhealthy(&status, true), None);
        status.supervisor_turned_ms_ago = 20_000;
        for must_be_ready in [false, true] {
            assert_eq!(
                unhealthy(&status, must_be_ready).as_deref(),
                Some("the supervisor has stood still for 20 s")
            );
        }
    }
}
