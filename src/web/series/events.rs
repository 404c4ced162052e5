//! `/api/v1/assets/{id}/events`: what happened: events that the device reported, and doors and ignition as they changed.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use postgres::Client;
use serde::Serialize;

use super::super::access::Viewer;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::rfc3339;
use super::about_asset;
use super::question::{self, Asked};
use crate::store::series::{
    self, DOOR, EVENTS, FIX, IGNITION, LATITUDE, LONGITUDE, SPEED, Subject,
};
use crate::store::typed::Event;

/// Events that are told at most: the first of the span.
const EVENTS_MAX: usize = 10_000;

/// The words of the bits, those of `trackport.event_names`.
const NAMES: [(Event, &str); 13] = [
    (Event::Towing, "towing"),
    (Event::Crash, "crash"),
    (Event::CrashTrace, "crash_trace"),
    (Event::Shock, "shock"),
    (Event::Unplug, "unplug"),
    (Event::HarshAcceleration, "harsh_acceleration"),
    (Event::HarshBraking, "harsh_braking"),
    (Event::HarshCornering, "harsh_cornering"),
    (Event::Jamming, "jamming"),
    (Event::BatteryUnplug, "battery_unplug"),
    (Event::Fall, "fall"),
    (Event::Overspeed, "overspeed"),
    (Event::AlarmButton, "alarm_button"),
];

/// The answer.
#[derive(Serialize)]
struct Answer {
    items: Vec<Item>,
    truncated: bool,
}

#[derive(Serialize)]
struct Item {
    time: String,
    kind: &'static str,
    /// Kilometres per hour where it was too fast.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<i32>,
    /// Where: of the record, or of the last one with a fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
}

pub(super) async fn events(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let (id, span) = (question::id(&id)?, asked.span()?);
    about_asset(&shared, viewer, id, span, question::pool(span), read).await
}

/// Tells when something that is on or off changed. What it was before the first record is not known, so that is no change.
#[derive(Default)]
struct Edge(Option<bool>);

impl Edge {
    fn turn(&mut self, now: Option<bool>) -> Option<bool> {
        let now = now?;
        let before = self.0.replace(now);
        (before? != now).then_some(now)
    }
}

fn read(client: &mut Client, subject: &Subject) -> Result<Answer, Refusal> {
    let columns = [EVENTS, IGNITION, DOOR, FIX, LONGITUDE, LATITUDE, SPEED];
    let mut answer = Answer {
        items: Vec::new(),
        truncated: false,
    };
    for window in &subject.windows {
        let (mut ignition, mut door) = (Edge::default(), Edge::default());
        let mut place = None;
        series::read(client, window, &columns, |time_us, mut fields| {
            let bits = fields.int4().unwrap_or(0);
            let ignition = ignition.turn(fields.boolean());
            let door = door.turn(fields.boolean());
            let is_fix = fields.boolean() == Some(true);
            let here = fields.float8().zip(fields.float8());
            if is_fix {
                place = here;
            }
            if bits == 0 && ignition.is_none() && door.is_none() {
                return;
            }
            let speed_kmh = fields.int4();
            let mut put = |kind, value| {
                if answer.items.len() >= EVENTS_MAX {
                    answer.truncated = true;
                    return;
                }
                answer.items.push(Item {
                    time: rfc3339(time_us),
                    kind,
                    value,
                    longitude: place.map(|place| place.0),
                    latitude: place.map(|place| place.1),
                });
            };
            if let Some(is_on) = ignition {
                put(if is_on { "ignition_on" } else { "ignition_off" }, None);
            }
            if let Some(is_open) = door {
                put(if is_open { "door_open" } else { "door_closed" }, None);
            }
            for (event, name) in NAMES {
                if bits & event as i32 != 0 {
                    put(name, speed_kmh.filter(|_| event == Event::Overspeed));
                }
            }
        })?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_the_unknown_is_none() {
        let mut edge = Edge::default();
        let told: Vec<_> = [
            None,
            Some(true),
            Some(true),
            None,
            Some(false),
            Some(false),
            Some(true),
        ]
        .into_iter()
        .map(|now| edge.turn(now))
        .collect();
        assert_eq!(
            told,
            [None, None, None, None, Some(false), None, Some(true)]
        );
    }
}
