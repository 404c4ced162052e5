//! Many devices at once, with the assets that they are in and their groups: all of them or none.
//!
//! Knows no file. What cannot be done is told for every entry, not for the first alone.

use postgres::GenericClient;

use super::asset;
use super::asset_change::{self, AssetChange};
use super::device::{self, DeviceChange, Imported};
use super::error::StoreError;
use super::fitting::{self, Elsewhere};
use super::group;
use crate::imei::Imei;

/// One device as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which.
    pub imei: Imei,
    /// What is known of it.
    pub change: DeviceChange,
    /// Name or number of the asset that it shall be in; `None`: where it is.
    pub asset: Option<String>,
    /// Name or number of the group that its asset shall be in; `None`: where it is.
    pub group: Option<String>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// These entries, by their place from 0, and why.
    #[error("{} of the entries cannot be taken", .0.len())]
    Entries(Vec<(usize, String)>),
    /// The database did not answer, or refused everything.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<postgres::Error> for SheetError {
    fn from(error: postgres::Error) -> SheetError {
        SheetError::Store(error.into())
    }
}

/// Adds and changes devices in one transaction.
///
/// An asset that is named and not there yet comes into being: the device's own asset gets the name where nobody has used it otherwise.
///
/// # Errors
/// `Entries` with everything that is wrong; nothing is changed then.
pub fn import(client: &mut impl GenericClient, entries: &[Entry]) -> Result<Imported, SheetError> {
    let mut transaction = client.transaction()?;
    let mut imported = Imported::default();
    let mut wrong = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let mut outcome = device::import_one(&mut transaction, entry.imei, &entry.change)?;
        if entry.asset.is_some() || entry.group.is_some() {
            // What fails is taken back, and the next one is looked at.
            let mut attempt = transaction.transaction()?;
            match place_in(&mut attempt, entry) {
                Ok(is_changed) => {
                    attempt.commit()?;
                    outcome = outcome.or_changed(is_changed);
                }
                Err(StoreError::Database(error)) => return Err(error.into()),
                Err(error) => {
                    attempt.rollback()?;
                    wrong.push((place, error.to_string()));
                }
            }
        }
        imported.count(outcome);
    }
    if wrong.is_empty() {
        transaction.commit()?;
        Ok(imported)
    } else {
        Err(SheetError::Entries(wrong))
    }
}

/// Puts the device into its asset, and that into its group; whether anything changed.
fn place_in(client: &mut impl GenericClient, entry: &Entry) -> Result<bool, StoreError> {
    fitting::alone(client)?;
    let row = device::row(client, entry.imei)?;
    let Some(device) = row else {
        return Ok(false);
    };
    let present = asset::of_device(client, device.id)?;
    let mut is_changed = false;
    let mut placed = present
        .as_ref()
        .map(|present| (present.id, present.group_id));
    if let Some(wanted) = &entry.asset
        && present
            .as_ref()
            .is_none_or(|present| present.name != *wanted)
    {
        let named = AssetChange {
            name: Some(wanted.clone()),
            ..AssetChange::default()
        };
        let target = match asset::find(client, wanted) {
            Ok(found) => Some(found),
            Err(StoreError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        placed = Some(match (target, &present) {
            (Some(found), Some(present)) if found.id == present.id => (found.id, found.group_id),
            (Some(found), _) => {
                if let Some((_, other)) = found.device {
                    return Err(StoreError::Taken(format!(
                        "device {other} is in asset {} ({:?}): `trackport device replace {other} {}` puts this one in its place",
                        found.id, found.name, entry.imei
                    )));
                }
                is_changed = true;
                fitting::fit(client, found.id, entry.imei, None, Elsewhere::FromOwn)?;
                (found.id, found.group_id)
            }
            (None, Some(present)) if fitting::is_own(client, present, device.id)? => {
                is_changed = true;
                let asset = asset_change::set(client, present.id, &named)?;
                (asset.id, asset.group_id)
            }
            (None, _) => {
                is_changed = true;
                let asset = asset_change::add(client, &named)?;
                fitting::fit(client, asset.id, entry.imei, None, Elsewhere::FromOwn)?;
                (asset.id, asset.group_id)
            }
        });
    }
    if let Some(wanted) = &entry.group {
        let group = group::find(client, wanted)?;
        let Some((asset, before)) = placed else {
            return Err(StoreError::Taken(format!(
                "device {} is in no asset, and assets have groups: name one in column asset, or accept the device",
                entry.imei
            )));
        };
        if before != group.id {
            is_changed = true;
            let change = AssetChange {
                group_id: Some(group.id),
                ..AssetChange::default()
            };
            asset_change::set(client, asset, &change)?;
        }
    }
    Ok(is_changed)
}
