//! Typed columns filled anew from the IO sections of a device's records, because its model has changed.
//!
//! A request is a row of `trackport.recompute`, made by a trigger with the change (or by `request`). Its records are done in chunks from the
//! newest back; a chunk is one transaction, together with how far the request is. Invariants: only records whose columns come out
//! otherwise are written; a request that another one has replaced is never written on; whoever was interrupted goes on where it stood.
//! When to begin is the caller's business (`src/recompute`): records may still come in that were read by the model before.

use std::time::SystemTime;

use postgres::types::ToSql;
use postgres::{Client, GenericClient, Row, Statement};

use super::error::StoreError;
use super::latest::sql::{Column, typed_columns};
use super::typed::{SHAKEN, Typed, TypedColumns};
use crate::imei::Imei;
use crate::protocol::teltonika::{Codec, Io};

/// Records are counted up to this many; a device with more has no total.
const TOTAL_MAX: i64 = 1_000_000;
/// How far behind the newest record events are looked for.
const EVENT_DAYS: i32 = 30;

/// A request that is not done yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Key of the device.
    pub device_id: i32,
    /// The device.
    pub imei: Imei,
    /// What its elements mean from now on.
    pub model: Option<String>,
    /// Which request it is.
    pub request: i64,
    /// Seconds since it was made.
    pub age_s: f64,
    /// Somebody has begun with it.
    pub is_begun: bool,
    /// The oldest record that is done: its time and digest.
    done: Option<(SystemTime, i64)>,
}

impl Job {
    /// Whether no record is done yet.
    pub fn is_at_beginning(&self) -> bool {
        self.done.is_none()
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// It is done, and there may be more.
    Done,
    /// It is done and was the last one; so many records the request has done, and so many of them came out otherwise.
    Last {
        /// Records.
        n_done: i64,
        /// Those that were written.
        n_changed: i64,
    },
    /// Rows were moved meanwhile: the same again.
    Again,
    /// Another request has taken its place, or the device is gone.
    Replaced,
}

/// How far a device's last request is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The model that its columns are filled by.
    pub model: Option<String>,
    /// When it was asked for.
    pub requested_at: SystemTime,
    /// When the server began.
    pub started_at: Option<SystemTime>,
    /// Records that are done.
    pub n_done: i64,
    /// Those of them whose columns came out otherwise.
    pub n_changed: i64,
    /// How many there are, where that is known.
    pub n_total: Option<i64>,
    /// When all were done.
    pub finished_at: Option<SystemTime>,
}

/// How far the last request for this device is; `None` where there never was one.
///
/// # Errors
/// When the database does not answer.
pub fn progress(
    client: &mut impl GenericClient,
    imei: Imei,
) -> Result<Option<Progress>, StoreError> {
    let row = client.query_opt(
        "SELECT c.model, c.requested_at, c.started_at, c.n_done, c.n_changed, c.n_total, c.finished_at
         FROM trackport.recompute c JOIN trackport.device d ON d.id = c.device_id WHERE d.imei = $1",
        &[&imei.to_string()],
    )?;
    Ok(row.map(|row| Progress {
        model: row.get(0),
        requested_at: row.get(1),
        started_at: row.get(2),
        n_done: row.get(3),
        n_changed: row.get(4),
        n_total: row.get(5),
        finished_at: row.get(6),
    }))
}

/// Asks for these devices, or for all; returns for how many.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn request(client: &mut Client, imeis: Option<&[Imei]>) -> Result<u64, StoreError> {
    let imeis: Option<Vec<String>> = imeis.map(|imeis| imeis.iter().map(Imei::to_string).collect());
    Ok(client.execute(
        "INSERT INTO trackport.recompute (device_id, model)
         SELECT d.id, d.model FROM trackport.device d WHERE $1::text[] IS NULL OR d.imei = ANY ($1) ORDER BY d.id
         ON CONFLICT (device_id) DO UPDATE SET model = excluded.model, request = excluded.request,
             requested_at = excluded.requested_at, started_at = NULL, done_time = NULL, done_digest = NULL,
             n_done = 0, n_changed = 0, n_total = NULL, finished_at = NULL",
        &[&imeis],
    )?)
}

/// A connection that is ready to work, the only one of its database.
pub struct Recomputer {
    client: Client,
    next: Statement,
    begin: Statement,
    read: Statement,
    write: Statement,
    advance: Statement,
    latest: Latest,
}

/// The statements that bring a device's row of `latest` up to its records.
struct Latest {
    values: Statement,
    find_events: Statement,
    events: Statement,
}

impl Recomputer {
    /// Makes `client` ready; `None` where another server does this work already.
    ///
    /// # Errors
    /// Those of the database.
    pub fn new(mut client: Client) -> Result<Option<Recomputer>, StoreError> {
        let is_alone: bool = client
            .query_one("SELECT pg_try_advisory_lock(8386109, 20)", &[])?
            .get(0);
        if !is_alone {
            return Ok(None);
        }
        // What a crash takes away is done once more; by the key each row is found in its partition.
        client.batch_execute(
            "SET synchronous_commit = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off",
        )?;
        let columns = typed_columns(&[]);
        let names = |prefix: &str| join(&columns, |one| format!("{prefix}{}", one.name));
        let assignments = join(&columns, |one| format!("{0} = n.{0}", one.name));
        let arrays = columns
            .iter()
            .enumerate()
            .map(|(place, one)| format!("${}::{}[]", place + 4, one.sql_type))
            .collect::<Vec<_>>()
            .join(", ");
        let next = client.prepare(
            "SELECT c.device_id, d.imei, c.model, c.request, extract(epoch FROM now() - c.requested_at)::float8,
                 c.started_at IS NOT NULL, c.done_time, c.done_digest
             FROM trackport.recompute c JOIN trackport.device d ON d.id = c.device_id
             WHERE c.finished_at IS NULL AND c.device_id > $1 AND (c.started_at IS NULL OR NOT $3)
             ORDER BY c.device_id LIMIT $2",
        )?;
        let begin = client.prepare(
            "UPDATE trackport.recompute SET started_at = now(), n_total = (
                 SELECT nullif(count(*), $3) FROM (SELECT FROM trackport.record r WHERE r.device_id = $1 LIMIT $3) AS counted)
             WHERE device_id = $1 AND request = $2 AND finished_at IS NULL",
        )?;
        let read = client.prepare(&format!(
            "SELECT r.time, r.digest, r.event_id, r.codec, r.io, {} FROM trackport.record r
             WHERE r.device_id = $1 AND r.time <= coalesce($2::timestamptz, 'infinity')
                 AND (r.time, r.digest) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::bigint, 9223372036854775807))
             ORDER BY r.time DESC, r.digest DESC LIMIT $4",
            names("r.")
        ))?;
        let write = client.prepare(&format!(
            "UPDATE trackport.record r SET {assignments}
             FROM unnest($2::timestamptz[], $3::bigint[], {arrays}) AS n (time, digest, {})
             WHERE r.device_id = $1 AND r.time = n.time AND r.digest = n.digest",
            names("")
        ))?;
        let advance = client.prepare(
            "UPDATE trackport.recompute SET done_time = coalesce($3, done_time), done_digest = coalesce($4, done_digest),
                 n_done = n_done + $5, n_changed = n_changed + $6, finished_at = CASE WHEN $7 THEN now() END
             WHERE device_id = $1 AND request = $2 RETURNING n_done, n_changed",
        )?;
        let latest = Latest::prepare(&mut client)?;
        Ok(Some(Recomputer {
            client,
            next,
            begin,
            read,
            write,
            advance,
            latest,
        }))
    }

    /// The connection, for what is not a record.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next request behind that of the device `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn next_job(&mut self, after: i32) -> Result<Option<Job>, StoreError> {
        let row = self
            .client
            .query_opt(&self.next, &[&after, &1_i64, &false])?;
        row.as_ref().map(job).transpose()
    }

    /// The first `limit` requests with which nobody has begun.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn waiting(&mut self, limit: i64) -> Result<Vec<Job>, StoreError> {
        let rows = self.client.query(&self.next, &[&0_i32, &limit, &true])?;
        rows.iter().map(job).collect()
    }

    /// Ends those of these requests whose devices have no records: most of a fleet that is written down before it sends.
    ///
    /// # Errors
    /// When the database refuses or does not answer.
    pub fn end_empty(&mut self, requests: &[i64]) -> Result<u64, StoreError> {
        Ok(self.client.execute(
            "UPDATE trackport.recompute c SET started_at = now(), n_total = 0, finished_at = now()
             WHERE c.request = ANY ($1) AND c.finished_at IS NULL
                 AND NOT EXISTS (SELECT FROM trackport.record r WHERE r.device_id = c.device_id)",
            &[&requests],
        )?)
    }

    /// Says that the work begins, and how much it is; false when there is another request meanwhile.
    ///
    /// # Errors
    /// When the database refuses or does not answer.
    pub fn begin(&mut self, job: &mut Job) -> Result<bool, StoreError> {
        let n_begun = self
            .client
            .execute(&self.begin, &[&job.device_id, &job.request, &TOTAL_MAX])?;
        job.is_begun = true;
        Ok(n_begun > 0)
    }

    /// Does the next `n_records` records of `job`, and with the first and the last of them the device's row of `latest`.
    ///
    /// # Errors
    /// When the database refuses or does not answer: the chunk is not done.
    pub fn step(&mut self, job: &mut Job, n_records: i64) -> Result<Chunk, StoreError> {
        let columns = TypedColumns::for_model(job.model.as_deref());
        let (before_time, before_digest) = job.done.unzip();
        let mut transaction = self.client.transaction()?;
        let rows = transaction.query(
            &self.read,
            &[&job.device_id, &before_time, &before_digest, &n_records],
        )?;
        let mut changed = Vec::new();
        for row in &rows {
            let typed = read(&columns, row);
            if !is_same(row, &typed) {
                changed.push((row.get::<_, SystemTime>(0), row.get::<_, i64>(1), typed));
            }
        }
        if !changed.is_empty() {
            let times: Vec<SystemTime> = changed.iter().map(|(time, ..)| *time).collect();
            let digests: Vec<i64> = changed.iter().map(|(_, digest, _)| *digest).collect();
            let typed: Vec<&Typed> = changed.iter().map(|(.., typed)| typed).collect();
            let values: Vec<Column> = typed_columns(&typed);
            let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&job.device_id, &times, &digests];
            parameters.extend(values.iter().map(|column| &*column.values));
            let n_written = transaction.execute(&self.write, &parameters)?;
            if usize::try_from(n_written).ok() != Some(changed.len()) {
                // They are in another partition now.
                transaction.rollback()?;
                return Ok(Chunk::Again);
            }
        }
        let last = rows
            .last()
            .map(|row| (row.get::<_, SystemTime>(0), row.get::<_, i64>(1)));
        let (last_time, last_digest) = last.unzip();
        let (n_rows, n_changed) = (whole(rows.len()), whole(changed.len()));
        let is_last = n_rows < n_records;
        if is_last {
            self.latest
                .refresh_events(&mut transaction, job.device_id)?;
        }
        if is_last || job.done.is_none() {
            transaction.execute(&self.latest.values, &[&job.device_id])?;
        }
        let advanced = transaction.query_opt(
            &self.advance,
            &[
                &job.device_id,
                &job.request,
                &last_time,
                &last_digest,
                &n_rows,
                &n_changed,
                &is_last,
            ],
        )?;
        let Some(advanced) = advanced else {
            transaction.rollback()?;
            return Ok(Chunk::Replaced);
        };
        transaction.commit()?;
        job.done = last.or(job.done);
        Ok(if is_last {
            Chunk::Last {
                n_done: advanced.get(0),
                n_changed: advanced.get(1),
            }
        } else {
            Chunk::Done
        })
    }
}

fn join(columns: &[Column], text: impl Fn(&Column) -> String) -> String {
    columns.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn whole(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn job(row: &Row) -> Result<Job, StoreError> {
    let imei: String = row.get(1);
    let (time, digest): (Option<SystemTime>, Option<i64>) = (row.get(6), row.get(7));
    Ok(Job {
        device_id: row.get(0),
        imei: imei
            .parse()
            .map_err(|error| StoreError::Refused(format!("IMEI {imei:?}: {error}")))?,
        model: row.get(2),
        request: row.get(3),
        age_s: row.get(4),
        is_begun: row.get(5),
        done: time.zip(digest),
    })
}

/// What the elements of a row of `read` say by `columns`.
fn read(columns: &TypedColumns, row: &Row) -> Typed {
    let event_id: i32 = row.get(2);
    let codec: i16 = row.get(3);
    let Some(codec) = u8::try_from(codec).ok().and_then(Codec::from_id) else {
        return Typed::default();
    };
    let io = Io {
        codec,
        bytes: row.get(4),
    };
    columns.read(u16::try_from(event_id).unwrap_or(0), &io)
}

/// Whether a row of `read` has these values already; in the order of `typed_columns`.
fn is_same(row: &Row, typed: &Typed) -> bool {
    const FIRST: usize = 5;
    let measured = typed.temperature.iter().chain(&typed.humidity);
    row.get::<_, Option<bool>>(FIRST) == typed.ignition
        && row.get::<_, Option<bool>>(FIRST + 1) == typed.movement
        && row.get::<_, Option<i64>>(FIRST + 2) == typed.odometer_m
        && row.get::<_, Option<i32>>(FIRST + 3) == typed.external_voltage_mv
        && row.get::<_, Option<i32>>(FIRST + 4) == typed.battery_voltage_mv
        && row.get::<_, Option<i16>>(FIRST + 5) == typed.battery_level
        && row.get::<_, Option<i16>>(FIRST + 6) == typed.signal
        && row.get::<_, Option<i32>>(FIRST + 7) == typed.events
        && row.get::<_, Option<i16>>(FIRST + 8) == typed.sensor_fault()
        && row.get::<_, Option<bool>>(FIRST + 9) == typed.door
        && row.get::<_, Option<i64>>(FIRST + 10) == typed.engine_seconds
        && row.get::<_, Option<i64>>(FIRST + 11) == typed.vehicle_odometer_m
        && row.get::<_, Option<f32>>(FIRST + 12) == typed.fuel_l
        && row.get::<_, Option<i16>>(FIRST + 13) == typed.fuel_percent
        && measured
            .zip(FIRST + 14..)
            .all(|(value, place)| row.get::<_, Option<f32>>(place) == *value)
}

impl Latest {
    fn prepare(client: &mut Client) -> Result<Latest, StoreError> {
        let assignments = join(&typed_columns(&[]), |one| format!("{0} = r.{0}", one.name));
        let values = client.prepare(&format!(
            "UPDATE trackport.latest l SET {assignments} FROM trackport.record r
             WHERE l.device_id = $1 AND r.device_id = $1 AND r.time = l.time AND r.digest = l.digest"
        ))?;
        let newest = |condition: &str| {
            format!(
                "SELECT e.time, e.events FROM trackport.record e
                 WHERE e.device_id = l.device_id AND e.time <= l.time AND e.time > l.time - interval '{EVENT_DAYS} days' AND {condition}
                 ORDER BY e.time DESC, e.digest DESC LIMIT 1"
            )
        };
        let event = newest("e.events IS NOT NULL");
        let shaken = newest(&format!("e.events & {SHAKEN} <> 0"));
        let find_events = client.prepare(&format!(
            "SELECT l.time, e.time, e.events, s.time FROM trackport.latest l
             LEFT JOIN LATERAL ({event}) e ON true LEFT JOIN LATERAL ({shaken}) s ON true WHERE l.device_id = $1"
        ))?;
        let events = client.prepare(
            "UPDATE trackport.latest SET event_time = $3, event_mask = $4, shaken_time = $5
             WHERE device_id = $1 AND coalesce(event_time, $2) <= $2
                 AND (event_time, event_mask, shaken_time) IS DISTINCT FROM ($3, $4, $5)",
        )?;
        Ok(Latest {
            values,
            find_events,
            events,
        })
    }

    /// Brings the events up to the records of the last days. What is newer than the newest record found here was read by the new
    /// model already.
    fn refresh_events(
        &self,
        client: &mut impl GenericClient,
        device_id: i32,
    ) -> Result<(), StoreError> {
        let Some(row) = client.query_opt(&self.find_events, &[&device_id])? else {
            return Ok(());
        };
        let (seen, event_time, mask, shaken_time): (
            SystemTime,
            Option<SystemTime>,
            Option<i32>,
            Option<SystemTime>,
        ) = (row.get(0), row.get(1), row.get(2), row.get(3));
        client.execute(
            &self.events,
            &[&device_id, &seen, &event_time, &mask, &shaken_time],
        )?;
        Ok(())
    }
}
