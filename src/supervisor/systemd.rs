//! What systemd is told: ready, reloading, stopping, the state in words, and that the watchdog may rest.
//!
//! Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::facts::{self, Fact};

/// Tells systemd that the service is up.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells systemd that the conf is read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => facts::say(Fact::NotifyFailed, format_args!("error={error}")),
    }
}

/// Tells systemd that the service ends.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Tells systemd the state in one line.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Feeds the watchdog.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the watchdog wants to be fed, if there is one.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        facts::say(Fact::NotifyFailed, format_args!("error={error}"));
    }
}
