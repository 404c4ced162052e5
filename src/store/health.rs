//! What an operator asks of a database that may be ill, and of the devices in it: for `trackport doctor`.
//!
//! Reads only, and each question is bounded: nothing here reads a whole table of records. What this user may not see is `None` or
//! counted as unseen, never taken for well. `Health` is asked of any database, `Tables` and the questions about devices only of one
//! whose schema fits.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use postgres::Client;

use super::error::StoreError;
use crate::imei::Imei;

/// Records with an impossible time that are counted.
pub const ROWS_COUNTED_MAX: i64 = 100_000;

/// The server and its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// It is a standby that takes no writes.
    pub is_standby: bool,
    /// `synchronous_commit` as sessions begin with.
    pub synchronous_commit: String,
    /// `synchronous_standby_names`.
    pub standby_names: String,
    /// Standbys that are connected.
    pub standbys: Vec<String>,
    /// Whether dead rows are cleared away.
    pub autovacuum: bool,
    /// Tables of ours for which that is switched off.
    pub without_autovacuum: Vec<String>,
    /// The replication slots, with the bytes of WAL that each one holds.
    pub slots: Vec<Slot>,
    /// `max_slot_wal_keep_size` in bytes; `None`: no bound.
    pub slot_bytes_max: Option<u64>,
    /// Where the data lies; `None`: this user may not know.
    pub data_directory: Option<String>,
    /// Whether the server runs on this machine: by a local socket, or at a loopback address.
    pub is_local: bool,
    /// Whether this user sees what other users' sessions do.
    pub sees_others: bool,
    /// Transactions that have been open for long, the oldest first.
    pub old_transactions: Vec<Holder>,
    /// Prepared transactions that have been open for long.
    pub n_old_prepared: i64,
    /// Sessions of clients.
    pub n_connections: i64,
    /// How many there may be for users like this one.
    pub connections_max: i64,
    /// Transactions that the oldest unfrozen row is old.
    pub xid_age: i64,
    /// Sessions that wait for a lock on a table of ours.
    pub waiting: Vec<Waiting>,
    /// Its clock.
    pub now: Option<SystemTime>,
}

/// One replication slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether anybody reads from it.
    pub is_active: bool,
    /// Bytes of WAL that it keeps from being removed.
    pub held_bytes: i64,
}

/// A session with an old transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Its process.
    pub pid: i32,
    /// What it calls itself.
    pub application: String,
    /// `active`, `idle in transaction`, …
    pub state: String,
    /// How long its transaction has been open.
    pub age: Duration,
}

/// A session that waits for a lock.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Its process.
    pub pid: i32,
    /// What it calls itself.
    pub application: String,
    /// The table.
    pub table: String,
    /// Who is in its way.
    pub blockers: Vec<i32>,
    /// How long it has waited.
    pub age: Duration,
}

/// The tables of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// Records from the future, or from before there were such trackers, counted up to `ROWS_COUNTED_MAX`. The default partition has
    /// them, among old ones that trackers had kept.
    pub n_impossible: i64,
    /// Devices that they are from, some of them.
    pub impossible_imeis: Vec<String>,
    /// Their earliest and latest time.
    pub impossible_span: Option<(SystemTime, SystemTime)>,
    /// When the newest partition ends.
    pub partitions_to: Option<SystemTime>,
}

/// A refused login.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Who it said it is.
    pub imei: String,
    /// On which port.
    pub port: String,
    /// How often.
    pub n_attempts: i64,
    /// When last.
    pub last_at: SystemTime,
    /// From where last.
    pub address: Option<IpAddr>,
    /// Why.
    pub reason: String,
}

/// A device that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Its IMEI.
    pub imei: String,
    /// What people call it.
    pub name: Option<String>,
    /// Since when, or when last.
    pub at: SystemTime,
    /// The longest pause that it usually makes, where that matters.
    pub usual: Option<Duration>,
}

/// The devices, from the database's side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Devices that may log in.
    pub n_accepted: i64,
    /// Those of them that are connected, as far as the tables know.
    pub n_connected: i64,
    /// Devices of which a record arrived within the last hour.
    pub n_recent: i64,
    /// Logins that were refused lately, the last first.
    pub refusals: Vec<Refusal>,
    /// Connected for a while, and there is no record of it.
    pub mute: Vec<Suspect>,
    /// Not heard for far longer than it usually pauses.
    pub silent: Vec<Suspect>,
    /// Seen lately not to wait for acks.
    pub hasty: Vec<Suspect>,
    /// Whose newest records are from a time far from when they arrived.
    pub timeless: Vec<Suspect>,
    /// Packets in quarantine that were not acked and came lately, by code, with one IMEI.
    pub broken: Vec<(String, i64, Option<String>)>,
    /// Entries of quarantine that are the only copies and that nobody has dismissed.
    pub n_alerting: i64,
}

/// From now on no question of this connection takes long, so that one that waits for a lock does not keep the others from being asked.
///
/// # Errors
/// When the database does not answer.
pub fn hurry(client: &mut Client) -> Result<(), StoreError> {
    client.batch_execute("SET lock_timeout = '1s'; SET statement_timeout = '3s'")?;
    Ok(())
}

/// Asks the server.
///
/// # Errors
/// When the database does not answer.
pub fn health(client: &mut Client, old: Duration) -> Result<Health, StoreError> {
    let row = client.query_one(
        "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names'), current_setting('autovacuum')::boolean,
             (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
             pg_has_role('pg_read_all_settings', 'USAGE'),
             coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true),
             pg_has_role('pg_read_all_stats', 'USAGE'),
             (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
             current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
             (SELECT max(age(datfrozenxid))::bigint FROM pg_database),
             clock_timestamp(),
             (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit')",
        &[],
    )?;
    let slot_mib: i64 = row.get(3);
    let sees_settings: bool = row.get(4);
    let mut health = Health {
        is_standby: row.get(0),
        standby_names: row.get(1),
        autovacuum: row.get(2),
        slot_bytes_max: u64::try_from(slot_mib).ok().map(|mib| mib << 20),
        is_local: row.get(5),
        sees_others: row.get(6),
        n_connections: row.get(7),
        connections_max: row.get(8),
        xid_age: row.get(9),
        now: row.get(10),
        synchronous_commit: row.get(11),
        ..Health::default()
    };
    if sees_settings {
        let row = client.query_one("SELECT current_setting('data_directory')", &[])?;
        health.data_directory = row.get(0);
    }
    // A base backup is connected like a standby and is none.
    let standbys = client.query(
        "SELECT coalesce(nullif(application_name, ''), pid::text) FROM pg_stat_replication
         WHERE application_name <> 'pg_basebackup' ORDER BY 1",
        &[],
    )?;
    health.standbys = standbys.iter().map(|row| row.get(0)).collect();
    if !health.is_standby {
        let slots = client.query(
            "SELECT slot_name::text, active,
                 coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
             FROM pg_replication_slots WHERE NOT temporary ORDER BY 3 DESC, 1",
            &[],
        )?;
        health.slots = slots
            .iter()
            .map(|row| Slot {
                name: row.get(0),
                is_active: row.get(1),
                held_bytes: row.get(2),
            })
            .collect();
    }
    let seconds = old.as_secs_f64();
    let holders = client.query(
        "SELECT pid, coalesce(application_name, ''), coalesce(state, ''), extract(epoch FROM clock_timestamp() - xact_start)::float8
         FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND clock_timestamp() - xact_start > make_interval(secs => $1)
         ORDER BY xact_start LIMIT 5",
        &[&seconds],
    )?;
    health.old_transactions = holders
        .iter()
        .map(|row| Holder {
            pid: row.get(0),
            application: row.get(1),
            state: row.get(2),
            age: span(row.get(3)),
        })
        .collect();
    let row = client.query_one(
        "SELECT count(*) FROM pg_prepared_xacts WHERE clock_timestamp() - prepared > make_interval(secs => $1)",
        &[&seconds],
    )?;
    health.n_old_prepared = row.get(0);
    let rows = client.query(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'trackport' AND EXISTS (
             SELECT FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean)
         ORDER BY 1 LIMIT 10",
        &[],
    )?;
    health.without_autovacuum = rows.iter().map(|row| row.get(0)).collect();
    health.waiting = waiting(client)?;
    Ok(health)
}

fn waiting(client: &mut Client) -> Result<Vec<Waiting>, StoreError> {
    let rows = client.query(
        "SELECT l.pid, coalesce(a.application_name, ''), c.relname::text, pg_blocking_pids(l.pid),
             extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, clock_timestamp()))::float8
         FROM pg_locks l
         JOIN pg_class c ON c.oid = l.relation AND l.locktype = 'relation'
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'trackport'
         LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE NOT l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         ORDER BY l.waitstart LIMIT 5",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| Waiting {
            pid: row.get(0),
            application: row.get(1),
            table: row.get(2),
            blockers: row.get(3),
            age: span(row.get(4)),
        })
        .collect())
}

/// Asks about the tables of records.
///
/// # Errors
/// When the database does not answer.
pub fn tables(client: &mut Client) -> Result<Tables, StoreError> {
    let row = client.query_one(
        // Device by device, by the key: the table may be large where trackers had kept old records.
        "WITH few AS (SELECT r.device_id, r.time FROM trackport.device d CROSS JOIN LATERAL (
                 (SELECT device_id, time FROM trackport.record_default
                     WHERE device_id = d.id AND time > now() + interval '1 day' ORDER BY time DESC LIMIT $1)
                 UNION ALL
                 (SELECT device_id, time FROM trackport.record_default
                     WHERE device_id = d.id AND time < timestamptz '2010-01-01Z' ORDER BY time LIMIT $1)) r LIMIT $1)
         SELECT count(*), min(time), max(time), ARRAY(
             SELECT d.imei FROM trackport.device d WHERE d.id IN (SELECT DISTINCT device_id FROM few) ORDER BY d.imei LIMIT 3)
         FROM few",
        &[&ROWS_COUNTED_MAX],
    )?;
    let (from, to): (Option<SystemTime>, Option<SystemTime>) = (row.get(1), row.get(2));
    let partitions = super::partition::list_partitions(client)?;
    Ok(Tables {
        n_impossible: row.get(0),
        impossible_imeis: row.get(3),
        impossible_span: from.zip(to),
        partitions_to: partitions.iter().map(|one| one.to).max(),
    })
}

/// What makes a device a suspect, by time.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Refusals, hasty devices and broken packets count for so long.
    pub lately: Duration,
    /// So long a connected device may say nothing after its login.
    pub mute: Duration,
    /// So long any device may be silent, whatever it usually does.
    pub silent: Duration,
    /// A device that has been away for longer is gone, and no surprise.
    pub gone: Duration,
    /// So far a record's time may be from its arrival, in the direction of the future.
    pub ahead: Duration,
}

/// Asks about the devices.
///
/// # Errors
/// When the database does not answer.
pub fn devices(client: &mut Client, patience: &Patience) -> Result<Devices, StoreError> {
    let row = client.query_one(
        "SELECT (SELECT count(*) FROM trackport.device WHERE state = 'accepted'),
             (SELECT count(*) FROM trackport.device_state WHERE connected),
             (SELECT count(*) FROM trackport.latest WHERE received_at > now() - interval '1 hour'),
             (SELECT count(*) FROM trackport.quarantine WHERE acked AND dismissed_at IS NULL)",
        &[],
    )?;
    let lately = patience.lately.as_secs_f64();
    Ok(Devices {
        n_accepted: row.get(0),
        n_connected: row.get(1),
        n_recent: row.get(2),
        n_alerting: row.get(3),
        refusals: refusals(client, None, patience.lately)?,
        mute: suspects(
            client,
            "SELECT d.imei, d.name, s.last_login_at, NULL::float8
             FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
             WHERE s.connected AND s.last_login_at < now() - make_interval(secs => $1)
                 AND NOT EXISTS (SELECT FROM trackport.latest l WHERE l.device_id = s.device_id)
                 AND NOT EXISTS (SELECT FROM trackport.record r WHERE r.device_id = s.device_id LIMIT 1)
             ORDER BY s.last_login_at DESC LIMIT 200",
            &[&patience.mute.as_secs_f64()],
        )?,
        silent: silent(client, patience)?,
        hasty: suspects(
            client,
            "SELECT d.imei, d.name, s.sends_before_ack_at, NULL::float8
             FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
             WHERE s.sends_before_ack_at > now() - make_interval(secs => $1) AND d.state = 'accepted'
             ORDER BY s.sends_before_ack_at DESC LIMIT 200",
            &[&lately],
        )?,
        // A device whose clock is ahead has a `latest` of the time before, or none: what it sent lately lies ahead of now.
        timeless: suspects(
            client,
            "SELECT d.imei, d.name, r.time, NULL::float8
             FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
             CROSS JOIN LATERAL (SELECT time, received_at FROM trackport.record r WHERE r.device_id = d.id
                 AND r.time > now() + make_interval(secs => $2) ORDER BY r.time DESC LIMIT 1) r
             WHERE s.last_contact_at > now() - make_interval(secs => $1)
                 AND r.received_at > now() - make_interval(secs => $1) AND r.time > r.received_at + make_interval(secs => $2)
             ORDER BY r.time DESC LIMIT 200",
            &[&lately, &patience.ahead.as_secs_f64()],
        )?,
        broken: broken(client, None, patience.lately)?,
    })
}

/// Logins refused within `lately` of whoever may still not log in, of `imei` alone if it is given; the last first.
///
/// # Errors
/// When the database does not answer.
pub fn refusals(
    client: &mut Client,
    imei: Option<Imei>,
    lately: Duration,
) -> Result<Vec<Refusal>, StoreError> {
    let rows = client.query(
        "SELECT a.imei, a.port, a.n_attempts, a.last_at, a.last_address, a.reason
         FROM trackport.login_attempt a
         WHERE ($2::text IS NULL OR a.imei = $2) AND a.last_at > now() - make_interval(secs => $1)
             AND NOT EXISTS (SELECT FROM trackport.device d JOIN trackport.device_state s ON s.device_id = d.id
                 WHERE d.imei = a.imei AND s.last_login_at > a.last_at)
         ORDER BY a.last_at DESC, a.imei LIMIT 200",
        &[&lately.as_secs_f64(), &imei.map(|imei| imei.to_string())],
    )?;
    Ok(rows
        .iter()
        .map(|row| Refusal {
            imei: row.get(0),
            port: row.get(1),
            n_attempts: row.get(2),
            last_at: row.get(3),
            address: row.get(4),
            reason: row.get(5),
        })
        .collect())
}

/// Packets that came within `lately` and could not be read, of `imei` alone if it is given: code, how many, and one IMEI.
///
/// # Errors
/// When the database does not answer.
pub fn broken(
    client: &mut Client,
    imei: Option<Imei>,
    lately: Duration,
) -> Result<Vec<(String, i64, Option<String>)>, StoreError> {
    let rows = client.query(
        "SELECT code, count(*), max(imei) FROM trackport.quarantine
         WHERE NOT acked AND ($2::text IS NULL OR imei = $2) AND last_at > now() - make_interval(secs => $1)
         GROUP BY code ORDER BY 2 DESC, 1 LIMIT 5",
        &[&lately.as_secs_f64(), &imei.map(|imei| imei.to_string())],
    )?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

/// When the newest record of a device arrived, by the record's own time.
///
/// # Errors
/// When the database does not answer.
pub fn newest_record(
    client: &mut Client,
    imei: Imei,
) -> Result<Option<(SystemTime, SystemTime)>, StoreError> {
    let row = client.query_opt(
        "SELECT r.time, r.received_at FROM trackport.record r
         WHERE r.device_id = (SELECT id FROM trackport.device WHERE imei = $1) ORDER BY r.time DESC LIMIT 1",
        &[&imei.to_string()],
    )?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// A device's habit is the longest pause between arrivals of its last records; three times that is no habit any more.
fn silent(client: &mut Client, patience: &Patience) -> Result<Vec<Suspect>, StoreError> {
    suspects(
        client,
        "WITH away AS (
             SELECT d.id, d.imei, d.name, s.last_contact_at, l.time
             FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
             JOIN trackport.latest l ON l.device_id = d.id
             WHERE d.state = 'accepted' AND NOT s.connected
                 AND s.last_contact_at < now() - make_interval(secs => $1)
                 AND s.last_contact_at > now() - make_interval(secs => $2)
             ORDER BY s.last_contact_at DESC LIMIT 200)
         SELECT away.imei, away.name, away.last_contact_at, habit.longest FROM away
         CROSS JOIN LATERAL (
             SELECT extract(epoch FROM max(pause))::float8 AS longest, count(pause) AS n FROM (
                 SELECT received_at - lag(received_at) OVER (ORDER BY received_at) AS pause FROM (
                     SELECT received_at FROM trackport.record r WHERE r.device_id = away.id
                         AND r.time <= away.time AND r.time > away.time - interval '7 days'
                     ORDER BY r.time DESC LIMIT 50) last) pauses) habit
         WHERE habit.n >= 5 AND extract(epoch FROM now() - away.last_contact_at) > 3 * habit.longest
         ORDER BY away.last_contact_at DESC",
        &[&patience.silent.as_secs_f64(), &patience.gone.as_secs_f64()],
    )
}

fn suspects(
    client: &mut Client,
    question: &str,
    values: &[&(dyn postgres::types::ToSql + Sync)],
) -> Result<Vec<Suspect>, StoreError> {
    let rows = client.query(question, values)?;
    Ok(rows
        .iter()
        .map(|row| Suspect {
            imei: row.get(0),
            name: row.get(1),
            at: row.get(2),
            usual: row.get::<_, Option<f64>>(3).map(span),
        })
        .collect())
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
