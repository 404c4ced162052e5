//! What must hold for the tools that play devices and explain packets: what they show is what the server answered and stored.

use std::fs;

use trackport::protocol::hex;
use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{Setup, run, started_known, text};
use crate::harness::device::{Device, packet};
use crate::harness::rows::records;
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

#[test]
fn send_plays_a_capture_and_shows_the_answers() {
    let (daemon, mut client, port) = started_known();
    daemon.must(&["device", "add", &imei(1).to_string()]);
    eventually(secs(3), "the device is let in", || {
        Device::try_login(port, imei(1)).is_some()
    });
    let to = format!("127.0.0.1:{port}");
    let one = imei(1).to_string();
    let hexed = daemon.folder().file("capture.hex");
    let packets = [packet(0, 2), packet(2, 5)];
    fs::write(
        &hexed,
        packets
            .iter()
            .map(|packet| hex::encode(packet) + "\n")
            .collect::<String>(),
    )
    .unwrap();
    let told = daemon.must(&["send", "--imei", &one, "--to", &to, hexed.to_str().unwrap()]);
    assert!(
        told.contains("accepted") && told.contains("ack 2") && told.contains("ack 5"),
        "{told}"
    );
    let binary = daemon.folder().file("capture.bin");
    fs::write(&binary, [login(imei(1)), packet(7, 3)].concat()).unwrap();
    let told = daemon.must(&["send", "--to", &to, binary.to_str().unwrap()]);
    assert!(told.contains("ack 3"), "{told}");
    assert_eq!(records(&mut client, imei(1)), 10);
    // A stranger is refused, and the command says so and fails.
    let output = daemon.command(&[
        "send",
        "--imei",
        &imei(2).to_string(),
        "--to",
        &to,
        hexed.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("refused"),
        "{}",
        text(&output.stdout)
    );
    // Nobody listens.
    let nowhere = format!("127.0.0.1:{}", free_port());
    let output = daemon.command(&[
        "send",
        "--imei",
        &one,
        "--to",
        &nowhere,
        hexed.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn decode_explains_good_packets_and_shows_where_a_broken_one_breaks() {
    let good = packet(0, 2);
    let output = run(&["decode", &hex::encode(&good)]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for words in [
        "Codec 8",
        "2026-01-01 00:00:01",
        "25.2797340",
        "Ignition",
        "12.600 V",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let mut bad = good;
    *bad.last_mut().unwrap() ^= 1;
    let output = run(&["decode", &hex::encode(&bad)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("CRC"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_simulated_fleet_remembers_what_was_acked_and_that_is_what_is_stored() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let acked = daemon.folder().file("acked");
    let (to, acked) = (format!("127.0.0.1:{port}"), acked.to_str().unwrap());
    let args = [
        "--devices",
        "20",
        "--packets",
        "5",
        "--records",
        "7",
        "--codec",
        "8e",
        "--acked",
        acked,
    ];
    let told = daemon.must(&[&["simulate", "--to", &to][..], &args].concat());
    assert!(told.contains("100 packets, 700 records"), "{told}");
    let lines = fs::read_to_string(acked).unwrap();
    let mut remembered: Vec<(String, i64, i64)> = lines
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let imei = words.next().unwrap().to_owned();
            let mut next = || words.next().unwrap().parse().unwrap();
            (imei, next(), next())
        })
        .collect();
    remembered.sort();
    let mut stored: Vec<(String, i64, i64)> = client
        .query("SELECT imei, (extract(epoch FROM time) * 1000)::bigint, digest FROM trackport.position", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    stored.sort();
    assert_eq!(remembered.len(), 700);
    assert_eq!(remembered, stored);
    // Nothing listens there any more: said, and not waited for without end.
    let nowhere = format!("127.0.0.1:{}", free_port());
    let output = daemon.command(&[
        "simulate",
        "--to",
        &nowhere,
        "--devices",
        "2",
        "--packets",
        "1",
        "--duration",
        "1 s",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}
