//! The models of the dictionary: as people type them, and what an AVL id means on one.
//!
//! Knows no device. A model decides what IO elements mean, therefore a slip of the pen is worth a warning.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::protocol::teltonika::explain;
use crate::store::dictionary::{self, MEANINGS};

static MODELS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    MEANINGS
        .iter()
        .flat_map(|meaning| meaning.models.iter().map(String::as_str))
        .collect()
});

/// Models that are offered in place of an unknown one, at most.
const NEAR_MAX: usize = 5;

/// The dictionary's way to write `model`; `None` when it has no such model.
pub fn known(model: &str) -> Option<&'static str> {
    MODELS
        .iter()
        .find(|one| one.eq_ignore_ascii_case(model.trim()))
        .copied()
}

/// `model` as the dictionary writes it where it knows it, else as it is with a warning.
pub fn checked(model: &str) -> (String, Option<String>) {
    if model.is_empty() {
        return (String::new(), None);
    }
    match known(model) {
        Some(known) => (known.to_owned(), None),
        None => (model.to_owned(), Some(unknown(model))),
    }
}

/// What is said about a model that the dictionary lacks.
pub fn unknown(model: &str) -> String {
    let near = near(model);
    let offer = match near.as_slice() {
        [] => String::new(),
        near => format!("; near it: {}", near.join(", ")),
    };
    format!(
        "the dictionary has no model {model:?}: only IO elements that mean the same on every model fill typed columns{offer}"
    )
}

/// What `id` means for `model` or on every model; where neither is known, its commonest meaning with a question mark.
pub fn meaning(id: u16, model: Option<&str>) -> Option<explain::Meaning> {
    let first = MEANINGS.partition_point(|meaning| meaning.id < id);
    let same_id = || {
        MEANINGS[first..]
            .iter()
            .take_while(|meaning| meaning.id == id)
    };
    let exact = same_id()
        .find(|meaning| meaning.everywhere || model.is_some_and(|model| meaning.holds_for(model)));
    exact
        .map(|exact| shown(exact, exact.name.clone()))
        .or_else(|| {
            same_id()
                .next()
                .map(|common| shown(common, format!("{}?", common.name)))
        })
}

fn shown(meaning: &dictionary::Meaning, name: String) -> explain::Meaning {
    explain::Meaning {
        name,
        unit: meaning.unit.clone(),
        multiplier: meaning
            .multiplier
            .as_deref()
            .and_then(|text| text.parse().ok()),
        signed: meaning.is_signed(),
    }
}

/// The models that differ least from `model`, the nearest first.
fn near(model: &str) -> Vec<&'static str> {
    let model = model.trim().to_ascii_uppercase();
    let mut near: Vec<(usize, &str)> = MODELS
        .iter()
        .map(|one| (distance(&model, one), *one))
        .filter(|(distance, _)| *distance <= 2)
        .collect();
    near.sort_unstable();
    near.into_iter()
        .map(|(_, one)| one)
        .take(NEAR_MAX)
        .collect()
}

/// Characters to insert, delete or replace until `one` is `other`.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_model_is_written_as_the_dictionary_writes_it() {
        assert_eq!(checked("fmb920"), ("FMB920".to_owned(), None));
        assert_eq!(checked(""), (String::new(), None));
    }

    #[test]
    fn an_unknown_model_is_kept_and_near_ones_are_offered() {
        let (model, warning) = checked("FMB921");
        assert_eq!(model, "FMB921");
        let warning = warning.unwrap();
        assert!(warning.contains("near it: ") && warning.contains("FMB920"));
        let (_, warning) = checked("something else");
        assert!(!warning.unwrap().contains("near it"));
    }

    #[test]
    fn the_model_decides_what_an_element_means() {
        let name = |id, model| meaning(id, model).map(|meaning| meaning.name);
        assert_eq!(name(239, None).as_deref(), Some("Ignition"));
        assert_eq!(name(113, Some("FMB920")), name(113, Some("FMB920")));
        assert_eq!(name(113, Some("FMB001")).as_deref(), Some("Battery Level"));
        assert_eq!(
            name(113, Some("FM6300")).as_deref(),
            Some("Service Distance")
        );
        assert!(name(113, None).unwrap().ends_with('?'));
        assert_eq!(name(65_535, None), None);
    }

    #[test]
    fn units_and_signs_come_from_the_dictionary() {
        let dallas = meaning(72, None).unwrap();
        assert_eq!(dallas.unit.as_deref(), Some("°C"));
        assert_eq!(dallas.multiplier, Some(0.1));
        assert!(dallas.signed);
    }

    #[test]
    fn distance_counts_changes() {
        assert_eq!(distance("FMB920", "FMB920"), 0);
        assert_eq!(distance("FMB92", "FMB920"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
