//! What must hold when the database is away or slow and the spool takes its place: acks go on, what was acked is in the table exactly
//! once when the database is back, whatever was killed meanwhile; a spool that is full or cannot be used loses nothing.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{RecordSpec, login};

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Answer, Device, encode, packet, record};
use crate::harness::load::{Load, Plan};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::{add, number, quarantine, records, set_state};
use crate::harness::{cpu_ms, eventually, free_port, imei, ms, secs};

/// What an ack may take while the spool gives it: with room for a busy machine, and less than [`TARGET`].
const PROMPT: Duration = ms(2500);
/// How long a packet waits for the database first, where that is looked at.
const TARGET: Duration = secs(4);

/// Five devices that do not lose patience.
fn patient(port: u16) -> Plan {
    Plan {
        n_devices: 5,
        n_records: 3,
        patience: secs(60),
        ..Plan::one(port, 1)
    }
}

/// Sends packets one after the other and returns the longest wait for an ack.
#[track_caller]
fn slowest(device: &mut Device, seconds: std::ops::Range<u64>) -> Duration {
    let waits = seconds.map(|second| {
        let begun = Instant::now();
        device.deliver(&packet(second, 1));
        begun.elapsed()
    });
    waits.max().unwrap_or_default()
}

/// A packet whose CRC is wrong.
fn spoiled(second: u64) -> Vec<u8> {
    let mut bytes = packet(second, 2);
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

/// A daemon whose database is stopped and whose spool has taken a first packet of device 1.
fn in_an_outage(
    cluster: &Cluster,
    setup: impl FnOnce(Setup) -> Setup,
) -> (Daemon, Device, String, u16) {
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = setup(Setup::new(&database.url).port(port)).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    eventually(secs(15), "the list is copied", || {
        daemon.folder().file("spool/devices.csv").exists()
    });
    cluster.stop_server("fast");
    device.deliver(&packet(1, 1));
    (daemon, device, database.url.clone(), port)
}

#[test]
fn acks_go_on_while_postgresql_is_stopped_and_all_is_in_the_table_once_when_it_is_back() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let load = Load::start(patient(port));
    load.wait_acks(20, ANSWER);
    cluster.stop_server("fast");
    load.wait_acks(200, secs(20));
    let status = daemon.status();
    assert_eq!(status.spool.state, "taking");
    assert!(status.spool.records >= 300, "{:?}", status.spool);
    assert!(status.spool.oldest_at.is_some());
    daemon.wait_log(secs(1), &["spool takes packets"]);
    let shown = daemon.must(&["status"]);
    assert!(shown.contains("spool taking: "), "{shown}");
    // Nobody waits for the database any more.
    let mut device = Device::login(port, imei(50));
    let longest = slowest(&mut device, 0..20);
    assert!(longest < PROMPT, "an ack took {longest:?}");
    cluster.start_server();
    load.wait_acks(200, secs(20));
    daemon.wait_drained(secs(30));
    let report = load.finish();
    assert_eq!(report.n_reconnects(), 0, "sessions stayed open");
    let mut client = database.connect();
    assert_eq!(report.check(&mut client), 0);
    assert_eq!(records(&mut client, imei(50)), 20);
    daemon.wait_log(secs(1), &["spool drained"]);
    eventually(secs(10), "no trouble is left", || {
        daemon.troubles().is_empty()
    });
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
    let left: Vec<_> = fs::read_dir(daemon.folder().file("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".seg"))
        .collect();
    assert!(left.is_empty(), "drained segments are removed: {left:?}");
}

#[test]
fn a_frozen_postgresql_delays_an_ack_by_the_target_once_and_then_no_more() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("ack_target", "4 s")
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.signal_all("STOP");
    let first = slowest(&mut device, 1..2);
    assert!(
        first > TARGET / 2 && first < TARGET + PROMPT,
        "the first ack took {first:?}"
    );
    let others = slowest(&mut device, 2..60);
    assert!(others < PROMPT, "an ack took {others:?}");
    // Long enough for the writer, which hangs, to be replaced by one that hangs as well.
    sleep(secs(7));
    let later = slowest(&mut device, 60..80);
    assert!(later < PROMPT, "an ack took {later:?}");
    cluster.signal_all("CONT");
    daemon.wait_drained(secs(60));
    assert_eq!(records(&mut database.connect(), imei(1)), 80);
    eventually(secs(30), "no trouble is left", || {
        daemon.troubles().is_empty()
    });
    let direct = slowest(&mut device, 80..90);
    assert!(direct < PROMPT, "an ack took {direct:?}");
}

#[test]
fn a_database_that_is_too_slow_for_an_ack_costs_the_target_and_not_the_statement() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("ack_target", "500 ms")
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    let begun = Instant::now();
    device.deliver(&packet(1, 3));
    assert!(begun.elapsed() < ms(500) + PROMPT, "{:?}", begun.elapsed());
    assert!(slowest(&mut device, 4..20) < PROMPT);
    transaction.commit().unwrap();
    daemon.wait_drained(secs(20));
    assert_eq!(records(&mut client, imei(1)), 20);
}

#[test]
fn an_idle_server_does_not_say_that_the_database_is_back_before_it_is() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    cluster.stop_server("fast");
    // New to everybody, so its packet waits for no writer, and no writer finds out.
    let mut device = Device::login(port, imei(77));
    device.deliver(&packet(0, 1));
    daemon.wait_log(secs(10), &["spool takes packets"]);
    sleep(secs(5));
    assert_eq!(daemon.count("spool rests"), 0, "the database is still away");
    cluster.start_server();
    daemon.wait_drained(secs(30));
    daemon.wait_log(secs(20), &["spool rests"]);
    assert_eq!(records(&mut database.connect(), imei(77)), 1);
}

#[test]
fn what_was_acked_into_the_spool_outlives_kill_9_and_a_start_without_the_database() {
    let cluster = Cluster::start();
    let (mut daemon, mut device, url, port) = in_an_outage(&cluster, |setup| setup);
    let longest = slowest(&mut device, 2..30);
    assert!(longest < PROMPT, "an ack took {longest:?}");
    for _ in 0..3 {
        daemon.kill();
        daemon.launch();
        daemon.wait_serving();
        // Known by the copy of the list, and let in although nobody can register it.
        for number in [1, 70] {
            let mut device = Device::connect(port);
            device.send(&login(imei(number)));
            assert_eq!(device.answer(1, secs(15)), Answer::Bytes(vec![1]));
            device.deliver(&packet(30, 5));
        }
    }
    // Longer than the spool has nothing to do before it says that it rests.
    sleep(secs(4));
    assert_eq!(daemon.count("spool rests"), 0, "the database is still away");
    daemon.wait_log(secs(1), &["device list loaded from its copy", "devices=1"]);
    daemon.wait_log(
        secs(1),
        &["device let in, registered later", &imei(70).to_string()],
    );
    daemon.kill();
    cluster.start_server();
    daemon.launch();
    daemon.wait_ready();
    daemon.wait_drained(secs(20));
    let mut client = pg::connect(&url);
    assert_eq!(records(&mut client, imei(1)), 35);
    assert_eq!(records(&mut client, imei(70)), 5);
    let state = "SELECT count(*) FROM trackport.device WHERE state = 'accepted'";
    assert_eq!(number(&mut client, state, &[]), 2);
}

#[test]
fn sessions_of_devices_without_an_id_go_on_when_the_database_comes() {
    let cluster = Cluster::start();
    let (mut daemon, device, url, port) = in_an_outage(&cluster, |setup| setup);
    drop(device);
    daemon.kill();
    daemon.launch();
    daemon.wait_serving();
    let mut new = Device::connect(port);
    new.send(&login(imei(70)));
    assert_eq!(new.answer(1, secs(15)), Answer::Bytes(vec![1]));
    new.deliver(&packet(0, 2));
    cluster.start_server();
    daemon.wait_ready();
    daemon.wait_drained(secs(20));
    // On the same connection, straight into the table, and shown as connected.
    new.deliver(&packet(2, 2));
    let mut client = pg::connect(&url);
    assert_eq!(records(&mut client, imei(70)), 4);
    let connected = "SELECT count(*) FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
                     WHERE s.connected AND d.imei = $1";
    eventually(secs(5), "it is shown as connected", || {
        number(&mut client, connected, &[&imei(70).to_string()]) == 1
    });
}

#[test]
fn with_known_devices_only_a_stranger_gets_no_answer_while_nobody_can_tell() {
    let cluster = Cluster::start();
    let (database, mut client) = cluster.migrated();
    for (number, state) in [(1, "accepted"), (2, "refused")] {
        add(&mut client, imei(number), None);
        set_state(&mut client, imei(number), state);
    }
    drop(client);
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).known_only().start();
    eventually(secs(15), "the list is copied", || {
        daemon.folder().file("spool/devices.csv").exists()
    });
    let mut refused = Device::connect(port);
    refused.send(&login(imei(2)));
    refused.expect_last(&[0], ANSWER);
    daemon.kill();
    cluster.stop_server("fast");
    daemon.launch();
    daemon.wait_serving();
    let mut known = Device::connect(port);
    known.send(&login(imei(1)));
    assert_eq!(known.answer(1, secs(15)), Answer::Bytes(vec![1]));
    known.deliver(&packet(0, 4));
    // One is on no list; the other may have been accepted meanwhile.
    for number in [60, 2] {
        let mut stranger = Device::connect(port);
        stranger.send(&login(imei(number)));
        // Closed by the login time-out, without 00.
        stranger.expect_closed(secs(8));
    }
    cluster.start_server();
    daemon.wait_ready();
    daemon.wait_drained(secs(20));
    assert_eq!(records(&mut database.connect(), imei(1)), 4);
    let mut refused = Device::connect(port);
    refused.send(&login(imei(2)));
    refused.expect_last(&[0], ANSWER);
}

#[test]
fn a_full_spool_stops_acks_and_drops_nothing() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .more("[limits]\nqueue = \"256 KiB\"")
        .start();
    let directory = daemon.folder().file("spool");
    let text = format!(
        "directory = \"{}\"\nkeep_free = \"0 B\"\nmax_size = \"2 MiB\"",
        directory.display()
    );
    drop(daemon);
    let daemon = Setup::new(&database.url).port(port).spool(&text).start();
    let load = Load::start(Plan {
        n_devices: 8,
        n_records: 200,
        pause: ms(0),
        patience: secs(90),
        ..Plan::one(port, 1)
    });
    load.wait_acks(20, ANSWER);
    cluster.stop_server("fast");
    daemon.wait_log(secs(60), &["spool full", "max_size"]);
    sleep(secs(1));
    let before = load.n_acked();
    sleep(secs(2));
    assert_eq!(load.n_acked(), before, "acked without a place for it");
    // Who waits for room waits; nobody spins.
    let cpu_before = cpu_ms(daemon.pid());
    sleep(secs(2));
    let cpu = cpu_ms(daemon.pid()) - cpu_before;
    assert!(cpu < 600, "{cpu} ms of processor time in 2 s of waiting");
    let status = daemon.status();
    assert_eq!(status.spool.state, "full");
    assert!(status.spool.bytes <= 2 << 20, "{:?}", status.spool);
    assert!(
        status
            .troubles
            .iter()
            .any(|trouble| trouble.contains("spool is full")),
        "{:?}",
        status.troubles
    );
    cluster.start_server();
    load.wait_acks(100, secs(30));
    daemon.wait_drained(secs(60));
    let report = load.finish();
    assert_eq!(report.n_reconnects(), 0, "sessions stayed open");
    daemon.wait_drained(secs(60));
    assert_eq!(report.check(&mut database.connect()), 0);
    eventually(secs(10), "no trouble is left", || {
        daemon.troubles().is_empty()
    });
}

#[test]
fn one_process_uses_a_spool_and_another_says_who_has_it() {
    let (database, _client) = pg::shared().migrated();
    let first = Setup::new(&database.url).port(free_port()).start();
    let directory = first.folder().file("spool");
    let (other_database, mut client) = pg::shared().migrated();
    let port = free_port();
    let second = Setup::new(&other_database.url)
        .port(port)
        .spool(&format!("directory = \"{}\"", directory.display()))
        .launch();
    let pid = first.pid().to_string();
    second.wait_log(secs(10), &["spool not usable", "in use", &pid]);
    // It works without, as long as its database does.
    let mut device = Device::connect(port);
    device.send(&login(imei(1)));
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
    device.deliver(&packet(0, 1));
    assert_eq!(records(&mut client, imei(1)), 1);
    drop(first);
    // And takes it over when it is free.
    eventually(secs(20), "no trouble is left", || {
        second.troubles().is_empty()
    });
}

#[test]
fn a_broken_packet_is_acked_the_third_time_also_while_the_database_is_away() {
    let cluster = Cluster::start();
    let (daemon, device, url, port) = in_an_outage(&cluster, |setup| setup);
    drop(device);
    let bad = spoiled(10);
    for _ in 0..2 {
        let mut device = Device::login(port, imei(1));
        device.send(&bad);
        device.expect_closed(ANSWER);
    }
    let mut device = Device::login(port, imei(1));
    device.send(&bad);
    assert_eq!(device.ack(ANSWER), Some(2));
    device.deliver(&packet(20, 1));
    cluster.start_server();
    daemon.wait_drained(secs(20));
    let mut client = pg::connect(&url);
    let entries = quarantine(&mut client, imei(1));
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((&entries[0].bytes, entries[0].acked), (&bad, true));
    assert_eq!(
        (entries[0].code.as_str(), entries[0].n_records),
        ("crc", Some(2))
    );
    assert_eq!(records(&mut client, imei(1)), 3);
}

#[test]
fn what_the_database_refuses_although_it_was_acked_goes_to_quarantine_and_the_rest_to_the_table() {
    let cluster = Cluster::start();
    let (daemon, mut device, url, _port) = in_an_outage(&cluster, |setup| setup);
    let ghost = encode(
        Codec::Codec8,
        &[RecordSpec {
            speed_kmh: 666,
            ..record(10)
        }],
    );
    device.deliver(&ghost);
    device.deliver(&packet(11, 5));
    // The check is there before the drain is: the daemon stands still meanwhile.
    daemon.signal("STOP");
    cluster.start_server();
    let mut client = pg::connect(&url);
    client
        .batch_execute(
            "ALTER TABLE trackport.record ADD CONSTRAINT no_ghosts CHECK (speed_kmh <> 666)",
        )
        .unwrap();
    daemon.signal("CONT");
    daemon.wait_drained(secs(20));
    assert_eq!(records(&mut client, imei(1)), 7);
    let entries = quarantine(&mut client, imei(1));
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((&entries[0].bytes, entries[0].acked), (&ghost, true));
    assert!(
        entries[0].reason.contains("no_ghosts"),
        "{}",
        entries[0].reason
    );
}

#[test]
fn what_a_device_sent_is_stored_although_it_was_removed_meanwhile() {
    let cluster = Cluster::start();
    let (mut daemon, mut device, url, _port) = in_an_outage(&cluster, |setup| setup);
    device.deliver(&packet(2, 3));
    daemon.kill();
    cluster.start_server();
    let mut client = pg::connect(&url);
    set_state(&mut client, imei(1), "removed");
    daemon.launch();
    daemon.wait_ready();
    daemon.wait_drained(secs(20));
    let sql = "SELECT count(*) FROM trackport.record";
    assert_eq!(number(&mut client, sql, &[]), 5);
}

#[test]
fn a_database_restored_without_a_device_gets_its_packets_and_a_person_decides_about_it() {
    let cluster = Cluster::start();
    let (mut daemon, mut device, url, port) = in_an_outage(&cluster, |setup| setup);
    device.deliver(&packet(2, 3));
    daemon.kill();
    cluster.start_server();
    let mut client = pg::connect(&url);
    client
        .batch_execute(
            "ALTER TABLE trackport.device DISABLE TRIGGER USER; DELETE FROM trackport.record;
             DELETE FROM trackport.latest; DELETE FROM trackport.device_state; DELETE FROM trackport.fitting;
             DELETE FROM trackport.asset; DELETE FROM trackport.device;
             ALTER TABLE trackport.device ENABLE TRIGGER USER",
        )
        .unwrap();
    daemon.launch();
    daemon.wait_ready();
    daemon.wait_drained(secs(20));
    // The packet before the outage went with the database; those of the outage are the spool's.
    assert_eq!(records(&mut client, imei(1)), 4);
    let state: String = client
        .query_one(
            "SELECT state FROM trackport.device WHERE imei = $1",
            &[&imei(1).to_string()],
        )
        .unwrap()
        .get(0);
    assert_eq!(state, "pending");
    let mut again = Device::connect(port);
    again.send(&login(imei(1)));
    again.expect_last(&[0], ANSWER);
}

#[test]
fn stopping_while_the_database_is_away_takes_no_longer_than_it_may_and_keeps_what_was_acked() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let load = Load::start(Plan {
        n_devices: 20,
        pause: ms(1),
        ..patient(port)
    });
    load.wait_acks(50, ANSWER);
    cluster.stop_server("fast");
    for _ in 0..2 {
        load.wait_acks(200, secs(20));
        let begun = Instant::now();
        assert_eq!(daemon.stop(), Some(0));
        assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
        daemon.launch();
        daemon.wait_serving();
    }
    // A conf that is read again, and threads that are started again, in the middle of it.
    daemon.signal("HUP");
    load.wait_acks(50, secs(20));
    daemon.signal("USR1");
    load.wait_acks(200, secs(30));
    daemon.signal("USR1");
    cluster.start_server();
    load.wait_acks(200, secs(30));
    daemon.wait_drained(secs(30));
    let report = load.finish();
    daemon.wait_drained(secs(30));
    report.check(&mut database.connect());
    assert_eq!(daemon.count("thread died"), 0);
}

#[test]
fn a_damaged_segment_is_set_aside_and_keeps_nothing_else_from_the_table() {
    let cluster = Cluster::start();
    let (mut daemon, mut device, url, _port) = in_an_outage(&cluster, |setup| setup);
    for second in 2..40 {
        device.deliver(&packet(second, 1));
    }
    daemon.kill();
    let folder = daemon.folder().file("spool");
    let segment = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&segment, bytes).unwrap();
    cluster.start_server();
    daemon.launch();
    daemon.wait_ready();
    daemon.wait_drained(secs(20));
    let mut client = pg::connect(&url);
    assert_eq!(
        records(&mut client, imei(1)),
        39,
        "all but the one that was hit"
    );
    daemon.wait_log(secs(1), &["spool damaged", "are damaged"]);
    assert_eq!(daemon.status().spool.set_aside_files, 1);
    let listed = daemon.must(&["spool", "list"]);
    assert!(listed.contains(".seg.bad"), "{listed}");
}

#[test]
fn what_was_exported_from_one_spool_is_stored_by_another_server() {
    let cluster = Cluster::start();
    let (mut daemon, mut device, url, port) = in_an_outage(&cluster, |setup| setup);
    device.deliver(&packet(2, 7));
    let exported = daemon.folder().file("exported.jsonl");
    let exported = exported.to_str().unwrap();
    daemon.must(&["spool", "export", "--to", exported]);
    daemon.kill();
    fs::remove_dir_all(daemon.folder().file("spool")).unwrap();
    cluster.start_server();
    daemon.launch();
    daemon.wait_ready();
    assert_eq!(records(&mut pg::connect(&url), imei(1)), 1);
    daemon.must(&["spool", "import", exported]);
    eventually(secs(20), "the import is stored", || {
        records(&mut pg::connect(&url), imei(1)) == 9
    });
    // Once more is no more.
    daemon.must(&["spool", "import", exported]);
    daemon.wait_log(secs(15), &["spool import"]);
    Device::login(port, imei(1)).deliver(&packet(100, 1));
    daemon.wait_drained(secs(20));
    assert_eq!(records(&mut pg::connect(&url), imei(1)), 10);
}
