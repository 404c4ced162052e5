//! What lists that the database sorts and searches have in common.

use super::error::StoreError;

/// The key of an order, and its direction in SQL: a minus in front of it is the reverse.
pub(super) fn order(sort: &str) -> (&str, &'static str) {
    match sort.strip_prefix('-') {
        Some(key) => (key, "DESC"),
        None => (sort, "ASC"),
    }
}

/// Says which orders there are.
pub(super) fn no_order(asked: &str, sorts: &[&str]) -> StoreError {
    StoreError::Refused(format!(
        "sort: {asked:?} is no order; there are {}, each with a minus for the reverse",
        sorts.join(", ")
    ))
}

/// What is searched for; PostgreSQL has no text with a zero in it.
pub(super) fn needle(search: Option<&str>) -> Option<String> {
    search.map(|text| text.replace('\0', "\u{fffd}"))
}
