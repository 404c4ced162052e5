//! The parts of the torture run that can be wrong without anybody noticing: that a seed repeats its schedule, that all kinds of
//! faults come, and that the books show whatever is planted in them.

use std::collections::BTreeSet;
use std::time::Duration;

use trackport::protocol::teltonika::{Checked, Codec, PacketError, check};

use crate::harness::secs;

#[path = "../torture/schedule.rs"]
mod schedule;
#[allow(dead_code)]
#[path = "../torture/values.rs"]
mod values;
#[allow(dead_code)]
#[path = "../torture/verdict.rs"]
mod verdict;

use schedule::{Fault, Lane, plan};
use values::{POISON, Row, Values};
use verdict::compare;

const CODECS: [Codec; 3] = [Codec::Codec8, Codec::Codec8Extended, Codec::Codec16];

fn some_values() -> Values {
    Values {
        seed: 1,
        begin_ms: 1_767_225_600_000,
    }
}

#[test]
fn a_seed_repeats_its_schedule_and_another_gives_another() {
    for lane in [Lane::Database, Lane::Trackport] {
        let first = plan(1, lane, secs(600), false);
        assert_eq!(first, plan(1, lane, secs(600), false));
        assert_ne!(first, plan(2, lane, secs(600), false));
        // A longer run begins like a shorter one.
        assert!(plan(1, lane, secs(900), false).starts_with(&first));
    }
}

#[test]
fn faults_of_a_lane_follow_each_other_and_end_in_time() {
    for seed in 0..50 {
        for lane in [Lane::Database, Lane::Trackport] {
            let mut end = Duration::ZERO;
            for planned in plan(seed, lane, secs(120), false) {
                assert!(planned.at >= end, "{planned:?} begins before {end:?}");
                end = planned.at + planned.lasts;
            }
            assert!(end <= secs(120));
        }
    }
}

#[test]
fn every_kind_of_fault_comes_within_three_minutes() {
    for seed in 0..50 {
        let came: BTreeSet<Fault> = [Lane::Database, Lane::Trackport]
            .into_iter()
            .flat_map(|lane| plan(seed, lane, secs(180), false))
            .map(|planned| planned.fault)
            .collect();
        assert_eq!(came.len(), 18, "{seed}: {came:?}");
    }
}

#[test]
fn a_soak_leaves_the_process_alone() {
    let came: BTreeSet<Fault> = [Lane::Database, Lane::Trackport]
        .into_iter()
        .flat_map(|lane| plan(1, lane, secs(3600), true))
        .map(|planned| planned.fault)
        .collect();
    for fault in [
        Fault::KillTrackport,
        Fault::KillTrackportAlone,
        Fault::TearSpool,
        Fault::StopTrackport,
        Fault::FreezeTrackport,
        Fault::InjectFaults,
    ] {
        assert!(!came.contains(&fault), "{fault}");
    }
    assert!(came.contains(&Fault::StopPostgres) && came.contains(&Fault::SwallowDatabase));
}

#[test]
fn the_decoder_agrees_with_every_value_that_is_compared() {
    let values = some_values();
    for codec in CODECS {
        for index in 0..300 {
            let packet = values.packet(codec, 7, index, 3);
            let Ok(Checked::Avl(packet)) = check(&packet) else {
                panic!("{codec:?} {index}: not a packet");
            };
            for (place, record) in (index..).zip(packet.records()) {
                let row = values.row(codec, 7, place);
                assert_eq!(row.digest, record.digest().cast_signed());
                assert_eq!(row.io, record.io.bytes);
                assert_eq!(row.event_id, i32::from(record.event_id));
                assert_eq!(row.generation, record.generation.map(i16::from));
                let since_2000_ms = record.time_ms.cast_signed() - 946_684_800_000;
                assert_eq!(row.time_us, since_2000_ms * 1000);
            }
        }
    }
}

#[test]
fn every_poisoned_packet_is_refused_for_the_reason_that_is_expected() {
    let values = some_values();
    let mut codes = BTreeSet::new();
    for codec in CODECS {
        for n in 0..100 {
            let poison = values.poison(codec, 7, n);
            let error: PacketError = check(&poison.bytes).expect_err("it is broken");
            assert_eq!(error.code(), poison.code);
            assert_eq!(u32::from(poison.bytes[9]), poison.n_records);
            codes.insert(poison.code);
        }
    }
    assert_eq!(codes.len(), 4, "{codes:?}");
    assert!(POISON > u64::from(u32::MAX));
}

fn ten_rows() -> Vec<Row> {
    let values = some_values();
    (0..10)
        .map(|index| values.row(Codec::Codec8Extended, 7, index))
        .collect()
}

#[test]
fn right_books_are_found_right_and_what_was_not_acked_may_be_there_or_not() {
    let sent = ten_rows();
    let mut stored = sent[..9].to_vec();
    stored.reverse();
    let verdict = compare(&sent, 8, &stored);
    assert!(verdict.lost.is_empty() && verdict.doubled.is_empty());
    assert!(verdict.wrong.is_empty() && verdict.foreign.is_empty());
    assert_eq!(verdict.n_unacked, 1);
}

#[test]
fn planted_losses_doubles_wrong_values_and_foreign_rows_are_found() {
    let sent = ten_rows();
    let mut stored = sent.clone();
    stored.remove(3);
    stored.push(sent[5].clone());
    stored[0].speed_kmh += 1;
    let last = stored[1].io.len() - 1;
    stored[1].io[last] ^= 1;
    stored.push(some_values().row(Codec::Codec8Extended, 8, 0));
    let verdict = compare(&sent, 10, &stored);
    assert_eq!(verdict.lost, [3]);
    assert_eq!(verdict.doubled, [5]);
    assert_eq!(verdict.wrong, [0, 1]);
    assert_eq!(verdict.foreign.len(), 1);
}
