//! One asset as the API tells of it: `Position`. What is unknown is left out.

use serde::Serialize;

use super::super::times::rfc3339;
use super::state::{Facts, Flag, State};
use crate::store::live::LiveAsset;

/// The JSON.
#[derive(Serialize)]
struct Position<'a> {
    asset: i32,
    name: &'a str,
    kind: &'a str,
    group: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    imei: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    state: State,
    flags: &'a [Flag],
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    angle_deg: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_kmh: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satellites: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignition: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    movement: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<[Option<f32>; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    humidity: Option<[Option<f32>; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_voltage_mv: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery_voltage_mv: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery_level: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offline_after_s: Option<f32>,
}

/// What of an asset is judged.
pub(super) fn facts(asset: &LiveAsset) -> Facts {
    let newest = asset.newest.as_ref();
    Facts {
        received_at_us: newest.map(|one| one.received_at_us),
        movement: newest.and_then(|one| one.movement),
        speed_kmh: speed_kmh(asset),
        ignition: newest.and_then(|one| one.ignition),
        moves_from_kmh: asset.moves_from_kmh,
        contact_moving_s: newest.and_then(|one| one.contact_moving_s),
        contact_parked_s: newest.and_then(|one| one.contact_parked_s),
        temperature: newest.map_or([None; 4], |one| one.temperature),
        temperature_min: asset.temperature_min,
        temperature_max: asset.temperature_max,
        sensor_fault: newest.and_then(|one| one.sensor_fault).unwrap_or(0),
        shaken_us: newest.and_then(|one| one.shaken_us),
    }
}

/// Without a fix a device repeats its last speed or says zero.
fn speed_kmh(asset: &LiveAsset) -> Option<i32> {
    let newest = asset.newest.as_ref()?;
    (newest.satellites > 0).then_some(newest.speed_kmh)
}

/// The JSON of an asset in this state.
pub(super) fn json(asset: &LiveAsset, facts: &Facts, state: State, flags: &[Flag]) -> String {
    let (newest, fix) = (asset.newest.as_ref(), asset.fix.as_ref());
    let known = |four: [Option<f32>; 4]| four.iter().any(Option::is_some).then_some(four);
    let position = Position {
        asset: asset.id,
        name: &asset.name,
        kind: &asset.kind,
        group: asset.group_id,
        device: asset.device.as_ref().map(|device| device.id),
        imei: asset.device.as_ref().map(|device| device.imei.as_str()),
        model: asset
            .device
            .as_ref()
            .and_then(|device| device.model.as_deref()),
        state,
        flags,
        time: newest.map(|one| rfc3339(one.time_us)),
        received_at: newest.map(|one| rfc3339(one.received_at_us)),
        fix_time: fix.map(|fix| rfc3339(fix.time_us)),
        longitude: fix.map(|fix| fix.longitude),
        latitude: fix.map(|fix| fix.latitude),
        angle_deg: fix.and_then(|fix| fix.angle_deg),
        speed_kmh: speed_kmh(asset),
        satellites: newest.map(|one| one.satellites),
        ignition: newest.and_then(|one| one.ignition),
        movement: newest.and_then(|one| one.movement),
        door: newest.and_then(|one| one.door),
        temperature: newest.and_then(|one| known(one.temperature)),
        humidity: newest.and_then(|one| known(one.humidity)),
        external_voltage_mv: newest.and_then(|one| one.external_voltage_mv),
        battery_voltage_mv: newest.and_then(|one| one.battery_voltage_mv),
        battery_level: newest.and_then(|one| one.battery_level),
        signal: newest.and_then(|one| one.signal),
        offline_after_s: newest.map(|_| facts.offline_after_s()),
    };
    serde_json::to_string(&position).expect("names, numbers and nothing else")
}
