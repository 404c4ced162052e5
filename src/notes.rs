//! Side notes for the keeper: what is good to know but may be lost. Records are never among them.
//!
//! Whoever writes a note never waits: when the queue is full the note is dropped and counted.

use std::net::SocketAddr;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::facts::{self, Fact};
use crate::imei::Imei;
use crate::store::latest::LatestRow;

/// Notes that wait at most.
const NOTES_MAX: usize = 16_384;

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
    /// The newest records of a stored batch, one row per device.
    Latest(Vec<LatestRow>),
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

/// The way to the keeper.
#[derive(Clone, Debug)]
pub struct Notes {
    sender: Sender<Note>,
}

impl Notes {
    /// A queue of notes and its reading end.
    pub fn new() -> (Notes, Receiver<Note>) {
        let (sender, receiver) = crossbeam_channel::bounded(NOTES_MAX);
        (Notes { sender }, receiver)
    }

    /// Leaves a note, or drops it when nobody keeps up with reading.
    pub fn leave(&self, note: Note) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(note) {
            facts::say(Fact::NotesDropped, format_args!("queued={NOTES_MAX}"));
        }
    }
}
