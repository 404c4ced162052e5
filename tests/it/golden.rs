//! The makers' frames and captures in `tests/frames/teltonika`, whole and in every pair of pieces.

use serde_json::Value;
use trackport::imei::Imei;
use trackport::protocol::hex;
use trackport::protocol::teltonika::{
    Checked, Codec, Cut, IoValue, Output, Packet, Record, Session, check, cut, declared,
};

const MAX: usize = 65_536;

struct Vector {
    name: String,
    bytes: Vec<u8>,
    valid: bool,
    from_device: bool,
    tcp: bool,
    whole: Value,
}

fn vectors() -> Vec<Vector> {
    let files = [
        include_str!("../frames/teltonika/frames.jsonl"),
        include_str!("../frames/teltonika/frames_extra.jsonl"),
    ];
    let lines = files.iter().flat_map(|file| file.lines());
    lines
        .map(|line| {
            let whole: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| whole[key].as_str().unwrap().to_owned();
            Vector {
                name: text("name"),
                bytes: hex::decode(&text("hex")).unwrap(),
                valid: whole["valid"].as_bool().unwrap(),
                from_device: text("direction") == "device->server",
                tcp: text("transport") == "tcp",
                whole,
            }
        })
        .collect()
}

/// What a device sends over TCP and a server must understand.
fn device_items() -> Vec<Vector> {
    let mut vectors = vectors();
    vectors.retain(|vector| vector.tcp && vector.from_device && vector.valid);
    assert!(vectors.len() >= 20, "only {} vectors", vectors.len());
    vectors
}

fn codec_id(vector: &Vector) -> Option<u64> {
    vector.whole["expected"]["codec_id"].as_u64()
}

fn is_avl(vector: &Vector) -> bool {
    matches!(codec_id(vector), Some(0x08 | 0x8E | 0x10))
}

fn io_as_listed(record: &Record<'_>) -> Value {
    let elements = record.io.elements().map(|element| {
        let (width, bytes) = match element.value {
            IoValue::Fixed { width, raw } => {
                let bytes = raw.to_be_bytes();
                (u64::from(width), bytes[8 - usize::from(width)..].to_vec())
            }
            IoValue::Bytes(bytes) => (bytes.len() as u64, bytes.to_vec()),
        };
        serde_json::json!([element.id, width, hex::encode(&bytes)])
    });
    elements.collect()
}

fn assert_decodes_as_expected(name: &str, packet: &Packet<'_>, expected: &Value) {
    assert_eq!(u64::from(packet.codec.id()), expected["codec_id"], "{name}");
    assert_eq!(u64::from(packet.n_records), expected["count"], "{name}");
    let expected_records = expected["records"].as_array().unwrap();
    let records: Vec<Record<'_>> = packet.records().collect();
    assert_eq!(records.len(), expected_records.len(), "{name}");
    let mut bytes = 0;
    for (record, expected) in records.iter().zip(expected_records) {
        let fields = serde_json::json!({
            "timestamp_ms": record.time_ms,
            "priority": record.priority,
            "lon_raw": record.longitude,
            "lat_raw": record.latitude,
            "altitude": record.altitude_m,
            "angle": record.angle_deg,
            "satellites": record.satellites,
            "speed": record.speed_kmh,
            "event_id": record.event_id,
            "generation": record.generation,
            "io_total": record.io.n_elements(),
            "io": io_as_listed(record),
        });
        for (key, found) in fields.as_object().unwrap() {
            let expected = expected.get(key).unwrap_or(&Value::Null);
            assert_eq!(found, expected, "{name}: {key}");
        }
        let by_next: Vec<_> = {
            let mut elements = record.io.elements();
            std::iter::from_fn(|| elements.next()).collect()
        };
        let mut at_once = Vec::new();
        record
            .io
            .elements()
            .for_each(|element| at_once.push(element));
        assert_eq!(by_next, at_once, "{name}: one by one and at once");
        assert!(record.raw.ends_with(record.io.bytes), "{name}");
        bytes += record.raw.len();
    }
    assert_eq!(
        bytes + 15,
        packet.frame.len(),
        "{name}: records fill the frame"
    );
}

#[test]
fn every_published_packet_decodes_as_published() {
    let mut codecs = [0; 3];
    for vector in device_items().iter().filter(|vector| is_avl(vector)) {
        let name = &vector.name;
        assert_eq!(cut(&vector.bytes, MAX), Cut::Frame(&vector.bytes), "{name}");
        let Ok(Checked::Avl(packet)) = check(&vector.bytes) else {
            panic!("{name}: {:?}", check(&vector.bytes));
        };
        codecs[match packet.codec {
            Codec::Codec8 => 0,
            Codec::Codec8Extended => 1,
            Codec::Codec16 => 2,
        }] += 1;
        assert_decodes_as_expected(name, &packet, &vector.whole["expected"]);
        assert_eq!(Packet::from_checked(&vector.bytes), Some(packet), "{name}");
        assert_eq!(declared(&vector.bytes), Some(packet.n_records), "{name}");
    }
    assert!(codecs.iter().all(|n| *n >= 2), "{codecs:?}");
}

#[test]
fn published_mistakes_are_refused_with_their_reason() {
    let expected = [
        ("codec16-tcp-fmb630-bad-crc", "crc"),
        ("codec14-nack-as-published", "crc"),
        ("codec13-older-short-form", "length"),
    ];
    let mut wrong = vectors();
    wrong.retain(|vector| vector.tcp && !vector.valid);
    assert_eq!(wrong.len(), expected.len());
    for (name, code) in expected {
        let vector = wrong.iter().find(|vector| vector.name == name).unwrap();
        assert_eq!(check(&vector.bytes).unwrap_err().code(), code, "{name}");
    }
}

#[test]
fn commands_are_known_as_such_and_never_acked() {
    let mut seen = Vec::new();
    for vector in device_items()
        .iter()
        .filter(|vector| codec_id(vector).is_some_and(|codec_id| (0x0C..=0x0F).contains(&codec_id)))
    {
        let Ok(Checked::Command { codec_id: found }) = check(&vector.bytes) else {
            panic!("{}: {:?}", vector.name, check(&vector.bytes));
        };
        assert_eq!(Some(u64::from(found)), codec_id(vector), "{}", vector.name);
        assert_eq!(declared(&vector.bytes), None);
        assert_eq!(vector.whole["reply"], Value::Null);
        seen.push(found);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0x0C, 0x0D, 0x0E, 0x0F]);
}

/// What a session makes of some bytes, with everything it answers.
#[derive(Debug, PartialEq, Eq, Default)]
struct Heard {
    pings: usize,
    logins: Vec<Imei>,
    frames: Vec<Vec<u8>>,
    commands: Vec<u8>,
    answers: Vec<u8>,
}

/// Feeds a pinned session piece by piece as a port does, keeping what is not consumed.
fn hear<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let mut session = Session::new(0, true);
    let mut held: Vec<u8> = Vec::new();
    let mut heard = Heard::default();
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let (consumed, output) = session.handle_bytes(&held, MAX, 0);
            match output {
                Output::Need(bytes) => {
                    assert!(bytes > held.len(), "{bytes} wanted, {} held", held.len());
                    break;
                }
                Output::Ping => heard.pings += 1,
                Output::Login(imei) => {
                    heard.logins.push(imei);
                    heard.answers.extend(session.login_accepted(0));
                }
                Output::Packet(packet) => {
                    heard.frames.push(packet.frame.to_vec());
                    heard.answers.extend(session.durable(0));
                }
                Output::Command { codec_id } => heard.commands.push(codec_id),
                other => panic!("{other:?}"),
            }
            held.drain(..consumed);
        }
    }
    assert!(held.is_empty(), "{held:?} left");
    heard
}

#[test]
fn the_answers_are_those_published() {
    for vector in device_items() {
        let heard = hear([&vector.bytes[..]]);
        let reply = vector.whole["reply"].as_str().unwrap_or("");
        assert_eq!(hex::encode(&heard.answers), reply, "{}", vector.name);
        if let Some(imei) = vector.whole["expected"]["imei"].as_str() {
            assert_eq!(heard.logins, [imei.parse().unwrap()], "{}", vector.name);
        }
    }
}

#[test]
fn pieces_make_no_difference() {
    for vector in device_items() {
        let bytes = &vector.bytes[..];
        let whole = hear([bytes]);
        assert_eq!(whole, hear(bytes.chunks(1)), "{}", vector.name);
        for at in 1..bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(whole, hear([first, second]), "{} at {at}", vector.name);
        }
    }
}

#[test]
fn a_whole_day_in_one_segment_is_understood() {
    let vectors = device_items();
    let stream: Vec<u8> = vectors
        .iter()
        .flat_map(|vector| vector.bytes.clone())
        .collect();
    let heard = hear([&stream[..]]);
    assert_eq!(
        heard.frames.len(),
        vectors.iter().filter(|v| is_avl(v)).count()
    );
    assert_eq!(heard.pings, 1);
    assert_eq!(heard.logins.len(), 3);
    assert_eq!(heard, hear(stream.chunks(7)));
}
