//! Making and changing assets. One that goes out of use gives its device back.

use postgres::GenericClient;

use super::asset::{self, Asset, Kind};
use super::error::StoreError;
use super::field::{Check, some};
use super::{fitting, group};

/// Values to change: `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssetChange {
    /// What people call it.
    pub name: Option<String>,
    /// What it is.
    pub kind: Option<Kind>,
    /// Number of its group.
    pub group_id: Option<i32>,
    /// `Some(None)` takes the limit away.
    pub temperature_min: Option<Option<f32>>,
    /// Likewise.
    pub temperature_max: Option<Option<f32>>,
    /// An empty one takes it away.
    pub note: Option<String>,
    /// Out of use from now on, its device taken out of it; or in use again.
    pub is_retired: Option<bool>,
}

/// Makes an asset, without a device.
///
/// # Errors
/// `Invalid`; `Missing` where its group is not there.
pub fn add(client: &mut impl GenericClient, change: &AssetChange) -> Result<Asset, StoreError> {
    let mut transaction = client.transaction()?;
    let mut check = Check::default();
    let name = change.name.as_deref().unwrap_or_default();
    check.name("name", name);
    check.done()?;
    let row = transaction.query_one(
        "INSERT INTO trackport.asset (name) VALUES ($1) RETURNING id",
        &[&name],
    )?;
    let asset = change_in(&mut transaction, row.get(0), change)?;
    transaction.commit()?;
    Ok(asset)
}

/// Changes an asset.
///
/// # Errors
/// `Missing`, `Invalid`; nothing is changed then.
pub fn set(
    client: &mut impl GenericClient,
    id: i32,
    change: &AssetChange,
) -> Result<Asset, StoreError> {
    let mut transaction = client.transaction()?;
    let asset = change_in(&mut transaction, id, change)?;
    transaction.commit()?;
    Ok(asset)
}

fn change_in(
    client: &mut impl GenericClient,
    id: i32,
    change: &AssetChange,
) -> Result<Asset, StoreError> {
    if change.is_retired == Some(true) {
        fitting::alone(client)?;
    }
    // Two changes of one asset come one after the other.
    client.execute(
        "SELECT FROM trackport.asset WHERE id = $1 FOR NO KEY UPDATE",
        &[&id],
    )?;
    let before = asset::by_id(client, id)?;
    let name = change.name.clone().unwrap_or(before.name);
    let note = change.note.clone().or(before.note);
    let min = change.temperature_min.unwrap_or(before.temperature_min);
    let max = change.temperature_max.unwrap_or(before.temperature_max);
    let mut check = Check::default();
    check.name("name", &name);
    check.note("note", note.as_deref().unwrap_or_default());
    check.temperatures(min, max);
    check.done()?;
    let group_id = match change.group_id {
        None => before.group_id,
        Some(id) => group::by_id(client, id)?.id,
    };
    client.execute(
        "UPDATE trackport.asset SET name = $2, kind = $3, group_id = $4, temperature_min = $5, temperature_max = $6, note = $7,
             retired_at = CASE $8::boolean WHEN true THEN coalesce(retired_at, now()) WHEN false THEN NULL ELSE retired_at END
         WHERE id = $1",
        &[
            &id,
            &name,
            &change.kind.unwrap_or(before.kind).as_str(),
            &group_id,
            &min,
            &max,
            &note.as_deref().and_then(some),
            &change.is_retired,
        ],
    )?;
    if change.is_retired == Some(true) && before.retired_at.is_none() {
        fitting::end_now(client, id)?;
    }
    asset::by_id(client, id)
}
