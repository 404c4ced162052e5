//! How fast a packet is checked and read, beside the crate nom-teltonika on the same bytes.
//!
//! Ours does what a port and a writer need: every length and count, the CRC, and a visit to every
//! field and IO element. Rounds alternate, so that a change of the machine's speed meets both; the
//! medians are printed.

use std::hint::black_box;
use std::time::Instant;

use trackport::protocol::teltonika::encode::{IoSpec, RecordSpec, packet};
use trackport::protocol::teltonika::{Checked, Codec, IoValue, check};

const PACKETS: u64 = 1000;
const RECORDS: u64 = 10;
const ROUNDS: usize = 15;

fn main() {
    let frames: Vec<Vec<u8>> = (0..PACKETS).map(frame).collect();
    let bytes: usize = frames.iter().map(Vec::len).sum();
    println!(
        "{PACKETS} packets of Codec 8 Extended, {RECORDS} records of 15 IO elements, {} bytes each",
        bytes / frames.len()
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(records_per_second(20, &frames, visit));
        theirs.push(records_per_second(2, &frames, |frame| {
            let (_, frame) = nom_teltonika::parser::tcp_frame(frame).expect("the frame is sound");
            black_box(frame.unwrap_avl().records.len() as u64)
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "decode: ours {:.1} M records/s, nom-teltonika {:.2} M records/s, ratio {:.1} (median of {ROUNDS})",
        ours / 1e6,
        theirs / 1e6,
        ours / theirs
    );
}

/// Checks a packet, visits every value in it and returns something made of all of them.
fn visit(frame: &[u8]) -> u64 {
    let Ok(Checked::Avl(packet)) = check(frame) else {
        panic!("the frame is sound");
    };
    packet.records().fold(0, |sum, record| {
        let fields = record.time_ms
            ^ u64::from(record.longitude.unsigned_abs())
            ^ u64::from(record.latitude.unsigned_abs())
            ^ u64::from(record.speed_kmh);
        let io = record.io.elements().fold(0_u64, |sum, element| {
            let value = match element.value {
                IoValue::Fixed { raw, .. } => raw,
                IoValue::Bytes(bytes) => bytes.len() as u64,
            };
            sum.wrapping_add(value).wrapping_add(u64::from(element.id))
        });
        sum ^ fields ^ io
    })
}

fn records_per_second(turns: u64, frames: &[Vec<u8>], read: impl Fn(&[u8]) -> u64) -> f64 {
    let started = Instant::now();
    for _ in 0..turns {
        for frame in frames {
            black_box(read(black_box(frame)));
        }
    }
    (turns * PACKETS * RECORDS) as f64 / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A packet like those of a car: switches, voltages, distances and one long identifier.
fn frame(number: u64) -> Vec<u8> {
    let records: Vec<RecordSpec> = (0..RECORDS)
        .map(|record| {
            let turn = number * RECORDS + record;
            let io = (1..=15_u16)
                .map(|id| {
                    let width = match id {
                        1..=6 => 1,
                        7..=11 => 2,
                        12..=14 => 4,
                        _ => 8,
                    };
                    let raw = (turn * u64::from(id)) & (u64::MAX >> (64 - 8 * u32::from(width)));
                    (id * 20, IoSpec::Fixed { width, raw })
                })
                .collect();
            RecordSpec {
                time_ms: 1_700_000_000_000 + turn * 1000,
                longitude: 252_797_000 + turn as i32,
                latitude: 546_872_000 - turn as i32,
                altitude_m: 110,
                angle_deg: (turn % 360) as u16,
                satellites: 12,
                speed_kmh: (turn % 130) as u16,
                io,
                ..RecordSpec::default()
            }
        })
        .collect();
    packet(Codec::Codec8Extended, &records).expect("the codec carries these records")
}
