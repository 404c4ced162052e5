//! The ports of the conf: bound, tried again when they could not be, and changed by a reload.
//!
//! A port that cannot be bound concerns that port only. A reload binds first and changes after; ports that stay the same keep
//! every session.

use std::sync::Arc;
use std::time::Duration;

use super::worker::{Role, State};
use super::{RESTART_FINISH, Supervisor, systemd, thread};
use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::conf::{Conf, Listen, PortConf};
use crate::facts::{self, Fact};
use crate::hub::{Listener, UnboundReport};
use crate::life::Life;
use crate::logging;
use crate::port::Port;
use crate::port::bind::{self, Address, BindError, Bound};
use crate::port::passed::Unwanted;

/// A port that could not be bound.
pub(super) struct Unbound {
    conf: PortConf,
    /// Which address of it, when that is known.
    address: Option<Address>,
    reason: String,
    backoff: Backoff,
    retry_at: Millis,
}

impl Unbound {
    pub(super) fn report(&self) -> UnboundReport {
        let listen = self
            .address
            .as_ref()
            .map_or_else(|| self.conf.listen.to_string(), bind::label);
        UnboundReport {
            listener: Listener::Port,
            listen,
            reason: self.reason.clone(),
        }
    }
}

/// How long a look-up may take before it counts as silent; nobody waits for it.
const LOOK_UP_MAX: Duration = Duration::from_secs(3600);

/// Whether binding means asking a name service.
fn needs_name_service(listen: &Listen) -> bool {
    matches!(listen, Listen::Name(name, _) if name != "localhost")
}

/// The conf with `[devices] accept` written into every port that does not say otherwise.
pub(super) fn with_accept(mut conf: Conf) -> Conf {
    let accepts: Vec<_> = conf.ports.iter().map(|port| conf.accept_on(port)).collect();
    for (port, accept) in conf.ports.iter_mut().zip(accepts) {
        port.accept = Some(accept);
    }
    conf
}

impl Supervisor {
    pub(super) fn bound_ports(&self) -> Vec<Arc<Port>> {
        self.workers
            .iter()
            .filter_map(|worker| match &worker.role {
                Role::Port(bound) => Some(Arc::clone(bound)),
                _ => None,
            })
            .collect()
    }

    /// Binds a port of the conf and starts a thread on each of its sockets.
    pub(super) fn bind(&mut self, conf: &PortConf) {
        if needs_name_service(&conf.listen) {
            self.look_up(conf);
        } else {
            let results = bind::bind(&conf.listen, &self.passed);
            self.serve(conf, results);
        }
    }

    /// Binds a port whose host has to be asked for, in a thread of its own: a name service that is away takes its time,
    /// and the supervisor waits for nobody.
    fn look_up(&mut self, conf: &PortConf) {
        let life = Arc::new(Life::new(
            &format!("look-up {}", conf.listen),
            0,
            LOOK_UP_MAX,
        ));
        let (conf, found) = (conf.clone(), self.looked_up.0.clone());
        let passed = self.passed.clone();
        let unstarted = conf.clone();
        let result = thread::start(&life, self.ended.0.clone(), move |_| {
            let results = bind::bind(&conf.listen, &passed);
            // An error means that the process is ending.
            let _ = found.send((conf, results));
            Ok(())
        });
        match result {
            Ok(()) => self.n_looked_up += 1,
            Err(error) => self.keep_trying(&unstarted, None, &error.to_string()),
        }
    }

    /// Takes over what was looked up and bound meanwhile.
    pub(super) fn take_looked_up(&mut self) {
        while let Ok((conf, results)) = self.looked_up.1.try_recv() {
            self.n_looked_up = self.n_looked_up.saturating_sub(1);
            // A reload may have taken the port out or changed it while the name service was asked.
            let current = self
                .conf
                .ports
                .iter()
                .find(|port| port.listen == conf.listen);
            match current.cloned() {
                Some(conf) => self.serve(&conf, results),
                // One that was passed would listen on, and nobody would accept.
                None => results
                    .iter()
                    .flatten()
                    .for_each(|bound| systemd::forget_socket(&bound.address)),
            }
        }
    }

    fn serve(&mut self, conf: &PortConf, results: Vec<Result<Bound, BindError>>) {
        for result in results {
            match result {
                Ok(bound) => {
                    if let Some(warning) = &bound.warning {
                        facts::say(
                            Fact::PortPartly,
                            format_args!("port={} {warning}", bind::label(&bound.address)),
                        );
                    }
                    let kept = if bound.passed {
                        " by the socket that systemd kept"
                    } else {
                        ""
                    };
                    facts::say(
                        Fact::PortBound,
                        format_args!("port={}{kept}", bind::label(&bound.address)),
                    );
                    if !bound.passed {
                        systemd::keep_socket(&bound.address, &bound.listener);
                    }
                    let port = Arc::new(Port::new(conf.clone(), bound.address, bound.listener));
                    if let Err(error) = self.hire(Role::Port(port)) {
                        facts::say(
                            Fact::ThreadDied,
                            format_args!("port={} error={error}: no thread", conf.listen),
                        );
                        // Without this it would be in use when it is tried again.
                        systemd::forget_socket(&bound.address);
                        self.keep_trying(conf, Some(bound.address), &error.to_string());
                    }
                }
                Err(error) => {
                    facts::say(
                        Fact::PortNotBound,
                        format_args!("port={} error={error}: tried again", conf.listen),
                    );
                    self.keep_trying(conf, error.address(), &error.to_string());
                }
            }
        }
    }

    fn keep_trying(&mut self, conf: &PortConf, address: Option<Address>, reason: &str) {
        // A name is looked up again at leisure: each try begins anew there.
        let first = if needs_name_service(&conf.listen) {
            10
        } else {
            1
        };
        let mut backoff = Backoff::new(Duration::from_secs(first), Duration::from_secs(30));
        let retry_at = clock::now() + clock::millis(backoff.next());
        let (conf, reason) = (conf.clone(), reason.to_owned());
        self.unbound.push(Unbound {
            conf,
            address,
            reason,
            backoff,
            retry_at,
        });
    }

    pub(super) fn retry_unbound(&mut self, now: Millis) {
        for mut unbound in std::mem::take(&mut self.unbound) {
            if now < unbound.retry_at {
                self.unbound.push(unbound);
                continue;
            }
            let results = match unbound.address {
                Some(address) => vec![bind::bind_address(address, &self.passed)],
                None if needs_name_service(&unbound.conf.listen) => {
                    self.look_up(&unbound.conf);
                    continue;
                }
                None => bind::bind(&unbound.conf.listen, &self.passed),
            };
            if results.iter().all(Result::is_err) {
                unbound.retry_at = now + clock::millis(unbound.backoff.next());
                self.unbound.push(unbound);
            } else {
                self.serve(&unbound.conf, results);
            }
        }
    }

    /// Closes the sockets that were passed to this process and that no port wants, once all ports have asked that can. One that
    /// waits for the name service must keep no other port from its address.
    pub(super) fn close_unwanted(&self) {
        if self.passed.is_empty() {
            return;
        }
        let asks_later = self.n_looked_up > 0
            || self
                .unbound
                .iter()
                .any(|unbound| needs_name_service(&unbound.conf.listen));
        let listens = self.conf.ports.iter().map(|port| &port.listen);
        let numbers: Vec<u16> = listens
            .filter(|listen| asks_later && needs_name_service(listen))
            .filter_map(|listen| match listen {
                Listen::Name(_, number) => Some(*number),
                Listen::Any(_) | Listen::Address(_) => None,
            })
            .collect();
        for Unwanted { name, address } in self.passed.close_rest(&numbers) {
            systemd::forget_socket_named(&name);
            facts::say(
                Fact::SocketUnwanted,
                format_args!(
                    "address={} name={name}: passed by systemd, and the conf listens on it no more",
                    bind::label(&address)
                ),
            );
        }
    }

    /// Reads the conf again and takes over what can change while running.
    pub(super) fn reload(&mut self) {
        systemd::reloading();
        match crate::conf::load(&self.hub.conf_path) {
            Ok(conf) => self.take_over(with_accept(conf)),
            Err(errors) => {
                for complaint in &errors.0 {
                    facts::say(Fact::ConfBad, format_args!("{complaint}"));
                }
                facts::say(
                    Fact::ConfBad,
                    format_args!("mistakes={}: nothing was changed", errors.0.len()),
                );
            }
        }
        self.publish();
        systemd::ready(&self.status_line());
    }

    fn take_over(&mut self, conf: Conf) {
        // First, so that what is said of the rest is said as the new conf wants it.
        logging::apply(&conf.log);
        self.conf.log = conf.log.clone();
        for warning in &conf.warnings {
            facts::say(Fact::ConfOdd, format_args!("{warning}"));
        }
        for key in self.conf.needs_restart(&conf) {
            facts::say(
                Fact::ConfNeedsRestart,
                format_args!("key={key}: systemctl restart trackport"),
            );
        }
        let changes = self.conf.port_changes(&conf);
        // What waits to be bound by the old conf is judged anew by the new one.
        let waiting = std::mem::take(&mut self.unbound);
        for port in &changes.added {
            self.bind(port);
        }
        for unbound in waiting {
            let still = conf
                .ports
                .iter()
                .find(|port| port.listen == unbound.conf.listen);
            if let Some(port) = still {
                self.unbound.push(Unbound {
                    conf: port.clone(),
                    ..unbound
                });
            }
        }
        for worker in &mut self.workers {
            let Role::Port(bound) = &worker.role else {
                continue;
            };
            let listen = &bound.conf.listen;
            if changes.removed.contains(listen) {
                facts::say(Fact::PortRemoved, format_args!("port={}", bound.label));
                systemd::forget_socket(&bound.address);
                // A port that waits for its restart has no thread to ask.
                worker.state = match worker.state {
                    State::Waiting(_) => State::Done,
                    _ => State::Leaving,
                };
                worker.stop(RESTART_FINISH);
            } else if let Some(port) = changes.changed.iter().find(|port| port.listen == *listen) {
                match bound.with_conf(port.clone()) {
                    Ok(port) => {
                        facts::say(
                            Fact::ConfReloaded,
                            format_args!("port={} changed: its sessions begin anew", bound.label),
                        );
                        if worker.state == State::Running {
                            worker.state = State::Restarting;
                            worker.stop(RESTART_FINISH);
                        }
                        worker.next_role = Some(Role::Port(Arc::new(port)));
                    }
                    Err(error) => {
                        facts::say(
                            Fact::ConfNeedsRestart,
                            format_args!("port={} error={error}", bound.label),
                        );
                    }
                }
            }
        }
        let (added, removed, changed) = (
            changes.added.len(),
            changes.removed.len(),
            changes.changed.len(),
        );
        facts::say(
            Fact::ConfReloaded,
            format_args!("ports_added={added} ports_removed={removed} ports_changed={changed}"),
        );
        self.move_web(conf.http);
        // Keys that need a restart stay as they were, so that the next reload names them again.
        self.conf.ports = conf.ports;
        self.conf.devices.accept = conf.devices.accept;
    }
}
