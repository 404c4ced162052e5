//! Which AVL ids fill the typed columns of a record, derived from the dictionary for each model.
//!
//! Knows single elements only; walking the IO section is the decoder's business.
//! Invariants: without a model only ids that mean the same on every model fill a column; a sensor's error code or a
//! value the column cannot hold fills nothing; among several sources of one column (a wired probe, a Bluetooth
//! sensor, an EYE sensor) the first of them wins, in whatever order the packet has them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::dictionary::{MEANINGS, Meaning};

/// The typed columns of one record; `None` is NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Typed {
    /// The ignition is on.
    pub ignition: Option<bool>,
    /// The device moves.
    pub movement: Option<bool>,
    /// Metres.
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
    /// Which source filled each temperature and humidity.
    temperature_source: [Source; 4],
    humidity_source: [Source; 4],
}

/// Sources of one column, the least wanted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    #[default]
    Nothing,
    Eye,
    Bluetooth,
    Wired,
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
            let place = u8::try_from(columns.rules.len()).expect("some twenty ids have a column");
            columns.rules.push(rule);
            match columns.low.get_mut(usize::from(id)) {
                Some(low) => *low = place,
                None => columns.high.push((id, place)),
            }
        }
        columns
    }

    /// Fills the column of AVL id `id`, if it has one, from the value of `width` bytes sent: `raw`, unsigned.
    #[inline]
    pub fn fill(&self, id: u16, width: u8, raw: u64, typed: &mut Typed) {
        let place = match self.low.get(usize::from(id)) {
            Some(place) => *place,
            None => match self.high.iter().find(|(high, _)| *high == id) {
                Some((_, place)) => *place,
                None => return,
            },
        };
        if let Some(rule) = self.rules.get(usize::from(place)) {
            rule.fill(id, width, raw, typed);
        }
    }
}

impl Rule {
    fn fill(&self, id: u16, width: u8, raw: u64, typed: &mut Typed) {
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
                if source >= typed.temperature_source[place] && !self.is_error(id, value) {
                    typed.temperature[place] = Some(self.scaled(value));
                    typed.temperature_source[place] = source;
                }
            }
            Column::Humidity(place, source) => {
                if source >= typed.humidity_source[place] && !self.is_error(id, value) {
                    typed.humidity[place] = Some(self.scaled(value));
                    typed.humidity_source[place] = source;
                }
            }
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

/// The rules that hold on `model`.
fn rules_of_model(model: &str) -> Vec<(u16, Rule)> {
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
fn rules_without_model() -> Vec<(u16, Rule)> {
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
            rules
                .iter()
                .all(|(rule, exception)| rule == usual || *exception && rule.column == usual.column)
                .then_some((rows[0].id, *usual))
        })
        .collect()
}

/// The column that one row of the dictionary fills, if any. The name is asked as well as the id, because
/// models give the same id to quite different things.
fn rule(meaning: &Meaning) -> Option<Rule> {
    let named = |prefix: &str| meaning.name.starts_with(prefix);
    let unit = meaning.unit.as_deref();
    let multiplier: f64 = match &meaning.multiplier {
        Some(digits) => digits.parse().ok()?,
        None => 1.0,
    };
    let place = |first: u16| usize::from(meaning.id - first);
    let column = match meaning.id {
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
    };
    let scale = match (column, unit) {
        (Column::ExternalVoltage | Column::BatteryVoltage, Some("V")) => multiplier * 1000.0,
        _ => multiplier,
    };
    Some(Rule {
        column,
        signed: meaning.is_signed(),
        scale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns that the elements (id, width, raw value) fill on `model`.
    fn filled(model: Option<&str>, elements: &[(u16, u8, u64)]) -> Typed {
        let columns = TypedColumns::for_model(model);
        let mut typed = Typed::default();
        for (id, width, raw) in elements {
            columns.fill(*id, *width, *raw, &mut typed);
        }
        typed
    }

    #[test]
    fn a_known_model_fills_all_its_columns() {
        let typed = filled(
            Some("FMB120"),
            &[
                (239, 1, 1),
                (240, 1, 0),
                (16, 4, 123_456_789),
                (66, 2, 12_345),
                (67, 2, 4_012),
                (113, 1, 87),
                (21, 1, 5),
                (72, 4, 235),
                (86, 2, 456),
            ],
        );
        assert_eq!(typed.ignition, Some(true));
        assert_eq!(typed.movement, Some(false));
        assert_eq!(typed.odometer_m, Some(123_456_789));
        assert_eq!(typed.external_voltage_mv, Some(12_345));
        assert_eq!(typed.battery_voltage_mv, Some(4_012));
        assert_eq!(typed.battery_level, Some(87));
        assert_eq!(typed.signal, Some(5));
        assert_eq!(typed.temperature, [Some(23.5), None, None, None]);
        assert_eq!(typed.humidity, [Some(45.6), None, None, None]);
    }

    #[test]
    fn without_a_model_only_ids_that_mean_the_same_everywhere_fill() {
        let elements = [
            (239, 1, 1),
            (240, 1, 1),
            (21, 1, 3),
            (66, 2, 12_000),
            (67, 2, 4_000),
            (72, 2, 100),
            (16, 4, 5),
            (113, 1, 50),
            (75, 2, 100),
            (25, 2, 100),
            (86, 2, 100),
        ];
        let typed = filled(None, &elements);
        assert_eq!(typed.ignition, Some(true));
        assert_eq!(typed.movement, Some(true));
        assert_eq!(typed.signal, Some(3));
        assert_eq!(typed.external_voltage_mv, Some(12_000));
        assert_eq!(typed.battery_voltage_mv, Some(4_000));
        assert_eq!(typed.temperature, [Some(10.0), None, None, None]);
        assert_eq!(typed.odometer_m, None);
        assert_eq!(typed.battery_level, None);
        assert_eq!(typed.humidity, [None; 4]);
        assert_eq!(filled(Some("no such model"), &elements), typed);
    }

    #[test]
    fn the_same_id_on_another_model_fills_nothing() {
        let typed = filled(
            Some("FMB640"),
            &[(113, 4, 5_000), (16, 4, 77), (25, 2, 300), (86, 4, 5)],
        );
        assert_eq!(typed, Typed::default());
        assert_eq!(filled(Some("FMB640"), &[(216, 4, 77)]).odometer_m, Some(77));
    }

    #[test]
    fn negative_temperatures_take_their_sign_from_the_width_sent() {
        let minus_5_5 = [Some(-5.5), None, None, None];
        let model = Some("FMB120");
        assert_eq!(filled(model, &[(72, 2, 0xFFC9)]).temperature, minus_5_5);
        assert_eq!(
            filled(model, &[(72, 4, 0xFFFF_FFC9)]).temperature,
            minus_5_5
        );
        assert_eq!(
            filled(model, &[(28, 2, 0xFF38)]).temperature,
            [None, None, None, Some(-2.0)]
        );
    }

    #[test]
    fn a_voltage_is_in_millivolts_whatever_the_table_says() {
        assert_eq!(
            filled(Some("FMB930"), &[(66, 2, 1_250)]).external_voltage_mv,
            Some(12_500)
        );
        assert_eq!(
            filled(Some("FM36M1"), &[(66, 2, 12_500)]).external_voltage_mv,
            Some(12_500)
        );
        assert_eq!(
            filled(Some("FTC880"), &[(67, 2, 4_000), (800, 4, 24_100)]),
            Typed {
                battery_voltage_mv: Some(4_000),
                external_voltage_mv: Some(24_100),
                ..Typed::default()
            }
        );
    }

    #[test]
    fn what_a_sensor_says_instead_of_a_value_is_null() {
        for code in [850, 2000, 3000, 4000, 5000] {
            assert_eq!(
                filled(Some("FMB120"), &[(73, 2, code)]).temperature,
                [None; 4],
                "{code}"
            );
        }
        for code in [32767, 32766, 32765] {
            assert_eq!(
                filled(Some("FMB120"), &[(25, 2, code)]).temperature,
                [None; 4],
                "{code}"
            );
        }
        assert_eq!(
            filled(Some("FMB120"), &[(25, 2, 4000)]).temperature[0],
            Some(40.0)
        );
        assert_eq!(
            filled(Some("FTC305"), &[(25, 2, 4000)]).temperature[0],
            None
        );
        assert_eq!(filled(Some("FMB120"), &[(86, 2, 65534)]).humidity[0], None);
    }

    #[test]
    fn the_wired_probe_wins_in_any_order() {
        let mut elements = [(10800, 2, 100), (25, 2, 200), (72, 4, 30)];
        for _ in 0..3 {
            elements.rotate_left(1);
            assert_eq!(
                filled(Some("FMB120"), &elements).temperature[0],
                Some(3.0),
                "{elements:?}"
            );
        }
        // A broken wired probe leaves the column to the next source.
        assert_eq!(
            filled(Some("FMB120"), &[(72, 4, 3000), (25, 2, 200)]).temperature[0],
            Some(2.0)
        );
    }

    #[test]
    fn values_that_the_column_cannot_hold_are_null() {
        let typed = filled(
            Some("FMB120"),
            &[(239, 1, 7), (16, 8, u64::MAX), (21, 4, 70_000), (240, 3, 1)],
        );
        assert_eq!(typed, Typed::default());
    }

    #[test]
    fn models_that_agree_share_one_mapping() {
        assert!(Arc::ptr_eq(
            &TypedColumns::for_model(Some("FMB120")),
            &TypedColumns::for_model(Some("FMB125"))
        ));
    }
}
