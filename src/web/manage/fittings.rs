//! `/api/v1/assets/{id}/fittings` and `/api/v1/fittings/{id}`: which device is in which asset.
//!
//! Whoever is no administrator of the server moves devices within the groups that they manage, and shows themselves nothing of a
//! device that was elsewhere: a device has to be in one of their assets before, and an end is only moved to earlier.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postgres::{Client, GenericClient};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::{Named, Sent, nullable};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::time_or_null;
use super::assets::fitting_json;
use super::rights;
use crate::imei::Imei;
use crate::store::StoreError;
use crate::store::asset;
use crate::store::device;
use crate::store::fitting::{self, Elsewhere};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFitting {
    imei: String,
    fitted_at: Option<String>,
    /// Take it out of where it is and has recorded.
    #[serde(default, rename = "move")]
    moved: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    #[serde(default, deserialize_with = "nullable")]
    removed_at: Option<Option<String>>,
}

/// A time in a field: RFC 3339, between the years 1970 and 9999.
pub(super) fn moment(name: &'static str, text: &str) -> Result<SystemTime, Refusal> {
    let read = text.trim().parse::<jiff::Timestamp>().ok();
    read.filter(|at| at.as_second() >= 0)
        .map(SystemTime::from)
        .ok_or_else(|| {
            Refusal::field(
                name,
                format!(
                    "{text:?} is no time with its zone; write for example 2026-11-24T08:30:00Z"
                ),
            )
        })
}

/// The number of the device, where whoever asks may move it.
pub(super) fn movable(
    client: &mut impl GenericClient,
    viewer: &Viewer,
    imei: Imei,
) -> Result<i32, Refusal> {
    let device = device::row(client, imei)?.ok_or_else(|| rights::no_device(&imei.to_string()))?;
    if !viewer.is_admin {
        let place = asset::of_device(client, device.id)?;
        match place {
            Some(place) if viewer.sees(place.group_id) => {
                rights::may_manage(viewer, place.group_id)?;
            }
            _ => return Err(rights::no_device(&imei.to_string())),
        }
    }
    Ok(device.id)
}

pub(super) async fn fit(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
    Sent(sent): Sent<NewFitting>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let done = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        // Before the look at who may: what it finds holds until the end.
        fitting::alone(&mut transaction)?;
        rights::managed(&mut transaction, &viewer, id)?;
        let imei = rights::imei_field("imei", &sent.imei)?;
        let at = sent.fitted_at.as_deref();
        let at = at.map(|text| moment("fitted_at", text)).transpose()?;
        movable(&mut transaction, &viewer, imei)?;
        let elsewhere = if sent.moved {
            Elsewhere::Move
        } else {
            Elsewhere::FromOwn
        };
        let done = fitting::fit(&mut transaction, id, imei, at, elsewhere)?;
        let what = json!({
            "asset": id,
            "imei": imei.to_string(),
            "fitting": done.fitting.id,
            "fitted_at": time_or_null(done.fitting.fitted_at),
            "imei_before": done.before.map(|imei| imei.to_string()),
        });
        rights::note(&mut transaction, &viewer, "device_fitted", &what)?;
        transaction.commit()?;
        let mut value = fitting_json(&done.fitting);
        value["imei_before"] = done.before.map(|imei| imei.to_string()).into();
        Ok::<_, Refusal>(value)
    });
    Ok((StatusCode::CREATED, Json(done.await?)))
}

pub(super) async fn end(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
    Sent(sent): Sent<Ending>,
) -> Result<Json<Value>, Refusal> {
    let ended = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let no_fitting = || Refusal::not_found(format!("there is no fitting {id}, or its asset is in none of your groups"));
        let mut transaction = client.transaction()?;
        fitting::alone(&mut transaction)?;
        let before = match fitting::by_id(&mut transaction, id) {
            Err(StoreError::Missing(_)) => return Err(no_fitting()),
            before => before?,
        };
        let asset = rights::seen(&mut transaction, &viewer, before.asset_id).map_err(|refusal| match refusal.status {
            StatusCode::NOT_FOUND => no_fitting(),
            // A database that is away is no reason to say that the fitting is.
            _ => refusal,
        })?;
        rights::may_manage(&viewer, asset.group_id)?;
        let Some(removed_at) = sent.removed_at else {
            return Err(Refusal::field("removed_at", "say when it ended: a time, or null for not yet"));
        };
        let removed_at = removed_at.as_deref();
        let removed_at = removed_at.map(|text| moment("removed_at", text)).transpose()?;
        let is_longer = match (before.removed_at, removed_at) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(before), Some(after)) => after > before,
        };
        if is_longer && !viewer.is_admin {
            return Err(Refusal::forbidden(
                "only administrators of the server make a fitting longer: it shows what the device recorded elsewhere; fit it anew instead",
            ));
        }
        let after = fitting::end(&mut transaction, id, removed_at)?;
        let what = json!({
            "fitting": id,
            "asset": after.asset_id,
            "imei": after.imei.to_string(),
            "removed_at": time_or_null(after.removed_at),
            "removed_at_before": time_or_null(before.removed_at),
        });
        rights::note(&mut transaction, &viewer, "fitting_ended", &what)?;
        transaction.commit()?;
        Ok(fitting_json(&after))
    });
    Ok(Json(ended.await?))
}
