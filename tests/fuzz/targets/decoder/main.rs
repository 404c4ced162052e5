//! Any bytes as the stream of a device: nothing panics, all readers of a frame say the same of it, and what is read can be written.
//!
//! Each input is read as it is, and once more with length, CRC and counts made right: else chance would have to guess
//! a checksum before it meets the code behind it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trackport::protocol::teltonika::codec::TIME_MS_MAX;
use trackport::protocol::teltonika::encode::{IoSpec, RecordSpec, frame, packet};
use trackport::protocol::teltonika::{
    Checked, Cut, IoElement, IoValue, Packet, Record, check, cut, declared,
};

#[cfg(feature = "planted")]
mod planted;

/// Bytes of a frame around its data, the four before and the four behind it.
const HEAD: usize = 8;
const TAIL: usize = 4;

fuzz_target!(|input: &[u8]| {
    for packet_bytes_max in [64, 1024, usize::MAX] {
        cut_keeps_its_word(input, packet_bytes_max);
    }
    readers_agree(input);
    if let Some(mut data) = input
        .get(HEAD..input.len().saturating_sub(TAIL))
        .map(<[u8]>::to_vec)
    {
        readers_agree(&frame(&data).expect("it is short"));
        if let [_codec, first, .., second] = &mut data[..] {
            *second = *first;
            readers_agree(&frame(&data).expect("it is short"));
        }
    }
});

/// What is cut off lies in the input, is not larger than allowed, and does not depend on what follows.
fn cut_keeps_its_word(input: &[u8], packet_bytes_max: usize) {
    let whole = cut(input, packet_bytes_max);
    let consumed = match whole {
        Cut::Ping => 1,
        Cut::Login { digits, consumed } => {
            assert_eq!(digits, &input[2..consumed]);
            consumed
        }
        Cut::Frame(frame) => {
            assert!(frame.len() <= packet_bytes_max, "larger than allowed");
            assert_eq!(frame, &input[..frame.len()]);
            frame.len()
        }
        Cut::Need(bytes) => {
            assert!(
                bytes > input.len(),
                "{bytes} wanted, {} are there",
                input.len()
            );
            assert!(
                bytes <= packet_bytes_max.max(34),
                "{bytes} wanted for one item"
            );
            return;
        }
        Cut::Broken(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(cut(&input[..consumed], packet_bytes_max), whole);
    if let Some(shorter) = input[..consumed].split_last().map(|(_, shorter)| shorter) {
        let Cut::Need(bytes) = cut(shorter, packet_bytes_max) else {
            panic!("an item without its last byte is an item");
        };
        assert!(
            bytes <= consumed,
            "{bytes} wanted for an item of {consumed}"
        );
    }
}

/// `check`, `from_checked`, `declared`, the iterators and the encoder about one frame.
fn readers_agree(frame: &[u8]) {
    if let Some(packet) = Packet::from_checked(frame) {
        walk(&packet);
    }
    match check(frame) {
        Ok(Checked::Avl(packet)) => {
            assert_eq!(cut(frame, usize::MAX), Cut::Frame(frame));
            assert_eq!(Packet::from_checked(frame), Some(packet));
            assert_eq!(declared(frame), Some(packet.n_records));
            let records: Vec<Record<'_>> = packet.records().collect();
            assert_eq!(records.len(), usize::from(packet.n_records));
            assert!(records.iter().all(|record| record.time_ms <= TIME_MS_MAX));
            let specs: Vec<RecordSpec> = records.iter().map(spec).collect();
            assert_eq!(packet_of(&packet, &specs), frame, "encoded again");
            #[cfg(feature = "planted")]
            planted::look(&packet);
        }
        Ok(Checked::Command { codec_id }) => assert!(matches!(codec_id, 0x0C..=0x0F)),
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
        }
    }
}

fn packet_of(packet_read: &Packet<'_>, specs: &[RecordSpec]) -> Vec<u8> {
    packet(packet_read.codec, specs).expect("what was read can be written")
}

/// Visits everything in `packet`, which may be of bytes that nobody checked.
fn walk(packet: &Packet<'_>) {
    let mut n_records = 0;
    for record in packet.records() {
        n_records += 1;
        let mut one_by_one = record.io.elements();
        let one_by_one: Vec<IoElement<'_>> = std::iter::from_fn(|| one_by_one.next()).collect();
        let mut at_once = Vec::new();
        record
            .io
            .elements()
            .for_each(|element| at_once.push(element));
        assert_eq!(one_by_one, at_once);
        assert_eq!(usize::from(record.io.n_elements()), at_once.len());
        assert!(record.raw.ends_with(record.io.bytes));
        std::hint::black_box(record.digest());
    }
    assert!(n_records <= packet.n_records);
}

/// The record as it would be sent.
fn spec(record: &Record<'_>) -> RecordSpec {
    let io = record.io.elements().map(|element| {
        let value = match element.value {
            IoValue::Fixed { width, raw } => IoSpec::Fixed { width, raw },
            IoValue::Bytes(bytes) => IoSpec::Bytes(bytes.to_vec()),
        };
        (element.id, value)
    });
    RecordSpec {
        time_ms: record.time_ms,
        priority: record.priority,
        longitude: record.longitude,
        latitude: record.latitude,
        altitude_m: record.altitude_m,
        angle_deg: record.angle_deg,
        satellites: record.satellites,
        speed_kmh: record.speed_kmh,
        event_id: record.event_id,
        generation: record.generation,
        io: io.collect(),
    }
}
