//! Where nothing was recorded for longer than the device is usually silent.
//!
//! Pure: times come as arguments, in microseconds since 1970. Once the answer is thinned, a gap shorter than one part of it cannot
//! be seen and is none; so there are never more of them than parts.

/// A stretch of time without records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from_us: i64,
    pub(super) until_us: i64,
}

/// Finds gaps in the order of time.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The last record and how long it may stay the last; at first the begin of the span.
    last: (i64, i64),
    /// No shorter ones once there are many.
    least_us: i64,
    part_us: i64,
    n_max: usize,
    found: Vec<Gap>,
}

impl Gaps {
    /// For the span from `from_us` to `until_us`, answered in `n_parts` parts. Before the first record silence of `limit_us` is usual.
    pub(super) fn new(from_us: i64, until_us: i64, n_parts: usize, limit_us: i64) -> Gaps {
        Gaps {
            last: (from_us, limit_us),
            least_us: 0,
            part_us: part_us(from_us, until_us, n_parts),
            n_max: n_parts,
            found: Vec::new(),
        }
    }

    /// A record, after which silence of `limit_us` is usual. Says whether a gap ends with it.
    pub(super) fn mark(&mut self, time_us: i64, limit_us: i64) -> bool {
        let is_gap = self.end(time_us);
        self.last = (time_us.max(self.last.0), limit_us);
        is_gap
    }

    fn end(&mut self, time_us: i64) -> bool {
        let (from_us, limit_us) = self.last;
        if time_us.saturating_sub(from_us) <= limit_us.max(self.least_us) {
            return false;
        }
        self.found.push(Gap {
            from_us,
            until_us: time_us,
        });
        if self.found.len() > self.n_max {
            self.least_us = self.part_us;
            let least_us = self.least_us;
            self.found
                .retain(|gap| gap.until_us.saturating_sub(gap.from_us) > least_us);
        }
        true
    }

    /// All gaps; the span ends at `until_us`, which is not in the future.
    pub(super) fn finish(mut self, until_us: i64) -> Vec<Gap> {
        self.end(until_us);
        self.found
    }
}

/// One part of a span that is answered in `n_parts`.
pub(super) fn part_us(from_us: i64, until_us: i64, n_parts: usize) -> i64 {
    let n_parts = i64::try_from(n_parts.max(1)).unwrap_or(i64::MAX);
    (until_us.saturating_sub(from_us) / n_parts).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60_000_000;

    #[test]
    fn silence_is_a_gap_only_beyond_what_is_usual() {
        let mut gaps = Gaps::new(0, 100 * MINUTE_US, 100, 15 * MINUTE_US);
        assert!(!gaps.mark(15 * MINUTE_US, 15 * MINUTE_US));
        assert!(!gaps.mark(30 * MINUTE_US, 15 * MINUTE_US));
        assert!(gaps.mark(45 * MINUTE_US + 1, 40 * MINUTE_US));
        // Parked it speaks less often.
        assert!(!gaps.mark(85 * MINUTE_US, 10 * MINUTE_US));
        let found = gaps.finish(100 * MINUTE_US);
        let minutes: Vec<_> = found
            .iter()
            .map(|gap| (gap.from_us / MINUTE_US, gap.until_us / MINUTE_US))
            .collect();
        assert_eq!(minutes, [(30, 45), (85, 100)]);
    }

    #[test]
    fn a_span_without_records_is_one_gap() {
        let gaps = Gaps::new(0, 100 * MINUTE_US, 100, MINUTE_US);
        assert_eq!(
            gaps.finish(100 * MINUTE_US),
            [Gap {
                from_us: 0,
                until_us: 100 * MINUTE_US
            }]
        );
    }

    #[test]
    fn there_are_never_more_gaps_than_parts() {
        let mut gaps = Gaps::new(0, 10_000 * MINUTE_US, 100, MINUTE_US);
        for minute in (0..10_000).step_by(2) {
            gaps.mark(minute * MINUTE_US, MINUTE_US);
            assert!(gaps.found.len() <= 100);
        }
    }
}
