//! `/api/v1/groups`: the unit of customers, with the parameters of their reports. Who belongs to them is `access/`.

use std::time::Duration;

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
use super::super::times::time;
use super::rights;
use crate::conf::{parse_duration, show_duration};
use crate::store::StoreError;
use crate::store::group::{self, Group, GroupChange};

/// A group as it is sent; what is absent stays. Spans of time as in the conf file: `"5 min"`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    time_zone: Option<String>,
    trip_by: Option<String>,
    trip_speed_kmh: Option<i32>,
    stop_min: Option<String>,
    trip_min_m: Option<i32>,
    gap_max: Option<String>,
    believable_kmh: Option<i32>,
    #[serde(default, deserialize_with = "nullable")]
    temperature_min: Option<Option<f32>>,
    #[serde(default, deserialize_with = "nullable")]
    temperature_max: Option<Option<f32>>,
    excursion_min: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    note: Option<Option<String>>,
}

fn span(field: &'static str, text: Option<&str>) -> Result<Option<Duration>, Refusal> {
    let read = text.map(parse_duration).transpose();
    read.map_err(|error| Refusal::field(field, error.to_string()))
}

impl Change {
    fn read(self) -> Result<GroupChange, Refusal> {
        Ok(GroupChange {
            stop_min: span("stop_min", self.stop_min.as_deref())?,
            gap_max: span("gap_max", self.gap_max.as_deref())?,
            excursion_min: span("excursion_min", self.excursion_min.as_deref())?,
            name: self.name,
            time_zone: self.time_zone,
            trip_by: self.trip_by,
            trip_speed_kmh: self.trip_speed_kmh,
            trip_min_m: self.trip_min_m,
            believable_kmh: self.believable_kmh,
            temperature_min: self.temperature_min,
            temperature_max: self.temperature_max,
            note: self.note.map(Option::unwrap_or_default),
        })
    }
}

fn shown(group: &Group) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "time_zone": group.time_zone,
        "trip_by": group.trip_by,
        "trip_speed_kmh": group.trip_speed_kmh,
        "stop_min": show_duration(group.stop_min),
        "trip_min_m": group.trip_min_m,
        "gap_max": show_duration(group.gap_max),
        "believable_kmh": group.believable_kmh,
        "temperature_min": group.temperature_min,
        "temperature_max": group.temperature_max,
        "excursion_min": show_duration(group.excursion_min),
        "note": group.note,
        "created_at": time(group.created_at),
        "n_assets": group.n_assets,
    })
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(page): Asked<Page>,
) -> Result<Json<Paged<Value>>, Refusal> {
    let slice = page.slice()?;
    let ids = viewer.group_ids();
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        group::list(client, ids.as_deref())
    });
    let groups: Vec<Value> = found.await?.iter().map(shown).collect();
    Ok(Json(slice.part(groups)))
}

pub(super) async fn add(
    State(shared): State<Shared>,
    viewer: Viewer,
    Sent(sent): Sent<Change>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    viewer.must_be_admin()?;
    let change = sent.read()?;
    let made = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let group = group::add(&mut transaction, &change)?;
        let what = json!({"group": group.id, "name": group.name});
        rights::note(&mut transaction, &viewer, "group_added", &what)?;
        transaction.commit()?;
        Ok::<_, StoreError>(group)
    });
    Ok((StatusCode::CREATED, Json(shown(&made.await?))))
}

pub(super) async fn set(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
    Sent(sent): Sent<Change>,
) -> Result<Json<Value>, Refusal> {
    rights::may_manage(&viewer, id)?;
    let change = sent.read()?;
    let changed = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let before = group::by_id(&mut transaction, id)?;
        let after = group::set(&mut transaction, id, &change)?;
        if before != after {
            let what = json!({"group": id, "before": shown(&before), "after": shown(&after)});
            rights::note(&mut transaction, &viewer, "group_changed", &what)?;
        }
        transaction.commit()?;
        Ok::<_, StoreError>(after)
    });
    Ok(Json(shown(&changed.await?)))
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
) -> Result<StatusCode, Refusal> {
    viewer.must_be_admin()?;
    let removed = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let group = group::remove(&mut transaction, id)?;
        let what = json!({"group": id, "name": group.name});
        rights::note(&mut transaction, &viewer, "group_removed", &what)?;
        transaction.commit()?;
        Ok::<_, StoreError>(())
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}
