//! Assets as a page lists them: searched, filtered, sorted and cut into pages by the database.
//!
//! The state of an asset and its flags are those that the map shows. Only what the device recorded since it was fitted counts.

use std::time::SystemTime;

use postgres::{Client, Row};

use super::error::StoreError;
use super::listing;

/// What is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its number.
    pub id: i32,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Number of its group.
    pub group: i32,
    /// Number of the device that is in it.
    pub device: Option<i32>,
    /// Its IMEI.
    pub imei: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// One of [`STATES`].
    pub state: String,
    /// `shaken`, `too_warm`, `too_cold`, `sensor_fault`.
    pub flags: Vec<String>,
    /// Time of its newest record.
    pub time: Option<SystemTime>,
    /// Degrees Celsius: its own limit.
    pub temperature_min: Option<f32>,
    /// Likewise.
    pub temperature_max: Option<f32>,
    /// Anything else.
    pub note: Option<String>,
    /// When it went out of use.
    pub retired_at: Option<SystemTime>,
}

/// What an asset may be doing.
pub const STATES: [&str; 5] = ["moving", "idling", "parked", "offline", "never"];

/// Orders of the list; each with a minus in front is the reverse.
pub const SORTS: [&str; 6] = ["name", "time", "kind", "group", "state", "id"];

/// Which assets, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of these groups; `None`: of all.
    pub groups: Option<Vec<i32>>,
    /// Name, IMEI or note contain it.
    pub search: Option<String>,
    /// One of [`STATES`].
    pub state: Option<String>,
    /// What it is.
    pub kind: Option<String>,
    /// Retired ones (`true`), those in use (`false`).
    pub is_retired: bool,
    /// This one alone, retired or not.
    pub id: Option<i32>,
    /// One of [`SORTS`], perhaps behind a minus.
    pub sort: String,
}

const FROM: &str = "FROM trackport.asset a
     JOIN trackport.group g ON g.id = a.group_id
     LEFT JOIN trackport.fitting f ON f.asset_id = a.id AND f.removed_at = 'infinity'
     LEFT JOIN trackport.device d ON d.id = f.device_id
     LEFT JOIN trackport.latest l ON l.device_id = f.device_id AND l.time >= f.fitted_at
     LEFT JOIN LATERAL (
         SELECT coalesce(l.movement, l.satellites > 0 AND l.speed_kmh >= g.trip_speed_kmh) AS moves,
             greatest(l.temperature_1, l.temperature_2, l.temperature_3, l.temperature_4) AS warmest,
             least(l.temperature_1, l.temperature_2, l.temperature_3, l.temperature_4) AS coldest
         WHERE l.device_id IS NOT NULL
     ) m ON true
     CROSS JOIN LATERAL (
         SELECT CASE
             WHEN l.device_id IS NULL THEN 'never'
             WHEN now() - greatest(l.received_at, l.contact_at) > make_interval(secs => greatest(120,
                 3 * CASE WHEN m.moves THEN coalesce(l.contact_moving_s, 120) ELSE coalesce(l.contact_parked_s, 3600) END)) THEN 'offline'
             WHEN m.moves THEN 'moving'
             WHEN l.ignition THEN 'idling'
             ELSE 'parked' END AS state
     ) s
     WHERE ($1::integer[] IS NULL OR a.group_id = ANY($1))
         AND ($2::text IS NULL OR strpos(lower(a.name), lower($2)) > 0 OR strpos(d.imei, $2) > 0 OR strpos(lower(a.note), lower($2)) > 0)
         AND ($3::text IS NULL OR s.state = $3)
         AND ($4::text IS NULL OR a.kind = $4)
         AND CASE WHEN $6::integer IS NULL THEN (a.retired_at IS NOT NULL) = $5 ELSE a.id = $6 END";

fn listed(row: &Row) -> Listed {
    Listed {
        id: row.get(0),
        name: row.get(1),
        kind: row.get(2),
        group: row.get(3),
        device: row.get(4),
        imei: row.get(5),
        model: row.get(6),
        state: row.get(7),
        flags: row.get(8),
        time: row.get(9),
        temperature_min: row.get(10),
        temperature_max: row.get(11),
        note: row.get(12),
        retired_at: row.get(13),
    }
}

/// `limit` assets behind the first `offset`, and how many there are in all.
///
/// # Errors
/// `Refused` where the order is none; when the database does not answer.
pub fn list(
    client: &mut Client,
    wanted: &Wanted,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Listed>, i64), StoreError> {
    let (key, direction) = listing::order(&wanted.sort);
    let key = match key {
        "name" => "lower(a.name)",
        "time" => "l.time",
        "kind" => "a.kind",
        "group" => "lower(g.name)",
        "state" => "s.state",
        "id" => "a.id",
        other => return Err(listing::no_order(other, &SORTS)),
    };
    let search = listing::needle(wanted.search.as_deref());
    let filter: [&(dyn postgres::types::ToSql + Sync); 6] = [
        &wanted.groups,
        &search,
        &wanted.state,
        &wanted.kind,
        &wanted.is_retired,
        &wanted.id,
    ];
    let total = client
        .query_one(&format!("SELECT count(*) {FROM}"), &filter)?
        .get(0);
    let [groups, search, state, kind, is_retired, id] = filter;
    let rows = client.query(
        &format!(
            "SELECT a.id, a.name, a.kind, a.group_id, d.id, d.imei, d.model, s.state,
                 array_remove(ARRAY[
                     CASE WHEN l.shaken_time > now() - interval '24 h' AND l.shaken_time >= f.fitted_at THEN 'shaken' END,
                     CASE WHEN m.warmest > coalesce(a.temperature_max, g.temperature_max) THEN 'too_warm' END,
                     CASE WHEN m.coldest < coalesce(a.temperature_min, g.temperature_min) THEN 'too_cold' END,
                     CASE WHEN l.sensor_fault <> 0 THEN 'sensor_fault' END], NULL),
                 l.time, a.temperature_min, a.temperature_max, a.note, a.retired_at
             {FROM} ORDER BY {key} {direction} NULLS LAST, a.id {direction} OFFSET $7 LIMIT $8"
        ),
        &[groups, search, state, kind, is_retired, id, &offset, &limit],
    )?;
    Ok((rows.iter().map(listed).collect(), total))
}
