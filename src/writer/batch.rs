//! Gathering: whatever is queued when the writer is free, up to a cap of records and bytes.

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::intake::{Delivery, WriterMessage};
use crate::mailbox::Passed;

/// Bytes of packets in one batch at most.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// Deliveries that one transaction shall store.
#[derive(Debug)]
pub(super) struct Batch {
    deliveries: Vec<Delivery>,
    n_records: usize,
    n_bytes: usize,
    records_max: usize,
}

impl Batch {
    pub(super) fn new(records_max: usize) -> Batch {
        Batch {
            deliveries: Vec::new(),
            n_records: 0,
            n_bytes: 0,
            records_max,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Waits up to `patience` for a first delivery and takes what else is queued.
    pub(super) fn gather(&mut self, queue: &Receiver<WriterMessage>, patience: Duration) {
        let mut next = queue.recv_timeout(patience).ok();
        while let Some(message) = next {
            match message {
                WriterMessage::Delivery(delivery) => {
                    self.n_records += usize::from(delivery.n_records);
                    self.n_bytes += delivery.frame.len();
                    self.deliveries.push(*delivery);
                }
                WriterMessage::Probe(passed) => {
                    // An error means that nobody waits for it any more.
                    let _ = passed.try_send(Passed::Writer);
                }
            }
            if self.n_records >= self.records_max || self.n_bytes >= BATCH_BYTES_MAX {
                return;
            }
            next = queue.try_recv().ok();
        }
    }

    /// Takes the deliveries out.
    pub(super) fn take(&mut self) -> Vec<Delivery> {
        self.n_records = 0;
        self.n_bytes = 0;
        std::mem::take(&mut self.deliveries)
    }
}
