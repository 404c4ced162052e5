//! What a supervised thread and its supervisor know of each other: name, generation, heartbeat, and
//! the words "stop" and "retired".
//!
//! One atomic each, no lock: a thread that hangs cannot block who watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{self, Millis};

/// One start of one thread.
#[derive(Debug)]
pub struct Life {
    name: String,
    generation: u64,
    silent_after: Millis,
    beat_at: AtomicU64,
    stopping: AtomicBool,
    stop_by: AtomicU64,
    draining: AtomicBool,
    retired: AtomicBool,
}

impl Life {
    /// The life of thread `name`, started for the `generation`-th time, counted as silent after
    /// `silent_after` without a beat.
    pub fn new(name: &str, generation: u64, silent_after: Duration) -> Life {
        Life {
            name: name.to_owned(),
            generation,
            silent_after: clock::millis(silent_after),
            beat_at: AtomicU64::new(clock::now()),
            stopping: AtomicBool::new(false),
            stop_by: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    /// The thread's name: `port [::]:5027`, `writer-0`, …
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The start number.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Says that the thread's loop turned.
    pub fn beat(&self) {
        self.beat_at.store(clock::now(), Ordering::Relaxed);
    }

    /// Milliseconds since the last beat.
    pub fn age(&self, now: Millis) -> Millis {
        now.saturating_sub(self.beat_at.load(Ordering::Relaxed))
    }

    /// Whether the last beat is too long ago.
    pub fn is_silent(&self, now: Millis) -> bool {
        self.age(now) > self.silent_after
    }

    /// How long the thread may wait for something before it beats again.
    pub fn patience(&self) -> Duration {
        Duration::from_millis((self.silent_after / 4).clamp(20, 1000))
    }

    /// Says that nothing will be heard of the thread for up to `span`, and rightly so.
    pub fn beat_ahead(&self, span: Duration) {
        self.beat_at
            .store(clock::now() + clock::millis(span), Ordering::Relaxed);
    }

    /// Asks the thread to finish within `within` what it has taken and what is queued for it, and to end.
    pub fn drain(&self, within: Duration) {
        self.draining.store(true, Ordering::Release);
        self.stop(within);
    }

    /// Whether a stopping thread shall empty its queue before it ends.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Asks the thread to finish within `within` what it has taken, to take nothing more, and to end.
    pub fn stop(&self, within: Duration) {
        self.stop_by
            .store(clock::now() + clock::millis(within), Ordering::Release);
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether a stopping thread may go on with what it has taken.
    pub fn may_finish(&self) -> bool {
        !self.is_retired() && clock::now() < self.stop_by.load(Ordering::Acquire)
    }

    /// Whether the thread shall end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Declares the thread dead although it still runs: nothing that it says counts any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.stop(Duration::ZERO);
    }

    /// Whether this generation was replaced.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Sleeps for `duration` in short pieces, beating, and returns early when the thread shall end.
    pub fn sleep(&self, duration: Duration) {
        self.sleep_unless(duration, Life::is_stopping);
    }

    /// Sleeps like [`Life::sleep`], but on through a stop for as long as the thread may finish: what it waits for is
    /// not to be asked more often because time runs out.
    pub fn pause(&self, duration: Duration) {
        self.sleep_unless(duration, |life| life.is_stopping() && !life.may_finish());
    }

    fn sleep_unless(&self, duration: Duration, ends: fn(&Life) -> bool) {
        let until = clock::now() + clock::millis(duration);
        loop {
            self.beat();
            let left = until.saturating_sub(clock::now());
            if left == 0 || ends(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(left.min(50)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_silent_only_after_its_limit() {
        let life = Life::new("writer-0", 1, Duration::from_secs(10));
        let now = clock::now();
        assert!(!life.is_silent(now + 9_000));
        assert!(life.is_silent(now + 11_000));
    }

    #[test]
    fn a_stopping_thread_does_not_sleep_on() {
        let life = Life::new("writer-0", 1, Duration::from_secs(10));
        life.stop(Duration::ZERO);
        let before = clock::now();
        life.sleep(Duration::from_secs(60));
        life.pause(Duration::from_secs(60));
        assert!(clock::now() - before < 1_000);
    }

    #[test]
    fn a_thread_that_may_finish_keeps_its_pauses() {
        let life = Life::new("writer-0", 1, Duration::from_secs(10));
        life.stop(Duration::from_millis(200));
        let before = clock::now();
        life.pause(Duration::from_secs(60));
        let paused = clock::now() - before;
        assert!((200..5_000).contains(&paused), "{paused} ms");
    }
}
