//! The database: is it there, safe, and what will make it ill if nobody looks?

use std::time::{Duration, SystemTime};

use super::super::check_database::{self, Unasked};
use super::super::finding::{Finding, Grade};
use super::super::text::{amount, bytes, count, span, time};
use super::spool::same_disk;
use crate::conf::Conf;
use crate::control::client::ClientError;
use crate::control::messages::Status;
use crate::store::health::{self, Devices, Health, Patience, ROWS_COUNTED_MAX, Tables};
use crate::store::{self, StoreError};

/// A transaction that is open for longer holds dead rows for all tables.
const OLD: Duration = Duration::from_secs(3600);
/// So much WAL may a slot hold before somebody should know.
const SLOT_ODD: i64 = 1 << 30;
/// From here on the disk is in danger.
const SLOT_WRONG: i64 = 16 << 30;
/// Transactions; at two thousand million PostgreSQL takes no more.
const XID_AGE_ODD: i64 = 1_000_000_000;
/// A lock is waited for so long without harm.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Partitions are made four ahead; less than this is left when that has failed for long.
const AHEAD_MIN: Duration = Duration::from_secs(86_400);
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
    findings.extend(promise(health));
    findings.extend(slots(health));
    findings.extend(sessions(health));
    findings.extend(upkeep(health));
    if let Some(tables) = &facts.tables {
        findings.extend(self::tables(tables, now));
    }
    findings.extend(same_disk(
        &conf.spool.directory,
        health.data_directory.as_deref(),
        health.is_local,
    ));
    findings
}

/// What an acknowledgement is worth.
fn promise(health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    if health.is_standby {
        let text = "it is a standby and takes no rows";
        findings
            .push(Finding::new(Grade::Wrong, text).remedy("let [database] url name the primary"));
    }
    if health.synchronous_commit == "off" {
        let text = "synchronous_commit is off; trackport sets it for itself, other programs may lose what they commit";
        findings.push(
            Finding::new(Grade::Warning, text)
                .remedy("set synchronous_commit = on in postgresql.conf, and reload it"),
        );
    }
    if !health.standbys.is_empty() && health.standby_names.is_empty() {
        let text = format!(
            "{} ({}) may lag: what is acknowledged lies on the primary's disk alone until it is copied",
            count(health.standbys.len(), "standby"),
            health.standbys.join(", ")
        );
        findings.push(Finding::new(Grade::Warning, text).remedy(
            "to have acknowledgements wait for a copy: ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'; SELECT pg_reload_conf()",
        ));
    }
    findings
}

fn slots(health: &Health) -> Vec<Finding> {
    let held = health
        .slots
        .iter()
        .filter(|slot| slot.held_bytes >= SLOT_ODD || !slot.is_active);
    held.map(|slot| {
        let held = bytes(u64::try_from(slot.held_bytes).unwrap_or(0));
        let is_bounded = health.slot_bytes_max.is_some();
        let grade = if slot.held_bytes >= SLOT_WRONG && !is_bounded {
            Grade::Wrong
        } else {
            Grade::Warning
        };
        let (reader, bound) = (
            if slot.is_active {
                "somebody reads it slowly"
            } else {
                "nobody reads it"
            },
            if is_bounded {
                ""
            } else {
                ", without a bound: it fills the disk"
            },
        );
        let text = format!(
            "replication slot {} holds {held} of WAL, and {reader}{bound}",
            slot.name
        );
        let remedy = if slot.is_active {
            "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf()".to_owned()
        } else {
            format!(
                "if its standby is no more: SELECT pg_drop_replication_slot('{}')",
                slot.name
            )
        };
        Finding::new(grade, text).remedy(remedy)
    })
    .collect()
}

fn sessions(health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (n, max) = (health.n_connections, health.connections_max);
    if n * 10 >= max * 9 {
        let grade = if n >= max {
            Grade::Wrong
        } else {
            Grade::Warning
        };
        let text = format!("{n} of {max} connections are taken");
        findings.push(Finding::new(grade, text).remedy(
            "SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1; raise max_connections",
        ));
    }
    for holder in &health.old_transactions {
        let text = format!(
            "a transaction of process {} ({}, {}) has been open for {}: no dead row is cleared away meanwhile",
            holder.pid,
            name(&holder.application),
            holder.state,
            span(holder.age)
        );
        let remedy = format!("end it: SELECT pg_terminate_backend({})", holder.pid);
        findings.push(Finding::new(Grade::Warning, text).remedy(remedy));
    }
    if health.n_old_prepared > 0 {
        let n_old = usize::try_from(health.n_old_prepared).unwrap_or(0);
        let text = format!(
            "{} waits for its second phase for more than {}: no dead row is cleared away meanwhile",
            count(n_old, "prepared transaction"),
            span(OLD)
        );
        findings.push(
            Finding::new(Grade::Warning, text).remedy(
                "SELECT * FROM pg_prepared_xacts; COMMIT PREPARED or ROLLBACK PREPARED each",
            ),
        );
    }
    for waiting in health.waiting.iter().filter(|one| one.age > LOCK_WAIT) {
        let blockers: Vec<String> = waiting.blockers.iter().map(ToString::to_string).collect();
        let text = format!(
            "process {} ({}) has waited {} for a lock on trackport.{} that process {} holds",
            waiting.pid,
            name(&waiting.application),
            span(waiting.age),
            waiting.table,
            blockers.join(", ")
        );
        let remedy = waiting.blockers.first().map_or_else(
            || "SELECT * FROM pg_locks WHERE NOT granted".to_owned(),
            |pid| format!("end what holds it: SELECT pg_terminate_backend({pid})"),
        );
        findings.push(Finding::new(Grade::Wrong, text).remedy(remedy));
    }
    if !health.sees_others {
        let text = "what other users' sessions do: old transactions of theirs";
        findings.push(Finding::new(Grade::Unseen, text).remedy("GRANT pg_monitor TO trackport"));
    }
    findings
}

fn name(application: &str) -> &str {
    if application.is_empty() {
        "no name"
    } else {
        application
    }
}

fn upkeep(health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !health.autovacuum {
        let text = "autovacuum is off: tables grow without end, and one day no transaction is taken any more";
        findings.push(
            Finding::new(Grade::Wrong, text)
                .remedy("ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf()"),
        );
    }
    if !health.without_autovacuum.is_empty() {
        let text = format!(
            "autovacuum is off for {}",
            health.without_autovacuum.join(", ")
        );
        let remedy = format!(
            "ALTER TABLE trackport.{} RESET (autovacuum_enabled)",
            health.without_autovacuum[0]
        );
        findings.push(Finding::new(Grade::Warning, text).remedy(remedy));
    }
    if health.xid_age > XID_AGE_ODD {
        let text = format!(
            "the oldest row is {} transactions old; at 2 thousand million PostgreSQL stops",
            amount(u64::try_from(health.xid_age).unwrap_or(0))
        );
        findings.push(Finding::new(Grade::Wrong, text).remedy(
            "vacuumdb --all --freeze; and see what keeps autovacuum from it (old transactions, slots)",
        ));
    }
    findings
}

fn tables(tables: &Tables, now: SystemTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    if tables.n_impossible > 0 {
        let n_rows = amount(u64::try_from(tables.n_impossible).unwrap_or(0));
        let more = if tables.n_impossible == ROWS_COUNTED_MAX {
            "or more "
        } else {
            ""
        };
        let when = tables
            .impossible_span
            .map_or_else(String::new, |(from, to)| {
                format!(", {} to {}", time(from), time(to))
            });
        let text = format!(
            "{n_rows} {more}records have an impossible time{when}: the clocks of {}",
            list(&tables.impossible_imeis)
        );
        findings.push(Finding::new(Grade::Warning, text).remedy(
            "nothing is lost; let these trackers save only after time sync (parameter 107)",
        ));
    }
    // None at all are there before the first start.
    let ahead = tables
        .partitions_to
        .map(|to| to.duration_since(now).unwrap_or_default());
    if let Some(ahead) = ahead.filter(|&ahead| ahead < AHEAD_MIN) {
        let text = format!("the partitions end in {}", span(ahead));
        findings.push(Finding::new(Grade::Warning, text).remedy(
            "a running server makes them: journalctl -u trackport | grep -e housekeeping -e 'clock in doubt'",
        ));
    }
    findings
}

/// Some IMEIs.
fn list(imeis: &[String]) -> String {
    match imeis {
        [] => "devices that are no more".to_owned(),
        imeis => imeis.join(", "),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::health::{Holder, Slot, Waiting};

    fn well() -> Health {
        Health {
            synchronous_commit: "on".to_owned(),
            autovacuum: true,
            sees_others: true,
            n_connections: 5,
            connections_max: 97,
            ..Health::default()
        }
    }

    fn all(health: &Health) -> Vec<Finding> {
        [promise, slots, sessions, upkeep]
            .iter()
            .flat_map(|one| one(health))
            .collect()
    }

    #[track_caller]
    fn only(health: &Health, grade: Grade, words: &str, remedy: &str) {
        let all = all(health);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].grade, grade, "{all:?}");
        assert!(all[0].text.contains(words), "{all:?}");
        assert!(all[0].remedy.as_ref().unwrap().contains(remedy), "{all:?}");
    }

    #[test]
    fn a_database_in_which_nothing_is_wrong_says_nothing() {
        assert_eq!(all(&well()), []);
    }

    #[test]
    fn what_an_acknowledgement_is_worth_is_said() {
        let mut health = well();
        health.standbys = vec!["replica1".to_owned()];
        only(
            &health,
            Grade::Warning,
            "1 standby (replica1)",
            "synchronous_standby_names",
        );
        health.standby_names = "ANY 1 (*)".to_owned();
        assert_eq!(all(&health), []);
        health.is_standby = true;
        only(&health, Grade::Wrong, "standby", "[database] url");
    }

    #[test]
    fn a_slot_that_holds_wal_is_found() {
        let slot = |is_active, held_bytes| Slot {
            name: "old".to_owned(),
            is_active,
            held_bytes,
        };
        let mut health = well();
        health.slots = vec![slot(true, 100)];
        assert_eq!(all(&health), []);
        health.slots = vec![slot(false, 100)];
        only(
            &health,
            Grade::Warning,
            "nobody reads it",
            "pg_drop_replication_slot('old')",
        );
        health.slots = vec![slot(false, 20 << 30)];
        only(
            &health,
            Grade::Wrong,
            "20.0 GiB of WAL",
            "pg_drop_replication_slot('old')",
        );
        health.slot_bytes_max = Some(64 << 30);
        only(
            &health,
            Grade::Warning,
            "20.0 GiB of WAL",
            "pg_drop_replication_slot('old')",
        );
    }

    #[test]
    fn whoever_holds_up_others_is_named_with_the_command_that_ends_it() {
        let mut health = well();
        health.old_transactions = vec![Holder {
            pid: 12,
            application: "report".to_owned(),
            state: "idle in transaction".to_owned(),
            age: Duration::from_secs(7300),
        }];
        only(
            &health,
            Grade::Warning,
            "process 12 (report, idle in transaction)",
            "pg_terminate_backend(12)",
        );
        let mut health = well();
        let waiting = Waiting {
            pid: 1,
            application: "trackport/7".to_owned(),
            table: "record".to_owned(),
            blockers: vec![13],
            age: Duration::from_secs(60),
        };
        health.waiting = vec![waiting.clone()];
        only(
            &health,
            Grade::Wrong,
            "trackport.record that process 13 holds",
            "pg_terminate_backend(13)",
        );
        health.waiting[0].age = Duration::from_secs(1);
        assert_eq!(all(&health), []);
    }

    #[test]
    fn connections_that_run_out_and_rows_that_grow_old_are_found() {
        let mut health = well();
        health.n_connections = 90;
        only(&health, Grade::Warning, "90 of 97", "max_connections");
        health.n_connections = 97;
        only(&health, Grade::Wrong, "97 of 97", "max_connections");
        let mut health = well();
        health.autovacuum = false;
        only(
            &health,
            Grade::Wrong,
            "autovacuum is off",
            "autovacuum = on",
        );
        let mut health = well();
        health.xid_age = 1_500_000_000;
        only(&health, Grade::Wrong, "1 500 000 000", "freeze");
        let mut health = well();
        health.sees_others = false;
        only(&health, Grade::Unseen, "other users", "pg_monitor");
    }

    #[test]
    fn impossible_clocks_and_missing_partitions_are_found() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut some = Tables {
            partitions_to: Some(now + Duration::from_secs(10 * 86_400)),
            ..Tables::default()
        };
        assert_eq!(tables(&some, now), []);
        some.n_impossible = 3;
        some.impossible_imeis = vec!["356307042441013".to_owned()];
        some.impossible_span = Some((SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH));
        let found = tables(&some, now);
        assert!(
            found[0].text.starts_with("3 records") && found[0].text.contains("356307042441013"),
            "{found:?}"
        );
        some.partitions_to = Some(now);
        assert!(tables(&some, now)[1].text.contains("end in 0 ms"));
    }
}
