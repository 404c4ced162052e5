//! What makes a database ill: promises that do not hold, slots and transactions that hold up others, upkeep that nobody does, impossible
//! clocks.
//!
//! Judges what `store::health` saw; asks nobody.

use std::time::{Duration, SystemTime};

use super::super::finding::{Finding, Grade};
use super::super::text::{amount, bytes, count, span, time};
use crate::store::health::{Health, ROWS_COUNTED_MAX, Tables};

/// A transaction that is open for longer holds dead rows for all tables.
pub(super) const OLD: Duration = Duration::from_secs(3600);
/// So much WAL may a slot hold before somebody should know.
const SLOT_ODD: i64 = 1 << 30;
/// From here on the disk is in danger.
const SLOT_WRONG: i64 = 16 << 30;
/// Transactions; at two thousand million PostgreSQL takes no more.
const XID_AGE_ODD: i64 = 1_000_000_000;
/// What is meant to take long: nobody shall end the backup of a large database because we said so.
const TAKE_LONG: [&str; 3] = ["pg_dump", "pg_dumpall", "trackport import"];
/// A lock is waited for so long without harm.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Partitions are made four ahead; less than this is left when that has failed for long.
const AHEAD_MIN: Duration = Duration::from_secs(86_400);

/// What there is to say about the server.
pub(super) fn of_server(health: &Health) -> Vec<Finding> {
    [promise, slots, sessions, upkeep]
        .iter()
        .flat_map(|judge| judge(health))
        .collect()
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
        let end = format!("SELECT pg_terminate_backend({})", holder.pid);
        let remedy = if TAKE_LONG.contains(&holder.application.as_str()) {
            format!("it may be right and ends by itself; only if it hangs: {end}")
        } else {
            format!("end it: {end}")
        };
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

/// What there is to say about the tables of records.
pub(super) fn of_tables(tables: &Tables, now: SystemTime) -> Vec<Finding> {
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

    #[track_caller]
    fn only(health: &Health, grade: Grade, words: &str, remedy: &str) {
        let all = of_server(health);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].grade, grade, "{all:?}");
        assert!(all[0].text.contains(words), "{all:?}");
        assert!(all[0].remedy.as_ref().unwrap().contains(remedy), "{all:?}");
    }

    #[test]
    fn a_database_in_which_nothing_is_wrong_says_nothing() {
        assert_eq!(of_server(&well()), []);
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
        assert_eq!(of_server(&health), []);
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
        assert_eq!(of_server(&health), []);
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
            "end it: SELECT pg_terminate_backend(12)",
        );
        "pg_dump".clone_into(&mut health.old_transactions[0].application);
        only(
            &health,
            Grade::Warning,
            "process 12 (pg_dump, ",
            "ends by itself; only if it hangs",
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
        assert_eq!(of_server(&health), []);
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
        assert_eq!(of_tables(&some, now), []);
        some.n_impossible = 3;
        some.impossible_imeis = vec!["356307042441013".to_owned()];
        some.impossible_span = Some((SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH));
        let found = of_tables(&some, now);
        assert!(
            found[0].text.starts_with("3 records") && found[0].text.contains("356307042441013"),
            "{found:?}"
        );
        some.partitions_to = Some(now);
        assert!(of_tables(&some, now)[1].text.contains("end in 0 ms"));
    }
}
