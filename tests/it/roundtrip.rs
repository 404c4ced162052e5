//! Properties over made-up packets: what is encoded comes back, what is damaged is refused.

use proptest::collection::vec;
use proptest::prelude::*;
use trackport::imei::Imei;
use trackport::protocol::teltonika::codec::TIME_MS_MAX;
use trackport::protocol::teltonika::encode::{
    EncodeError, IoSpec, RecordSpec, frame, login, packet,
};
use trackport::protocol::teltonika::{
    Checked, Codec, Cut, IoValue, Output, Packet, Record, Session, check, cut, declared,
};

const MAX: usize = 1 << 20;

fn codecs() -> impl Strategy<Value = Codec> {
    prop_oneof![
        Just(Codec::Codec8),
        Just(Codec::Codec8Extended),
        Just(Codec::Codec16)
    ]
}

fn io_specs(codec: Codec) -> BoxedStrategy<IoSpec> {
    let fixed = (0..4_u32, any::<u64>()).prop_map(|(power, raw)| {
        let width = 1_u8 << power;
        let raw = raw >> (64 - 8 * u32::from(width));
        IoSpec::Fixed { width, raw }
    });
    if codec == Codec::Codec8Extended {
        prop_oneof![3 => fixed, 1 => vec(any::<u8>(), 0..40).prop_map(IoSpec::Bytes)].boxed()
    } else {
        fixed.boxed()
    }
}

fn record_specs(codec: Codec) -> impl Strategy<Value = RecordSpec> {
    let ids = match codec {
        Codec::Codec8 => 0..=255_u16,
        Codec::Codec8Extended | Codec::Codec16 => 0..=u16::MAX,
    };
    (
        (0..=TIME_MS_MAX, any::<u8>(), any::<i32>(), any::<i32>()),
        (any::<i16>(), any::<u16>(), any::<u8>(), any::<u16>()),
        (ids.clone(), any::<u8>()),
        vec((ids, io_specs(codec)), 0..24),
    )
        .prop_map(
            move |(head, position, (event_id, generation), io)| RecordSpec {
                time_ms: head.0,
                priority: head.1,
                longitude: head.2,
                latitude: head.3,
                altitude_m: position.0,
                angle_deg: position.1,
                satellites: position.2,
                speed_kmh: position.3,
                event_id,
                generation: (codec == Codec::Codec16).then_some(generation),
                io,
            },
        )
}

fn packets() -> impl Strategy<Value = (Codec, Vec<RecordSpec>)> {
    codecs().prop_flat_map(|codec| (Just(codec), vec(record_specs(codec), 1..8)))
}

fn spec_of(record: &Record<'_>) -> RecordSpec {
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

/// The wire keeps the order within a width only.
fn in_wire_order(mut record: RecordSpec) -> RecordSpec {
    record.io.sort_by_key(|(_, value)| match value {
        IoSpec::Fixed { width, .. } => *width,
        IoSpec::Bytes(_) => u8::MAX,
    });
    record
}

/// The walk written as plainly as the maker's tables: whether `data` (codec to number of data 2)
/// holds the records it announces.
fn plainly_sound(data: &[u8]) -> bool {
    let wide = |codec| usize::from(codec != 0x08) + 1;
    let [codec, n_records, records @ .., second] = data else {
        return false;
    };
    let (id, count) = (wide(*codec), if *codec == 0x8E { 2 } else { 1 });
    let mut at = 0;
    let mut number = |width: usize| {
        let bytes = records.get(at..at + width)?;
        at += width;
        Some(
            bytes
                .iter()
                .fold(0_usize, |n, byte| (n << 8) | usize::from(*byte)),
        )
    };
    let mut record = || {
        let time = number(8)?;
        number(8)?;
        number(8 + id - 1)?;
        number(1 + usize::from(*codec == 0x10))?;
        let (total, mut sum) = (number(count)?, 0);
        for width in [1, 2, 4, 8] {
            let n = number(count)?;
            sum += n;
            for _ in 0..n {
                number(id)?;
                number(width)?;
            }
        }
        if *codec == 0x8E {
            let n = number(2)?;
            sum += n;
            for _ in 0..n {
                number(2)?;
                let length = number(2)?;
                number(length)?;
            }
        }
        (total == sum && time as u64 <= TIME_MS_MAX).then_some(())
    };
    let walked = (0..*n_records).all(|_| record().is_some());
    walked && n_records == second && *n_records > 0 && at == records.len()
}

fn checked(frame: &[u8]) -> Packet<'_> {
    match check(frame) {
        Ok(Checked::Avl(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

/// Walks whatever can be walked, with every entry, and says nothing about it.
fn touch_everything(bytes: &[u8]) {
    let _ = (check(bytes), declared(bytes), cut(bytes, MAX));
    if let Some(packet) = Packet::from_checked(bytes) {
        for record in packet.records() {
            record.digest();
            record.io.elements().for_each(drop);
            let mut elements = record.io.elements();
            while elements.next().is_some() {}
        }
    }
    let mut session = Session::new(0, true);
    let mut rest = bytes;
    while session.wants_bytes() {
        let (consumed, output) = session.handle_bytes(rest, MAX, 0);
        rest = &rest[consumed..];
        match output {
            Output::Need(_) => break,
            Output::Login(_) => drop(session.login_accepted(0)),
            Output::Packet(_) => drop(session.durable(0)),
            Output::Broken { .. } => drop(session.quarantined_for_good(0)),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back((codec, records) in packets()) {
        let frame = packet(codec, &records).unwrap();
        let packet = checked(&frame);
        let found: Vec<RecordSpec> = packet.records().map(|record| spec_of(&record)).collect();
        let sent: Vec<RecordSpec> = records.into_iter().map(in_wire_order).collect();
        prop_assert_eq!(found, sent);
        prop_assert_eq!(packet.codec, codec);
        let raw: usize = packet.records().map(|record| record.raw.len()).sum();
        prop_assert_eq!(raw + 15, frame.len());
    }

    #[test]
    fn elements_taken_one_by_one_are_those_taken_at_once((codec, records) in packets(), n in 0..30_usize) {
        let frame = packet(codec, &records).unwrap();
        for record in checked(&frame).records() {
            let mut elements = record.io.elements();
            let mut found: Vec<_> = elements.by_ref().take(n).collect();
            elements.for_each(|element| found.push(element));
            let all: Vec<_> = record.io.into_iter().collect();
            prop_assert_eq!(found.len(), usize::from(record.io.n_elements()));
            prop_assert_eq!(found, all);
        }
    }

    #[test]
    fn a_cut_off_packet_is_waited_for_or_refused((codec, records) in packets()) {
        let frame = packet(codec, &records).unwrap();
        for n in 0..frame.len() {
            let wanted = match n { 0 => 1, 1 => 2, 2..8 => 8, _ => frame.len() };
            prop_assert_eq!(cut(&frame[..n], MAX), Cut::Need(wanted));
            prop_assert!(check(&frame[..n]).is_err());
            touch_everything(&frame[..n]);
        }
    }

    #[test]
    fn records_cut_off_inside_a_sound_frame_are_refused((codec, records) in packets(), cut_bytes in 1..200_usize) {
        let whole = packet(codec, &records).unwrap();
        let data = &whole[8..whole.len() - 5];
        let kept = data.len().saturating_sub(cut_bytes).max(2);
        let mut shortened = data[..kept].to_vec();
        shortened.push(data[1]);
        let shortened = frame(&shortened).unwrap();
        let error = check(&shortened).unwrap_err();
        prop_assert!(matches!(error.code(), "record_short" | "io_count"), "{}", error);
        prop_assert_eq!(declared(&shortened), Some(data[1]));
        touch_everything(&shortened);
    }

    #[test]
    fn a_flipped_bit_is_noticed((codec, records) in packets(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut frame = packet(codec, &records).unwrap();
        let at = at.index(frame.len());
        frame[at] ^= 1_u8 << bit;
        let error = check(&frame).unwrap_err();
        let expected = match at { 0..4 => "preamble", 4..8 => "length", _ => "crc" };
        prop_assert_eq!(error.code(), expected);
    }

    #[test]
    fn damage_behind_a_right_crc_harms_nobody((codec, records) in packets(), noise in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let whole = packet(codec, &records).unwrap();
        let mut data = whole[8..whole.len() - 4].to_vec();
        for (at, byte) in noise {
            let at = at.index(data.len());
            data[at] = byte;
        }
        let damaged = frame(&data).unwrap();
        touch_everything(&damaged);
        if let Ok(Checked::Avl(packet)) = check(&damaged) {
            prop_assert_eq!(packet.records().count(), usize::from(packet.n_records));
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_plain_walk((codec, records) in packets(), copies in 1..4_usize, noise in vec((any::<prop::sample::Index>(), 0..4_u8), 0..4)) {
        // Copies, because records of one shape are walked another way.
        let records: Vec<RecordSpec> = records.iter().flat_map(|record| vec![record.clone(); copies]).collect();
        let whole = packet(codec, &records).unwrap();
        let mut data = whole[8..whole.len() - 4].to_vec();
        for (at, step) in noise {
            // The codec byte itself stays.
            let at = 1 + at.index(data.len() - 1);
            data[at] = data[at].wrapping_add(step);
        }
        let found = check(&frame(&data).unwrap()).is_ok();
        prop_assert_eq!(found, plainly_sound(&data));
    }

    #[test]
    fn random_bytes_harm_nobody(bytes in vec(any::<u8>(), 0..600)) {
        touch_everything(&bytes);
        touch_everything(&frame(&bytes).unwrap());
        for codec in [0x08, 0x8E, 0x10] {
            let mut data = vec![codec, 3];
            data.extend_from_slice(&bytes);
            data.push(3);
            touch_everything(&frame(&data).unwrap());
        }
    }

    #[test]
    fn a_login_comes_back(number in 0..=999_999_999_999_999_u64) {
        let imei = Imei::from_number(number).unwrap();
        let bytes = login(imei);
        let mut session = Session::new(0, false);
        prop_assert_eq!(session.handle_bytes(&bytes, MAX, 0), (17, Output::Login(imei)));
    }
}

fn spec() -> RecordSpec {
    RecordSpec {
        time_ms: 1_700_000_000_000,
        ..RecordSpec::default()
    }
}

#[test]
fn west_south_and_below_the_sea_are_negative() {
    let record = RecordSpec {
        longitude: -1,
        latitude: -900_000_000,
        altitude_m: -4,
        ..spec()
    };
    let frame = packet(Codec::Codec8, &[record]).unwrap();
    let found = checked(&frame).records().next().unwrap();
    assert_eq!(found.longitude, -1);
    assert_eq!(found.latitude, -900_000_000);
    assert_eq!(found.altitude_m, -4);
}

#[test]
fn a_time_the_database_cannot_hold_is_refused() {
    let at = |time_ms| packet(Codec::Codec8, &[spec(), RecordSpec { time_ms, ..spec() }]).unwrap();
    checked(&at(TIME_MS_MAX));
    let frame = at(TIME_MS_MAX + 1);
    let error = check(&frame).unwrap_err();
    assert_eq!(error.code(), "time");
    assert!(
        error.to_string().starts_with("record 2 at offset 40 "),
        "{error}"
    );
    assert_eq!(declared(&frame), Some(2));
    assert_eq!(check(&at(u64::MAX)).unwrap_err().code(), "time");
}

#[test]
fn each_inner_mistake_has_its_code() {
    let whole = packet(Codec::Codec8, &[spec()]).unwrap();
    let data = &whole[8..whole.len() - 4];
    let code = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut data = data.to_vec();
        change(&mut data);
        check(&frame(&data).unwrap()).unwrap_err().code()
    };
    let last = data.len() - 1;
    assert_eq!(code(&|data| data[0] = 0x07), "codec");
    assert_eq!(code(&|data| data[last] = 2), "counts");
    assert_eq!(
        code(&|data| {
            data[1] = 0;
            data[last] = 0;
        }),
        "no_records"
    );
    assert_eq!(
        code(&|data| {
            data[1] = 2;
            data[last] = 2;
        }),
        "record_short"
    );
    assert_eq!(code(&|data| data[2 + 25] = 1), "io_count");
    assert_eq!(code(&|data| data.insert(last, 0)), "trailing");
    assert_eq!(check(&[0; 5]).unwrap_err().code(), "short");
}

#[test]
fn a_wrong_count_among_records_of_one_shape_is_noticed() {
    for codec in [Codec::Codec8, Codec::Codec8Extended] {
        let one = |id, width| (id, IoSpec::Fixed { width, raw: 0 });
        let io = vec![one(1, 1), one(2, 2), one(3, 4), one(4, 8)];
        let whole = packet(codec, &vec![RecordSpec { io, ..spec() }; 3]).unwrap();
        let data = &whole[8..whole.len() - 4];
        let record = checked(&whole).records().next().unwrap();
        let io_at = record.raw.len() - record.io.bytes.len();
        let (id, count) = (
            usize::from(codec.id_width()),
            usize::from(codec.count_width()),
        );
        // The last byte of the total, then of each group's count.
        let mut at = 2 + record.raw.len() + io_at + count - 1;
        for width in [0, 1, 2, 4, 8] {
            let mut damaged = data.to_vec();
            assert_eq!(
                damaged[at],
                if width == 0 { 4 } else { 1 },
                "{codec:?} {width}"
            );
            damaged[at] = 2;
            assert!(
                check(&frame(&damaged).unwrap()).is_err(),
                "{codec:?} {width}"
            );
            at += count + if width == 0 { 0 } else { id + width };
        }
    }
}

#[test]
fn a_full_packet_of_255_records_is_one_packet() {
    let records = vec![spec(); 255];
    let frame = packet(
        Codec::Codec16,
        &records
            .iter()
            .map(|record| RecordSpec {
                generation: Some(7),
                ..record.clone()
            })
            .collect::<Vec<_>>(),
    )
    .unwrap();
    assert_eq!(checked(&frame).n_records, 255);
    assert_eq!(checked(&frame).records().count(), 255);
}

#[test]
fn the_digest_is_that_of_the_record_alone() {
    let mut other = spec();
    other.speed_kmh = 1;
    let one = packet(Codec::Codec8, &[spec()]).unwrap();
    let two = packet(Codec::Codec8, &[other, spec()]).unwrap();
    let alone = checked(&one).records().next().unwrap();
    let (first, second) = {
        let mut records = checked(&two).records();
        (records.next().unwrap(), records.next().unwrap())
    };
    assert_eq!(alone.digest(), second.digest());
    assert_ne!(alone.digest(), first.digest());
    // Rows already stored are found by this number; it may never change.
    assert_eq!(alone.digest(), 8_570_243_498_856_817_301);
    // The published value of XXH3-64 with seed 0 for no bytes at all.
    let empty = Record { raw: &[], ..alone };
    assert_eq!(empty.digest(), 0x2D06_8005_38D3_94C2);
}

#[test]
fn what_a_codec_cannot_carry_is_said() {
    let with = |io: Vec<(u16, IoSpec)>| RecordSpec { io, ..spec() };
    let one = |width, raw| IoSpec::Fixed { width, raw };
    let error = |codec, record: RecordSpec| packet(codec, &[record]).unwrap_err();
    let codec = Codec::Codec8;
    assert_eq!(packet(codec, &[]), Err(EncodeError::RecordCount(0)));
    assert_eq!(
        packet(codec, &vec![spec(); 256]),
        Err(EncodeError::RecordCount(256))
    );
    assert_eq!(
        error(codec, with(vec![(256, one(1, 0))])),
        EncodeError::Id { codec, id: 256 }
    );
    assert_eq!(
        error(codec, with(vec![(1, one(1, 256))])),
        EncodeError::Value { width: 1, raw: 256 }
    );
    assert_eq!(
        error(codec, with(vec![(1, one(3, 0))])),
        EncodeError::Value { width: 3, raw: 0 }
    );
    assert_eq!(
        error(codec, with(vec![(1, IoSpec::Bytes(vec![]))])),
        EncodeError::NoVariable(codec)
    );
    assert_eq!(
        error(codec, with(vec![(1, one(1, 0)); 256])),
        EncodeError::IoCount {
            codec,
            n_elements: 256
        }
    );
    assert_eq!(
        error(Codec::Codec16, spec()),
        EncodeError::Generation(Codec::Codec16)
    );
    assert_eq!(
        error(
            Codec::Codec8Extended,
            with(vec![(1, IoSpec::Bytes(vec![0; 65_536]))])
        ),
        EncodeError::VariableLength(65_536)
    );
}
