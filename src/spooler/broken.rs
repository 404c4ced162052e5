//! Packets that cannot be read while the database is away: how often the same bytes came, which decides whether they are kept
//! for good and acked.
//!
//! Quarantine counts that where the database is there. Here it is counted in memory: what is forgotten costs the device one more
//! try, nothing else.

use std::collections::HashMap;

use twox_hash::XxHash3_64;

use crate::imei::Imei;
use crate::intake::Received;
use crate::store::quarantine::N_SEEN_TO_ACK;

/// Broken packets remembered at most; beyond it all are forgotten, and their devices need some more tries.
const REMEMBERED_MAX: usize = 10_000;

/// How often which broken packet came.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    seen: HashMap<(Imei, u64), i32>,
}

impl Sightings {
    /// Counts one more sighting, and says whether these bytes are a firmware's mistake that is to be kept and acked.
    pub(super) fn is_for_good(&mut self, packet: &Received, declared: Option<u8>) -> bool {
        if declared.is_none() {
            return false;
        }
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen.clear();
        }
        let key = (packet.device.imei, XxHash3_64::oneshot(&packet.frame));
        let n_seen = self.seen.entry(key).or_default();
        *n_seen += 1;
        *n_seen >= N_SEEN_TO_ACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::tests::delivery;

    #[test]
    fn the_same_bytes_are_kept_for_good_when_they_come_for_the_third_time() {
        let (delivery, _poll, _receiver) = delivery(0);
        let mut sightings = Sightings::default();
        let mut packet = (*delivery.packet).clone();
        packet.frame = [1, 2, 3].into();
        assert!(!sightings.is_for_good(&packet, Some(3)));
        assert!(!sightings.is_for_good(&delivery.packet, Some(3)));
        assert!(!sightings.is_for_good(&packet, Some(3)));
        assert!(sightings.is_for_good(&packet, Some(3)));
        assert!(sightings.is_for_good(&packet, Some(3)));
    }

    #[test]
    fn what_declares_no_records_is_never_acked() {
        let (delivery, _poll, _receiver) = delivery(0);
        let mut sightings = Sightings::default();
        assert!((0..5).all(|_| !sightings.is_for_good(&delivery.packet, None)));
    }

    #[test]
    fn ever_new_broken_packets_are_remembered_up_to_a_bound() {
        let (delivery, _poll, _receiver) = delivery(0);
        let mut sightings = Sightings::default();
        let mut packet = (*delivery.packet).clone();
        for n in 0..=u32::try_from(REMEMBERED_MAX).unwrap() {
            packet.frame = n.to_be_bytes().into();
            assert!(!sightings.is_for_good(&packet, Some(3)));
            assert!(sightings.seen.len() <= REMEMBERED_MAX);
        }
        assert_eq!(sightings.seen.len(), 1, "all others are forgotten");
    }
}
