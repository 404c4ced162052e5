//! What others see of a line to the database, and what one generation of its thread leaves to the next.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a thread stands with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// It has not reached it yet.
    Starting = 0,
    /// It answers.
    Up = 1,
    /// It does not answer.
    Away = 2,
    /// It answers that a person is needed.
    Refuses = 3,
}

impl Link {
    /// The word for status and log.
    pub fn name(self) -> &'static str {
        match self {
            Link::Starting => "starting",
            Link::Up => "up",
            Link::Away => "away",
            Link::Refuses => "refuses",
        }
    }
}

/// One thread's line, through all its generations.
#[derive(Debug)]
pub struct LineState {
    link: AtomicU8,
    schema_ready: Arc<AtomicBool>,
    batches: AtomicU64,
    records: AtomicU64,
    last_batch_ms: AtomicU64,
    error: Mutex<String>,
    backends: Mutex<Vec<i32>>,
}

impl LineState {
    /// A line that waits until `schema_ready` before anything is inserted.
    pub fn new(schema_ready: Arc<AtomicBool>) -> LineState {
        LineState {
            link: AtomicU8::new(Link::Starting as u8),
            schema_ready,
            batches: AtomicU64::new(0),
            records: AtomicU64::new(0),
            last_batch_ms: AtomicU64::new(0),
            error: Mutex::default(),
            backends: Mutex::default(),
        }
    }

    /// How it stands with the database.
    pub fn link(&self) -> Link {
        match self.link.load(Ordering::Relaxed) {
            0 => Link::Starting,
            1 => Link::Up,
            2 => Link::Away,
            _ => Link::Refuses,
        }
    }

    /// Batches and records stored, and how long the last batch took in milliseconds.
    pub fn counts(&self) -> (u64, u64, u64) {
        (
            self.batches.load(Ordering::Relaxed),
            self.records.load(Ordering::Relaxed),
            self.last_batch_ms.load(Ordering::Relaxed),
        )
    }

    /// What the database said last when it refused something.
    pub fn last_error(&self) -> String {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the schema is there, so that something can be stored.
    pub fn schema_is_ready(&self) -> bool {
        self.schema_ready.load(Ordering::Acquire)
    }

    pub(super) fn set_link(&self, link: Link) {
        self.link.store(link as u8, Ordering::Relaxed);
    }

    pub(super) fn set_error(&self, error: &str) {
        error.clone_into(&mut self.error.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn count_batch(&self, n_records: usize, took_ms: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(n_records as u64, Ordering::Relaxed);
        self.last_batch_ms.store(took_ms, Ordering::Relaxed);
    }

    pub(super) fn old_backends(&self) -> Vec<i32> {
        self.backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn add_backend(&self, pid: i32) {
        self.backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pid);
    }

    pub(super) fn forget_backend(&self, pid: i32) {
        self.backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|&other| other != pid);
    }
}
