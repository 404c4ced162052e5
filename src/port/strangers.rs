//! Who is connected and has not logged in, counted by address over all ports.
//!
//! An address is one IPv4 address or one /64 network of IPv6, which is the least that anybody is given there. It takes memory
//! while somebody is connected from it, so the table is never longer than the sessions are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The sessions without a login, by address.
#[derive(Debug, Default)]
pub struct Strangers {
    counts: Mutex<HashMap<u64, u32>>,
}

/// One of them; counted until dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    all: Arc<Strangers>,
    network: u64,
}

impl Strangers {
    /// One more session from `address`, unless it has `max` already.
    pub(super) fn enter(self: &Arc<Strangers>, address: IpAddr, max: usize) -> Option<Stranger> {
        let network = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count as usize >= max {
            if *count == 0 {
                counts.remove(&network);
            }
            return None;
        }
        *count += 1;
        let all = Arc::clone(self);
        Some(Stranger { all, network })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let counts = &self.all.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
        // What a storm left is given back; the halves between two sizes keep this from happening often.
        if counts.len() < counts.capacity() / 8 {
            let twice = 2 * counts.len();
            counts.shrink_to(twice);
        }
    }
}

/// What is counted as one: IPv4 in a network that no IPv6 address has.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => 0xFFFF << 32 | u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_strangers_and_leaves_nothing_behind() {
        let all = Arc::new(Strangers::default());
        let enter = |text: &str| all.enter(address(text), 2);
        let inside = [enter("10.0.0.1"), enter("10.0.0.1")];
        assert!(inside.iter().all(Option::is_some));
        assert!(enter("10.0.0.1").is_none());
        assert!(enter("::ffff:10.0.0.1").is_none(), "the same by IPv6");
        assert!(enter("10.0.0.2").is_some());
        drop(inside);
        assert!(enter("10.0.0.1").is_some());
        assert!(all.enter(address("10.0.0.3"), 0).is_none());
        assert_eq!(all.counts.lock().unwrap().len(), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let all = Arc::new(Strangers::default());
        let inside = all.enter(address("2001:db8:1:2::1"), 1);
        assert!(inside.is_some());
        assert!(all.enter(address("2001:db8:1:2:ffff::9"), 1).is_none());
        assert!(all.enter(address("2001:db8:1:3::1"), 1).is_some());
    }

    #[test]
    fn what_a_storm_took_is_given_back() {
        let all = Arc::new(Strangers::default());
        let storm: Vec<_> = (0..100_000_u32)
            .map(|n| all.enter(IpAddr::V4(n.into()), 1).unwrap())
            .collect();
        drop(storm);
        let capacity = all.counts.lock().unwrap().capacity();
        assert!(capacity < 64, "{capacity} places for nobody");
    }
}
