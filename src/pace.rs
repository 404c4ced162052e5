//! How fast something may go: a budget that is earned back steadily, kept in one number.
//!
//! Whoever has been quiet for a period may spend a whole one at once. What is spent beyond the budget is owed, so that over a
//! longer time nobody gets more than the rate.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Millis;

/// So much in a period.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    amount: u64,
    period_ms: Millis,
}

impl Rate {
    /// `amount`, which is not 0, in each `period_ms`.
    pub fn new(amount: u64, period_ms: Millis) -> Rate {
        let amount = amount.max(1);
        Rate { amount, period_ms }
    }
}

/// What somebody has spent: the time, in microseconds, at which all of it is earned back.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

impl Pace {
    /// Spends `amount`, whether it was due or not. One thread at a time does.
    pub fn spend(&self, amount: u64, rate: Rate, now: Millis) {
        let earned_in = u128::from(amount) * u128::from(rate.period_ms) * 1000;
        let earned_in = u64::try_from(earned_in / u128::from(rate.amount)).unwrap_or(u64::MAX);
        let paid_at = self.0.load(Ordering::Relaxed).max(now * 1000);
        self.0
            .store(paid_at.saturating_add(earned_in), Ordering::Relaxed);
    }

    /// When something may be spent, if that is not now.
    pub fn due(&self, rate: Rate, now: Millis) -> Option<Millis> {
        let paid_at = self.0.load(Ordering::Relaxed) / 1000;
        (paid_at >= now + rate.period_ms).then(|| paid_at - rate.period_ms + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often something happens from 0 until `until`, when it is tried every millisecond.
    fn happens(pace: &Pace, amount: u64, rate: Rate, until: Millis) -> usize {
        (0..until)
            .filter(|&now| {
                let is_due = pace.due(rate, now).is_none();
                if is_due {
                    pace.spend(amount, rate, now);
                }
                is_due
            })
            .count()
    }

    #[test]
    fn a_budget_may_be_spent_at_once_and_is_earned_back_steadily() {
        let rate = Rate::new(60, 60_000);
        // One budget to begin with, one for the first minute, and the one that is owed at the end.
        let n = happens(&Pace::default(), 1, rate, 60_000);
        assert!((120..=121).contains(&n), "{n} in a minute");
        let n = happens(&Pace::default(), 1, rate, 600_000);
        assert!((660..=661).contains(&n), "{n} in ten minutes");
    }

    #[test]
    fn what_was_spent_beyond_the_budget_is_waited_for() {
        let (pace, rate) = (Pace::default(), Rate::new(1000, 1000));
        assert_eq!(pace.due(rate, 5_000), None);
        pace.spend(3_500, rate, 5_000);
        let due = pace.due(rate, 5_000).unwrap();
        assert_eq!(due, 7_501);
        assert_eq!(pace.due(rate, due - 1), Some(due));
        assert_eq!(pace.due(rate, due), None);
    }
}
