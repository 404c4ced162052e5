//! `/api/v1/devices`: trackers. Administrators of the server decide who may log in; managers change the devices in their assets.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postgres::{Client, GenericClient};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::{Asked, Named, Page, Paged, Sent, nullable};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::{time, time_or_null};
use super::fittings::{moment, movable};
use super::{rights, suggestions};
use crate::imei::Imei;
use crate::models;
use crate::store::StoreError;
use crate::store::device::{self, DeviceChange, DeviceState};
use crate::store::device_list::{self, Listed, Wanted};
use crate::store::{fitting, recompute, replace};

/// Devices that one call names at most.
const IMEIS_MAX: usize = 10_000;
/// Characters of a field.
const FIELD_CHARS_MAX: usize = 200;
/// Characters of a note.
const NOTE_CHARS_MAX: usize = 10_000;

#[derive(Deserialize)]
pub(super) struct Filter {
    state: Option<String>,
    search: Option<String>,
    group: Option<i32>,
    connected: Option<bool>,
    sort: Option<String>,
    #[serde(flatten)]
    page: Page,
}

/// A device as it is sent; what is absent stays, null takes a value away.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default, deserialize_with = "nullable")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    model: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    firmware: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    phone: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    iccid: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    note: Option<Option<String>>,
    state: Option<String>,
}

impl Change {
    fn read(self) -> Result<DeviceChange, Refusal> {
        let state = self.state.as_deref().map(state_of).transpose()?;
        Ok(DeviceChange {
            name: text("name", self.name, FIELD_CHARS_MAX)?,
            // The dictionary's way to write it, where it knows it.
            model: text("model", self.model, FIELD_CHARS_MAX)?
                .map(|model| models::known(&model).map_or(model, str::to_owned)),
            firmware: text("firmware", self.firmware, FIELD_CHARS_MAX)?,
            phone: text("phone", self.phone, FIELD_CHARS_MAX)?,
            iccid: text("iccid", self.iccid, FIELD_CHARS_MAX)?,
            note: text("note", self.note, NOTE_CHARS_MAX)?,
            state,
            attributes: None,
        })
    }
}

/// A text of a field; an empty one takes it away, as null does.
fn text(
    name: &'static str,
    sent: Option<Option<String>>,
    chars_max: usize,
) -> Result<Option<String>, Refusal> {
    let Some(sent) = sent else {
        return Ok(None);
    };
    let sent = sent.unwrap_or_default();
    if sent.contains('\0') {
        return Err(Refusal::field(name, "a zero byte is no text"));
    }
    if sent.chars().count() > chars_max {
        return Err(Refusal::field(
            name,
            format!("{chars_max} characters at most"),
        ));
    }
    Ok(Some(sent))
}

fn state_of(text: &str) -> Result<DeviceState, Refusal> {
    text.parse().map_err(|_| {
        Refusal::field(
            "state",
            format!("{text:?}: a state is accepted, refused, pending or removed"),
        )
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    imei: String,
    name: Option<String>,
    model: Option<String>,
    phone: Option<String>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    imeis: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    new: String,
    at: Option<String>,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Paged<Value>>, Refusal> {
    let slice = filter.page.slice()?;
    let state = filter.state.as_deref().filter(|state| !state.is_empty());
    let groups = match filter.group {
        Some(group) if viewer.sees(group) => Some(vec![group]),
        Some(group) => return Err(rights::no_group(group)),
        None => viewer.group_ids(),
    };
    let wanted = Wanted {
        groups,
        search: filter.search.filter(|search| !search.is_empty()),
        state: state.map(state_of).transpose()?,
        connected: filter.connected,
        imei: None,
        sort: filter
            .sort
            .filter(|sort| !sort.is_empty())
            .unwrap_or_else(|| "name".to_owned()),
    };
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let (items, total) = device_list::list(client, &wanted, slice.offset(), slice.limit())?;
        let models = suggestions::of_list(client, &items)?;
        let items = items.iter().map(|one| {
            let mut value = shown(one, &viewer);
            value["suggested_model"] = models.get(&one.id).copied().into();
            value
        });
        Ok::<_, StoreError>((items.collect(), total))
    });
    let (items, total) = found.await?;
    Ok(Json(slice.of(items, total)))
}

/// A device; addresses and refused logins are for those who run the server.
fn shown(one: &Listed, viewer: &Viewer) -> Value {
    let mut value = json!({
        "id": one.id,
        "imei": one.imei,
        "name": one.name,
        "model": one.model,
        "suggested_model": null,
        "firmware": one.firmware,
        "phone": one.phone,
        "iccid": one.iccid,
        "note": one.note,
        "state": one.state,
        "attributes": one.attributes,
        "created_at": time(one.created_at),
        "asset": one.asset.as_ref().map(|(id, name, group)| json!({"id": id, "name": name, "group": group})),
        "connected": one.connected,
        "last_login_at": time_or_null(one.last_login_at),
        "last_contact_at": time_or_null(one.last_contact_at),
        "sends_before_ack_at": time_or_null(one.sends_before_ack_at),
        "last_error": one.last_error,
    });
    if viewer.is_admin {
        value["address"] = one.address.map(|address| address.to_string()).into();
        value["port"] = one.port.into();
        value["login_attempts"] = one.login_attempts.into();
    }
    value
}

/// The device, where it is seen.
pub(super) fn seen(client: &mut Client, viewer: &Viewer, imei: &str) -> Result<Listed, Refusal> {
    let wanted = Wanted {
        groups: viewer.group_ids(),
        imei: Some(rights::imei(imei)?.to_string()),
        sort: "imei".to_owned(),
        ..Wanted::default()
    };
    let (mut found, _) = device_list::list(client, &wanted, 0, 1)?;
    found.pop().ok_or_else(|| rights::no_device(imei))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(imei): Named<String>,
) -> Result<Json<Value>, Refusal> {
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let device = seen(client, &viewer, &imei)?;
        let models = suggestions::of_device(client, &device)?;
        let mut value = shown(&device, &viewer);
        if device.model.is_none()
            && let [model] = models.as_slice()
        {
            value["suggested_model"] = (*model).into();
        }
        value["fitting_models"] = models.into();
        let fittings = fitting::of_device(client, device.id)?;
        let seen = fittings.iter().filter(|(_, _, group)| viewer.sees(*group));
        value["fittings"] = seen
            .map(|(fitting, asset, group)| {
                json!({
                    "id": fitting.id,
                    "asset": {"id": fitting.asset_id, "name": asset, "group": group},
                    "fitted_at": time_or_null(fitting.fitted_at),
                    "removed_at": time_or_null(fitting.removed_at),
                })
            })
            .collect();
        Ok::<_, Refusal>(value)
    });
    Ok(Json(found.await?))
}

pub(super) async fn add(
    State(shared): State<Shared>,
    viewer: Viewer,
    Sent(new): Sent<New>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    viewer.must_be_admin()?;
    let imei = rights::imei_field("imei", &new.imei)?;
    let change = Change {
        name: new.name.map(Some),
        model: new.model.map(Some),
        phone: new.phone.map(Some),
        note: new.note.map(Some),
        ..Change::default()
    };
    let change = change.read()?;
    let made = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        device::add(&mut transaction, imei, &change)?;
        let what = json!({"imei": imei.to_string()});
        rights::note(&mut transaction, &viewer, "device_added", &what)?;
        transaction.commit()?;
        let device = seen(client, &viewer, &imei.to_string())?;
        Ok::<_, Refusal>(shown(&device, &viewer))
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

pub(super) async fn set(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(imei): Named<String>,
    Sent(sent): Sent<Change>,
) -> Result<Json<Value>, Refusal> {
    let changed = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let before = seen(client, &viewer, &imei)?;
        let imei = rights::imei(&imei)?;
        if !viewer.is_admin {
            let group = before.asset.as_ref().map_or(0, |(_, _, group)| *group);
            rights::may_manage(&viewer, group)?;
            if sent
                .state
                .as_deref()
                .is_some_and(|state| state != before.state)
            {
                return Err(Refusal::forbidden(
                    "only administrators of the server decide who may log in",
                ));
            }
        }
        let change = sent.read()?;
        let mut transaction = client.transaction()?;
        device::set(&mut transaction, imei, &change)?;
        let what = json!({"imei": imei.to_string(), "change": told(&change)});
        rights::note(&mut transaction, &viewer, "device_changed", &what)?;
        transaction.commit()?;
        let after = seen(client, &viewer, &imei.to_string())?;
        Ok(shown(&after, &viewer))
    });
    Ok(Json(changed.await?))
}

/// The fields that a change has.
fn told(change: &DeviceChange) -> Value {
    let mut fields = serde_json::Map::new();
    for (name, value) in [
        ("name", &change.name),
        ("model", &change.model),
        ("firmware", &change.firmware),
        ("phone", &change.phone),
        ("iccid", &change.iccid),
        ("note", &change.note),
    ] {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.clone().into());
        }
    }
    if let Some(state) = change.state {
        fields.insert("state".to_owned(), state.as_str().into());
    }
    fields.into()
}

pub(super) async fn accept(
    State(shared): State<Shared>,
    viewer: Viewer,
    Sent(sent): Sent<Accepted>,
) -> Result<Json<Value>, Refusal> {
    viewer.must_be_admin()?;
    let imeis = match (sent.imeis, sent.all) {
        (Some(imeis), false) => {
            if imeis.is_empty() || imeis.len() > IMEIS_MAX {
                let text = format!("name 1 to {IMEIS_MAX} devices, or say \"all\": true");
                return Err(Refusal::field("imeis", text));
            }
            let read = imeis.iter().map(|imei| rights::imei_field("imeis", imei));
            Some(read.collect::<Result<Vec<Imei>, Refusal>>()?)
        }
        (None, true) => None,
        _ => {
            return Err(Refusal::field(
                "imeis",
                "name devices in \"imeis\", or say \"all\": true; one of the two",
            ));
        }
    };
    let accepted = shared.desk.ask(Pool::Slow, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let accepted = match imeis {
            None => device::accept_waiting(&mut transaction)?,
            Some(imeis) => accept_these(&mut transaction, &imeis)?,
        };
        if !accepted.is_empty() {
            let what = json!({"imeis": accepted});
            rights::note(&mut transaction, &viewer, "device_accepted", &what)?;
        }
        transaction.commit()?;
        Ok::<_, StoreError>(accepted)
    });
    Ok(Json(json!({"accepted": accepted.await?})))
}

fn accept_these(
    client: &mut impl GenericClient,
    imeis: &[Imei],
) -> Result<Vec<String>, StoreError> {
    imeis
        .iter()
        .map(|imei| device::accept(client, *imei).map(|device| device.imei.to_string()))
        .collect()
}

pub(super) async fn replace(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(old): Named<String>,
    Sent(sent): Sent<Replacement>,
) -> Result<Json<Value>, Refusal> {
    let replaced = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let old = rights::imei(&old)?;
        movable(&mut transaction, &viewer, old)?;
        let new = rights::imei_field("new", &sent.new)?;
        let at = sent.at.as_deref();
        let at = at.map(|text| moment("at", text)).transpose()?;
        if !viewer.is_admin {
            // Who has not been let in yet is let in by administrators.
            movable(&mut transaction, &viewer, new).map_err(|refusal| match refusal.status {
                StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Refusal::forbidden(format!(
                    "{}; an administrator of the server puts it into one of your groups first",
                    refusal.text
                )),
                _ => refusal,
            })?;
        }
        let done = replace::replace(&mut transaction, old, new, at)?;
        let what = json!({
            "asset": done.asset.id,
            "old": old.to_string(),
            "new": new.to_string(),
            "fitted_at": time_or_null(done.fitting.fitted_at),
            "let_in": done.is_let_in,
        });
        rights::note(&mut transaction, &viewer, "device_replaced", &what)?;
        transaction.commit()?;
        let offered: serde_json::Map<String, Value> = done
            .offered()
            .into_iter()
            .map(|(field, value)| (field.to_owned(), value.into()))
            .collect();
        Ok::<_, Refusal>(json!({
            "asset": {"id": done.asset.id, "name": done.asset.name, "group": done.asset.group_id},
            "old": old.to_string(),
            "new": new.to_string(),
            "fitting": super::assets::fitting_json(&done.fitting),
            "let_in": done.is_let_in,
            "offered": offered,
        }))
    });
    Ok(Json(replaced.await?))
}

pub(super) async fn recomputed(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(imei): Named<String>,
) -> Result<Json<Value>, Refusal> {
    let progress = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let device = seen(client, &viewer, &imei)?;
        let progress = recompute::progress(client, rights::imei(&device.imei)?)?;
        Ok::<_, Refusal>(progress.map_or_else(
            || json!({"state": "none"}),
            |one| {
                let state = match (one.started_at, one.finished_at) {
                    (_, Some(_)) => "finished",
                    (Some(_), None) => "running",
                    (None, None) => "waiting",
                };
                json!({
                    "state": state,
                    "model": one.model,
                    "requested_at": time(one.requested_at),
                    "started_at": time_or_null(one.started_at),
                    "finished_at": time_or_null(one.finished_at),
                    "n_done": one.n_done,
                    "n_changed": one.n_changed,
                    "n_total": one.n_total,
                })
            },
        ))
    });
    Ok(Json(progress.await?))
}
