//! What must hold for trackers that behave, and for those that err: a login is answered by the device list, a packet is
//! acknowledged after its records are committed and never before, what comes twice is stored once, what cannot be stored is
//! kept and does not stand in the way of what can.

use std::time::Instant;

use postgres::Client;
use serde_json::Value;
use trackport::control::client;
use trackport::control::messages::{Request, Response};
use trackport::imei::Imei;
use trackport::protocol::hex;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::crc::crc16;
use trackport::protocol::teltonika::encode::{IoSpec, RecordSpec, frame, login};

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Answer, Device, TIME_MS, encode, packet, record};
use crate::harness::rows::{all_records, number, quarantine, records};
use crate::harness::{eventually, free_port, free_ports, imei, ms, postgres as pg, secs};

/// A running daemon with one port that takes every device, and its database.
fn started() -> (Daemon, Client, u16) {
    let (database, client) = pg::shared().migrated();
    let port = free_port();
    (Setup::new(&database.url).port(port).start(), client, port)
}

/// The same, taking only devices of the table.
fn started_known() -> (Daemon, Client, u16) {
    let (database, client) = pg::shared().migrated();
    let port = free_port();
    let setup = Setup::new(&database.url).known_only().port(port);
    (setup.start(), client, port)
}

/// Writes a device into the table, as an operator does.
fn add(client: &mut Client, imei: Imei, model: Option<&str>) {
    let sql = "INSERT INTO trackport.device (imei, model) VALUES ($1, $2)";
    client.execute(sql, &[&imei.to_string(), &model]).unwrap();
}

fn set_state(client: &mut Client, imei: Imei, state: &str) {
    let sql = "UPDATE trackport.device SET state = $2 WHERE imei = $1";
    client.execute(sql, &[&imei.to_string(), &state]).unwrap();
}

/// Spoils the CRC of a packet.
fn spoiled(mut packet: Vec<u8>) -> Vec<u8> {
    *packet.last_mut().unwrap() ^= 1;
    packet
}

/// Changes the data of a packet and makes its CRC right again.
fn changed(packet: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut data = packet[8..packet.len() - 4].to_vec();
    change(&mut data);
    frame(&data).unwrap()
}

#[test]
fn a_known_device_is_let_in_and_a_stranger_is_noted() {
    let (daemon, mut client, port) = started_known();
    add(&mut client, imei(1), None);
    eventually(secs(5), "the new device is let in", || {
        Device::try_login(port, imei(1)).is_some()
    });
    for _ in 0..2 {
        let mut stranger = Device::connect(port);
        stranger.send(&login(imei(2)));
        stranger.expect_last(&[0], ANSWER);
    }
    let sql = "SELECT n_attempts, port, host(last_address), reason FROM trackport.login_attempt WHERE imei = $1";
    let mut seen = None;
    eventually(secs(5), "a row in login_attempt", || {
        seen = client.query_opt(sql, &[&imei(2).to_string()]).unwrap();
        seen.as_ref().is_some_and(|row| row.get::<_, i64>(0) == 2)
    });
    let row = seen.unwrap();
    assert_eq!(row.get::<_, String>(1), format!("127.0.0.1:{port}"));
    assert_eq!(row.get::<_, String>(2), "127.0.0.1");
    assert!(row.get::<_, String>(3).contains("not known"));
    assert_eq!(records(&mut client, imei(2)), 0);
    assert!(daemon.count("login refused") >= 2);
}

/// The packets of the published frames: name, bytes, what is expected.
fn published() -> Vec<(String, Vec<u8>, Value)> {
    let files = [
        include_str!("../frames/teltonika/frames.jsonl"),
        include_str!("../frames/teltonika/frames_extra.jsonl"),
    ];
    let lines = files.iter().flat_map(|file| file.lines());
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|frame| {
            frame["transport"] == "tcp"
                && frame["direction"] == "device->server"
                && frame["valid"] == true
        })
        .map(|frame| {
            let bytes = hex::decode(frame["hex"].as_str().unwrap()).unwrap();
            (frame["name"].as_str().unwrap().to_owned(), bytes, frame)
        })
        .collect()
}

#[test]
fn every_published_frame_is_answered_and_its_records_are_stored() {
    let (_daemon, mut client, port) = started();
    let mut n_packets = 0;
    for (number, (name, bytes, frame)) in published().into_iter().enumerate() {
        let expected = &frame["expected"];
        if expected["kind"] == "login" {
            let mut device = Device::connect(port);
            device.send(&bytes);
            assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]), "{name}");
            continue;
        }
        let imei = imei(number as u64);
        let mut device = Device::login(port, imei);
        device.send(&bytes);
        if let Some(reply) = frame["reply"].as_str().filter(|reply| !reply.is_empty()) {
            let reply = hex::decode(reply).unwrap();
            assert_eq!(
                device.answer(reply.len(), ANSWER),
                Answer::Bytes(reply),
                "{name}"
            );
        }
        // Responses to commands and pings get no answer, and the session goes on after them.
        device.deliver(&packet(number as u64, 1));
        let stored = client
            .query(
                "SELECT (extract(epoch FROM time) * 1000)::bigint, longitude, latitude, altitude_m, angle_deg, satellites,
                     speed_kmh, priority, event_id, codec
                 FROM trackport.position WHERE imei = $1 ORDER BY time, event_id",
                &[&imei.to_string()],
            )
            .unwrap();
        let empty = Vec::new();
        let listed = expected["records"].as_array().unwrap_or(&empty);
        assert_eq!(
            stored.len(),
            listed.len() + 1,
            "{name}: and the packet sent after it"
        );
        n_packets += usize::from(!listed.is_empty());
        for listed in listed {
            let time_ms = listed["timestamp_ms"].as_i64().unwrap();
            let row = stored
                .iter()
                .find(|row| {
                    row.get::<_, i64>(0) == time_ms && listed["event_id"] == row.get::<_, i32>(8)
                })
                .unwrap_or_else(|| panic!("{name}: no record at {time_ms}"));
            for (column, key) in [(1, "lon_raw"), (2, "lat_raw")] {
                let wanted = f64::from(i32::try_from(listed[key].as_i64().unwrap()).unwrap()) / 1e7;
                let found: f64 = row.get(column);
                assert!((found - wanted).abs() < 1e-12, "{name}: {key} {found}");
            }
            let small = |column: usize| i64::from(row.get::<_, i16>(column));
            let large = |column: usize| i64::from(row.get::<_, i32>(column));
            assert_eq!(small(3), listed["altitude"], "{name}: altitude");
            assert_eq!(large(4), listed["angle"], "{name}: angle");
            assert_eq!(small(5), listed["satellites"], "{name}: satellites");
            assert_eq!(large(6), listed["speed"], "{name}: speed");
            assert_eq!(small(7), listed["priority"], "{name}: priority");
            assert_eq!(small(9), expected["codec_id"], "{name}: codec");
        }
        let raw = number_of_io(&mut client, imei);
        let listed_io: usize = listed
            .iter()
            .map(|record| record["io"].as_array().unwrap().len())
            .sum();
        assert_eq!(raw, listed_io as i64 + 4, "{name}: IO elements");
    }
    assert!(n_packets >= 9, "only {n_packets} packets with records");
}

fn number_of_io(client: &mut Client, imei: Imei) -> i64 {
    let sql = "SELECT count(*) FROM trackport.record_io WHERE imei = $1";
    number(client, sql, &[&imei.to_string()])
}

#[test]
fn a_packet_cut_at_every_byte_is_stored_whole() {
    let (_daemon, mut client, port) = started();
    let all = [
        encode(Codec::Codec8, &[record(0), record(1)]),
        encode(Codec::Codec8Extended, &[record(2)]),
        encode(
            Codec::Codec16,
            &[RecordSpec {
                generation: Some(5),
                ..record(3)
            }],
        ),
    ];
    let mut device = Device::connect(port);
    for byte in login(imei(1)) {
        device.send(&[byte]);
        std::thread::sleep(ms(1));
    }
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
    for packet in &all {
        for byte in packet {
            device.send(&[*byte]);
            std::thread::sleep(ms(1));
        }
        assert_eq!(device.ack(ANSWER), Some(u32::from(packet[9])));
    }
    assert_eq!(records(&mut client, imei(1)), 4);
    let generation = "SELECT count(*) FROM trackport.position WHERE codec = 16 AND generation = 5";
    assert_eq!(number(&mut client, generation, &[]), 1);
}

#[test]
fn packets_in_one_write_are_acked_in_turn_and_the_device_is_marked() {
    let (daemon, mut client, port) = started();
    let mut device = Device::connect(port);
    let all = [login(imei(1)), packet(0, 1), packet(1, 2), packet(3, 255)].concat();
    device.send(&all);
    let answers = [&[1][..], &[0, 0, 0, 1], &[0, 0, 0, 2], &[0, 0, 0, 255]].concat();
    assert_eq!(device.answer(answers.len(), ANSWER), Answer::Bytes(answers));
    assert_eq!(records(&mut client, imei(1)), 258);
    let marked = "SELECT count(*) FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
                  WHERE d.imei = $1 AND sends_before_ack_at IS NOT NULL";
    eventually(secs(5), "the device is marked", || {
        number(&mut client, marked, &[&imei(1).to_string()]) == 1
    });
    daemon.wait_log(
        secs(1),
        &["does not wait for acks", &imei(1).to_string(), "ACK type"],
    );
}

#[test]
fn a_device_that_waits_for_its_acks_is_not_marked_for_its_pings() {
    let (daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    for second in 0..3 {
        // A ping may stand behind a packet: it is no packet that should have waited.
        device.send(&[packet(second, 1), vec![0xFF]].concat());
        assert_eq!(device.ack(ANSWER), Some(1));
    }
    device.send(&[0xFF]);
    device.deliver(&packet(3, 1));
    assert_eq!(daemon.count("device does not wait for acks"), 0);
    assert_eq!(records(&mut client, imei(1)), 4);
}

#[test]
fn what_comes_twice_is_stored_once() {
    let (mut daemon, mut client, port) = started();
    let first = packet(0, 4);
    let mut device = Device::login(port, imei(1));
    device.deliver(&first);
    // Within the connection, on a new one, and to a process that never saw it.
    device.deliver(&first);
    drop(device);
    Device::login(port, imei(1)).deliver(&first);
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
    daemon.wait_ready();
    let mut device = Device::login(port, imei(1));
    device.deliver(&first);
    assert_eq!(records(&mut client, imei(1)), 4);
    // Regrouped: partly known, and not the first packet of its session.
    device.deliver(&packet(3, 4));
    device.deliver(&packet(1, 3));
    device.deliver(&packet(0, 9));
    assert_eq!(records(&mut client, imei(1)), 9);
    // The same record twice in one packet.
    device.deliver(&encode(
        Codec::Codec8,
        &[record(20), record(20), record(20)],
    ));
    assert_eq!(records(&mut client, imei(1)), 10);
    // The same time with other contents is another record.
    device.deliver(&encode(
        Codec::Codec8,
        &[RecordSpec {
            speed_kmh: 99,
            ..record(20)
        }],
    ));
    assert_eq!(records(&mut client, imei(1)), 11);
}

#[test]
fn two_devices_may_send_the_same_bytes() {
    let (_daemon, mut client, port) = started();
    let mut one = Device::login(port, imei(1));
    let mut two = Device::login(port, imei(2));
    for second in 0..5 {
        one.deliver(&packet(second, 1));
        two.deliver(&packet(second, 1));
    }
    assert_eq!(records(&mut client, imei(1)), 5);
    assert_eq!(records(&mut client, imei(2)), 5);
}

#[test]
fn pings_are_harmless_wherever_they_stand() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::connect(port);
    device.send(&[&[0xFF, 0xFF][..], &login(imei(1)), &[0xFF]].concat());
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
    device.expect_silence(ms(200));
    device.send(&[&[0xFF; 3][..], &packet(0, 2), &[0xFF, 0xFF]].concat());
    assert_eq!(device.ack(ANSWER), Some(2));
    device.send(&[0xFF]);
    device.expect_silence(ms(200));
    device.deliver(&packet(2, 1));
    assert_eq!(records(&mut client, imei(1)), 3);
}

#[test]
fn a_bad_crc_is_not_acked_and_the_third_time_it_is_kept_and_acked() {
    let (daemon, mut client, port) = started();
    let bad = spoiled(packet(0, 3));
    for n_seen in 1..=2 {
        let mut device = Device::login(port, imei(1));
        device.send(&bad);
        device.expect_closed(ANSWER);
        let entries = quarantine(&mut client, imei(1));
        assert_eq!(entries.len(), 1, "{entries:?}");
        let entry = &entries[0];
        assert_eq!(
            (entry.code.as_str(), entry.n_seen, entry.acked),
            ("crc", n_seen, false)
        );
        assert_eq!(entry.bytes, bad);
        assert!(
            entry.reason.to_lowercase().contains("crc"),
            "{}",
            entry.reason
        );
    }
    let mut device = Device::login(port, imei(1));
    device.send(&bad);
    assert_eq!(
        device.ack(ANSWER),
        Some(3),
        "acked with the count it declares"
    );
    let entry = &quarantine(&mut client, imei(1))[0];
    assert_eq!(
        (entry.n_seen, entry.acked, entry.n_records),
        (3, true, Some(3))
    );
    // The device goes on.
    device.deliver(&packet(0, 3));
    assert_eq!(records(&mut client, imei(1)), 3);
    daemon.wait_log(secs(1), &["packet broken", &imei(1).to_string()]);
    daemon.wait_log(secs(1), &["packet quarantined", &imei(1).to_string()]);
    assert_eq!(daemon.count("packet broken"), 3);
    assert_eq!(daemon.count("thread died"), 0);
}

#[test]
fn a_packet_damaged_once_on_the_way_is_stored_when_it_comes_again() {
    let (_daemon, mut client, port) = started();
    let good = packet(0, 3);
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(10, 1));
    device.send(&spoiled(good.clone()));
    device.expect_closed(ANSWER);
    Device::login(port, imei(1)).deliver(&good);
    assert_eq!(records(&mut client, imei(1)), 4);
    assert!(!quarantine(&mut client, imei(1))[0].acked);
}

#[test]
fn a_record_the_database_refuses_keeps_no_other_from_its_ack() {
    let (daemon, mut client, port) = started();
    client
        .batch_execute(
            "ALTER TABLE trackport.record ADD CONSTRAINT no_ghosts CHECK (speed_kmh <> 666)",
        )
        .unwrap();
    let ghost = encode(
        Codec::Codec8,
        &[
            record(0),
            RecordSpec {
                speed_kmh: 666,
                ..record(1)
            },
        ],
    );
    let mut devices: Vec<Device> = (0..8)
        .map(|number| Device::login(port, imei(number)))
        .collect();
    for device in &mut devices {
        device.deliver(&packet(100, 1));
    }
    // While somebody locks the table all eight gather behind the first; then they are one batch.
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    for (number, device) in devices.iter_mut().enumerate() {
        device.send(&if number == 5 {
            ghost.clone()
        } else {
            packet(0, 2)
        });
    }
    devices[0].expect_silence(ms(300));
    transaction.commit().unwrap();
    for device in &mut devices {
        assert_eq!(device.ack(ANSWER), Some(2));
    }
    for number in 0..8 {
        let n_records = if number == 5 { 1 } else { 3 };
        assert_eq!(
            records(&mut client, imei(number)),
            n_records,
            "device {number}"
        );
    }
    let entries = quarantine(&mut client, imei(5));
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].bytes, ghost);
    assert!(entries[0].acked);
    assert!(
        entries[0].reason.contains("no_ghosts"),
        "{}",
        entries[0].reason
    );
    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM trackport.quarantine",
            &[]
        ),
        1
    );
    daemon.wait_log(
        secs(1),
        &[
            "packet refused by the database",
            &imei(5).to_string(),
            "no_ghosts",
        ],
    );
    // The refused device goes on too.
    devices[5].deliver(&packet(200, 1));
}

#[test]
fn a_record_a_trigger_refuses_is_kept_with_what_the_trigger_said() {
    let (_daemon, mut client, port) = started();
    client
        .batch_execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'too fast for this fleet'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON trackport.record
             FOR EACH ROW WHEN (new.speed_kmh > 300) EXECUTE FUNCTION public.refuse()",
        )
        .unwrap();
    let fast = encode(
        Codec::Codec8,
        &[RecordSpec {
            speed_kmh: 301,
            ..record(0)
        }],
    );
    let mut device = Device::login(port, imei(1));
    device.deliver(&fast);
    device.deliver(&packet(1, 2));
    assert_eq!(records(&mut client, imei(1)), 2);
    let entry = &quarantine(&mut client, imei(1))[0];
    assert!(
        entry.acked && entry.reason.contains("too fast"),
        "{entry:?}"
    );
}

#[test]
fn the_ack_comes_after_the_commit_and_not_before() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    device.send(&packet(1, 3));
    device.expect_silence(secs(1));
    transaction.commit().unwrap();
    assert_eq!(device.ack(ANSWER), Some(3));
    assert_eq!(records(&mut client, imei(1)), 4);
}

#[test]
fn a_range_of_ports_is_served_port_by_port() {
    let (database, mut client) = pg::shared().migrated();
    let first = free_ports(4);
    let range = format!("\"127.0.0.1:{first}-{}\"", first + 3);
    let daemon = Setup::new(&database.url).listen(&range, "").start();
    for port in first..first + 4 {
        Device::login(port, imei(u64::from(port))).deliver(&packet(0, 1));
    }
    let ports = "SELECT count(DISTINCT port) FROM trackport.record";
    assert_eq!(number(&mut client, ports, &[]), 4);
    let status = daemon.status();
    assert_eq!(status.ports.len(), 4);
    assert!(
        status
            .ports
            .iter()
            .all(|port| port.packets == 1 && port.records == 1),
        "{:?}",
        status.ports
    );
    let threads = status
        .threads
        .iter()
        .filter(|thread| thread.name.starts_with("port "))
        .count();
    assert_eq!(threads, 4, "a thread each");
}

#[test]
fn a_pinned_port_takes_its_device_without_a_login_and_no_other() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let pinned = imei(1);
    let keys = format!("device = \"{pinned}\"\nallow = [\"127.0.0.0/8\"]");
    let _daemon = Setup::new(&database.url)
        .known_only()
        .port_with(port, &keys)
        .start();
    let mut silent = Device::connect(port);
    silent.deliver(&packet(0, 2));
    silent.deliver(&packet(2, 1));
    assert_eq!(records(&mut client, pinned), 3);
    // It may say who it is all the same.
    let mut polite = Device::login(port, pinned);
    polite.deliver(&packet(3, 1));
    let mut other = Device::connect(port);
    other.send(&login(imei(2)));
    other.expect_last(&[0], ANSWER);
    assert_eq!(records(&mut client, pinned), 4);
    // Refusing a device counts for more than the pin.
    set_state(&mut client, pinned, "refused");
    polite.expect_closed(secs(5));
    let mut refused = Device::connect(port);
    refused.send(&packet(9, 1));
    refused.expect_closed(ANSWER);
    assert_eq!(records(&mut client, pinned), 4);
}

#[test]
fn a_packet_before_any_login_is_not_taken() {
    let (daemon, mut client, port) = started();
    let mut device = Device::connect(port);
    device.send(&packet(0, 1));
    device.expect_closed(ANSWER);
    assert_eq!(all_records(&mut client), 0);
    daemon.wait_log(secs(1), &["packet before login", &device.address()]);
}

#[test]
fn only_the_networks_allowed_may_connect() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let setup = Setup::new(&database.url).port_with(port, "allow = [\"10.20.0.0/16\"]");
    let daemon = setup.start();
    let mut stranger = Device::connect(port);
    // It may find the connection closed before it has sent anything.
    let _ = stranger.try_send(&login(imei(1)));
    stranger.expect_closed(ANSWER);
    daemon.wait_log(secs(1), &["address not allowed", "127.0.0.1", "allow"]);
}

#[test]
fn accept_any_registers_up_to_the_limit_of_the_hour() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let known = free_port();
    let daemon = Setup::new(&database.url)
        .known_only()
        .more("[devices_]")
        .port(known)
        .port_with(port, "accept = \"any\"")
        .write();
    daemon.edit_conf(|text| {
        text.replace("[devices_]", "").replace(
            "accept = \"known\"",
            "accept = \"known\"\nmax_new_devices = 2",
        )
    });
    let mut daemon = daemon;
    daemon.launch();
    daemon.wait_ready();
    Device::login(port, imei(1)).deliver(&packet(0, 1));
    Device::login(port, imei(2)).deliver(&packet(0, 1));
    let mut third = Device::connect(port);
    third.send(&login(imei(3)));
    third.expect_last(&[0], ANSWER);
    // Who is registered comes in as often as it likes, and on every port.
    Device::login(port, imei(1)).deliver(&packet(1, 1));
    Device::login(known, imei(2)).deliver(&packet(1, 1));
    let states = "SELECT count(*) FROM trackport.device WHERE state = 'accepted'";
    assert_eq!(number(&mut client, states, &[]), 2);
    daemon.wait_log(secs(1), &["registration limit", "max_new_devices"]);
}

#[test]
fn a_device_is_let_in_and_shut_out_within_seconds() {
    let (_daemon, mut client, port) = started_known();
    let mut early = Device::connect(port);
    early.send(&login(imei(1)));
    early.expect_last(&[0], ANSWER);
    add(&mut client, imei(1), None);
    let mut device = None;
    eventually(secs(3), "the added device is let in", || {
        device = Device::try_login(port, imei(1));
        device.is_some()
    });
    let mut device = device.unwrap();
    device.deliver(&packet(0, 1));
    set_state(&mut client, imei(1), "refused");
    device.expect_closed(secs(3));
    let mut again = Device::connect(port);
    again.send(&login(imei(1)));
    again.expect_last(&[0], ANSWER);
    set_state(&mut client, imei(1), "accepted");
    eventually(secs(3), "the accepted device is let in again", || {
        Device::try_login(port, imei(1)).is_some()
    });
}

#[test]
fn a_quiet_server_follows_the_device_list_as_fast_as_a_busy_one() {
    let (database, mut client) = pg::shared().migrated();
    add(&mut client, imei(1), None);
    let port = free_port();
    let _daemon = Setup::new(&database.url).known_only().port(port).start();
    let mut device = Device::login(port, imei(1));
    // Nobody asks the directory for anything meanwhile.
    device.expect_silence(secs(2));
    let begun = Instant::now();
    set_state(&mut client, imei(1), "refused");
    device.expect_closed(secs(15));
    assert!(
        begun.elapsed() < secs(3),
        "noticed after {:?}",
        begun.elapsed()
    );
    add(&mut client, imei(2), None);
    std::thread::sleep(secs(3));
    Device::login(port, imei(2));
}

#[test]
fn the_newest_login_wins_on_the_same_port_and_across_ports() {
    let (database, mut client) = pg::shared().migrated();
    let (one, two) = (free_port(), free_port());
    let daemon = Setup::new(&database.url).port(one).port(two).start();
    let mut first = Device::login(one, imei(1));
    first.deliver(&packet(0, 1));
    let mut second = Device::login(one, imei(1));
    first.expect_closed(secs(3));
    second.deliver(&packet(1, 1));
    let mut third = Device::login(two, imei(1));
    second.expect_closed(secs(3));
    third.deliver(&packet(2, 1));
    assert_eq!(records(&mut client, imei(1)), 3);
    let ask = Request::Sessions {
        imei: None,
        port: None,
        limit: 10,
    };
    eventually(secs(3), "one session is left", || {
        matches!(
            client::ask(&daemon.socket(), &ask),
            Ok(Response::Sessions { total: 1, .. })
        )
    });
    daemon.wait_log(secs(1), &["session taken over", &imei(1).to_string()]);
}

#[test]
fn two_connections_that_push_each_other_out_are_slowed_down() {
    let (daemon, mut client, port) = started();
    let mut logins = Vec::new();
    for _ in 0..12 {
        let mut device = Device::connect(port);
        device.send(&login(imei(1)));
        if device.answer(1, secs(2)) != Answer::Bytes(vec![1]) {
            break;
        }
        logins.push(device);
    }
    assert!(logins.len() > 2, "a few take-overs are normal");
    assert!(logins.len() < 12, "never slowed down");
    // The one that is there goes on meanwhile.
    logins.last_mut().unwrap().deliver(&packet(0, 1));
    assert_eq!(records(&mut client, imei(1)), 1);
    daemon.wait_log(secs(1), &["take-overs damped", &imei(1).to_string()]);
}

#[test]
fn typed_columns_follow_the_model_and_its_change() {
    let (_daemon, mut client, port) = started_known();
    add(&mut client, imei(1), Some("FMB120"));
    add(&mut client, imei(2), None);
    let io = |temperature: i32| {
        vec![
            (239, IoSpec::Fixed { width: 1, raw: 1 }),
            (16, IoSpec::Fixed { width: 4, raw: 77 }),
            (
                72,
                IoSpec::Fixed {
                    width: 4,
                    raw: u64::from(temperature.cast_unsigned()),
                },
            ),
        ]
    };
    let cold = encode(
        Codec::Codec8,
        &[RecordSpec {
            io: io(-125),
            ..record(0)
        }],
    );
    let broken = encode(
        Codec::Codec8,
        &[RecordSpec {
            io: io(3000),
            ..record(1)
        }],
    );
    for number in 1..=2 {
        let mut device = None;
        eventually(secs(5), "login", || {
            device = Device::try_login(port, imei(number));
            device.is_some()
        });
        let mut device = device.unwrap();
        device.deliver(&cold);
        device.deliver(&broken);
    }
    let mut typed = |number: u64| -> Vec<(Option<bool>, Option<i64>, Option<f32>)> {
        let sql = "SELECT ignition, odometer_m, temperature_1 FROM trackport.position WHERE imei = $1 ORDER BY time";
        let rows = client.query(sql, &[&imei(number).to_string()]).unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    };
    // A sensor's error code is no temperature; what 16 means depends on the model.
    assert_eq!(
        typed(1),
        [
            (Some(true), Some(77), Some(-12.5)),
            (Some(true), Some(77), None)
        ]
    );
    assert_eq!(
        typed(2),
        [(Some(true), None, Some(-12.5)), (Some(true), None, None)]
    );
    let sql = "SELECT time, trim_scale(value)::text, unit, error FROM trackport.reading WHERE imei = $1 AND avl_id = 72 ORDER BY time";
    let rows = client.query(sql, &[&imei(1).to_string()]).unwrap();
    assert_eq!(rows[0].get::<_, String>(1), "-12.5");
    assert_eq!(rows[0].get::<_, String>(2), "°C");
    assert_eq!(rows[0].get::<_, Option<String>>(3), None);
    assert_eq!(rows[1].get::<_, Option<String>>(1), None);
    assert!(
        rows[1].get::<_, Option<String>>(3).is_some(),
        "the sensor's error is named"
    );
    // The model becomes known: what comes from then on has its columns, without a restart.
    let sql = "UPDATE trackport.device SET model = 'FMB120' WHERE imei = $1";
    client.execute(sql, &[&imei(2).to_string()]).unwrap();
    let mut second = 10;
    eventually(secs(5), "the model is followed", || {
        second += 1;
        let cold = encode(
            Codec::Codec8,
            &[RecordSpec {
                io: io(-125),
                ..record(second)
            }],
        );
        Device::login(port, imei(2)).deliver(&cold);
        let sql = "SELECT count(*) FROM trackport.position WHERE imei = $1 AND odometer_m = 77";
        number(&mut client, sql, &[&imei(2).to_string()]) > 0
    });
}

#[test]
fn values_of_every_width_are_kept_exactly_as_sent() {
    let (_daemon, mut client, port) = started();
    let io = vec![
        (1, IoSpec::Fixed { width: 1, raw: 255 }),
        (
            66,
            IoSpec::Fixed {
                width: 2,
                raw: 65_535,
            },
        ),
        (
            16,
            IoSpec::Fixed {
                width: 4,
                raw: u64::from(u32::MAX),
            },
        ),
        (
            78,
            IoSpec::Fixed {
                width: 8,
                raw: u64::MAX,
            },
        ),
        (65_000, IoSpec::Fixed { width: 8, raw: 1 }),
        (281, IoSpec::Bytes(b"\x00engine\xFF".to_vec())),
        (282, IoSpec::Bytes(Vec::new())),
    ];
    let extremes = RecordSpec {
        time_ms: TIME_MS + 123,
        longitude: -1,
        latitude: -899_999_999,
        altitude_m: -415,
        angle_deg: 65_535,
        satellites: 255,
        speed_kmh: 65_535,
        event_id: 65_000,
        io,
        ..record(0)
    };
    Device::login(port, imei(1)).deliver(&encode(Codec::Codec8Extended, &[extremes]));
    let row = client
        .query_one(
            "SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'), longitude::text, latitude::text, altitude_m,
                 angle_deg, satellites, speed_kmh, event_id FROM trackport.position",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "2026-01-01 00:00:00.123");
    assert_eq!(
        row.get::<_, String>(1).parse::<f64>().unwrap(),
        -0.000_000_1
    );
    assert_eq!(
        row.get::<_, String>(2).parse::<f64>().unwrap(),
        -89.999_999_9
    );
    assert_eq!(row.get::<_, i16>(3), -415);
    assert_eq!((row.get::<_, i32>(4), row.get::<_, i16>(5)), (65_535, 255));
    assert_eq!(
        (row.get::<_, i32>(6), row.get::<_, i32>(7)),
        (65_535, 65_000)
    );
    let rows = client
        .query(
            "SELECT avl_id, value::text, bytes FROM trackport.record_io ORDER BY avl_id",
            &[],
        )
        .unwrap();
    let found: Vec<(i32, Option<String>, Option<Vec<u8>>)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let fixed = |id, value: &str| (id, Some(value.to_owned()), None);
    assert_eq!(
        found,
        [
            fixed(1, "255"),
            fixed(16, "4294967295"),
            fixed(66, "65535"),
            fixed(78, "18446744073709551615"),
            (281, None, Some(b"\x00engine\xFF".to_vec())),
            (282, None, Some(Vec::new())),
            fixed(65_000, "1"),
        ]
    );
}

#[test]
fn impossible_clocks_are_stored_and_unwritable_times_are_quarantined() {
    let (_daemon, mut client, port) = started();
    let at = |time_ms: u64| {
        encode(
            Codec::Codec8,
            &[RecordSpec {
                time_ms,
                ..record(0)
            }],
        )
    };
    let mut device = Device::login(port, imei(1));
    device.deliver(&at(0));
    device.deliver(&at(TIME_MS));
    // The year 2200.
    device.deliver(&at(7_258_118_400_000));
    assert_eq!(records(&mut client, imei(1)), 3);
    // A clock far ahead never becomes the newest position.
    let latest = "SELECT (extract(epoch FROM time) * 1000)::bigint FROM trackport.latest";
    eventually(secs(5), "the latest position", || {
        client
            .query_opt(latest, &[])
            .unwrap()
            .is_some_and(|row| row.get::<_, i64>(0) == TIME_MS.cast_signed())
    });
    let never = at(u64::MAX);
    device.send(&never);
    device.expect_closed(ANSWER);
    let entry = &quarantine(&mut client, imei(1))[0];
    assert_eq!((entry.code.as_str(), entry.acked), ("time", false));
    assert_eq!(entry.bytes, never);
}

#[test]
fn counts_that_differ_are_quarantined() {
    let (_daemon, mut client, port) = started();
    let lies = changed(&packet(0, 2), |data| *data.last_mut().unwrap() = 3);
    let mut device = Device::login(port, imei(1));
    device.send(&lies);
    device.expect_closed(ANSWER);
    let entry = &quarantine(&mut client, imei(1))[0];
    assert_eq!((entry.code.as_str(), entry.acked), ("counts", false));
    assert_eq!(records(&mut client, imei(1)), 0);
    // A CRC that is right over all of it, so that nothing else was wrong.
    let crc = crc16(&lies[8..lies.len() - 4]).to_be_bytes();
    assert_eq!(lies[lies.len() - 2..], crc);
}
