//! What the threads of a simulation share: what was asked of them, what they counted, what was acknowledged.
//!
//! Counters are written by the threads and read by whoever shows them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A number that threads count up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shared by all threads of a simulation.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// No new packets from now on; those under way are waited for.
    pub(super) stop: AtomicBool,
    /// Not even those.
    pub(super) abandon: AtomicBool,
    /// Devices that are logged in.
    pub(super) online: Counter,
    /// Packets sent, those sent again included.
    pub(super) sent: Counter,
    /// Packets sent again after a reconnect.
    pub(super) resent: Counter,
    /// Packets acknowledged with their full count.
    pub(super) acked: Counter,
    /// Records of those.
    pub(super) acked_records: Counter,
    /// Packets sent and not acknowledged yet.
    pub(super) unacked: Counter,
    /// Logins answered with 00.
    pub(super) refused: Counter,
    /// Connections made after the first of a device.
    pub(super) reconnects: Counter,
    /// Connects that nobody answered.
    pub(super) connect_failures: Counter,
    /// Answers that did not come in time.
    pub(super) timeouts: Counter,
    /// Answers that are wrong: another count, another byte, bytes that nobody asked for.
    pub(super) wrong: Counter,
    /// What was wrong first, in words.
    first_wrong: Mutex<Option<String>>,
    acked_file: Option<Mutex<BufWriter<File>>>,
}

impl Tally {
    /// A tally that writes acknowledged records to `acked`, which it makes anew.
    pub(super) fn new(acked: Option<&Path>) -> io::Result<Tally> {
        let file = acked.map(File::create).transpose()?;
        Ok(Tally {
            acked_file: file.map(|file| Mutex::new(BufWriter::with_capacity(1 << 20, file))),
            ..Tally::default()
        })
    }

    /// Whether acknowledged records are written down.
    pub(super) fn remembers(&self) -> bool {
        self.acked_file.is_some()
    }

    /// Writes lines about acknowledged records.
    pub(super) fn remember(&self, lines: &str) -> io::Result<()> {
        match &self.acked_file {
            None => Ok(()),
            Some(file) => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(lines.as_bytes()),
        }
    }

    /// Hands to the system what was written.
    pub(super) fn flush(&self) -> io::Result<()> {
        match &self.acked_file {
            None => Ok(()),
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).flush(),
        }
    }

    /// Counts a wrong answer and keeps the words of the first.
    pub(super) fn say_wrong(&self, text: impl FnOnce() -> String) {
        self.wrong.add(1);
        self.first_wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(text);
    }

    /// What was wrong first.
    pub(super) fn first_wrong(&self) -> Option<String> {
        self.first_wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
