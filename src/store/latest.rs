//! `latest`: per device its newest record and, apart, its newest fix.
//!
//! Derived from `record` and never needed for the promise: written after the commit, in transactions of its
//! own, and repaired from `record` at start.
//! Invariants: an older record never replaces a newer one, in whatever order they come; a record whose time lies more
//! than an hour ahead of its receipt never becomes latest. No record is newer than its receipt: one from a clock that is
//! ahead by less is as old as that, so that the first record of the clock set right replaces it. What lies more than an hour
//! ahead of now was written while this machine's clock was ahead too: it is looked up anew as soon as its device is heard.
//! Rows are written in the order of their device ids, so that two writers cannot wait for each other in a circle.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use postgres::Client;
use postgres::types::ToSql;

use super::error::StoreError;
use super::typed::Typed;

/// How far a record may lie ahead of its receipt and still be believed.
pub const AHEAD_MAX: Duration = Duration::from_secs(3600);

/// How far behind the newest record a repair looks for a fix.
const REPAIR_FIX_DAYS: i32 = 30;

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

/// One column of many rows: its name, its type, its values.
type Column = (&'static str, &'static str, Box<dyn ToSql + Sync>);

fn column<R, T>(
    name: &'static str,
    sql_type: &'static str,
    rows: &[R],
    value: impl Fn(&R) -> T,
) -> Column
where
    T: ToSql + Sync + 'static,
{
    (
        name,
        sql_type,
        Box::new(rows.iter().map(value).collect::<Vec<T>>()),
    )
}

fn record_columns(rows: &[&LatestRow]) -> Vec<Column> {
    let mut columns = vec![
        column("time", "timestamptz", rows, |row| row.time),
        column("digest", "bigint", rows, |row| row.digest),
        column("received_at", "timestamptz", rows, |row| row.received_at),
        column("longitude", "double precision", rows, |row| row.longitude),
        column("latitude", "double precision", rows, |row| row.latitude),
        column("altitude_m", "smallint", rows, |row| row.altitude_m),
        column("angle_deg", "integer", rows, |row| row.angle_deg),
        column("satellites", "smallint", rows, |row| row.satellites),
        column("speed_kmh", "integer", rows, |row| row.speed_kmh),
        column("priority", "smallint", rows, |row| row.priority),
        column("event_id", "integer", rows, |row| row.event_id),
        column("port", "integer", rows, |row| row.port),
        column("ignition", "boolean", rows, |row| row.typed.ignition),
        column("movement", "boolean", rows, |row| row.typed.movement),
        column("odometer_m", "bigint", rows, |row| row.typed.odometer_m),
        column("external_voltage_mv", "integer", rows, |row| {
            row.typed.external_voltage_mv
        }),
        column("battery_voltage_mv", "integer", rows, |row| {
            row.typed.battery_voltage_mv
        }),
        column("battery_level", "smallint", rows, |row| {
            row.typed.battery_level
        }),
        column("signal", "smallint", rows, |row| row.typed.signal),
    ];
    for (place, name) in [
        "temperature_1",
        "temperature_2",
        "temperature_3",
        "temperature_4",
    ]
    .into_iter()
    .enumerate()
    {
        columns.push(column(name, "real", rows, |row| {
            row.typed.temperature[place]
        }));
    }
    for (place, name) in ["humidity_1", "humidity_2", "humidity_3", "humidity_4"]
        .into_iter()
        .enumerate()
    {
        columns.push(column(name, "real", rows, |row| row.typed.humidity[place]));
    }
    columns
}

fn fix_columns(fixes: &[Option<&LatestRow>]) -> Vec<Column> {
    vec![
        column("fix_time", "timestamptz", fixes, |fix| {
            fix.map(|row| row.time)
        }),
        column("fix_longitude", "double precision", fixes, |fix| {
            fix.map(|row| row.longitude)
        }),
        column("fix_latitude", "double precision", fixes, |fix| {
            fix.map(|row| row.latitude)
        }),
        column("fix_altitude_m", "smallint", fixes, |fix| {
            fix.map(|row| row.altitude_m)
        }),
        column("fix_angle_deg", "integer", fixes, |fix| {
            fix.map(|row| row.angle_deg)
        }),
        column("fix_satellites", "smallint", fixes, |fix| {
            fix.map(|row| row.satellites)
        }),
        column("fix_speed_kmh", "integer", fixes, |fix| {
            fix.map(|row| row.speed_kmh)
        }),
    ]
}

/// The statements, written from the lists of columns above.
struct Statements {
    update: String,
    repair: String,
    repair_some: String,
}

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
    let (record, fix) = (record_columns(&[]), fix_columns(&[]));
    let mut names = "device_id".to_owned();
    let mut arrays = "$1::integer[]".to_owned();
    let mut assignments = String::new();
    // As `LatestRow::age_key`. When the fix was received is not kept; it was not after the record.
    let newer = "(least(excluded.time, excluded.received_at), excluded.time, excluded.digest)
            > (least(l.time, l.received_at), l.time, l.digest)";
    let newer_fix = "excluded.fix_time IS NOT NULL AND (least(excluded.fix_time, excluded.received_at), excluded.fix_time)
            > (CASE WHEN l.fix_time IS NULL THEN '-infinity' ELSE least(l.fix_time, l.received_at) END,
                coalesce(l.fix_time, '-infinity'))";
    for (place, (is_fix, (name, sql_type, _))) in record
        .iter()
        .map(|one| (false, one))
        .chain(fix.iter().map(|one| (true, one)))
        .enumerate()
    {
        let condition = if is_fix { newer_fix } else { newer };
        let comma = if place == 0 { "" } else { ", " };
        write!(names, ", {name}")
            .and_then(|()| write!(arrays, ", ${}::{sql_type}[]", place + 2))
            .and_then(|()| {
                write!(
                    assignments,
                    "{comma}{name} = CASE WHEN {condition} THEN excluded.{name} ELSE l.{name} END"
                )
            })
            .expect("writing to a String cannot fail");
    }
    let record_names = joined(&record, "r.");
    let fix_names = joined(&fix, "f.");
    let fix_from_record = fix
        .iter()
        .map(|(name, ..)| format!("{} AS {name}", name.trim_start_matches("fix_")))
        .collect::<Vec<_>>()
        .join(", ");
    let conflict =
        format!("ON CONFLICT (device_id) DO UPDATE SET {assignments} WHERE {newer} OR {newer_fix}");
    let ahead_s = AHEAD_MAX.as_secs();
    // What is believed of a device's records.
    let believable = |record: &str| {
        format!(
            "{record}.device_id = d.id AND {record}.time <= {record}.received_at + interval '{ahead_s} s' AND {record}.time <= $1"
        )
    };
    // The greatest time first, because the index leads to it; where that is ahead of its receipt, a few others may be newer.
    let newest = |record: &str, condition: &str| {
        let believable = believable(record);
        format!(
            "SELECT one.* FROM (
                 SELECT {record}.* FROM trackport.record {record}
                 WHERE {believable} AND {condition} ORDER BY {record}.time DESC, {record}.digest DESC LIMIT 1
             ) top
             CROSS JOIN LATERAL (
                 SELECT top.*
                 UNION ALL
                 SELECT {record}.* FROM trackport.record {record}
                 WHERE top.time > top.received_at AND {record}.time BETWEEN top.received_at AND top.time
                     AND {believable} AND {condition}
             ) one
             ORDER BY least(one.time, one.received_at) DESC, one.time DESC, one.digest DESC LIMIT 1"
        )
    };
    let newest_record = newest("r", "r.time >= d.time");
    let newest_fix = newest(
        "f",
        &format!(
            "f.satellites > 0 AND f.time >= d.fix_time AND f.time > r.time - interval '{REPAIR_FIX_DAYS} days'"
        ),
    );
    // One walk down the index per device, from the newest record on. The partitions before what
    // `latest` has already are not touched.
    let repair = |devices: &str| {
        format!(
            "INSERT INTO trackport.latest AS l ({names})
             SELECT d.id, {record_names}, {fix_names}
             FROM (
                 SELECT d.id, coalesce(least(l.time, l.received_at), '-infinity') AS time,
                     CASE WHEN l.fix_time IS NULL THEN '-infinity' ELSE least(l.fix_time, l.received_at) END AS fix_time
                 FROM trackport.device d LEFT JOIN trackport.latest l ON l.device_id = d.id
                 WHERE {devices} ORDER BY d.id
             ) d
             CROSS JOIN LATERAL ({newest_record}) r
             LEFT JOIN LATERAL (SELECT {fix_from_record} FROM ({newest_fix}) f) f ON true
             {conflict}"
        )
    };
    Statements {
        update: format!(
            "INSERT INTO trackport.latest AS l ({names}) SELECT * FROM unnest({arrays}) AS n ({names})
             WHERE EXISTS (SELECT FROM trackport.device d WHERE d.id = n.device_id) {conflict}"
        ),
        repair: repair(
            "d.id IN (SELECT id FROM trackport.device WHERE id > $2 ORDER BY id LIMIT $3)",
        ),
        repair_some: repair("d.id = ANY ($2)"),
    }
});

fn joined(columns: &[Column], prefix: &str) -> String {
    columns
        .iter()
        .map(|(name, ..)| format!("{prefix}{name}"))
        .collect::<Vec<_>>()
        .join(", ")
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
    received_at: SystemTime,
}

impl Newest {
    /// Takes a row in if it is newer than what is there; one too far ahead of its receipt never is.
    pub fn add(&mut self, row: LatestRow) {
        if !row.is_believable() {
            return;
        }
        let fix = (row.satellites > 0).then(|| row.clone());
        let received_at = row.received_at;
        self.merge(
            row.device_id,
            NewestOfOne {
                row,
                fix,
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

/// Takes what is `newest` into `latest`; returns how many devices changed.
///
/// # Errors
/// When the database refuses or does not answer; nothing is changed then.
pub fn update_latest(
    client: &mut Client,
    newest: &Newest,
    now: SystemTime,
) -> Result<u64, StoreError> {
    if newest.is_empty() {
        return Ok(0);
    }
    let device_ids: Vec<i32> = newest.by_device.keys().copied().collect();
    let (rows, fixes): (Vec<_>, Vec<_>) = newest
        .by_device
        .values()
        .map(|one| (&one.row, one.fix.as_ref()))
        .unzip();
    let columns: Vec<Column> = record_columns(&rows)
        .into_iter()
        .chain(fix_columns(&fixes))
        .collect();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&device_ids];
    parameters.extend(columns.iter().map(|(.., values)| &**values));
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
    let n_changed = transaction.execute(&STATEMENTS.update, &parameters)?;
    transaction.commit()?;
    Ok(n_changed)
}

/// Brings `latest` up to `record` for the next `n_devices` devices after `after_device_id` (0 to begin); returns the last
/// of them, from which to go on, or `None` when all are done.
///
/// A fix is looked for in the 30 days before a device's newest record; a record more than an hour ahead of `now` is not.
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
