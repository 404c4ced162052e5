//! The running server: does it run, is it this version, what does it complain of?

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::finding::{Finding, Grade};
use super::super::text::{count, span};
use super::look;
use crate::control::client::ClientError;
use crate::control::messages::{Remark, Status};
use crate::facts::Fact;

/// An error of the log is shown for so long.
const ERRORS_SHOWN: Duration = Duration::from_secs(24 * 3600);
/// What holds devices up, and is no error, is shown for so long.
const REMARKS_SHOWN: Duration = Duration::from_secs(3600);
/// Remarks shown.
const REMARKS_MAX: usize = 5;

/// Facts that are no errors and yet stand between a device and its rows.
const HOLD_UPS: &[Fact] = &[
    Fact::PortPartly,
    Fact::ConfNeedsRestart,
    Fact::AddressNotAllowed,
    Fact::PortFull,
    Fact::AddressFull,
    Fact::TakeOverDamped,
    Fact::LoginsSlowed,
    Fact::DeviceSlowed,
    Fact::AnswersNotRead,
    Fact::ReceiveFull,
    Fact::ReadingRests,
    Fact::QueueFull,
    Fact::DeviceKeptOut,
    Fact::RegistrationLimit,
    Fact::KeeperFailed,
    Fact::NotesDropped,
    Fact::RosterFailed,
    Fact::WatchdogStarved,
];

/// Errors that another subject shows for as long as they last, and that are over when it shows none.
const SHOWN_ELSEWHERE: &[Fact] = &[
    Fact::PortNotBound,
    Fact::QuarantineAlert,
    Fact::ConfBad,
    Fact::ClockDoubted,
];

/// What systemd knows of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// `active`, `failed`, …
    state: String,
    /// `exit-code`, `watchdog`, …
    result: String,
    exit_code: String,
    n_restarts: u32,
    is_enabled: bool,
    pid: u32,
}

/// Asks systemd; `None` where it does not run or knows no such service.
pub(super) fn unit() -> Option<Unit> {
    let said = look::ask(
        "systemctl",
        &[
            "show",
            "trackport.service",
            "--property=LoadState,ActiveState,Result,ExecMainStatus,NRestarts,UnitFileState,MainPID",
        ],
    );
    parse_unit(said.words()?)
}

fn parse_unit(text: &str) -> Option<Unit> {
    let values = look::values(text);
    let word = |key| values.get(key).copied().unwrap_or_default().to_owned();
    (word("LoadState") == "loaded").then(|| Unit {
        state: word("ActiveState"),
        result: word("Result"),
        exit_code: word("ExecMainStatus"),
        n_restarts: word("NRestarts").parse().unwrap_or(0),
        is_enabled: word("UnitFileState") == "enabled",
        pid: word("MainPID").parse().unwrap_or(0),
    })
}

/// Whether the program of this process was replaced on disk since it started; `None`: not to be seen by this user.
pub(super) fn is_replaced(pid: u32) -> Option<bool> {
    let target = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(target.to_string_lossy().ends_with(" (deleted)"))
}

/// What there is to say about a server that did not answer.
pub(super) fn unanswered(error: &ClientError, unit: Option<&Unit>) -> Vec<Finding> {
    let finding = match error {
        ClientError::NotAllowed { path } => Finding::new(
            Grade::Unseen,
            format!("{path} may not be opened by this user"),
        )
        .remedy("run this as root, or: runuser -u trackport -- trackport doctor"),
        ClientError::NotThere { path, source } => {
            let text = format!("it does not run: nobody answers at {path} ({source})");
            match unit {
                None => Finding::new(Grade::Wrong, text)
                    .remedy("start it (trackport run); is [control] socket where it listens?"),
                Some(unit) => Finding::new(Grade::Wrong, format!("{text}; {}", unit.fate()))
                    .remedy(unit.remedy()),
            }
        }
        ClientError::Broken(error) => Finding::new(
            Grade::Wrong,
            format!("it listens and did not answer: {error}"),
        )
        .remedy("journalctl -u trackport -n 50; if it hangs: systemctl restart trackport"),
        ClientError::Unknown(error) => Finding::new(
            Grade::Wrong,
            format!("it answers in another version's words: {error}"),
        )
        .remedy("systemctl restart trackport"),
    };
    vec![finding]
}

impl Unit {
    /// What became of it.
    fn fate(&self) -> String {
        match (self.state.as_str(), self.exit_code.as_str()) {
            ("failed", "78") => "systemd says: failed, by a wrong conf file".to_owned(),
            ("failed", code) => format!("systemd says: failed ({}, code {code})", self.result),
            (state, _) => format!("systemd says: {state}"),
        }
    }

    fn remedy(&self) -> &'static str {
        match (self.state.as_str(), self.exit_code.as_str()) {
            ("failed", "78") => "trackport check; then: systemctl restart trackport",
            ("inactive", _) => "systemctl enable --now trackport",
            _ => "journalctl -u trackport -n 50; then: systemctl restart trackport",
        }
    }
}

/// What there is to say about a server that answered.
pub(super) fn findings(
    status: &Status,
    unit: Option<&Unit>,
    is_replaced: Option<bool>,
    conf: &Path,
    now: SystemTime,
) -> Vec<Finding> {
    let (version, ours) = (&status.version, env!("CARGO_PKG_VERSION"));
    let up = span(Duration::from_secs(status.uptime_s));
    let mut findings = vec![Finding::new(
        Grade::Ok,
        format!("trackport {version}, process {}, up for {up}", status.pid),
    )];
    if version != ours {
        let text = format!("the server is version {version}, this program is {ours}");
        findings.push(Finding::new(Grade::Warning, text).remedy("systemctl restart trackport"));
    } else if is_replaced == Some(true) {
        let text = "the program was replaced on disk since the server started";
        findings.push(Finding::new(Grade::Warning, text).remedy("systemctl restart trackport"));
    }
    if !is_same_file(Path::new(&status.conf), conf) {
        let text = format!(
            "the server runs by {}, and this looked at {}",
            status.conf,
            conf.display()
        );
        let remedy = format!("trackport doctor --conf {}", status.conf);
        findings.push(Finding::new(Grade::Warning, text).remedy(remedy));
    }
    if let Some(unit) = unit.filter(|unit| unit.pid == status.pid) {
        findings.extend(unit_findings(unit));
    }
    // Ports and spool tell theirs themselves.
    let elsewhere =
        |trouble: &&String| trouble.starts_with("port ") || trouble.starts_with("spool: ");
    for trouble in status.troubles.iter().filter(|one| !elsewhere(one)) {
        let finding = Finding::new(Grade::Wrong, trouble.clone());
        findings.push(if trouble.contains('`') {
            finding
        } else {
            finding.remedy("journalctl -u trackport -n 50 -p warning")
        });
    }
    for thread in status.threads.iter().filter(|one| one.failures > 0) {
        let times = match thread.failures {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        let text = format!(
            "{} failed {times} since the start and was replaced: {}",
            thread.name, thread.last_failure
        );
        let remedy = format!(
            "worth a report, with: journalctl -u trackport | grep -C 20 '{}'",
            thread.name
        );
        findings.push(Finding::new(Grade::Warning, text).remedy(remedy));
    }
    findings.extend(remarks(&status.remarks, now));
    findings
}

fn unit_findings(unit: &Unit) -> Vec<Finding> {
    let mut findings = Vec::new();
    if unit.n_restarts > 0 {
        let text = format!(
            "systemd has started it again {}",
            match unit.n_restarts {
                1 => "once".to_owned(),
                n => format!("{n} times"),
            }
        );
        findings.push(
            Finding::new(Grade::Warning, text).remedy(
                "journalctl -u trackport -p err; forget it: systemctl reset-failed trackport",
            ),
        );
    }
    if !unit.is_enabled {
        let text = "it is not started with the machine";
        findings.push(Finding::new(Grade::Warning, text).remedy("systemctl enable trackport"));
    }
    findings
}

/// What the log said last that is not over yet, as far as that can be known.
fn remarks(remarks: &[Remark], now: SystemTime) -> Vec<Finding> {
    let is_one =
        |facts: &[Fact], remark: &Remark| facts.iter().any(|fact| fact.name() == remark.fact);
    let shown = remarks.iter().filter_map(|remark| {
        let at = SystemTime::from(remark.at.parse::<jiff::Timestamp>().ok()?);
        let age = now.duration_since(at).unwrap_or_default();
        let is_error = remark.level == "error" && !is_one(SHOWN_ELSEWHERE, remark);
        let is_due =
            is_error && age < ERRORS_SHOWN || is_one(HOLD_UPS, remark) && age < REMARKS_SHOWN;
        is_due.then(|| {
            let text = format!("log, {} ago: {} {}", span(age), remark.fact, remark.text);
            Finding::new(Grade::Warning, text)
        })
    });
    let mut findings: Vec<Finding> = shown.collect();
    if findings.len() > REMARKS_MAX {
        let more = count(findings.len() - REMARKS_MAX, "other line");
        findings.truncate(REMARKS_MAX);
        let text = format!("log: and {more}");
        findings.push(
            Finding::new(Grade::Warning, text)
                .remedy("journalctl -u trackport --since -24h -p warning"),
        );
    }
    findings
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::messages::Thread;

    const UNIT: &str = "LoadState=loaded\nActiveState=active\nResult=success\nExecMainStatus=0\nNRestarts=0\n\
        UnitFileState=enabled\nMainPID=7\n";

    fn status() -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: 7,
            conf: "/a.toml".to_owned(),
            ..Status::default()
        }
    }

    fn at(status: &Status, unit: &str) -> Vec<Finding> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        findings(
            status,
            parse_unit(unit).as_ref(),
            Some(false),
            Path::new("/a.toml"),
            now,
        )
    }

    fn bad(findings: &[Finding]) -> Vec<&Finding> {
        findings
            .iter()
            .filter(|one| one.grade > Grade::Ok)
            .collect()
    }

    #[test]
    fn a_server_in_which_nothing_is_wrong_is_one_line() {
        let all = at(&status(), UNIT);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(parse_unit("LoadState=not-found\n"), None);
    }

    #[test]
    fn restarts_another_version_and_another_conf_are_odd() {
        let unit = UNIT
            .replace("NRestarts=0", "NRestarts=3")
            .replace("enabled", "disabled");
        let all = at(&status(), &unit);
        assert!(all[1].text.contains("again 3 times"), "{all:?}");
        assert!(all[2].remedy.as_ref().unwrap().contains("systemctl enable"));
        // The service is another process: what became of it says nothing about this one.
        assert_eq!(
            at(&status(), &unit.replace("MainPID=7", "MainPID=8")).len(),
            1
        );
        let mut other = status();
        other.version = "0.0.1".to_owned();
        other.conf = "/b.toml".to_owned();
        let all = at(&other, UNIT);
        assert!(all[1].text.contains("0.0.1"));
        assert_eq!(
            all[2].remedy.as_deref(),
            Some("trackport doctor --conf /b.toml")
        );
    }

    #[test]
    fn troubles_are_wrong_and_failed_threads_odd() {
        let mut ill = status();
        ill.troubles = [
            "writer-0: database away",
            "port 5027: in use",
            "spool: full",
        ]
        .map(str::to_owned)
        .into();
        ill.threads.push(Thread {
            name: "keeper".to_owned(),
            generation: 2,
            state: "running".to_owned(),
            beat_age_ms: 1,
            failures: 1,
            silences: 0,
            last_failure: "panicked: x".to_owned(),
        });
        let all = at(&ill, UNIT);
        let bad = bad(&all);
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert_eq!(bad[0].grade, Grade::Wrong);
        assert!(bad[1].text.contains("keeper failed once") && bad[1].text.contains("panicked: x"));
    }

    #[test]
    fn what_the_log_said_is_shown_while_it_is_fresh() {
        let remark = |fact: Fact, level: &str, at: &str| Remark {
            fact: fact.name().to_owned(),
            level: level.to_owned(),
            text: "imei=1".to_owned(),
            at: at.to_owned(),
        };
        let mut noisy = status();
        // The clock shows 1970-01-02T03:46:40Z.
        noisy.remarks = vec![
            remark(Fact::DeviceKeptOut, "warn", "1970-01-02T03:46:00Z"),
            remark(Fact::DatabaseAway, "error", "1970-01-02T01:46:40Z"),
            remark(Fact::LoginsSlowed, "warn", "1970-01-02T01:46:40Z"),
            remark(Fact::NotTheProtocol, "warn", "1970-01-02T03:46:00Z"),
            remark(Fact::QuarantineAlert, "error", "1970-01-02T03:46:00Z"),
        ];
        let all = at(&noisy, UNIT);
        let texts: Vec<&str> = bad(&all).iter().map(|one| one.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "log, 40 s ago: device kept out imei=1",
                "log, 2 h 00 min ago: database away imei=1"
            ]
        );
    }

    #[test]
    fn a_service_that_failed_says_why_and_what_helps() {
        let unit = parse_unit(
            &UNIT
                .replace("active", "failed")
                .replace("Status=0", "Status=78"),
        );
        let error = ClientError::NotThere {
            path: "/run/x".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let all = unanswered(&error, unit.as_ref());
        assert_eq!(all[0].grade, Grade::Wrong);
        assert!(all[0].text.contains("wrong conf file"), "{all:?}");
        assert!(
            all[0]
                .remedy
                .as_ref()
                .unwrap()
                .starts_with("trackport check")
        );
        let path = "/run/x".to_owned();
        let hidden = unanswered(&ClientError::NotAllowed { path }, None);
        assert_eq!(hidden[0].grade, Grade::Unseen);
    }
}
