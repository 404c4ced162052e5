//! Somebody who has a bare machine, the packages and the README, and does what it says, word for word: the commands are read from it.

use std::fs;
use std::path::Path;

use crate::booted::Booted;
use crate::harness::secs;
use crate::packages::Packages;
use crate::root::Root;

const UNIT: &str = "trackport";

/// The commands of README.md below the mark `<!-- install: NAME -->`.
pub fn block(name: &str) -> String {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mark = format!("<!-- install: {name} -->\n```sh\n");
    let (_, rest) = readme
        .split_once(&mark)
        .unwrap_or_else(|| panic!("README.md has no mark for {name}"));
    rest.split_once("```\n")
        .expect("the end of the commands")
        .0
        .to_owned()
}

#[test]
fn the_readmes_words_lead_from_a_bare_machine_to_rows() {
    let (Some(packages), Some(root)) = (Packages::new(), Root::new()) else {
        return;
    };
    let deb = packages.deb();
    root.install(
        &deb,
        &format!("/root/{}", deb.file_name().unwrap().to_str().unwrap()),
        0o644,
    );
    let machine = Booted::boot(root);
    machine.shell(&format!("cd /root\n{}", block("debian")));
    // Nothing starts before its conf and its database are there.
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(machine.property(UNIT, "UnitFileState"), "disabled");

    let told = machine.shell(&block("start"));
    assert!(told.contains("active (running)"), "{told}");
    machine.wait_property(UNIT, "ActiveState", "active", secs(10));
    let told = machine.shell(&block("try"));
    let rows = told
        .lines()
        .filter(|line| line.contains(" | Van 7 | "))
        .count();
    assert_eq!(rows, 11, "as many as the examples have records:\n{told}");

    // An edit, a reload: the new port is there, and the process is the same.
    let process = machine.property(UNIT, "MainPID");
    machine
        .shell("sed -i 's/^listen = 5027/listen = \"5027-5028\"/' /etc/trackport/trackport.toml");
    machine.shell("runuser -u trackport -- trackport check");
    machine.shell("systemctl reload trackport");
    // systemd has asked it to; it says when it has.
    machine.wait_journal(UNIT, secs(30), &["conf reloaded", "ports_added=1"]);
    machine.shell(
        "trackport send --imei 356307042441013 --to localhost:5028 /usr/share/doc/trackport/examples/capture.hex",
    );
    assert_eq!(machine.property(UNIT, "MainPID"), process);
    let count =
        "runuser -u postgres -- psql -At trackport -c 'select count(*) from trackport.record'";
    assert_eq!(
        machine.shell(count).trim(),
        "11",
        "what comes twice is stored once"
    );

    machine.shell("systemctl stop trackport");
    assert_eq!(machine.property(UNIT, "Result"), "success");
    assert_eq!(machine.property(UNIT, "ExecMainStatus"), "0");
    assert_eq!(machine.shell(count).trim(), "11");
    // The completions are such that a shell takes them.
    let bash = "source /usr/share/bash-completion/completions/trackport; complete -p trackport";
    let told = machine.must(&["bash", "-c", bash]);
    assert!(told.contains("_trackport"), "{told}");
}

#[test]
fn every_way_of_the_readme_has_its_commands() {
    for name in ["el9", "debian", "start", "try"] {
        let commands = block(name);
        assert!(!commands.trim().is_empty(), "{name}");
        assert!(!commands.contains("sudo"), "{name} is run as root");
    }
    assert!(block("el9").contains("dnf install"));
}
