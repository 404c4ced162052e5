//! The dictionary of AVL ids: what an id means on which model, as the maker's tables say it.
//!
//! Knows the CSV beside it; which id fills which column is `typed.rs`'s business, the table `avl_id.rs`'s.
//!
//! `dictionary/avl_ids.csv`: 3553 rows, 2423 ids, one row per (id, name, width, type, multiplier, unit) with
//! the models for which it holds. 3096 rows come from the maker's wiki pages "Data Sending Parameters ID" of 33
//! models as of August 2026 (facts taken from the machine-readable form in the project ErnestasD/gps_tracker), 457 from the
//! dump of July 2024 in alim-zanibekov/teltonika (MIT), marked "2024 table only"; basic ids were checked against the FM3400,
//! FMB010 and FM1100 manuals, widths against captures. Names are the maker's property names. Corrected there: `mV` printed
//! beside x0.001, x10 for x0.1 on Dallas temperatures, scales inside units. Trust the width in the packet, not the one here.

use std::sync::LazyLock;

use serde::Deserialize;

pub(super) const CSV: &str = include_str!("dictionary/avl_ids.csv");

/// The columns of the CSV as they are written.
#[derive(Deserialize)]
struct Written {
    id: u16,
    name: String,
    bytes: String,
    r#type: String,
    min: String,
    max: String,
    multiplier: String,
    unit: String,
    description: String,
    models: String,
}

/// What one AVL id means on some models.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// The AVL id.
    pub id: u16,
    /// The maker's name of the property.
    pub name: String,
    /// Width in bytes where the tables give one; the packet decides.
    pub width: Option<i16>,
    /// `unsigned`, `signed`, `hex` or `ascii`.
    pub kind: String,
    /// Smallest raw value, where it is a number.
    pub min: Option<f64>,
    /// Largest raw value, where it is a number.
    pub max: Option<f64>,
    /// What the raw value is multiplied by to give the unit, in decimal digits; `None`: 1.
    pub multiplier: Option<String>,
    /// The unit after multiplication.
    pub unit: Option<String>,
    /// Category in brackets, then what the values mean.
    pub description: String,
    /// Models for which this holds.
    pub models: Vec<String>,
    /// Name, sign, multiplier and unit are the same in every row of the id.
    pub everywhere: bool,
}

impl Meaning {
    /// Whether the raw value is a two's complement number.
    pub fn is_signed(&self) -> bool {
        self.kind == "signed"
    }

    /// Whether this holds for `model`.
    pub fn holds_for(&self, model: &str) -> bool {
        self.models.iter().any(|one| one == model)
    }

    fn sense(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (
            &self.name,
            &self.kind,
            self.multiplier.as_deref(),
            self.unit.as_deref(),
        )
    }
}

/// Every row of the dictionary in its order: sorted by id, the meaning of the commonest models first.
pub static MEANINGS: LazyLock<Vec<Meaning>> = LazyLock::new(|| {
    let mut meanings: Vec<Meaning> = csv::Reader::from_reader(CSV.as_bytes())
        .deserialize()
        .map(|row| meaning(row.expect("the embedded dictionary is read whole by a test")))
        .collect();
    for same_id in meanings.chunk_by_mut(|one, next| one.id == next.id) {
        let everywhere = same_id
            .windows(2)
            .all(|pair| pair[0].sense() == pair[1].sense());
        for meaning in same_id {
            meaning.everywhere = everywhere;
        }
    }
    meanings
});

fn meaning(row: Written) -> Meaning {
    let mut multiplier = some(row.multiplier);
    // The tables of the personal trackers leave the scale of these out; their own ranges and
    // remarks give it (two bytes, hundredths of a degree and tenths of a percent).
    if multiplier.is_none() && row.name.starts_with("BLE Temperature #") {
        multiplier = Some("0.01".to_owned());
    }
    if multiplier.is_none() && row.name.starts_with("BLE Humidity #") && row.max == "1000" {
        multiplier = Some("0.1".to_owned());
    }
    Meaning {
        id: row.id,
        name: row.name,
        width: row.bytes.parse().ok(),
        kind: row.r#type,
        min: number(&row.min),
        max: number(&row.max),
        multiplier,
        unit: some(row.unit),
        description: row.description,
        models: row.models.split_whitespace().map(str::to_owned).collect(),
        everywhere: false,
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn number(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a range for people, not a value"
        )]
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|value| value as f64),
        None => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_dictionary_is_read_whole() {
        assert_eq!(MEANINGS.len(), 3553);
        assert!(MEANINGS.is_sorted_by_key(|one| one.id), "ids in order");
    }

    #[test]
    fn an_id_with_two_meanings_is_not_the_same_everywhere() {
        let everywhere = |id| MEANINGS.iter().find(|one| one.id == id).unwrap().everywhere;
        assert!(everywhere(239));
        assert!(everywhere(72));
        assert!(!everywhere(113));
        assert!(!everywhere(16));
    }
}
