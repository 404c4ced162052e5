//! The daemon's signals, heard by signal-hook and read by the supervisor's loop.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals as Hook;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// TERM, INT: stop.
    Stop,
    /// HUP: read the conf again.
    Reload,
    /// USR1: restart every thread, one after the other.
    RestartThreads,
    /// USR2: log the state of everything.
    LogState,
}

/// The signals that arrived.
pub struct Signals {
    hook: Hook,
}

impl Signals {
    /// Catches the signals from now on. Goes before anything else: until then TERM ends the process as it likes.
    ///
    /// # Errors
    /// When the system refuses handlers.
    pub fn install() -> io::Result<Signals> {
        Ok(Signals {
            hook: Hook::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?,
        })
    }

    /// What was asked for since the last call; repeats of one signal count once.
    pub fn requests(&mut self) -> Vec<Request> {
        self.hook
            .pending()
            .filter_map(|signal| match signal {
                SIGTERM | SIGINT => Some(Request::Stop),
                SIGHUP => Some(Request::Reload),
                SIGUSR1 => Some(Request::RestartThreads),
                SIGUSR2 => Some(Request::LogState),
                _ => None,
            })
            .collect()
    }
}
