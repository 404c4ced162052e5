//! What must hold for trackers that behave: every published packet, however it is cut, is in the table exactly as it was sent,
//! acknowledged after the commit and never before, and what comes twice is stored once.

use postgres::Client;
use serde_json::Value;
use trackport::imei::Imei;
use trackport::protocol::hex;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{IoSpec, RecordSpec, login};

use crate::harness::daemon::{started, started_known};
use crate::harness::device::{ANSWER, Answer, Device, TIME_MS, encode, packet, record};
use crate::harness::rows::{add, number, records};
use crate::harness::{eventually, imei, ms, secs};

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
fn a_packet_as_large_as_allowed_is_stored_and_a_larger_one_is_not_taken() {
    let (daemon, mut client, port) = started();
    let with = |bytes: usize| {
        let io = vec![(281, IoSpec::Bytes(vec![0x5A; bytes]))];
        encode(Codec::Codec8Extended, &[RecordSpec { io, ..record(0) }])
    };
    // The largest value that leaves the frame within 64 KiB.
    let overhead = with(0).len();
    let largest = with((64 << 10) - overhead);
    assert_eq!(largest.len(), 64 << 10);
    let mut device = Device::login(port, imei(1));
    device.deliver(&largest);
    let sql = "SELECT length(bytes)::bigint FROM trackport.record_io WHERE imei = $1";
    let stored = number(&mut client, sql, &[&imei(1).to_string()]);
    assert_eq!(stored, i64::try_from(largest.len() - overhead).unwrap());
    // The rest may find the connection closed already.
    let _ = device.try_send(&with((64 << 10) - overhead + 1));
    device.expect_closed(ANSWER);
    daemon.wait_log(secs(1), &["not the protocol", "65536 bytes allowed"]);
}

#[test]
fn a_device_that_closes_its_side_after_a_packet_still_gets_the_ack() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.send(&packet(0, 2));
    device.close_writing();
    device.expect_last(&[0, 0, 0, 2], ANSWER);
    // Half a packet before the end is nothing.
    let mut device = Device::login(port, imei(1));
    device.send(&packet(2, 2)[..50]);
    device.close_writing();
    device.expect_closed(ANSWER);
    assert_eq!(records(&mut client, imei(1)), 2);
}
