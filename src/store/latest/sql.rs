//! The columns of `latest` beside the device's id, and the statements written from them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use postgres::types::ToSql;

use super::contact;
use super::{AHEAD_MAX, LatestRow, NewestOfOne};
use crate::store::typed::{SHAKEN, Typed};

/// How far behind the newest record a repair looks for a fix.
const REPAIR_FIX_DAYS: i32 = 30;
/// How far for events, where `latest` does not know the device.
const REPAIR_EVENT_DAYS: i32 = 1;

/// Which record a column is of: each of them becomes newer apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The newest.
    Record,
    /// The newest with satellites.
    Fix,
    /// The newest with events.
    Event,
    /// The newest that says that it was shaken.
    Shaken,
}

/// One column of many rows.
pub(in crate::store) struct Column {
    of: Of,
    /// As it is called in the table.
    pub(in crate::store) name: &'static str,
    /// As PostgreSQL calls it.
    pub(in crate::store) sql_type: &'static str,
    /// An array.
    pub(in crate::store) values: Box<dyn ToSql + Sync>,
}

fn column<R, T>(
    of: Of,
    name: &'static str,
    sql_type: &'static str,
    rows: &[R],
    value: impl Fn(&R) -> T,
) -> Column
where
    T: ToSql + Sync + 'static,
{
    Column {
        of,
        name,
        sql_type,
        values: Box::new(rows.iter().map(value).collect::<Vec<T>>()),
    }
}

/// All columns, in the order of the statements' parameters.
pub(super) fn columns(all: &[&NewestOfOne]) -> Vec<Column> {
    let rows: Vec<&LatestRow> = all.iter().map(|one| &one.row).collect();
    let fixes: Vec<Option<&LatestRow>> = all.iter().map(|one| one.fix.as_ref()).collect();
    let mut columns = record_columns(&rows);
    let typed: Vec<&Typed> = all.iter().map(|one| &one.row.typed).collect();
    columns.extend(typed_columns(&typed));
    columns.extend(fix_columns(&fixes));
    columns.extend([
        column(Of::Event, "event_time", "timestamptz", all, |one| {
            one.event.map(|event| event.time())
        }),
        column(Of::Event, "event_mask", "integer", all, |one| {
            one.event.map(|event| event.mask)
        }),
        column(Of::Shaken, "shaken_time", "timestamptz", all, |one| {
            one.shaken.map(|event| event.time())
        }),
    ]);
    columns
}

fn record_columns(rows: &[&LatestRow]) -> Vec<Column> {
    vec![
        column(Of::Record, "time", "timestamptz", rows, |row| row.time),
        column(Of::Record, "digest", "bigint", rows, |row| row.digest),
        column(Of::Record, "received_at", "timestamptz", rows, |row| {
            row.received_at
        }),
        column(Of::Record, "longitude", "double precision", rows, |row| {
            row.longitude
        }),
        column(Of::Record, "latitude", "double precision", rows, |row| {
            row.latitude
        }),
        column(Of::Record, "altitude_m", "smallint", rows, |row| {
            row.altitude_m
        }),
        column(Of::Record, "angle_deg", "integer", rows, |row| {
            row.angle_deg
        }),
        column(Of::Record, "satellites", "smallint", rows, |row| {
            row.satellites
        }),
        column(Of::Record, "speed_kmh", "integer", rows, |row| {
            row.speed_kmh
        }),
        column(Of::Record, "priority", "smallint", rows, |row| row.priority),
        column(Of::Record, "event_id", "integer", rows, |row| row.event_id),
        column(Of::Record, "port", "integer", rows, |row| row.port),
    ]
}

/// The typed columns of records, each an array.
pub(in crate::store) fn typed_columns(rows: &[&Typed]) -> Vec<Column> {
    let mut columns = vec![
        column(Of::Record, "ignition", "boolean", rows, |row| row.ignition),
        column(Of::Record, "movement", "boolean", rows, |row| row.movement),
        column(Of::Record, "odometer_m", "bigint", rows, |row| {
            row.odometer_m
        }),
        column(Of::Record, "external_voltage_mv", "integer", rows, |row| {
            row.external_voltage_mv
        }),
        column(Of::Record, "battery_voltage_mv", "integer", rows, |row| {
            row.battery_voltage_mv
        }),
        column(Of::Record, "battery_level", "smallint", rows, |row| {
            row.battery_level
        }),
        column(Of::Record, "signal", "smallint", rows, |row| row.signal),
        column(Of::Record, "events", "integer", rows, |row| row.events),
        column(Of::Record, "sensor_fault", "smallint", rows, |row| {
            row.sensor_fault()
        }),
        column(Of::Record, "door", "boolean", rows, |row| row.door),
        column(Of::Record, "engine_seconds", "bigint", rows, |row| {
            row.engine_seconds
        }),
        column(Of::Record, "vehicle_odometer_m", "bigint", rows, |row| {
            row.vehicle_odometer_m
        }),
        column(Of::Record, "fuel_l", "real", rows, |row| row.fuel_l),
        column(Of::Record, "fuel_percent", "smallint", rows, |row| {
            row.fuel_percent
        }),
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
        columns.push(column(Of::Record, name, "real", rows, |row| {
            row.temperature[place]
        }));
    }
    for (place, name) in ["humidity_1", "humidity_2", "humidity_3", "humidity_4"]
        .into_iter()
        .enumerate()
    {
        columns.push(column(Of::Record, name, "real", rows, |row| {
            row.humidity[place]
        }));
    }
    columns
}

fn fix_columns(fixes: &[Option<&LatestRow>]) -> Vec<Column> {
    vec![
        column(Of::Fix, "fix_time", "timestamptz", fixes, |fix| {
            fix.map(|row| row.time)
        }),
        column(Of::Fix, "fix_longitude", "double precision", fixes, |fix| {
            fix.map(|row| row.longitude)
        }),
        column(Of::Fix, "fix_latitude", "double precision", fixes, |fix| {
            fix.map(|row| row.latitude)
        }),
        column(Of::Fix, "fix_altitude_m", "smallint", fixes, |fix| {
            fix.map(|row| row.altitude_m)
        }),
        column(Of::Fix, "fix_angle_deg", "integer", fixes, |fix| {
            fix.map(|row| row.angle_deg)
        }),
        column(Of::Fix, "fix_satellites", "smallint", fixes, |fix| {
            fix.map(|row| row.satellites)
        }),
        column(Of::Fix, "fix_speed_kmh", "integer", fixes, |fix| {
            fix.map(|row| row.speed_kmh)
        }),
    ]
}

/// The statements, written from the lists of columns above.
pub(super) struct Statements {
    /// Takes arrays: the ids, then the columns; returns the ids that changed.
    pub(super) update: String,
    /// Takes until when a record is believed, the last id before, and how many devices.
    pub(super) repair: String,
    /// Takes until when a record is believed, and the ids.
    pub(super) repair_some: String,
}

pub(super) static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
    let columns = columns(&[]);
    let mut names = "device_id".to_owned();
    let mut arrays = "$1::integer[]".to_owned();
    let mut assignments = String::new();
    // As `LatestRow::age_key`. When a fix or an event was received is not kept; it was not after the record.
    let newer_time = |name: &str| {
        format!(
            "excluded.{name} IS NOT NULL AND (least(excluded.{name}, excluded.received_at), excluded.{name})
            > (CASE WHEN l.{name} IS NULL THEN '-infinity' ELSE least(l.{name}, l.received_at) END,
                coalesce(l.{name}, '-infinity'))"
        )
    };
    let newer = |of: Of| match of {
        Of::Record => "(least(excluded.time, excluded.received_at), excluded.time, excluded.digest)
            > (least(l.time, l.received_at), l.time, l.digest)"
            .to_owned(),
        Of::Fix => newer_time("fix_time"),
        Of::Event => newer_time("event_time"),
        Of::Shaken => newer_time("shaken_time"),
    };
    for (
        place,
        Column {
            of, name, sql_type, ..
        },
    ) in columns.iter().enumerate()
    {
        let condition = newer(*of);
        write!(names, ", {name}")
            .and_then(|()| write!(arrays, ", ${}::{sql_type}[]", place + 2))
            .and_then(|()| {
                write!(
                    assignments,
                    "{name} = CASE WHEN {condition} THEN excluded.{name} ELSE l.{name} END, "
                )
            })
            .expect("writing to a String cannot fail");
    }
    assignments += &contact::assignments(&newer(Of::Record));
    let selected = columns
        .iter()
        .map(|one| match one.of {
            Of::Record => format!("r.{}", one.name),
            Of::Fix => format!("f.{}", one.name),
            Of::Event => format!("e.{}", one.name),
            Of::Shaken => format!("s.{}", one.name),
        })
        .collect::<Vec<_>>()
        .join(", ");
    let fix_from_record = columns
        .iter()
        .filter(|one| one.of == Of::Fix)
        .map(|one| format!("{} AS {}", one.name.trim_start_matches("fix_"), one.name))
        .collect::<Vec<_>>()
        .join(", ");
    let changes = [Of::Record, Of::Fix, Of::Event, Of::Shaken]
        .map(newer)
        .join(" OR ");
    let conflict = format!("ON CONFLICT (device_id) DO UPDATE SET {assignments} WHERE {changes}");
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
    // No index leads to records with events: only what is new is looked through.
    let newest_event = |condition: &str| {
        let believable = believable("v");
        format!(
            "SELECT v.time AS event_time, v.time AS shaken_time, v.events AS event_mask FROM trackport.record v
             WHERE {believable} AND v.time >= greatest(d.time, r.time - interval '{REPAIR_EVENT_DAYS} days') AND {condition}
             ORDER BY least(v.time, v.received_at) DESC, v.time DESC, v.digest DESC LIMIT 1"
        )
    };
    let event = newest_event("v.events IS NOT NULL");
    let shaken = newest_event(&format!("v.events & {SHAKEN} <> 0"));
    // One walk down the index per device, from the newest record on. The partitions before what
    // `latest` has already are not touched.
    let repair = |devices: &str| {
        format!(
            "INSERT INTO trackport.latest AS l ({names})
             SELECT d.id, {selected}
             FROM (
                 SELECT d.id, coalesce(least(l.time, l.received_at), '-infinity') AS time,
                     CASE WHEN l.fix_time IS NULL THEN '-infinity' ELSE least(l.fix_time, l.received_at) END AS fix_time
                 FROM trackport.device d LEFT JOIN trackport.latest l ON l.device_id = d.id
                 WHERE {devices} ORDER BY d.id
             ) d
             CROSS JOIN LATERAL ({newest_record}) r
             LEFT JOIN LATERAL (SELECT {fix_from_record} FROM ({newest_fix}) f) f ON true
             LEFT JOIN LATERAL ({event}) e ON true
             LEFT JOIN LATERAL ({shaken}) s ON true
             {conflict}"
        )
    };
    Statements {
        update: format!(
            "INSERT INTO trackport.latest AS l ({names}) SELECT * FROM unnest({arrays}) AS n ({names})
             WHERE EXISTS (SELECT FROM trackport.device d WHERE d.id = n.device_id) {conflict} RETURNING l.device_id"
        ),
        repair: repair(
            "d.id IN (SELECT id FROM trackport.device WHERE id > $2 ORDER BY id LIMIT $3)",
        ),
        repair_some: repair("d.id = ANY ($2)"),
    }
});
