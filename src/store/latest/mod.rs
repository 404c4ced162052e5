//! `latest`: per device its newest record and, apart, its newest fix and the newest events.
//!
//! Derived from `record` and never needed for the promise: written after the commit, in transactions of its
//! own, and repaired from `record` at start.
//! Invariants: an older record never replaces a newer one, in whatever order they come; a record whose time lies more
//! than an hour ahead of its receipt never becomes latest. No record is newer than its receipt: one from a clock that is
//! ahead by less is as old as that, so that the first record of the clock set right replaces it. What lies more than an hour
//! ahead of now was written while this machine's clock was ahead too: it is looked up anew as soon as its device is heard.
//! Rows are written in the order of their device ids, so that two writers cannot wait for each other in a circle.
//!
//! `sql.rs` has the columns and the statements, `contact.rs` learns how often a device is usually heard.

mod contact;
pub(super) mod sql;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, SystemTime};

use postgres::Client;
use postgres::types::ToSql;

use super::error::StoreError;
use super::typed::{SHAKEN, Typed};
use sql::{Column, STATEMENTS, columns};

/// How far a record may lie ahead of its receipt and still be believed.
pub const AHEAD_MAX: Duration = Duration::from_secs(3600);

/// The channel on which it is told which devices have something new: JSON arrays of `device.id`.
pub const CHANNEL: &str = "trackport_latest";

/// Bytes of one such array; PostgreSQL takes less than 8000.
const PAYLOAD_MAX: usize = 7_900;

/// What `latest` keeps of one record.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestRow {
    /// Key of the device.
    pub device_id: i32,
    /// The record's own time.
    pub time: SystemTime,
    /// The record's digest; decides between two records of one time.
    pub digest: i64,
    /// When the packet was complete.
    pub received_at: SystemTime,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Degrees, north positive.
    pub latitude: f64,
    /// Metres above sea level.
    pub altitude_m: i16,
    /// Degrees from north, clockwise.
    pub angle_deg: i32,
    /// Satellites in use; 0: no fix.
    pub satellites: i16,
    /// Kilometres per hour.
    pub speed_kmh: i32,
    /// 0 low, 1 high, 2 panic; as sent.
    pub priority: i16,
    /// AVL id that caused the record; 0: none.
    pub event_id: i32,
    /// Number of the port it came by.
    pub port: i32,
    /// The typed columns.
    pub typed: Typed,
}

impl LatestRow {
    fn is_believable(&self) -> bool {
        self.time
            .duration_since(self.received_at)
            .is_ok_and(|ahead| ahead <= AHEAD_MAX)
            || self.time <= self.received_at
    }

    /// The greater, the newer.
    fn age_key(&self) -> (SystemTime, SystemTime, i64) {
        (self.time.min(self.received_at), self.time, self.digest)
    }
}

/// What is newest of each device, out of any number of rows in any order: as much as there are devices, not records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Newest {
    by_device: BTreeMap<i32, NewestOfOne>,
}

#[derive(Clone, Debug, PartialEq)]
struct NewestOfOne {
    row: LatestRow,
    fix: Option<LatestRow>,
    event: Option<EventRow>,
    shaken: Option<EventRow>,
    received_at: SystemTime,
}

/// What is kept of a record with events.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EventRow {
    age_key: (SystemTime, SystemTime, i64),
    mask: i32,
}

impl EventRow {
    fn time(&self) -> SystemTime {
        self.age_key.1
    }
}

impl Newest {
    /// Takes a row in if it is newer than what is there; one too far ahead of its receipt never is.
    pub fn add(&mut self, row: LatestRow) {
        if !row.is_believable() {
            return;
        }
        let fix = (row.satellites > 0).then(|| row.clone());
        let event = row.typed.events.map(|mask| EventRow {
            age_key: row.age_key(),
            mask,
        });
        let received_at = row.received_at;
        self.merge(
            row.device_id,
            NewestOfOne {
                row,
                fix,
                event,
                shaken: event.filter(|event| event.mask & SHAKEN != 0),
                received_at,
            },
        );
    }

    /// Takes in what is newer in `other`.
    pub fn append(&mut self, other: Newest) {
        for (device_id, one) in other.by_device {
            self.merge(device_id, one);
        }
    }

    fn merge(&mut self, device_id: i32, new: NewestOfOne) {
        match self.by_device.entry(device_id) {
            Entry::Vacant(place) => {
                place.insert(new);
            }
            Entry::Occupied(place) => {
                let known = place.into_mut();
                known.received_at = known.received_at.max(new.received_at);
                if new.row.age_key() > known.row.age_key() {
                    known.row = new.row;
                }
                let fix_key = |fix: &Option<LatestRow>| fix.as_ref().map(LatestRow::age_key);
                if fix_key(&new.fix) > fix_key(&known.fix) {
                    known.fix = new.fix;
                }
                let event_key = |event: &Option<EventRow>| event.map(|event| event.age_key);
                for (known, new) in [
                    (&mut known.event, new.event),
                    (&mut known.shaken, new.shaken),
                ] {
                    if event_key(&new) > event_key(known) {
                        *known = new;
                    }
                }
            }
        }
    }

    /// Each device's id and when the last of its rows was received.
    pub fn heard(&self) -> impl Iterator<Item = (i32, SystemTime)> {
        self.by_device
            .iter()
            .map(|(&id, one)| (id, one.received_at))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.by_device.is_empty()
    }
}

impl Extend<LatestRow> for Newest {
    fn extend<I: IntoIterator<Item = LatestRow>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.add(row));
    }
}

impl FromIterator<LatestRow> for Newest {
    fn from_iter<I: IntoIterator<Item = LatestRow>>(rows: I) -> Newest {
        let mut newest = Newest::default();
        newest.extend(rows);
        newest
    }
}

/// Takes what is `newest` into `latest`; returns the devices that changed.
///
/// # Errors
/// When the database refuses or does not answer; nothing is changed then.
pub fn update_latest(
    client: &mut Client,
    newest: &Newest,
    now: SystemTime,
) -> Result<Vec<i32>, StoreError> {
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let device_ids: Vec<i32> = newest.by_device.keys().copied().collect();
    let all: Vec<&NewestOfOne> = newest.by_device.values().collect();
    let columns: Vec<Column> = columns(&all);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&device_ids];
    parameters.extend(columns.iter().map(|column| &*column.values));
    let mut transaction = client.transaction()?;
    let until = now + AHEAD_MAX;
    let ahead = transaction.query(
        "DELETE FROM trackport.latest WHERE device_id = ANY ($1) AND greatest(time, fix_time) > $2 RETURNING device_id",
        &[&device_ids, &until],
    )?;
    if !ahead.is_empty() {
        let ids: Vec<i32> = ahead.iter().map(|row| row.get(0)).collect();
        transaction.execute(&STATEMENTS.repair_some, &[&until, &ids])?;
    }
    let changed = transaction.query(&STATEMENTS.update, &parameters)?;
    transaction.commit()?;
    Ok(changed.iter().map(|row| row.get(0)).collect())
}

/// Tells whoever listens on [`CHANNEL`] that these devices have something new in `latest`.
///
/// # Errors
/// When the database refuses (its queue is full, because somebody listens and does not read) or does not answer.
pub fn notify_latest(client: &mut Client, device_ids: &[i32]) -> Result<(), StoreError> {
    if device_ids.is_empty() {
        return Ok(());
    }
    client.execute(
        "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload",
        &[&CHANNEL, &payloads(device_ids)],
    )?;
    Ok(())
}

/// JSON arrays of the ids, each short enough for one notification.
fn payloads(device_ids: &[i32]) -> Vec<String> {
    let mut payloads = Vec::new();
    let mut payload = String::new();
    for id in device_ids {
        let id = id.to_string();
        if payload.len() + id.len() + 2 > PAYLOAD_MAX {
            payloads.push(std::mem::take(&mut payload) + "]");
        }
        payload.push(if payload.is_empty() { '[' } else { ',' });
        payload.push_str(&id);
    }
    if !payload.is_empty() {
        payloads.push(payload + "]");
    }
    payloads
}

/// Brings `latest` up to `record` for the next `n_devices` devices after `after_device_id` (0 to begin); returns the last
/// of them, from which to go on, or `None` when all are done.
///
/// A fix is looked for in the 30 days before a device's newest record, events among what `latest` does not know yet and no longer back
/// than a day; a record more than an hour ahead of `now` is not.
///
/// # Errors
/// When the database refuses or does not answer; the same chunk can be asked for again.
pub fn repair_latest(
    client: &mut Client,
    after_device_id: i32,
    n_devices: i64,
    now: SystemTime,
) -> Result<Option<i32>, StoreError> {
    let until = now + AHEAD_MAX;
    client.execute(&STATEMENTS.repair, &[&until, &after_device_id, &n_devices])?;
    let last = client.query_one(
        "SELECT max(id) FROM (SELECT id FROM trackport.device WHERE id > $1 ORDER BY id LIMIT $2) AS chunk",
        &[&after_device_id, &n_devices],
    )?;
    Ok(last.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_a_whole_array_that_postgresql_takes() {
        assert_eq!(payloads(&[]), Vec::<String>::new());
        assert_eq!(payloads(&[1, 22]), ["[1,22]"]);
        let ids: Vec<i32> = (1_000_000..1_010_000).collect();
        let payloads = payloads(&ids);
        assert!(payloads.len() > 1 && payloads.iter().all(|one| one.len() <= PAYLOAD_MAX));
        let told: Vec<i32> = payloads
            .iter()
            .flat_map(|one| serde_json::from_str::<Vec<i32>>(one).unwrap())
            .collect();
        assert_eq!(told, ids);
    }
}
