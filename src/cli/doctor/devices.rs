//! The devices: who is turned away, who says nothing, who does not wait, whose bytes cannot be read.

use std::time::SystemTime;

use super::super::finding::{Finding, Grade};
use super::super::text::{ago, amount, count, span, time};
use crate::store::health::{Devices, Refusal, Suspect};

/// Devices of one kind that are named.
const NAMED_MAX: usize = 3;

/// What helps a device that sends on before its packet is acknowledged.
pub(super) const ACK_TYPE_REMEDY: &str =
    "in the tracker: \"ACK type\" = AVL (server settings in the configurator)";

/// What there is to say about them; `accepts_any`: some port lets every IMEI in.
pub(super) fn findings(devices: &Devices, accepts_any: bool, now: SystemTime) -> Vec<Finding> {
    let mut findings = refusals(&devices.refusals, now);
    findings.extend(suspects(
        &devices.mute,
        "connected, and there is no record of it yet",
        |one| format!("logged in {}", ago(one.at, now)),
        "trackport doctor --imei IMEI; does it have data to send, a fix, an APN that lets large packets through (max_segment)?",
    ));
    findings.extend(suspects(
        &devices.silent,
        "not heard for far longer than usual",
        |one| {
            let usual = one.usual.map_or_else(String::new, |usual| {
                format!(", usually within {}", span(usual))
            });
            format!("{}{usual}", ago(one.at, now))
        },
        "is it powered, in coverage, is its SIM paid? trackport doctor --imei IMEI",
    ));
    findings.extend(suspects(
        &devices.hasty,
        "not waiting for acknowledgements: it loses records when the line breaks",
        |one| format!("seen {}", ago(one.at, now)),
        ACK_TYPE_REMEDY,
    ));
    findings.extend(suspects(
        &devices.timeless,
        "sending records from the future",
        |one| format!("up to {}", time(one.at)),
        "in the tracker: save only after time sync (parameter 107); nothing is lost meanwhile",
    ));
    for (code, n, imei) in &devices.broken {
        findings.push(broken(code, *n, imei.as_deref()));
    }
    if devices.n_alerting > 0 {
        let n_packets = usize::try_from(devices.n_alerting).unwrap_or(0);
        let text = format!(
            "{} in quarantine for good, the only copy, and nobody has looked",
            count(n_packets, "packet")
        );
        findings.push(Finding::new(Grade::Wrong, text).remedy(
            "trackport quarantine list --acked; then retry, or export and remove, or dismiss",
        ));
    }
    if devices.n_accepted == 0 && !accepts_any {
        let text = "no device may log in yet";
        findings.push(
            Finding::new(Grade::Warning, text)
                .remedy("trackport device add IMEI, or [devices] accept = \"any\""),
        );
    }
    let whole = |n: i64| amount(u64::try_from(n).unwrap_or(0));
    let text = format!(
        "{} accepted, {} connected, records of {} within the hour",
        whole(devices.n_accepted),
        whole(devices.n_connected),
        whole(devices.n_recent)
    );
    findings.push(Finding::new(Grade::Ok, text));
    findings
}

/// Packets with this code that came lately and could not be read.
pub(super) fn broken(code: &str, n: i64, imei: Option<&str>) -> Finding {
    let n_packets = usize::try_from(n).unwrap_or(0);
    let of = imei.map_or_else(String::new, |imei| format!(", for example of {imei}"));
    let text = format!(
        "{} could not be read within a day ({code}){of}",
        count(n_packets, "packet")
    );
    let which = imei.map_or_else(|| format!("--code {code}"), |imei| format!("--imei {imei}"));
    let remedy = format!("trackport quarantine list {which}; trackport quarantine show ID");
    Finding::new(Grade::Warning, text).remedy(remedy)
}

fn refusals(refusals: &[Refusal], now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<Finding> = refusals
        .iter()
        .take(NAMED_MAX)
        .map(|one| refusal(one, now))
        .collect();
    if refusals.len() > NAMED_MAX {
        let more = count(refusals.len() - NAMED_MAX, "more IMEI");
        findings.push(
            Finding::new(Grade::Warning, format!("{more} turned away within a day")).remedy(
                "psql: select * from trackport.login_attempt order by last_at desc; a whole fleet: trackport device import FILE",
            ),
        );
    }
    findings
}

/// A login that was refused, and the command that lets the device in.
pub(super) fn refusal(refusal: &Refusal, now: SystemTime) -> Finding {
    let times = match refusal.n_attempts {
        1 => "once".to_owned(),
        n => format!("{} times", amount(u64::try_from(n).unwrap_or(0))),
    };
    let from = refusal
        .address
        .map_or_else(String::new, |address| format!(" from {address}"));
    let text = format!(
        "{} was turned away {times} on {}, last {}{from}: {}",
        refusal.imei,
        refusal.port,
        ago(refusal.last_at, now),
        refusal.reason
    );
    Finding::new(Grade::Warning, text).remedy(refusal_remedy(&refusal.imei, &refusal.reason))
}

fn refusal_remedy(imei: &str, reason: &str) -> String {
    match reason {
        "the device is not known" | "the device was removed" => {
            format!("if it is yours: trackport device add {imei}")
        }
        "the device is refused" | "the device waits to be accepted" => {
            format!("to let it in: trackport device accept {imei}")
        }
        "the port is pinned to another device" => {
            "let the tracker use another port, or take `device` out of this [[port]]".to_owned()
        }
        "no more new devices for now" => {
            format!("raise [devices] max_new_devices; this one: trackport device add {imei}")
        }
        _ => format!("trackport doctor --imei {imei}"),
    }
}

fn suspects(
    suspects: &[Suspect],
    what: &str,
    detail: impl Fn(&Suspect) -> String,
    remedy: &str,
) -> Option<Finding> {
    let first = suspects.first()?;
    let named: Vec<String> = suspects
        .iter()
        .take(NAMED_MAX)
        .map(|one| match &one.name {
            Some(name) => format!("{} {name} ({})", one.imei, detail(one)),
            None => format!("{} ({})", one.imei, detail(one)),
        })
        .collect();
    let more = match suspects.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let text = format!("{what}: {}{more}", named.join(", "));
    Some(Finding::new(Grade::Warning, text).remedy(remedy.replace("IMEI", &first.imei)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn well() -> Devices {
        Devices {
            n_accepted: 10,
            n_connected: 8,
            n_recent: 7,
            ..Devices::default()
        }
    }

    fn suspect(imei: &str) -> Suspect {
        Suspect {
            imei: imei.to_owned(),
            name: Some("Van 7".to_owned()),
            at: now() - Duration::from_secs(7200),
            usual: Some(Duration::from_secs(60)),
        }
    }

    fn bad(devices: &Devices) -> Vec<Finding> {
        let mut all = findings(devices, false, now());
        all.retain(|one| one.grade > Grade::Ok);
        all
    }

    #[test]
    fn a_fleet_in_which_nothing_is_wrong_is_one_line() {
        let all = findings(&well(), false, now());
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(
            all[0].text,
            "10 accepted, 8 connected, records of 7 within the hour"
        );
    }

    #[test]
    fn an_empty_list_is_odd_only_where_devices_have_to_be_on_it() {
        let none = Devices::default();
        assert!(
            bad(&none)[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("trackport device add")
        );
        assert_eq!(findings(&none, true, now()).len(), 1);
    }

    #[test]
    fn who_was_turned_away_is_told_with_the_command_that_lets_it_in() {
        let refusal = |reason: &str| Refusal {
            imei: "356307042441013".to_owned(),
            port: "[::]:5027".to_owned(),
            n_attempts: 3,
            last_at: now() - Duration::from_secs(5),
            address: Some([10, 1, 2, 3].into()),
            reason: reason.to_owned(),
        };
        let mut devices = well();
        devices.refusals = vec![refusal("the device is not known"); 5];
        let all = bad(&devices);
        assert_eq!(all.len(), NAMED_MAX + 1);
        assert_eq!(
            all[0].text,
            "356307042441013 was turned away 3 times on [::]:5027, last 5 s ago from 10.1.2.3: the device is not known"
        );
        let remedy = |reason: &str| refusal_remedy("356307042441013", reason);
        assert!(remedy("the device is not known").ends_with("device add 356307042441013"));
        assert!(remedy("the device is refused").ends_with("device accept 356307042441013"));
        assert!(remedy("no more new devices for now").contains("max_new_devices"));
        assert!(all[NAMED_MAX].text.starts_with("2 more IMEIs"));
    }

    #[test]
    fn suspects_are_named_with_what_helps() {
        let mut devices = well();
        devices.silent = (0..5)
            .map(|n| suspect(&format!("35630704244101{n}")))
            .collect();
        let all = bad(&devices);
        assert_eq!(all.len(), 1);
        assert!(
            all[0]
                .text
                .contains("356307042441010 Van 7 (2 h 00 min ago, usually within 60 s)")
                && all[0].text.ends_with("and 2 more"),
            "{all:?}"
        );
        assert!(
            all[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("doctor --imei 356307042441010")
        );
        let mut devices = well();
        devices.hasty = vec![suspect("1")];
        assert!(
            bad(&devices)[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("ACK type")
        );
    }

    #[test]
    fn quarantine_is_wrong_when_it_holds_the_only_copy() {
        let mut devices = well();
        devices.broken = vec![("crc".to_owned(), 4, Some("1".to_owned()))];
        let all = bad(&devices);
        assert_eq!(all[0].grade, Grade::Warning);
        assert!(
            all[0]
                .text
                .starts_with("4 packets could not be read within a day (crc)")
        );
        devices.n_alerting = 1;
        let all = bad(&devices);
        assert_eq!(all[1].grade, Grade::Wrong);
        assert!(all[1].text.starts_with("1 packet in quarantine"));
    }
}
