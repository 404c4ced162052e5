//! What each record says: made from the seed, the device's number and the record's index alone, so that nobody has to
//! remember it, and what the table must hold for it, worked out without the decoder.
//!
//! No two records of a device are the same: the index is in an IO element. Their times may be the same, go back, or
//! be impossible, as those of devices whose clock steps.

use std::fmt;

use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{self, IoSpec, RecordSpec};
use twox_hash::XxHash3_64;

/// The AVL id that carries the index; it fills no typed column of a device without a model.
const INDEX_ID: u16 = 16;

/// Records in a row whose clock steps the same way.
const STEP_RECORDS: u64 = 8;

/// The last millisecond of a `timestamptz`.
pub const LAST_MS: u64 = 9_224_318_015_999_999;

/// 2000 in milliseconds since 1970.
const EPOCH_2000_MS: i64 = 946_684_800_000;

/// Indices from here on are those of packets that nobody can read.
pub const POISON: u64 = 1 << 40;

/// What the run as a whole decides.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    pub seed: u64,
    /// Milliseconds since 1970 at which devices with a right clock begin.
    pub begin_ms: u64,
}

/// How a device's clock is wrong for some records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Right,
    /// All records have one time.
    Stands,
    /// At 1970, after a loss of power.
    Lost,
    /// A week back.
    Back,
    /// Some weeks ahead, where partitions may be there already.
    Ahead,
    /// Far in the future: 2106 and beyond.
    Far,
}

/// One row of `trackport.record`, but for the server's own columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Since 2000, as PostgreSQL counts: since 1970 the last years would not fit.
    pub time_us: i64,
    pub digest: i64,
    pub longitude: f64,
    pub latitude: f64,
    pub altitude_m: i16,
    pub angle_deg: i32,
    pub satellites: i16,
    pub speed_kmh: i32,
    pub priority: i16,
    pub event_id: i32,
    pub generation: Option<i16>,
    pub codec: i16,
    pub ignition: Option<bool>,
    pub movement: Option<bool>,
    pub external_voltage_mv: Option<i32>,
    pub signal: Option<i16>,
    /// How many of the other typed columns hold something.
    pub n_other: i32,
    pub io: Vec<u8>,
}

impl Values {
    fn rng(&self, number: u64, index: u64) -> fastrand::Rng {
        let mut rng = fastrand::Rng::with_seed(self.seed.rotate_left(17) ^ number);
        fastrand::Rng::with_seed(rng.u64(..) ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// How the clock of a device goes for this record.
    pub fn clock(&self, number: u64, index: u64) -> Clock {
        let mut rng = self.rng(number, u64::MAX - index / STEP_RECORDS);
        match rng.u8(..100) {
            0..2 => Clock::Stands,
            2..4 => Clock::Lost,
            4..6 => Clock::Back,
            6..8 => Clock::Ahead,
            8..10 => Clock::Far,
            _ => Clock::Right,
        }
    }

    fn time_ms(&self, number: u64, index: u64, rng: &mut fastrand::Rng) -> u64 {
        const DAY_MS: u64 = 86_400_000;
        let right = self.begin_ms + index * 1000;
        match self.clock(number, index) {
            Clock::Right => right,
            Clock::Stands => self.begin_ms + (index - index % STEP_RECORDS) * 1000,
            Clock::Lost => index * 1000,
            Clock::Back => right - 7 * DAY_MS,
            Clock::Ahead => right + rng.u64(1..40) * DAY_MS,
            // Every other one in the last years that can be stored.
            Clock::Far if rng.bool() => LAST_MS - rng.u64(..1 << 41),
            Clock::Far => rng.u64(4_291_747_200_000..=LAST_MS),
        }
    }

    /// What a device sends.
    pub fn record(&self, codec: Codec, number: u64, index: u64) -> RecordSpec {
        let mut rng = self.rng(number, index);
        let time_ms = self.time_ms(number, index % POISON, &mut rng);
        let mut io = vec![
            (
                INDEX_ID,
                IoSpec::Fixed {
                    width: 8,
                    raw: index,
                },
            ),
            (
                239,
                IoSpec::Fixed {
                    width: 1,
                    raw: rng.u64(..=1),
                },
            ),
        ];
        if rng.bool() {
            io.push((
                240,
                IoSpec::Fixed {
                    width: 1,
                    raw: rng.u64(..=1),
                },
            ));
        }
        if rng.bool() {
            io.push((
                21,
                IoSpec::Fixed {
                    width: 1,
                    raw: rng.u64(..=5),
                },
            ));
        }
        if rng.bool() {
            io.push((
                66,
                IoSpec::Fixed {
                    width: 2,
                    raw: rng.u64(9_000..30_000),
                },
            ));
        }
        // Something that no dictionary knows.
        for _ in 0..rng.u8(..4) {
            io.push((
                250,
                IoSpec::Fixed {
                    width: 4,
                    raw: rng.u64(..1 << 32),
                },
            ));
        }
        if codec == Codec::Codec8Extended {
            for _ in 0..rng.u8(..3) {
                let n_bytes = if rng.u8(..50) == 0 {
                    1500
                } else {
                    rng.usize(..40)
                };
                let bytes = (0..n_bytes).map(|_| rng.u8(..)).collect();
                io.push((60_000, IoSpec::Bytes(bytes)));
            }
        }
        RecordSpec {
            time_ms,
            priority: rng.u8(..3),
            longitude: rng.i32(-1_800_000_000..=1_800_000_000),
            latitude: rng.i32(-900_000_000..=900_000_000),
            altitude_m: rng.i16(..),
            angle_deg: rng.u16(..360),
            satellites: rng.u8(..20),
            speed_kmh: rng.u16(..250),
            event_id: rng.u16(..250),
            generation: (codec == Codec::Codec16).then(|| rng.u8(..8)),
            io,
        }
    }

    /// A packet with `n` records from `index` on.
    pub fn packet(&self, codec: Codec, number: u64, index: u64, n: u64) -> Vec<u8> {
        let records: Vec<RecordSpec> = (index..index + n)
            .map(|index| self.record(codec, number, index))
            .collect();
        encode::packet(codec, &records).expect("the codec can carry it")
    }

    /// What must stand in the table.
    pub fn row(&self, codec: Codec, number: u64, index: u64) -> Row {
        /// Preamble, length, codec and number of data 1.
        const BEFORE: usize = 10;
        /// Number of data 2 and CRC.
        const BEHIND: usize = 5;
        /// Time, priority and GPS element.
        const HEAD: usize = 24;
        let spec = self.record(codec, number, index);
        let frame =
            encode::packet(codec, std::slice::from_ref(&spec)).expect("the codec can carry it");
        let raw = &frame[BEFORE..frame.len() - BEHIND];
        // The event's id, and the generation in codec 16.
        let head = HEAD
            + match codec {
                Codec::Codec8 => 1,
                Codec::Codec8Extended => 2,
                Codec::Codec16 => 3,
            };
        let value = |wanted: u16| {
            spec.io.iter().find_map(|(id, value)| match value {
                IoSpec::Fixed { raw, .. } if *id == wanted => Some(*raw),
                _ => None,
            })
        };
        let small = |wanted| value(wanted).map(|raw| i16::try_from(raw).expect("a small number"));
        Row {
            time_us: (spec.time_ms.cast_signed() - EPOCH_2000_MS) * 1000,
            digest: XxHash3_64::oneshot(raw).cast_signed(),
            longitude: f64::from(spec.longitude) / 1e7,
            latitude: f64::from(spec.latitude) / 1e7,
            altitude_m: spec.altitude_m,
            angle_deg: i32::from(spec.angle_deg),
            satellites: i16::from(spec.satellites),
            speed_kmh: i32::from(spec.speed_kmh),
            priority: i16::from(spec.priority),
            event_id: i32::from(spec.event_id),
            generation: spec.generation.map(i16::from),
            codec: i16::from(codec.id()),
            ignition: value(239).map(|raw| raw == 1),
            movement: value(240).map(|raw| raw == 1),
            external_voltage_mv: small(66).map(i32::from),
            signal: small(21),
            n_other: 0,
            io: raw[head..].to_vec(),
        }
    }

    /// The packet number `n` of a device that nobody can read.
    pub fn poison(&self, codec: Codec, number: u64, n: u64) -> Poison {
        let index = POISON + n * 256;
        let mut rng = self.rng(number, index);
        let n_records = rng.u64(1..6);
        let good = self.packet(codec, number, index, n_records);
        let data = good[8..good.len() - 4].to_vec();
        let framed = |data: &[u8]| encode::frame(data).expect("a short packet");
        let (code, bytes) = match rng.u8(..4) {
            0 => {
                let mut bytes = good;
                *bytes.last_mut().expect("a CRC") ^= 1 << rng.u8(..8);
                ("crc", bytes)
            }
            1 => {
                let mut data = data;
                *data.last_mut().expect("number of data 2") += 1;
                ("counts", framed(&data))
            }
            2 => {
                let mut data = data;
                data.insert(data.len() - 1, 0);
                ("trailing", framed(&data))
            }
            _ => {
                let mut data = data;
                data[2..10].copy_from_slice(&(LAST_MS + 1 + n).to_be_bytes());
                ("time", framed(&data))
            }
        };
        Poison {
            code,
            bytes,
            n_records: u32::try_from(n_records).expect("a few"),
            is_acked: false,
        }
    }
}

/// A packet that must end in quarantine, and its ack.
#[derive(Clone, Debug)]
pub struct Poison {
    /// As quarantine names what is wrong.
    pub code: &'static str,
    pub bytes: Vec<u8>,
    /// What its ack must say.
    pub n_records: u32,
    pub is_acked: bool,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Right => "right",
            Clock::Stands => "standing",
            Clock::Lost => "at 1970",
            Clock::Back => "a week back",
            Clock::Ahead => "weeks ahead",
            Clock::Far => "far in the future",
        })
    }
}
