//! One tracker in place of another: the asset and its past stay, the device in it changes.
//!
//! Knows what fitting does; decides only what a replacement means beyond it.

use std::time::SystemTime;

use postgres::GenericClient;

use super::asset::{self, Asset};
use super::device::{Device, DeviceState, row};
use super::error::StoreError;
use super::fitting::{self, Elsewhere, Fitted, Fitting};
use crate::imei::Imei;

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Replaced {
    /// What is tracked, with the new device in it.
    pub asset: Asset,
    /// The device that was in it.
    pub old: Device,
    /// The device that is in it now.
    pub new: Device,
    /// The new device's fitting.
    pub fitting: Fitting,
    /// The new device was not known, or not accepted, before.
    pub is_let_in: bool,
    /// Name of the new device's own asset, which is gone.
    pub gone: Option<String>,
    /// The asset in which the new device was before, without having recorded anything.
    pub left: Option<Asset>,
}

impl Replaced {
    /// What the old device has and the new one lacks, as field and value. It may hold for the new one as well: a SIM card is often put
    /// over, a model is often the same. Nobody but a person knows.
    pub fn offered(&self) -> Vec<(&'static str, &str)> {
        [
            ("name", &self.old.name, &self.new.name),
            ("model", &self.old.model, &self.new.model),
            ("phone", &self.old.phone, &self.new.phone),
            ("iccid", &self.old.iccid, &self.new.iccid),
        ]
        .into_iter()
        .filter(|(_, _, new)| new.is_none())
        .filter_map(|(field, old, _)| old.as_deref().map(|old| (field, old)))
        .collect()
    }
}

/// Fits `new` to the asset in which `old` is, from `at` on or from now on, in one transaction. A new device that nobody has added, or
/// that waits for a decision, is let in.
///
/// # Errors
/// `Missing` where there is no old device; `Taken` where the old one is in no asset, the new one is refused or removed, or is in
/// another asset and has recorded there; `Invalid` where the time lies ahead.
pub fn replace(
    client: &mut impl GenericClient,
    old: Imei,
    new: Imei,
    at: Option<SystemTime>,
) -> Result<Replaced, StoreError> {
    if old == new {
        return Err(StoreError::Taken(format!(
            "{old} would replace itself: name the new device second"
        )));
    }
    let mut transaction = client.transaction()?;
    let missing = || {
        StoreError::Missing(format!(
            "there is no device {old}: `trackport device list` shows them"
        ))
    };
    let old_device = row(&mut transaction, old)?.ok_or_else(missing)?;
    let is_let_in = let_in(&mut transaction, new)?;
    fitting::alone(&mut transaction)?;
    let asset = asset::of_device(&mut transaction, old_device.id)?.ok_or_else(|| {
        StoreError::Taken(format!(
            "device {old} is in no asset, so there is nothing to take over: `trackport asset fit ASSET {new}` fits the new one"
        ))
    })?;
    let new_device = row(&mut transaction, new)?
        .ok_or_else(|| StoreError::Missing(format!("there is no device {new} any more")))?;
    let fitted = Fitted {
        id: new_device.id,
        imei: new,
    };
    let done = fitting::fit_in(&mut transaction, asset.id, fitted, at, Elsewhere::Refuse)?;
    let asset = asset::by_id(&mut transaction, asset.id)?;
    transaction.commit()?;
    Ok(Replaced {
        asset,
        old: old_device,
        new: new_device,
        fitting: done.fitting,
        is_let_in,
        gone: done.gone,
        left: done.left,
    })
}

/// Lets the new device in where nobody has decided against it; whether that was necessary.
fn let_in(client: &mut impl GenericClient, new: Imei) -> Result<bool, StoreError> {
    match row(client, new)?.map(|device| device.state) {
        Some(DeviceState::Accepted) => Ok(false),
        Some(DeviceState::Pending) | None => {
            client.execute(
                "INSERT INTO trackport.device AS d (imei) VALUES ($1)
                 ON CONFLICT (imei) DO UPDATE SET state = 'accepted'",
                &[&new.to_string()],
            )?;
            Ok(true)
        }
        Some(state) => Err(StoreError::Taken(format!(
            "device {new} is {state}: `trackport device accept {new}` lets it in, then try again"
        ))),
    }
}
