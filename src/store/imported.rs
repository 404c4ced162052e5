//! Positions that another server received, in a table of their own, and how far an import has come.
//!
//! Knows no file format and no other server's schema. Invariants: a batch is one transaction, with its progress; a row that is there is
//! passed over, so the same again doubles nothing; no row is written of a device that is being erased.

use std::fmt::Write as _;
use std::io::Write as _;

use postgres::Client;
use serde_json::Value;

use super::error::StoreError;
use super::typed::Typed;

/// What is kept of one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportedPosition {
    /// Key of the device here.
    pub device_id: i32,
    /// Key of the row there.
    pub source_id: i64,
    /// `2026-01-31 12:00:00`, in the time zone of the import.
    pub time: String,
    /// When the other server received it, likewise.
    pub received_at: Option<String>,
    /// Whether the position was a fresh one.
    pub fix: Option<bool>,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Degrees, north positive.
    pub latitude: f64,
    /// Metres above sea level.
    pub altitude_m: Option<i16>,
    /// Degrees from north, clockwise.
    pub angle_deg: Option<i32>,
    /// Satellites in use.
    pub satellites: Option<i16>,
    /// Kilometres per hour.
    pub speed_kmh: Option<i32>,
    /// 0 low, 1 high, 2 panic.
    pub priority: Option<i16>,
    /// AVL id that caused the record.
    pub event_id: Option<i32>,
    /// What has a column of its own in `trackport.record`, too.
    pub typed: Typed,
    /// What the device spoke.
    pub protocol: Option<String>,
    /// The street, where somebody had looked it up.
    pub address: Option<String>,
    /// Whatever else there was; an object.
    pub attributes: Value,
}

const COLUMNS: &str = "device_id, source_id, fix, longitude, latitude, altitude_m, angle_deg, satellites, speed_kmh, \
     priority, event_id, ignition, movement, odometer_m, external_voltage_mv, battery_voltage_mv, battery_level, signal, \
     temperature_1, temperature_2, temperature_3, temperature_4, humidity_1, humidity_2, humidity_3, humidity_4, events, \
     sensor_fault, door, engine_seconds, vehicle_odometer_m, fuel_l, fuel_percent, protocol, address, attributes";

/// Rows of one batch, as the text of a COPY.
#[derive(Debug, Default)]
pub struct Positions {
    text: Vec<u8>,
    n_rows: usize,
}

impl Positions {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Bytes of the rows.
    pub fn n_bytes(&self) -> usize {
        self.text.len()
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.n_rows = 0;
    }

    /// Adds a row.
    pub fn push(&mut self, row: &ImportedPosition) {
        let to = &mut self.text;
        put(to, Some(&row.device_id));
        for value in [
            Some(row.source_id.to_string()),
            row.fix.map(|value| value.to_string()),
            Some(row.longitude.to_string()),
            Some(row.latitude.to_string()),
        ] {
            next(to, value.as_ref());
        }
        next(to, row.altitude_m.as_ref());
        next(to, row.angle_deg.as_ref());
        next(to, row.satellites.as_ref());
        next(to, row.speed_kmh.as_ref());
        next(to, row.priority.as_ref());
        next(to, row.event_id.as_ref());
        next(to, row.typed.ignition.as_ref());
        next(to, row.typed.movement.as_ref());
        next(to, row.typed.odometer_m.as_ref());
        next(to, row.typed.external_voltage_mv.as_ref());
        next(to, row.typed.battery_voltage_mv.as_ref());
        next(to, row.typed.battery_level.as_ref());
        next(to, row.typed.signal.as_ref());
        for value in row.typed.temperature.iter().chain(&row.typed.humidity) {
            next(to, value.as_ref());
        }
        next(to, row.typed.events.as_ref());
        next(to, row.typed.sensor_fault().as_ref());
        next(to, row.typed.door.as_ref());
        next(to, row.typed.engine_seconds.as_ref());
        next(to, row.typed.vehicle_odometer_m.as_ref());
        next(to, row.typed.fuel_l.as_ref());
        next(to, row.typed.fuel_percent.as_ref());
        for text in [&row.protocol, &row.address] {
            next(to, text.as_deref().map(escaped).as_ref());
        }
        next(to, Some(&escaped(&row.attributes.to_string())));
        next(to, Some(&row.time));
        next(to, row.received_at.as_ref());
        to.push(b'\n');
        self.n_rows += 1;
    }
}

fn next(to: &mut Vec<u8>, value: Option<&impl std::fmt::Display>) {
    to.push(b'\t');
    put(to, value);
}

fn put(to: &mut Vec<u8>, value: Option<&impl std::fmt::Display>) {
    match value {
        Some(value) => write!(to, "{value}").expect("a vector takes anything"),
        None => to.extend_from_slice(b"\\N"),
    }
}

/// A text as COPY wants it; PostgreSQL has no zero byte in texts.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for one in text.chars() {
        match one {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\0' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// How far an import from `source` has come, as far as it was one with the same conditions; 0: from the beginning.
///
/// # Errors
/// `Refused` when the earlier import read times in another zone: its rows would come a second time under other times.
pub fn progress(
    client: &mut Client,
    source: &str,
    conditions: &Conditions,
) -> Result<i64, StoreError> {
    let row = client.query_opt(
        "SELECT time_zone, since IS NOT DISTINCT FROM $2::text::timestamptz AND devices = $3, last_id
         FROM trackport.import_progress WHERE source = $1",
        &[&source, &conditions.since, &conditions.devices],
    )?;
    let Some(row) = row else {
        return Ok(0);
    };
    let zone: String = row.get(0);
    if zone != conditions.time_zone {
        return Err(StoreError::Refused(format!(
            "positions of source {source:?} were imported with --time-zone {zone} before, and would be there twice, at different times. \
             If that was wrong: DELETE FROM trackport.imported_position WHERE source = '{source}'; \
             DELETE FROM trackport.import_progress WHERE source = '{source}'; then again. For another server: --source NAME"
        )));
    }
    Ok(if row.get(1) { row.get(2) } else { 0 })
}

/// What must be the same for an import to go on where another one stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The zone of the times.
    pub time_zone: String,
    /// Where it begins in time.
    pub since: Option<String>,
    /// Which devices are known: of others nothing was taken.
    pub devices: String,
}

/// The moment `at` (as PostgreSQL reads it) as a time without a zone in `time_zone`: `2026-01-31 12:00:00`.
///
/// # Errors
/// When the zone or the time is none.
pub fn local(client: &mut Client, at: &str, time_zone: &str) -> Result<String, StoreError> {
    let row = client.query_one(
        "SELECT ($1::text::timestamptz AT TIME ZONE $2)::text",
        &[&at, &time_zone],
    )?;
    Ok(row.get(0))
}

/// A connection that is ready to take batches.
pub struct Importer<'a> {
    client: &'a mut Client,
    source: &'a str,
    conditions: &'a Conditions,
}

impl<'a> Importer<'a> {
    /// Makes the staging table.
    ///
    /// # Errors
    /// Those of the database.
    pub fn new(
        client: &'a mut Client,
        source: &'a str,
        conditions: &'a Conditions,
    ) -> Result<Importer<'a>, StoreError> {
        client.batch_execute(&format!(
            "CREATE TEMP TABLE imported_stage ON COMMIT DELETE ROWS AS
             SELECT {COLUMNS}, NULL::timestamp AS time, NULL::timestamp AS received_at
             FROM trackport.imported_position WITH NO DATA"
        ))?;
        Ok(Importer {
            client,
            source,
            conditions,
        })
    }

    /// Stores a batch and that the import has come to the row `last_id` there; returns how many rows were new. Without `last_id` it is only
    /// kept in which zone the times were read.
    ///
    /// # Errors
    /// Those of the database; nothing of the batch is stored then.
    pub fn store(&mut self, rows: &Positions, last_id: Option<i64>) -> Result<u64, StoreError> {
        let zone = &self.conditions.time_zone;
        let mut transaction = self.client.transaction()?;
        let mut n_new = 0;
        if !rows.is_empty() {
            let mut copy = transaction.copy_in("COPY pg_temp.imported_stage FROM STDIN")?;
            copy.write_all(&rows.text)
                .map_err(|error| StoreError::Refused(error.to_string()))?;
            copy.finish()?;
            // Whoever erases a device takes its row for himself first: its positions are passed over from then on.
            transaction.batch_execute(
                "CREATE TEMP TABLE imported_there ON COMMIT DROP AS
                 SELECT id FROM trackport.device
                 WHERE id IN (SELECT device_id FROM pg_temp.imported_stage) FOR KEY SHARE",
            )?;
            transaction.batch_execute(
                "INSERT INTO trackport.imported_device SELECT id FROM pg_temp.imported_there ORDER BY id ON CONFLICT DO NOTHING",
            )?;
            let mut sql = format!(
                "INSERT INTO trackport.imported_position ({COLUMNS}, source, time, received_at) \
                 SELECT {COLUMNS}, $1, time AT TIME ZONE $2, received_at AT TIME ZONE $2 FROM pg_temp.imported_stage "
            );
            write!(
                sql,
                "WHERE device_id IN (SELECT id FROM pg_temp.imported_there) \
                 ON CONFLICT (device_id, time, source, source_id) DO NOTHING"
            )
            .expect("a string takes anything");
            n_new = transaction.execute(&sql, &[&self.source, zone])?;
        }
        if let Some(last_id) = last_id {
            transaction.execute(
                "INSERT INTO trackport.import_progress AS p (source, time_zone, since, devices, last_id)
                 VALUES ($1, $2, $3::text::timestamptz, $4, $5)
                 ON CONFLICT (source) DO UPDATE SET time_zone = excluded.time_zone, since = excluded.since,
                     devices = excluded.devices, last_id = excluded.last_id, updated_at = now()",
                &[
                    &self.source,
                    zone,
                    &self.conditions.since,
                    &self.conditions.devices,
                    &last_id,
                ],
            )?;
        } else if !rows.is_empty() {
            transaction.execute(
                "INSERT INTO trackport.import_progress (source, time_zone, since, devices, last_id)
                 VALUES ($1, $2, $3::text::timestamptz, $4, 0) ON CONFLICT (source) DO NOTHING",
                &[
                    &self.source,
                    zone,
                    &self.conditions.since,
                    &self.conditions.devices,
                ],
            )?;
        }
        transaction.commit()?;
        Ok(n_new)
    }

    /// Lets the planner know what is there now.
    ///
    /// # Errors
    /// Those of the database.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        self.client.batch_execute(
            "SET statement_timeout = 0;
             SELECT brin_summarize_new_values('trackport.imported_position_time');
             ANALYZE trackport.imported_position, trackport.imported_device",
        )?;
        Ok(())
    }
}

/// Rows deleted in one transaction; they lie apart from each other, and a disk that turns needs some milliseconds for each.
const N_DELETED_AT_ONCE: i64 = 2_000;

/// Deletes some imported positions from before `oldest`; returns how many, `is_complete` when none is left.
///
/// # Errors
/// Those of the database.
pub fn drop_imported(
    client: &mut Client,
    oldest: std::time::SystemTime,
) -> Result<(u64, bool), StoreError> {
    // Device by device, by the key. The other index knows ranges of pages, and goes on naming those from which all rows are gone: each hour
    // they would be read again, however many there are.
    let n_rows = client.execute(
        "DELETE FROM trackport.imported_position WHERE ctid = ANY (ARRAY(
             SELECT p.row FROM trackport.imported_device m
             CROSS JOIN LATERAL (SELECT i.ctid AS row FROM trackport.imported_position i
                 WHERE i.device_id = m.device_id AND i.time < $1 ORDER BY i.time LIMIT $2) p
             LIMIT $2))",
        &[&oldest, &N_DELETED_AT_ONCE],
    )?;
    Ok((n_rows, n_rows < N_DELETED_AT_ONCE.unsigned_abs()))
}
