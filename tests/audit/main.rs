//! What must hold for everything that trackport is made of: nothing in the lock files is known to be vulnerable, comes from anywhere but
//! the registry, or has a licence that binds whoever gets trackport to more than its own.
//!
//! Run by scripts/audit, which fetches the crates first; needs no network. What is known lies beside this in `advisories.toml`, what
//! is allowed in `licences.toml`. Each check is shown to bite by something planted.

// The exception for tests in clippy.toml does not reach their helper functions.
#![allow(clippy::unwrap_used)]

mod licences;
mod lock;

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the packages whose lock files are kept.
const PACKAGES: [&str; 2] = ["", "tests/fuzz"];

/// A file of this project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text as TOML.
fn toml(path: &str) -> toml::Table {
    fs::read_to_string(file(path)).unwrap().parse().unwrap()
}
