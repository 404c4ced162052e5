//! What stands above the rows of a report: its parameters, up to when it is complete, and who owes data.

use std::time::{Duration, SystemTime};

use postgres::Client;

use super::super::error::StoreError;
use super::Span;

/// So many devices that owe data are named; of all of them it is said how many there are.
const OWING_MAX: i64 = 1000;

/// The parameters of one or several groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// The groups that have them.
    pub groups: Vec<String>,
    /// As `pg_timezone_names` has it.
    pub time_zone: String,
    /// `ignition`, `movement` or `speed`.
    pub trip_by: String,
    /// From here on it moves.
    pub trip_speed_kmh: i32,
    /// Shorter stops do not end a trip.
    pub stop_min: Duration,
    /// Shorter trips are none, metres.
    pub trip_min_m: i32,
    /// Where so long nothing was recorded a trip ends.
    pub gap_max: Duration,
    /// No distance is counted at a higher speed.
    pub believable_kmh: i32,
    /// Degrees Celsius.
    pub temperature_min: Option<f64>,
    /// Degrees Celsius.
    pub temperature_max: Option<f64>,
    /// Shorter excursions are none.
    pub excursion_min: Duration,
}

/// A device that may still have records of the span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owing {
    /// What it is fitted to.
    pub asset: String,
    /// Its number.
    pub asset_id: i32,
    /// The device's IMEI.
    pub imei: String,
    /// When it was heard last.
    pub last_contact_at: Option<SystemTime>,
    /// Packets of it in quarantine.
    pub n_quarantined: i64,
}

/// What stands above the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The span.
    pub span: Span,
    /// Of the groups of all assets; `UTC` where they differ.
    pub time_zone: String,
    /// One for each set of parameters among the groups.
    pub parameters: Vec<Parameters>,
    /// Up to when everything is there.
    pub complete_up_to: SystemTime,
    /// Those who owe, who were not heard for the longest time first; not more than a thousand.
    pub owing: Vec<Owing>,
    /// How many owe.
    pub n_owing: i64,
}

/// The zone of the groups of `assets`; `UTC` where they differ.
///
/// # Errors
/// When the database does not answer.
pub fn time_zone(client: &mut Client, assets: &[i32]) -> Result<String, StoreError> {
    let row = client.query_one(
        "SELECT CASE WHEN count(DISTINCT g.time_zone) = 1 THEN min(g.time_zone) ELSE 'UTC' END
         FROM trackport.group g WHERE g.id IN (SELECT a.group_id FROM trackport.asset a WHERE a.id = ANY ($1))",
        &[&assets],
    )?;
    Ok(row.get(0))
}

/// The head of a report about `assets`.
///
/// # Errors
/// When the database does not answer.
pub fn head(client: &mut Client, assets: &[i32], span: Span) -> Result<Head, StoreError> {
    let time_zone = time_zone(client, assets)?;
    let rows = client.query(
        "SELECT array_agg(g.name ORDER BY g.name), g.time_zone, g.trip_by, g.trip_speed_kmh,
             date_part('epoch', g.stop_min), g.trip_min_m, date_part('epoch', g.gap_max), g.believable_kmh,
             g.temperature_min::numeric::float8, g.temperature_max::numeric::float8, date_part('epoch', g.excursion_min)
         FROM trackport.group g
         WHERE g.id IN (SELECT a.group_id FROM trackport.asset a WHERE a.id = ANY ($1))
         GROUP BY 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 ORDER BY 1",
        &[&assets],
    )?;
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    let parameters = rows.iter().map(|row| Parameters {
        groups: row.get(0),
        time_zone: row.get(1),
        trip_by: row.get(2),
        trip_speed_kmh: row.get(3),
        stop_min: seconds(row.get(4)),
        trip_min_m: row.get(5),
        gap_max: seconds(row.get(6)),
        believable_kmh: row.get(7),
        temperature_min: row.get(8),
        temperature_max: row.get(9),
        excursion_min: seconds(row.get(10)),
    });
    let parameters = parameters.collect();
    let rows = client.query(
        "SELECT o.asset, o.asset_id, o.imei, o.last_contact_at, o.n_quarantined, count(*) OVER ()
         FROM trackport.report_owing($1, $2) o ORDER BY o.last_contact_at, o.imei LIMIT $3",
        &[&assets, &span.to, &OWING_MAX],
    )?;
    let n_owing = rows.first().map_or(0, |row| row.get(5));
    let owing = rows.iter().map(|row| Owing {
        asset: row.get(0),
        asset_id: row.get(1),
        imei: row.get(2),
        last_contact_at: row.get(3),
        n_quarantined: row.get(4),
    });
    let owing = owing.collect();
    let row = client.query_one(
        "SELECT trackport.report_complete_up_to($1, $2)",
        &[&assets, &span.to],
    )?;
    Ok(Head {
        span,
        time_zone,
        parameters,
        complete_up_to: row.get(0),
        owing,
        n_owing,
    })
}
