//! The values of one key over a span of time, thinned while they are read so that no extreme is lost.
//!
//! Pure. As long as there are no more values than points are wanted, each is a point; from then on a point is a part of the span, with
//! the least, the greatest and the last value in it and the time of the last: nothing is invented. Invariant: never more points
//! than were asked for, never more faults either.

use super::gaps::part_us;

/// One point: a value, or what a part of the span had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Of the last value.
    pub(super) time_us: i64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) last: f64,
}

/// A stretch of time in which a sensor said an error in place of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) from_us: i64,
    /// Time of the value that ended it, or of the last error.
    pub(super) until_us: i64,
    pub(super) text: &'static str,
}

/// Takes values in the order of time.
#[derive(Debug)]
pub(super) struct Values {
    from_us: i64,
    part_us: i64,
    n_max: usize,
    is_thinned: bool,
    points: Vec<Point>,
    faults: Vec<Fault>,
    /// The last thing said was an error.
    is_faulty: bool,
}

impl Values {
    /// For the span from `from_us` to `until_us` in `n_max` points at most.
    pub(super) fn new(from_us: i64, until_us: i64, n_max: usize) -> Values {
        Values {
            from_us,
            // One part more would begin at the very end.
            part_us: part_us(from_us, until_us, n_max).saturating_add(1),
            n_max,
            is_thinned: false,
            points: Vec::new(),
            faults: Vec::new(),
            is_faulty: false,
        }
    }

    /// A value.
    pub(super) fn add(&mut self, time_us: i64, value: f64) {
        if std::mem::take(&mut self.is_faulty)
            && let Some(fault) = self.faults.last_mut()
        {
            fault.until_us = time_us;
        }
        self.put(Point {
            time_us,
            min: value,
            max: value,
            last: value,
        });
        if !self.is_thinned && self.points.len() > self.n_max {
            self.is_thinned = true;
            for point in std::mem::take(&mut self.points) {
                self.put(point);
            }
        }
    }

    fn put(&mut self, point: Point) {
        let part = |time_us: i64| time_us.saturating_sub(self.from_us) / self.part_us;
        match self.points.last_mut() {
            Some(last) if self.is_thinned && part(last.time_us) == part(point.time_us) => {
                last.time_us = point.time_us;
                last.min = last.min.min(point.min);
                last.max = last.max.max(point.max);
                last.last = point.last;
            }
            _ => self.points.push(point),
        }
    }

    /// An error in place of a value.
    pub(super) fn add_fault(&mut self, time_us: i64, text: &'static str) {
        let was_faulty = std::mem::replace(&mut self.is_faulty, true);
        match self.faults.last_mut() {
            Some(fault) if was_faulty => {
                fault.until_us = time_us;
                if fault.text == text {
                    return;
                }
            }
            _ => {}
        }
        self.faults.push(Fault {
            from_us: time_us,
            until_us: time_us,
            text,
        });
        if self.faults.len() > self.n_max {
            self.join_faults();
        }
    }

    /// Faults that lie in one part cannot be told apart.
    fn join_faults(&mut self) {
        let part = |time_us: i64| time_us.saturating_sub(self.from_us) / self.part_us;
        self.faults.dedup_by(|next, fault| {
            let is_near = part(next.from_us) == part(fault.from_us);
            if is_near {
                fault.until_us = next.until_us;
            }
            is_near
        });
    }

    /// Whether points stand for more than one value.
    pub(super) fn is_thinned(&self) -> bool {
        self.is_thinned
    }

    /// The faults.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The points, and `None` with its time between two of them that no line may join: a fault lies between them, or they are
    /// further apart than `limit_us` and than three times what is usual among these points.
    pub(super) fn broken(&self, limit_us: i64) -> Vec<(i64, Option<Point>)> {
        let mut apart: Vec<i64> = self
            .points
            .windows(2)
            .map(|pair| pair[1].time_us - pair[0].time_us)
            .collect();
        apart.sort_unstable();
        let usual_us = apart
            .get(apart.len().saturating_sub(1) / 2)
            .copied()
            .unwrap_or(0);
        let limit_us = limit_us.max(usual_us.saturating_mul(3));
        let mut faults = self.faults.iter().peekable();
        let mut broken = Vec::with_capacity(self.points.len());
        let mut before: Option<i64> = None;
        for point in &self.points {
            let mut at = None;
            while let Some(fault) = faults.next_if(|fault| fault.from_us < point.time_us) {
                at = Some(fault.from_us);
            }
            if let Some(before) = before {
                let is_far = point.time_us - before > limit_us;
                let at = at.filter(|at| *at > before).or(is_far
                    .then(|| before + (point.time_us - before) / 2)
                    .filter(|at| *at > before));
                broken.extend(at.map(|at| (at, None)));
            }
            broken.push((point.time_us, Some(*point)));
            before = Some(point.time_us);
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn thinned(values: &[(i64, f64)], until_us: i64, n_max: usize) -> Values {
        let mut all = Values::new(0, until_us, n_max);
        for (time_us, value) in values {
            all.add(*time_us, *value);
        }
        all
    }

    #[test]
    fn few_values_stay_as_they_are() {
        let values = [(10, 1.5), (20, -3.0), (20, 4.0), (90, 2.0)];
        let all = thinned(&values, 100, 4);
        assert!(!all.is_thinned());
        let points: Vec<_> = all.points.iter().map(|p| (p.time_us, p.last)).collect();
        assert_eq!(points, values);
    }

    #[test]
    fn a_line_breaks_at_silence_and_at_a_fault() {
        let mut all = thinned(&[(0, 1.0), (10, 2.0), (20, 3.0), (100, 4.0)], 200, 100);
        all.add_fault(110, "not connected");
        all.add_fault(120, "not connected");
        all.add(130, 5.0);
        let times: Vec<_> = all
            .broken(30)
            .iter()
            .map(|(at, point)| (*at, point.is_some()))
            .collect();
        assert_eq!(
            times,
            [
                (0, true),
                (10, true),
                (20, true),
                (60, false),
                (100, true),
                (110, false),
                (130, true)
            ]
        );
        assert_eq!(
            all.faults(),
            [Fault {
                from_us: 110,
                until_us: 130,
                text: "not connected"
            }]
        );
    }

    #[test]
    fn another_error_is_another_fault() {
        let mut all = Values::new(0, 100, 10);
        all.add_fault(10, "read error");
        all.add_fault(20, "not connected");
        let spans: Vec<_> = all
            .faults()
            .iter()
            .map(|one| (one.from_us, one.until_us))
            .collect();
        assert_eq!(spans, [(10, 20), (20, 20)]);
    }

    proptest! {
        #[test]
        fn thinning_loses_no_extreme_and_invents_nothing(
            mut times in prop::collection::vec(0_i64..1_000_000, 1..2_000),
            values in prop::collection::vec(-1_000_i32..1_000, 2_000),
            n_max in 100_usize..400,
        ) {
            times.sort_unstable();
            let all: Vec<(i64, f64)> = times.iter().copied().zip(values.iter().map(|v| f64::from(*v))).collect();
            let thin = thinned(&all, 1_000_000, n_max);
            prop_assert!(thin.points.len() <= n_max);
            let least = all.iter().map(|one| one.1).fold(f64::INFINITY, f64::min);
            let greatest = all.iter().map(|one| one.1).fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(thin.points.iter().map(|p| p.min).fold(f64::INFINITY, f64::min), least);
            prop_assert_eq!(thin.points.iter().map(|p| p.max).fold(f64::NEG_INFINITY, f64::max), greatest);
            for point in &thin.points {
                prop_assert!(all.contains(&(point.time_us, point.last)));
                prop_assert!(point.min <= point.last && point.last <= point.max);
            }
            prop_assert_eq!(thin.points.last().map(|p| (p.time_us, p.last)), all.last().copied());
            prop_assert!(thin.points.is_sorted_by_key(|p| p.time_us));
        }

        #[test]
        fn faults_have_a_bound_too(n in 1_i64..3_000) {
            let mut all = Values::new(0, 3_000, 100);
            for time_us in 0..n {
                if time_us % 2 == 0 { all.add_fault(time_us, "read error") } else { all.add(time_us, 1.0) }
            }
            prop_assert!(all.faults().len() <= 101);
            prop_assert_eq!(all.faults()[0].from_us, 0);
        }
    }
}
