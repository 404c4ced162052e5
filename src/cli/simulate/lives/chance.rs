//! Chance that repeats itself: numbers drawn from a seed and from what they are for.
//!
//! Drawing changes nothing, so that any moment of a life can be asked for in any order.

use super::super::road::mix;

/// A source of numbers; the same source gives the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(mix(seed))
    }

    /// The source for one purpose.
    pub(super) fn of(self, purpose: &str) -> Chance {
        // FNV-1a: purposes are a few letters.
        let hash = purpose.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Chance(mix(self.0 ^ hash))
    }

    /// The source for one of many.
    pub(super) fn nth(self, number: u64) -> Chance {
        Chance(mix(self.0 ^ mix(number)))
    }

    /// From 0 to 1.
    pub(super) fn part(self) -> f64 {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn between(self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    /// A whole number below `n`, which is above 0.
    pub(super) fn below(self, n: u64) -> u64 {
        self.0 % n
    }

    /// Milliseconds between two numbers of minutes, whole seconds of them.
    pub(super) fn minutes_ms(self, low: f64, high: f64) -> u64 {
        (self.between(low, high) * 60.0) as u64 * 1000
    }

    /// `true` so often as `probability` says.
    pub(super) fn happens(self, probability: f64) -> bool {
        self.part() < probability
    }
}

/// A number that wanders between 0 and 1 as time goes by, without jumps; a new aim each `period_ms`.
pub(super) fn wander(chance: Chance, time_ms: u64, period_ms: u64) -> f64 {
    let (step, within) = (time_ms / period_ms, time_ms % period_ms);
    let (from, to) = (chance.nth(step).part(), chance.nth(step + 1).part());
    from + (to - from) * within as f64 / period_ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_differ_by_purpose_and_fill_their_range() {
        let chance = Chance::new(7);
        assert_eq!(chance.of("stops").nth(3), chance.of("stops").nth(3));
        assert_ne!(chance.of("stops"), chance.of("doors"));
        let parts: Vec<f64> = (0..1000).map(|n| chance.nth(n).part()).collect();
        let mean = parts.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert!(parts.iter().all(|part| (0.0..1.0).contains(part)));
    }

    #[test]
    fn what_wanders_does_not_jump() {
        let chance = Chance::new(1);
        let mut last = wander(chance, 0, 60_000);
        for second in 1..600 {
            let next = wander(chance, second * 1000, 60_000);
            assert!((next - last).abs() <= 1.0 / 60.0 + 1e-9);
            last = next;
        }
    }
}
