//! Traccar's attributes: a JSON text, from which what has a column of its own here is taken out.
//!
//! Pure functions. Invariant: nothing is thrown away: what is no JSON, and what no column can hold, stays as it was.

use serde_json::{Map, Value, json};

use crate::store::Event;
use crate::store::imported::ImportedPosition;

/// Beyond this no thermometer of a vehicle goes: Traccar passes a sensor's error codes on as values.
const CELSIUS: std::ops::RangeInclusive<f64> = -100.0..=150.0;

/// The text as an object. What is none is kept under the key `text`.
pub(super) fn read(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Value::Object(without_zeros(map)),
        Ok(Value::Null) => json!({}),
        _ if text.trim().is_empty() => json!({}),
        _ => json!({ "text": printable(text) }),
    }
}

/// Whether `attributes` holds a text that was no JSON object.
pub(super) fn is_text(attributes: &str) -> bool {
    !attributes.trim().is_empty()
        && !matches!(
            serde_json::from_str(attributes),
            Ok(Value::Object(_) | Value::Null)
        )
}

fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// PostgreSQL has no zero byte in texts, not even in those of jsonb.
fn without_zeros(map: Map<String, Value>) -> Map<String, Value> {
    fn value(one: Value) -> Value {
        match one {
            Value::String(text) => Value::String(printable(&text)),
            Value::Array(list) => Value::Array(list.into_iter().map(value).collect()),
            Value::Object(map) => Value::Object(without_zeros(map)),
            other => other,
        }
    }
    map.into_iter()
        .map(|(key, one)| (printable(&key), value(one)))
        .collect()
}

/// Fills the columns of `position` from `attributes` and leaves there what has none.
pub(super) fn take(position: &mut ImportedPosition, attributes: Value) {
    let Value::Object(mut map) = attributes else {
        position.attributes = attributes;
        return;
    };
    position.satellites = number(&mut map, "sat", 0.0..=1_000.0).map(small);
    position.priority = number(&mut map, "priority", 0.0..=100.0).map(small);
    position.event_id = number(&mut map, "event", 0.0..=65_535.0).map(whole);
    let typed = &mut position.typed;
    typed.ignition = truth(&mut map, "ignition").or_else(|| truth(&mut map, "io239"));
    typed.movement = truth(&mut map, "motion").or_else(|| truth(&mut map, "io240"));
    let metres = 0.0..=1e12;
    typed.odometer_m = number(&mut map, "odometer", metres.clone())
        .or_else(|| number(&mut map, "io16", metres))
        .map(long);
    let volts = |map: &mut Map<String, Value>, key, raw_key| {
        number(map, key, 0.0..=1_000.0)
            .map(|volts| volts * 1000.0)
            .or_else(|| number(map, raw_key, 0.0..=1e6))
            .map(whole)
    };
    typed.external_voltage_mv = volts(&mut map, "power", "io66");
    typed.battery_voltage_mv = volts(&mut map, "battery", "io67");
    typed.battery_level = number(&mut map, "batteryLevel", 0.0..=100.0)
        .or_else(|| number(&mut map, "io113", 0.0..=100.0))
        .map(small);
    // Bars; other protocols have decibels under the same key.
    typed.signal = number(&mut map, "rssi", 0.0..=5.0)
        .or_else(|| number(&mut map, "io21", 0.0..=5.0))
        .map(small);
    for (place, number_) in (0..4).zip(1..) {
        typed.temperature[place] = number(&mut map, &format!("temp{number_}"), CELSIUS)
            .or_else(|| number(&mut map, &format!("bleTemp{number_}"), CELSIUS))
            .map(real);
        typed.humidity[place] = number(&mut map, &format!("humidity{number_}"), 0.0..=100.0)
            .or_else(|| number(&mut map, &format!("bleHumidity{number_}"), 0.0..=100.0))
            .map(real);
    }
    if typed.humidity[0].is_none() {
        typed.humidity[0] = number(&mut map, "humidity", 0.0..=100.0).map(real);
    }
    typed.events = events(&mut map);
    typed.door = truth(&mut map, "door");
    typed.vehicle_odometer_m = number(&mut map, "obdOdometer", 1.0..=1e12).map(long);
    // `hours` stays what it was: Traccar counts it itself where the vehicle says nothing.
    typed.fuel_l = number(&mut map, "fuel", 0.0..=1e5).map(real);
    typed.fuel_percent = number(&mut map, "fuelLevel", 0.0..=100.0).map(small);
    position.attributes = Value::Object(map);
}

/// Traccar's alarms that are events here. One that is none leaves the attribute where it is, with all its alarms.
fn events(map: &mut Map<String, Value>) -> Option<i32> {
    let mut all_known = true;
    let mut events = 0;
    for alarm in map.get("alarm")?.as_str()?.split(',') {
        match event(alarm.trim()) {
            Some(event) => events |= event as i32,
            None => all_known = false,
        }
    }
    if all_known {
        map.remove("alarm");
    }
    (events != 0).then_some(events)
}

/// Source: the `ALARM_` words of Traccar's `Position.java`.
fn event(alarm: &str) -> Option<Event> {
    Some(match alarm {
        "tow" => Event::Towing,
        "accident" => Event::Crash,
        "vibration" => Event::Shock,
        "powerCut" => Event::Unplug,
        "hardAcceleration" => Event::HarshAcceleration,
        "hardBraking" => Event::HarshBraking,
        "hardCornering" => Event::HarshCornering,
        "jamming" => Event::Jamming,
        "fallDown" => Event::Fall,
        "overspeed" => Event::Overspeed,
        "sos" => Event::AlarmButton,
        _ => return None,
    })
}

/// Takes a number out if it is one, and in bounds.
fn number(
    map: &mut Map<String, Value>,
    key: &str,
    bounds: std::ops::RangeInclusive<f64>,
) -> Option<f64> {
    let number = map.get(key)?.as_f64()?;
    bounds.contains(&number).then(|| {
        map.remove(key);
        number
    })
}

fn truth(map: &mut Map<String, Value>, key: &str) -> Option<bool> {
    let truth = match map.get(key)? {
        Value::Bool(truth) => *truth,
        Value::Number(number) => match number.as_i64()? {
            0 => false,
            1 => true,
            _ => return None,
        },
        _ => return None,
    };
    map.remove(key);
    Some(truth)
}

#[expect(clippy::cast_possible_truncation, reason = "within bounds that fit")]
fn small(number: f64) -> i16 {
    number.round() as i16
}

#[expect(clippy::cast_possible_truncation, reason = "within bounds that fit")]
fn whole(number: f64) -> i32 {
    number.round() as i32
}

#[expect(clippy::cast_possible_truncation, reason = "within bounds that fit")]
fn long(number: f64) -> i64 {
    number.round() as i64
}

#[expect(clippy::cast_possible_truncation, reason = "sensors have few digits")]
fn real(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> ImportedPosition {
        let mut position = ImportedPosition::default();
        take(&mut position, read(text));
        position
    }

    #[test]
    fn what_has_a_column_is_taken_out_and_the_rest_stays() {
        let taken = taken(
            r#"{"priority":1,"sat":9,"event":239,"ignition":true,"motion":false,"rssi":4,"power":12.62,"battery":4.1,
                "batteryLevel":87,"odometer":123456,"temp1":21.5,"bleTemp2":-3.25,"humidity":45,"io66":7,"totalDistance":1.5}"#,
        );
        assert_eq!((taken.satellites, taken.priority), (Some(9), Some(1)));
        assert_eq!(taken.event_id, Some(239));
        assert_eq!(
            (taken.typed.ignition, taken.typed.movement),
            (Some(true), Some(false))
        );
        assert_eq!(taken.typed.external_voltage_mv, Some(12_620));
        assert_eq!(taken.typed.battery_voltage_mv, Some(4_100));
        assert_eq!(
            (taken.typed.battery_level, taken.typed.signal),
            (Some(87), Some(4))
        );
        assert_eq!(taken.typed.odometer_m, Some(123_456));
        assert_eq!(
            taken.typed.temperature,
            [Some(21.5), Some(-3.25), None, None]
        );
        assert_eq!(taken.typed.humidity[0], Some(45.0));
        assert_eq!(taken.attributes, json!({"io66": 7, "totalDistance": 1.5}));
    }

    #[test]
    fn alarms_are_events_and_an_unknown_one_stays() {
        let known = taken(
            r#"{"alarm":"tow,vibration","door":true,"fuelLevel":40,"fuel":22.5,"obdOdometer":9000}"#,
        );
        let expected = Event::Towing as i32 | Event::Shock as i32;
        assert_eq!(known.typed.events, Some(expected));
        assert_eq!(
            (known.typed.door, known.typed.fuel_percent),
            (Some(true), Some(40))
        );
        assert_eq!(known.typed.fuel_l, Some(22.5));
        assert_eq!(known.typed.vehicle_odometer_m, Some(9_000));
        assert_eq!(known.attributes, json!({}));
        let unknown = taken(r#"{"alarm":"sos,lowBattery"}"#);
        assert_eq!(unknown.typed.events, Some(Event::AlarmButton as i32));
        assert_eq!(unknown.attributes, json!({"alarm": "sos,lowBattery"}));
        assert_eq!(taken(r#"{"alarm":7}"#).attributes, json!({"alarm": 7}));
    }

    #[test]
    fn raw_ids_stand_in_for_names_that_are_not_there() {
        let taken = taken(r#"{"io66":12600,"io67":4000,"io239":1,"io240":0,"io113":50}"#);
        assert_eq!(taken.typed.external_voltage_mv, Some(12_600));
        assert_eq!(taken.typed.battery_voltage_mv, Some(4_000));
        assert_eq!(
            (taken.typed.ignition, taken.typed.movement),
            (Some(true), Some(false))
        );
        assert_eq!(taken.typed.battery_level, Some(50));
        assert_eq!(taken.attributes, json!({}));
    }

    #[test]
    fn what_no_column_can_hold_stays_as_it_was() {
        let text = r#"{"temp1":300.0,"rssi":-71,"ignition":"maybe","sat":1e9,"power":"full"}"#;
        let taken = taken(text);
        assert_eq!(
            taken.attributes,
            serde_json::from_str::<Value>(text).unwrap()
        );
        assert_eq!(
            (taken.typed.temperature[0], taken.typed.signal),
            (None, None)
        );
    }

    #[test]
    fn what_is_no_object_is_kept_as_text_and_zero_bytes_are_marked() {
        assert_eq!(read("{\"a\":"), json!({"text": "{\"a\":"}));
        assert_eq!(read("[1]"), json!({"text": "[1]"}));
        assert_eq!(read(r#"{"a":"x\u0000"}"#), json!({"a": "x\u{fffd}"}));
        assert_eq!(read(" "), json!({}));
        assert!(is_text("{") && !is_text("{}") && !is_text("null"));
    }
}
