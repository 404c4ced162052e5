//! What systemd is told: ready, reloading, stopping, the state in words, and that the watchdog may rest; and which sockets it
//! keeps for the next process.
//!
//! Without systemd every call does nothing.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
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

/// Gives systemd a copy of a listening socket, which it passes to the next process, however this one ends.
pub fn keep_socket(address: &SocketAddr, listener: &TcpListener) {
    let name = socket_name(address);
    let states = [NotifyState::FdStore, NotifyState::FdName(&name)];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[listener.as_fd()]) {
        facts::say(Fact::NotifyFailed, format_args!("error={error}"));
    }
}

/// Tells systemd not to keep the socket of this address any more.
pub fn forget_socket(address: &SocketAddr) {
    forget_socket_named(&socket_name(address));
}

/// Tells systemd not to keep the sockets of this name any more.
pub fn forget_socket_named(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// The address, as far as systemd allows it in a name.
fn socket_name(address: &SocketAddr) -> String {
    address.to_string().replace(':', ".")
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        facts::say(Fact::NotifyFailed, format_args!("error={error}"));
    }
}
