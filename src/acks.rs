//! How long packets waited for their acks, by where they became durable: a histogram for those who watch the server.
//!
//! Two additions to atomics for each ack and no lock: port threads count here in the middle of their work.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Micros;
use crate::mailbox::Store;

/// The upper bounds of the histogram's steps in milliseconds; what took longer stands in one more step.
pub const BOUNDS_MS: [u64; 15] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000,
];

const STEPS: usize = BOUNDS_MS.len() + 1;

/// The acks since the process began.
#[derive(Debug, Default)]
pub struct Acks {
    database: Times,
    spool: Times,
}

#[derive(Debug, Default)]
struct Times {
    steps: [AtomicU64; STEPS],
    sum_us: AtomicU64,
}

/// The acks of one store as they were at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many took as long as each step says, and no longer.
    pub steps: [u64; STEPS],
    /// How long all of them took together.
    pub sum_us: Micros,
}

impl Acks {
    /// An ack goes out for a packet that was whole `took` ago and is durable in `store`.
    pub fn count(&self, store: Store, took: Micros) {
        let times = self.times(store);
        let step = BOUNDS_MS.partition_point(|bound| bound * 1000 < took);
        times.steps[step].fetch_add(1, Ordering::Relaxed);
        times.sum_us.fetch_add(took, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counted(&self, store: Store) -> Counted {
        let times = self.times(store);
        Counted {
            steps: std::array::from_fn(|step| times.steps[step].load(Ordering::Relaxed)),
            sum_us: times.sum_us.load(Ordering::Relaxed),
        }
    }

    fn times(&self, store: Store) -> &Times {
        match store {
            Store::Database => &self.database,
            Store::Spool => &self.spool,
        }
    }
}

impl Counted {
    /// How many acks.
    pub fn total(&self) -> u64 {
        self.steps.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_counts_in_the_first_step_that_is_not_shorter() {
        let acks = Acks::default();
        for took in [0, 1_000, 1_001, 60_000_000, 60_000_001] {
            acks.count(Store::Database, took);
        }
        acks.count(Store::Spool, 2_500_000);
        let counted = acks.counted(Store::Database);
        assert_eq!((counted.steps[0], counted.steps[1]), (2, 1));
        assert_eq!((counted.steps[14], counted.steps[15]), (1, 1));
        assert_eq!((counted.total(), counted.sum_us), (5, 120_002_002));
        assert_eq!(acks.counted(Store::Spool).total(), 1);
    }
}
