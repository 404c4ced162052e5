//! How a vehicle goes along a way: speeds up, slows down for corners, waits at lights.
//!
//! Knows metres, seconds and the way; not what the drive is for.

use super::chance::Chance;
use super::map::Point;
use super::way::Way;

/// What a vehicle and its driver can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driving {
    /// The vehicle goes no faster.
    pub(super) top_kmh: f64,
    /// m/s².
    pub(super) speeds_up: f64,
    /// m/s².
    pub(super) slows_down: f64,
    /// What the driver makes of a limit, 1: just that.
    pub(super) haste: f64,
}

/// A straight piece of a drive: faster from the first speed to the highest, then on with it, then down to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) from: Point,
    pub(super) to: Point,
    pub(super) metres: f64,
    pub(super) bearing_deg: f64,
    /// Speeds at its begin, in its middle and at its end, m/s.
    pub(super) speeds: [f64; 3],
    pub(super) tunnel: bool,
    /// Seconds of waiting at the light that stands at its end.
    pub(super) waits_s: f64,
    driving: Driving,
}

impl Leg {
    fn ramps(&self) -> (f64, f64, f64) {
        let [first, middle, last] = self.speeds;
        let up_s = (middle - first) / self.driving.speeds_up;
        let down_s = (middle - last) / self.driving.slows_down;
        let even_m = self.metres
            - f64::midpoint(first, middle) * up_s
            - f64::midpoint(middle, last) * down_s;
        (up_s, (even_m / middle).max(0.0), down_s)
    }

    /// How long it takes.
    pub(super) fn seconds(&self) -> f64 {
        let (up_s, even_s, down_s) = self.ramps();
        up_s + even_s + down_s
    }

    /// Metres driven and speed in m/s after so many seconds.
    pub(super) fn after(&self, seconds: f64) -> (f64, f64) {
        let (up_s, even_s, _) = self.ramps();
        let [first, middle, last] = self.speeds;
        let (metres, speed) = if seconds < up_s {
            let speed = first + self.driving.speeds_up * seconds;
            (f64::midpoint(first, speed) * seconds, speed)
        } else if seconds < up_s + even_s {
            let up_m = f64::midpoint(first, middle) * up_s;
            (up_m + middle * (seconds - up_s), middle)
        } else {
            let left_s = (self.seconds() - seconds).max(0.0);
            let speed = last + self.driving.slows_down * left_s;
            (self.metres - f64::midpoint(last, speed) * left_s, speed)
        };
        (metres.clamp(0.0, self.metres), speed)
    }

    pub(super) fn point_after(&self, metres: f64) -> Point {
        self.from.towards(self.to, metres / self.metres)
    }
}

/// Drives along a way, from standing to standing.
pub(super) fn drive(way: &Way, driving: Driving, chance: Chance) -> Vec<Leg> {
    let nodes = &way.nodes;
    let Some(n_legs) = nodes.len().checked_sub(1).filter(|n| *n > 0) else {
        return Vec::new();
    };
    let bearings: Vec<f64> = nodes
        .windows(2)
        .map(|pair| pair[0].at.bearing_to(pair[1].at))
        .collect();
    let metres: Vec<f64> = nodes
        .windows(2)
        .map(|pair| pair[0].at.metres_to(pair[1].at))
        .collect();
    let allowed = |limit_kmh: f64| (limit_kmh * driving.haste).min(driving.top_kmh) / 3.6;
    // Waiting at a light: the light is red for some.
    let waits: Vec<f64> = (0..=n_legs)
        .map(|place| {
            let light = chance.of("light").nth(place as u64);
            let red = nodes[place].light && place > 0 && place < n_legs && light.happens(0.45);
            if red {
                light.of("long").between(6.0, 48.0).round()
            } else {
                0.0
            }
        })
        .collect();
    // The speed at each node: as the corner allows, then as can be reached and left.
    let mut speeds: Vec<f64> = (0..=n_legs)
        .map(|place| {
            if place == 0 || place == n_legs || waits[place] > 0.0 {
                return 0.0;
            }
            let turn = (bearings[place] - bearings[place - 1] + 540.0).rem_euclid(360.0) - 180.0;
            let corner_kmh: f64 = match turn.abs() {
                sharp if sharp > 50.0 => 16.0,
                bend if bend > 25.0 => 40.0,
                bend if bend > 12.0 => 85.0,
                _ => 200.0,
            };
            (corner_kmh / 3.6)
                .min(allowed(nodes[place].limit_kmh))
                .min(allowed(nodes[place + 1].limit_kmh))
        })
        .collect();
    for place in 1..=n_legs {
        let reached = speeds[place - 1].powi(2) + 2.0 * driving.speeds_up * metres[place - 1];
        speeds[place] = speeds[place].min(reached.sqrt());
    }
    for place in (0..n_legs).rev() {
        let left = speeds[place + 1].powi(2) + 2.0 * driving.slows_down * metres[place];
        speeds[place] = speeds[place].min(left.sqrt());
    }
    (0..n_legs)
        .map(|place| {
            let (first, last) = (speeds[place], speeds[place + 1]);
            let (up, down) = (driving.speeds_up, driving.slows_down);
            // Where speeding up meets slowing down.
            let peak =
                ((2.0 * up * down * metres[place] + down * first.powi(2) + up * last.powi(2))
                    / (up + down))
                    .sqrt();
            let middle = peak
                .min(allowed(nodes[place + 1].limit_kmh))
                .max(first)
                .max(last);
            Leg {
                from: nodes[place].at,
                to: nodes[place + 1].at,
                metres: metres[place],
                bearing_deg: bearings[place],
                speeds: [first, middle, last],
                tunnel: nodes[place + 1].tunnel,
                waits_s: waits[place + 1],
                driving,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::map::centre;
    use super::super::way::place;
    use super::*;

    #[test]
    fn a_drive_has_no_jumps_in_place_or_speed() {
        let driving = Driving {
            top_kmh: 120.0,
            speeds_up: 1.3,
            slows_down: 1.8,
            haste: 1.0,
        };
        let mut way = Way::from(place(0, Chance::new(3), 500.0, 4000.0));
        way.along_streets(0, centre(0));
        way.along_roads(0, 2);
        way.along_streets(2, place(2, Chance::new(4), 500.0, 4000.0));
        let legs = drive(&way, driving, Chance::new(5));
        assert!(legs.iter().any(|leg| leg.waits_s > 0.0), "no light was red");
        let mut speed = 0.0;
        for leg in &legs {
            let seconds = leg.seconds();
            assert!(seconds.is_finite() && seconds > 0.0, "{leg:?}");
            let mut metres = 0.0;
            for tenth in 0..=(seconds * 10.0) as u32 {
                let (next_m, next) = leg.after(f64::from(tenth) / 10.0);
                assert!((next - speed).abs() < 0.3, "{speed} {next} {leg:?}");
                assert!(
                    (next_m - metres).abs() <= 120.0 / 36.0 + 0.3,
                    "{metres} {next_m} {leg:?}"
                );
                (metres, speed) = (next_m, next);
            }
            let (end_m, last) = leg.after(seconds);
            assert!((end_m - leg.metres).abs() < 0.1, "{end_m} {leg:?}");
            speed = last;
        }
        assert!(speed < 0.3, "it stands at the end");
        let top = legs.iter().map(|leg| leg.speeds[1]).fold(0.0, f64::max);
        assert!((24.9..33.4).contains(&top), "{top}");
    }
}
