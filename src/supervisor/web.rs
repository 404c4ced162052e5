//! The web's sockets: bound, tried again when they could not be, and moved by a reload.
//!
//! Whatever becomes of them concerns the web alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::worker::{Role, State, Worker};
use super::{RESTART_FINISH, Supervisor, systemd};
use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::conf::{Http, Listen, TlsFiles};
use crate::facts::{self, Fact};
use crate::hub::{Listener, UnboundReport};
use crate::port::bind;
use crate::web::ask::Pool;
use crate::web::tls::{self, Loaded, TlsError};
use crate::web::{Site, Tls};

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
        // Without its certificate nothing is answered: those who come by https would only be told riddles.
        let tls = match self.conf.http.tls.as_ref().map(read_certificate) {
            None => None,
            Some(Ok(loaded)) => Some(Tls::new(&loaded)),
            Some(Err(error)) => {
                let reason = error.to_string();
                return self.web_not_bound(&listen, before, reason);
            }
        };
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
            let site = Site::new(bound, tls);
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
        self.web_not_bound(&listen, before, reason);
    }

    /// Tries again later.
    fn web_not_bound(&mut self, listen: &Listen, before: Option<Unbound>, reason: String) {
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
            return self.renew_certificate();
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

    /// A reload reads the certificate again, for connections from then on; one that cannot be used changes nothing.
    fn renew_certificate(&mut self) {
        let Some(files) = self.conf.http.tls.clone() else {
            return;
        };
        let webs = self.workers.iter().filter_map(|worker| match &worker.role {
            Role::Web(site) => site.tls(),
            _ => None,
        });
        let webs: Vec<&Tls> = webs.collect();
        if webs.is_empty() {
            // It waits for a certificate, perhaps for this one.
            if self.web_unbound.is_some() {
                self.open_web();
            }
            return;
        }
        match read_certificate(&files) {
            Ok(loaded) => webs.iter().for_each(|tls| tls.renew(&loaded)),
            Err(error) => facts::say(
                Fact::WebCertificateBad,
                format_args!("error={error}: the one before is used further"),
            ),
        }
    }
}

/// Reads it and says until when it is good.
fn read_certificate(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let loaded = tls::load(files)?;
    let days = loaded
        .lasts(SystemTime::now())
        .map_or(0, |lasts| lasts.as_secs() / 86_400);
    facts::say(
        Fact::WebCertificate,
        format_args!("file={} days_left={days}", files.certificate.display()),
    );
    Ok(loaded)
}
