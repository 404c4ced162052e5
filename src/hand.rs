//! The deliveries that a thread has in hand, where others can take them over when they wait too long or the thread is gone.
//!
//! They lie behind a lock that is held for looking and for taking only, never while the database or the disk is asked. Whoever takes
//! them out answers them.
//!
//! Invariants: a hand is late from the time at which the oldest delivery of its batch has waited too long until its thread says
//! that all is well, whether or not the deliveries still lie in it. Every batch has a number; what is said of another than the
//! present one, by a retired thread, is nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{self, Millis};
use crate::intake::{Content, Delivery, Received};
use crate::life::Life;
use crate::mailbox::Outcome;

/// No batch is in hand.
const NOTHING: Millis = Millis::MAX;

/// One thread's deliveries in hand, through all its generations.
#[derive(Debug)]
pub struct Hand {
    batch: Mutex<Batch>,
    /// Since when the oldest delivery has waited that came since all was well, or [`NOTHING`].
    waits_since: AtomicU64,
}

#[derive(Debug, Default)]
struct Batch {
    number: u64,
    deliveries: Vec<Delivery>,
}

impl Default for Hand {
    fn default() -> Hand {
        Hand {
            batch: Mutex::default(),
            waits_since: AtomicU64::new(NOTHING),
        }
    }
}

impl Hand {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a batch; `None` when the hand is a successor's.
    pub fn begin(&self, life: &Life) -> Option<InHand<'_>> {
        let mut batch = self.lock();
        // Under the lock: whoever retires a thread does so before the hand is abandoned.
        if life.is_retired() {
            return None;
        }
        batch.number += 1;
        Some(InHand {
            hand: self,
            number: batch.number,
        })
    }

    /// Whether the oldest delivery has waited longer than `target`.
    pub fn is_late(&self, now: Millis, target: Millis) -> bool {
        let since = self.waits_since.load(Ordering::Acquire);
        since != NOTHING && now.saturating_sub(since) > target
    }

    /// Something waits in the queue of this hand's thread.
    pub fn note_waiting(&self, since: Millis) {
        self.waits_since.fetch_min(since, Ordering::AcqRel);
    }

    /// Whether something has come since all was well last.
    pub fn is_waited_for(&self) -> bool {
        self.waits_since.load(Ordering::Acquire) != NOTHING
    }

    /// Whether deliveries lie in it that nobody has taken over.
    pub fn has_deliveries(&self) -> bool {
        !self.lock().deliveries.is_empty()
    }

    /// Takes all deliveries over; the batch is still in hand.
    pub fn take_over(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.lock().deliveries)
    }

    /// The thread is gone: its deliveries are given back un-acked, and whatever is queued waits for a successor from now on.
    pub fn abandon(&self) {
        let mut batch = self.lock();
        batch.number += 1;
        let given_back = std::mem::take(&mut batch.deliveries);
        self.note_waiting(clock::now());
        drop(batch);
        drop(given_back);
    }
}

/// A batch in hand, as its thread sees it.
#[derive(Debug)]
pub struct InHand<'a> {
    hand: &'a Hand,
    number: u64,
}

impl InHand<'_> {
    fn with<T>(&self, nothing: T, look: impl FnOnce(&mut Vec<Delivery>) -> T) -> T {
        let mut batch = self.hand.lock();
        if batch.number == self.number {
            look(&mut batch.deliveries)
        } else {
            nothing
        }
    }

    /// One more delivery. In a hand that is a successor's it is given back un-acked.
    pub fn push(&mut self, delivery: Delivery) {
        let mut left = Some(delivery);
        self.with((), |deliveries| {
            let Some(delivery) = left.take() else { return };
            self.hand.note_waiting(delivery.queued_at);
            deliveries.push(delivery);
        });
    }

    /// Puts what can be read before what cannot, so that it is one part.
    pub fn arrange(&mut self) {
        self.with((), |deliveries| {
            deliveries.sort_by_key(|one| !matches!(one.packet.content, Content::Packet));
        });
    }

    /// How many deliveries are left in it.
    pub fn n_left(&self) -> usize {
        self.with(0, |deliveries| deliveries.len())
    }

    /// The first `n` packets, or those of them that are left.
    pub fn packets(&self, n: usize) -> Vec<Arc<Received>> {
        self.with(Vec::new(), |deliveries| {
            let first = deliveries.iter().take(n);
            first.map(|one| Arc::clone(&one.packet)).collect()
        })
    }

    /// Answers the first deliveries, or those of them that are left: each with its outcome.
    pub fn resolve(&mut self, outcomes: impl ExactSizeIterator<Item = Outcome>) {
        let n = outcomes.len();
        let resolved: Vec<Delivery> = self.with(Vec::new(), |deliveries| {
            deliveries.drain(..n.min(deliveries.len())).collect()
        });
        for (delivery, outcome) in resolved.into_iter().zip(outcomes) {
            delivery.ticket.resolve(outcome);
        }
    }

    /// Takes all deliveries out.
    pub fn take(&mut self) -> Vec<Delivery> {
        self.with(Vec::new(), std::mem::take)
    }

    /// What the thread brings its deliveries to takes them: nothing waits any more.
    pub fn all_is_well(&self) {
        self.with((), |_| {
            self.hand.waits_since.store(NOTHING, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::tests::delivery;
    use crate::mailbox::Store;
    use std::time::Duration;

    fn life() -> Life {
        Life::new("writer-0", 1, Duration::from_secs(10))
    }

    #[test]
    fn a_hand_is_late_until_all_is_well_although_its_deliveries_were_taken_over() {
        let hand = Hand::default();
        let mut batch = hand.begin(&life()).unwrap();
        assert!(!hand.is_waited_for());
        let (first, _poll, _receiver) = delivery(1_000);
        batch.push(first);
        let (second, _poll, _receiver) = delivery(5_000);
        batch.push(second);
        assert!(!hand.is_late(3_000, 2_000));
        assert!(hand.is_late(3_001, 2_000));
        assert_eq!(hand.take_over().len(), 2);
        assert!(
            hand.is_late(3_001, 2_000),
            "the writer still tries its rows"
        );
        let next = hand.begin(&life()).unwrap();
        batch.all_is_well();
        assert!(hand.is_late(3_001, 2_000), "said of another batch");
        next.all_is_well();
        assert!(!hand.is_late(9_000, 2_000) && !hand.is_waited_for());
    }

    #[test]
    fn a_retired_thread_answers_nothing_of_its_successors_batch() {
        let hand = Hand::default();
        let retired = life();
        let mut old = hand.begin(&retired).unwrap();
        let (lost, _poll, receiver) = delivery(1_000);
        old.push(lost);
        retired.retire();
        hand.abandon();
        assert_eq!(receiver.try_iter().count(), 1, "given back");
        assert!(hand.begin(&retired).is_none());
        let mut new = hand.begin(&life()).unwrap();
        let (delivery, _poll, receiver) = delivery(2_000);
        new.push(delivery);
        old.resolve([Outcome::Durable(Store::Database)].into_iter());
        assert_eq!((old.n_left(), new.n_left()), (0, 1));
        old.all_is_well();
        assert!(old.take().is_empty() && hand.is_waited_for());
        assert_eq!(receiver.try_iter().count(), 0, "not answered yet");
        new.resolve([Outcome::Durable(Store::Database)].into_iter());
        assert_eq!(receiver.try_iter().count(), 1);
    }
}
