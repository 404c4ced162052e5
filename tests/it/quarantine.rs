//! What must hold for people who work on quarantine: they see what is in it, bring back what can be brought back, lose nothing
//! without having said so, and are told while something in it needs them.

use std::fs;
use std::process::Output;

use postgres::Client;
use serde_json::Value;
use trackport::imei::Imei;
use trackport::protocol::hex;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{RecordSpec, login};
use trackport::store::quarantine::{self as store, QuarantineEntry, Seen};
use twox_hash::XxHash3_64;

use crate::harness::daemon::{Daemon, Setup, started, text};
use crate::harness::device::{ANSWER, Device, encode, packet, record};
use crate::harness::rows::{REFUSE_AT_COMMIT, add, number, quarantine, records};
use crate::harness::{eventually, free_port, imei, join, postgres as pg, secs, spawn};

const NO_GHOSTS: &str =
    "ALTER TABLE trackport.record ADD CONSTRAINT no_ghosts CHECK (speed_kmh <> 666)";
const GHOSTS_AGAIN: &str = "ALTER TABLE trackport.record DROP CONSTRAINT no_ghosts";

/// A packet of `n` records that `NO_GHOSTS` refuses.
fn ghost(second: u64, n: u64) -> Vec<u8> {
    let records: Vec<RecordSpec> = (second..second + n)
        .map(|second| RecordSpec {
            speed_kmh: 666,
            ..record(second)
        })
        .collect();
    encode(Codec::Codec8, &records)
}

fn spoiled(mut packet: Vec<u8>) -> Vec<u8> {
    *packet.last_mut().unwrap() ^= 1;
    packet
}

fn entry<'a>(imei: Option<Imei>, code: &'a str, bytes: &'a [u8]) -> QuarantineEntry<'a> {
    QuarantineEntry {
        imei,
        device_id: None,
        received_at: std::time::UNIX_EPOCH + secs(1_767_225_700),
        port: Some(5027),
        address: None,
        reason: "for a test",
        code,
        bytes,
        digest: XxHash3_64::oneshot(bytes).cast_signed(),
        n_records: None,
    }
}

/// Puts an entry that was not acked into quarantine and returns its number.
#[track_caller]
fn put(client: &mut Client, entry: &QuarantineEntry<'_>) -> i64 {
    store::report(client, entry).unwrap();
    id_of(client, entry.bytes)
}

#[track_caller]
fn id_of(client: &mut Client, bytes: &[u8]) -> i64 {
    let sql = "SELECT id FROM trackport.quarantine WHERE bytes = $1";
    number(client, sql, &[&bytes])
}

fn n_entries(client: &mut Client) -> i64 {
    number(client, "SELECT count(*) FROM trackport.quarantine", &[])
}

/// A conf file without a server, and its database.
fn desk() -> (Daemon, Client) {
    let (database, client) = pg::shared().migrated();
    (Setup::new(&database.url).port(free_port()).write(), client)
}

/// A command that ends with `code`; returns what it printed, what it said about it behind that.
#[track_caller]
fn ends(daemon: &Daemon, code: i32, args: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = daemon.command(&[&["quarantine"], args].concat());
    let told = text(&stdout) + &text(&stderr);
    assert_eq!(status.code(), Some(code), "{args:?}\n{told}");
    told
}

#[track_caller]
fn says(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "{word:?} is not in:\n{told}");
    }
}

#[track_caller]
fn wait_alerting(daemon: &Daemon, n: u64) {
    eventually(secs(15), &format!("{n} packets alerting"), || {
        daemon.status().quarantine_alerting == n
    });
}

#[test]
fn what_a_constraint_refused_is_stored_by_retry_once_the_constraint_is_gone() {
    let (daemon, mut client, port) = started();
    client.batch_execute(NO_GHOSTS).unwrap();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    // One of a few rows, one of so many that they go another way into the table.
    for ghost in [ghost(10, 2), ghost(100, 60)] {
        device.deliver(&ghost);
    }
    assert_eq!(records(&mut client, imei(1)), 1);
    let told = ends(&daemon, 1, &["retry", "--all"]);
    says(&told, &["stays: ", "no_ghosts", "2 stay"]);
    assert_eq!(n_entries(&mut client), 2);
    client.batch_execute(GHOSTS_AGAIN).unwrap();
    // The model that is known by now decides what its records mean.
    daemon.must(&["device", "set", &imei(1).to_string(), "--model", "FMB920"]);
    let told = ends(&daemon, 0, &["retry", "--all", "--dry-run"]);
    says(
        &told,
        &[
            "60 records would be stored, 60 of them new",
            "nothing is changed",
        ],
    );
    assert_eq!(
        (n_entries(&mut client), records(&mut client, imei(1))),
        (2, 1)
    );
    let (port_of, received_at): (i32, std::time::SystemTime) = {
        let sql = "SELECT port, received_at FROM trackport.quarantine ORDER BY id LIMIT 1";
        let row = client.query_one(sql, &[]).unwrap();
        (row.get(0), row.get(1))
    };
    let id = id_of(&mut client, &ghost(10, 2)).to_string();
    let told = ends(&daemon, 0, &["retry", &id]);
    says(&told, &["2 records stored, 2 of them new", "none stays"]);
    says(
        &ends(&daemon, 0, &["retry", "--imei", &imei(1).to_string()]),
        &["60 records stored"],
    );
    assert_eq!(
        (n_entries(&mut client), records(&mut client, imei(1))),
        (0, 63)
    );
    let row = client
        .query_one(
            "SELECT port, received_at, ignition, external_voltage_mv, odometer_m, satellites
             FROM trackport.record WHERE speed_kmh = 666 ORDER BY time LIMIT 1",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get(1)), (port_of, received_at));
    assert_eq!(
        (row.get(2), row.get(3), row.get(4), row.get(5)),
        (Some(true), Some(12_600), Some(1_010_i64), 9_i16)
    );
    // The newest of them is where the device is now.
    let latest = "SELECT speed_kmh::bigint FROM trackport.latest";
    assert_eq!(number(&mut client, latest, &[]), 666);
    // Twice is said, and harmless; so is a device that sends it again.
    says(&ends(&daemon, 1, &["retry", &id]), &["there is no entry"]);
    says(
        &ends(&daemon, 0, &["retry", "--all"]),
        &["0 stored and removed"],
    );
    Device::login(port, imei(1)).deliver(&ghost(10, 2));
    assert_eq!(records(&mut client, imei(1)), 63);
}

#[test]
fn two_people_who_retry_at_once_store_each_record_once() {
    let (daemon, mut client) = desk();
    add(&mut client, imei(1), None);
    let packets: Vec<Vec<u8>> = (0..10).map(|n| packet(n * 50, 50)).collect();
    for bytes in &packets {
        store::keep_acked(
            &mut client,
            &entry(Some(imei(1)), "refused_by_database", bytes),
        )
        .unwrap();
    }
    let conf = daemon.conf();
    let others: Vec<_> = (0..3)
        .map(|_| {
            let conf = conf.display().to_string();
            spawn(move || {
                crate::harness::daemon::run(&["quarantine", "retry", "--all", "--conf", &conf])
            })
        })
        .collect();
    for other in others {
        let output = join(other);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    assert_eq!(
        (n_entries(&mut client), records(&mut client, imei(1))),
        (0, 500)
    );
}

#[test]
fn a_dry_run_sees_what_would_fail_only_at_the_commit() {
    let (daemon, mut client) = desk();
    add(&mut client, imei(1), None);
    client.batch_execute(REFUSE_AT_COMMIT).unwrap();
    let bytes = ghost(0, 1);
    let id = put(
        &mut client,
        &entry(Some(imei(1)), "refused_by_database", &bytes),
    )
    .to_string();
    for more in [&["--dry-run"][..], &[]] {
        let told = ends(&daemon, 1, &[&["retry", &id], more].concat());
        says(&told, &["stays: ", "refused at the commit"]);
        assert_eq!(
            (n_entries(&mut client), records(&mut client, imei(1))),
            (1, 0)
        );
    }
}

#[test]
fn records_are_stored_and_their_entry_is_removed_both_or_neither() {
    let (daemon, mut client) = desk();
    add(&mut client, imei(1), None);
    client
        .batch_execute(
            "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'nothing leaves this table'; END $$;
             CREATE TRIGGER keep BEFORE DELETE ON trackport.quarantine
             FOR EACH ROW EXECUTE FUNCTION public.keep()",
        )
        .unwrap();
    let bytes = packet(0, 2);
    put(
        &mut client,
        &entry(Some(imei(1)), "refused_by_database", &bytes),
    );
    let told = ends(&daemon, 1, &["retry", "--all"]);
    says(&told, &["stays: ", "nothing leaves this table"]);
    assert_eq!(
        (n_entries(&mut client), records(&mut client, imei(1))),
        (1, 0)
    );
}

#[test]
fn the_whole_packets_of_a_session_that_stopped_a_thread_are_stored() {
    let (daemon, mut client) = desk();
    add(&mut client, imei(1), None);
    let half = &packet(50, 1)[..20];
    let good = [
        &[0xFF][..],
        &login(imei(1)),
        &packet(0, 2),
        &packet(10, 3),
        half,
    ]
    .concat();
    let id = put(
        &mut client,
        &entry(Some(imei(1)), "stopped_a_thread", &good),
    )
    .to_string();
    says(
        &ends(&daemon, 0, &["retry", &id]),
        &["5 records stored, 5 of them new; its last 20 bytes are half a packet"],
    );
    assert_eq!(
        (n_entries(&mut client), records(&mut client, imei(1))),
        (0, 5)
    );
    // With a broken one among them the others are stored, and the entry stays.
    let mixed = [packet(20, 1), spoiled(packet(30, 1)), packet(40, 1)].concat();
    let id = put(
        &mut client,
        &entry(Some(imei(1)), "stopped_a_thread", &mixed),
    )
    .to_string();
    for n_new in ["2 of them new", "0 of them new"] {
        says(
            &ends(&daemon, 1, &["retry", &id]),
            &["stays: ", "CRC", "2 records stored", n_new],
        );
        assert_eq!(
            (n_entries(&mut client), records(&mut client, imei(1))),
            (1, 7)
        );
    }
}

#[test]
fn an_entry_that_cannot_be_brought_back_says_why() {
    let (daemon, mut client) = desk();
    let bytes = packet(0, 2);
    put(
        &mut client,
        &entry(Some(imei(1)), "refused_by_database", &bytes),
    );
    put(
        &mut client,
        &entry(None, "refused_by_database", &packet(0, 3)),
    );
    put(
        &mut client,
        &entry(Some(imei(2)), "crc", &spoiled(packet(0, 1))),
    );
    put(
        &mut client,
        &entry(Some(imei(2)), "stopped_a_thread", &packet(0, 1)[..30]),
    );
    put(
        &mut client,
        &entry(Some(imei(2)), "stopped_a_thread", &[0xFF]),
    );
    put(
        &mut client,
        &entry(Some(imei(2)), "preamble", b"GET / HTTP/1.1"),
    );
    add(&mut client, imei(2), None);
    let told = ends(&daemon, 1, &["retry", "--all"]);
    says(
        &told,
        &[
            &format!("there is no device {}", imei(1)),
            "nobody had logged in",
            "CRC",
            "no whole packet",
            "looks like HTTP",
            "0 stored and removed, 6 stay",
        ],
    );
    // The remedy that it names helps.
    daemon.must(&["device", "add", &imei(1).to_string()]);
    says(
        &ends(&daemon, 0, &["retry", "--imei", &imei(1).to_string()]),
        &["2 records stored"],
    );
    assert_eq!(
        (n_entries(&mut client), records(&mut client, imei(1))),
        (5, 2)
    );
    // Nothing is chosen by saying nothing.
    for command in ["retry", "remove", "dismiss"] {
        says(&ends(&daemon, 64, &[command]), &["which entries?"]);
    }
}

#[test]
fn list_and_show_find_what_is_asked_for_and_explain_it_by_the_model() {
    let (daemon, mut client) = desk();
    says(&ends(&daemon, 0, &["list"]), &["no entries"]);
    add(&mut client, imei(1), Some("FMB920"));
    let broken = spoiled(packet(0, 2));
    let broken_id = put(&mut client, &entry(Some(imei(1)), "crc", &broken)).to_string();
    let kept = ghost(5, 1);
    let mut refused = entry(Some(imei(2)), "refused_by_database", &kept);
    refused.n_records = Some(1);
    assert!(store::refused(&mut client, &refused).unwrap().acked);
    let told = ends(&daemon, 0, &["list"]);
    says(
        &told,
        &[
            &imei(1).to_string(),
            &imei(2).to_string(),
            "crc",
            "2026-01-01T00:01:40Z",
            "2 entries",
        ],
    );
    let (first, second) = (imei(1).to_string(), imei(2).to_string());
    for (args, wanted) in [
        (["--imei", &first, "--limit", "9"], &first),
        (["--code", "crc", "--limit", "9"], &first),
        (["--acked", "--json", "--limit", "9"], &second),
        (["--unacked", "--json", "--limit", "9"], &first),
    ] {
        let told = ends(&daemon, 0, &[&["list"], &args[..]].concat());
        let lines = told.lines().filter(|line| line.contains("35000")).count();
        assert!(
            lines == 1 && told.contains(wanted.as_str()),
            "{args:?}: {told}"
        );
    }
    says(
        &ends(&daemon, 0, &["list", "--limit", "1"]),
        &["1 of 2 entries"],
    );
    let told = ends(&daemon, 0, &["show", &broken_id]);
    says(
        &told,
        &[
            &hex::encode(&broken),
            "FMB920",
            "no: the device keeps it",
            "for a test",
            "Codec 8",
            "Ignition",
            "12.600 V",
            "WRONG",
        ],
    );
    let told = ends(&daemon, 1, &["show", "999", &broken_id, "--json"]);
    says(&told, &["there is no entry 999"]);
    let shown: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(shown["bytes"], hex::encode(&broken));
    assert_eq!(
        (&shown["acked"], &shown["n_seen"]),
        (&Value::Bool(false), &1.into())
    );
    assert!(shown["explanation"].as_array().unwrap().len() > 10);
}

#[test]
fn what_a_stranger_sent_never_steers_the_terminal() {
    let (daemon, mut client) = desk();
    client
        .execute(
            "INSERT INTO trackport.quarantine (imei, received_at, last_at, reason, code, bytes, digest, acked) VALUES
             (E'12\x1b[2J34', now(), now(), E'\x1b]0;owned\x07 \u{9b}2J\r\n', E'\x1b[31m', $1, 1, true)",
            &[&b"\x00\x0f\x1b]0;owned\x07\x9b\r123456\x1b[2J\xff".as_slice()],
        )
        .unwrap();
    let id = number(&mut client, "SELECT id FROM trackport.quarantine", &[]).to_string();
    for (code, args) in [
        (0, &["list"][..]),
        (0, &["list", "--json"]),
        (0, &["show", &id]),
        (0, &["show", &id, "--json"]),
        (0, &["export", &id]),
        (1, &["retry", &id]),
        (1, &["remove", &id]),
    ] {
        let told = ends(&daemon, code, args);
        let steering = told.chars().find(|one| one.is_control() && *one != '\n');
        assert_eq!(steering, None, "{args:?}: {told:?}");
        assert!(told.contains(&id), "{args:?}: {told:?}");
    }
}

#[test]
fn export_keeps_everything_and_writes_over_no_earlier_export() {
    let (daemon, mut client) = desk();
    add(&mut client, imei(1), Some("FMB920"));
    let packets = [spoiled(packet(0, 2)), packet(9, 1)];
    for bytes in &packets {
        put(&mut client, &entry(Some(imei(1)), "crc", bytes));
    }
    let file = daemon.folder().file("export.jsonl");
    let name = file.to_str().unwrap();
    says(
        &ends(&daemon, 0, &["export", "--to", name]),
        &["2 entries written"],
    );
    let written = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, bytes) in lines.iter().zip(&packets) {
        assert_eq!(line["bytes"], hex::encode(bytes));
        assert_eq!(line["imei"], imei(1).to_string());
        assert_eq!(
            (&line["model"], &line["code"]),
            (&"FMB920".into(), &"crc".into())
        );
        assert_eq!(
            (&line["port"], &line["reason"]),
            (&5027.into(), &"for a test".into())
        );
    }
    let told = ends(&daemon, 1, &["export", "--all", "--to", name]);
    says(&told, &[name, "name another"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    let one = id_of(&mut client, &packets[1]).to_string();
    let told = ends(&daemon, 1, &["export", &one, "998"]);
    says(&told, &[&hex::encode(&packets[1]), "there is no entry 998"]);
    assert!(!told.contains(&hex::encode(&packets[0])), "{told}");
}

#[test]
fn the_only_copy_is_removed_by_nobody_who_has_not_said_so() {
    let (daemon, mut client) = desk();
    let only_copy = ghost(0, 3);
    let mut kept = entry(Some(imei(1)), "refused_by_database", &only_copy);
    kept.n_records = Some(3);
    store::refused(&mut client, &kept).unwrap();
    let noise = spoiled(packet(0, 1));
    let noise_id = put(&mut client, &entry(Some(imei(1)), "crc", &noise)).to_string();
    let kept_id = id_of(&mut client, &only_copy).to_string();
    let told = ends(&daemon, 1, &["remove", &noise_id, &kept_id]);
    says(
        &told,
        &[
            &format!("entry {kept_id} is the only copy: 3 records of {}", imei(1)),
            "nothing is removed",
            "--yes",
        ],
    );
    assert_eq!(n_entries(&mut client), 2);
    says(&ends(&daemon, 0, &["remove", &noise_id]), &["is removed"]);
    let told = ends(&daemon, 1, &["remove", &kept_id, "997", "--yes"]);
    says(
        &told,
        &[
            &format!("entry {kept_id} is removed"),
            "there is no entry 997",
        ],
    );
    assert_eq!(n_entries(&mut client), 0);
}

#[test]
fn the_server_says_what_was_acked_and_is_in_quarantine_until_somebody_has_dealt_with_it() {
    let (mut daemon, mut client, port) = started();
    says(&daemon.must(&["status"]), &["Nothing is wrong."]);
    client.batch_execute(NO_GHOSTS).unwrap();
    let mut device = Device::login(port, imei(1));
    device.deliver(&ghost(0, 1));
    // What is not acked the device still has: no reason to wake anybody.
    let mut other = Device::login(port, imei(2));
    other.send(&spoiled(packet(0, 1)));
    other.expect_closed(ANSWER);
    wait_alerting(&daemon, 1);
    daemon.wait_log(
        secs(5),
        &[
            "acked packets in quarantine",
            "packets=1",
            "quarantine list --acked",
        ],
    );
    eventually(secs(15), "the other is counted", || {
        daemon.status().quarantine_unacked == 1
    });
    let status = daemon.status();
    assert_eq!(status.quarantine_acked, 1);
    assert_eq!(status.troubles.len(), 1, "{:?}", status.troubles);
    says(
        &status.troubles[0],
        &[
            "1 packet is in quarantine for good",
            "quarantine list --acked",
        ],
    );
    let told = daemon.must(&["status"]);
    says(
        &told,
        &[
            "WRONG:",
            "quarantine: 1 kept for good, 1 of them not dismissed; 1 not acknowledged",
        ],
    );
    // Somebody has looked: the entry stays, the alert ends.
    let id = id_of(&mut client, &ghost(0, 1)).to_string();
    says(
        &ends(&daemon, 0, &["dismiss", &id]),
        &["1 packet dismissed"],
    );
    wait_alerting(&daemon, 0);
    says(
        &daemon.must(&["status"]),
        &["Nothing is wrong.", "quarantine: 1 kept for good"],
    );
    says(&ends(&daemon, 0, &["list", "--acked"]), &["yes, dismissed"]);
    // The next one is told anew, also by a server that has just started.
    device.deliver(&ghost(10, 1));
    wait_alerting(&daemon, 1);
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
    daemon.wait_ready();
    wait_alerting(&daemon, 1);
    eventually(secs(5), "told again", || {
        daemon.log_lines(&["acked packets in quarantine"]).len() == 3
    });
    client.batch_execute(GHOSTS_AGAIN).unwrap();
    ends(&daemon, 0, &["retry", "--acked"]);
    wait_alerting(&daemon, 0);
    let status = daemon.status();
    assert_eq!((status.quarantine_acked, status.troubles), (0, vec![]));
    assert_eq!(records(&mut client, imei(1)), 2);
}

#[test]
fn at_the_bound_a_device_is_acked_no_more_until_somebody_has_made_room() {
    let (daemon, mut client, port) = started();
    let bad = spoiled(packet(0, 2));
    let send_bad = || {
        let mut device = Device::login(port, imei(1));
        device.send(&bad);
        device.ack(ANSWER)
    };
    assert_eq!((send_bad(), send_bad()), (None, None));
    client
        .execute(
            "INSERT INTO trackport.quarantine (imei, received_at, last_at, reason, code, bytes, digest, acked)
             SELECT $1, to_timestamp(n), to_timestamp(n), 'old', 'old', 'x', -n, true FROM generate_series(1, 1000) n",
            &[&imei(1).to_string()],
        )
        .unwrap();
    assert_eq!(
        (send_bad(), send_bad()),
        (None, None),
        "the third time it would be acked"
    );
    daemon.wait_log(
        secs(5),
        &[
            "quarantine full",
            &format!("`trackport quarantine list --imei {}`", imei(1)),
            "retry, or export and remove",
        ],
    );
    // Dismissing makes no room, so this is still said.
    ends(&daemon, 0, &["dismiss", "--all"]);
    let no_room = "1 device has no room left in quarantine";
    eventually(secs(15), "only the lack of room is told", || {
        let troubles = daemon.status().troubles;
        troubles.len() == 1 && troubles[0].starts_with(no_room)
    });
    // Another device is not concerned, and a good packet of this one neither.
    let mut other = Device::login(port, imei(2));
    other.deliver(&packet(0, 1));
    Device::login(port, imei(1)).deliver(&packet(50, 1));
    let kept = "SELECT count(*) FROM trackport.quarantine WHERE acked AND code = 'old'";
    assert_eq!(
        number(&mut client, kept, &[]),
        1000,
        "what was acked is never evicted"
    );
    let oldest = number(
        &mut client,
        "SELECT min(id) FROM trackport.quarantine WHERE acked",
        &[],
    );
    ends(&daemon, 0, &["remove", &oldest.to_string(), "--yes"]);
    assert_eq!(send_bad(), Some(2));
    assert!(
        quarantine(&mut client, imei(1))
            .iter()
            .any(|entry| entry.bytes == bad && entry.acked)
    );
}

#[test]
fn rotation_takes_the_oldest_that_was_not_acked_and_never_what_was() {
    let (_daemon, mut client) = desk();
    let mut kept = entry(Some(imei(1)), "refused_by_database", b"oldest of all");
    kept.received_at = std::time::UNIX_EPOCH;
    store::keep_acked(&mut client, &kept).unwrap();
    for number in 0..30_u64 {
        let bytes = number.to_be_bytes();
        let mut one = entry(Some(imei(1)), "crc", &bytes);
        one.received_at += secs(number);
        store::report(&mut client, &one).unwrap();
    }
    let entries = quarantine(&mut client, imei(1));
    assert_eq!(entries.len(), 1 + 16);
    assert_eq!(entries[0].bytes, b"oldest of all");
    assert_eq!(entries[1].bytes, 14_u64.to_be_bytes());
}

#[test]
fn what_was_acked_elsewhere_is_kept_whatever_the_bound_and_once() {
    let (_daemon, mut client) = desk();
    client
        .execute(
            "INSERT INTO trackport.quarantine (imei, received_at, last_at, reason, code, bytes, digest, acked)
             SELECT $1, now(), now(), '', '', '', -n, true FROM generate_series(1, 1000) n",
            &[&imei(1).to_string()],
        )
        .unwrap();
    let mut late = entry(Some(imei(1)), "refused_by_database", b"acked by the spool");
    late.n_records = Some(4);
    let refused = store::refused(&mut client, &entry(Some(imei(1)), "x", b"y")).unwrap();
    assert_eq!(
        refused,
        Seen {
            n_seen: 1,
            acked: false,
            is_full: false
        }
    );
    assert!(store::keep_acked(&mut client, &late).unwrap());
    let find = |client: &mut Client| {
        let mut entries = quarantine(client, imei(1));
        entries.retain(|entry| entry.bytes == b"acked by the spool");
        entries
    };
    let first = find(&mut client);
    assert_eq!((first.len(), first[0].acked, first[0].n_seen), (1, true, 1));
    // The same again, as after a kill before the segment was unlinked; within a transaction as well.
    assert!(!store::keep_acked(&mut client, &late).unwrap());
    let mut transaction = client.transaction().unwrap();
    assert!(!store::keep_acked(&mut transaction, &late).unwrap());
    transaction.commit().unwrap();
    assert_eq!(find(&mut client), first);
    // What was seen here and not acked becomes the only copy.
    let seen = entry(Some(imei(2)), "crc", b"seen before");
    put(&mut client, &seen);
    assert!(store::keep_acked(&mut client, &seen).unwrap());
    let entries = quarantine(&mut client, imei(2));
    assert_eq!(
        (entries.len(), entries[0].acked, entries[0].n_seen),
        (1, true, 1)
    );
}
