//! The way to a port thread: its inbox, what it hears there, and how sessions are named in it.
//!
//! An inbox belongs to one generation of one port, so that a message to a generation that is gone vanishes with it. Within
//! an inbox a session is a slot and a serial; what does not match is dropped by the thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

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
    /// There may be room in the queue again.
    Room,
    /// Look at what `Life` says: the thread shall end.
    Stop,
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

/// Where a packet is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// PostgreSQL: the records' table, or quarantine.
    Database,
    /// The spool.
    Spool,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records are in the table, its bytes synced in the spool, or in quarantine because the database refused them: ack it.
    Durable(Store),
    /// It could not be read and is in quarantine for good, or on its way there in the spool: ack it, so that the device goes on.
    QuarantinedForGood(Store),
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
        // that send; and whoever made a packet durable must never wait for a port.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An inbox whose poll lives as long as the caller keeps it.
    pub(crate) fn inbox() -> (mio::Poll, Arc<Inbox>, Receiver<PortMessage>) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (inbox, receiver) = Inbox::new(waker);
        (poll, inbox, receiver)
    }

    #[test]
    fn sessions_of_two_generations_are_never_the_same() {
        let session = SessionId { slot: 1, serial: 1 };
        let ((_first_poll, first, _), (_second_poll, second, _)) = (inbox(), inbox());
        let first = SessionRef {
            inbox: first,
            session,
        };
        assert_eq!(first, first.clone());
        assert_ne!(
            first,
            SessionRef {
                inbox: second,
                session
            }
        );
    }
}
