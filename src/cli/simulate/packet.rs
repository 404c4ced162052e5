//! The packets of a fleet, made so cheaply that the server is measured and not their maker.
//!
//! One packet is encoded once; every other is a copy of it with times, positions and a few values written over and the CRC made anew.
//! Invariant: a packet is a function of run, device and its first time alone, so that it can be sent again byte for byte.

use twox_hash::XxHash3_64;

use super::Codec;
use super::road::{Moment, Vehicle};
use crate::protocol::teltonika::crc::crc16;
use crate::protocol::teltonika::encode::{self, EncodeError, IoSpec, RecordSpec};
use crate::protocol::teltonika::{self as wire, frame::FRAME_OVERHEAD};

/// Bytes before the first record: preamble, length, codec, number of data 1.
const HEAD_BYTES: usize = 10;
/// Bytes after the last record: number of data 2, CRC.
const TAIL_BYTES: usize = 5;

/// How a value is made at each moment; what is not listed stays as it was encoded.
type Value = fn(&Moment) -> u64;

/// The elements that a record has first: id, width, value.
const ELEMENTS: [(u16, u8, Value); 18] = [
    (239, 1, |moment| moment.driving.into()),
    (240, 1, |moment| moment.driving.into()),
    (21, 1, |moment| moment.signal.into()),
    (66, 2, |moment| moment.external_voltage_mv.into()),
    (67, 2, |moment| 3900 + (moment.noise >> 40 & 0xFF)),
    (16, 4, |moment| moment.odometer_m.into()),
    (72, 4, |moment| u64::from(moment.temperature as u32)),
    (73, 4, |moment| u64::from((moment.temperature - 180) as u32)),
    (69, 1, |_| 1),
    (80, 1, |_| 3),
    (181, 2, |moment| 11 + (moment.noise >> 48 & 7)),
    (182, 2, |moment| 7 + (moment.noise >> 51 & 7)),
    (24, 2, |moment| moment.speed_kmh.into()),
    (241, 4, |_| 26_201),
    (205, 2, |moment| moment.noise >> 54 & 0x3FF),
    (206, 2, |_| 5_027),
    (68, 2, |_| 0),
    (78, 8, |_| 0x0000_0160_1A2B_3C01),
];

/// The packet that all others are copies of.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    n_records: usize,
    record_bytes: usize,
    step_ms: u64,
    /// Where in a record which bytes are written over.
    values: Vec<(usize, usize, Value)>,
}

impl Template {
    /// Packets of `n_records` records, `step_ms` apart, with `n_io` elements each.
    ///
    /// # Errors
    /// What the codec cannot carry.
    pub(super) fn new(
        codec: Codec,
        n_records: u8,
        n_io: u16,
        step_ms: u64,
    ) -> Result<Template, EncodeError> {
        let generation = (codec == Codec::Codec16).then_some(5);
        let codec = wire::Codec::from(codec);
        let plain = RecordSpec {
            generation,
            io: elements(n_io),
            ..RecordSpec::default()
        };
        let n_records = usize::from(n_records);
        let bytes = encode::packet(codec, &vec![plain.clone(); n_records])?;
        let record_bytes = (bytes.len() - HEAD_BYTES - TAIL_BYTES) / n_records;
        let mut values = Vec::new();
        for (place, (_, width, value)) in ELEMENTS.iter().enumerate().take(plain.io.len()) {
            // Where an element lies is found by changing it: the first byte that differs is its own.
            let mut changed = plain.clone();
            changed.io[place].1 = IoSpec::Fixed {
                width: *width,
                raw: u64::MAX >> (64 - 8 * u32::from(*width)),
            };
            let zero = zeroed(&plain, place, *width);
            let (zero, full) = (
                encode::packet(codec, &[zero])?,
                encode::packet(codec, &[changed])?,
            );
            let at = zero.iter().zip(&full).position(|(zero, full)| zero != full);
            if let Some(at) = at {
                values.push((at - HEAD_BYTES, usize::from(*width), *value));
            }
        }
        Ok(Template {
            bytes,
            n_records,
            record_bytes,
            step_ms,
            values,
        })
    }

    /// Bytes of each packet.
    pub(super) fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Records of each packet.
    pub(super) fn n_records(&self) -> usize {
        self.n_records
    }

    /// Milliseconds from one record to the next.
    pub(super) fn step_ms(&self) -> u64 {
        self.step_ms
    }

    /// Makes `packet` the one of `vehicle` whose first record is of `first_ms`.
    pub(super) fn write(&self, vehicle: &Vehicle, first_ms: u64, packet: &mut Vec<u8>) {
        packet.clear();
        packet.extend_from_slice(&self.bytes);
        let records = packet[HEAD_BYTES..].chunks_exact_mut(self.record_bytes);
        let mut time_ms = first_ms;
        for record in records.take(self.n_records) {
            let moment = vehicle.at(time_ms);
            record[..8].copy_from_slice(&time_ms.to_be_bytes());
            record[9..13].copy_from_slice(&moment.longitude.to_be_bytes());
            record[13..17].copy_from_slice(&moment.latitude.to_be_bytes());
            record[17..19].copy_from_slice(&moment.altitude_m.to_be_bytes());
            record[19..21].copy_from_slice(&moment.angle_deg.to_be_bytes());
            record[21] = moment.satellites;
            record[22..24].copy_from_slice(&moment.speed_kmh.to_be_bytes());
            for (at, width, value) in &self.values {
                let value = value(&moment).to_be_bytes();
                record[*at..at + width].copy_from_slice(&value[8 - width..]);
            }
            time_ms += self.step_ms;
        }
        let crc_at = packet.len() - 2;
        let crc = crc16(&packet[FRAME_OVERHEAD - 4..packet.len() - 4]);
        packet[crc_at..].copy_from_slice(&crc.to_be_bytes());
    }

    /// Time and digest of each record of a packet that `write` made, as the table has them.
    pub(super) fn keys<'a>(&'a self, packet: &'a [u8]) -> impl Iterator<Item = (u64, i64)> + 'a {
        packet[HEAD_BYTES..]
            .chunks_exact(self.record_bytes)
            .take(self.n_records)
            .map(|record| {
                let (time, _) = record
                    .split_first_chunk()
                    .expect("a record begins with its time");
                let digest = XxHash3_64::oneshot(record);
                (u64::from_be_bytes(*time), digest.cast_signed())
            })
    }
}

/// The record with the element at `place` set to zero.
fn zeroed(record: &RecordSpec, place: usize, width: u8) -> RecordSpec {
    let mut zero = record.clone();
    zero.io[place].1 = IoSpec::Fixed { width, raw: 0 };
    zero
}

/// The elements of a record: those above, then such as fill up, with ids that no other has.
fn elements(n_io: u16) -> Vec<(u16, IoSpec)> {
    let first = ELEMENTS.iter().map(|(id, width, _)| (*id, *width));
    let is_first = |id: &u16| ELEMENTS.iter().any(|(first, ..)| first == id);
    let widths = [1, 2, 4, 8].into_iter().cycle();
    let rest = (1..=u16::MAX).filter(|id| !is_first(id)).zip(widths);
    first
        .chain(rest)
        .take(usize::from(n_io))
        .map(|(id, width)| {
            (
                id,
                IoSpec::Fixed {
                    width,
                    raw: u64::from(id) % 200,
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::teltonika::{Checked, check};

    const TIME_MS: u64 = 1_780_000_000_000;

    fn vehicle() -> Vehicle {
        Vehicle::new(350_000_000_000_000, 7)
    }

    #[test]
    fn every_packet_is_right_in_every_codec() {
        for codec in [Codec::Codec8, Codec::Codec8Extended, Codec::Codec16] {
            for (n_records, n_io) in [(1, 0), (10, 12), (255, 3), (2, 255)] {
                let template = Template::new(codec, n_records, n_io, 10).unwrap();
                let mut packet = Vec::new();
                template.write(&vehicle(), TIME_MS, &mut packet);
                let Ok(Checked::Avl(checked)) = check(&packet) else {
                    panic!("{codec:?} {n_records} {n_io}: {:?}", check(&packet));
                };
                assert_eq!(checked.n_records, n_records);
                let keys: Vec<(u64, i64)> = template.keys(&packet).collect();
                let records: Vec<(u64, i64)> = checked
                    .records()
                    .map(|record| (record.time_ms, record.digest().cast_signed()))
                    .collect();
                assert_eq!(keys, records);
                for record in checked.records() {
                    assert_eq!(record.io.n_elements(), n_io);
                }
            }
        }
    }

    #[test]
    fn values_lie_where_their_elements_are() {
        let template = Template::new(Codec::Codec8Extended, 3, 20, 1000).unwrap();
        let mut packet = Vec::new();
        template.write(&vehicle(), TIME_MS, &mut packet);
        let Ok(Checked::Avl(checked)) = check(&packet) else {
            panic!("{:?}", check(&packet));
        };
        for (place, record) in (0..).zip(checked.records()) {
            let moment = vehicle().at(TIME_MS + place * 1000);
            assert_eq!(record.longitude, moment.longitude);
            assert_eq!(record.speed_kmh, moment.speed_kmh);
            for (id, width, value) in ELEMENTS {
                let element = record.io.elements().find(|one| one.id == id).unwrap();
                let expected = wire::IoValue::Fixed {
                    width,
                    raw: value(&moment),
                };
                assert_eq!(element.value, expected, "{id}");
            }
        }
    }

    #[test]
    fn a_packet_can_be_made_again() {
        let template = Template::new(Codec::Codec8, 10, 12, 1).unwrap();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        template.write(&vehicle(), TIME_MS, &mut one);
        template.write(&vehicle(), TIME_MS + 10, &mut other);
        assert_ne!(one, other);
        template.write(&vehicle(), TIME_MS, &mut other);
        assert_eq!(one, other);
    }
}
