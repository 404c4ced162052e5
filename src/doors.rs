//! The ways to whoever makes packets durable: a device's writer by its id, the spool for devices without one.
//!
//! Ports hand over here and never wait. What stands in a writer's queue counts as waiting from the moment in which it is put there,
//! whatever the writer is doing, so that nothing waits longer than it may without the spool taking it over.

use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};

use crate::fleet::Device;
use crate::hand::Hand;
use crate::intake::{Delivery, Queued};
use crate::mailbox::Passed;

/// The way to one writer.
#[derive(Debug)]
struct Door {
    queue: Sender<Queued>,
    hand: Arc<Hand>,
}

/// The ways to all writers and to the spool.
#[derive(Clone, Debug)]
pub struct Doors {
    writers: Arc<[Door]>,
    spool: Sender<Queued>,
}

impl Doors {
    /// The ways to `writers`, each by its queue and its hand, and to the spool.
    pub fn new(
        writers: impl IntoIterator<Item = (Sender<Queued>, Arc<Hand>)>,
        spool: Sender<Queued>,
    ) -> Doors {
        let doors = writers
            .into_iter()
            .map(|(queue, hand)| Door { queue, hand });
        Doors {
            writers: doors.collect(),
            spool,
        }
    }

    /// The index of the writer that stores what `device` sends, always the same one; `None` while the device has no id.
    pub fn writer_of(&self, device: &Device) -> Option<usize> {
        let id = usize::try_from(device.id()?).unwrap_or(0);
        id.checked_rem(self.writers.len())
    }

    /// Hands a delivery over. Queues have room for all that the byte budget allows; one that has not belongs to a process that
    /// ends, and the delivery answers `Lost` when it is dropped.
    pub fn hand_over(&self, delivery: Delivery) {
        let queue = match self.writer_of(&delivery.packet.device) {
            Some(writer) => {
                let door = &self.writers[writer];
                door.hand.note_waiting(delivery.queued_at);
                &door.queue
            }
            // Without an id there is no row to be made yet: such packets wait on disk.
            None => &self.spool,
        };
        let _ = queue.try_send(Queued::Delivery(Box::new(delivery)));
    }

    /// Sends a watchdog probe through a writer's queue.
    pub fn pass_probe(&self, passed: Sender<Passed>) {
        let Some(door) = self.writers.first() else {
            return;
        };
        if let Err(TrySendError::Full(Queued::Probe(passed))) =
            door.queue.try_send(Queued::Probe(passed))
        {
            // An error means that nobody waits for the probe any more.
            let _ = passed.try_send(Passed::QueueFull);
        }
    }
}
