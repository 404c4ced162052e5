//! What quarantine holds, as an operator works on it: list, look, dismiss, remove, and the counts behind the alert.
//!
//! The ways in stand in `quarantine.rs`, the way from here into `record` in `reread.rs`. Invariant: nothing here removes an
//! entry that was not named or chosen by the caller.

use std::net::IpAddr;
use std::time::SystemTime;

use postgres::{GenericClient, Row};

use super::error::StoreError;
use super::quarantine::ACKED_PER_DEVICE_MAX;
use crate::imei::Imei;

/// One entry, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number, by which people name it.
    pub id: i64,
    /// Who sent it; `None` where nobody logged in.
    pub imei: Option<String>,
    /// The device's key, where there is such a device.
    pub device_id: Option<i32>,
    /// What people call the device.
    pub device_name: Option<String>,
    /// The device's model, which decides what its IO elements mean.
    pub model: Option<String>,
    /// The device's firmware.
    pub firmware: Option<String>,
    /// When these bytes came first.
    pub received_at: SystemTime,
    /// When they came last.
    pub last_at: SystemTime,
    /// Number of the port they came by.
    pub port: Option<i32>,
    /// Where they came from.
    pub address: Option<IpAddr>,
    /// What is wrong, for people.
    pub reason: String,
    /// What is wrong, one fixed word.
    pub code: String,
    /// How often they came.
    pub n_seen: i32,
    /// The device was told that the packet is safe: this is the only copy.
    pub acked: bool,
    /// When somebody ended the alert.
    pub dismissed_at: Option<SystemTime>,
    /// The record count that the packet declares.
    pub n_records: Option<i32>,
    /// How many bytes there are.
    pub n_bytes: i32,
}

/// Which entries are meant; everything that is given has to fit.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// These.
    pub ids: Option<Vec<i64>>,
    /// Of this device.
    pub imei: Option<Imei>,
    /// With this code.
    pub code: Option<String>,
    /// Kept for good, or not.
    pub acked: Option<bool>,
}

/// How much is in quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries kept for good.
    pub n_acked: u64,
    /// Those of them that nobody has dismissed.
    pub n_alerting: u64,
    /// Entries that rotate.
    pub n_unacked: u64,
    /// Devices that have no room left, so that their broken packets are not acked.
    pub n_full: u64,
}

const COLUMNS: &str = "q.id, q.imei, d.id, d.name, d.model, d.firmware, q.received_at, q.last_at, q.port, q.address, q.reason, \
     q.code, q.n_seen, q.acked, q.dismissed_at, q.n_records, octet_length(q.bytes)";

/// An entry's device: by its key, and where the entry came before its device was known, by its IMEI.
const FROM: &str = "trackport.quarantine q LEFT JOIN LATERAL (
         SELECT * FROM trackport.device WHERE id = q.device_id
         UNION ALL SELECT * FROM trackport.device WHERE q.device_id IS NULL AND imei = q.imei LIMIT 1
     ) d ON true";

const CHOSEN: &str =
    "($1::bigint[] IS NULL OR q.id = ANY($1)) AND ($2::text IS NULL OR q.imei = $2)
     AND ($3::text IS NULL OR q.code = $3) AND ($4::boolean IS NULL OR q.acked = $4)";

fn held(row: &Row) -> Held {
    Held {
        id: row.get(0),
        imei: row.get(1),
        device_id: row.get(2),
        device_name: row.get(3),
        model: row.get(4),
        firmware: row.get(5),
        received_at: row.get(6),
        last_at: row.get(7),
        port: row.get(8),
        address: row.get(9),
        reason: row.get(10),
        code: row.get(11),
        n_seen: row.get(12),
        acked: row.get(13),
        dismissed_at: row.get(14),
        n_records: row.get(15),
        n_bytes: row.get(16),
    }
}

impl Filter {
    fn imei(&self) -> Option<String> {
        self.imei.map(|imei| imei.to_string())
    }
}

/// The entries that `filter` chooses, those that came last first, `limit` of them at most.
///
/// # Errors
/// When the database does not answer.
pub fn list(
    client: &mut impl GenericClient,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Held>, StoreError> {
    let rows = client.query(
        &format!(
            "SELECT {COLUMNS} FROM {FROM} WHERE {CHOSEN} ORDER BY q.last_at DESC, q.id DESC LIMIT $5"
        ),
        &[
            &filter.ids,
            &filter.imei(),
            &filter.code,
            &filter.acked,
            &limit,
        ],
    )?;
    Ok(rows.iter().map(held).collect())
}

/// How many entries `filter` chooses.
///
/// # Errors
/// When the database does not answer.
pub fn count(client: &mut impl GenericClient, filter: &Filter) -> Result<u64, StoreError> {
    let row = client.query_one(
        &format!("SELECT count(*) FROM trackport.quarantine q WHERE {CHOSEN}"),
        &[&filter.ids, &filter.imei(), &filter.code, &filter.acked],
    )?;
    Ok(number(&row, 0))
}

/// The numbers of the entries that `filter` chooses, in the order in which they came.
///
/// # Errors
/// When the database does not answer.
pub fn ids(client: &mut impl GenericClient, filter: &Filter) -> Result<Vec<i64>, StoreError> {
    let rows = client.query(
        &format!("SELECT q.id FROM trackport.quarantine q WHERE {CHOSEN} ORDER BY q.id"),
        &[&filter.ids, &filter.imei(), &filter.code, &filter.acked],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// One entry with its bytes; `None` where there is none of this number.
///
/// # Errors
/// When the database does not answer.
pub fn fetch(
    client: &mut impl GenericClient,
    id: i64,
) -> Result<Option<(Held, Vec<u8>)>, StoreError> {
    let row = client.query_opt(
        &format!("SELECT {COLUMNS}, q.bytes FROM {FROM} WHERE q.id = $1"),
        &[&id],
    )?;
    Ok(row.map(|row| (held(&row), row.get(17))))
}

/// An entry with its bytes.
pub type Whole = (Held, Vec<u8>);

/// Entries of one device with their bytes, those that came last first, `limit` of them behind the first `offset`; only what came
/// `since` then. And how many there are in all.
///
/// # Errors
/// When the database does not answer.
pub fn of_device(
    client: &mut impl GenericClient,
    imei: &str,
    since: Option<SystemTime>,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Whole>, i64), StoreError> {
    const OF_DEVICE: &str = "q.imei = $1 AND ($2::timestamptz IS NULL OR q.received_at >= $2)";
    let total = client
        .query_one(
            &format!("SELECT count(*) FROM trackport.quarantine q WHERE {OF_DEVICE}"),
            &[&imei, &since],
        )?
        .get(0);
    let rows = client.query(
        &format!(
            "SELECT {COLUMNS}, q.bytes FROM {FROM} WHERE {OF_DEVICE} ORDER BY q.last_at DESC, q.id DESC OFFSET $3 LIMIT $4"
        ),
        &[&imei, &since, &offset, &limit],
    )?;
    let entries = rows.iter().map(|row| (held(row), row.get(17)));
    Ok((entries.collect(), total))
}

/// Removes an entry, one that was acked only `with_acked`; false where there was none.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn remove(
    client: &mut impl GenericClient,
    id: i64,
    with_acked: bool,
) -> Result<bool, StoreError> {
    let n_removed = client.execute(
        "DELETE FROM trackport.quarantine WHERE id = $1 AND ($2 OR NOT acked)",
        &[&id, &with_acked],
    )?;
    Ok(n_removed > 0)
}

/// Ends the alert of the entries that `filter` chooses; they stay. Returns how many were alerting.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn dismiss(client: &mut impl GenericClient, filter: &Filter) -> Result<u64, StoreError> {
    Ok(client.execute(
        &format!(
            "UPDATE trackport.quarantine q SET dismissed_at = now()
             WHERE {CHOSEN} AND q.acked AND q.dismissed_at IS NULL"
        ),
        &[&filter.ids, &filter.imei(), &filter.code, &filter.acked],
    )?)
}

/// How much is in quarantine, by small indexes only.
///
/// # Errors
/// When the database does not answer.
pub fn counts(client: &mut impl GenericClient) -> Result<Counts, StoreError> {
    let row = client.query_one(
        "SELECT (SELECT count(*) FROM trackport.quarantine WHERE acked),
             (SELECT count(*) FROM trackport.quarantine WHERE acked AND dismissed_at IS NULL),
             (SELECT count(*) FROM trackport.quarantine WHERE NOT acked),
             (SELECT count(*) FROM (SELECT FROM trackport.quarantine WHERE acked GROUP BY imei HAVING count(*) >= $1) f)",
        &[&ACKED_PER_DEVICE_MAX],
    )?;
    Ok(Counts {
        n_acked: number(&row, 0),
        n_alerting: number(&row, 1),
        n_unacked: number(&row, 2),
        n_full: number(&row, 3),
    })
}

fn number(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}
