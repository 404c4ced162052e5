//! What must hold for who asks the doctor on a machine that was installed by the README: it sees systemd, the firewall, and the database that
//! knows one user alone; and what it says helps.

use std::process::Output;

use serde_json::Value;
use trackport::protocol::teltonika::encode::login;

use crate::booted::Booted;
use crate::harness::daemon::{BINARY, text};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::{eventually, imei, secs};
use crate::root::Root;

/// As in the README; time-outs that a test can wait for.
const CONF: &str = "[timeouts]\npacket = \"1 s\"\nlogin = \"1 s\"\n[spool]\nkeep_free = \"100 MiB\"\n[[port]]\nlisten = 5027\n";

const INSTALL: &str = "
    useradd --system --home-dir /var/lib/trackport --shell /sbin/nologin trackport
    runuser -u postgres -- createuser trackport
    runuser -u postgres -- createdb --owner trackport trackport
    runuser -u postgres -- psql -qc 'create role trackport_read nologin'
    runuser -u postgres -- psql -qc 'grant pg_monitor to trackport'
    chown -R root:trackport /etc/trackport
    chmod 0750 /etc/trackport
    chmod 0640 /etc/trackport/trackport.toml
    install -d -m 0750 -o trackport -g trackport /var/lib/trackport
    runuser -u trackport -- trackport migrate
    systemctl daemon-reload
    systemctl enable --now trackport";

/// What is found of one subject: grade, text and remedy of each.
fn found(machine: &Booted, subject: &str) -> Vec<[String; 3]> {
    let output = machine.run(&["trackport", "doctor", "--json"]);
    let told = text(&output.stdout);
    let value: Value = serde_json::from_str(&told)
        .unwrap_or_else(|error| panic!("{error}: {told}{}", text(&output.stderr)));
    let wrong = value["wrong"].as_u64().unwrap() > 0;
    assert_eq!(output.status.code(), Some(i32::from(wrong)), "{told}");
    let of_subject = value["findings"].as_array().unwrap().iter();
    let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    of_subject
        .filter(|one| one["subject"] == subject)
        .map(|one| ["grade", "text", "remedy"].map(|key| word(one, key)))
        .collect()
}

/// There must be such a finding; its remedy is returned.
#[track_caller]
fn must_find(machine: &Booted, grade: &str, subject: &str, words: &str) -> String {
    let all = found(machine, subject);
    let fits = all
        .iter()
        .find(|one| one[0] == grade && one[1].contains(words));
    fits.unwrap_or_else(|| panic!("no {grade} {subject} with {words:?}: {all:#?}"))[2].clone()
}

fn running() -> Option<Booted> {
    let root = Root::new()?;
    root.install(BINARY, "/usr/bin/trackport", 0o755);
    root.write("/etc/trackport/trackport.toml", CONF);
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/trackport.service");
    root.install(unit, "/etc/systemd/system/trackport.service", 0o644);
    let machine = Booted::boot(root);
    machine.wait_property("postgresql@15-main", "ActiveState", "active", secs(60));
    machine.shell(INSTALL);
    machine.wait_property("trackport", "ActiveState", "active", secs(30));
    machine.shell(&format!(
        "runuser -u trackport -- trackport device add {}",
        imei(1)
    ));
    eventually(secs(30), "the server knows its device", || {
        text(&machine.run(&["trackport", "status"]).stdout).contains("; 1 device;")
    });
    Some(machine)
}

#[test]
fn what_systemd_knows_of_the_service_is_seen_by_root_and_so_is_the_database() {
    let Some(machine) = running() else {
        return;
    };
    for (subject, words) in [
        ("server", "up for"),
        ("ports", "1 port takes connections"),
        ("descriptors", "room for"),
        ("database", "schema version"),
        ("devices", "1 accepted"),
        ("firewall", "nothing on this machine drops"),
    ] {
        must_find(&machine, "ok", subject, words);
        let all = found(&machine, subject);
        assert!(all.iter().all(|one| one[0] == "ok"), "{all:?}");
    }
    let of_device = |machine: &Booted| -> Output {
        machine.run(&["trackport", "doctor", "--imei", &imei(1).to_string()])
    };
    let told = text(&of_device(&machine).stdout);
    assert!(told.contains("It has never reached this server."), "{told}");
    machine.inside(|| Device::login(5027, imei(1)).deliver(&packet(0, 3)));
    eventually(secs(10), "its records are there", || {
        of_device(&machine).status.success()
    });

    // A unit that nobody starts, a server that was killed, one that was stopped, one whose conf is wrong.
    machine.shell("systemctl disable trackport");
    let remedy = must_find(&machine, "odd", "server", "not started with the machine");
    machine.shell(&remedy);
    machine.shell("systemctl kill --signal KILL --kill-who main trackport");
    machine.wait_property("trackport", "NRestarts", "1", secs(30));
    machine.wait_property("trackport", "ActiveState", "active", secs(30));
    eventually(secs(30), "it answers again", || {
        machine.run(&["trackport", "status"]).status.success()
    });
    must_find(
        &machine,
        "odd",
        "server",
        "systemd has started it again once",
    );
    machine.shell("systemctl stop trackport");
    let remedy = must_find(&machine, "wrong", "server", "systemd says: inactive");
    let conf = machine.root().read("/etc/trackport/trackport.toml");
    machine
        .root()
        .write("/etc/trackport/trackport.toml", "nonsense = 1\n");
    assert!(!machine.run(&["/bin/sh", "-c", &remedy]).status.success());
    machine.wait_property("trackport", "ActiveState", "failed", secs(30));
    assert_eq!(
        machine.run(&["trackport", "doctor"]).status.code(),
        Some(78)
    );
    machine.root().write("/etc/trackport/trackport.toml", conf);
    must_find(&machine, "wrong", "server", "failed, by a wrong conf file");
}

#[test]
fn a_firewall_that_drops_a_port_is_seen_and_what_is_said_opens_it() {
    let Some(machine) = running() else {
        return;
    };
    machine.shell(
        "nft 'add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }'
         nft 'add rule inet filter input iif lo accept; add rule inet filter input tcp dport 22 accept'",
    );
    let remedy = must_find(
        &machine,
        "wrong",
        "firewall",
        "drops what comes to port 5027",
    );
    let (command, _) = remedy.split_once("; and in").unwrap();
    machine.shell(command);
    must_find(&machine, "ok", "firewall", "nothing on this machine drops");
}

#[test]
fn large_segments_that_a_tunnel_swallows_are_seen_and_max_segment_brings_packets_through() {
    let Some(machine) = running() else {
        return;
    };
    // A way that carries 1300 bytes at a time and says nothing of it.
    machine.shell(
        "ip link set lo gso_max_segs 1
         nft 'add table inet tunnel; add chain inet tunnel input { type filter hook input priority 0; }'
         nft 'add rule inet tunnel input tcp dport 5027 meta length > 1300 drop'",
    );
    let whole = packet(0, 100);
    let send = || {
        let mut device = Device::connect(5027);
        device.send(&login(imei(1)));
        assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
        // Some modems pass data on in pieces: the first one fits through.
        device.send(&whole[..700]);
        device.send(&whole[700..]);
        device.answer(4, ANSWER)
    };
    for _ in 0..3 {
        assert_eq!(machine.inside(send), Answer::Closed(vec![]));
    }
    let text = format!(
        "packets from 127.0.0.0/24 stop after 700 of {} bytes, the last 3 all there",
        whole.len()
    );
    let remedy = must_find(&machine, "wrong", "network", &text);
    let (key, _) = remedy.split_once(" below").unwrap();
    let conf = format!(
        "{}{key}\n",
        machine.root().read("/etc/trackport/trackport.toml")
    );
    machine.root().write("/etc/trackport/trackport.toml", conf);
    machine.shell("systemctl kill --signal HUP --kill-who main trackport");
    eventually(secs(10), "the packet comes through", || {
        machine.inside(send) == Answer::Bytes(vec![0, 0, 0, 100])
    });
    assert!(
        found(&machine, "network")
            .iter()
            .all(|one| one[0] != "wrong")
    );
}
