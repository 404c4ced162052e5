//! Who may change what, and the note of who did.

use postgres::GenericClient;
use serde_json::Value;

use super::super::access::Viewer;
use super::super::refusal::Refusal;
use crate::imei::Imei;
use crate::store::StoreError;
use crate::store::asset::{self, Asset};
use crate::store::audit;

/// The asset, where it is seen; one that is not seen is not there.
pub(super) fn seen(
    client: &mut impl GenericClient,
    viewer: &Viewer,
    id: i32,
) -> Result<Asset, Refusal> {
    match asset::by_id(client, id) {
        Ok(asset) if viewer.sees(asset.group_id) => Ok(asset),
        Ok(_) | Err(StoreError::Missing(_)) => Err(no_asset(id)),
        Err(error) => Err(error.into()),
    }
}

/// The asset, where it may be changed.
pub(super) fn managed(
    client: &mut impl GenericClient,
    viewer: &Viewer,
    id: i32,
) -> Result<Asset, Refusal> {
    let asset = seen(client, viewer, id)?;
    may_manage(viewer, asset.group_id)?;
    Ok(asset)
}

/// A group that is seen may be changed.
pub(super) fn may_manage(viewer: &Viewer, group: i32) -> Result<(), Refusal> {
    if viewer.manages(group) {
        return Ok(());
    }
    if viewer.sees(group) {
        return Err(Refusal::forbidden(
            "you may look at this group and not change it; its managers may",
        ));
    }
    Err(no_group(group))
}

pub(super) fn no_asset(id: i32) -> Refusal {
    Refusal::not_found(format!(
        "there is no asset {id}, or not in your groups; /api/v1/assets lists them"
    ))
}

pub(super) fn no_group(id: i32) -> Refusal {
    Refusal::not_found(format!(
        "there is no group {id}, or you do not belong to it; /api/v1/groups lists yours"
    ))
}

pub(super) fn no_device(imei: &str) -> Refusal {
    Refusal::not_found(format!(
        "there is no device {imei:?}, or it is in no asset of your groups; /api/v1/devices lists them"
    ))
}

/// An IMEI in the path; what is none names no device.
pub(super) fn imei(text: &str) -> Result<Imei, Refusal> {
    text.parse().map_err(|_| no_device(text))
}

/// An IMEI in a field.
pub(super) fn imei_field(name: &'static str, text: &str) -> Result<Imei, Refusal> {
    text.trim()
        .parse()
        .map_err(|error| Refusal::field(name, format!("{text:?}: {error}")))
}

/// Notes what was done, in the transaction that does it.
pub(super) fn note(
    client: &mut impl GenericClient,
    viewer: &Viewer,
    action: &str,
    what: &Value,
) -> Result<(), StoreError> {
    audit::note(client, &viewer.who(), action, what)
}
