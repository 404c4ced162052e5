//! Tests on a machine of their own: a small Debian with systemd and PostgreSQL, a fresh copy for each test, entered by chroot
//! or booted. `scripts/machine` runs them; it needs root. Where that cannot be, a test says that it proves nothing.
//!
//! A module asks one kind of question; its comment says which, so that a new test finds its place.

// The exception for tests in clippy.toml does not reach their helper functions.
#![allow(clippy::unwrap_used)]

// Things to test against, the same as those of the other tests.
#[allow(dead_code)]
#[path = "../it/harness/mod.rs"]
mod harness;
// A Debian in a folder, for one test.
mod root;
// The same, booted.
mod booted;
// What stands in the journal.
mod journal;
// Which addresses matter to others.
mod addresses;
// trackport on it, as an operator has it.
mod service;
// The unit under a real systemd.
mod unit;
// Processes follow each other, and nobody is refused.
mod sockets;
// The container image, run in a network of its own.
mod container;
// What the image promises.
mod image;
// The packages that scripts/package makes.
mod packages;
// What is in them.
mod package;
// An rpm's life: rpm and dnf install, upgrade and remove it.
mod package_rpm;
// A deb's life, and both under a load.
mod package_deb;
// Somebody who has only the README.
mod newcomer;
// What stands between a tracker and a row on such a machine, and whether it is found.
mod doctor;
// The same for those who scrape.
mod web;
