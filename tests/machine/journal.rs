//! What must hold in a real journal: entries arrive with the fields that an operator asks for, whatever is in them, and while the journal
//! itself is stopped nobody waits.

use serde_json::Value;
use trackport::protocol::teltonika::encode::login;

use crate::booted::Booted;
use crate::harness::daemon::BINARY;
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::{eventually, imei, secs};
use crate::root::Root;

const CONF: &str = "\
[database]
url = \"postgresql:///trackport?host=/run/postgresql\"
[devices]
accept = \"any\"
[log.modules]
port = \"debug\"
[[port]]
listen = \"127.0.0.1:5027\"
[[port]]
listen = \"127.0.0.1:5028\"
accept = \"known\"
";

/// A service as plain as can be: what is looked at is the journal.
const UNIT: &str = "\
[Service]
Type=notify
User=postgres
ExecStart=/usr/bin/trackport run
RuntimeDirectory=trackport
StateDirectory=trackport
";

/// A machine on which trackport runs.
fn running() -> Option<Booted> {
    let root = Root::new()?;
    root.install(BINARY, "/usr/bin/trackport", 0o755);
    root.write("/etc/trackport/trackport.toml", CONF);
    root.write("/etc/systemd/system/trackport.service", UNIT);
    let machine = Booted::boot(root);
    machine.wait_property("postgresql@15-main", "ActiveState", "active", secs(60));
    machine.shell("su postgres -c 'createdb trackport'");
    machine.must(&["systemctl", "start", "trackport"]);
    machine.inside(|| {
        eventually(secs(60), "a login", || {
            Device::try_login(5027, imei(9)).is_some()
        });
    });
    Some(machine)
}

/// The entries that match, as the journal has them.
fn entries(machine: &Booted, matches: &[&str]) -> Vec<Value> {
    let mut args = vec!["journalctl", "--unit", "trackport", "--output", "json"];
    args.extend(["--no-pager", "--quiet"]);
    args.extend(matches);
    let text = machine.must(&args);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_journal_has_the_fields_of_every_fact() {
    let Some(machine) = running() else {
        return;
    };
    let peer = machine.inside(|| {
        let mut device = Device::login(5027, imei(1));
        device.deliver(&packet(0, 1));
        let mut stranger = Device::connect(5028);
        stranger.send(&login(imei(2)));
        stranger.expect_last(&[0], ANSWER);
        device.address()
    });
    let of_first = format!("TRACKPORT_IMEI={}", imei(1));
    let of_second = format!("TRACKPORT_IMEI={}", imei(2));
    eventually(secs(10), "its entries", || {
        entries(&machine, &[&of_first]).len() >= 2 && !entries(&machine, &[&of_second]).is_empty()
    });
    let accepted = entries(&machine, &[&of_first, "TRACKPORT_FACT=login_accepted"]);
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    for (field, wanted) in [
        ("PRIORITY", "7"),
        ("SYSLOG_IDENTIFIER", "trackport"),
        ("THREAD", "port 127.0.0.1:5027"),
        ("TARGET", "trackport::port::login"),
        ("CODE_FILE", "src/port/login.rs"),
        ("TRACKPORT_PORT", "127.0.0.1:5027"),
        ("TRACKPORT_PEER", peer.as_str()),
        ("_TRANSPORT", "journal"),
        ("_SYSTEMD_UNIT", "trackport.service"),
    ] {
        assert_eq!(accepted[0][field], wanted, "{field} of {}", accepted[0]);
    }
    let line = accepted[0]["CODE_LINE"].as_str().unwrap();
    assert!(line.parse::<u32>().is_ok_and(|line| line > 0));
    let message = accepted[0]["MESSAGE"].as_str().unwrap();
    assert!(
        message.starts_with("port 127.0.0.1:5027: login accepted port="),
        "{message}"
    );
    let refused = entries(&machine, &[&of_second]);
    let reasons: Vec<&Value> = refused.iter().map(|one| &one["TRACKPORT_REASON"]).collect();
    assert!(
        reasons.contains(&&Value::from("the device is not known")),
        "{refused:?}"
    );
    // What needs a person.
    machine.shell("systemctl stop postgresql@15-main");
    eventually(secs(30), "an error of the database", || {
        entries(&machine, &["TRACKPORT_FACT=database_away"])
            .iter()
            .any(|entry| entry["PRIORITY"] == "3" && entry["TRACKPORT_ERROR"].is_string())
    });
    assert!(
        entries(&machine, &["_TRANSPORT=stdout", "_COMM=trackport"]).is_empty(),
        "everything goes by the journal's own protocol"
    );
}

#[test]
fn a_journal_that_stands_still_or_is_restarted_keeps_no_device_waiting() {
    let Some(machine) = running() else {
        return;
    };
    machine.shell("systemctl kill --signal=STOP systemd-journald");
    // Much more than the journal's sockets hold: every byte of a device.
    let traced = imei(9).to_string();
    machine.must(&["trackport", "trace", &traced, "--to-log", "on"]);
    machine.inside(|| {
        let mut device = Device::login(5027, imei(9));
        for n in 0..100 {
            let begun = std::time::Instant::now();
            device.deliver(&packet(n * 255, 255));
            let took = begun.elapsed();
            assert!(took < secs(5), "packet {n}: {took:?}");
        }
    });
    machine.must(&["trackport", "trace", &traced, "--to-log", "off"]);
    let status = machine.must(&["trackport", "status"]);
    assert!(
        status.contains("because nobody read them in time"),
        "{status}"
    );
    machine.shell("systemctl kill --signal=CONT systemd-journald");
    machine.must(&["systemctl", "restart", "systemd-journald"]);
    machine.must(&["systemctl", "kill", "--signal=HUP", "trackport"]);
    eventually(secs(20), "the journal goes on", || {
        !entries(&machine, &["TRACKPORT_FACT=conf_reloaded"]).is_empty()
    });
    machine.wait_journal(
        "trackport",
        secs(5),
        &["log lines left out before this one"],
    );
}
