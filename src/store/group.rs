//! Groups of assets: the unit of customers and of access, with the parameters of their reports.
//!
//! Who sees which group is not known here. Invariant: a group is changed as a whole, read and written in one transaction, and every
//! value in it was checked here first, so that whoever enters values is told all mistakes at once and by field.

use std::time::{Duration, SystemTime};

use postgres::error::SqlState;
use postgres::{Client, GenericClient, Row};

use super::error::StoreError;
use super::field::{Check, some};
use crate::conf::show_duration;

/// The group of whatever nobody has put elsewhere; it stays.
pub const FIRST: i32 = 1;

/// What begins and ends a trip.
pub const TRIP_BY: [&str; 3] = ["ignition", "movement", "speed"];

/// One row of `group`.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its number.
    pub id: i32,
    /// What people call it; no two groups have the same.
    pub name: String,
    /// Its reports' days are days of this zone: `Europe/Vienna`.
    pub time_zone: String,
    /// One of [`TRIP_BY`].
    pub trip_by: String,
    /// Where trips go by speed: from here on it moves. 1 to 100.
    pub trip_speed_kmh: i32,
    /// Shorter stops end no trip. 10 s to 1 day.
    pub stop_min: Duration,
    /// Shorter trips are none. Metres, 0 to 100 000.
    pub trip_min_m: i32,
    /// Where so long nothing was recorded a trip ends. 1 min to 1 day.
    pub gap_max: Duration,
    /// Between two fixes that need a higher speed no distance is counted. 30 to 1500.
    pub believable_kmh: i32,
    /// Degrees Celsius; an asset's own limit goes before it.
    pub temperature_min: Option<f32>,
    /// Degrees Celsius.
    pub temperature_max: Option<f32>,
    /// Beyond its limits for a shorter time is no excursion. Up to 1 day.
    pub excursion_min: Duration,
    /// Anything else.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: SystemTime,
    /// Assets in it, retired ones as well.
    pub n_assets: i64,
}

/// Values to change: `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupChange {
    /// What people call it.
    pub name: Option<String>,
    /// The zone of its days.
    pub time_zone: Option<String>,
    /// One of [`TRIP_BY`].
    pub trip_by: Option<String>,
    /// From which speed on it moves.
    pub trip_speed_kmh: Option<i32>,
    /// The shortest stop.
    pub stop_min: Option<Duration>,
    /// The shortest trip, in metres.
    pub trip_min_m: Option<i32>,
    /// The longest gap within a trip.
    pub gap_max: Option<Duration>,
    /// The highest believable speed.
    pub believable_kmh: Option<i32>,
    /// `Some(None)` takes the limit away.
    pub temperature_min: Option<Option<f32>>,
    /// Likewise.
    pub temperature_max: Option<Option<f32>>,
    /// The shortest excursion.
    pub excursion_min: Option<Duration>,
    /// An empty one takes it away.
    pub note: Option<String>,
}

const COLUMNS: &str = "g.id, g.name, g.time_zone, g.trip_by, g.trip_speed_kmh, extract(epoch FROM g.stop_min)::float8, g.trip_min_m, \
     extract(epoch FROM g.gap_max)::float8, g.believable_kmh, g.temperature_min, g.temperature_max, \
     extract(epoch FROM g.excursion_min)::float8, g.note, g.created_at, \
     (SELECT count(*) FROM trackport.asset a WHERE a.group_id = g.id)";

fn group(row: &Row) -> Group {
    let span = |place| Duration::try_from_secs_f64(row.get(place)).unwrap_or_default();
    Group {
        id: row.get(0),
        name: row.get(1),
        time_zone: row.get(2),
        trip_by: row.get(3),
        trip_speed_kmh: row.get(4),
        stop_min: span(5),
        trip_min_m: row.get(6),
        gap_max: span(7),
        believable_kmh: row.get(8),
        temperature_min: row.get(9),
        temperature_max: row.get(10),
        excursion_min: span(11),
        note: row.get(12),
        created_at: row.get(13),
        n_assets: row.get(14),
    }
}

/// All groups by name; only those of `ids` where there are any.
///
/// # Errors
/// When the database does not answer.
pub fn list(client: &mut Client, ids: Option<&[i32]>) -> Result<Vec<Group>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM trackport.group g WHERE $1::integer[] IS NULL OR g.id = ANY($1) ORDER BY lower(g.name), g.id"
    );
    Ok(client.query(&sql, &[&ids])?.iter().map(group).collect())
}

/// What a group is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// Its key.
    pub id: i32,
    /// Its name, which no other group has.
    pub name: String,
    /// As `pg_timezone_names` has it.
    pub time_zone: String,
}

/// All groups, by name.
///
/// # Errors
/// When the database does not answer.
pub fn names(client: &mut Client) -> Result<Vec<GroupName>, StoreError> {
    let rows = client.query(
        "SELECT id, name, time_zone FROM trackport.group ORDER BY name, id",
        &[],
    )?;
    let names = rows.iter().map(|row| GroupName {
        id: row.get(0),
        name: row.get(1),
        time_zone: row.get(2),
    });
    Ok(names.collect())
}

/// The group of this number.
///
/// # Errors
/// `Missing`; when the database does not answer.
pub fn by_id(client: &mut impl GenericClient, id: i32) -> Result<Group, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM trackport.group g WHERE g.id = $1");
    let row = client.query_opt(&sql, &[&id])?;
    row.as_ref()
        .map(group)
        .ok_or_else(|| missing(&id.to_string()))
}

/// The group of this number or name; a number goes first.
///
/// # Errors
/// `Missing`, with the groups that there are.
pub fn find(client: &mut impl GenericClient, text: &str) -> Result<Group, StoreError> {
    let id: Option<i32> = text.trim().parse().ok();
    let sql = format!(
        "SELECT {COLUMNS} FROM trackport.group g WHERE g.id = $1 OR g.name = $2 ORDER BY g.id = $1 DESC NULLS LAST LIMIT 1"
    );
    if let Some(row) = client.query_opt(&sql, &[&id, &text.replace('\0', "")])? {
        return Ok(group(&row));
    }
    let names: Vec<String> = client
        .query(
            "SELECT name FROM trackport.group ORDER BY lower(name) LIMIT 10",
            &[],
        )?
        .iter()
        .map(|row| row.get::<_, String>(0))
        .collect();
    Err(StoreError::Missing(format!(
        "there is no group {text:?}; there are, for example: {}",
        names.join(", ")
    )))
}

fn missing(name: &str) -> StoreError {
    StoreError::Missing(format!(
        "there is no group {name}: `trackport group list` shows them"
    ))
}

/// Makes a group; what `change` does not say is as the table has it.
///
/// # Errors
/// `Invalid`; `Taken` where the name is.
pub fn add(client: &mut impl GenericClient, change: &GroupChange) -> Result<Group, StoreError> {
    let mut transaction = client.transaction()?;
    let name = change.name.as_deref().unwrap_or_default();
    let mut check = Check::default();
    check.name("name", name);
    check.done()?;
    free_name(&mut transaction, name, None)?;
    let row = transaction
        .query_one(
            "INSERT INTO trackport.group (name) VALUES ($1) RETURNING id",
            &[&name],
        )
        .map_err(|error| taken(error, name))?;
    let group = change_in(&mut transaction, row.get(0), change)?;
    transaction.commit()?;
    Ok(group)
}

/// Changes a group.
///
/// # Errors
/// `Missing`, `Invalid`, `Taken`; nothing is changed then.
pub fn set(
    client: &mut impl GenericClient,
    id: i32,
    change: &GroupChange,
) -> Result<Group, StoreError> {
    let mut transaction = client.transaction()?;
    let group = change_in(&mut transaction, id, change)?;
    transaction.commit()?;
    Ok(group)
}

/// Removes a group that has no assets; who was its member is none any more.
///
/// # Errors
/// `Missing`; `Taken` where it has assets, or is the first.
pub fn remove(client: &mut impl GenericClient, id: i32) -> Result<Group, StoreError> {
    let mut transaction = client.transaction()?;
    let group = by_id(&mut transaction, id)?;
    if id == FIRST {
        return Err(StoreError::Taken(format!(
            "group {id} ({:?}) stays: new devices come into it; it may have another name",
            group.name
        )));
    }
    if group.n_assets > 0 {
        return Err(StoreError::Taken(format!(
            "group {id} ({:?}) has {} assets, retired ones included: put them into another group first (`trackport asset set ASSET --group GROUP`)",
            group.name, group.n_assets
        )));
    }
    transaction.execute("DELETE FROM trackport.group WHERE id = $1", &[&id])?;
    transaction.commit()?;
    Ok(group)
}

fn change_in(
    client: &mut impl GenericClient,
    id: i32,
    change: &GroupChange,
) -> Result<Group, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM trackport.group g WHERE g.id = $1 FOR UPDATE OF g");
    let row = client.query_opt(&sql, &[&id])?;
    let before = row
        .as_ref()
        .map(group)
        .ok_or_else(|| missing(&id.to_string()))?;
    let after = changed(before.clone(), change);
    let knows_zone: bool = client
        .query_one(
            "SELECT trackport.is_time_zone($1)",
            &[&after.time_zone.replace('\0', "")],
        )?
        .get(0);
    check(&after, knows_zone)?;
    if after.name != before.name {
        free_name(client, &after.name, Some(id))?;
    }
    client
        .execute(
            "UPDATE trackport.group SET name = $2, time_zone = $3, trip_by = $4, trip_speed_kmh = $5, stop_min = make_interval(secs => $6),
                 trip_min_m = $7, gap_max = make_interval(secs => $8), believable_kmh = $9, temperature_min = $10, temperature_max = $11,
                 excursion_min = make_interval(secs => $12), note = $13
             WHERE id = $1",
            &[
                &id,
                &after.name,
                &after.time_zone,
                &after.trip_by,
                &after.trip_speed_kmh,
                &after.stop_min.as_secs_f64(),
                &after.trip_min_m,
                &after.gap_max.as_secs_f64(),
                &after.believable_kmh,
                &after.temperature_min,
                &after.temperature_max,
                &after.excursion_min.as_secs_f64(),
                &after.note.as_deref().and_then(some),
            ],
        )
        .map_err(|error| taken(error, &after.name))?;
    Ok(after)
}

fn changed(before: Group, change: &GroupChange) -> Group {
    let change = change.clone();
    Group {
        name: change.name.unwrap_or(before.name),
        time_zone: change.time_zone.unwrap_or(before.time_zone),
        trip_by: change.trip_by.unwrap_or(before.trip_by),
        trip_speed_kmh: change.trip_speed_kmh.unwrap_or(before.trip_speed_kmh),
        stop_min: change.stop_min.unwrap_or(before.stop_min),
        trip_min_m: change.trip_min_m.unwrap_or(before.trip_min_m),
        gap_max: change.gap_max.unwrap_or(before.gap_max),
        believable_kmh: change.believable_kmh.unwrap_or(before.believable_kmh),
        temperature_min: change.temperature_min.unwrap_or(before.temperature_min),
        temperature_max: change.temperature_max.unwrap_or(before.temperature_max),
        excursion_min: change.excursion_min.unwrap_or(before.excursion_min),
        note: change
            .note
            .map_or(before.note, |note| (!note.is_empty()).then_some(note)),
        ..before
    }
}

/// The bounds of the table, in words.
fn check(group: &Group, knows_zone: bool) -> Result<(), StoreError> {
    let mut check = Check::default();
    check.name("name", &group.name);
    check.note("note", group.note.as_deref().unwrap_or_default());
    if !knows_zone {
        let zone = &group.time_zone;
        check.wrong(
            "time_zone",
            format!("{zone:?} is not known; names look like Europe/Vienna, and UTC is one"),
        );
    }
    if !TRIP_BY.contains(&group.trip_by.as_str()) {
        let trip_by = &group.trip_by;
        check.wrong(
            "trip_by",
            format!("{trip_by:?}: a trip goes by {}", TRIP_BY.join(", ")),
        );
    }
    check.range("trip_speed_kmh", group.trip_speed_kmh, 1, 100, " km/h");
    check.range("trip_min_m", group.trip_min_m, 0, 100_000, " m");
    check.range("believable_kmh", group.believable_kmh, 30, 1500, " km/h");
    let day = Duration::from_secs(86_400);
    for (field, span, min) in [
        ("stop_min", group.stop_min, Duration::from_secs(10)),
        ("gap_max", group.gap_max, Duration::from_secs(60)),
        ("excursion_min", group.excursion_min, Duration::ZERO),
    ] {
        if !(min..=day).contains(&span) {
            let text = format!(
                "{} is not between {} and {}",
                show_duration(span),
                show_duration(min),
                show_duration(day)
            );
            check.wrong(field, text);
        }
    }
    check.temperatures(group.temperature_min, group.temperature_max);
    check.done()
}

fn free_name(
    client: &mut impl GenericClient,
    name: &str,
    but: Option<i32>,
) -> Result<(), StoreError> {
    let sql = "SELECT id FROM trackport.group WHERE name = $1 AND id IS DISTINCT FROM $2";
    match client.query_opt(sql, &[&name, &but])? {
        None => Ok(()),
        Some(row) => Err(StoreError::Taken(format!(
            "group {} has the name {name:?}; groups have different names",
            row.get::<_, i32>(0)
        ))),
    }
}

/// Two who gave the same name at the same time.
fn taken(error: postgres::Error, name: &str) -> StoreError {
    if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
        return StoreError::Taken(format!(
            "another group has just got the name {name:?}; groups have different names"
        ));
    }
    error.into()
}
