//! Handing over from ports to writers: deliveries, and the ticket that brings their receipts back.
//!
//! A `Ticket` travels with each delivery and answers exactly once: resolved by whoever made the packet durable, or `Lost` when it
//! is dropped on the way (a writer that panics, a queue that is thrown away). So a session never waits for a receipt that
//! cannot come.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::clock::Millis;
use crate::fleet::Device;
use crate::imei::Imei;
use crate::mailbox::{Outcome, Passed, PortMessage, SessionRef};
use crate::room::Hold;

/// What is to be done with a packet.
#[derive(Clone, Debug)]
pub enum Content {
    /// It was checked: store its records.
    Packet,
    /// It cannot be read: to quarantine.
    Broken {
        /// A fixed word for the kind of fault.
        code: Cow<'static, str>,
        /// What is wrong, for people.
        reason: String,
        /// The record count the packet declares, when preamble, length and codec are sound.
        declared: Option<u8>,
    },
}

/// A packet as it was received: all that is stored of it, whoever stores it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Whose it is.
    pub device: Arc<Device>,
    /// When its last byte arrived, microseconds since 1970 UTC.
    pub received_at_us: i64,
    /// The port it came in on.
    pub port: u16,
    /// Where it came from.
    pub address: IpAddr,
    /// The frame from preamble to CRC.
    pub frame: Box<[u8]>,
    /// Records in it.
    pub n_records: u8,
    /// What is to be done with it.
    pub content: Content,
    /// Whether the device may have sent these records before.
    pub maybe_resend: bool,
}

/// A packet on its way to where it is durable.
#[derive(Debug)]
pub struct Delivery {
    /// The packet, shared with whoever is busy storing it while others take the delivery over.
    pub packet: Arc<Received>,
    /// Since when it waits, on the monotonic clock.
    pub queued_at: Millis,
    /// The way back.
    pub ticket: Ticket,
}

/// What stands in the queue of a writer, or of the spool.
#[derive(Debug)]
pub enum Queued {
    /// Make this durable.
    Delivery(Box<Delivery>),
    /// The watchdog's probe: say that it came through.
    Probe(Sender<Passed>),
}

/// The one answer that a delivery gets.
#[derive(Debug)]
pub struct Ticket {
    to: SessionRef,
    hold: Option<Hold>,
}

impl Ticket {
    /// A ticket for `to`, holding `hold` of the room.
    pub fn new(to: SessionRef, hold: Hold) -> Ticket {
        Ticket {
            to,
            hold: Some(hold),
        }
    }

    /// Answers the session.
    pub fn resolve(mut self, outcome: Outcome) {
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Outcome) {
        if self.hold.take().is_some() {
            self.to.inbox.send(PortMessage::Receipt {
                session: self.to.session,
                outcome,
            });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answer(Outcome::Lost);
    }
}

/// What ports ask of the directory thread.
#[derive(Debug)]
pub enum DirectoryMessage {
    /// Register this IMEI and answer with [`PortMessage::Registered`].
    Register {
        /// Who.
        imei: Imei,
        /// A pinned device is accepted by its port's conf and not counted as new.
        pinned: bool,
        /// Who asks.
        asks: SessionRef,
    },
    /// A login was answered 00.
    Refused {
        /// Who.
        imei: Imei,
        /// The port's name.
        port: String,
        /// From where.
        peer: SocketAddr,
        /// Why.
        reason: &'static str,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fleet::Fleet;
    use crate::mailbox::tests::inbox;
    use crate::mailbox::{SessionId, Store};
    use crate::room::{Room, Share};
    use crate::store::device::DeviceState;
    use crossbeam_channel::Receiver;

    /// A delivery, and where its receipt is heard for as long as the poll lives.
    pub(crate) fn delivery(queued_at: Millis) -> (Delivery, mio::Poll, Receiver<PortMessage>) {
        let (poll, inbox, receiver) = inbox();
        let session = SessionId { slot: 3, serial: 7 };
        let hold = Room::new(1 << 20)
            .take(&Arc::new(Share::default()), 100)
            .unwrap();
        let imei = "356307042441013".parse().unwrap();
        let packet = Arc::new(Received {
            device: Fleet::default().put_without_id(imei, DeviceState::Accepted, true),
            received_at_us: 1_700_000_000_000_000,
            port: 5027,
            address: [127, 0, 0, 1].into(),
            frame: Box::default(),
            n_records: 1,
            content: Content::Packet,
            maybe_resend: false,
        });
        let ticket = Ticket::new(SessionRef { inbox, session }, hold);
        let delivery = Delivery {
            packet,
            queued_at,
            ticket,
        };
        (delivery, poll, receiver)
    }

    #[test]
    fn a_dropped_ticket_says_lost_once() {
        let (_poll, inbox, receiver) = inbox();
        let room = Room::new(1 << 20);
        let share = Arc::new(Share::default());
        let session = SessionId { slot: 3, serial: 7 };
        let to = SessionRef { inbox, session };
        let hold = room.take(&share, 100).unwrap();
        drop(Ticket::new(to.clone(), hold));
        let hold = room.take(&share, 100).unwrap();
        Ticket::new(to, hold).resolve(Outcome::Durable(Store::Database));
        let outcomes: Vec<Outcome> = receiver
            .try_iter()
            .map(|message| match message {
                PortMessage::Receipt { outcome, .. } => outcome,
                other => panic!("not a receipt: {other:?}"),
            })
            .collect();
        assert_eq!(outcomes, [Outcome::Lost, Outcome::Durable(Store::Database)]);
        assert_eq!(room.used(), 0);
    }
}
