//! Which model a device may be, by the elements it sends: a suggestion for a person to confirm, never more.
//!
//! The model is not on the wire. What is: AVL ids and the widths of their values, which the maker's tables give for each model. A model
//! explains an element when its table has the id in that width. Models that explain the same fit equally; the tables leave elements out
//! here and there, so that the best model need not explain all. Invariant: nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use postgres::GenericClient;

use super::dictionary::MEANINGS;
use super::error::StoreError;
use crate::imei::Imei;
use crate::protocol::teltonika::{Codec, Io, IoValue};

/// The newest records that are looked at.
const RECORDS: i64 = 200;
/// Fewer different elements than this say little.
const ELEMENTS_MIN: usize = 6;

/// An element as it is sent: its id, and the bytes of its value; `None`: any number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The AVL id.
    pub id: u16,
    /// Bytes on the wire.
    pub width: Option<u8>,
}

/// Models that explain the same of what a device sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// In alphabetical order; more than one fit equally.
    pub models: Vec<&'static str>,
    /// Elements that their tables have, in the width sent.
    pub n_explained: usize,
    /// Those that they have not.
    pub unexplained: Vec<Sent>,
}

/// What can be said of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggested {
    /// The device.
    pub imei: Imei,
    /// The model that is set.
    pub model: Option<String>,
    /// Different elements in its newest records.
    pub n_elements: usize,
    /// The best first.
    pub suggestions: Vec<Suggestion>,
}

impl Suggested {
    /// The models that fit best, where the elements say enough; one that is set already is among them or not.
    pub fn best(&self) -> Option<&Suggestion> {
        self.suggestions
            .first()
            .filter(|_| self.n_elements >= ELEMENTS_MIN)
    }

    /// The one model that fits better than all others.
    pub fn only(&self) -> Option<&'static str> {
        match self.best()?.models.as_slice() {
            [model] => Some(model),
            _ => None,
        }
    }
}

/// For each model the elements of its table; those of any width have none.
static TABLES: LazyLock<BTreeMap<&'static str, BTreeSet<Sent>>> = LazyLock::new(|| {
    let mut tables: BTreeMap<&'static str, BTreeSet<Sent>> = BTreeMap::new();
    for meaning in MEANINGS.iter() {
        let width = meaning
            .width
            .and_then(|width| u8::try_from(width).ok())
            .filter(|width| matches!(width, 1 | 2 | 4 | 8));
        for model in &meaning.models {
            tables.entry(model).or_default().insert(Sent {
                id: meaning.id,
                width,
            });
        }
    }
    tables
});

/// The models by how well they explain `sent`, the best first.
pub fn suggest_model(sent: &BTreeSet<Sent>) -> Vec<Suggestion> {
    let mut by_unexplained: BTreeMap<Vec<Sent>, Vec<&'static str>> = BTreeMap::new();
    for (model, table) in TABLES.iter() {
        let explains = |one: &&Sent| {
            table.contains(one)
                || table.contains(&Sent {
                    width: None,
                    ..**one
                })
        };
        let unexplained: Vec<Sent> = sent.iter().filter(|one| !explains(one)).copied().collect();
        by_unexplained.entry(unexplained).or_default().push(model);
    }
    let mut suggestions: Vec<Suggestion> = by_unexplained
        .into_iter()
        .map(|(unexplained, models)| Suggestion {
            models,
            n_explained: sent.len() - unexplained.len(),
            unexplained,
        })
        .collect();
    suggestions.sort_by_key(|one| std::cmp::Reverse(one.n_explained));
    suggestions
}

/// The elements of an IO section.
pub fn sent(codec: Codec, bytes: &[u8]) -> impl Iterator<Item = Sent> {
    Io { codec, bytes }.elements().map(|element| Sent {
        id: element.id,
        width: match element.value {
            IoValue::Fixed { width, .. } => Some(width),
            IoValue::Bytes(_) => None,
        },
    })
}

/// What can be said of a device by its newest records; `None` where there is no such device.
///
/// # Errors
/// When the database does not answer.
pub fn suggest(
    client: &mut impl GenericClient,
    imei: Imei,
) -> Result<Option<Suggested>, StoreError> {
    let row = client.query_opt(
        "SELECT id, model FROM trackport.device WHERE imei = $1",
        &[&imei.to_string()],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    let (id, model): (i32, Option<String>) = (row.get(0), row.get(1));
    let rows = client.query(
        "SELECT codec, io FROM trackport.record WHERE device_id = $1 ORDER BY time DESC LIMIT $2",
        &[&id, &RECORDS],
    )?;
    let mut all = BTreeSet::new();
    for row in &rows {
        let codec: i16 = row.get(0);
        if let Some(codec) = u8::try_from(codec).ok().and_then(Codec::from_id) {
            all.extend(sent(codec, row.get(1)));
        }
    }
    Ok(Some(Suggested {
        imei,
        model,
        n_elements: all.len(),
        suggestions: if all.is_empty() {
            Vec::new()
        } else {
            suggest_model(&all)
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: &[(u16, u8)]) -> BTreeSet<Sent> {
        let elements = elements.iter();
        elements
            .map(|&(id, width)| Sent {
                id,
                width: Some(width),
            })
            .collect()
    }

    #[test]
    fn what_only_one_family_sends_tells_it_from_the_others() {
        // The wheel speed in four bytes is a truck tracker's, the data mode in one byte a car tracker's.
        let truck = suggest_model(&of(&[(239, 1), (240, 1), (216, 4), (80, 4), (113, 4)]));
        assert!(truck[0].models.contains(&"FMB640"), "{truck:?}");
        assert!(!truck[0].models.contains(&"FMB120"));
        let car = suggest_model(&of(&[(239, 1), (240, 1), (16, 4), (80, 1), (113, 1)]));
        assert!(car[0].models.contains(&"FMB120"), "{car:?}");
        assert!(!car[0].models.contains(&"FMB640"));
    }

    #[test]
    fn models_that_explain_the_same_are_one_suggestion() {
        let suggestions = suggest_model(&of(&[(239, 1)]));
        assert!(suggestions[0].models.len() > 50);
        assert!(suggestions[0].models.is_sorted());
        assert_eq!(suggestions[0].n_explained, 1);
        let n_models: usize = suggestions.iter().map(|one| one.models.len()).sum();
        assert_eq!(n_models, TABLES.len());
    }

    #[test]
    fn an_element_that_no_table_has_rules_nobody_out() {
        let elements = [(239, 1), (240, 1), (16, 4), (80, 1), (113, 1), (65_000, 8)];
        let suggestions = suggest_model(&of(&elements));
        assert!(suggestions[0].models.contains(&"FMB120"));
        assert_eq!(
            suggestions[0].unexplained,
            [Sent {
                id: 65_000,
                width: Some(8)
            }]
        );
    }
}
