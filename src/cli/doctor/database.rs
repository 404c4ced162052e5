//! The database: is it there, and may this user ask it? What it answers is judged in `illness.rs`.

use std::time::{Duration, SystemTime};

use super::super::check_database::{self, Unasked};
use super::super::finding::{Finding, Grade};
use super::illness;
use super::spool::same_disk;
use crate::conf::Conf;
use crate::control::client::ClientError;
use crate::control::messages::Status;
use crate::store::health::{self, Devices, Health, Patience, Tables};
use crate::store::{self, StoreError};

/// A transaction that is open for longer holds dead rows for all tables.
pub(super) const OLD: Duration = Duration::from_secs(3600);
/// Clocks of two machines that are apart by more are not both right.
const CLOCKS_APART: Duration = Duration::from_secs(10);

/// When a device is a suspect.
const PATIENCE: Patience = Patience {
    lately: Duration::from_secs(86_400),
    mute: Duration::from_secs(300),
    silent: Duration::from_secs(3600),
    gone: Duration::from_secs(30 * 86_400),
    ahead: Duration::from_secs(3600),
};

/// What the database says.
#[derive(Debug)]
pub(super) struct Facts {
    /// What `trackport check` finds, and what could not be asked.
    checked: Vec<Finding>,
    health: Health,
    /// Half way between question and answer, by this machine's clock.
    asked_at: SystemTime,
    /// Only where the schema fits.
    tables: Option<Tables>,
    pub(super) devices: Option<Devices>,
}

/// Asks the database of `conf`.
pub(super) fn look(conf: &Conf) -> Result<Facts, Unasked> {
    check_database::asked(conf, |client| {
        health::hurry(client)?;
        let mut checked = check_database::look(client)?;
        let before = SystemTime::now();
        let health = health::health(client, OLD)?;
        let took = before.elapsed().unwrap_or_default();
        let fits = store::check_schema(client).is_ok();
        let (mut tables, mut devices) = (None, None);
        if fits {
            // A lock on one table, or a missing right, must not hide what is known of the others.
            tables = keep(&mut checked, "the partitions", health::tables(client));
            devices = keep(
                &mut checked,
                "the devices",
                health::devices(client, &PATIENCE),
            );
        }
        Ok(Facts {
            checked,
            health,
            asked_at: before + took / 2,
            tables,
            devices,
        })
    })
}

/// What was asked for, or a finding that says why it is not known.
fn keep<T>(findings: &mut Vec<Finding>, what: &str, answer: Result<T, StoreError>) -> Option<T> {
    answer
        .map_err(|error| {
            let finding = Finding::new(Grade::Unseen, format!("{what}: {error}"));
            findings.push(if error.is_turned_away() {
                finding.remedy("runuser -u trackport -- trackport doctor")
            } else {
                finding.remedy(
                    "ask again; SELECT * FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
                )
            });
        })
        .ok()
}

/// What there is to say about a database that was not asked. Where the server itself is well with it, it was this user who was
/// turned away.
pub(super) fn unasked(why: &Unasked, server: &Result<Status, ClientError>) -> Vec<Finding> {
    let finding = without_name(why.finding());
    let server_may = match server {
        Ok(status) => {
            !status.writers.is_empty() && status.writers.iter().all(|one| one.database == "up")
        }
        // Nor may this user ask the server.
        Err(error) => matches!(error, ClientError::NotAllowed { .. }),
    };
    let turned_away = matches!(why, Unasked::Store(error) if error.is_turned_away());
    let remedy = match why {
        Unasked::Store(_) if turned_away => "runuser -u trackport -- trackport doctor",
        Unasked::Store(_) => "systemctl status postgresql; journalctl -u postgresql -n 50",
        Unasked::Late => "systemctl status postgresql; is its disk full or slow? iostat -x 1",
        Unasked::NoThread(_) => "systemctl status: tasks; ulimit -u",
    };
    let grade = if turned_away && server_may {
        Grade::Unseen
    } else {
        Grade::Wrong
    };
    vec![Finding { grade, ..finding }.remedy(remedy)]
}

/// The same without the name of the subject, which stands before it here.
pub(super) fn without_name(mut finding: Finding) -> Finding {
    if let Some(rest) = finding.text.strip_prefix("database: ") {
        finding.text = rest.to_owned();
    }
    finding
}

/// What there is to say about it.
pub(super) fn findings(facts: &Facts, conf: &Conf, now: SystemTime) -> Vec<Finding> {
    let health = &facts.health;
    let mut findings: Vec<Finding> = facts.checked.iter().cloned().map(without_name).collect();
    findings.extend(illness::of_server(health));
    if let Some(tables) = &facts.tables {
        findings.extend(illness::of_tables(tables, now));
    }
    findings.extend(same_disk(
        &conf.spool.directory,
        health.data_directory.as_deref(),
        health.is_local,
    ));
    findings
}

/// How far the database's clock is ahead of (or behind) this machine's, if that is worth a word.
pub(super) fn clocks_apart(facts: &Facts) -> Option<(Duration, bool)> {
    let theirs = facts.health.now?;
    let (apart, is_ahead) = match theirs.duration_since(facts.asked_at) {
        Ok(apart) => (apart, true),
        Err(error) => (error.duration(), false),
    };
    (apart > CLOCKS_APART).then_some((apart, is_ahead))
}
