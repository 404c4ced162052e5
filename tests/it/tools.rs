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

/// IMEI, milliseconds and digest of each record that a simulation remembers, ascending.
fn remembered(file: &str) -> Vec<(String, i64, i64)> {
    let lines = fs::read_to_string(file).unwrap();
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
    remembered
}

/// The same of each record in the table.
fn stored(client: &mut postgres::Client) -> Vec<(String, i64, i64)> {
    let mut stored: Vec<(String, i64, i64)> = client
        .query("SELECT imei, (extract(epoch FROM time) * 1000)::bigint, digest FROM trackport.position", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    stored.sort();
    stored
}

#[test]
fn a_fleet_with_lives_has_its_past_stored_and_its_typed_columns_filled() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let (acked, list) = (
        daemon.folder().file("acked"),
        daemon.folder().file("fleet.csv"),
    );
    let (to, acked) = (format!("127.0.0.1:{port}"), acked.to_str().unwrap());
    let list = list.to_str().unwrap();
    let fleet = ["simulate", "--to", &to, "--devices", "25", "--lives"];
    daemon.must(&[&fleet[..], &["--fleet", list]].concat());
    daemon.must(&["device", "import", list]);
    // So many that the past of every kind is told, whatever the hour.
    let told = daemon.must(
        &[
            &fleet[..],
            &[
                "--since",
                "30 h",
                "--interval",
                "1 min",
                "--duration",
                "15 s",
                "--acked",
                acked,
            ],
        ]
        .concat(),
    );
    let remembered = remembered(acked);
    assert!(remembered.len() > 2000, "{told}");
    assert_eq!(remembered, stored(&mut client), "{told}");
    let row = client
        .query_one(
            "SELECT count(DISTINCT p.imei), count(*) FILTER (WHERE p.ignition), count(*) FILTER (WHERE NOT p.ignition),
                count(*) FILTER (WHERE p.movement), count(*) FILTER (WHERE p.odometer_m > 0),
                count(*) FILTER (WHERE p.temperature_1 < 12), count(*) FILTER (WHERE p.door),
                count(*) FILTER (WHERE p.satellites = 0), count(*) FILTER (WHERE p.external_voltage_mv > 11000),
                count(*) FILTER (WHERE p.fuel_l > 0 OR p.fuel_percent > 0)
            FROM trackport.position p",
            &[],
        )
        .unwrap();
    assert!(row.get::<_, i64>(0) >= 23, "some go silent, not more");
    for column in 1..10 {
        assert!(row.get::<_, i64>(column) > 0, "column {column}");
    }
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
    let remembered = remembered(acked);
    assert_eq!(remembered.len(), 700);
    assert_eq!(remembered, stored(&mut client));
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
