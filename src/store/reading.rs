//! What one IO element says: its name, its value in the maker's unit, or the error that a sensor sends in place of a value.
//!
//! The same as the view `trackport.reading`, for whoever reads millions of elements at once. Knows single elements; walking the IO
//! section is the decoder's business. Invariant: without a model only ids that mean the same on every model have a name, and a
//! sensor's error code is never a value.

use std::collections::HashMap;

use super::dictionary::{MEANINGS, Meaning};
use super::typed::{fills_without_model, number};

/// What one id means in one width on one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sense<'a> {
    /// The maker's name of the property.
    pub name: &'a str,
    /// The unit after multiplication.
    pub unit: Option<&'a str>,
    is_signed: bool,
    scale: f64,
    /// Ten to the number of decimals of the multiplier: what a scaled value is rounded by, so that 3 × 0.1 is 0.3.
    decimals: f64,
    id: u16,
}

/// What a number says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// A value, in the unit of its sense.
    Value(f64),
    /// A sensor's error.
    Error(&'static str),
}

/// What the ids mean on one model.
#[derive(Debug)]
pub struct Senses {
    /// By id and width in bytes, 0 where the length is variable; filled as ids are asked for.
    known: HashMap<(u16, u8), Option<Sense<'static>>>,
    model: Option<String>,
}

impl Senses {
    /// Those of `model`; one that the dictionary does not know has none.
    pub fn new(model: Option<&str>) -> Senses {
        Senses {
            known: HashMap::new(),
            model: model.map(str::to_owned),
        }
    }

    /// What `id` means where it was sent in `width` bytes (0: of variable length).
    pub fn of(&mut self, id: u16, width: u8) -> Option<Sense<'static>> {
        let model = self.model.as_deref();
        *self
            .known
            .entry((id, width))
            .or_insert_with(|| look_up(model, id, width))
    }
}

fn look_up(model: Option<&str>, id: u16, width: u8) -> Option<Sense<'static>> {
    let first = MEANINGS.partition_point(|one| one.id < id);
    let rows = MEANINGS.get(first..)?;
    let of_id = rows.iter().take_while(|one| one.id == id);
    let fitting: Vec<&'static Meaning> = of_id
        .filter(|one| match model {
            Some(model) => one.holds_for(model),
            None => one.everywhere || fills_without_model(id),
        })
        .collect();
    // A model with two rows for one id sends them in different widths.
    let meaning = fitting
        .iter()
        .find(|one| one.width == Some(i16::from(width)))
        .or(fitting.first())?;
    Some(sense(meaning))
}

fn sense(meaning: &'static Meaning) -> Sense<'static> {
    let digits = meaning.multiplier.as_deref().unwrap_or("1");
    let n_decimals = digits.split_once('.').map_or(0, |(_, after)| after.len());
    Sense {
        name: &meaning.name,
        unit: meaning.unit.as_deref(),
        is_signed: meaning.is_signed(),
        scale: digits.parse().unwrap_or(1.0),
        decimals: 10_f64.powi(i32::try_from(n_decimals).unwrap_or(0)),
        id: meaning.id,
    }
}

impl Sense<'_> {
    /// What the number in `width` bytes says; `raw` is unsigned, as sent.
    pub fn say(&self, width: u8, raw: u64) -> Said {
        let signed = number(raw, width, self.is_signed);
        if let Some(error) = signed.and_then(|value| self.error(value)) {
            return Said::Error(error);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a double is what charts and JSON have"
        )]
        let value = signed.map_or(raw as f64, |value| value as f64);
        Said::Value((value * self.scale * self.decimals).round() / self.decimals)
    }

    /// The codes of `trackport.sensor_error`.
    fn error(&self, value: i64) -> Option<&'static str> {
        let named = |prefixes: &[&str]| prefixes.iter().any(|one| self.name.starts_with(one));
        match self.id {
            72..=75 if named(&["Dallas Temperature "]) => match value {
                850 | 5000 => Some("not ready"),
                2000 => Some("read error"),
                3000 => Some("not connected"),
                4000 => Some("id failed"),
                _ => None,
            },
            25..=28 if named(&["BLE Temperature ", "Temperature "]) => match value {
                32767 => Some("not found"),
                32766 => Some("parse failed"),
                32765 => Some("abnormal"),
                // At hundredths of a degree these are 20, 30 and 40 °C.
                4000 if self.is_tenths() => Some("not ready"),
                3000 if self.is_tenths() => Some("not connected"),
                2000 if self.is_tenths() => Some("read error"),
                _ => None,
            },
            86 | 104 | 106 | 108 if named(&["BLE Humidity ", "Humidity "]) => match value {
                65535 => Some("not found"),
                65534 => Some("parse failed"),
                65533 => Some("abnormal"),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_tenths(&self) -> bool {
        (self.scale - 0.1).abs() < 1e-9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(model: Option<&str>, id: u16, width: u8, raw: u64) -> Option<Said> {
        Some(Senses::new(model).of(id, width)?.say(width, raw))
    }

    #[test]
    fn a_value_is_signed_by_its_width_and_has_the_decimals_of_its_scale() {
        let model = Some("FMB120");
        assert_eq!(said(model, 72, 2, 0xFFC9), Some(Said::Value(-5.5)));
        assert_eq!(said(model, 72, 4, 3), Some(Said::Value(0.3)));
        assert_eq!(said(model, 21, 1, 5), Some(Said::Value(5.0)));
    }

    #[test]
    fn an_error_code_is_no_value() {
        let model = Some("FMB120");
        for (id, raw, error) in [
            (72, 3000, "not connected"),
            (75, 850, "not ready"),
            (25, 32767, "not found"),
            (86, 65534, "parse failed"),
        ] {
            assert_eq!(said(model, id, 2, raw), Some(Said::Error(error)), "{id}");
        }
        assert_eq!(said(model, 25, 2, 4000), Some(Said::Value(40.0)));
    }

    #[test]
    fn without_a_model_an_ambiguous_id_has_no_name() {
        assert!(Senses::new(None).of(239, 1).is_some());
        assert_eq!(Senses::new(None).of(113, 1), None);
        assert_eq!(Senses::new(Some("no such model")).of(239, 1), None);
    }
}
