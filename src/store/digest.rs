//! The digest that tells whether a text is the one that was there before.

use std::fmt::Write as _;

use twox_hash::XxHash3_64;

/// XXH3-64 of `text`, written as hex.
pub(super) fn digest_of(text: &str) -> String {
    let mut hex = String::with_capacity(16);
    write!(hex, "{:016x}", XxHash3_64::oneshot(text.as_bytes()))
        .expect("writing to a String cannot fail");
    hex
}
