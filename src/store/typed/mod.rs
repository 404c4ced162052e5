//! Which AVL ids fill the typed columns of a record, derived from the dictionary for each model.
//!
//! `rules.rs` reads the rules out of the dictionary, `event.rs` says what is an event; this file applies them to a record's elements.
//! Invariants: without a model only ids that mean the same on every model fill a column; a sensor's error code or a
//! value the column cannot hold fills nothing; among several sources of one column (a wired probe, a Bluetooth
//! sensor, an EYE sensor; CAN bus, tachograph, OBD) the best of them wins, in whatever order the packet has them. A sensor whose
//! error code left its column empty is a fault; one that another source stood in for is none.

mod event;
mod rules;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::dictionary::MEANINGS;
use crate::protocol::teltonika::{Io, IoValue};

use event::{CRASH_TRACE_ID, Report};
pub use event::{Event, SHAKEN};
use rules::{rules_of_model, rules_without_model};

/// The typed columns of one record; `None` is NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Typed {
    /// The ignition is on.
    pub ignition: Option<bool>,
    /// The device moves.
    pub movement: Option<bool>,
    /// Metres, as the tracker counts.
    pub odometer_m: Option<i64>,
    /// Supply, millivolts.
    pub external_voltage_mv: Option<i32>,
    /// Internal battery, millivolts.
    pub battery_voltage_mv: Option<i32>,
    /// Charge of the internal battery, percent.
    pub battery_level: Option<i16>,
    /// Bars of mobile signal, 0 to 5.
    pub signal: Option<i16>,
    /// Degrees Celsius.
    pub temperature: [Option<f32>; 4],
    /// Percent relative humidity.
    pub humidity: [Option<f32>; 4],
    /// What the record reports, the bits of [`Event`]; `None`: nothing.
    pub events: Option<i32>,
    /// Some door is open.
    pub door: Option<bool>,
    /// How long the engine has run in all, as the vehicle says.
    pub engine_seconds: Option<i64>,
    /// Metres, as the vehicle says.
    pub vehicle_odometer_m: Option<i64>,
    /// Fuel in the tank, litres.
    pub fuel_l: Option<f32>,
    /// Fuel in the tank, percent.
    pub fuel_percent: Option<i16>,
    /// Sensors that said an error code: bits 0 to 3 for temperatures, 4 to 7 for humidities.
    errors: u8,
    sources: Sources,
}

/// Which source filled each column that has several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sources {
    temperature: [Source; 4],
    humidity: [Source; 4],
    engine_time: Source,
    vehicle_odometer: Source,
    fuel_l: Source,
    fuel_percent: Source,
}

/// Sources of one column, the least wanted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    #[default]
    Nothing,
    Eye,
    Bluetooth,
    Wired,
    Obd,
    Fms,
    Tachograph,
    Can,
}

impl Source {
    /// Puts `value` into a column that has come from `before` so far, if this source is no worse.
    fn put<T>(self, before: &mut Source, column: &mut Option<T>, value: T) {
        if self >= *before {
            *before = self;
            *column = Some(value);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Ignition,
    Movement,
    Odometer,
    ExternalVoltage,
    BatteryVoltage,
    BatteryLevel,
    Signal,
    Temperature(usize, Source),
    Humidity(usize, Source),
    Event(Report),
    /// Open where any of these bits is set.
    Door(i64),
    EngineTime(Source),
    VehicleOdometer(Source),
    FuelLitres(Source),
    FuelPercent(Source),
}

/// How the raw value of one id becomes the value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    column: Column,
    signed: bool,
    scale: f64,
}

/// What fills the typed columns for one model, or for several that agree.
#[derive(Debug, PartialEq)]
pub struct TypedColumns {
    /// For ids below 256 the place in `rules`, or `NO_RULE`.
    low: [u8; 256],
    /// Ids from 256 upwards, ascending, with their place in `rules`.
    high: Vec<(u16, u8)>,
    rules: Vec<Rule>,
}

const NO_RULE: u8 = u8::MAX;

/// All mappings: for each model of the dictionary, and for a device whose model is unknown.
struct Mappings {
    by_model: HashMap<&'static str, Arc<TypedColumns>>,
    unknown: Arc<TypedColumns>,
}

static MAPPINGS: LazyLock<Mappings> = LazyLock::new(|| {
    let mut distinct: Vec<Arc<TypedColumns>> = Vec::new();
    let mut shared = |columns: TypedColumns| {
        if let Some(same) = distinct.iter().find(|one| ***one == columns) {
            return Arc::clone(same);
        }
        let columns = Arc::new(columns);
        distinct.push(Arc::clone(&columns));
        columns
    };
    let unknown = shared(TypedColumns::from_rules(rules_without_model()));
    let mut by_model = HashMap::new();
    for model in MEANINGS.iter().flat_map(|one| &one.models) {
        by_model
            .entry(model.as_str())
            .or_insert_with(|| shared(TypedColumns::from_rules(rules_of_model(model))));
    }
    Mappings { by_model, unknown }
});

impl Typed {
    /// The column `sensor_fault`: sensors that said an error code and whose column no other source has filled.
    pub fn sensor_fault(&self) -> Option<i16> {
        if self.errors == 0 {
            return None;
        }
        let values = self.temperature.iter().chain(&self.humidity);
        let faults = values.enumerate().fold(0, |faults, (bit, value)| {
            let is_fault = value.is_none() && self.errors >> bit & 1 == 1;
            faults | i16::from(is_fault) << bit
        });
        (faults != 0).then_some(faults)
    }

    /// Whether there is something in the columns that most records leave empty.
    pub fn has_rare(&self) -> bool {
        self.events.is_some()
            || self.errors != 0
            || self.door.is_some()
            || self.engine_seconds.is_some()
            || self.vehicle_odometer_m.is_some()
            || self.fuel_l.is_some()
            || self.fuel_percent.is_some()
    }
}

impl TypedColumns {
    /// The mapping for `model`; one that the dictionary does not know counts as none.
    ///
    /// The first call reads the dictionary (milliseconds); later ones look up a hash map.
    pub fn for_model(model: Option<&str>) -> Arc<TypedColumns> {
        let mappings = &*MAPPINGS;
        let columns = model
            .and_then(|model| mappings.by_model.get(model))
            .unwrap_or(&mappings.unknown);
        Arc::clone(columns)
    }

    fn from_rules(mut by_id: Vec<(u16, Rule)>) -> TypedColumns {
        by_id.sort_by_key(|(id, _)| *id);
        let mut columns = TypedColumns {
            low: [NO_RULE; 256],
            high: Vec::new(),
            rules: Vec::new(),
        };
        for (id, rule) in by_id {
            let place = u8::try_from(columns.rules.len()).expect("some fifty ids have a column");
            columns.rules.push(rule);
            match columns.low.get_mut(usize::from(id)) {
                Some(low) => *low = place,
                None => columns.high.push((id, place)),
            }
        }
        columns
    }

    /// What the elements of a record say that the element `event_id` caused.
    #[inline]
    pub fn read(&self, event_id: u16, io: &Io<'_>) -> Typed {
        let mut typed = Typed::default();
        io.elements().for_each(|element| match element.value {
            IoValue::Fixed { width, raw } => {
                self.fill(event_id, element.id, width, raw, &mut typed);
            }
            IoValue::Bytes(_) => {
                if element.id == event_id && element.id == CRASH_TRACE_ID {
                    typed.report(Event::CrashTrace);
                }
            }
        });
        typed
    }

    /// Fills the column of AVL id `id`, if it has one, from the value of `width` bytes sent: `raw`, unsigned.
    #[inline]
    fn fill(&self, event_id: u16, id: u16, width: u8, raw: u64, typed: &mut Typed) {
        let place = match self.low.get(usize::from(id)) {
            Some(place) => *place,
            None => match self.high.iter().find(|(high, _)| *high == id) {
                Some((_, place)) => *place,
                None => return,
            },
        };
        if let Some(rule) = self.rules.get(usize::from(place)) {
            rule.fill(event_id, id, width, raw, typed);
        }
    }
}

impl Typed {
    fn report(&mut self, event: Event) {
        self.events = Some(self.events.unwrap_or(0) | event as i32);
    }
}

impl Rule {
    fn fill(&self, event_id: u16, id: u16, width: u8, raw: u64, typed: &mut Typed) {
        let Some(value) = number(raw, width, self.signed) else {
            return;
        };
        match self.column {
            Column::Ignition => typed.ignition = yes_no(value),
            Column::Movement => typed.movement = yes_no(value),
            Column::Odometer => typed.odometer_m = Some(value),
            Column::ExternalVoltage => typed.external_voltage_mv = self.millivolts(value),
            Column::BatteryVoltage => typed.battery_voltage_mv = self.millivolts(value),
            Column::BatteryLevel => typed.battery_level = i16::try_from(value).ok(),
            Column::Signal => typed.signal = i16::try_from(value).ok(),
            Column::Temperature(place, source) => {
                if self.is_error(id, value) {
                    typed.errors |= 1 << place;
                    return;
                }
                let column = &mut typed.temperature[place];
                source.put(
                    &mut typed.sources.temperature[place],
                    column,
                    self.scaled(value),
                );
            }
            Column::Humidity(place, source) => {
                if self.is_error(id, value) {
                    typed.errors |= 16 << place;
                    return;
                }
                let column = &mut typed.humidity[place];
                source.put(
                    &mut typed.sources.humidity[place],
                    column,
                    self.scaled(value),
                );
            }
            Column::Event(report) => {
                if report.is_cause(id, event_id)
                    && let Some(event) = report.event(value)
                {
                    typed.report(event);
                }
            }
            Column::Door(open) => {
                // One of several elements may be about each door.
                typed.door = Some(typed.door == Some(true) || value & open != 0);
            }
            Column::EngineTime(_)
            | Column::VehicleOdometer(_)
            | Column::FuelLitres(_)
            | Column::FuelPercent(_) => {
                if !is_all_ones(raw, width) {
                    self.fill_vehicle(value, typed);
                }
            }
        }
    }

    /// What a vehicle says of itself. An adapter that has read nothing yet says 0: no vehicle has run for so long or so far.
    fn fill_vehicle(&self, value: i64, typed: &mut Typed) {
        match self.column {
            Column::EngineTime(source) if value > 0 => {
                if let Some(seconds) = self.whole(value) {
                    let before = &mut typed.sources.engine_time;
                    source.put(before, &mut typed.engine_seconds, seconds);
                }
            }
            Column::VehicleOdometer(source) if value > 0 => {
                if let Some(metres) = self.whole(value) {
                    let before = &mut typed.sources.vehicle_odometer;
                    source.put(before, &mut typed.vehicle_odometer_m, metres);
                }
            }
            Column::FuelLitres(source) => {
                let before = &mut typed.sources.fuel_l;
                source.put(before, &mut typed.fuel_l, self.scaled(value));
            }
            Column::FuelPercent(source) => {
                // Above that it is a code for "no value", which differs from adapter to adapter.
                if let Some(percent) = self.whole(value).filter(|percent| *percent <= 100) {
                    let percent = i16::try_from(percent).unwrap_or_default();
                    source.put(
                        &mut typed.sources.fuel_percent,
                        &mut typed.fuel_percent,
                        percent,
                    );
                }
            }
            _ => {}
        }
    }

    /// The codes that `trackport.sensor_error` names.
    fn is_error(&self, id: u16, value: i64) -> bool {
        match id {
            72..=75 => matches!(value, 850 | 2000 | 3000 | 4000 | 5000),
            // At hundredths of a degree 2000, 3000 and 4000 are 20, 30 and 40 °C.
            25..=28 => {
                matches!(value, 32765..=32767)
                    || self.scale == 0.1 && matches!(value, 2000 | 3000 | 4000)
            }
            86 | 104 | 106 | 108 => matches!(value, 65533..=65535),
            _ => false,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a sensor's few digits into the column's real"
    )]
    fn scaled(&self, value: i64) -> f32 {
        (value as f64 * self.scale) as f32
    }

    /// The value in whole units of its column.
    fn whole(&self, value: i64) -> Option<i64> {
        let value = f64::from(u32::try_from(value).ok()?) * self.scale;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "32 bits times a few thousand"
        )]
        Some(value.round() as i64)
    }

    fn millivolts(&self, value: i64) -> Option<i32> {
        let millivolts = f64::from(u32::try_from(value).ok()?) * self.scale;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        (millivolts <= f64::from(i32::MAX)).then_some(millivolts.round() as i32)
    }
}

/// The number in `width` bytes; `None` where it is no fixed width or does not fit.
pub(super) fn number(raw: u64, width: u8, signed: bool) -> Option<i64> {
    if !matches!(width, 1 | 2 | 4 | 8) {
        return None;
    }
    if !signed {
        return i64::try_from(raw).ok();
    }
    let unused_bits = 64 - 8 * u32::from(width);
    Some((raw << unused_bits).cast_signed() >> unused_bits)
}

/// Vehicles and their adapters say "no value" so.
fn is_all_ones(raw: u64, width: u8) -> bool {
    raw == u64::MAX >> (64 - 8 * u32::from(width))
}

fn yes_no(value: i64) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Whether `id` fills a column also where the model is unknown.
pub(super) fn fills_without_model(id: u16) -> bool {
    let columns = &MAPPINGS.unknown;
    match columns.low.get(usize::from(id)) {
        Some(place) => *place != NO_RULE,
        None => columns.high.iter().any(|(high, _)| *high == id),
    }
}

#[cfg(test)]
mod tests;
