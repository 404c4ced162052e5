//! The `[[port]]` tables: ranges expanded, and no port of the machine given twice.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use super::listen::parse_listen;
use super::report::Report;
use super::section::{self, Section, Setting, shown};
use super::{Accept, Listen, PortConf, Protocol};
use crate::imei::Imei;

/// The words of `accept`.
pub(super) const ACCEPT: &[(&str, Accept)] = &[("known", Accept::Known), ("any", Accept::Any)];

/// Ports of all tables together. Each has a thread, and systemd allows a service some 4900 of them.
const PORTS_MAX: usize = 4000;

const KEYS: &[&str] = &[
    "listen",
    "protocol",
    "accept",
    "allow",
    "device",
    "max_segment",
];

/// What `max_segment` may be: below, headers take more than data; above, no Ethernet carries it.
const MAX_SEGMENT: std::ops::RangeInclusive<u64> = 500..=1460;

/// One `[[port]]` and what of it is needed to tell about collisions.
struct Entry {
    line: usize,
    said: String,
    ports: Vec<PortConf>,
}

/// All ports in the order of the file.
pub(super) fn read_ports(
    root: &DeTable<'_>,
    http: &Setting<Option<Listen>>,
    report: &mut Report<'_>,
) -> Vec<PortConf> {
    let missing = "no port is given, so nothing can arrive; write for example [[port]] and below it listen = 5027";
    let Some(value) = root.get("port") else {
        report.error(None, Some("[[port]]".to_owned()), missing.to_owned());
        return Vec::new();
    };
    let line = report.line_at(value.span().start);
    let key = Some("[[port]]".to_owned());
    let DeValue::Array(tables) = value.get_ref() else {
        let text = "there can be many of it: write [[port]] with double brackets".to_owned();
        report.error(Some(line), key, text);
        return Vec::new();
    };
    if tables.is_empty() {
        report.error(Some(line), key, missing.to_owned());
    }
    let mut entries = Vec::new();
    let mut n_ports = 0;
    for table in tables.iter() {
        let line = report.line_at(table.span().start);
        match table.get_ref() {
            DeValue::Table(table) => {
                if let Some(entry) = read_entry(table, line, report) {
                    n_ports += entry.ports.len();
                    entries.push(entry);
                }
                // A few lines can mean millions of ports: what stands behind is not expanded.
                if n_ports > PORTS_MAX {
                    break;
                }
            }
            other => {
                let text = format!(
                    "{} is no table; write [[port]] and below it listen = {}",
                    shown(other),
                    shown(other)
                );
                report.error(Some(line), Some("[[port]]".to_owned()), text);
            }
        }
    }
    if let Some(listen) = &http.value {
        // A web address listens like a port and can be given twice like one.
        let web = Entry {
            line: http.line.unwrap_or_default(),
            said: format!("[http].listen = \"{listen}\""),
            ports: vec![plain_port(listen.clone())],
        };
        entries.insert(0, web);
        report_collisions(&entries, report);
        entries.remove(0);
    } else {
        report_collisions(&entries, report);
    }
    if n_ports > PORTS_MAX {
        let text = format!(
            "these are {n_ports} ports or more, and each has a thread of its own; {PORTS_MAX} in all is the most. Many devices can share one port"
        );
        report.error(Some(line), Some("[[port]]".to_owned()), text);
    }
    entries.into_iter().flat_map(|entry| entry.ports).collect()
}

fn plain_port(listen: Listen) -> PortConf {
    PortConf {
        listen,
        protocol: Protocol::Teltonika,
        accept: None,
        allow: Vec::new(),
        device: None,
        max_segment: None,
    }
}

fn read_entry(table: &DeTable<'_>, table_line: usize, report: &mut Report<'_>) -> Option<Entry> {
    let table = Section::from_table("port", table, KEYS, report);
    let protocol = table.read(report, "protocol", Protocol::Teltonika, |value| {
        section::word(value, &[("teltonika", Protocol::Teltonika)])
    });
    let accept = table.read(report, "accept", None, |value| {
        section::word(value, ACCEPT).map(Some)
    });
    let device = table.read(report, "device", None, |value| imei(value).map(Some));
    let max_segment = table.read(report, "max_segment", None, |value| {
        let bytes = section::number(value, MAX_SEGMENT)?;
        Ok(u16::try_from(bytes).ok())
    });
    let (allow, allow_good) = read_allow(&table, report);

    if let Some(imei) = device.value {
        if !imei.luhn_ok() {
            let text = format!("the check digit of {imei} is wrong; is it mistyped?");
            report.warn(device.line, Some(table.key("device")), text);
        }
        if allow.is_empty() && allow_good {
            let text = format!(
                "whoever reaches this port speaks for {imei}; let in only the networks it comes from, \
                 for example allow = [\"10.20.0.0/16\"]"
            );
            report.warn(device.line, Some(table.key("device")), text);
        }
    }
    if table.get("listen").is_none() {
        let text = "a port needs one; write for example listen = 5027".to_owned();
        report.error(Some(table_line), Some(table.key("listen")), text);
        return None;
    }
    let mut said = String::new();
    let listens = table.read(report, "listen", Vec::new(), |value| {
        said = format!("listen = {}", shown(value));
        match value {
            DeValue::Integer(number) => parse_listen(&number.to_string()),
            DeValue::String(text) => parse_listen(text),
            _ => Err(format!(
                "{} is no port; write for example 5027 or \"5100-5199\"",
                shown(value)
            )),
        }
    });
    if listens.value.iter().any(|listen| listen.number() == 0) {
        let text = "the machine chooses a number for port 0 anew at every start; devices need one that stays";
        report.warn(listens.line, Some(table.key("listen")), text.to_owned());
    }
    let with_rest = |listen| PortConf {
        listen,
        protocol: protocol.value,
        accept: accept.value,
        allow: allow.clone(),
        device: device.value,
        max_segment: max_segment.value,
    };
    Some(Entry {
        line: listens.line.unwrap_or(table_line),
        said,
        ports: listens.value.into_iter().map(with_rest).collect(),
    })
}

fn imei(value: &DeValue<'_>) -> Result<Imei, String> {
    match value {
        DeValue::String(text) => text.parse().map_err(|error| {
            format!("\"{text}\" is no IMEI: {error}; write for example \"356307042441013\"")
        }),
        DeValue::Integer(number) => Err(format!(
            "an IMEI is a text, because its leading zeros count; write \"{:0>15}\"",
            number.as_str()
        )),
        _ => Err(format!(
            "{} is no IMEI; write for example \"356307042441013\"",
            shown(value)
        )),
    }
}

/// The networks, and whether all that was written was understood.
fn read_allow(table: &Section<'_, '_>, report: &mut Report<'_>) -> (Vec<IpNet>, bool) {
    let empty = "an empty list would let nobody in; leave allow out to let everybody in, or write for example [\"10.20.0.0/16\"]";
    networks(table, "allow", empty, report)
}

/// The networks of `key`, and whether all that was written was understood; `empty` is what is said of an empty list.
pub(super) fn networks(
    table: &Section<'_, '_>,
    name: &str,
    empty: &str,
    report: &mut Report<'_>,
) -> (Vec<IpNet>, bool) {
    let Some(value) = table.get(name) else {
        return (Vec::new(), true);
    };
    let key = Some(table.key(name));
    let line = report.line_at(value.span().start);
    let DeValue::Array(items) = value.get_ref() else {
        let text = format!(
            "{} is no list; write for example [\"10.20.0.0/16\"]",
            shown(value.get_ref())
        );
        report.error(Some(line), key, text);
        return (Vec::new(), false);
    };
    if items.is_empty() {
        report.error(Some(line), key, empty.to_owned());
        return (Vec::new(), false);
    }
    let mut networks = Vec::new();
    let mut good = true;
    for item in items.iter() {
        let line = Some(report.line_at(item.span().start));
        match network(item.get_ref()) {
            Ok(network) => {
                if network != network.trunc() {
                    let text = format!(
                        "\"{network}\" is understood as \"{}\": the bits behind the prefix do not count",
                        network.trunc()
                    );
                    report.warn(line, key.clone(), text);
                }
                networks.push(network.trunc());
            }
            Err(text) => {
                good = false;
                report.error(line, key.clone(), text);
            }
        }
    }
    (networks, good)
}

/// A network, or one address, which is the network that holds nothing else.
fn network(value: &DeValue<'_>) -> Result<IpNet, String> {
    let DeValue::String(text) = value else {
        return Err(format!(
            "{} is no network; write for example \"10.20.0.0/16\"",
            shown(value)
        ));
    };
    let wrong = |why: String| {
        Err(format!(
            "\"{text}\" is no network: {why}; write for example \"10.20.0.0/16\""
        ))
    };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address.trim(), Some(prefix.trim())),
        None => (text.trim(), None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("\"{address}\" is no address"));
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => bits,
        Some(Ok(prefix)) if prefix <= bits => prefix,
        Some(Ok(_)) => return wrong(format!("the prefix length is at most {bits}")),
        Some(Err(_)) => return wrong("behind the slash stands the prefix length".to_owned()),
    };
    Ok(IpNet::new(address, prefix).expect("the prefix length was checked"))
}

/// One complaint for an entry and the first before it that wants the same port, however many numbers they share.
fn report_collisions(entries: &[Entry], report: &mut Report<'_>) {
    let mut owners: HashMap<u16, Vec<(usize, &Listen)>> = HashMap::new();
    for (entry_idx, entry) in entries.iter().enumerate() {
        let mut shared: HashMap<usize, Vec<u16>> = HashMap::new();
        for port in &entry.ports {
            let number = port.listen.number();
            let owners = owners.entry(number).or_default();
            let first = owners
                .iter()
                .find(|(_, owner)| owner.collides(&port.listen));
            if let Some((owner_idx, _)) = first {
                shared.entry(*owner_idx).or_default().push(number);
            }
            owners.push((entry_idx, &port.listen));
        }
        let mut shared: Vec<_> = shared.into_iter().collect();
        shared.sort_unstable();
        for (owner_idx, numbers) in shared {
            let owner = &entries[owner_idx];
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            let what = if first == last {
                format!("port {first} is")
            } else {
                format!("ports {first}-{last} are")
            };
            let text = format!(
                "{what} given twice: line {} has {} already; remove one of the two",
                owner.line, owner.said
            );
            report.error(Some(entry.line), Some("[port].listen".to_owned()), text);
        }
    }
}
