//! How long acks took: a histogram of fixed size, exact to two percent.
//!
//! Knows microseconds only. Adding costs no allocation; histograms of several threads are added up.

/// Steps between one power of two and the next.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
/// Up to 2^42 µs, seven weeks.
const N_BUCKETS: usize = 37 * STEPS as usize;

/// Counts by latency.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    n: u64,
    max_us: u64,
}

impl Histogram {
    pub(super) fn new() -> Histogram {
        Histogram {
            buckets: vec![0; N_BUCKETS],
            n: 0,
            max_us: 0,
        }
    }

    pub(super) fn add(&mut self, us: u64) {
        self.buckets[bucket(us)] += 1;
        self.n += 1;
        self.max_us = self.max_us.max(us);
    }

    pub(super) fn add_all(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.n += other.n;
        self.max_us = self.max_us.max(other.max_us);
    }

    pub(super) fn n(&self) -> u64 {
        self.n
    }

    pub(super) fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The latency that `permille` of 1000 acks did not exceed; 0 where there was none.
    pub(super) fn quantile_us(&self, permille: u64) -> u64 {
        let wanted = (self.n * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                return upper_us(index).min(self.max_us);
            }
        }
        self.max_us
    }
}

/// Below two times `STEPS` each number has its bucket; above, `STEPS` buckets share each power of two.
fn bucket(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    let index = u64::from(shift) * STEPS + (us >> shift);
    usize::try_from(index).map_or(N_BUCKETS - 1, |index| index.min(N_BUCKETS - 1))
}

/// The largest number of a bucket.
fn upper_us(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    ((index - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_two_percent() {
        let mut histogram = Histogram::new();
        (1..=100_000).for_each(|us| histogram.add(us));
        for (permille, exact) in [(500, 50_000.0), (990, 99_000.0), (1, 100.0)] {
            let found = histogram.quantile_us(permille) as f64;
            assert!((found / exact - 1.0).abs() < 0.02, "{permille}: {found}");
        }
        assert_eq!(histogram.max_us(), 100_000);
        assert_eq!(histogram.quantile_us(1000), 100_000);
    }

    #[test]
    fn every_number_is_in_a_bucket_that_holds_it() {
        let numbers = (0..64).flat_map(|power| {
            let number = 1_u64 << power;
            [number - 1, number, number + number / 3]
        });
        for us in numbers.filter(|us| *us < 1 << 42) {
            let index = bucket(us);
            assert!(upper_us(index) >= us, "{us}");
            assert!(index == 0 || upper_us(index - 1) < us, "{us}");
        }
        assert_eq!(bucket(u64::MAX), N_BUCKETS - 1);
    }

    #[test]
    fn histograms_of_threads_add_up() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        one.add(10);
        other.add(1000);
        one.add_all(&other);
        assert_eq!((one.n(), one.max_us()), (2, 1000));
        assert_eq!(one.quantile_us(500), 10);
        assert_eq!(Histogram::new().quantile_us(500), 0);
    }
}
