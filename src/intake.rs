//! Handing over from ports to writers and back: deliveries, their receipts, and the room they take.
//!
//! A [`Ticket`] travels with each delivery and answers exactly once: resolved by the writer, or `Lost` when it is
//! dropped on the way (a writer that panics, a queue that is thrown away). So a session never waits for a receipt that
//! cannot come. A receipt names slot and serial within one generation's inbox; what does not match is dropped there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};

use crate::fleet::Device;
use crate::imei::Imei;

/// What a port thread hears from others.
#[derive(Debug)]
pub enum PortMessage {
    /// The delivery of a session has its outcome.
    Receipt {
        /// Which session.
        session: SessionId,
        /// What became of the delivery.
        outcome: Outcome,
    },
    /// The directory answers a registration.
    Registered {
        /// Which session asked.
        session: SessionId,
        /// Whether the device is in memory now; false: there is no place for a new one.
        is_registered: bool,
    },
    /// Close one session.
    Close {
        /// Which session.
        session: SessionId,
        /// Why, for the log.
        why: CloseReason,
    },
    /// A connection that a retired thread still accepted.
    Adopt(std::net::TcpStream, SocketAddr),
    /// The writer of this index was replaced: sessions with a delivery there begin anew.
    WriterGone(usize),
    /// There may be room in the queue again.
    Room,
    /// The device list is complete: logins that waited for it can be answered.
    DirectoryLoaded,
    /// The watchdog asks whether a message passes through here and a writer.
    Probe(Sender<Passed>),
}

/// How far a watchdog probe came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Through a port and a writer's queue.
    Writer,
    /// Through a port; the queue was full, which is no fault of a thread.
    QueueFull,
}

/// Why somebody else closes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device logged in again elsewhere.
    TakenOver,
    /// The device may not log in any more.
    Refused,
    /// Somebody asked over the control socket.
    Asked,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records are in the table, or its bytes in quarantine because the database refused them: ack it.
    Durable,
    /// It could not be read and is in quarantine for good: ack it, so that the device goes on.
    QuarantinedForGood,
    /// It could not be read; the device shall send it again on a new connection.
    SendAgain,
    /// Nobody will tell: close, and the device sends again.
    Lost,
}

/// A session within the inbox of one port generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Place in the port's table.
    pub slot: u32,
    /// Tells the slot's users apart.
    pub serial: u32,
}

/// A session and the way to the thread that owns it.
#[derive(Clone, Debug)]
pub struct SessionRef {
    /// The port generation's inbox.
    pub inbox: Arc<Inbox>,
    /// The session there.
    pub session: SessionId,
}

impl PartialEq for SessionRef {
    fn eq(&self, other: &SessionRef) -> bool {
        self.session == other.session && Arc::ptr_eq(&self.inbox, &other.inbox)
    }
}

impl SessionRef {
    /// Asks the owning port to close the session.
    pub fn close(&self, why: CloseReason) {
        self.inbox.send(PortMessage::Close {
            session: self.session,
            why,
        });
    }
}

/// The way to one port generation: a channel and the waker of its readiness wait.
#[derive(Debug)]
pub struct Inbox {
    sender: Sender<PortMessage>,
    waker: mio::Waker,
    woken: AtomicBool,
}

impl Inbox {
    /// An inbox whose messages `waker` announces.
    pub fn new(waker: mio::Waker) -> (Arc<Inbox>, Receiver<PortMessage>) {
        // Receipts are bounded by one packet in flight per session, closes by sessions, the rest by the few threads
        // that send; and a writer must never wait for a port.
        #[allow(clippy::disallowed_methods)]
        let (sender, receiver) = crossbeam_channel::unbounded();
        (
            Arc::new(Inbox {
                sender,
                waker,
                woken: AtomicBool::new(false),
            }),
            receiver,
        )
    }

    /// Sends without waiting. A message to a port generation that is gone vanishes with it.
    pub fn send(&self, message: PortMessage) {
        if self.sender.send(message).is_ok() && !self.woken.swap(true, Ordering::AcqRel) {
            // An error means that the poll is gone, and then so is the reader.
            let _ = self.waker.wake();
        }
    }

    /// The reader is about to read: the next message wakes it again.
    pub fn reading(&self) {
        self.woken.store(false, Ordering::Release);
    }
}

/// What a delivery asks of the writer.
#[derive(Debug)]
pub enum Content {
    /// A checked packet: store its records.
    Packet,
    /// A packet that cannot be read: to quarantine.
    Broken {
        /// A fixed word for the kind of fault.
        code: &'static str,
        /// What is wrong, for people.
        reason: String,
        /// The record count the packet declares, when preamble, length and codec are sound.
        declared: Option<u8>,
    },
}

/// A packet on its way to the writer.
#[derive(Debug)]
pub struct Delivery {
    /// Whose it is.
    pub device: Arc<Device>,
    /// When its last byte arrived, microseconds since 1970 UTC.
    pub received_at_us: i64,
    /// The port it came in on.
    pub port: u16,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The frame from preamble to CRC.
    pub frame: Box<[u8]>,
    /// Records in it.
    pub n_records: u8,
    /// What is to be done with it.
    pub content: Content,
    /// Whether the device may have sent these records before.
    pub maybe_resend: bool,
    /// The way back.
    pub ticket: Ticket,
}

/// What a writer hears.
#[derive(Debug)]
pub enum WriterMessage {
    /// Store this.
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

/// The bytes that deliveries may take on their way, shared fairly by the ports.
#[derive(Debug)]
pub struct Room {
    limit: usize,
    used: AtomicUsize,
    ports: AtomicUsize,
    waiting: Mutex<Vec<Arc<Inbox>>>,
    someone_waits: AtomicBool,
}

/// What one port has taken of the room.
#[derive(Debug, Default)]
pub struct Share {
    used: AtomicUsize,
}

/// A piece of the room, given back when dropped.
#[derive(Debug)]
pub struct Hold {
    room: Arc<Room>,
    share: Arc<Share>,
    bytes: usize,
}

/// What a delivery costs beside its bytes. With it the byte budget runs out before a queue of
/// [`Room::deliveries_max`] does, so that one bound governs both.
const DELIVERY_COST: usize = 4096;

impl Room {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Arc<Room> {
        Arc::new(Room {
            limit: limit.max(DELIVERY_COST * 4),
            used: AtomicUsize::new(0),
            ports: AtomicUsize::new(1),
            waiting: Mutex::default(),
            someone_waits: AtomicBool::new(false),
        })
    }

    /// Deliveries that the room holds at most, however small they are.
    pub fn deliveries_max(&self) -> usize {
        self.limit / DELIVERY_COST
    }

    /// Tells how many ports share the room.
    pub fn set_ports(&self, n_ports: usize) {
        self.ports.store(n_ports.max(1), Ordering::Relaxed);
    }

    /// Takes room for a delivery of `bytes`. Below half of the limit anybody may; above it only who has less than
    /// an equal share, so that one loud port leaves room for the others.
    pub fn take(self: &Arc<Room>, share: &Arc<Share>, bytes: usize) -> Option<Hold> {
        let cost = bytes + DELIVERY_COST;
        let before = self.used.fetch_add(cost, Ordering::AcqRel);
        let mine = share.used.fetch_add(cost, Ordering::AcqRel);
        let hold = Hold {
            room: Arc::clone(self),
            share: Arc::clone(share),
            bytes: cost,
        };
        let fair = self.limit / self.ports.load(Ordering::Relaxed);
        let fits = before + cost <= self.limit;
        // A port without anything in the room may always have one delivery, as long as there is room at all.
        (fits && (before + cost <= self.limit / 2 || mine == 0 || mine + cost <= fair))
            .then_some(hold)
    }

    /// Asks to be told by [`PortMessage::Room`] when there is room again. Try once more after asking.
    pub fn wait(&self, inbox: &Arc<Inbox>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| Arc::ptr_eq(other, inbox)) {
            waiting.push(Arc::clone(inbox));
        }
        self.someone_waits.store(true, Ordering::Release);
    }

    /// Tells those who wait that there is room.
    pub fn wake(&self) {
        if self.someone_waits.swap(false, Ordering::AcqRel) {
            let waiting =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for inbox in waiting {
                inbox.send(PortMessage::Room);
            }
        }
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes there are.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.used.fetch_sub(self.bytes, Ordering::AcqRel);
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
mod tests {
    use super::*;

    fn inbox() -> (mio::Poll, Arc<Inbox>, Receiver<PortMessage>) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (inbox, receiver) = Inbox::new(waker);
        (poll, inbox, receiver)
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
        Ticket::new(to, hold).resolve(Outcome::Durable);
        let outcomes: Vec<Outcome> = receiver
            .try_iter()
            .map(|message| match message {
                PortMessage::Receipt { outcome, .. } => outcome,
                other => panic!("not a receipt: {other:?}"),
            })
            .collect();
        assert_eq!(outcomes, [Outcome::Lost, Outcome::Durable]);
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn a_loud_port_leaves_room_for_a_quiet_one() {
        let room = Room::new(100 * DELIVERY_COST);
        room.set_ports(4);
        let (loud, quiet) = (Arc::new(Share::default()), Arc::new(Share::default()));
        let mut held = Vec::new();
        while let Some(hold) = room.take(&loud, 0) {
            held.push(hold);
        }
        assert_eq!(held.len(), 50, "a single port gets half of it");
        let mut others = Vec::new();
        while let Some(hold) = room.take(&quiet, 0) {
            others.push(hold);
        }
        assert_eq!(others.len(), 25, "a quiet one its equal share");
        drop(held);
        assert!(room.take(&loud, 0).is_some());
    }

    #[test]
    fn who_waits_for_room_is_told_once() {
        let (_poll, inbox, receiver) = inbox();
        let room = Room::new(1 << 20);
        room.wait(&inbox);
        room.wait(&inbox);
        room.wake();
        room.wake();
        assert_eq!(receiver.try_iter().count(), 1);
    }
}
