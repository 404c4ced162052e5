//! From deliveries to rows: which go straight into the table, which through staging, and what is newest of each device.
//!
//! Duplicates inside a batch are left out here, because one COPY cannot carry a key twice.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::clock;
use crate::intake::Delivery;
use crate::protocol::teltonika::{Packet, Record};
use crate::store::latest::{AHEAD_MAX, LatestRow};
use crate::store::rows::{Origin, Rows, degrees, time_us};
use crate::store::typed::Typed;

/// A batch as rows; its memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) direct: Rows,
    pub(super) staged: Rows,
    seen: HashSet<Key, BuildHasherDefault<DigestHasher>>,
    latest: Vec<LatestRow>,
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
    /// Makes rows of `packets`; all of them staged when records of theirs may be in the table.
    pub(super) fn encode(&mut self, packets: &[Delivery], all_staged: bool) {
        self.direct.clear();
        self.staged.clear();
        self.seen.clear();
        self.latest.clear();
        for delivery in packets {
            self.encode_packet(delivery, all_staged || delivery.maybe_resend);
        }
    }

    /// The newest record and the newest fix of each packet.
    pub(super) fn take_latest(&mut self) -> Vec<LatestRow> {
        std::mem::take(&mut self.latest)
    }

    fn encode_packet(&mut self, delivery: &Delivery, staged: bool) {
        // The port thread has checked it; what does not parse here holds no record.
        let Some(packet) = Packet::from_checked(&delivery.frame) else {
            return;
        };
        let typed_columns = delivery.device.typed();
        let device_id = delivery.device.id();
        let origin = Origin {
            device_id,
            received_at_us: delivery.received_at_us,
            port: delivery.port,
            codec: packet.codec,
            typed: &typed_columns,
        };
        let believable_us = delivery.received_at_us + clock::micros(AHEAD_MAX);
        let mut newest: Option<(Record<'_>, u64, Typed)> = None;
        let mut newest_fix: Option<(Record<'_>, u64, Typed)> = None;
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
            let is_newer = |than: &Option<(Record<'_>, u64, Typed)>| {
                than.as_ref()
                    .is_none_or(|(other, _, _)| record.time_ms >= other.time_ms)
            };
            if is_newer(&newest) {
                newest = Some((record, digest, typed));
            }
            if record.satellites > 0 && is_newer(&newest_fix) {
                newest_fix = Some((record, digest, typed));
            }
        }
        let same = matches!((&newest, &newest_fix), (Some(a), Some(b)) if a.1 == b.1);
        self.latest
            .extend(newest.map(|newest| latest_row(&origin, newest)));
        if !same {
            self.latest
                .extend(newest_fix.map(|fix| latest_row(&origin, fix)));
        }
    }
}

fn latest_row(origin: &Origin<'_>, (record, digest, typed): (Record<'_>, u64, Typed)) -> LatestRow {
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
