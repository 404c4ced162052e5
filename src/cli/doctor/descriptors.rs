//! File descriptors: each session takes one, so their limit is the limit of the fleet.

use std::fs;

use super::super::finding::{Finding, Grade};
use super::super::text::amount;
use crate::control::messages::Status;
use crate::supervisor::descriptors;

/// What is to be known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// `/proc/PID/limits` of the server; `None`: not to be seen by this user.
    limits: Option<String>,
    /// Files that the server has open; `None`: not to be seen by this user.
    n_open: Option<usize>,
    /// Those of the whole machine, and how many there may be.
    machine: Option<(u64, u64)>,
}

/// Looks at those of the process `pid`.
pub(super) fn look(pid: u32) -> Facts {
    let file_nr = fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
    let numbers: Vec<u64> = file_nr
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    Facts {
        limits: fs::read_to_string(format!("/proc/{pid}/limits")).ok(),
        n_open: fs::read_dir(format!("/proc/{pid}/fd"))
            .ok()
            .map(Iterator::count),
        machine: match numbers.as_slice() {
            [used, _, max] => Some((*used, *max)),
            _ => None,
        },
    }
}

/// What there is to say about them.
pub(super) fn findings(facts: &Facts, status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let n_sessions: usize = status.ports.iter().map(|port| port.sessions).sum();
    match &facts.limits {
        None => findings.push(
            Finding::new(Grade::Unseen, "the limits of the server's process")
                .remedy("run this as root, or: runuser -u trackport -- trackport doctor"),
        ),
        Some(limits) => {
            let has_web = status.threads.iter().any(|thread| thread.name == "web");
            let fit =
                descriptors::sessions_by(limits, status.ports.len(), status.writers.len(), has_web);
            findings.push(of_process(fit, n_sessions, facts.n_open, status.n_devices));
        }
    }
    if let Some((used, max)) = facts.machine
        && used.saturating_mul(10) >= max.saturating_mul(9)
    {
        let text = format!(
            "the machine has {} of {} files open",
            amount(used),
            amount(max)
        );
        findings.push(
            Finding::new(Grade::Wrong, text)
                .remedy("raise fs.file-max in /etc/sysctl.d; who holds them: lsof | awk '{print $1}' | sort | uniq -c | sort -n"),
        );
    }
    findings
}

fn of_process(fit: usize, n_sessions: usize, n_open: Option<usize>, n_devices: usize) -> Finding {
    // Twice, because a device that connects anew leaves its old connection behind for a while.
    let wanted = n_devices.saturating_mul(2).max(1024).next_power_of_two();
    let remedy = format!(
        "systemctl edit trackport: [Service] LimitNOFILE={wanted}; then: systemctl restart trackport"
    );
    let fit_text = amount(fit as u64);
    if n_sessions.saturating_mul(10) >= fit.saturating_mul(9) {
        let text = format!(
            "{} sessions of the {fit_text} that the descriptors allow: who comes next waits",
            amount(n_sessions as u64)
        );
        return Finding::new(Grade::Wrong, text).remedy(remedy);
    }
    if n_devices > fit {
        let text = format!(
            "the descriptors allow {fit_text} sessions, and {} devices are known",
            amount(n_devices as u64)
        );
        return Finding::new(Grade::Warning, text).remedy(remedy);
    }
    let open = n_open.map_or_else(String::new, |n| {
        format!("{} files open, ", amount(n as u64))
    });
    Finding::new(Grade::Ok, format!("{open}room for {fit_text} sessions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(n: &str) -> Option<String> {
        Some(format!(
            "Max processes  9 9 processes\nMax open files            {n}   524288   files\n"
        ))
    }

    fn grades(facts: &Facts, n_devices: usize) -> Vec<Grade> {
        let status = Status {
            n_devices,
            ..Status::default()
        };
        findings(facts, &status)
            .iter()
            .map(|one| one.grade)
            .collect()
    }

    #[test]
    fn fewer_descriptors_than_devices_are_odd() {
        let mut facts = Facts {
            limits: limits("1024"),
            n_open: Some(40),
            machine: Some((1000, 1_000_000)),
        };
        assert_eq!(grades(&facts, 900), [Grade::Ok]);
        assert_eq!(grades(&facts, 1000), [Grade::Warning]);
        facts.machine = Some((950_000, 1_000_000));
        assert_eq!(grades(&facts, 900), [Grade::Ok, Grade::Wrong]);
        facts.limits = None;
        assert_eq!(grades(&facts, 900), [Grade::Unseen, Grade::Wrong]);
    }

    #[test]
    fn descriptors_that_are_used_up_are_wrong() {
        let finding = of_process(960, 900, None, 3000);
        assert_eq!(finding.grade, Grade::Wrong);
        assert!(finding.remedy.unwrap().contains("LimitNOFILE=8192"));
    }
}
