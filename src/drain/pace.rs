//! How fast the drain goes: as fast as the database takes it when nobody else wants it, and at a share of it that leaves live
//! packets fast when somebody does. Pure: what a batch took goes in, a size and a pause come out.

use std::time::Duration;

/// Records of the first batch.
const RECORDS_FIRST: usize = 500;
/// Records of the smallest batch.
const RECORDS_MIN: usize = 255;
/// While there are live packets a batch shall take no longer than this: a live packet may have to wait for it.
const LIVE_TARGET: Duration = Duration::from_millis(50);
/// A batch that takes longer than this is not made larger, live packets or not.
const TARGET: Duration = Duration::from_millis(250);

/// The size of the next batch, and the pause before it.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    n_records: usize,
    n_records_max: usize,
}

impl Pace {
    /// Batches of `n_records_max` records at most.
    pub(super) fn new(n_records_max: usize) -> Pace {
        Pace {
            n_records: RECORDS_FIRST.min(n_records_max),
            n_records_max,
        }
    }

    /// Records of the next batch.
    pub(super) fn n_records(&self) -> usize {
        self.n_records
    }

    /// The last batch took `took`; `live`: packets came in meanwhile. Returns the pause before the next one.
    pub(super) fn after(&mut self, took: Duration, live: bool) -> Duration {
        let target = if live { LIVE_TARGET } else { TARGET };
        self.n_records = if took > target {
            self.n_records / 2
        } else if took < target / 2 {
            self.n_records * 2
        } else {
            self.n_records
        }
        .clamp(RECORDS_MIN.min(self.n_records_max), self.n_records_max);
        // Half of the time is theirs.
        if live { took } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn without_live_packets_batches_grow_to_the_largest_and_follow_each_other() {
        let mut pace = Pace::new(5_000);
        for _ in 0..10 {
            assert_eq!(pace.after(ms(10), false), Duration::ZERO);
        }
        assert_eq!(pace.n_records(), 5_000);
    }

    #[test]
    fn with_live_packets_batches_shrink_and_leave_them_half_of_the_time() {
        let mut pace = Pace::new(5_000);
        for _ in 0..10 {
            pace.after(ms(10), false);
        }
        assert_eq!(pace.after(ms(80), true), ms(80));
        for _ in 0..10 {
            pace.after(ms(60), true);
        }
        assert_eq!(pace.n_records(), RECORDS_MIN);
        for _ in 0..3 {
            pace.after(ms(30), true);
        }
        assert_eq!(
            pace.n_records(),
            RECORDS_MIN,
            "neither too slow nor too fast"
        );
    }
}
