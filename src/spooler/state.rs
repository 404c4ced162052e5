//! What others see of the spool: whether it can be used, what is in it, how fast it fills and empties.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Millis;
use crate::hand::Hand;
use crate::spool::{Depth, Spool};

/// The span over which rates are told.
const RATE_OVER_MS: Millis = 10_000;

/// The spool, through all generations of the threads that use it.
#[derive(Default)]
pub struct SpoolState {
    /// What the thread that writes it has in hand.
    pub hand: Hand,
    spool: RwLock<Option<Arc<Spool>>>,
    trouble: Mutex<Option<(Trouble, String)>>,
    is_taking: AtomicBool,
    /// Bytes that may still be added, when it was looked at last.
    room: AtomicU64,
    n_in: Counts,
    n_out: Counts,
    samples: Mutex<VecDeque<Sample>>,
}

/// What is wrong with the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room: over when there is.
    Full,
    /// Something was refused: over when it is not.
    Failing,
}

/// What went in or out since the process began.
#[derive(Debug, Default)]
struct Counts {
    packets: AtomicU64,
    records: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Millis,
    records_in: u64,
    records_out: u64,
    bytes: u64,
}

/// How fast the spool fills and empties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Records a second that go in.
    pub records_in: u64,
    /// Records a second that go out.
    pub records_out: u64,
    /// Bytes a second by which it grows.
    pub bytes_growth: u64,
}

impl SpoolState {
    /// The spool, once it is open.
    pub fn spool(&self) -> Option<Arc<Spool>> {
        self.spool
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_spool(&self, spool: Arc<Spool>) {
        *self.spool.write().unwrap_or_else(PoisonError::into_inner) = Some(spool);
    }

    /// Why it cannot be used or takes no more, and in which words; `None` when it can.
    pub fn trouble(&self) -> Option<(Trouble, String)> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<(Trouble, String)>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Whether packets that nothing else takes can be kept in it.
    pub fn is_usable(&self) -> bool {
        self.trouble().is_none() && self.spool().is_some()
    }

    /// Whether packets go into it in place of the database.
    pub fn is_taking(&self) -> bool {
        self.is_taking.load(Ordering::Relaxed)
    }

    /// Whether that was otherwise before.
    pub(super) fn set_taking(&self, is_taking: bool) -> bool {
        self.is_taking.swap(is_taking, Ordering::Relaxed) != is_taking
    }

    pub(super) fn count_in(&self, packets: u64, records: u64) {
        self.n_in.add(packets, records);
    }

    /// Counts packets that were brought to the database.
    pub fn count_out(&self, packets: u64, records: u64) {
        self.n_out.add(packets, records);
    }

    /// Packets and records that went in since the process began.
    pub fn total_in(&self) -> (u64, u64) {
        self.n_in.get()
    }

    /// Packets and records that went out since the process began.
    pub fn total_out(&self) -> (u64, u64) {
        self.n_out.get()
    }

    /// What is in it.
    pub fn depth(&self) -> Depth {
        self.spool().map(|spool| spool.depth()).unwrap_or_default()
    }

    pub(super) fn sample(&self, now: Millis) {
        let room = self.spool().and_then(|spool| spool.room().ok());
        self.room.store(room.unwrap_or(0), Ordering::Relaxed);
        let sample = Sample {
            at: now,
            records_in: self.n_in.get().1,
            records_out: self.n_out.get().1,
            bytes: self.depth().bytes,
        };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        while samples
            .front()
            .is_some_and(|oldest| now.saturating_sub(oldest.at) > RATE_OVER_MS)
        {
            samples.pop_front();
        }
    }

    /// How fast it fills and empties, over the last ten seconds.
    pub fn rates(&self) -> Rates {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else {
            return Rates::default();
        };
        let per_second = |from: u64, to: u64| {
            (to.saturating_sub(from) * 1000)
                .checked_div(last.at - first.at)
                .unwrap_or(0)
        };
        Rates {
            records_in: per_second(first.records_in, last.records_in),
            records_out: per_second(first.records_out, last.records_out),
            bytes_growth: per_second(first.bytes, last.bytes),
        }
    }

    /// How long until it is empty, at the rate at which it empties now; `None` when it does not.
    pub fn time_left(&self) -> Option<Duration> {
        let (rates, records) = (self.rates(), self.depth().records);
        let shrinking = rates.records_out.saturating_sub(rates.records_in);
        records.checked_div(shrinking).map(Duration::from_secs)
    }

    /// Bytes that may still be added, a second ago; 0 where nobody knows. Asks no disk.
    pub fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// How long until it is full, at the rate at which it grows now; `None` when it does not grow.
    pub fn time_until_full(&self) -> Option<Duration> {
        let growth = self.rates().bytes_growth;
        self.room().checked_div(growth).map(Duration::from_secs)
    }
}

impl Counts {
    fn add(&self, packets: u64, records: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (
            self.packets.load(Ordering::Relaxed),
            self.records.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let state = SpoolState::default();
        assert_eq!(state.rates(), Rates::default());
        for second in 0..30 {
            state.sample(1_000 * second);
            state.count_in(1, 20);
            state.count_out(2, 50);
        }
        let rates = state.rates();
        assert_eq!((rates.records_in, rates.records_out), (20, 50));
        assert_eq!(state.total_out(), (60, 1500));
    }
}
