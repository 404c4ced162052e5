//! What an asset's device said last, for whoever shows all assets at once.
//!
//! Knows no memory: it reads all assets, or some. Invariant: of a device only what it recorded since it was fitted to the asset is the
//! asset's; where that has no fix yet, the asset is where it was last with the device before.

use std::collections::HashMap;
use std::time::SystemTime;

use postgres::{Client, Row};

use super::error::StoreError;
use crate::clock;

/// The channel on which it is notified that assets, fittings or groups changed: with the id of an asset, or `group` and its id.
pub const ASSET_CHANNEL: &str = "trackport_asset";

/// How far behind the end of an earlier fitting its last fix is looked for.
const EARLIER_DAYS: i32 = 30;

/// An asset that is in use, with its device and what that said last.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveAsset {
    /// Key of the asset.
    pub id: i32,
    /// What people call it.
    pub name: String,
    /// `vehicle`, `trailer`, …
    pub kind: String,
    /// Whose it is.
    pub group_id: i32,
    /// Key, IMEI and model of the device that is fitted now.
    pub device: Option<LiveDevice>,
    /// Degrees Celsius, its own or its group's.
    pub temperature_min: Option<f32>,
    /// Degrees Celsius, its own or its group's.
    pub temperature_max: Option<f32>,
    /// From this speed on it moves, where its device does not say.
    pub moves_from_kmh: i32,
    /// The newest record of this fitting.
    pub newest: Option<LiveRecord>,
    /// The newest record with satellites.
    pub fix: Option<LiveFix>,
}

/// The device in an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveDevice {
    /// Key of the device.
    pub id: i32,
    /// Its IMEI.
    pub imei: String,
    /// The maker's model.
    pub model: Option<String>,
}

/// What the newest record says. Times in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveRecord {
    /// The record's own time.
    pub time_us: i64,
    /// When the device was last heard with something new.
    pub received_at_us: i64,
    /// Satellites in use; 0: no fix.
    pub satellites: i16,
    /// Kilometres per hour.
    pub speed_kmh: i32,
    /// The ignition is on.
    pub ignition: Option<bool>,
    /// The device moves.
    pub movement: Option<bool>,
    /// A door is open.
    pub door: Option<bool>,
    /// Degrees Celsius.
    pub temperature: [Option<f32>; 4],
    /// Percent.
    pub humidity: [Option<f32>; 4],
    /// Millivolts.
    pub external_voltage_mv: Option<i32>,
    /// Millivolts.
    pub battery_voltage_mv: Option<i32>,
    /// Percent.
    pub battery_level: Option<i16>,
    /// Bars, 0 to 5.
    pub signal: Option<i16>,
    /// Bits of sensors that say an error.
    pub sensor_fault: Option<i16>,
    /// When it was last towed, hit or fell.
    pub shaken_us: Option<i64>,
    /// Usual seconds between contacts while moving.
    pub contact_moving_s: Option<f32>,
    /// And while not.
    pub contact_parked_s: Option<f32>,
}

/// Where an asset was last. Time in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveFix {
    /// Of the record.
    pub time_us: i64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees from north, clockwise.
    pub angle_deg: Option<i32>,
}

/// Columns of `SELECT`, by place.
const SELECT: &str = "SELECT a.id, a.name, a.kind, a.group_id,
        coalesce(a.temperature_min, g.temperature_min), coalesce(a.temperature_max, g.temperature_max), g.trip_speed_kmh,
        d.id, d.imei, d.model,
        l.time, greatest(l.received_at, l.contact_at), l.satellites, l.speed_kmh, l.ignition, l.movement, l.door,
        l.temperature_1, l.temperature_2, l.temperature_3, l.temperature_4,
        l.humidity_1, l.humidity_2, l.humidity_3, l.humidity_4,
        l.external_voltage_mv, l.battery_voltage_mv, l.battery_level, l.signal, l.sensor_fault,
        CASE WHEN l.shaken_time >= f.fitted_at THEN l.shaken_time END, l.contact_moving_s, l.contact_parked_s,
        x.fix_time, x.fix_longitude, x.fix_latitude, x.fix_angle_deg,
        x.fix_time IS NULL AND EXISTS (SELECT FROM trackport.fitting e WHERE e.asset_id = a.id AND e.removed_at <= now())
    FROM trackport.asset a
    JOIN trackport.group g ON g.id = a.group_id
    LEFT JOIN trackport.fitting f ON f.asset_id = a.id AND f.fitted_at <= now() AND f.removed_at > now()
    LEFT JOIN trackport.device d ON d.id = f.device_id
    LEFT JOIN trackport.latest l ON l.device_id = f.device_id AND l.time >= f.fitted_at
    LEFT JOIN trackport.latest x ON x.device_id = f.device_id AND x.fix_time >= f.fitted_at
    WHERE a.retired_at IS NULL";

/// The asset, and whether only an earlier fitting can say where it is.
fn asset(row: &Row) -> (LiveAsset, bool) {
    let device = row.get::<_, Option<i32>>(7).map(|id| LiveDevice {
        id,
        imei: row.get(8),
        model: row.get(9),
    });
    let newest = row.get::<_, Option<SystemTime>>(10).map(|time| LiveRecord {
        time_us: clock::us_since_1970(time),
        received_at_us: clock::us_since_1970(row.get(11)),
        satellites: row.get(12),
        speed_kmh: row.get(13),
        ignition: row.get(14),
        movement: row.get(15),
        door: row.get(16),
        temperature: std::array::from_fn(|place| row.get(17 + place)),
        humidity: std::array::from_fn(|place| row.get(21 + place)),
        external_voltage_mv: row.get(25),
        battery_voltage_mv: row.get(26),
        battery_level: row.get(27),
        signal: row.get(28),
        sensor_fault: row.get(29),
        shaken_us: row
            .get::<_, Option<SystemTime>>(30)
            .map(clock::us_since_1970),
        contact_moving_s: row.get(31),
        contact_parked_s: row.get(32),
    });
    let fix = row.get::<_, Option<SystemTime>>(33).map(|time| LiveFix {
        time_us: clock::us_since_1970(time),
        longitude: row.get(34),
        latitude: row.get(35),
        angle_deg: row.get(36),
    });
    let asset = LiveAsset {
        id: row.get(0),
        name: row.get(1),
        kind: row.get(2),
        group_id: row.get(3),
        temperature_min: row.get(4),
        temperature_max: row.get(5),
        moves_from_kmh: row.get(6),
        device,
        newest,
        fix,
    };
    (asset, row.get(37))
}

/// All assets that are in use.
///
/// # Errors
/// When the database does not answer.
pub fn all(client: &mut Client) -> Result<Vec<LiveAsset>, StoreError> {
    let rows = client.query(SELECT, &[])?;
    with_earlier(client, &rows)
}

/// Those of these assets that are in use.
///
/// # Errors
/// When the database does not answer.
pub fn some(client: &mut Client, ids: &[i32]) -> Result<Vec<LiveAsset>, StoreError> {
    let rows = client.query(&format!("{SELECT} AND a.id = ANY ($1)"), &[&ids])?;
    with_earlier(client, &rows)
}

/// Asks earlier fittings where there is no other fix: few assets, those whose device was taken out or replaced just now.
fn with_earlier(client: &mut Client, rows: &[Row]) -> Result<Vec<LiveAsset>, StoreError> {
    let (mut assets, mut lost) = (Vec::with_capacity(rows.len()), Vec::new());
    for (asset, is_lost) in rows.iter().map(asset) {
        if is_lost {
            lost.push(asset.id);
        }
        assets.push(asset);
    }
    if lost.is_empty() {
        return Ok(assets);
    }
    let rows = client.query(
        &format!(
            "SELECT a.id, r.time, r.longitude, r.latitude, r.angle_deg, r.received_at
             FROM unnest($1::integer[]) AS a (id)
             CROSS JOIN LATERAL (
                 SELECT f.device_id, f.fitted_at, f.removed_at FROM trackport.fitting f
                 WHERE f.asset_id = a.id AND f.removed_at <= now() ORDER BY f.removed_at DESC LIMIT 1
             ) f
             CROSS JOIN LATERAL (
                 SELECT r.time, r.longitude, r.latitude, r.angle_deg, r.received_at FROM trackport.record r
                 WHERE r.device_id = f.device_id AND r.satellites > 0 AND r.time < f.removed_at
                     AND r.time >= greatest(f.fitted_at, f.removed_at - interval '{EARLIER_DAYS} days')
                 ORDER BY r.time DESC LIMIT 1
             ) r"
        ),
        &[&lost],
    )?;
    let earlier: HashMap<i32, LiveFix> = rows
        .iter()
        .map(|row| {
            let fix = LiveFix {
                time_us: clock::us_since_1970(row.get(1)),
                longitude: row.get(2),
                latitude: row.get(3),
                angle_deg: row.get(4),
            };
            (row.get(0), fix)
        })
        .collect();
    for asset in &mut assets {
        asset.fix = asset.fix.or_else(|| earlier.get(&asset.id).copied());
    }
    Ok(assets)
}
