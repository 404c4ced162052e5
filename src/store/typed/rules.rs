//! From the dictionary to rules: which row fills which column.
//!
//! The name is asked as well as the id, because models give the same id to quite different things. Source: `dictionary/avl_ids.csv`, the
//! maker's tables by model. What an adapter has counted itself since it was built in ("counted") is neither the vehicle's mileage nor its
//! engine's hours; fuel probes whose unit depends on how somebody set them up fill no column.

use super::event::{Event, Report};
use super::{Column, Rule, Source};
use crate::store::dictionary::{MEANINGS, Meaning};

/// Front left and right, rear left and right, boot; 0x1000 is the bonnet, which is no door.
const DOORS: i64 = 0x2F00;

/// The rules that hold on `model`.
pub(super) fn rules_of_model(model: &str) -> Vec<(u16, Rule)> {
    let mut rules: Vec<(u16, Rule)> = Vec::new();
    for meaning in MEANINGS.iter().filter(|one| one.holds_for(model)) {
        if let Some(rule) = rule(meaning)
            && rules.iter().all(|(id, _)| *id != meaning.id)
        {
            rules.push((meaning.id, rule));
        }
    }
    rules
}

/// The rules on which all models agree. A row that one single model has may differ in scale (FMB930's supply
/// voltage): it is that model's exception, where its model is known.
pub(super) fn rules_without_model() -> Vec<(u16, Rule)> {
    MEANINGS
        .chunk_by(|one, next| one.id == next.id)
        .filter_map(|rows| {
            let rules: Vec<(Rule, bool)> = rows
                .iter()
                .map(|row| Some((rule(row)?, row.models.len() == 1)))
                .collect::<Option<_>>()?;
            let (usual, _) = rules
                .iter()
                .find(|(_, exception)| !exception)
                .or(rules.first())?;
            // What only some models have at all is theirs.
            let is_everywhere = !matches!(
                usual.column,
                Column::Door(_)
                    | Column::EngineTime(_)
                    | Column::VehicleOdometer(_)
                    | Column::FuelLitres(_)
                    | Column::FuelPercent(_)
            );
            (is_everywhere
                && rules.iter().all(|(rule, exception)| {
                    rule == usual || *exception && rule.column == usual.column
                }))
            .then_some((rows[0].id, *usual))
        })
        .collect()
}

/// The column that one row of the dictionary fills, if any.
fn rule(meaning: &Meaning) -> Option<Rule> {
    let column = basic(meaning)
        .or_else(|| event(meaning).map(Column::Event))
        .or_else(|| vehicle(meaning))?;
    let multiplier: f64 = match &meaning.multiplier {
        Some(digits) => digits.parse().ok()?,
        None => 1.0,
    };
    let scale = match (column, meaning.unit.as_deref()) {
        (Column::ExternalVoltage | Column::BatteryVoltage, Some("V"))
        | (Column::VehicleOdometer(_), Some("km")) => multiplier * 1000.0,
        (Column::EngineTime(_), Some("min")) => multiplier * 60.0,
        (Column::EngineTime(_), Some("h")) => multiplier * 3600.0,
        // Its range is a scale for people; a value is an event whatever it is.
        (Column::Event(_) | Column::Door(_), _) => 1.0,
        _ => multiplier,
    };
    Some(Rule {
        column,
        signed: meaning.is_signed(),
        scale,
    })
}

/// What the tracker and its sensors say.
fn basic(meaning: &Meaning) -> Option<Column> {
    let named = |prefix: &str| meaning.name.starts_with(prefix);
    let unit = meaning.unit.as_deref();
    let place = |first: u16| usize::from(meaning.id - first);
    Some(match meaning.id {
        239 if named("Ignition") => Column::Ignition,
        240 if named("Movement") => Column::Movement,
        16 | 216 if named("Total Odometer") && unit == Some("m") => Column::Odometer,
        66 | 800 if named("External") => Column::ExternalVoltage,
        67 if named("Battery Voltage") => Column::BatteryVoltage,
        113 if named("Battery Level") => Column::BatteryLevel,
        21 if named("GSM") => Column::Signal,
        72..=75 if named("Dallas Temperature") && unit == Some("°C") => {
            Column::Temperature(place(72), Source::Wired)
        }
        25..=28 if named("BLE Temperature") || named("Temperature") => {
            Column::Temperature(place(25), Source::Bluetooth)
        }
        10800..=10803 if named("EYE Temperature") => Column::Temperature(place(10800), Source::Eye),
        86 | 104 | 106 | 108 if unit == Some("%RH") => {
            let sensor = match meaning.id {
                86 => 0,
                104 => 1,
                106 => 2,
                _ => 3,
            };
            Column::Humidity(sensor, Source::Bluetooth)
        }
        10804..=10807 if named("EYE Humidity") => Column::Humidity(place(10804), Source::Eye),
        _ => return None,
    })
}

/// What it reports.
fn event(meaning: &Meaning) -> Option<Report> {
    let named = |prefix: &str| meaning.name.starts_with(prefix);
    Some(match meaning.id {
        246 if named("Towing") => Report::Begins(Event::Towing),
        247 if named("Crash detection") => Report::Crash,
        252 if named("Unplug") => Report::Begins(Event::Unplug),
        253 if named("Green driving type") || named("Eco driving type") => Report::HarshDriving,
        249 if named("Jamming") || named("Network jamming") => Report::Begins(Event::Jamming),
        318 if named("GNSS Jamming") => Report::GnssJamming,
        255 if named("Over Speeding") => Report::Overspeed,
        248 if named("Geofence Zone Over Speeding") => Report::Overspeed,
        236 if named("Alarm") => Report::Begins(Event::AlarmButton),
        242 if named("Fall down") || named("ManDown") => Report::Begins(Event::Fall),
        1412 if named("Motorcycle Fall") => Report::Begins(Event::Fall),
        _ => return None,
    })
}

/// What the vehicle says, by CAN adapter or chip, FMS, tachograph or OBD.
fn vehicle(meaning: &Meaning) -> Option<Column> {
    let name = meaning.name.as_str();
    let named =
        |prefix: &str| name.starts_with(prefix) && !name.to_lowercase().ends_with("counted)");
    let unit = meaning.unit.as_deref();
    Some(match (meaning.id, unit) {
        (90 | 143, _) if named("Door Status") || named("LVCAN Door Status") => Column::Door(DOORS),
        (654..=658, _) if name.contains("Door") => Column::Door(1),
        (1362, _) if named("Position Status of All doors") => Column::Door(1),
        (36 | 87 | 104 | 356, Some("m"))
            if named("Total Mileage") || named("LVCAN Total Mileage") || named("Total mileage") =>
        {
            Column::VehicleOdometer(Source::Can)
        }
        (133, Some("m")) if name.contains("Total Vehicle Distance") => {
            Column::VehicleOdometer(Source::Tachograph)
        }
        (192, Some("m")) if named("Odometer") => Column::VehicleOdometer(Source::Tachograph),
        (10151, Some("m")) if named("Tachograph Total Distance") => {
            Column::VehicleOdometer(Source::Tachograph)
        }
        (389, Some("km")) if named("OBD OEM Total Mileage") => Column::VehicleOdometer(Source::Obd),
        (1176, Some("km")) if named("ELD Mileage") => Column::VehicleOdometer(Source::Obd),
        (14 | 102, Some("min"))
            if named("Engine Worktime")
                || named("Engine Total Hours")
                || named("LVCAN Engine Work Time") =>
        {
            Column::EngineTime(Source::Can)
        }
        (104, Some("h")) if named("Engine Total Hours") => Column::EngineTime(Source::Fms),
        (1177, Some("h")) if named("ELD engine hours") => Column::EngineTime(Source::Obd),
        (34 | 84 | 109, Some("l")) if named("Fuel Level") || named("LVCAN Fuel Level") => {
            Column::FuelLitres(Source::Can)
        }
        (390, Some("l")) if named("OBD OEM Fuel Level") => Column::FuelLitres(Source::Obd),
        (37 | 89 | 108, Some("%")) if named("Fuel Level") || named("LVCAN Fuel Level") => {
            Column::FuelPercent(Source::Can)
        }
        (87, Some("%")) if named("Fuel Level") => Column::FuelPercent(Source::Fms),
        (48, Some("%")) if named("Fuel Level") => Column::FuelPercent(Source::Obd),
        _ => return None,
    })
}
