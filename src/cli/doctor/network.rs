//! The way through mobile networks: packets that stop half way, and after how many bytes.

use std::time::{Duration, SystemTime};

use super::super::finding::{Finding, Grade};
use super::super::text::{ago, amount, bytes};
use crate::control::messages::Stall;

/// What stopped longer ago is history.
const LATELY: Duration = Duration::from_secs(86_400);
/// Lines break; so many packets in a row that stop after the same number of bytes are no accident.
const IN_A_ROW: u64 = 3;
/// Networks that are shown.
const SHOWN_MAX: usize = 5;
/// A segment that fits through what is known of tunnels.
const SEGMENT: u64 = 1200;

/// What there is to say about them; the stalls come with the last one first.
pub(super) fn findings(stalls: &[Stall], now: SystemTime) -> Vec<Finding> {
    let mut lately: Vec<(&Stall, SystemTime)> = stalls
        .iter()
        .filter_map(|stall| {
            let at = SystemTime::from(stall.last_at.parse::<jiff::Timestamp>().ok()?);
            let age = now.duration_since(at).unwrap_or_default();
            (age < LATELY).then_some((stall, at))
        })
        .collect();
    lately.sort_by_key(|(stall, _)| std::cmp::Reverse(stall.in_a_row >= IN_A_ROW));
    let mut findings: Vec<Finding> = lately
        .iter()
        .take(SHOWN_MAX)
        .map(|(stall, at)| finding(stall, &ago(*at, now)))
        .collect();
    if lately.len() > SHOWN_MAX {
        let n_more = amount((lately.len() - SHOWN_MAX) as u64);
        let text = format!("packets from {n_more} more networks stopped half way");
        findings.push(Finding::new(Grade::Warning, text).remedy("trackport status --json: stalls"));
    }
    if findings.is_empty() {
        findings.push(Finding::new(
            Grade::Ok,
            "no packet stopped half way within a day",
        ));
    }
    findings
}

fn finding(stall: &Stall, ago: &str) -> Finding {
    let Stall {
        network,
        packets,
        in_a_row,
        received,
        ..
    } = stall;
    let of = stall
        .expected
        .map_or_else(String::new, |expected| format!(" of {expected}"));
    if *in_a_row >= IN_A_ROW {
        let text = format!(
            "packets from {network} stop after {received}{of} bytes, the last {in_a_row} all there, the last one {ago}: likely a tunnel \
             that carries less than it says (MTU)"
        );
        let remedy = format!(
            "max_segment = {SEGMENT} below [[port]], then: systemctl reload trackport; or fewer records in one packet in the tracker"
        );
        return Finding::new(Grade::Wrong, text).remedy(remedy);
    }
    let n = match packets {
        1 => "a packet".to_owned(),
        n => format!("{} packets", amount(*n)),
    };
    let text = format!(
        "{n} from {network} stopped half way, the last one after {received}{of} bytes, {ago}"
    );
    let remedy = format!(
        "bad coverage does this; where they stop after the same number of {} and more: max_segment = {SEGMENT} below [[port]]",
        bytes(500)
    );
    Finding::new(Grade::Warning, text).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(network: &str, in_a_row: u64, at: &str) -> Stall {
        Stall {
            network: network.to_owned(),
            packets: 4,
            in_a_row,
            received: 1340,
            expected: Some(2800),
            last_at: at.to_owned(),
        }
    }

    fn at(stalls: &[Stall]) -> Vec<Finding> {
        findings(
            stalls,
            SystemTime::UNIX_EPOCH + Duration::from_secs(100_000),
        )
    }

    #[test]
    fn packets_that_stop_at_one_byte_point_at_the_mtu() {
        let all = at(&[
            stall("10.9.9.0/24", 1, "1970-01-02T03:46:30Z"),
            stall("10.1.2.0/24", 3, "1970-01-02T03:46:00Z"),
        ]);
        assert_eq!(all[0].grade, Grade::Wrong);
        assert!(
            all[0]
                .text
                .starts_with("packets from 10.1.2.0/24 stop after 1340 of 2800 bytes"),
            "{all:?}"
        );
        assert!(
            all[0]
                .remedy
                .as_ref()
                .unwrap()
                .starts_with("max_segment = 1200")
        );
        assert_eq!(all[1].grade, Grade::Warning);
        assert!(all[1].text.contains("4 packets from 10.9.9.0/24"));
    }

    #[test]
    fn what_stopped_long_ago_is_history() {
        let all = at(&[stall("10.1.2.0/24", 9, "1970-01-01T00:00:00Z")]);
        assert_eq!(all[0].grade, Grade::Ok);
    }
}
