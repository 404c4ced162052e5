//! What trackers say, as pure functions over bytes: no sockets, clock, threads, log or files.
//!
//! - `reader`: the one place that indexes received bytes, always checked.
//! - `hex`: bytes as people paste them.
//! - `teltonika`: the Teltonika family (codecs 8, 8 Extended and 16; commands as far as naming them).
//!
//! Everything here must survive any bytes and any order of calls, therefore the lints below: nothing
//! in this module may panic, wrap silently or convert with loss.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod hex;
pub mod reader;
pub mod teltonika;
