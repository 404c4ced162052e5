//! What the kernel may do to connections before they reach a port: the queue of a listening socket, the table of connections.

use std::fs;

use super::super::finding::{Finding, Grade};
use super::super::text::amount;
use super::look;
use crate::port::bind::BACKLOG;

/// Counters of the kernel at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Connections that found the queue of their listening socket full.
    overflows: u64,
    /// Connections that the table of connections had no room for.
    untracked: Option<u64>,
}

/// What is to be known of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    before: Counters,
    after: Counters,
    somaxconn: Option<u64>,
    /// Connections in the table, and how many it takes; `None` where there is no such table.
    tracked: Option<(u64, u64)>,
}

/// Reads the counters.
pub(super) fn counters() -> Counters {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    Counters {
        overflows: extended(&read("/proc/net/netstat"), "ListenOverflows").unwrap_or(0),
        untracked: dropped(&read("/proc/net/stat/nf_conntrack")),
    }
}

/// Looks at everything else; `before` was read some time ago.
pub(super) fn look(before: Counters) -> Facts {
    let of_table = |name| look::number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    Facts {
        before,
        after: counters(),
        somaxconn: look::number("/proc/sys/net/core/somaxconn"),
        tracked: of_table("count").zip(of_table("max")),
    }
}

/// The counter `name` in the pairs of lines of `/proc/net/netstat`.
fn extended(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let place = names.split_whitespace().position(|one| one == name);
        if let Some(place) = place {
            return values.split_whitespace().nth(place)?.parse().ok();
        }
    }
    None
}

/// The sum over all processors of what was dropped because the table was full.
fn dropped(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let place = names.iter().position(|&name| name == "drop")?;
    lines
        .map(|line| u64::from_str_radix(line.split_whitespace().nth(place)?, 16).ok())
        .sum()
}

/// What there is to say about them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let backlog = u64::from(BACKLOG.unsigned_abs());
    let somaxconn = facts.somaxconn.unwrap_or(backlog);
    if somaxconn < backlog {
        let text = format!(
            "net.core.somaxconn = {somaxconn}: so few connections wait while a whole fleet connects anew, the others are dropped"
        );
        let remedy = format!(
            "echo net.core.somaxconn={backlog} > /etc/sysctl.d/50-trackport.conf && sysctl --system && systemctl restart trackport"
        );
        findings.push(Finding::new(Grade::Warning, text).remedy(remedy));
    }
    let grown = facts.after.overflows.saturating_sub(facts.before.overflows);
    if grown > 0 {
        let text = format!(
            "{} connections found the queue of a listening socket full, just now",
            amount(grown)
        );
        findings.push(Finding::new(Grade::Wrong, text).remedy(
            "trackport status: is a port slow, are descriptors used up? ss -ltn: Recv-Q against Send-Q",
        ));
    }
    if let Some((count, max)) = facts.tracked {
        let raise = format!(
            "echo net.netfilter.nf_conntrack_max={} > /etc/sysctl.d/50-trackport.conf && sysctl --system",
            max.saturating_mul(2)
        );
        let lost = match (facts.before.untracked, facts.after.untracked) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => 0,
        };
        let grade = match count {
            _ if lost > 0 => Grade::Wrong,
            count if count.saturating_mul(100) >= max.saturating_mul(95) => Grade::Wrong,
            count if count.saturating_mul(100) >= max.saturating_mul(75) => Grade::Warning,
            _ => Grade::Ok,
        };
        if grade > Grade::Ok {
            let text = format!(
                "the kernel's table of connections has {} of {} entries{}: beyond that packets are dropped unseen",
                amount(count),
                amount(max),
                if lost > 0 {
                    ", and dropped some just now"
                } else {
                    ""
                }
            );
            findings.push(Finding::new(grade, text).remedy(raise));
        }
    }
    if findings.is_empty() {
        let overflows = match facts.after.overflows {
            0 => String::new(),
            n => format!(
                "; {} connections since the boot found a queue full",
                amount(n)
            ),
        };
        let table = facts.tracked.map_or_else(String::new, |(count, max)| {
            format!("; {} of {} connections tracked", amount(count), amount(max))
        });
        let text = format!(
            "queues of {}{table}{overflows}",
            amount(somaxconn.min(backlog))
        );
        findings.push(Finding::new(Grade::Ok, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 42 43\n\
        IpExt: InNoRoutes InOctets\nIpExt: 7 8\n";
    const CONNTRACK: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop\n\
        00000000  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0000000a 00000000\n\
        00000000  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000000\n";

    fn facts() -> Facts {
        Facts {
            somaxconn: Some(4096),
            tracked: Some((10, 1000)),
            ..Facts::default()
        }
    }

    fn worst(facts: &Facts) -> Grade {
        findings(facts).iter().map(|one| one.grade).max().unwrap()
    }

    #[test]
    fn counters_are_found_by_their_names() {
        assert_eq!(extended(NETSTAT, "ListenOverflows"), Some(42));
        assert_eq!(extended(NETSTAT, "InOctets"), Some(8));
        assert_eq!(extended(NETSTAT, "Other"), None);
        assert_eq!(dropped(CONNTRACK), Some(26));
        assert_eq!(dropped(""), None);
    }

    #[test]
    fn only_what_happens_now_is_wrong() {
        let mut facts = facts();
        facts.before.overflows = 42;
        facts.after.overflows = 42;
        assert_eq!(worst(&facts), Grade::Ok);
        assert!(
            findings(&facts)[0]
                .text
                .contains("42 connections since the boot")
        );
        facts.after.overflows = 43;
        assert_eq!(worst(&facts), Grade::Wrong);
    }

    #[test]
    fn a_short_queue_and_a_full_table_are_told_with_the_keys() {
        let mut facts = facts();
        facts.somaxconn = Some(128);
        assert_eq!(worst(&facts), Grade::Warning);
        assert!(
            findings(&facts)[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("somaxconn=4096")
        );
        let mut facts = self::facts();
        facts.tracked = Some((800, 1000));
        assert_eq!(worst(&facts), Grade::Warning);
        facts.tracked = Some((960, 1000));
        assert_eq!(worst(&facts), Grade::Wrong);
        assert!(
            findings(&facts)[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("nf_conntrack_max=2000")
        );
        facts.tracked = None;
        assert_eq!(worst(&facts), Grade::Ok);
    }
}
