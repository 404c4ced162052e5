//! Packets that cannot be read or stored as they are: kept with their bytes and the reason.
//!
//! The ways into quarantine; what people do with what is in it stands in `held.rs` and `reread.rs`.
//!
//! Invariants: an entry that was acked is the only copy of its packet: it is never evicted. Entries that were not
//! acked rotate, because the device sends them again: the newest `UNACKED_PER_DEVICE_MAX` of a device and
//! `UNACKED_MAX` in all stay. At `ACKED_PER_DEVICE_MAX` nothing more of that device is acked: a person is needed.

use std::net::IpAddr;
use std::time::SystemTime;

use postgres::GenericClient;

use super::error::StoreError;
use crate::imei::Imei;

/// Entries of one device that wait for a person at most; further packets stay un-acked.
pub const ACKED_PER_DEVICE_MAX: i64 = 1000;

/// Entries of one device that were not acked.
pub const UNACKED_PER_DEVICE_MAX: i64 = 16;

/// Entries of all devices that were not acked.
pub const UNACKED_MAX: i64 = 10_000;

/// The same bytes so often are no line noise but a firmware's mistake.
pub const N_SEEN_TO_ACK: i32 = 3;

/// A packet for quarantine.
#[derive(Clone, Debug)]
pub struct QuarantineEntry<'a> {
    /// Who sent it; `None` where nobody logged in.
    pub imei: Option<Imei>,
    /// The device's key, where it is known.
    pub device_id: Option<i32>,
    /// When it was complete, or given up.
    pub received_at: SystemTime,
    /// Number of the port it came by.
    pub port: Option<i32>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// What is wrong, for people.
    pub reason: &'a str,
    /// What is wrong, one fixed word.
    pub code: &'a str,
    /// The bytes as received.
    pub bytes: &'a [u8],
    /// XXH3-64 of the bytes.
    pub digest: i64,
    /// The record count it declares: `Some` only where preamble, length and codec are sound, so that acking this count
    /// lets the device go on.
    pub n_records: Option<i32>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How often these bytes came from this device.
    pub n_seen: i32,
    /// Kept for good: once this is committed, the packet may be acked.
    pub acked: bool,
    /// It would be kept for good, but the device has no room left: not to be acked, a person is to be told.
    pub is_full: bool,
}

/// Keeps a packet that could not be read. When the same bytes come for the third time and declare their records,
/// the entry is kept for good and may be acked.
///
/// # Errors
/// When the database refuses or does not answer: not to be acked.
pub fn report(
    client: &mut impl GenericClient,
    entry: &QuarantineEntry<'_>,
) -> Result<Seen, StoreError> {
    store(client, entry, N_SEEN_TO_ACK)
}

/// Keeps a packet that was read but that the database refused to store: for good at once.
///
/// # Errors
/// When the database refuses or does not answer: not to be acked.
pub fn refused(
    client: &mut impl GenericClient,
    entry: &QuarantineEntry<'_>,
) -> Result<Seen, StoreError> {
    store(client, entry, 1)
}

/// Keeps for good a packet whose device was told already that it is safe, for example by the spool: whatever the bound, because
/// nothing can be asked of the device any more. Returns whether it was not kept for good before.
///
/// One statement, which may stand in a transaction of the caller's. The same packet again (a replay after a kill) changes
/// nothing and is no further sighting.
///
/// # Errors
/// When the database refuses or does not answer: the packet has to stay where it is.
pub fn keep_acked(
    client: &mut impl GenericClient,
    entry: &QuarantineEntry<'_>,
) -> Result<bool, StoreError> {
    let n_changed = client.execute(
        "INSERT INTO trackport.quarantine AS q
             (imei, device_id, received_at, last_at, port, address, reason, code, bytes, digest, n_records, acked)
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, true)
         ON CONFLICT (imei, digest) DO UPDATE SET
             last_at = greatest(q.last_at, excluded.last_at),
             device_id = coalesce(excluded.device_id, q.device_id),
             n_records = coalesce(excluded.n_records, q.n_records),
             reason = excluded.reason,
             code = excluded.code,
             acked = true
         WHERE NOT q.acked",
        &[
            &entry.imei.map(|imei| imei.to_string()),
            &entry.device_id,
            &entry.received_at,
            &entry.port,
            &entry.address,
            &printable(entry.reason),
            &entry.code,
            &entry.bytes,
            &entry.digest,
            &entry.n_records,
        ],
    )?;
    Ok(n_changed > 0)
}

fn store(
    client: &mut impl GenericClient,
    entry: &QuarantineEntry<'_>,
    n_seen_to_ack: i32,
) -> Result<Seen, StoreError> {
    let mut transaction = client.transaction()?;
    let imei = entry.imei.map(|imei| imei.to_string());
    let n_acked: i64 = transaction
        .query_one(
            "SELECT count(*) FROM trackport.quarantine WHERE imei IS NOT DISTINCT FROM $1 AND acked",
            &[&imei],
        )?
        .get(0);
    let has_room = n_acked < ACKED_PER_DEVICE_MAX;
    let row = transaction.query_one(
        "INSERT INTO trackport.quarantine AS q
             (imei, device_id, received_at, last_at, port, address, reason, code, bytes, digest, n_records, acked)
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $10::integer IS NOT NULL AND $11::integer <= 1 AND $12)
         ON CONFLICT (imei, digest) DO UPDATE SET
             n_seen = q.n_seen + 1,
             last_at = greatest(q.last_at, excluded.last_at),
             device_id = coalesce(excluded.device_id, q.device_id),
             n_records = coalesce(excluded.n_records, q.n_records),
             acked = q.acked OR (coalesce(excluded.n_records, q.n_records) IS NOT NULL AND q.n_seen + 1 >= $11 AND $12)
         RETURNING n_seen, acked, n_records IS NOT NULL",
        &[
            &imei,
            &entry.device_id,
            &entry.received_at,
            &entry.port,
            &entry.address,
            &printable(entry.reason),
            &entry.code,
            &entry.bytes,
            &entry.digest,
            &entry.n_records,
            &n_seen_to_ack,
            &has_room,
        ],
    )?;
    let (n_seen, acked, is_sound): (i32, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if n_seen == 1 && !acked {
        rotate(&mut transaction, imei.as_deref())?;
    }
    transaction.commit()?;
    Ok(Seen {
        n_seen,
        acked,
        is_full: is_sound && !acked && n_seen >= n_seen_to_ack,
    })
}

/// Removes the oldest entries beyond the bounds, of those that were not acked. Entries from a time when the clock was ahead count
/// as from now, so that they do not drive out everything that comes after them.
fn rotate(client: &mut impl GenericClient, imei: Option<&str>) -> Result<(), StoreError> {
    client.execute(
        "DELETE FROM trackport.quarantine WHERE id IN (
             SELECT id FROM trackport.quarantine WHERE imei IS NOT DISTINCT FROM $1 AND NOT acked
             ORDER BY least(last_at, now()) DESC, id DESC OFFSET $2)",
        &[&imei, &UNACKED_PER_DEVICE_MAX],
    )?;
    client.execute(
        "DELETE FROM trackport.quarantine WHERE id IN (
             SELECT id FROM trackport.quarantine WHERE NOT acked ORDER BY least(last_at, now()) DESC, id DESC OFFSET $1)",
        &[&UNACKED_MAX],
    )?;
    Ok(())
}

/// A text that PostgreSQL takes: a zero byte from a packet must not keep its entry out.
fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
