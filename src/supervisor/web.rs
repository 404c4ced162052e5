//! The web's sockets: bound, tried again when they could not be, and moved by a reload.
//!
//! Whatever becomes of them concerns the web alone.

use std::sync::Arc;
use std::time::Duration;

use super::worker::{Role, State, Worker};
use super::{RESTART_FINISH, Supervisor, systemd};
use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::conf::Http;
use crate::facts::{self, Fact};
use crate::hub::{Listener, UnboundReport};
use crate::port::bind;
use crate::web::Site;
use crate::web::ask::Pool;

/// Between two tries to bind.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The web without a socket.
pub(super) struct Unbound {
    listen: String,
    reason: String,
    backoff: Backoff,
    retry_at: Millis,
}

impl Unbound {
    pub(super) fn report(&self) -> UnboundReport {
        UnboundReport {
            listener: Listener::Web,
            listen: self.listen.clone(),
            reason: self.reason.clone(),
        }
    }
}

impl Supervisor {
    /// Opens the web where the conf says, or tries again later.
    pub(super) fn open_web(&mut self) {
        let Some(listen) = self.conf.http.listen.clone() else {
            return;
        };
        let before = self.web_unbound.take();
        let (mut bound, mut reasons) = (Vec::new(), Vec::new());
        for result in bind::bind(&listen, &self.passed) {
            match result {
                Ok(one) => {
                    reasons.extend(one.warning.clone());
                    if !one.passed {
                        systemd::keep_socket(&one.address, &one.listener);
                    }
                    bound.push(one);
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let mut reason = reasons.join("; ");
        if !bound.is_empty() {
            let addresses: Vec<_> = bound.iter().map(|one| one.address).collect();
            let site = Site::new(bound);
            let label = site.label();
            match self
                .hire_queries()
                .and_then(|()| self.hire(Role::Web(Arc::new(site))))
            {
                Ok(()) => {
                    if !reason.is_empty() {
                        facts::say(Fact::PortPartly, format_args!("web={label} {reason}"));
                    }
                    return facts::say(Fact::WebBound, format_args!("web={label}"));
                }
                Err(error) => {
                    reason = error.to_string();
                    // Without this they would be in use when they are tried again.
                    addresses.iter().for_each(systemd::forget_socket);
                }
            }
        }
        // A try like the one before is no news.
        if before.as_ref().is_none_or(|before| before.reason != reason) {
            facts::say(
                Fact::WebNotBound,
                format_args!(
                    "web={listen} error={reason}: tried again; the ports are not concerned"
                ),
            );
        }
        let mut backoff = before.map_or_else(|| Backoff::new(RETRY.0, RETRY.1), |one| one.backoff);
        self.web_unbound = Some(Unbound {
            listen: listen.to_string(),
            reason,
            retry_at: clock::now() + clock::millis(backoff.next()),
            backoff,
        });
    }

    /// Who asks the database for the web and who follows it: there from when there was a web first.
    fn hire_queries(&mut self) -> std::io::Result<()> {
        let is_query = |worker: &Worker| matches!(worker.role, Role::Query(..));
        if self.workers.iter().any(is_query) {
            return Ok(());
        }
        for pool in Pool::ALL {
            for index in 0..pool.n_threads() {
                self.hire(Role::Query(pool, index))?;
            }
        }
        self.hire(Role::Live)
    }

    pub(super) fn retry_web(&mut self, now: Millis) {
        let is_due = |unbound: &Unbound| now >= unbound.retry_at;
        if self.web_unbound.as_ref().is_some_and(is_due) {
            self.open_web();
        }
    }

    /// A reload moves the web: the old thread leaves, and the new one takes its place as soon as the address is free.
    pub(super) fn move_web(&mut self, http: Http) {
        if self.conf.http == http {
            return;
        }
        for worker in &mut self.workers {
            if let Role::Web(site) = &worker.role {
                facts::say(Fact::WebClosed, format_args!("web={}", site.label()));
                for (address, _) in site.sockets() {
                    systemd::forget_socket(address);
                }
                worker.state = match worker.state {
                    State::Waiting(_) => State::Done,
                    _ => State::Leaving,
                };
                worker.stop(RESTART_FINISH);
            }
        }
        // What was waited for is not wanted any more.
        self.web_unbound = None;
        self.conf.http = http;
        self.workers.retain(|worker| worker.state != State::Done);
        self.open_web();
    }
}
