//! `trackport run`: the daemon in the foreground, as systemd runs it.

use std::path::Path;

use crate::port::passed::Passed;
use crate::supervisor::{self, Outcome, signals::Signals};

use super::Failed;

/// What may follow `trackport run`; the conf file says everything else.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When the conf cannot be used, or when too many threads hang.
pub fn run(_: &Args, conf_path: &Path) -> anyhow::Result<()> {
    // Before anything else: a process without handlers ends as the signal likes.
    let signals = Signals::install()?;
    // While there is no thread that reads the environment.
    let passed = Passed::to_this_process();
    crate::logging::init();
    supervisor::thread::install_panic_hook();
    // The tests name the faults they want in FAILPOINTS; a release knows no faults.
    #[cfg(feature = "faults")]
    let _faults = fail::FailScenario::setup();
    let conf = crate::conf::load(conf_path)?;
    crate::logging::apply(&conf.log);
    match supervisor::run(conf_path, conf, signals, passed)? {
        Outcome::Stopped => Ok(()),
        Outcome::BeyondMending => Err(Failed.into()),
    }
}
