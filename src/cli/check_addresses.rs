//! The part of `trackport check` that says which addresses matter to others: where trackport listens, who reaches that, what the firewall must
//! let in, and from where its own connections leave.
//!
//! Sends nothing: the system is asked which way a packet would take, by connecting a datagram socket and looking at its own end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::finding::{Finding, Grade};
use crate::conf::{Conf, Database};
use crate::port::bind;
use crate::store::connect::{Server, servers};

/// How long names may take to be looked up.
const DEADLINE: Duration = Duration::from_secs(5);
/// Addresses of the world at large: any will do, as long as the default route leads to it.
const FAR: [&str; 2] = ["8.0.0.1:9", "[2000::1]:9"];

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Local {
    interface: String,
    address: IpAddr,
}

/// Port numbers at one address: those of trackers, and that of `[http]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbers {
    ports: BTreeSet<u16>,
    http: Option<u16>,
}

/// What is found.
pub(super) fn findings(conf: &Conf) -> Vec<Finding> {
    let note = |text: String| Finding::new(Grade::Note, text);
    let locals = match locals() {
        Ok(locals) => locals,
        Err(error) => {
            let text = format!("addresses: this machine's cannot be listed: {error}");
            return vec![Finding::new(Grade::Warning, text)];
        }
    };
    let wanted = wanted(conf);
    let at = listening(&wanted, &locals);
    let mut findings: Vec<Finding> = told(&at, &locals).into_iter().map(note).collect();
    findings.extend(firewall(&wanted, &locals).into_iter().map(note));
    findings.extend(outgoing(&conf.database).into_iter().map(note));
    findings
}

/// Every address of an interface that is up. Those of a single link say nothing to others.
fn locals() -> nix::Result<Vec<Local>> {
    let mut locals = Vec::new();
    for interface in getifaddrs()?.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP)) {
        let Some(storage) = interface.address else {
            continue;
        };
        let v4 = storage
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()));
        let v6 = storage
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()));
        if let Some(address) = v4.or(v6)
            && !is_link_local(address)
        {
            let interface = interface.interface_name;
            locals.push(Local { interface, address });
        }
    }
    Ok(locals)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Where the conf wants to listen. A name that does not resolve is told of where ports are looked at.
fn wanted(conf: &Conf) -> Vec<(SocketAddr, bool)> {
    let ports = conf.ports.iter();
    let ports = ports.flat_map(|port| bind::resolve(&port.listen).unwrap_or_default());
    let http = conf.http.listen.iter();
    let http = http.flat_map(|listen| bind::resolve(listen).unwrap_or_default());
    let http = http.map(|address| (address, true));
    ports.map(|address| (address, false)).chain(http).collect()
}

/// What listens at each address of this machine. `[::]` takes both families.
fn listening(wanted: &[(SocketAddr, bool)], locals: &[Local]) -> BTreeMap<IpAddr, Numbers> {
    let mut at: BTreeMap<IpAddr, Numbers> = BTreeMap::new();
    for &(address, is_http) in wanted {
        let all = locals.iter().map(|local| local.address);
        let addresses: Vec<IpAddr> = match address.ip() {
            IpAddr::V6(any) if any.is_unspecified() => all.collect(),
            IpAddr::V4(any) if any.is_unspecified() => all.filter(IpAddr::is_ipv4).collect(),
            one => vec![one],
        };
        for one in addresses {
            let numbers = at.entry(one).or_default();
            if is_http {
                numbers.http = Some(address.port());
            } else {
                numbers.ports.insert(address.port());
            }
        }
    }
    at
}

/// One line per address, those that others reach first.
fn told(at: &BTreeMap<IpAddr, Numbers>, locals: &[Local]) -> Vec<String> {
    let line = |(address, numbers): (&IpAddr, &Numbers)| {
        let local = locals.iter().find(|local| local.address == *address);
        let interface = local.map_or("on no interface that is up", |local| &local.interface);
        let who = if address.is_loopback() {
            ", for this machine"
        } else {
            ""
        };
        format!(
            "listens on {address} ({interface}){who}: {}",
            numbers.shown()
        )
    };
    let (own, all): (Vec<_>, Vec<_>) = at.iter().partition(|(address, _)| address.is_loopback());
    let mut inside = Numbers::default();
    for (_, numbers) in &own {
        inside.ports.extend(&numbers.ports);
        inside.http = inside.http.or(numbers.http);
    }
    for (_, numbers) in &all {
        inside
            .ports
            .retain(|number| !numbers.ports.contains(number));
        inside.http = inside.http.filter(|number| numbers.http != Some(*number));
    }
    let only = (inside != Numbers::default())
        .then(|| format!("only this machine reaches: {}", inside.shown()));
    all.into_iter().chain(own).map(line).chain(only).collect()
}

impl Numbers {
    fn shown(&self) -> String {
        let mut parts: Vec<String> = ranges(&self.ports);
        parts.extend(self.http.map(|number| format!("{number} ([http])")));
        parts.join(", ")
    }
}

/// Numbers in a row as one range.
fn ranges(numbers: &BTreeSet<u16>) -> Vec<String> {
    let mut rows: Vec<(u16, u16)> = Vec::new();
    for &number in numbers {
        match rows.last_mut() {
            Some((_, last)) if number.checked_sub(1) == Some(*last) => *last = number,
            _ => rows.push((number, number)),
        }
    }
    let shown = |(first, last): (u16, u16)| match (first, last) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    rows.into_iter().map(shown).collect()
}

/// What firewalld is to be told, for what others shall reach.
fn firewall(wanted: &[(SocketAddr, bool)], locals: &[Local]) -> Vec<String> {
    let open = |is_http: bool| -> BTreeSet<u16> {
        let those = wanted
            .iter()
            .filter(|(address, http)| *http == is_http && !address.ip().is_loopback());
        those.map(|(address, _)| address.port()).collect()
    };
    let mut lines = Vec::new();
    let ports = ranges(&open(false));
    if ports.is_empty() {
        lines.push("firewall: nothing to open, no tracker port is reached from outside".to_owned());
    } else {
        let add: Vec<String> = ports
            .iter()
            .map(|range| format!("--add-port={range}/tcp"))
            .collect();
        let add = add.join(" ");
        lines.push(format!(
            "firewall: firewall-cmd --permanent {add} && firewall-cmd --reload"
        ));
        let outside = locals.iter().find(|local| !local.address.is_loopback());
        let interface = outside.map_or("eth0", |local| &local.interface);
        lines.push(format!(
            "firewall: this opens them in the default zone; for another one add --zone=ZONE, as `firewall-cmd \
             --get-zone-of-interface={interface}` says"
        ));
    }
    for number in open(true) {
        lines.push(format!(
            "firewall: {number} ([http]) is for few: firewall-cmd --permanent --add-rich-rule='rule family=ipv4 source \
             address=10.0.0.0/8 port port={number} protocol=tcp accept', with their network"
        ));
    }
    lines
}

/// From which addresses trackport's own connections leave. Names are looked up within a deadline.
fn outgoing(database: &Database) -> Vec<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let url = database.url.clone();
    let started = thread::Builder::new()
        .name("check addresses".to_owned())
        .spawn(move || {
            // Nobody listens after the deadline, and then nobody needs to.
            let _ = sender.send(to_database(&url));
        });
    let mut lines = match started {
        Ok(_) => receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            vec![format!(
                "outgoing: no answer about the database's name within {} s",
                DEADLINE.as_secs()
            )]
        }),
        Err(error) => vec![format!(
            "outgoing: no thread to look the database up: {error}"
        )],
    };
    let ways = FAR.iter().filter_map(|far| way_to(far.parse().ok()?).ok());
    let from: Vec<String> = ways.map(|address| address.to_string()).collect();
    lines.push(if from.is_empty() {
        "outgoing: there is no default route, so nothing leaves this machine for the internet".to_owned()
    } else {
        format!(
            "outgoing: to the internet from {}; put this on other parties' allow lists, or the address of the gateway where one translates it",
            from.join(" and ")
        )
    });
    lines
}

fn to_database(url: &str) -> Vec<String> {
    let servers = match servers(url) {
        Ok(servers) => servers,
        Err(error) => return vec![format!("outgoing: to the database: {error}")],
    };
    let line = |server: Server| match server {
        Server::Socket(path) => {
            format!(
                "outgoing: to the database over {}, on this machine",
                path.display()
            )
        }
        Server::Network(name, Err(error)) => format!("outgoing: to the database {name}: {error}"),
        Server::Network(name, Ok(addresses)) => {
            let ways: Vec<String> = addresses.into_iter().map(from_to).collect();
            format!("outgoing: to the database {name}: {}", ways.join(", "))
        }
    };
    servers.into_iter().map(line).collect()
}

fn from_to(to: SocketAddr) -> String {
    match way_to(to) {
        Ok(from) if from.is_loopback() => format!("{} is this machine", to.ip()),
        Ok(from) => format!("{} sees {from}", to.ip()),
        Err(error) => format!("no way to {}: {error}", to.ip()),
    }
}

/// The address from which a packet to `to` would leave. None is sent.
fn way_to(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    fn machine() -> Vec<Local> {
        [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "192.0.2.10"),
            ("eth0", "2001:db8::10"),
        ]
        .map(|(interface, address)| Local {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
        })
        .into()
    }

    fn lines(text: &str) -> Vec<String> {
        let conf = conf::parse(text, "t.toml").unwrap();
        let wanted = wanted(&conf);
        let mut lines = told(&listening(&wanted, &machine()), &machine());
        lines.extend(firewall(&wanted, &machine()));
        lines
    }

    #[test]
    fn a_wildcard_is_every_address_and_ranges_are_joined() {
        let told = lines(
            "[[port]]\nlisten = 5027\n[[port]]\nlisten = \"5100-5103\"\n[[port]]\nlisten = \"192.0.2.10:5104\"\n\
             [[port]]\nlisten = \"0.0.0.0:5200\"\n[http]\nlisten = \"127.0.0.1:8080\"",
        );
        assert_eq!(
            told[..6],
            [
                "listens on 192.0.2.10 (eth0): 5027, 5100-5104, 5200",
                "listens on 2001:db8::10 (eth0): 5027, 5100-5103",
                "listens on 127.0.0.1 (lo), for this machine: 5027, 5100-5103, 5200, 8080 ([http])",
                "listens on ::1 (lo), for this machine: 5027, 5100-5103",
                "only this machine reaches: 8080 ([http])",
                "firewall: firewall-cmd --permanent --add-port=5027/tcp --add-port=5100-5104/tcp --add-port=5200/tcp && firewall-cmd --reload",
            ]
        );
        assert!(told[6].contains("--get-zone-of-interface=eth0"), "{told:?}");
        assert_eq!(
            told.len(),
            7,
            "[http] is not reached from outside: {told:?}"
        );
    }

    #[test]
    fn what_only_this_machine_reaches_needs_no_firewall() {
        let told =
            lines("[[port]]\nlisten = \"localhost:5300\"\n[[port]]\nlisten = \"127.0.0.2:5301\"");
        assert_eq!(
            told,
            [
                "listens on 127.0.0.1 (lo), for this machine: 5300",
                "listens on 127.0.0.2 (on no interface that is up), for this machine: 5301",
                "listens on ::1 (lo), for this machine: 5300",
                "only this machine reaches: 5300-5301",
                "firewall: nothing to open, no tracker port is reached from outside",
            ]
        );
    }

    #[test]
    fn the_dashboard_is_not_opened_for_everybody() {
        let told = lines("[[port]]\nlisten = 5027\n[http]\nlisten = 8080");
        let http: Vec<&String> = told.iter().filter(|line| line.contains("8080")).collect();
        assert!(
            http.last()
                .is_some_and(|line| line.contains("--add-rich-rule")),
            "{told:?}"
        );
        assert!(
            !told.iter().any(|line| line.contains("--add-port=8080")),
            "{told:?}"
        );
    }

    #[test]
    fn the_way_to_the_database_is_known_without_a_packet() {
        let there = |url: &str| to_database(url).join("\n");
        assert_eq!(
            there("postgresql:///x?host=/run/pg&port=5433"),
            "outgoing: to the database over /run/pg/.s.PGSQL.5433, on this machine"
        );
        // Nobody listens there, and nobody needs to.
        assert_eq!(
            there("postgresql://127.0.0.1:1/x"),
            "outgoing: to the database 127.0.0.1:1: 127.0.0.1 is this machine"
        );
        assert!(
            there("postgresql://name.invalid/x")
                .starts_with("outgoing: to the database name.invalid:5432: ")
        );
    }

    #[test]
    fn this_machine_has_the_loopback_address_at_least() {
        let loopback = |local: &Local| local.address.is_loopback() && local.interface == "lo";
        assert!(locals().unwrap().iter().any(loopback));
    }
}
