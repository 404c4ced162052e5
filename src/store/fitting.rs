//! Which device is in which asset, and since when.
//!
//! Records belong to the asset in which their device was at their time, so a fitting decides who sees them and in whose report they
//! are. Invariants: at any time a device is in one asset and an asset has one device (two exclusion constraints, which also hold
//! against whoever works in SQL); who changes fittings here does so alone, so that what was looked at still holds when it is written.
//! Nothing that was recorded loses its asset unless somebody ends its fitting before it.

use std::time::SystemTime;

use postgres::{GenericClient, Row};

use super::asset::{self, Asset};
use super::device::imei;
use super::error::{FieldMistake, StoreError};
use crate::imei::Imei;

/// One row of `fitting`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitting {
    /// Its number.
    pub id: i32,
    /// The asset.
    pub asset_id: i32,
    /// The device.
    pub device_id: i32,
    /// Its IMEI.
    pub imei: Imei,
    /// From then on, inclusive; `None`: always was.
    pub fitted_at: Option<SystemTime>,
    /// Until then, exclusive; `None`: still is.
    pub removed_at: Option<SystemTime>,
}

/// A device as fitting sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) id: i32,
    pub(super) imei: Imei,
}

/// What came of fitting a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The new fitting.
    pub fitting: Fitting,
    /// The device that was in the asset before.
    pub before: Option<Imei>,
    /// Name of the device's own asset, which is gone because nothing ever was in it.
    pub gone: Option<String>,
    /// The asset in which the device was before, which goes on without.
    pub left: Option<Asset>,
}

/// What to do about a device that is in another asset and has recorded something there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// It stays there, and nothing is fitted.
    Refuse,
    /// It is taken out of the asset that it got by itself and that nobody has used otherwise, for example because it was tried out
    /// before; what it recorded there stays there. Out of any other it is not.
    FromOwn,
    /// It is taken out of there.
    Move,
}

const SELECT: &str = "SELECT f.id, f.asset_id, f.device_id, d.imei, nullif(f.fitted_at, '-infinity'), nullif(f.removed_at, 'infinity')
     FROM trackport.fitting f JOIN trackport.device d ON d.id = f.device_id";

fn fitting(row: &Row) -> Result<Fitting, StoreError> {
    Ok(Fitting {
        id: row.get(0),
        asset_id: row.get(1),
        device_id: row.get(2),
        imei: imei(row.get(3))?,
        fitted_at: row.get(4),
        removed_at: row.get(5),
    })
}

/// The fittings of an asset, the newest first.
///
/// # Errors
/// When the database does not answer.
pub fn of_asset(client: &mut impl GenericClient, asset: i32) -> Result<Vec<Fitting>, StoreError> {
    let sql = format!("{SELECT} WHERE f.asset_id = $1 ORDER BY f.fitted_at DESC");
    client.query(&sql, &[&asset])?.iter().map(fitting).collect()
}

/// The fittings of a device with the name and group of each asset, the newest first.
///
/// # Errors
/// When the database does not answer.
pub fn of_device(
    client: &mut impl GenericClient,
    device: i32,
) -> Result<Vec<(Fitting, String, i32)>, StoreError> {
    let rows = client.query(
        "SELECT f.id, f.asset_id, f.device_id, d.imei, nullif(f.fitted_at, '-infinity'), nullif(f.removed_at, 'infinity'), a.name, a.group_id
         FROM trackport.fitting f JOIN trackport.device d ON d.id = f.device_id JOIN trackport.asset a ON a.id = f.asset_id
         WHERE f.device_id = $1 ORDER BY f.fitted_at DESC",
        &[&device],
    )?;
    rows.iter()
        .map(|row| Ok((fitting(row)?, row.get(6), row.get(7))))
        .collect()
}

/// The fitting of this number.
///
/// # Errors
/// `Missing`.
pub fn by_id(client: &mut impl GenericClient, id: i32) -> Result<Fitting, StoreError> {
    let row = client.query_opt(&format!("{SELECT} WHERE f.id = $1"), &[&id])?;
    row.as_ref().map(fitting).transpose()?.ok_or_else(|| {
        StoreError::Missing(format!(
            "there is no fitting {id}: the asset's page and `trackport asset show` have their numbers"
        ))
    })
}

/// Whoever changes fittings does it alone. Taken behind the lock of devices (1), which a new device needs first; 20 is that of
/// `recompute.rs`, which holds it for ever.
///
/// # Errors
/// When the database does not answer, or another holds the lock for too long.
pub fn alone(client: &mut impl GenericClient) -> Result<(), StoreError> {
    client.execute("SELECT pg_advisory_xact_lock(8386109, 3)", &[])?;
    Ok(())
}

/// Fits a device to an asset from `at` on, or from now on; the device that is in it is taken out then.
///
/// # Errors
/// `Missing` where there is no such asset or device; `Taken` where one of them is with another at that time, which is named;
/// `Invalid` where `at` lies ahead.
pub fn fit(
    client: &mut impl GenericClient,
    asset: i32,
    imei: Imei,
    at: Option<SystemTime>,
    elsewhere: Elsewhere,
) -> Result<Done, StoreError> {
    let mut transaction = client.transaction()?;
    alone(&mut transaction)?;
    let row = transaction.query_opt(
        "SELECT id FROM trackport.device WHERE imei = $1",
        &[&imei.to_string()],
    )?;
    let Some(row) = row else {
        return Err(StoreError::Missing(format!(
            "there is no device {imei}: `trackport device add {imei}` makes one"
        )));
    };
    let device = Fitted {
        id: row.get(0),
        imei,
    };
    let done = fit_in(&mut transaction, asset, device, at, elsewhere)?;
    transaction.commit()?;
    Ok(done)
}

/// See [`fit`]; the caller is `alone`.
pub(super) fn fit_in(
    client: &mut impl GenericClient,
    asset_id: i32,
    device: Fitted,
    at: Option<SystemTime>,
    elsewhere: Elsewhere,
) -> Result<Done, StoreError> {
    let asset = asset::by_id(client, asset_id)?;
    if asset.retired_at.is_some() {
        return Err(StoreError::Taken(format!(
            "asset {asset_id} ({:?}) is retired: take it into use again first",
            asset.name
        )));
    }
    let at = moment(client, at)?;
    let (gone, left) = leave(client, &asset, device, at, elsewhere)?;
    let before = make_room(client, &asset, at)?;
    // Whatever else is in the way, for example a fitting of later days that has ended.
    let sql = format!(
        "{SELECT} WHERE (f.asset_id = $1 OR f.device_id = $2) AND f.removed_at > $3 LIMIT 1"
    );
    if let Some(row) = client.query_opt(&sql, &[&asset_id, &device.id, &at])? {
        let other = fitting(&row)?;
        return Err(StoreError::Taken(format!(
            "device {} was in asset {} {}: fit at a later time, or change that fitting ({}) first",
            other.imei,
            other.asset_id,
            span(&other),
            other.id
        )));
    }
    let row = client.query_one(
        "INSERT INTO trackport.fitting (device_id, asset_id, fitted_at) VALUES ($1, $2, $3) RETURNING id",
        &[&device.id, &asset_id, &at],
    )?;
    Ok(Done {
        fitting: by_id(client, row.get(0))?,
        before,
        gone,
        left,
    })
}

/// Takes the device out of where it is now.
fn leave(
    client: &mut impl GenericClient,
    asset: &Asset,
    device: Fitted,
    at: SystemTime,
    elsewhere: Elsewhere,
) -> Result<(Option<String>, Option<Asset>), StoreError> {
    let sql = format!("{SELECT} WHERE f.device_id = $1 AND f.removed_at = 'infinity'");
    let Some(row) = client.query_opt(&sql, &[&device.id])? else {
        return Ok((None, None));
    };
    let present = fitting(&row)?;
    if present.asset_id == asset.id {
        return Err(StoreError::Taken(format!(
            "device {} is in asset {} ({:?}) already, {}",
            device.imei,
            asset.id,
            asset.name,
            span(&present)
        )));
    }
    let there = asset::by_id(client, present.asset_id)?;
    let has_past = has_past(client, &present, at)?;
    let is_own = is_own(client, &there, device.id)?;
    if !has_past && is_own {
        client.execute("DELETE FROM trackport.asset WHERE id = $1", &[&there.id])?;
        return Ok((Some(there.name), None));
    }
    let stays = match elsewhere {
        Elsewhere::Refuse => true,
        Elsewhere::FromOwn => !is_own,
        Elsewhere::Move => false,
    };
    if has_past && stays {
        return Err(StoreError::Taken(format!(
            "device {} is in asset {} ({:?}, group {:?}) and has recorded there (fitting {}): if it is there no more, `trackport asset fit {} {} --move` takes it out of there, and its past stays there",
            device.imei, there.id, there.name, there.group, present.id, asset.id, device.imei
        )));
    }
    end_in(client, &present, at)?;
    Ok((None, Some(there)))
}

/// Takes out of the asset what is in it now.
fn make_room(
    client: &mut impl GenericClient,
    asset: &Asset,
    at: SystemTime,
) -> Result<Option<Imei>, StoreError> {
    let sql = format!("{SELECT} WHERE f.asset_id = $1 AND f.removed_at = 'infinity'");
    let Some(row) = client.query_opt(&sql, &[&asset.id])? else {
        return Ok(None);
    };
    let present = fitting(&row)?;
    end_in(client, &present, at)?;
    Ok(Some(present.imei))
}

/// Ends a fitting that has not ended; one that would never have been is removed.
fn end_in(
    client: &mut impl GenericClient,
    present: &Fitting,
    at: SystemTime,
) -> Result<(), StoreError> {
    match present.fitted_at {
        Some(from) if from > at => Err(StoreError::Taken(format!(
            "device {} is in asset {} {}: name a later time",
            present.imei,
            present.asset_id,
            span(present)
        ))),
        Some(from) if from == at => {
            client.execute(
                "DELETE FROM trackport.fitting WHERE id = $1",
                &[&present.id],
            )?;
            Ok(())
        }
        _ => {
            client.execute(
                "UPDATE trackport.fitting SET removed_at = $2 WHERE id = $1",
                &[&present.id, &at],
            )?;
            Ok(())
        }
    }
}

/// Ends the present fitting of an asset that goes out of use; the caller is `alone`.
pub(super) fn end_now(client: &mut impl GenericClient, asset: i32) -> Result<(), StoreError> {
    let sql = format!("{SELECT} WHERE f.asset_id = $1 AND f.removed_at = 'infinity'");
    if let Some(row) = client.query_opt(&sql, &[&asset])? {
        let at = moment(client, None)?;
        end_in(client, &fitting(&row)?, at)?;
    }
    Ok(())
}

/// Changes when a fitting ends; `None`: it has not ended.
///
/// # Errors
/// `Missing`; `Invalid` where it would end before it began or ahead of now; `Taken` where another is fitted in that time.
pub fn end(
    client: &mut impl GenericClient,
    id: i32,
    removed_at: Option<SystemTime>,
) -> Result<Fitting, StoreError> {
    let mut transaction = client.transaction()?;
    alone(&mut transaction)?;
    let before = by_id(&mut transaction, id)?;
    if let Some(at) = removed_at {
        let at = moment(&mut transaction, Some(at)).map_err(|_| {
            invalid(
                "removed_at",
                "it lies ahead: a fitting ends when the device is taken out",
            )
        })?;
        if before.fitted_at.is_some_and(|from| from >= at) {
            let text = format!("it is not after the beginning, {}", told(before.fitted_at));
            return Err(invalid("removed_at", text));
        }
    }
    let sql = format!(
        "{SELECT} WHERE (f.asset_id = $1 OR f.device_id = $2) AND f.id <> $3
             AND f.removed_at > coalesce($4::timestamptz, '-infinity') AND f.fitted_at < coalesce($5::timestamptz, 'infinity') LIMIT 1"
    );
    let other = transaction.query_opt(
        &sql,
        &[
            &before.asset_id,
            &before.device_id,
            &id,
            &before.fitted_at,
            &removed_at,
        ],
    )?;
    if let Some(row) = other {
        let other = fitting(&row)?;
        return Err(StoreError::Taken(format!(
            "device {} is in asset {} {} (fitting {})",
            other.imei,
            other.asset_id,
            span(&other),
            other.id
        )));
    }
    transaction.execute(
        "UPDATE trackport.fitting SET removed_at = coalesce($2::timestamptz, 'infinity') WHERE id = $1",
        &[&id, &removed_at],
    )?;
    let after = by_id(&mut transaction, id)?;
    transaction.commit()?;
    Ok(after)
}

/// The database's clock, behind whatever was waited for, or `at` where it does not lie ahead of it.
fn moment(
    client: &mut impl GenericClient,
    at: Option<SystemTime>,
) -> Result<SystemTime, StoreError> {
    let now: SystemTime = client.query_one("SELECT clock_timestamp()", &[])?.get(0);
    match at {
        None => Ok(now),
        // Clocks differ a little.
        Some(at) if at <= now + std::time::Duration::from_secs(60) => Ok(at),
        Some(_) => Err(invalid(
            "fitted_at",
            "it lies ahead: a device is fitted when it is there",
        )),
    }
}

fn invalid(field: &'static str, text: impl Into<String>) -> StoreError {
    StoreError::Invalid(vec![FieldMistake::new(field, text)])
}

/// Whether the device recorded something in this fitting before `at`.
fn has_past(
    client: &mut impl GenericClient,
    present: &Fitting,
    at: SystemTime,
) -> Result<bool, StoreError> {
    let row = client.query_one(
        "SELECT EXISTS (SELECT FROM trackport.record WHERE device_id = $1 AND time >= coalesce($2::timestamptz, '-infinity') AND time < $3)
             OR EXISTS (SELECT FROM trackport.imported_position WHERE device_id = $1 AND time >= coalesce($2::timestamptz, '-infinity') AND time < $3)",
        &[&present.device_id, &present.fitted_at, &at],
    )?;
    Ok(row.get(0))
}

/// Whether the asset is the one that the device got by itself, and nobody has done anything with it.
pub(super) fn is_own(
    client: &mut impl GenericClient,
    asset: &Asset,
    device: i32,
) -> Result<bool, StoreError> {
    let row = client.query_one(
        "SELECT NOT EXISTS (SELECT FROM trackport.fitting f WHERE f.asset_id = a.id AND (f.device_id <> d.id OR f.fitted_at > '-infinity'))
             AND a.name IN (d.imei, coalesce(nullif(btrim(left(d.name, 200)), ''), d.imei))
             AND a.kind = 'vehicle' AND a.note IS NULL AND a.temperature_min IS NULL AND a.temperature_max IS NULL AND a.retired_at IS NULL
         FROM trackport.asset a, trackport.device d WHERE a.id = $1 AND d.id = $2",
        &[&asset.id, &device],
    )?;
    Ok(row.get(0))
}

/// `since 2026-11-24T15:00:00Z`, `from … until …`.
fn span(fitting: &Fitting) -> String {
    match (fitting.fitted_at, fitting.removed_at) {
        (None, None) => "since it came".to_owned(),
        (Some(_), None) => format!("since {}", told(fitting.fitted_at)),
        (None, Some(_)) => format!("until {}", told(fitting.removed_at)),
        (Some(_), Some(_)) => format!(
            "from {} until {}",
            told(fitting.fitted_at),
            told(fitting.removed_at)
        ),
    }
}

fn told(at: Option<SystemTime>) -> String {
    at.and_then(|at| jiff::Timestamp::try_from(at).ok())
        .map_or_else(|| "ever".to_owned(), |at| format!("{at:.0}"))
}
