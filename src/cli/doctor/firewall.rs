//! The firewall: does it let strangers through to the tracker ports, as far as its rules can be read?
//!
//! firewalld is asked itself. Otherwise the rules of nftables and iptables are read in their order and judged for one port at a
//! time; `rules.rs` is how they are understood. What depends on where a packet comes from is said to be so, and no more.

use super::super::finding::{Finding, Grade};
use super::look::{self, Said};
use super::rules::{self, Fate, Ruleset};

/// What the firewalls say.
#[derive(Clone, Debug)]
pub(super) enum Facts {
    /// firewalld runs.
    Firewalld(Zone),
    /// The rules in the kernel.
    Rules(Vec<Ruleset>),
    /// They cannot be read.
    Unseen(String),
    /// There is no program for them on this machine.
    None,
}

/// The default zone of firewalld.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Zone {
    name: String,
    accepts_all: bool,
    /// First and last of each range of TCP ports, services included.
    ports: Vec<(u16, u16)>,
    has_rich_rules: bool,
    /// Other zones are in use for some networks or interfaces.
    has_others: bool,
}

/// Asks the firewalls.
pub(super) fn look() -> Facts {
    if look::ask("firewall-cmd", &["--state"]).words() == Some("running") {
        return match look::ask("firewall-cmd", &["--list-all"]) {
            Said::Words(text) => {
                let active = look::ask("firewall-cmd", &["--get-active-zones"]);
                let mut zone = zone(&text, active.words().unwrap_or_default());
                for service in services(&text) {
                    let option = format!("--info-service={service}");
                    if let Said::Words(text) = look::ask("firewall-cmd", &[&option]) {
                        zone.ports.extend(tcp_ports(&text));
                    }
                }
                Facts::Firewalld(zone)
            }
            Said::Failed(why) => Facts::Unseen(format!("firewalld runs and says: {why}")),
            Said::Absent => Facts::Unseen("firewalld".to_owned()),
        };
    }
    let nft = look::ask("nft", &["-j", "list", "ruleset"]);
    let tables = look::ask("iptables", &["-S"]);
    let is_absent = nft == Said::Absent && tables == Said::Absent;
    let mut rulesets = Vec::new();
    let mut why = Vec::new();
    for (said, read) in [
        (nft, rules::nftables as fn(&str) -> Vec<Ruleset>),
        (tables, |text| vec![rules::iptables(text)]),
    ] {
        match said {
            Said::Words(text) => rulesets.extend(read(&text)),
            Said::Failed(complaint) => {
                why.push(complaint.lines().next().unwrap_or_default().to_owned());
            }
            Said::Absent => {}
        }
    }
    match why.first() {
        None if is_absent => Facts::None,
        Some(why) if rulesets.is_empty() => Facts::Unseen(why.clone()),
        _ => Facts::Rules(rulesets),
    }
}

/// What `firewall-cmd --list-all` says of the default zone.
fn zone(text: &str, active: &str) -> Zone {
    let name = text.split_whitespace().next().unwrap_or_default();
    let target = field(text, "target");
    Zone {
        name: name.to_owned(),
        accepts_all: target == "ACCEPT",
        ports: tcp_ports(text),
        has_rich_rules: text.contains("rule family=") || text.contains("rule priority="),
        // Names of zones stand at the left, what belongs to them is indented.
        has_others: active
            .lines()
            .filter_map(|line| {
                line.split_whitespace()
                    .next()
                    .filter(|_| !line.starts_with(' '))
            })
            .any(|other| other != name),
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.trim().split_once(':'))
        .find(|(key, _)| *key == name)
        .map_or("", |(_, value)| value.trim())
}

fn services(text: &str) -> Vec<&str> {
    field(text, "services").split_whitespace().collect()
}

/// The ranges of `ports: 5027/tcp 5100-5199/tcp 53/udp`.
fn tcp_ports(text: &str) -> Vec<(u16, u16)> {
    field(text, "ports")
        .split_whitespace()
        .filter_map(|word| word.strip_suffix("/tcp"))
        .filter_map(|range| rules::range(range, '-'))
        .collect()
}

/// What there is to say about them, for these ports.
pub(super) fn findings(facts: &Facts, ports: &[u16]) -> Vec<Finding> {
    match facts {
        Facts::Unseen(why) => vec![
            Finding::new(Grade::Unseen, format!("the firewall: {why}")).remedy("run this as root"),
        ],
        Facts::None => vec![Finding::new(
            Grade::Ok,
            "no firewall program is on this machine",
        )],
        Facts::Firewalld(zone) => of_zone(zone, ports),
        Facts::Rules(rulesets) => of_rules(rulesets, ports),
    }
}

fn of_zone(zone: &Zone, ports: &[u16]) -> Vec<Finding> {
    let is_open = |port: &u16| {
        zone.ports
            .iter()
            .any(|(first, last)| (first..=last).contains(&port))
    };
    let closed: Vec<u16> = ports
        .iter()
        .copied()
        .filter(|port| !is_open(port))
        .collect();
    if zone.accepts_all || closed.is_empty() {
        let text = format!(
            "firewalld lets {} through, zone {}",
            shown(ports),
            zone.name
        );
        return vec![Finding::new(Grade::Ok, text)];
    }
    let (grade, but) = if zone.has_others || zone.has_rich_rules {
        (
            Grade::Warning,
            "; other zones or rich rules may do so for some",
        )
    } else {
        (Grade::Wrong, "")
    };
    let text = format!(
        "firewalld does not let {} through in its zone {}{but}",
        shown(&closed),
        zone.name
    );
    let add: Vec<String> = ranges(&closed)
        .iter()
        .map(|range| format!("--add-port={range}/tcp"))
        .collect();
    let remedy = format!(
        "firewall-cmd --permanent {} && firewall-cmd --reload",
        add.join(" ")
    );
    vec![Finding::new(grade, text).remedy(remedy)]
}

fn of_rules(rulesets: &[Ruleset], ports: &[u16]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ruleset in rulesets {
        let of = |fate: Fate| -> Vec<u16> {
            let fated = ports
                .iter()
                .copied()
                .filter(|&port| ruleset.fate(port) == fate);
            fated.collect()
        };
        let (closed, in_part) = (of(Fate::Closed), of(Fate::InPart));
        if !closed.is_empty() {
            let text = format!("{} drops what comes to {}", ruleset.name, shown(&closed));
            findings.push(
                Finding::new(Grade::Wrong, text).remedy(ruleset.remedy(&ranges(&closed).join(","))),
            );
        }
        if !in_part.is_empty() {
            let text = format!(
                "{} lets some through to {} and drops others, as far as its rules can be read",
                ruleset.name,
                shown(&in_part)
            );
            findings.push(
                Finding::new(Grade::Unseen, text)
                    .remedy("read them: nft list ruleset; iptables -S"),
            );
        }
    }
    if findings.is_empty() {
        let text = format!(
            "nothing on this machine drops what comes to {}",
            shown(ports)
        );
        findings.push(Finding::new(Grade::Ok, text));
    }
    findings
}

/// `port 5027`, `ports 5027, 5100-5199`.
fn shown(ports: &[u16]) -> String {
    let word = if ports.len() == 1 { "port" } else { "ports" };
    format!("{word} {}", ranges(ports).join(", "))
}

/// Numbers in a row as `5100-5199`.
fn ranges(ports: &[u16]) -> Vec<String> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports
        .chunk_by(|one, next| one.checked_add(1) == Some(*next))
        .filter_map(|row| Some((row.first()?, row.last()?)))
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "public (active)\n  target: default\n  icmp-block-inversion: no\n  interfaces: eth0\n  sources: \n  \
        services: cockpit dhcpv6-client ssh\n  ports: 5100-5199/tcp 53/udp\n  protocols: \n  forward: yes\n  rich rules: \n";

    #[test]
    fn firewalld_is_told_which_ports_to_add() {
        let zone = zone(ZONE, "public\n  interfaces: eth0\n");
        assert_eq!(services(ZONE), ["cockpit", "dhcpv6-client", "ssh"]);
        let all = of_zone(&zone, &[5027, 5100, 5101]);
        assert_eq!(all[0].grade, Grade::Wrong);
        assert_eq!(
            all[0].text,
            "firewalld does not let port 5027 through in its zone public"
        );
        assert_eq!(
            all[0].remedy.as_deref(),
            Some("firewall-cmd --permanent --add-port=5027/tcp && firewall-cmd --reload")
        );
        assert_eq!(of_zone(&zone, &[5100, 5199])[0].grade, Grade::Ok);
    }

    #[test]
    fn another_zone_may_let_some_through() {
        let zone = zone(
            ZONE,
            "internal\n  sources: 10.0.0.0/8\npublic\n  interfaces: eth0\n",
        );
        assert_eq!(of_zone(&zone, &[5027])[0].grade, Grade::Warning);
        let open = self::zone(&ZONE.replace("target: default", "target: ACCEPT"), "");
        assert_eq!(of_zone(&open, &[5027])[0].grade, Grade::Ok);
    }

    #[test]
    fn many_ports_are_named_in_few_words() {
        let ports: Vec<u16> = (5100..5200).chain([5027]).collect();
        assert_eq!(shown(&ports), "ports 5027, 5100-5199");
        assert_eq!(shown(&[5027]), "port 5027");
    }
}
