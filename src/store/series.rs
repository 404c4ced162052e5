//! What an asset's devices recorded in a span of time, in the order of time: for tracks, charts and lists of events.
//!
//! Knows neither pages nor thinning: rows are handed on one by one, so that a year costs no memory. Invariants: of a device only what
//! it recorded while it was fitted to the asset is read; positions that were imported count where the view `position` shows them.

use std::time::{SystemTime, UNIX_EPOCH};

use postgres::{Client, Row};

use super::copy_out::copy_out;
use super::error::StoreError;
use crate::clock;
use crate::imei::Imei;

pub use super::copy_out::Fields;

/// From when until when, microseconds since 1970; `until_us` is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub from_us: i64,
    /// Its end.
    pub until_us: i64,
}

impl Span {
    fn times(self) -> (SystemTime, SystemTime) {
        (system_time(self.from_us), system_time(self.until_us))
    }
}

/// What is asked about: an asset, or a device by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The asset's group; `None` of a device by itself.
    pub group_id: Option<i32>,
    /// Seconds without a record that are a gap.
    pub gap_max_s: f64,
    /// From this speed on it moves, where its device does not say.
    pub moves_from_kmh: i32,
    /// Its fittings in the span, in the order of time; of a device by itself one, without end.
    pub windows: Vec<Window>,
}

/// A device in the asset, as far as the span goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Key of the device.
    pub device_id: i32,
    /// The maker's model.
    pub model: Option<String>,
    /// The part of the span.
    pub span: Span,
    /// The asset's group at present.
    pub group_id: i32,
    /// Usual seconds between contacts while it moves.
    pub contact_moving_s: Option<f32>,
    /// And while it does not.
    pub contact_parked_s: Option<f32>,
    /// Up to when imported positions of it count; `None`: it has none.
    imported_until: Option<SystemTime>,
}

fn system_time(us: i64) -> SystemTime {
    let distance = std::time::Duration::from_micros(us.unsigned_abs());
    if us < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

/// The asset and its fittings within `span`; `None`: there is no such asset.
///
/// # Errors
/// When the database does not answer.
pub fn asset(client: &mut Client, id: i32, span: Span) -> Result<Option<Subject>, StoreError> {
    let (from, until) = span.times();
    let rows = client.query(
        "SELECT a.group_id, extract(epoch FROM g.gap_max)::double precision, g.trip_speed_kmh,
             f.device_id, d.model, greatest(f.fitted_at, $2), least(f.removed_at, $3), a.group_id,
             l.contact_moving_s, l.contact_parked_s,
             CASE WHEN i.device_id IS NOT NULL THEN least(trackport.own_from(f.device_id), $3) END
         FROM trackport.asset a
         JOIN trackport.group g ON g.id = a.group_id
         LEFT JOIN trackport.fitting f ON f.asset_id = a.id AND f.fitted_at < $3 AND f.removed_at > $2
         LEFT JOIN trackport.device d ON d.id = f.device_id
         LEFT JOIN trackport.latest l ON l.device_id = f.device_id
         LEFT JOIN trackport.imported_device i ON i.device_id = f.device_id
         WHERE a.id = $1 ORDER BY f.fitted_at",
        &[&id, &from, &until],
    )?;
    Ok(rows.first().map(|first| Subject {
        group_id: Some(first.get(0)),
        gap_max_s: first.get(1),
        moves_from_kmh: first.get(2),
        windows: rows.iter().filter_map(window).collect(),
    }))
}

fn window(row: &Row) -> Option<Window> {
    Some(Window {
        device_id: row.get::<_, Option<i32>>(3)?,
        model: row.get(4),
        span: Span {
            from_us: clock::us_since_1970(row.get(5)),
            until_us: clock::us_since_1970(row.get(6)),
        },
        group_id: row.get(7),
        contact_moving_s: row.get(8),
        contact_parked_s: row.get(9),
        imported_until: row.get(10),
    })
}

/// A device by itself, whatever it is fitted to; `None`: there is no such device.
///
/// `groups` are those to whose assets it must be fitted for its records to be seen; `None`: all of them are.
///
/// # Errors
/// When the database does not answer.
pub fn device(
    client: &mut Client,
    imei: Imei,
    span: Span,
    groups: Option<&[i32]>,
) -> Result<Option<Subject>, StoreError> {
    let (from, until) = span.times();
    let text = imei.to_string();
    let is_there = client.query_opt("SELECT id FROM trackport.device WHERE imei = $1", &[&text])?;
    if is_there.is_none() {
        return Ok(None);
    }
    let rows = match groups {
        None => client.query(
            "SELECT 0, 0::double precision, 0, d.id, d.model, $2::timestamptz, $3::timestamptz, 0, NULL::real, NULL::real,
                 CASE WHEN i.device_id IS NOT NULL THEN least(trackport.own_from(d.id), $3) END
             FROM trackport.device d LEFT JOIN trackport.imported_device i ON i.device_id = d.id
             WHERE d.imei = $1",
            &[&text, &from, &until],
        )?,
        Some(groups) => client.query(
            "SELECT 0, 0::double precision, 0, d.id, d.model, greatest(f.fitted_at, $2), least(f.removed_at, $3), a.group_id,
                 NULL::real, NULL::real,
                 CASE WHEN i.device_id IS NOT NULL THEN least(trackport.own_from(d.id), $3) END
             FROM trackport.device d
             JOIN trackport.fitting f ON f.device_id = d.id AND f.fitted_at < $3 AND f.removed_at > $2
             JOIN trackport.asset a ON a.id = f.asset_id
             LEFT JOIN trackport.imported_device i ON i.device_id = d.id
             WHERE d.imei = $1 AND a.group_id = ANY ($4) ORDER BY f.fitted_at",
            &[&text, &from, &until, &groups],
        )?,
    };
    Ok(Some(Subject {
        group_id: None,
        gap_max_s: 0.0,
        moves_from_kmh: 0,
        windows: rows.iter().filter_map(window).collect(),
    }))
}

/// A column of the bulk: how it is read from `record`, and from `imported_position` where that has it in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    record: &'static str,
    imported: &'static str,
}

/// A column that both tables have under this name, read as `double precision`.
macro_rules! number {
    ($name:literal) => {
        Column {
            record: concat!("x.", $name, "::double precision"),
            imported: concat!("x.", $name, "::double precision"),
        }
    };
}

/// The same for one that says yes or no, as 1 or 0.
macro_rules! yes_no {
    ($name:literal) => {
        Column {
            record: concat!("x.", $name, "::integer::double precision"),
            imported: concat!("x.", $name, "::integer::double precision"),
        }
    };
}

/// Columns as they are.
macro_rules! plain {
    ($record:literal, $imported:literal) => {
        Column {
            record: $record,
            imported: $imported,
        }
    };
}

/// Whether the device says that it moves.
pub const MOVEMENT: Column = plain!("x.movement", "x.movement");
/// Whether the ignition is on.
pub const IGNITION: Column = plain!("x.ignition", "x.ignition");
/// Whether a door is open.
pub const DOOR: Column = plain!("x.door", "x.door");
/// Whether it has a fix.
pub const FIX: Column = plain!("x.satellites > 0", "x.fix IS NOT FALSE");
/// Degrees.
pub const LONGITUDE: Column = plain!("x.longitude", "x.longitude");
/// Degrees.
pub const LATITUDE: Column = plain!("x.latitude", "x.latitude");
/// Kilometres per hour.
pub const SPEED: Column = plain!("x.speed_kmh", "x.speed_kmh");
/// Degrees.
pub const ANGLE: Column = plain!("x.angle_deg", "x.angle_deg");
/// Bits of events.
pub const EVENTS: Column = plain!("x.events", "x.events");
/// Bits of sensors that say an error.
pub const SENSOR_FAULT: Column = plain!("x.sensor_fault", "x.sensor_fault");
/// How the IO section is laid out.
pub const CODEC: Column = plain!("x.codec", "NULL::smallint");
/// The IO section.
pub const IO: Column = plain!("x.io", "NULL::bytea");
/// The IO section of records with a sensor that says an error.
pub const IO_OF_FAULT: Column = plain!(
    "CASE WHEN x.sensor_fault IS NOT NULL THEN x.io END",
    "NULL::bytea"
);

/// A typed column as people choose it for a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The column's name.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// Of its values.
    pub unit: Option<&'static str>,
    /// Its bit in `sensor_fault`.
    pub fault_bit: Option<u8>,
    /// How it is read, as `double precision`.
    pub column: Column,
}

macro_rules! typed {
    ($key:literal, $name:literal, $unit:expr, $kind:ident) => {
        typed!($key, $name, $unit, $kind, None)
    };
    ($key:literal, $name:literal, $unit:expr, $kind:ident, $bit:expr) => {
        Typed {
            key: $key,
            name: $name,
            unit: $unit,
            fault_bit: $bit,
            column: $kind!($key),
        }
    };
}

/// All of them.
pub const TYPED: &[Typed] = &[
    typed!("speed_kmh", "Speed", Some("km/h"), number),
    typed!(
        "temperature_1",
        "Temperature 1",
        Some("°C"),
        number,
        Some(0)
    ),
    typed!(
        "temperature_2",
        "Temperature 2",
        Some("°C"),
        number,
        Some(1)
    ),
    typed!(
        "temperature_3",
        "Temperature 3",
        Some("°C"),
        number,
        Some(2)
    ),
    typed!(
        "temperature_4",
        "Temperature 4",
        Some("°C"),
        number,
        Some(3)
    ),
    typed!("humidity_1", "Humidity 1", Some("%"), number, Some(4)),
    typed!("humidity_2", "Humidity 2", Some("%"), number, Some(5)),
    typed!("humidity_3", "Humidity 3", Some("%"), number, Some(6)),
    typed!("humidity_4", "Humidity 4", Some("%"), number, Some(7)),
    typed!(
        "external_voltage_mv",
        "External voltage",
        Some("mV"),
        number
    ),
    typed!("battery_voltage_mv", "Battery voltage", Some("mV"), number),
    typed!("battery_level", "Battery level", Some("%"), number),
    typed!("signal", "Mobile signal", None, number),
    typed!("ignition", "Ignition", None, yes_no),
    typed!("movement", "Movement", None, yes_no),
    typed!("door", "Door open", None, yes_no),
    typed!("odometer_m", "Odometer", Some("m"), number),
    typed!(
        "vehicle_odometer_m",
        "Vehicle's odometer",
        Some("m"),
        number
    ),
    typed!("engine_seconds", "Engine time", Some("s"), number),
    typed!("fuel_l", "Fuel", Some("l"), number),
    typed!("fuel_percent", "Fuel level", Some("%"), number),
    typed!("altitude_m", "Altitude", Some("m"), number),
    typed!("angle_deg", "Heading", Some("°"), number),
    typed!("satellites", "Satellites", None, number),
];

/// Hands every record of `window` to `each` in the order of time: its time, then `columns` in their order. Returns how many there were.
///
/// # Errors
/// When the database refuses, runs out of time or goes away: `each` has had some of them then.
pub fn read(
    client: &mut Client,
    window: &Window,
    columns: &[Column],
    mut each: impl FnMut(i64, Fields<'_>),
) -> Result<u64, StoreError> {
    let list = |one: fn(&Column) -> &'static str| {
        let mut list = String::new();
        for column in columns {
            list.push_str(", ");
            list.push_str(one(column));
        }
        list
    };
    let literal = |us: i64| {
        // Whole seconds and microseconds, which the server reads without rounding.
        format!(
            "(timestamptz 'epoch' + interval '{} s' + interval '{} us')",
            us.div_euclid(1_000_000),
            us.rem_euclid(1_000_000)
        )
    };
    let device_id = window.device_id;
    let (from, until) = (literal(window.span.from_us), literal(window.span.until_us));
    let record = list(|column| column.record);
    let mut select = format!(
        "SELECT x.time{record} FROM trackport.record x
         WHERE x.device_id = {device_id} AND x.time >= {from} AND x.time < {until} ORDER BY x.time, x.digest"
    );
    if let Some(imported_until) = window.imported_until {
        let until = literal(clock::us_since_1970(imported_until).min(window.span.until_us));
        let imported = list(|column| column.imported);
        select = format!(
            "({select}) UNION ALL (SELECT x.time{imported} FROM trackport.imported_position x
             WHERE x.device_id = {device_id} AND x.time >= {from} AND x.time < {until}) ORDER BY 1"
        );
    }
    // In the order of the index, partition by partition: rows come while the server still reads, where it would rather sort the whole
    // year first, on its disk.
    let mut transaction = client.transaction()?;
    transaction.batch_execute("SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")?;
    let n_rows = copy_out(&mut transaction, &select, |mut fields| {
        if let Some(time_us) = fields.time_us() {
            each(time_us, fields);
        }
    })?;
    transaction.commit()?;
    Ok(n_rows)
}

/// A record as it is listed, with what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The record's own time, microseconds since 1970.
    pub time_us: i64,
    /// When it was received.
    pub received_at_us: Option<i64>,
    /// Whether it has a fix.
    pub fix: Option<bool>,
    /// Degrees.
    pub longitude: f64,
    /// Degrees.
    pub latitude: f64,
    /// Metres.
    pub altitude_m: Option<i16>,
    /// Degrees.
    pub angle_deg: Option<i32>,
    /// In use.
    pub satellites: Option<i16>,
    /// Kilometres per hour.
    pub speed_kmh: Option<i32>,
    /// 0 low, 1 high, 2 panic.
    pub priority: Option<i16>,
    /// AVL id that caused it; 0: none.
    pub event_id: Option<i32>,
    /// Names of its events.
    pub events: Vec<String>,
    /// Names of sensors that say an error.
    pub sensor_faults: Vec<String>,
    /// In the order of `TYPED`.
    pub typed: Vec<Option<f64>>,
    /// How the IO section is laid out, and the section; an imported position has none.
    pub io: Option<(i16, Vec<u8>)>,
    /// Where it was imported from.
    pub source: Option<String>,
}

/// The newest records of `window` that are older than its end, the newest first: `limit` of them, and more where several have the time
/// of the last.
///
/// # Errors
/// When the database does not answer.
pub fn newest(client: &mut Client, window: &Window, limit: i64) -> Result<Vec<Listed>, StoreError> {
    let typed = |one: fn(&Column) -> &'static str| {
        let list: Vec<&str> = TYPED.iter().map(|typed| one(&typed.column)).collect();
        list.join(", ")
    };
    let common = "x.longitude, x.latitude, x.altitude_m, x.angle_deg, x.satellites, x.speed_kmh, x.priority, x.event_id,
         coalesce(trackport.event_names(x.events), '{}'), coalesce(trackport.sensor_faults(x.sensor_fault), '{}')";
    let mut sql = format!(
        "(SELECT x.time, x.received_at, x.satellites > 0, {common}, x.codec, x.io, NULL::text, ARRAY[{}]
          FROM trackport.record x WHERE x.device_id = $1 AND x.time >= $2 AND x.time < $3
          ORDER BY x.time DESC FETCH FIRST $4 ROWS WITH TIES)",
        typed(|column| column.record)
    );
    let (from, until) = window.span.times();
    let rows = match window.imported_until {
        None => client.query(&sql, &[&window.device_id, &from, &until, &limit])?,
        Some(imported_until) => {
            sql = format!(
                "{sql} UNION ALL (SELECT x.time, x.received_at, x.fix, {common}, NULL::smallint, NULL::bytea, x.source, ARRAY[{}]
                  FROM trackport.imported_position x WHERE x.device_id = $1 AND x.time >= $2 AND x.time < least($3, $5)
                  ORDER BY x.time DESC FETCH FIRST $4 ROWS WITH TIES)
                 ORDER BY 1 DESC FETCH FIRST $4 ROWS WITH TIES",
                typed(|column| column.imported)
            );
            let device_id = window.device_id;
            client.query(&sql, &[&device_id, &from, &until, &limit, &imported_until])?
        }
    };
    Ok(rows.iter().map(listed).collect())
}

fn listed(row: &Row) -> Listed {
    let codec: Option<i16> = row.get(13);
    let io: Option<Vec<u8>> = row.get(14);
    Listed {
        time_us: clock::us_since_1970(row.get(0)),
        received_at_us: row
            .get::<_, Option<SystemTime>>(1)
            .map(clock::us_since_1970),
        fix: row.get(2),
        longitude: row.get(3),
        latitude: row.get(4),
        altitude_m: row.get(5),
        angle_deg: row.get(6),
        satellites: row.get(7),
        speed_kmh: row.get(8),
        priority: row.get(9),
        event_id: row.get(10),
        events: row.get(11),
        sensor_faults: row.get(12),
        io: codec.zip(io),
        source: row.get(15),
        typed: row.get(16),
    }
}
