//! What an asset's devices recorded, one row a record, for exports.

use std::time::{Duration, SystemTime};

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::ToSql;

use super::super::error::StoreError;
use super::Span;

/// One record of an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Which fitting it belongs to: another one is another track.
    pub fitting_id: i32,
    /// The device's IMEI.
    pub imei: String,
    /// When it was recorded.
    pub time: SystemTime,
    /// Whether the position is one: satellites were seen.
    pub is_fix: bool,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Degrees, north positive.
    pub latitude: f64,
    /// Metres above sea level.
    pub altitude_m: Option<i16>,
    /// Degrees from north, clockwise.
    pub angle_deg: Option<i32>,
    /// Kilometres per hour.
    pub speed_kmh: Option<i32>,
    /// Satellites in use.
    pub satellites: Option<i16>,
    /// The ignition is on.
    pub ignition: Option<bool>,
    /// The device moves.
    pub movement: Option<bool>,
    /// Degrees Celsius.
    pub temperature: [Option<f64>; 4],
    /// What the device reported.
    pub events: Vec<String>,
}

/// An asset whose track is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group_id: i32,
    /// Where so long nothing was recorded a track ends.
    pub gap_max: Duration,
}

/// The asset with this number; `None` where there is none.
///
/// # Errors
/// When the database does not answer.
pub fn tracked(client: &mut Client, id: i32) -> Result<Option<Tracked>, StoreError> {
    let row = client.query_opt(
        "SELECT a.id, a.name, a.group_id, date_part('epoch', g.gap_max)
         FROM trackport.asset a JOIN trackport.group g ON g.id = a.group_id WHERE a.id = $1",
        &[&id],
    )?;
    Ok(row.map(|row| Tracked {
        id: row.get(0),
        name: row.get(1),
        group_id: row.get(2),
        gap_max: Duration::try_from_secs_f64(row.get(3)).unwrap_or_default(),
    }))
}

/// Calls `each` with every record of the asset, in the order of fittings and times.
///
/// # Errors
/// When the database does not answer in time; what `each` returns.
pub fn for_each<E: From<StoreError>>(
    client: &mut Client,
    asset: i32,
    span: Span,
    each: &mut dyn FnMut(Point) -> Result<(), E>,
) -> Result<(), E> {
    let parameters: [&(dyn ToSql + Sync); 3] = [&asset, &span.from, &span.to];
    let mut rows = client
        .query_raw(
            "SELECT r.fitting_id, d.imei, r.time, r.fix, r.longitude, r.latitude, r.altitude_m, r.angle_deg, r.speed_kmh,
                 r.satellites, r.ignition, r.movement, r.temperature_1::numeric::float8, r.temperature_2::numeric::float8,
                 r.temperature_3::numeric::float8, r.temperature_4::numeric::float8,
                 coalesce(trackport.event_names(r.events), '{}')
             FROM trackport.asset_records(ARRAY[$1::integer], $2, $3) r
             JOIN trackport.device d ON d.id = r.device_id
             JOIN trackport.fitting f ON f.id = r.fitting_id
             ORDER BY f.fitted_at, r.fitting_id, r.time, r.digest",
            parameters,
        )
        .map_err(|error| E::from(error.into()))?;
    while let Some(row) = rows.next().map_err(|error| E::from(error.into()))? {
        each(Point {
            fitting_id: row.get(0),
            imei: row.get(1),
            time: row.get(2),
            is_fix: row.get(3),
            longitude: row.get(4),
            latitude: row.get(5),
            altitude_m: row.get(6),
            angle_deg: row.get(7),
            speed_kmh: row.get(8),
            satellites: row.get(9),
            ignition: row.get(10),
            movement: row.get(11),
            temperature: [row.get(12), row.get(13), row.get(14), row.get(15)],
            events: row.get(16),
        })?;
    }
    Ok(())
}
