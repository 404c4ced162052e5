//! The guard that keeps a release startable on systems with an old C library: it must bite. What it says of the release itself is a
//! step of scripts/test.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::daemon::{BINARY, text};

fn guard(args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/glibc");
    Command::new(script).args(args).output().unwrap()
}

#[test]
fn a_program_that_needs_a_newer_c_library_is_told_with_the_symbols_that_do() {
    // Rust's own threads need what came with 2.34 on any system that builds here.
    let output = guard(&[BINARY, "2.17"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let line = told.lines().find(|line| line.contains("GLIBC_2.34:"));
    assert!(
        line.is_some_and(|line| line.contains("pthread_create")),
        "{told}"
    );
    assert!(
        !told.contains("GLIBC_2.2.5"),
        "2.2.5 is older than 2.17: {told}"
    );
    let output = guard(&[BINARY, "2.999"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn what_is_no_program_is_not_taken_for_one_that_needs_nothing() {
    let output = guard(&[concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(guard(&[BINARY, "new"]).status.code(), Some(1));
    assert_eq!(guard(&[]).status.code(), Some(64));
}
