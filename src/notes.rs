//! Side notes for the keeper: what is good to know but may be lost. Records are never among them.
//!
//! Whoever writes a note never waits: when the queue is full the note is dropped and counted. What is newest of each device
//! lies beside the queue, merged, so that it takes room by devices and not by records while the database is away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::facts::{self, Fact};
use crate::imei::Imei;
use crate::store::latest::{LatestRow, Newest};

/// Notes that wait at most.
pub const NOTES_MAX: usize = 16_384;

/// One side note.
#[derive(Debug)]
pub enum Note {
    /// A device logged in.
    LoggedIn {
        /// `device.id`.
        device_id: i32,
        /// Microseconds since 1970 UTC.
        at_us: i64,
        /// From where.
        address: SocketAddr,
        /// On which port.
        port: u16,
    },
    /// A device's session ended.
    LoggedOut {
        /// `device.id`.
        device_id: i32,
        /// Microseconds since 1970 UTC.
        at_us: i64,
    },
    /// A device sent a packet before the ack of the one before.
    SendsBeforeAck {
        /// `device.id`.
        device_id: i32,
        /// Microseconds since 1970 UTC.
        at_us: i64,
    },
    /// The newest records of devices are to be had here.
    Latest(Arc<LatestBox>),
    /// Something happened to a thread or a port.
    PortEvent {
        /// Microseconds since 1970 UTC.
        at_us: i64,
        /// The thread's name.
        thread: String,
        /// Its start number.
        generation: u64,
        /// `start`, `death`, `silent`, …
        event: &'static str,
        /// Why.
        reason: String,
    },
    /// Something was put into quarantine, or came again.
    Quarantined,
    /// The bytes of a session during which its port died or went silent.
    Poison {
        /// Whose session.
        imei: Imei,
        /// Microseconds since 1970 UTC.
        at_us: i64,
        /// On which port.
        port: u16,
        /// What was being read.
        bytes: Vec<u8>,
        /// What happened.
        reason: String,
    },
}

/// What is newest of each device, waiting for the keeper.
#[derive(Debug, Default)]
pub struct LatestBox {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    newest: Newest,
    /// A note in the queue says that there is something.
    is_told: bool,
}

impl LatestBox {
    /// Takes out all there is; the next rows are told anew.
    pub fn take(&self) -> Newest {
        std::mem::take(&mut *self.lock()).newest
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the keeper.
#[derive(Clone, Debug)]
pub struct Notes {
    sender: Sender<Note>,
    latest: Arc<LatestBox>,
}

impl Notes {
    /// A queue of notes and its reading end.
    pub fn new() -> (Notes, Receiver<Note>) {
        let (sender, receiver) = crossbeam_channel::bounded(NOTES_MAX);
        let latest = Arc::default();
        (Notes { sender, latest }, receiver)
    }

    /// Leaves the newest records of a stored batch.
    pub fn leave_latest(&self, rows: impl IntoIterator<Item = LatestRow>) {
        let mut inside = self.latest.lock();
        inside.newest.extend(rows);
        if !inside.is_told && !inside.newest.is_empty() {
            let note = Note::Latest(Arc::clone(&self.latest));
            // In a full queue there is no place for it; the rows stay here and the next batch tries again.
            inside.is_told = self.sender.try_send(note).is_ok();
        }
    }

    /// Leaves a note, or drops it when nobody keeps up with reading.
    pub fn leave(&self, note: Note) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(note) {
            facts::say(Fact::NotesDropped, format_args!("queued={NOTES_MAX}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::store::Typed;

    fn row(device_id: i32, second: i64, satellites: i16) -> LatestRow {
        let time = clock::system_time(second * 1_000_000);
        LatestRow {
            device_id,
            time,
            digest: 7,
            received_at: time,
            longitude: 25.25,
            latitude: -54.6872,
            altitude_m: 111,
            angle_deg: 214,
            satellites,
            speed_kmh: 50,
            priority: 0,
            event_id: 0,
            port: 5027,
            typed: Typed::default(),
        }
    }

    fn taken(note: Note) -> Newest {
        let Note::Latest(latest) = note else {
            panic!("{note:?}");
        };
        latest.take()
    }

    #[test]
    fn while_nobody_reads_the_newest_rows_take_room_by_devices() {
        let (notes, receiver) = Notes::new();
        for second in 0..1_000 {
            notes.leave_latest([row(1, second, 0), row(2, 2_000 - second, 9)]);
        }
        assert_eq!(receiver.len(), 1, "one note for all of them");
        let newest = taken(receiver.try_recv().unwrap());
        let expected = [row(1, 999, 0), row(2, 2_000, 9)];
        assert_eq!(newest, expected.into_iter().collect());
        notes.leave_latest([row(1, 5_000, 0)]);
        assert_eq!(receiver.len(), 1, "told anew");
    }

    #[test]
    fn newest_rows_for_which_the_queue_had_no_place_are_told_later() {
        let (notes, receiver) = Notes::new();
        for _ in 0..NOTES_MAX {
            notes.leave(Note::LoggedOut {
                device_id: 1,
                at_us: 0,
            });
        }
        notes.leave_latest([row(1, 10, 9)]);
        assert_eq!(receiver.try_iter().count(), NOTES_MAX);
        notes.leave_latest([row(1, 11, 0)]);
        let newest = taken(receiver.try_recv().unwrap());
        assert_eq!(newest, [row(1, 10, 9), row(1, 11, 0)].into_iter().collect());
    }

    #[test]
    fn what_is_put_back_never_replaces_what_came_meanwhile() {
        let mut newest: Newest = [row(1, 20, 0)].into_iter().collect();
        newest.append([row(1, 10, 9), row(2, 10, 9)].into_iter().collect());
        let expected = [row(1, 10, 9), row(1, 20, 0), row(2, 10, 9)];
        assert_eq!(newest, expected.into_iter().collect());
        assert_eq!(newest.heard().count(), 2);
    }
}
