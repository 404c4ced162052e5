//! `/api/v1/assets/{id}/records` and `/api/v1/devices/{imei}/records`: single records with everything in them, the newest first.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use postgres::Client;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::rfc3339;
use super::question::{self, Asked};
use super::{Number, about_asset, json, response};
use crate::clock;
use crate::imei::Imei;
use crate::protocol::hex;
use crate::protocol::teltonika::{Codec, Io, IoValue};
use crate::store::reading::{Said, Senses};
use crate::store::series::{self, Listed, Span, Subject, TYPED};

/// Without `limit`, and at most.
const LIMIT: (i64, i64) = (50, 1_000);
/// A device whose clock is ahead has records in the future.
const AHEAD_US: i64 = 100 * 365 * 86_400_000_000;

/// The answer.
#[derive(Serialize)]
struct Answer {
    items: Vec<Item>,
    /// What `before` is for those that follow; `null`: there are no more.
    before: Option<String>,
}

#[derive(Serialize)]
struct Item {
    time: String,
    received_at: Option<String>,
    fix: Option<bool>,
    longitude: f64,
    latitude: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    altitude_m: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    angle_deg: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satellites: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_kmh: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<i32>,
    events: Vec<String>,
    sensor_faults: Vec<String>,
    /// Typed columns that have a value.
    typed: Map<String, Value>,
    io: Vec<Element>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

#[derive(Serialize)]
struct Element {
    avl_id: u16,
    name: Option<&'static str>,
    /// Unsigned, as sent; as text where a browser's numbers would not hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// Hexadecimal, where the length is variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

pub(super) async fn of_asset(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let id = question::id(&id)?;
    let (span, limit) = (span(&asked)?, limit(&asked)?);
    about_asset(
        &shared,
        viewer,
        id,
        span,
        Pool::Quick,
        move |client, subject| read(client, subject, limit),
    )
    .await
}

pub(super) async fn of_device(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(imei): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let unknown =
        || Refusal::not_found(format!("there is no device {imei}, or you may not see it"));
    let number: Imei = imei.parse().map_err(|_| unknown())?;
    let (span, limit) = (span(&asked)?, limit(&asked)?);
    // Of a device by itself only those see anything who keep the assets that it is or was in.
    let groups = viewer.group_ids().map(|ids| {
        let managed = ids.into_iter().filter(|group| viewer.manages(*group));
        managed.collect::<Vec<i32>>()
    });
    let is_admin = viewer.is_admin;
    let answer = shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                let subject = series::device(client, number, span, groups.as_deref())?;
                let subject = subject.filter(|subject| is_admin || !subject.windows.is_empty());
                subject
                    .map(|subject| json(&read(client, &subject, limit)?))
                    .transpose()
            },
        )
        .await?;
    answer.map(response).ok_or_else(unknown)
}

/// All that is older than `before`.
fn span(asked: &Asked) -> Result<Span, Refusal> {
    let until_us = match &asked.before {
        Some(text) => question::time("before", text)?,
        None => clock::wall_us().saturating_add(AHEAD_US),
    };
    Ok(Span {
        // The first year of the calendar that the database and this program both have.
        from_us: -62_135_596_800_000_000,
        until_us,
    })
}

fn limit(asked: &Asked) -> Result<i64, Refusal> {
    let Some(text) = &asked.limit else {
        return Ok(LIMIT.0);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=LIMIT.1).contains(limit))
        .ok_or_else(|| {
            Refusal::field(
                "limit",
                format!("{text:?} is no number from 1 to {}", LIMIT.1),
            )
        })
}

fn read(client: &mut Client, subject: &Subject, limit: i64) -> Result<Answer, Refusal> {
    let mut items = Vec::new();
    let mut oldest_us = None;
    // The newest fitting first.
    for window in subject.windows.iter().rev() {
        let left = limit.saturating_sub(i64::try_from(items.len()).unwrap_or(limit));
        if left <= 0 {
            break;
        }
        let mut senses = Senses::new(window.model.as_deref());
        for listed in series::newest(client, window, left)? {
            oldest_us = Some(listed.time_us);
            items.push(item(listed, &mut senses));
        }
    }
    let is_full = i64::try_from(items.len()).unwrap_or(limit) >= limit;
    Ok(Answer {
        // To the microsecond: what is left out here would be asked for again and again.
        before: oldest_us.filter(|_| is_full).map(exact),
        items,
    })
}

fn exact(us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(us);
    time.map_or_else(|_| us.to_string(), |time| time.to_string())
}

fn item(listed: Listed, senses: &mut Senses) -> Item {
    let typed = TYPED.iter().zip(&listed.typed);
    let typed = typed.filter_map(|(typed, value)| {
        let value = (value.as_ref()? * 1e4).round() / 1e4;
        Some((
            typed.key.to_owned(),
            serde_json::to_value(Number(value)).ok()?,
        ))
    });
    Item {
        time: rfc3339(listed.time_us),
        received_at: listed.received_at_us.map(rfc3339),
        fix: listed.fix,
        longitude: listed.longitude,
        latitude: listed.latitude,
        altitude_m: listed.altitude_m,
        angle_deg: listed.angle_deg,
        satellites: listed.satellites,
        speed_kmh: listed.speed_kmh,
        priority: listed.priority,
        event_id: listed.event_id,
        typed: typed.collect(),
        codec: listed.io.as_ref().map(|(codec, _)| *codec),
        io: listed
            .io
            .as_ref()
            .map(|(codec, bytes)| elements(*codec, bytes, senses))
            .unwrap_or_default(),
        events: listed.events,
        sensor_faults: listed.sensor_faults,
        source: listed.source,
    }
}

fn elements(codec: i16, bytes: &[u8], senses: &mut Senses) -> Vec<Element> {
    let Some(codec) = u8::try_from(codec).ok().and_then(Codec::from_id) else {
        return Vec::new();
    };
    let elements = Io { codec, bytes }.elements();
    elements
        .map(|element| match element.value {
            IoValue::Fixed { width, raw } => {
                let sense = senses.of(element.id, width);
                let said = sense.map(|sense| sense.say(width, raw));
                Element {
                    avl_id: element.id,
                    name: sense.map(|sense| sense.name),
                    raw: Some(whole(raw)),
                    value: match said {
                        Some(Said::Value(value)) => Some(Number(value)),
                        _ => None,
                    },
                    unit: sense.and_then(|sense| sense.unit),
                    error: match said {
                        Some(Said::Error(text)) => Some(text),
                        _ => None,
                    },
                    bytes: None,
                }
            }
            IoValue::Bytes(bytes) => Element {
                avl_id: element.id,
                name: senses.of(element.id, 0).map(|sense| sense.name),
                raw: None,
                value: None,
                unit: None,
                error: None,
                bytes: Some(hex::encode(bytes)),
            },
        })
        .collect()
}

fn whole(raw: u64) -> Value {
    if raw <= 1 << 53 {
        raw.into()
    } else {
        raw.to_string().into()
    }
}
