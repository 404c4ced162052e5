//! From packets to rows: which go straight into the table, which through staging, and what is newest of each device.
//!
//! Duplicates inside a batch are left out here, because one COPY cannot carry a key twice.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::clock;
use crate::fleet::Device;
use crate::intake::Received;
use crate::protocol::teltonika::{Packet, Record};
use crate::store::latest::{AHEAD_MAX, LatestRow};
use crate::store::rows::{Origin, Rows, degrees, time_us};
use crate::store::typed::{SHAKEN, Typed};

/// A batch as rows; its memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) direct: Rows,
    pub(super) staged: Rows,
    seen: HashSet<Key, BuildHasherDefault<DigestHasher>>,
    latest: Vec<LatestRow>,
    /// Whose rows these are. Held as long as the rows are, so that whoever counts a device's holders (`Device::n_holders`) counts
    /// also rows whose packets others have taken over.
    devices: Vec<Arc<Device>>,
}

/// The unique key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    device_id: i32,
    time_ms: u64,
    digest: u64,
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest is a hash of more than the other two say.
        state.write_u64(self.digest);
    }
}

/// Takes a digest as it is: hashing a hash gains nothing.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

impl Encoder {
    /// Forgets every row and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.direct.clear();
        self.staged.clear();
        self.seen.clear();
        self.latest.clear();
        self.devices.clear();
    }

    /// The newest record of each packet, its newest fix and its newest events.
    pub(super) fn take_latest(&mut self) -> std::vec::Drain<'_, LatestRow> {
        self.latest.drain(..)
    }

    /// Makes rows of `packet`: staged when `staged` says so or its records may be in the table. False when there are none to be made:
    /// the port has checked the packet, and whoever stores has a device with an id, so that is a mistake of this program.
    pub(super) fn add(&mut self, received: &Received, staged: bool) -> bool {
        let staged = staged || received.maybe_resend;
        let (Some(packet), Some(device_id)) =
            (Packet::from_checked(&received.frame), received.device.id())
        else {
            return false;
        };
        self.devices.push(Arc::clone(&received.device));
        let typed_columns = received.device.typed();
        let origin = Origin {
            device_id,
            received_at_us: received.received_at_us,
            port: received.port,
            codec: packet.codec,
            typed: &typed_columns,
        };
        let believable_us = received.received_at_us + clock::micros(AHEAD_MAX);
        let mut newest: Option<One<'_>> = None;
        let mut newest_fix: Option<One<'_>> = None;
        let mut newest_event: Option<One<'_>> = None;
        let mut newest_shaken: Option<One<'_>> = None;
        for record in packet.records() {
            let digest = record.digest();
            if !self.seen.insert(Key {
                device_id,
                time_ms: record.time_ms,
                digest,
            }) {
                continue;
            }
            let rows = if staged {
                &mut self.staged
            } else {
                &mut self.direct
            };
            let typed = rows.push(&origin, &record, digest);
            if time_us(record.time_ms) > believable_us {
                continue;
            }
            let is_newer = |than: &Option<One<'_>>| {
                than.as_ref()
                    .is_none_or(|(other, _, _)| record.time_ms >= other.time_ms)
            };
            if is_newer(&newest) {
                newest = Some((record, digest, typed));
            }
            if record.satellites > 0 && is_newer(&newest_fix) {
                newest_fix = Some((record, digest, typed));
            }
            if let Some(events) = typed.events {
                if is_newer(&newest_event) {
                    newest_event = Some((record, digest, typed));
                }
                if events & SHAKEN != 0 && is_newer(&newest_shaken) {
                    newest_shaken = Some((record, digest, typed));
                }
            }
        }
        let begun = self.latest.len();
        for one in [newest, newest_fix, newest_event, newest_shaken]
            .into_iter()
            .flatten()
        {
            let row = latest_row(&origin, one);
            if self.latest[begun..]
                .iter()
                .all(|other| other.digest != row.digest)
            {
                self.latest.push(row);
            }
        }
        true
    }
}

/// A record, its digest, and what its elements say.
type One<'a> = (Record<'a>, u64, Typed);

fn latest_row(origin: &Origin<'_>, (record, digest, typed): One<'_>) -> LatestRow {
    LatestRow {
        device_id: origin.device_id,
        time: clock::system_time(time_us(record.time_ms)),
        digest: digest.cast_signed(),
        received_at: clock::system_time(origin.received_at_us),
        longitude: degrees(record.longitude),
        latitude: degrees(record.latitude),
        altitude_m: record.altitude_m,
        angle_deg: i32::from(record.angle_deg),
        satellites: i16::from(record.satellites),
        speed_kmh: i32::from(record.speed_kmh),
        priority: i16::from(record.priority),
        event_id: i32::from(record.event_id),
        port: i32::from(origin.port),
        typed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;
    use crate::intake::Content;
    use crate::protocol::teltonika::Codec;
    use crate::protocol::teltonika::encode::{RecordSpec, packet};
    use crate::store::device::DeviceState;
    use crate::store::directory::KnownDevice;

    const RECEIVED_AT_US: i64 = 1_700_000_000_000_000;

    fn received(records: &[RecordSpec], maybe_resend: bool) -> Received {
        let device = Fleet::default().put(&KnownDevice {
            id: 7,
            imei: "356307042441013".parse().unwrap(),
            state: DeviceState::Accepted,
            model: None,
            version: 1,
        });
        Received {
            device,
            received_at_us: RECEIVED_AT_US,
            port: 5027,
            address: [127, 0, 0, 1].into(),
            frame: packet(Codec::Codec8, records).unwrap().into(),
            n_records: u8::try_from(records.len()).unwrap(),
            content: Content::Packet,
            maybe_resend,
        }
    }

    fn encoded(packets: &[Received], staged: bool) -> Encoder {
        let mut encoder = Encoder::default();
        for packet in packets {
            assert!(encoder.add(packet, staged));
        }
        encoder
    }

    fn at(time_ms: u64, satellites: u8) -> RecordSpec {
        RecordSpec {
            time_ms,
            satellites,
            ..RecordSpec::default()
        }
    }

    #[test]
    fn a_record_that_comes_twice_in_a_batch_is_one_row() {
        let packets = [
            received(&[at(1, 0), at(2, 0), at(2, 0)], false),
            received(&[at(2, 0), at(3, 0)], false),
        ];
        let encoder = encoded(&packets, false);
        assert_eq!((encoder.direct.len(), encoder.staged.len()), (3, 0));
    }

    #[test]
    fn rows_hold_their_device_until_they_are_forgotten() {
        let packet = received(&[at(1, 0)], false);
        let device = Arc::clone(&packet.device);
        let before = Arc::strong_count(&device);
        let mut encoder = encoded(&[packet], false);
        assert_eq!(Arc::strong_count(&device), before, "instead of the packet");
        encoder.clear();
        assert_eq!(Arc::strong_count(&device), before - 1);
    }

    #[test]
    fn only_what_may_be_known_goes_through_staging() {
        let packets = [received(&[at(1, 0)], true), received(&[at(2, 0)], false)];
        let encoder = encoded(&packets, false);
        assert_eq!((encoder.direct.len(), encoder.staged.len()), (1, 1));
        let encoder = encoded(&packets, true);
        assert_eq!((encoder.direct.len(), encoder.staged.len()), (0, 2));
    }

    #[test]
    fn the_newest_record_and_the_newest_fix_become_latest_but_not_the_future() {
        let received_ms = u64::try_from(RECEIVED_AT_US / 1000).unwrap();
        let records = [
            at(received_ms - 10_000, 9),
            at(received_ms - 5_000, 0),
            at(received_ms + 7_200_000, 9),
        ];
        let mut encoder = encoded(&[received(&records, false)], false);
        let latest = encoder.take_latest();
        let of = |ms: u64| clock::system_time(i64::try_from(ms).unwrap() * 1000);
        let times: Vec<_> = latest.map(|row| row.time).collect();
        assert_eq!(times, [of(received_ms - 5_000), of(received_ms - 10_000)]);
        assert_eq!(encoder.direct.len(), 3, "all three are stored");
    }
}
