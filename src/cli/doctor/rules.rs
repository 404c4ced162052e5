//! Rules of a packet filter, as far as they decide about a new TCP connection to a port of this machine.
//!
//! A rule matches some ports or any, with or without other conditions, and accepts, drops or does something else. Conditions that no
//! new connection from elsewhere fulfils (an established connection, the loopback interface, another protocol) take a rule
//! out. What is not understood never counts as open or closed.

use std::collections::HashMap;

use serde_json::Value;

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Closed,
    /// It depends on where it comes from, or on rules that are not understood.
    InPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    /// Not understood, and it may decide.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// First and last of each range; `None`: any port.
    ports: Option<Vec<(u16, u16)>>,
    /// It has conditions beside the port.
    is_narrow: bool,
    verdict: Verdict,
}

/// The rules that a packet to this machine passes in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruleset {
    pub(super) name: String,
    add: String,
    rules: Vec<Rule>,
    drops_the_rest: bool,
}

impl Ruleset {
    /// What becomes of a new connection to `port`.
    pub(super) fn fate(&self, port: u16) -> Fate {
        let mut in_part = false;
        let end = |closed: bool, in_part: bool| match (closed, in_part) {
            (_, true) => Fate::InPart,
            (true, false) => Fate::Closed,
            (false, false) => Fate::Open,
        };
        for rule in &self.rules {
            let is_meant = rule.ports.as_ref().is_none_or(|ranges| {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&port))
            });
            match rule.verdict {
                _ if !is_meant => {}
                Verdict::Accept if !rule.is_narrow => return end(false, in_part),
                Verdict::Drop if !rule.is_narrow => return end(true, in_part),
                Verdict::Accept if self.drops_the_rest || self.has_last_drop() => in_part = true,
                // Some strangers are kept out: that is what firewalls are for.
                Verdict::Accept | Verdict::Drop => {}
                Verdict::Unknown => in_part |= self.drops_the_rest || self.has_last_drop(),
            }
        }
        end(self.drops_the_rest, in_part)
    }

    /// Whether its last rule drops what came so far.
    fn has_last_drop(&self) -> bool {
        self.rules.last().is_some_and(|rule| {
            rule.verdict == Verdict::Drop && rule.ports.is_none() && !rule.is_narrow
        })
    }

    /// The command that lets `ports` in.
    pub(super) fn remedy(&self, ports: &str) -> String {
        self.add.replace("PORTS", ports)
    }
}

/// `5027` or two numbers with `between` between them.
pub(super) fn range(text: &str, between: char) -> Option<(u16, u16)> {
    match text.split_once(between) {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => text.parse().ok().map(|port| (port, port)),
    }
}

/// Rules in a chain that are looked through for jumps to other chains.
const DEPTH_MAX: usize = 8;

/// The base chains of `nft -j list ruleset` that see what comes to this machine, but for those that iptables keeps there.
pub(super) fn nftables(text: &str) -> Vec<Ruleset> {
    let Ok(all) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let items = all["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let mut chains: HashMap<(String, String), Vec<&Value>> = HashMap::new();
    let table = |one: &Value| format!("{} {}", word(&one["family"]), word(&one["table"]));
    for rule in items.iter().filter_map(|item| item.get("rule")) {
        let key = (table(rule), word(&rule["chain"]).to_owned());
        chains.entry(key).or_default().push(rule);
    }
    let mut rulesets = Vec::new();
    for chain in items.iter().filter_map(|item| item.get("chain")) {
        let (table, name) = (table(chain), word(&chain["name"]));
        let is_input = word(&chain["hook"]) == "input" && word(&chain["type"]) == "filter";
        // What iptables made is told by iptables, in words that are all understood.
        if !is_input || name == "INPUT" || !["inet", "ip", "ip6"].contains(&word(&chain["family"]))
        {
            continue;
        }
        rulesets.push(Ruleset {
            rules: flat(&chains, &table, name, false, DEPTH_MAX),
            drops_the_rest: word(&chain["policy"]) == "drop",
            add: format!("nft insert rule {table} {name} tcp dport '{{ PORTS }}' accept; and in /etc/nftables.conf"),
            name: format!("nftables, table {table}, chain {name},"),
        });
    }
    rulesets
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The rules of a chain, those of the chains that it jumps to in their places.
fn flat(
    chains: &HashMap<(String, String), Vec<&Value>>,
    table: &str,
    chain: &str,
    is_narrow: bool,
    depth: usize,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let key = (table.to_owned(), chain.to_owned());
    for rule in chains.get(&key).into_iter().flatten() {
        let parts = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(mut read) = nft_rule(parts) else {
            continue;
        };
        read.is_narrow |= is_narrow;
        let target = parts
            .iter()
            .find_map(|part| part.get("jump").or_else(|| part.get("goto")))
            .map(|jump| word(&jump["target"]));
        match target {
            Some(target) if depth > 0 => {
                let narrow = read.is_narrow || read.ports.is_some();
                rules.extend(flat(chains, table, target, narrow, depth - 1));
            }
            _ if read.verdict == Verdict::Unknown && !decides(parts) => {}
            _ => rules.push(read),
        }
    }
    rules
}

/// A rule; `None`: it concerns no new connection from elsewhere.
fn nft_rule(parts: &[Value]) -> Option<Rule> {
    let mut rule = Rule {
        ports: None,
        is_narrow: false,
        verdict: Verdict::Unknown,
    };
    for part in parts {
        if part.get("accept").is_some() {
            rule.verdict = Verdict::Accept;
        } else if part.get("drop").is_some() || part.get("reject").is_some() {
            rule.verdict = Verdict::Drop;
        } else if let Some(condition) = part.get("match") {
            nft_match(condition, &mut rule)?;
        } else if ["limit", "xt", "ct count"]
            .iter()
            .any(|key| part.get(*key).is_some())
        {
            rule.is_narrow = true;
        }
    }
    Some(rule)
}

/// Whether a rule without a verdict of its own can decide: by a map, or by something of an extension.
fn decides(parts: &[Value]) -> bool {
    parts
        .iter()
        .any(|part| part.get("vmap").is_some() || part.get("xt").is_some())
}

fn nft_match(condition: &Value, rule: &mut Rule) -> Option<()> {
    let (left, right) = (&condition["left"], &condition["right"]);
    let is_equal = matches!(word(&condition["op"]), "==" | "in");
    let field = (
        word(&left["payload"]["protocol"]),
        word(&left["payload"]["field"]),
    );
    let meta = word(&left["meta"]["key"]);
    match (field, meta) {
        (("tcp" | "th", "dport"), _) if is_equal => rule.ports = Some(nft_ports(right)),
        (("udp" | "icmp" | "icmpv6" | "sctp", _), _) if is_equal => return None,
        (_, "iif" | "iifname") if is_equal && right == "lo" => return None,
        (_, "l4proto") if is_equal && !names(right, "tcp") => return None,
        (_, "l4proto" | "nfproto") => {}
        _ if word(&left["ct"]["key"]) == "state" && is_equal => {
            if !names(right, "new") {
                return None;
            }
        }
        _ => rule.is_narrow = true,
    }
    Some(())
}

/// Whether `value` is `wanted`, or a list or set with it.
fn names(value: &Value, wanted: &str) -> bool {
    let set = value.get("set").unwrap_or(value);
    match set.as_array() {
        Some(items) => items.iter().any(|item| word(item) == wanted),
        None => word(set) == wanted,
    }
}

fn nft_ports(value: &Value) -> Vec<(u16, u16)> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let one = |item: &Value| match item["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => number(first).zip(number(last)),
        _ => number(item).map(|port| (port, port)),
    };
    match value["set"].as_array() {
        Some(items) => items.iter().filter_map(one).collect(),
        None => one(value).into_iter().collect(),
    }
}

/// The chain INPUT of `iptables -S`, with the chains that it jumps to.
pub(super) fn iptables(text: &str) -> Ruleset {
    let mut chains: HashMap<&str, Vec<Vec<&str>>> = HashMap::new();
    let mut drops_the_rest = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["-P", "INPUT", policy] => drops_the_rest = *policy == "DROP",
            ["-A", chain, rest @ ..] => chains.entry(chain).or_default().push(rest.to_vec()),
            _ => {}
        }
    }
    Ruleset {
        name: "iptables, chain INPUT,".to_owned(),
        add: "iptables -I INPUT -p tcp -m multiport --dports PORTS -j ACCEPT; and where it is kept for the next boot".to_owned(),
        rules: flat_tables(&chains, "INPUT", false, DEPTH_MAX),
        drops_the_rest,
    }
}

fn flat_tables(
    chains: &HashMap<&str, Vec<Vec<&str>>>,
    chain: &str,
    is_narrow: bool,
    depth: usize,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for words in chains.get(chain).into_iter().flatten() {
        let Some((mut rule, target)) = tables_rule(words) else {
            continue;
        };
        rule.is_narrow |= is_narrow;
        match target {
            Some("ACCEPT" | "DROP" | "REJECT") => rules.push(rule),
            Some(target) if chains.contains_key(target) && depth > 0 => {
                let narrow = rule.is_narrow || rule.ports.is_some();
                rules.extend(flat_tables(chains, target, narrow, depth - 1));
            }
            // LOG, MARK and the like decide nothing.
            _ => {}
        }
    }
    rules
}

/// A rule and where it goes; `None`: it concerns no new connection from elsewhere.
fn tables_rule<'a>(words: &[&'a str]) -> Option<(Rule, Option<&'a str>)> {
    let mut rule = Rule {
        ports: None,
        is_narrow: false,
        verdict: Verdict::Unknown,
    };
    let mut target = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            // Options of the target follow.
            "-j" | "-g" => {
                target = rest.next().copied();
                break;
            }
            "-m" | "--comment" => {
                rest.next();
            }
            "-p" if *rest.next()? != "tcp" => return None,
            "-p" => {}
            "-i" if *rest.next()? == "lo" => return None,
            "--dport" | "--dports" => {
                let ranges = rest.next()?.split(',').filter_map(|one| range(one, ':'));
                rule.ports = Some(ranges.collect());
            }
            "--ctstate" | "--state" if !rest.next()?.split(',').any(|state| state == "NEW") => {
                return None;
            }
            "--ctstate" | "--state" => {}
            _ => rule.is_narrow = true,
        }
    }
    rule.verdict = match target {
        Some("ACCEPT") => Verdict::Accept,
        Some("DROP" | "REJECT") => Verdict::Drop,
        _ => Verdict::Unknown,
    };
    Some((rule, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `nft -j list ruleset` of nftables 1.0.6 writes them; loopback, established connections, a set of ports, one port that is
    /// dropped, one that is let in from some networks.
    const NFT: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "f", "handle": 1}},
        {"chain": {"family": "inet", "table": "f", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"rule": {"family": "inet", "table": "f", "chain": "input", "handle": 3, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "input", "handle": 2, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "input", "handle": 5, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 5027}}, {"drop": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "input", "handle": 4, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [22, {"range": [5000, 5100]}]}}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "input", "handle": 6, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "10.0.0.0", "len": 8}}}}, {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 5300}}, {"accept": null}]}}]}"#;

    #[test]
    fn rules_of_nftables_are_judged_in_their_order() {
        let all = nftables(NFT);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].fate(5028), Fate::Open);
        assert_eq!(all[0].fate(5027), Fate::Closed);
        assert_eq!(all[0].fate(6000), Fate::Closed);
        assert_eq!(all[0].fate(5300), Fate::InPart);
        assert!(
            all[0]
                .remedy("6000")
                .starts_with("nft insert rule inet f input tcp dport '{ 6000 }' accept")
        );
        // The same with another policy: only what a rule names is dropped.
        let open = nftables(&NFT.replace("\"policy\": \"drop\"", "\"policy\": \"accept\""));
        assert_eq!(open[0].fate(6000), Fate::Open);
        assert_eq!(open[0].fate(5300), Fate::Open);
        assert_eq!(open[0].fate(5027), Fate::Closed);
        assert_eq!(nftables("no json"), []);
    }

    #[test]
    fn chains_of_iptables_are_followed() {
        let rules = iptables(
            "-P INPUT ACCEPT\n-P FORWARD DROP\n-N trackers\n-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n\
             -A INPUT -p icmp -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT\n\
             -A INPUT -p tcp -m multiport --dports 5027,5030:5040 -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -j trackers\n\
             -A INPUT -j LOG --log-prefix x\n-A INPUT -j REJECT --reject-with icmp-host-prohibited\n\
             -A trackers -p tcp -m tcp --dport 5300 -j ACCEPT\n",
        );
        for (port, fate) in [
            (22, Fate::Open),
            (5027, Fate::Open),
            (5035, Fate::Open),
            (5029, Fate::Closed),
            (5300, Fate::InPart),
        ] {
            assert_eq!(rules.fate(port), fate, "{port}");
        }
        assert_eq!(iptables("-P INPUT ACCEPT\n").fate(5027), Fate::Open);
        assert_eq!(iptables("-P INPUT DROP\n").fate(5027), Fate::Closed);
    }
}
