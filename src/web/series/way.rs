//! The way of an asset, thinned while it is read to the fixes that its shape and its pace need.
//!
//! Pure. A fix is left out where whoever drives on evenly from the fix before to the one behind would have been at nearly the same
//! place at its time (SQUISH-E: the error of what was left out before is added to that of its neighbours). So bends, turning points,
//! arrivals and departures stay, and a night in a yard costs two fixes. Never left out: the first and the last fix of a segment, those
//! furthest north, south, east and west, and the fastest. No fix is moved or invented.
//!
//! Memory: four times the points that are wanted, however many fixes there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::gaps::part_us;

/// Fixes that are kept at least before the first thinning, so that it is done seldom.
const ROOM_MIN: usize = 16_384;

/// What is in front of a fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The fix before it, on the same way.
    Fix,
    /// A gap.
    Gap,
    /// Another fitting, or nothing.
    Nothing,
}

/// One fix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fix {
    pub(super) time_us: i64,
    /// Degrees.
    pub(super) longitude: f64,
    pub(super) latitude: f64,
    pub(super) speed_kmh: Option<i32>,
    pub(super) angle_deg: Option<i32>,
    pub(super) before: Before,
}

/// Takes fixes in the order of time.
#[derive(Debug)]
pub(super) struct Way {
    n_points: usize,
    part_us: i64,
    room: usize,
    fixes: Vec<Fix>,
    is_thinned: bool,
}

impl Way {
    /// For the span from `from_us` to `until_us` in about `n_points` fixes; more only where it has more segments than half of that.
    pub(super) fn new(from_us: i64, until_us: i64, n_points: usize) -> Way {
        Way {
            n_points,
            part_us: part_us(from_us, until_us, n_points),
            room: n_points.saturating_mul(4).max(ROOM_MIN),
            fixes: Vec::new(),
            is_thinned: false,
        }
    }

    /// A fix.
    pub(super) fn add(&mut self, fix: Fix) {
        if self.fixes.len() >= self.room {
            self.thin(self.room / 2);
        }
        self.fixes.push(fix);
    }

    /// The fixes, and whether some were left out.
    pub(super) fn finish(mut self) -> (Vec<Fix>, bool) {
        if self.fixes.len() > self.n_points {
            self.thin(self.n_points);
        }
        (self.fixes, self.is_thinned)
    }

    fn thin(&mut self, n_wanted: usize) {
        self.is_thinned = true;
        // What cannot be seen is no gap; so there are fewer of them than points.
        for place in 1..self.fixes.len() {
            let apart_us = self.fixes[place].time_us - self.fixes[place - 1].time_us;
            if self.fixes[place].before == Before::Gap && apart_us <= self.part_us {
                self.fixes[place].before = Before::Fix;
            }
        }
        let mut list = Linked::new(&self.fixes);
        list.leave_out(self.fixes.len().saturating_sub(n_wanted));
        let mut is_left_out = list.is_left_out.into_iter();
        self.fixes.retain(|_| is_left_out.next() != Some(true));
    }
}

/// Fixes with their neighbours that are still there.
struct Linked<'a> {
    fixes: &'a [Fix],
    before: Vec<usize>,
    behind: Vec<usize>,
    /// Error of what was left out beside a fix.
    carried: Vec<f64>,
    is_kept: Vec<bool>,
    is_left_out: Vec<bool>,
}

impl<'a> Linked<'a> {
    fn new(fixes: &'a [Fix]) -> Linked<'a> {
        let n = fixes.len();
        let mut is_kept = vec![false; n];
        for place in 0..n {
            let ends = fixes
                .get(place + 1)
                .is_none_or(|next| next.before != Before::Fix);
            is_kept[place] = place == 0 || ends || fixes[place].before != Before::Fix;
        }
        let extremes: [fn(&Fix) -> f64; 5] = [
            |fix| fix.longitude,
            |fix| -fix.longitude,
            |fix| fix.latitude,
            |fix| -fix.latitude,
            |fix| f64::from(fix.speed_kmh.unwrap_or(0)),
        ];
        for extreme in extremes {
            let furthest = (0..n).max_by(|one, other| {
                let (one, other) = (extreme(&fixes[*one]), extreme(&fixes[*other]));
                one.total_cmp(&other)
            });
            if let Some(place) = furthest {
                is_kept[place] = true;
            }
        }
        Linked {
            fixes,
            before: (0..n).map(|place| place.saturating_sub(1)).collect(),
            behind: (1..=n).collect(),
            carried: vec![0.0; n],
            is_kept,
            is_left_out: vec![false; n],
        }
    }

    /// Leaves `n_wanted` fixes out, those that tell least first.
    fn leave_out(&mut self, n_wanted: usize) {
        let mut order: BinaryHeap<(Reverse<u64>, usize)> = (0..self.fixes.len())
            .filter(|place| !self.is_kept[*place])
            .map(|place| (Reverse(self.price(place)), place))
            .collect();
        let mut n_done = 0;
        while n_done < n_wanted
            && let Some((Reverse(price), place)) = order.pop()
        {
            let now = self.price(place);
            if self.is_left_out[place] {
                continue;
            }
            if now != price {
                // Its neighbours have changed since: it is asked again on its turn.
                order.push((Reverse(now), place));
                continue;
            }
            n_done += 1;
            self.is_left_out[place] = true;
            let (before, behind) = (self.before[place], self.behind[place]);
            self.behind[before] = behind;
            self.before[behind] = before;
            for neighbour in [before, behind] {
                let carried = &mut self.carried[neighbour];
                *carried = carried.max(f64::from_bits(price));
                if !self.is_kept[neighbour] {
                    order.push((Reverse(self.price(neighbour)), neighbour));
                }
            }
        }
    }

    /// What leaving it out costs, in degrees. As bits, which sort as the numbers do: none of them is negative.
    fn price(&self, place: usize) -> u64 {
        let (before, behind) = (self.before[place], self.behind[place]);
        let (Some(a), Some(b), Some(c)) = (
            self.fixes.get(before),
            self.fixes.get(place),
            self.fixes.get(behind),
        ) else {
            return f64::MAX.to_bits();
        };
        (self.carried[place] + apart(a, b, c)).to_bits()
    }
}

/// How far `b` is from where an even drive from `a` to `c` is at its time, in degrees of latitude.
fn apart(a: &Fix, b: &Fix, c: &Fix) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of a drive, not a time")]
    let share = if c.time_us > a.time_us {
        (b.time_us - a.time_us) as f64 / (c.time_us - a.time_us) as f64
    } else {
        0.5
    };
    let narrow = b.latitude.to_radians().cos();
    let to_b = (east(a, b) * narrow, b.latitude - a.latitude);
    let to_c = (east(a, c) * narrow, c.latitude - a.latitude);
    let (east, north) = (to_b.0 - share * to_c.0, to_b.1 - share * to_c.1);
    (east * east + north * north).sqrt()
}

/// Degrees that `to` lies east of `from`, the short way round.
fn east(from: &Fix, to: &Fix) -> f64 {
    (to.longitude - from.longitude + 540.0).rem_euclid(360.0) - 180.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fix(minute: i64, longitude: f64, latitude: f64) -> Fix {
        Fix {
            time_us: minute * 60_000_000,
            longitude,
            latitude,
            speed_kmh: Some(50),
            angle_deg: Some(0),
            before: if minute == 0 {
                Before::Nothing
            } else {
                Before::Fix
            },
        }
    }

    fn thinned(fixes: &[Fix], n_points: usize) -> Vec<Fix> {
        let mut way = Way::new(0, fixes.last().unwrap().time_us, n_points);
        fixes.iter().for_each(|fix| way.add(*fix));
        way.finish().0
    }

    #[test]
    fn a_turning_point_on_a_straight_road_stays() {
        let there_and_back = (0..200).map(|minute| {
            let km = if minute <= 77 { minute } else { 154 - minute };
            fix(minute, f64::from(i32::try_from(km).unwrap()) * 0.01, 47.0)
        });
        let kept = thinned(&there_and_back.collect::<Vec<_>>(), 5);
        let minutes: Vec<_> = kept.iter().map(|fix| fix.time_us / 60_000_000).collect();
        assert!(minutes.contains(&77), "{minutes:?}");
        assert_eq!((minutes[0], minutes.last()), (0, Some(&199)));
    }

    #[test]
    fn arrival_and_departure_stay_and_the_night_between_costs_nothing() {
        let day = (0..1000).map(|minute| {
            let driven = if minute < 30 {
                minute
            } else if minute < 900 {
                30
            } else {
                minute - 870
            };
            fix(
                minute,
                f64::from(i32::try_from(driven).unwrap()) * 0.01,
                0.0,
            )
        });
        let kept = thinned(&day.collect::<Vec<_>>(), 4);
        let minutes: Vec<_> = kept.iter().map(|fix| fix.time_us / 60_000_000).collect();
        assert_eq!(minutes, [0, 30, 900, 999]);
    }

    #[test]
    fn a_gap_and_another_fitting_stay_borders() {
        let mut fixes: Vec<Fix> = (0..600)
            .map(|minute| fix(minute, f64::from(i32::try_from(minute).unwrap()), 0.0))
            .collect();
        for later in &mut fixes[200..] {
            later.time_us += 86_400_000_000;
        }
        fixes[200].before = Before::Gap;
        fixes[400].before = Before::Nothing;
        let kept = thinned(&fixes, 100);
        let borders = kept.iter().filter(|fix| fix.before != Before::Fix);
        assert_eq!(borders.count(), 3);
        for place in [0, 199, 200, 399, 400, 599] {
            assert!(kept.contains(&fixes[place]), "{place}");
        }
    }

    #[test]
    fn the_date_line_is_no_way_round_the_world() {
        assert!((east(&fix(0, 179.5, 0.0), &fix(1, -179.5, 0.0)) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn thinning_keeps_ends_and_extremes_and_invents_nothing(
            steps in prop::collection::vec((-50_i32..50, -50_i32..50, 0_i32..130), 2..40_000),
            n_points in 100_usize..3_000,
        ) {
            let (mut x, mut y, mut minute) = (0, 0, 0);
            let fixes: Vec<Fix> = steps.iter().map(|(dx, dy, speed)| {
                (x, y) = ((x + dx).clamp(-1700, 1700), (y + dy).clamp(-800, 800));
                let mut one = fix(minute, f64::from(x) / 10.0, f64::from(y) / 10.0);
                one.speed_kmh = Some(*speed);
                minute += 1;
                one
            }).collect();
            let kept = thinned(&fixes, n_points);
            prop_assert!(kept.len() <= n_points.max(fixes.len().min(n_points)));
            prop_assert_eq!(kept.first(), fixes.first());
            prop_assert_eq!(kept.last(), fixes.last());
            let most = |of: fn(&Fix) -> f64, some: &[Fix]| some.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
            let extremes: [fn(&Fix) -> f64; 5] = [
                |f| f.longitude, |f| -f.longitude, |f| f.latitude, |f| -f.latitude, |f| f64::from(f.speed_kmh.unwrap()),
            ];
            for extreme in extremes {
                prop_assert_eq!(most(extreme, &kept), most(extreme, &fixes));
            }
            let mut rest = fixes.iter();
            for one in &kept {
                prop_assert!(rest.any(|fix| fix == one), "in the order of the way, each as it was");
            }
        }
    }
}
