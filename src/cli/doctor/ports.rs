//! The tracker ports: does our server listen there, and does it take connections?
//!
//! A connection is made and closed again, with nothing said: it leaves no refused login behind.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::super::finding::{Finding, Grade};
use super::super::text::{amount, count};
use super::look::{self, Listener, Process};
use crate::conf::Conf;
use crate::control::messages::Status;
use crate::port::bind::{self, Address, label};

/// How long this machine may take to connect to itself.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Ports that are tried.
const TRIED_MAX: usize = 100;
/// So many connections that wait to be accepted are no passing thing.
const WAITING_MANY: u64 = 1024;

/// What is to be known of the ports.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// What the conf means, or why it means nothing.
    wanted: Vec<Result<Address, String>>,
    listeners: Vec<Listener>,
    owners: HashMap<u64, Process>,
    /// Of those that were tried, what came of it.
    tried: HashMap<Address, Result<(), String>>,
}

/// Looks at the sockets of this machine, and connects to those ports of which the server says that it serves them.
pub(super) fn look(conf: &Conf, status: Option<&Status>) -> Facts {
    let mut facts = Facts {
        listeners: look::listeners(),
        ..Facts::default()
    };
    for port in &conf.ports {
        match bind::resolve(&port.listen) {
            Ok(addresses) => facts.wanted.extend(addresses.into_iter().map(Ok)),
            Err(error) => facts.wanted.push(Err(error.to_string())),
        }
        // One that lets in some networks only would log that it turned this machine away.
        let loopback = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ];
        let lets_us_in = port.allow.is_empty()
            || loopback
                .iter()
                .all(|own| port.allow.iter().any(|network| network.contains(own)));
        let served = |address: &Address| {
            let served = status.iter().flat_map(|status| &status.ports);
            let mut running = served.filter(|one| one.state == "running");
            running.any(|one| one.label == label(address))
        };
        let addresses = bind::resolve(&port.listen).unwrap_or_default();
        for address in addresses
            .into_iter()
            .filter(|one| lets_us_in && served(one))
        {
            if facts.tried.len() < TRIED_MAX {
                let outcome = TcpStream::connect_timeout(&reachable(address), CONNECT_TIMEOUT);
                let outcome = outcome.map(drop).map_err(|error| error.to_string());
                facts.tried.insert(address, outcome);
            }
        }
    }
    let numbers: Vec<u16> = facts
        .wanted
        .iter()
        .flatten()
        .map(SocketAddr::port)
        .collect();
    let inodes: Vec<u64> = facts
        .listeners
        .iter()
        .filter(|one| numbers.contains(&one.address.port()))
        .map(|one| one.inode)
        .collect();
    facts.owners = look::owners(&inodes);
    facts
}

/// An address of this machine by which `address` can be reached.
fn reachable(address: Address) -> Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // Both families: the one that every machine has.
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What there is to say about them; `None` for a server that does not answer.
pub(super) fn findings(facts: &Facts, status: Option<&Status>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut n_well = 0;
    for wanted in &facts.wanted {
        match wanted {
            Err(why) => findings.push(Finding::new(Grade::Wrong, why.clone())),
            Ok(address) => match finding(facts, status, *address) {
                Some(finding) => findings.push(finding),
                None => n_well += usize::from(status.is_some()),
            },
        }
    }
    for port in status.into_iter().flat_map(|status| &status.ports) {
        let is_wanted = facts
            .wanted
            .iter()
            .flatten()
            .any(|address| names(address).contains(&port.label));
        if !is_wanted && port.state != "not bound" {
            let text = format!("{} is served and not in the conf file", port.label);
            findings.push(Finding::new(Grade::Warning, text).remedy("systemctl reload trackport"));
        }
    }
    if let Some(status) = status
        && n_well > 0
    {
        let n_sessions: usize = status.ports.iter().map(|port| port.sessions).sum();
        let n_accepted: u64 = status.ports.iter().map(|port| port.connections).sum();
        let verb = if n_well == 1 { "takes" } else { "take" };
        let text = format!(
            "{} {verb} connections; {} now, {} accepted since the start",
            count(n_well, "port"),
            count(n_sessions, "session"),
            amount(n_accepted)
        );
        findings.push(Finding::new(Grade::Ok, text));
    }
    findings
}

/// How the server may call a port: `[::]` is `0.0.0.0` on a machine without IPv6.
fn names(address: &Address) -> Vec<String> {
    let mut names = vec![label(address)];
    if address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED) {
        names.push(label(&(Ipv4Addr::UNSPECIFIED, address.port()).into()));
    }
    names
}

fn finding(facts: &Facts, status: Option<&Status>, address: Address) -> Option<Finding> {
    let (name, number) = (label(&address), address.port());
    let listener = facts.listener(address);
    let owner = listener.map(|one| facts.owner(one));
    let Some(status) = status else {
        // Without a server a free port is no news.
        let text = format!("{name} is taken by {}", owner?);
        return Some(Finding::new(Grade::Wrong, text).remedy(taken_remedy(number)));
    };
    let port = status
        .ports
        .iter()
        .find(|port| names(&address).contains(&port.label));
    let Some(port) = port else {
        let text = format!("{name} is in the conf file, and the server does not serve it");
        return Some(Finding::new(Grade::Wrong, text).remedy("systemctl reload trackport"));
    };
    if port.state == "not bound" {
        let reason = port.reason.clone().unwrap_or_default();
        return Some(match owner {
            Some(owner) => Finding::new(Grade::Wrong, format!("{name} is taken by {owner}"))
                .remedy(taken_remedy(number)),
            None => Finding::new(Grade::Wrong, format!("{name} is not bound: {reason}"))
                .remedy("the server tries again by itself; journalctl -u trackport -p err"),
        });
    }
    if port.state != "running" {
        let text = format!("the thread of {name} is {}", port.state);
        let remedy = format!("journalctl -u trackport -n 50; trackport port restart {number}");
        return Some(Finding::new(Grade::Wrong, text).remedy(remedy));
    }
    if let Some(Err(why)) = facts.tried.get(&address) {
        let text = format!("{name} is served, and this machine itself cannot connect to it: {why}");
        let remedy = format!(
            "ss -ltn 'sport = :{number}'; nft list ruleset; trackport port restart {number}"
        );
        return Some(Finding::new(Grade::Wrong, text).remedy(remedy));
    }
    let n_waiting = listener.map_or(0, |one| one.n_waiting);
    (n_waiting > WAITING_MANY).then(|| {
        let text = format!(
            "{} connections to {name} wait to be accepted",
            amount(n_waiting)
        );
        Finding::new(Grade::Warning, text)
            .remedy("trackport status: is the thread slow, are descriptors used up?")
    })
}

fn taken_remedy(number: u16) -> String {
    format!("end it, or give trackport another port: ss -ltnp 'sport = :{number}'")
}

impl Facts {
    /// The socket that has `address`, or that keeps another one from it.
    fn listener(&self, address: Address) -> Option<&Listener> {
        let same = |one: &&Listener| one.address == address;
        let overlaps = |one: &&Listener| {
            one.address.port() == address.port()
                && (one.address.ip().is_unspecified() || address.ip().is_unspecified())
        };
        let mut listeners = self.listeners.iter();
        listeners
            .clone()
            .find(same)
            .or_else(|| listeners.find(overlaps))
    }

    fn owner(&self, listener: &Listener) -> String {
        self.owners.get(&listener.inode).map_or_else(
            || "a process that this user may not see".to_owned(),
            |owner| format!("process {} ({})", owner.pid, owner.name),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::messages::Port;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn port(label: &str, state: &str) -> Port {
        Port {
            label: label.to_owned(),
            state: state.to_owned(),
            sessions: 2,
            connections: 10,
            packets: 0,
            records: 0,
            bytes: 0,
            last_ack_at: None,
            device: None,
            reason: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            wanted: vec![Ok(address("[::]:5027"))],
            listeners: vec![Listener {
                address: address("[::]:5027"),
                n_waiting: 0,
                inode: 9,
            }],
            owners: HashMap::from([(
                9,
                Process {
                    pid: 4711,
                    name: "socat".to_owned(),
                },
            )]),
            tried: HashMap::new(),
        }
    }

    fn status(ports: Vec<Port>) -> Status {
        Status {
            ports,
            ..Status::default()
        }
    }

    #[test]
    fn a_port_that_is_served_is_well() {
        let status = status(vec![port("[::]:5027", "running")]);
        let all = findings(&facts(), Some(&status));
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(
            (all[0].grade, all[0].text.as_str()),
            (
                Grade::Ok,
                "1 port takes connections; 2 sessions now, 10 accepted since the start"
            )
        );
        // The same by the name that it has where there is no IPv6.
        let status = Status {
            ports: vec![port("0.0.0.0:5027", "running")],
            ..status
        };
        assert_eq!(findings(&facts(), Some(&status))[0].grade, Grade::Ok);
    }

    #[test]
    fn who_has_taken_a_port_is_named() {
        for status in [None, Some(status(vec![port("[::]:5027", "not bound")]))] {
            let all = findings(&facts(), status.as_ref());
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].grade, Grade::Wrong);
            assert_eq!(all[0].text, "[::]:5027 is taken by process 4711 (socat)");
        }
        // Another address of this number is in nobody's way.
        let mut other = facts();
        other.wanted = vec![Ok(address("127.0.0.1:5027"))];
        other.listeners[0].address = address("127.0.0.2:5027");
        assert!(findings(&other, None).is_empty());
    }

    #[test]
    fn a_server_that_has_not_read_its_conf_is_told_to() {
        let status = status(vec![port("[::]:5028", "running")]);
        let all = findings(&facts(), Some(&status));
        assert_eq!((all[0].grade, all[1].grade), (Grade::Wrong, Grade::Warning));
        for finding in &all {
            assert_eq!(
                finding.remedy.as_deref(),
                Some("systemctl reload trackport")
            );
        }
    }

    #[test]
    fn one_that_cannot_be_connected_to_is_wrong() {
        let mut facts = facts();
        let timed_out = Err("timed out".to_owned());
        facts.tried.insert(address("[::]:5027"), timed_out);
        let status = status(vec![port("[::]:5027", "running")]);
        let all = findings(&facts, Some(&status));
        assert!(
            all[0].text.contains("cannot connect to it: timed out"),
            "{all:?}"
        );
    }
}
