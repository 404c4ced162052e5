//! Packets that were begun and not completed, by the network that their devices come from.
//!
//! The tunnel of a mobile network that carries less than it says swallows large segments: then logins come through, and packets stop
//! time and again after the same number of bytes. Seen in one place for all ports. Bounded: of many networks those are kept whose
//! packets stopped last.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;

use super::thread::{Thread, text};
use crate::clock;
use crate::facts::{self, Fact};
use crate::protocol::teltonika::frame::{self, Cut};

/// Networks that are remembered.
const NETWORKS_MAX: usize = 256;
/// Bytes of a frame that tell how long it is: preamble and length.
const HEAD_BYTES: usize = 8;

/// What stopped in one network: a /24, or a /64 of IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Which.
    pub network: IpNet,
    /// Packets that stopped.
    pub n_packets: u64,
    /// How many of the last ones stopped after the same number of bytes, while no longer one came through.
    pub n_in_a_row: u64,
    /// After how many bytes the last one stopped.
    pub received: usize,
    /// How many it should have had, once that was received.
    pub expected: Option<usize>,
    /// Microseconds since 1970 UTC.
    pub last_at_us: i64,
}

/// The networks in which packets stopped.
#[derive(Debug, Default)]
pub struct Stalls {
    networks: Mutex<HashMap<IpNet, Stall>>,
    /// Whether in one of them packets stopped in a row: only then those that come through are looked at.
    in_a_row: AtomicBool,
}

impl Stalls {
    /// A packet from `address` stopped after `received` bytes of `expected`.
    fn add(&self, address: IpAddr, received: usize, expected: Option<usize>, at_us: i64) {
        let network = network(address);
        let mut stalls = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if stalls.len() >= NETWORKS_MAX && !stalls.contains_key(&network) {
            let oldest = stalls.values().min_by_key(|stall| stall.last_at_us);
            if let Some(oldest) = oldest.map(|stall| stall.network) {
                stalls.remove(&oldest);
            }
        }
        let stall = stalls.entry(network).or_insert(Stall {
            network,
            n_packets: 0,
            n_in_a_row: 0,
            received,
            expected,
            last_at_us: at_us,
        });
        stall.n_packets += 1;
        stall.n_in_a_row = if stall.received == received {
            stall.n_in_a_row + 1
        } else {
            1
        };
        stall.received = received;
        stall.expected = expected;
        stall.last_at_us = at_us;
        self.look_for_rows(&stalls);
    }

    /// A packet of so many bytes came from `address`: nothing there stops all that are longer than those which stopped.
    pub(super) fn passed(&self, address: IpAddr, bytes: usize) {
        if !self.in_a_row.load(Ordering::Relaxed) {
            return;
        }
        let mut stalls = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stall) = stalls.get_mut(&network(address))
            && bytes > stall.received
            && stall.n_in_a_row > 0
        {
            stall.n_in_a_row = 0;
            self.look_for_rows(&stalls);
        }
    }

    /// Under the lock, and only when something has changed: where a network stays broken, every packet of all others asks.
    fn look_for_rows(&self, stalls: &HashMap<IpNet, Stall>) {
        let any = stalls.values().any(|stall| stall.n_in_a_row > 1);
        self.in_a_row.store(any, Ordering::Relaxed);
    }

    /// All of them, the last first.
    pub fn list(&self) -> Vec<Stall> {
        let stalls = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<Stall> = stalls.values().cloned().collect();
        list.sort_by_key(|stall| (std::cmp::Reverse(stall.last_at_us), stall.network));
        list
    }
}

impl Thread {
    /// Notes that the session will not complete the packet that it has begun, if it has.
    pub(super) fn note_stall(&self, index: usize) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        if !slot.session.is_half_way() {
            return;
        }
        let held = slot.held.bytes();
        let expected = match frame::cut(held, self.around.limits.packet) {
            Cut::Need(bytes) if held.len() >= HEAD_BYTES => Some(bytes),
            _ => None,
        };
        let address = slot.peer.ip();
        self.around
            .stalls
            .add(address, held.len(), expected, clock::wall_us());
        let (port, imei) = (&self.port.label, text(slot.imei()));
        let of = expected.map_or_else(String::new, |bytes| format!(" of={bytes}"));
        facts::say(
            Fact::PacketStopped,
            format_args!(
                "port={port} peer={} imei={imei} bytes={}{of}",
                slot.peer,
                held.len()
            ),
        );
    }
}

/// What is counted as one.
fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn packets_that_stop_at_the_same_byte_are_counted_by_network() {
        let stalls = Stalls::default();
        stalls.add(address("10.1.2.3"), 700, Some(2800), 1);
        for at_us in 2..5 {
            stalls.add(address("::ffff:10.1.2.200"), 1340, Some(2800), at_us);
        }
        stalls.add(address("2001:db8:1:2::7"), 5, None, 9);
        let list = stalls.list();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].network.to_string(), "2001:db8:1:2::/64");
        assert_eq!((list[0].n_packets, list[0].expected), (1, None));
        assert_eq!(list[1].network.to_string(), "10.1.2.0/24");
        assert_eq!((list[1].n_packets, list[1].n_in_a_row), (4, 3));
        assert_eq!((list[1].received, list[1].expected), (1340, Some(2800)));
        // Short ones always come through; a long one shows that the way is free.
        let in_a_row = || stalls.list()[1].n_in_a_row;
        stalls.passed(address("10.1.2.9"), 1340);
        stalls.passed(address("10.1.3.9"), 2800);
        assert_eq!(in_a_row(), 3);
        stalls.passed(address("10.1.2.9"), 2800);
        assert_eq!(in_a_row(), 0);
        stalls.add(address("10.1.2.3"), 1340, Some(2800), 8);
        assert_eq!(in_a_row(), 1);
    }

    #[test]
    fn packets_that_come_through_are_looked_at_only_while_others_stop_in_a_row() {
        let stalls = Stalls::default();
        let is_looked_at = || stalls.in_a_row.load(Ordering::Relaxed);
        let broken = address("10.1.2.3");
        stalls.add(broken, 1340, None, 1);
        assert!(!is_looked_at(), "once is no row");
        stalls.add(broken, 1340, None, 2);
        stalls.passed(address("10.9.9.9"), 2800);
        assert!(is_looked_at());
        stalls.add(broken, 700, None, 3);
        assert!(!is_looked_at(), "at another byte");
        stalls.add(broken, 700, None, 4);
        stalls.passed(broken, 2800);
        assert!(!is_looked_at(), "one came through");
        stalls.add(broken, 700, None, 5);
        stalls.add(broken, 700, None, 6);
        for n in 0..NETWORKS_MAX as u32 {
            stalls.add(IpAddr::V4((n << 8).into()), 1, None, 7);
        }
        assert!(!is_looked_at(), "forgotten for others");
    }

    #[test]
    fn many_networks_leave_the_last_ones() {
        let stalls = Stalls::default();
        for n in 0..1000_u32 {
            let address = IpAddr::V4((n << 8).into());
            stalls.add(address, 1, None, n.into());
        }
        let list = stalls.list();
        assert_eq!(list.len(), NETWORKS_MAX);
        assert_eq!(list[0].network.to_string(), "0.3.231.0/24");
        assert!(list.iter().all(|stall| stall.last_at_us >= 744));
    }
}
