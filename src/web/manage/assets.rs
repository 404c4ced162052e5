//! `/api/v1/assets`: what is tracked.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postgres::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::{Asked, Named, Page, Paged, Sent, nullable};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::{time, time_or_null};
use super::rights;
use crate::store::asset::{self, Kind};
use crate::store::asset_change::{self, AssetChange};
use crate::store::asset_list::{self, Listed, STATES, Wanted};
use crate::store::fitting::{self, Fitting};
use crate::store::group;

#[derive(Deserialize)]
pub(super) struct Filter {
    search: Option<String>,
    group: Option<i32>,
    state: Option<String>,
    kind: Option<String>,
    retired: Option<bool>,
    sort: Option<String>,
    #[serde(flatten)]
    page: Page,
}

/// An asset as it is sent; what is absent stays.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    kind: Option<String>,
    group: Option<i32>,
    #[serde(default, deserialize_with = "nullable")]
    temperature_min: Option<Option<f32>>,
    #[serde(default, deserialize_with = "nullable")]
    temperature_max: Option<Option<f32>>,
    #[serde(default, deserialize_with = "nullable")]
    note: Option<Option<String>>,
    retired: Option<bool>,
}

impl Change {
    fn read(self) -> Result<AssetChange, Refusal> {
        let kind = self.kind.as_deref().map(str::parse::<Kind>).transpose();
        Ok(AssetChange {
            name: self.name,
            kind: kind.map_err(|text| Refusal::field("kind", text))?,
            group_id: self.group,
            temperature_min: self.temperature_min,
            temperature_max: self.temperature_max,
            note: self.note.map(Option::unwrap_or_default),
            is_retired: self.retired,
        })
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Paged<Value>>, Refusal> {
    let slice = filter.page.slice()?;
    let is_in = |value: &Option<String>, known: &[&str]| {
        value.as_deref().is_none_or(|value| known.contains(&value))
    };
    let state = filter.state.filter(|state| !state.is_empty());
    let kind = filter.kind.filter(|kind| !kind.is_empty());
    if !is_in(&state, &STATES) {
        let text = format!("there are {}", STATES.join(", "));
        return Err(Refusal::field("state", text));
    }
    if !is_in(&kind, &Kind::ALL.map(Kind::as_str)) {
        let text = format!("there are {}", Kind::ALL.map(Kind::as_str).join(", "));
        return Err(Refusal::field("kind", text));
    }
    let groups = match filter.group {
        Some(group) if viewer.sees(group) => Some(vec![group]),
        Some(group) => return Err(rights::no_group(group)),
        None => viewer.group_ids(),
    };
    let wanted = Wanted {
        groups,
        search: filter.search.filter(|search| !search.is_empty()),
        state,
        kind,
        is_retired: filter.retired.unwrap_or(false),
        id: None,
        sort: filter
            .sort
            .filter(|sort| !sort.is_empty())
            .unwrap_or_else(|| "name".to_owned()),
    };
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        asset_list::list(client, &wanted, slice.offset(), slice.limit())
    });
    let (items, total) = found.await?;
    Ok(Json(slice.of(items.iter().map(listed).collect(), total)))
}

fn listed(one: &Listed) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "group": one.group,
        "device": one.device,
        "imei": one.imei,
        "model": one.model,
        "state": one.state,
        "flags": one.flags,
        "time": time_or_null(one.time),
        "temperature_min": one.temperature_min,
        "temperature_max": one.temperature_max,
        "note": one.note,
        "retired_at": time_or_null(one.retired_at),
    })
}

/// One asset with everything; whether it is seen was asked before.
fn whole(client: &mut Client, id: i32) -> Result<Value, Refusal> {
    let wanted = Wanted {
        id: Some(id),
        sort: "id".to_owned(),
        ..Wanted::default()
    };
    let (found, _) = asset_list::list(client, &wanted, 0, 1)?;
    let one = found.first().ok_or_else(|| rights::no_asset(id))?;
    let asset = asset::by_id(client, id)?;
    let fittings = fitting::of_asset(client, id)?;
    let mut value = listed(one);
    value["group_name"] = asset.group.into();
    value["created_at"] = time(asset.created_at).into();
    value["limits"] = json!({"temperature_min": asset.limits.0, "temperature_max": asset.limits.1});
    value["fittings"] = fittings.iter().map(fitting_json).collect();
    Ok(value)
}

pub(super) fn fitting_json(fitting: &Fitting) -> Value {
    json!({
        "id": fitting.id,
        "asset": fitting.asset_id,
        "device": fitting.device_id,
        "imei": fitting.imei.to_string(),
        "fitted_at": time_or_null(fitting.fitted_at),
        "removed_at": time_or_null(fitting.removed_at),
    })
}

pub(super) async fn show(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
) -> Result<Json<Value>, Refusal> {
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        rights::seen(client, &viewer, id)?;
        whole(client, id)
    });
    Ok(Json(found.await?))
}

pub(super) async fn add(
    State(shared): State<Shared>,
    viewer: Viewer,
    Sent(sent): Sent<Change>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let group = match (sent.group, viewer.group_ids()) {
        (Some(group), _) => group,
        (None, None) => group::FIRST,
        (None, Some(groups)) if groups.len() == 1 => groups[0],
        (None, Some(_)) => {
            return Err(Refusal::field(
                "group",
                "say into which of your groups it comes",
            ));
        }
    };
    rights::may_manage(&viewer, group)?;
    if sent.name.is_none() {
        return Err(Refusal::field("name", "an asset needs a name"));
    }
    let mut change = sent.read()?;
    change.group_id = Some(group);
    let made = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let asset = asset_change::add(&mut transaction, &change)?;
        let what = json!({"asset": asset.id, "name": asset.name, "group": asset.group_id});
        rights::note(&mut transaction, &viewer, "asset_added", &what)?;
        transaction.commit()?;
        whole(client, asset.id)
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

pub(super) async fn set(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
    Sent(sent): Sent<Change>,
) -> Result<Json<Value>, Refusal> {
    let changed = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let before = rights::managed(&mut transaction, &viewer, id)?;
        if let Some(group) = sent.group {
            rights::may_manage(&viewer, group)?;
        }
        let change = sent.read()?;
        let after = asset_change::set(&mut transaction, id, &change)?;
        if before != after {
            let what = json!({
                "asset": id,
                "name": after.name,
                "before": told(&before),
                "after": told(&after),
            });
            rights::note(&mut transaction, &viewer, "asset_changed", &what)?;
        }
        transaction.commit()?;
        whole(client, id)
    });
    Ok(Json(changed.await?))
}

/// What of an asset can be changed.
fn told(asset: &asset::Asset) -> Value {
    json!({
        "name": asset.name,
        "kind": asset.kind.as_str(),
        "group": asset.group_id,
        "temperature_min": asset.temperature_min,
        "temperature_max": asset.temperature_max,
        "note": asset.note,
        "retired_at": time_or_null(asset.retired_at),
        "imei": asset.device.map(|(_, imei)| imei.to_string()),
    })
}
