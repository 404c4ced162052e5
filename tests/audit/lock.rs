//! The lock files against what is known to be wrong with versions of crates.

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::{PACKAGES, toml};

/// The only place that crates may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A version of a crate, as a lock file names it.
#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: Version,
    source: Option<String>,
    checksum: Option<String>,
}

/// Something that is wrong with versions of a crate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    ids: Vec<String>,
    package: String,
    #[serde(default)]
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
    title: String,
}

impl Advisory {
    fn concerns(&self, locked: &Locked) -> bool {
        self.package == locked.name
            && !self
                .patched
                .iter()
                .chain(&self.unaffected)
                .any(|range| range.matches(&locked.version))
    }
}

fn advisories() -> Vec<Advisory> {
    let table = toml("tests/audit/advisories.toml");
    table["advisory"].clone().try_into().unwrap()
}

fn locked(lock: &toml::Table) -> Vec<Locked> {
    lock["package"].clone().try_into().unwrap()
}

/// What is wrong with each package of a lock file.
fn complaints(lock: &toml::Table, advisories: &[Advisory]) -> Vec<String> {
    let mut complaints = Vec::new();
    for one in locked(lock) {
        let who = format!("{} {}", one.name, one.version);
        for advisory in advisories.iter().filter(|known| known.concerns(&one)) {
            complaints.push(format!(
                "{who}: {} ({}); patched: {:?}",
                advisory.title,
                advisory.ids.join(", "),
                advisory
                    .patched
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            ));
        }
        // Our own packages have no source.
        if one.source.is_none() && !one.name.starts_with("trackport") {
            complaints.push(format!("{who}: lies beside trackport, not in the registry"));
        }
        if let Some(source) = one.source {
            if source != REGISTRY {
                complaints.push(format!("{who}: comes from {source}, not from the registry"));
            } else if one.checksum.is_none() {
                complaints.push(format!("{who}: has no checksum"));
            }
        }
    }
    complaints
}

#[test]
fn nothing_locked_is_known_to_be_vulnerable_or_comes_from_elsewhere() {
    let advisories = advisories();
    for package in PACKAGES {
        let path = format!("{package}/Cargo.lock");
        let lock = toml(path.trim_start_matches('/'));
        assert!(
            locked(&lock).len() > 100,
            "{path}: not even the database client is in it"
        );
        let complaints = complaints(&lock, &advisories);
        assert!(
            complaints.is_empty(),
            "{path}:\n{}\n`cargo update -p CRATE` takes a newer one, `cargo tree -i CRATE` says who wants it",
            complaints.join("\n")
        );
    }
    let read = &toml("tests/audit/advisories.toml")["read"];
    println!("{} advisories, read {read}", advisories.len());
}

#[test]
fn a_vulnerable_version_in_a_lock_file_is_found() {
    let lock = |name: &str, version: &str, rest: &str| -> toml::Table {
        format!("version = 4\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{rest}")
            .parse()
            .unwrap()
    };
    let good = format!("source = \"{REGISTRY}\"\nchecksum = \"00\"\n");
    let known = advisories();
    for (name, version, id) in [
        ("crossbeam-channel", "0.5.14", "RUSTSEC-2025-0024"),
        ("tokio-postgres", "0.7.17", "RUSTSEC-2026-0178"),
        ("rustls-webpki", "0.103.12", "RUSTSEC-2026-0104"),
        // Every version is at fault.
        ("fxhash", "0.2.1", "RUSTSEC-2025-0057"),
        ("tiny_http", "0.12.0", "CVE-2026-66752"),
    ] {
        let found = complaints(&lock(name, version, &good), &known);
        assert_eq!(found.len(), 1, "{name} {version}: {found:?}");
        assert!(found[0].contains(id), "{found:?}");
    }
    for (name, version) in [
        ("crossbeam-channel", "0.5.15"),
        ("mio", "1.2.5"),
        ("serde", "1.0.0"),
    ] {
        let found = complaints(&lock(name, version, &good), &known);
        assert!(found.is_empty(), "{found:?}");
    }
    let from_git = "source = \"git+https://example.com/serde?rev=1#1\"\n";
    for rest in ["", from_git, &good.replace("checksum = \"00\"\n", "")] {
        let found = complaints(&lock("serde", "1.0.0", rest), &known);
        assert_eq!(found.len(), 1, "{rest}: {found:?}");
    }
}

#[test]
fn a_version_before_the_fault_came_in_is_unaffected() {
    let advisory = Advisory {
        ids: Vec::new(),
        package: "x".to_owned(),
        patched: vec![
            ">= 2.3.0".parse().unwrap(),
            ">= 1.9.4, < 2.0.0".parse().unwrap(),
        ],
        unaffected: vec!["< 1.5.0".parse().unwrap()],
        title: String::new(),
    };
    let concerns = |version: &str| {
        advisory.concerns(&Locked {
            name: "x".to_owned(),
            version: version.parse().unwrap(),
            source: None,
            checksum: None,
        })
    };
    for version in ["1.4.9", "1.9.4", "1.10.0", "2.3.0", "3.0.0"] {
        assert!(!concerns(version), "{version}");
    }
    for version in ["1.5.0", "1.9.3", "2.0.0", "2.2.9"] {
        assert!(concerns(version), "{version}");
    }
}
