//! What must hold over the life of the deb, and of both packages while devices send: an upgrade restarts the server and loses no
//! acknowledged record.

use std::path::Path;

use postgres::{Client, NoTls};

use crate::booted::Booted;
use crate::harness::load::{Load, Plan};
use crate::harness::{ms, secs};
use crate::newcomer::block;
use crate::packages::{NEW, OLD, Packages};
use crate::root::Root;

const CONF: &str = "/etc/trackport/trackport.toml";
const DATA: &str = "/var/lib/trackport/spool/segment";
const UNIT: &str = "trackport";

/// Puts a package into a root, as /root/NAME.
fn put(root: &Root, package: &Path) -> String {
    let inside = format!("/root/{}", package.file_name().unwrap().to_str().unwrap());
    root.install(package, &inside, 0o644);
    inside
}

#[test]
fn dpkg_keeps_an_edited_conf_and_all_data_through_upgrade_removal_and_purge() {
    let (Some(old), Some(new), Some(root)) = (Packages::old(), Packages::new(), Root::new()) else {
        return;
    };
    root.must(&["dpkg", "--install", &put(&root, &old.deb())]);
    let owner = |file: &str| root.must(&["stat", "--format=%A %U %G", file]);
    for upgraded in [false, true] {
        assert_eq!(owner("/etc/trackport"), "drwxr-x--- root trackport\n");
        assert_eq!(owner(CONF), "-rw-r----- root trackport\n");
        assert_eq!(
            owner("/var/lib/trackport"),
            "drwxr-x--- trackport trackport\n"
        );
        if !upgraded {
            root.must(&["sh", "-c", &format!("echo '# Edited by hand.' >>{CONF}")]);
            root.write(DATA, "acknowledged");
            root.must(&[
                "dpkg",
                "--install",
                "--force-confold",
                &put(&root, &new.deb()),
            ]);
        }
    }
    assert!(root.read(CONF).ends_with("# Edited by hand.\n"));
    let beside = root.read(&format!("{CONF}.dpkg-dist"));
    assert!(
        beside.starts_with("# The conf file"),
        "the new one lies beside it"
    );
    root.must(&["dpkg", "--remove", "trackport"]);
    assert!(!root.path("/usr/bin/trackport").exists());
    assert!(root.read(CONF).ends_with("# Edited by hand.\n"));
    assert_eq!(root.read(DATA), "acknowledged");
    root.must(&["dpkg", "--purge", "trackport"]);
    assert!(!root.path(CONF).exists());
    assert_eq!(root.read(DATA), "acknowledged", "purge keeps data");
    root.must(&["getent", "passwd", "trackport"]);
}

#[test]
fn an_upgrade_of_the_deb_under_load_restarts_the_server_and_loses_no_acked_record() {
    let (Some(old), Some(new)) = (Packages::old(), Packages::new()) else {
        return;
    };
    upgrade_under_load(
        &["dpkg", "--install", "--force-confold"],
        &old.deb(),
        &new.deb(),
    );
}

#[test]
fn an_upgrade_of_the_rpm_under_load_restarts_the_server_and_loses_no_acked_record() {
    let (Some(old), Some(new)) = (Packages::old(), Packages::new()) else {
        return;
    };
    let upgrade = [
        "rpm",
        "--upgrade",
        "--nosignature",
        "--force-debian",
        "--nodeps",
    ];
    upgrade_under_load(&upgrade, &old.rpm(), &new.rpm());
}

fn upgrade_under_load(upgrade: &[&str], old: &Path, new: &Path) {
    let Some(root) = Root::new() else {
        return;
    };
    let (old, new) = (put(&root, old), put(&root, new));
    let machine = Booted::boot(root);
    machine.must(&[upgrade, &[&old]].concat());
    machine.shell(&format!(
        "sed -i 's/^#accept = \"known\"/accept = \"any\"/' {CONF}"
    ));
    machine.shell(&block("start"));
    machine.shell("runuser -u postgres -- psql -c \"alter role trackport password 'test'\"");
    let first = machine.property(UNIT, "MainPID");
    machine.inside(|| {
        let load = Load::start(Plan {
            n_devices: 20,
            pause: ms(5),
            ..Plan::one(5027, 1)
        });
        load.wait_acks(200, secs(60));
        machine.must(&[upgrade, &[&new]].concat());
        load.wait_acks(200, secs(60));
        let report = load.finish();
        let mut client =
            Client::connect("postgresql://trackport:test@127.0.0.1/trackport", NoTls).unwrap();
        report.check(&mut client);
    });
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");
    assert_ne!(
        machine.property(UNIT, "MainPID"),
        first,
        "the new binary runs"
    );
    assert_eq!(
        machine.property(UNIT, "NRestarts"),
        "0",
        "a restart, no crash"
    );
    assert_eq!(
        machine.property(UNIT, "UnitFileState"),
        "enabled",
        "as it was"
    );
    assert!(old.contains(OLD) && new.contains(NEW));
    // The old server ended as it should.
    machine.wait_journal(UNIT, secs(5), &["Deactivated successfully"]);
}
