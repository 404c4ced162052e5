//! The licences of everything in the lock files against those that are allowed.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::{PACKAGES, file, toml};

/// A licence that crates may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    id: String,
    /// Only these crates may have it.
    #[serde(default)]
    crates: Vec<String>,
    why: String,
}

/// A crate, as cargo tells of it.
#[derive(Debug, Deserialize)]
struct Crate {
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
}

fn allowed() -> Vec<Allowed> {
    let table = toml("tests/audit/licences.toml");
    table["licence"].clone().try_into().unwrap()
}

/// Every crate of a package's lock file, those of other systems and of the tests too.
fn crates(package: &str) -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .arg("--manifest-path")
        .arg(file(package).join("Cargo.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\nscripts/audit fetches the crates first",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

/// Why this crate may not be used; the licences by which it may are noted.
fn complaint(one: &Crate, allowed: &[Allowed], used: &mut BTreeSet<String>) -> Option<String> {
    let who = format!("{} {}", one.name, one.version);
    let Some(text) = &one.license else {
        return Some(format!("{who}: names no licence"));
    };
    // "MIT/Apache-2.0" is how a choice was written once.
    let expression = match Expression::parse_mode(text, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{who}: {text:?} is no licence: {}", error.reason)),
    };
    let may = expression.evaluate(|asked| {
        let Some(id) = asked.license.id() else {
            return false;
        };
        let found = allowed.iter().find(|known| {
            known.id == id.name && (known.crates.is_empty() || known.crates.contains(&one.name))
        });
        used.extend(found.map(|known| known.id.clone()));
        found.is_some() && asked.addition.is_none()
    });
    (!may).then(|| format!("{who}: {text} is not allowed by tests/audit/licences.toml"))
}

#[test]
fn every_crate_may_be_used_by_its_licence_and_no_more_is_allowed() {
    let allowed = allowed();
    let mut used = BTreeSet::new();
    for package in PACKAGES {
        let crates = crates(package);
        assert!(crates.len() > 100, "{package}: {}", crates.len());
        let complaints: Vec<String> = crates
            .iter()
            .filter_map(|one| complaint(one, &allowed, &mut used))
            .collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
    for known in &allowed {
        assert!(used.contains(&known.id), "{}: nobody needs it", known.id);
        assert!(!known.why.is_empty(), "{}: why?", known.id);
    }
}

#[test]
fn a_licence_that_binds_to_more_is_found() {
    let found = |name: &str, license: Option<&str>| {
        let one = Crate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
        };
        complaint(&one, &allowed(), &mut BTreeSet::new())
    };
    for license in [
        "MIT OR GPL-3.0-only",
        "MIT/Unlicense",
        "(MIT OR BSL-1.0) AND Unicode-3.0",
    ] {
        assert_eq!(found("x", Some(license)), None, "{license}");
    }
    for license in [
        "GPL-3.0-only",
        "MIT AND AGPL-3.0-or-later",
        "MPL-2.0",
        "LicenseRef-own",
        "MIT-ish",
        "NCSA",
    ] {
        assert!(found("x", Some(license)).is_some(), "{license}");
    }
    assert!(found("x", None).is_some());
    assert_eq!(
        found("libfuzzer-sys", Some("(MIT OR Apache-2.0) AND NCSA")),
        None
    );
}
