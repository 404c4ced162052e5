//! The loop of one port thread: accept, read, hand over, hear receipts, answer, time out.
//!
//! It blocks in one place, the readiness wait, and that with a time-out so that it beats. Everything else is non-blocking.
//! Sockets are edge-triggered: a socket is read until it is empty or its turn's budget of bytes is used, in which case it
//! stands in `ready` for the next turn, so that a loud tracker starves no other.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::slot::{Kept, Phase, Slot};
use super::timers::Timers;
use super::{Port, Surroundings, lock};
use crate::clock::{self, Millis};
use crate::life::Life;
use crate::mailbox::{Inbox, PortMessage, SessionId, SessionRef};
use crate::pace::Rate;
use crate::protocol::teltonika::session;

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Tokens of sessions are slots plus this.
pub(super) const FIRST_SLOT: usize = 2;

/// Bytes asked of a socket at once.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Rounds of a loop over sessions between two beats.
const ROUNDS_PER_BEAT: usize = 1024;
/// Messages heard in one turn.
const MESSAGES_PER_TURN: usize = 16_384;
/// How long a stopping thread waits for a receipt before it looks whether it may go on waiting.
pub(super) const STOPPING_WAIT: Duration = Duration::from_millis(50);

/// Serves `port` until `life` says stop.
///
/// Blocks in the readiness wait for `life.patience()` at most.
///
/// # Errors
/// When the readiness wait cannot be set up or fails.
pub fn run(port: &Arc<Port>, life: &Arc<Life>, around: &Surroundings) -> io::Result<()> {
    let mut thread = Thread::new(Arc::clone(port), Arc::clone(life), around.clone())?;
    let result = thread.serve();
    thread.end();
    result
}

pub(super) struct Thread {
    pub(super) port: Arc<Port>,
    pub(super) life: Arc<Life>,
    pub(super) around: Surroundings,
    pub(super) inbox: Arc<Inbox>,
    pub(super) slots: Slab<Slot>,
    pub(super) timers: Timers,
    /// Packets handed over and not answered yet.
    pub(super) n_in_flight: usize,
    /// Sessions with a packet and no room for it, the longest waiting first.
    pub(super) stalled: VecDeque<SessionId>,
    pub(super) messages: Receiver<PortMessage>,
    pub(super) poll: Poll,
    pub(super) listener: TcpListener,
    pub(super) accepting: bool,
    pub(super) accept_again_at: Millis,
    pub(super) ready: VecDeque<SessionId>,
    /// The bytes that its sessions keep.
    pub(super) kept: Arc<Kept>,
    /// The bytes of its packets that are not handed over yet.
    pub(super) waiting: Arc<Kept>,
    /// Sessions that are not read because too many bytes are kept or wait, the longest resting first.
    pub(super) resting: VecDeque<SessionId>,
    /// Sessions that began to hold bytes, the oldest first; checked when looked at.
    pub(super) holding: VecDeque<SessionId>,
    pub(super) scratch: Vec<u8>,
    pub(super) timeouts: session::Timeouts,
    /// How often a device may log in.
    pub(super) login_rate: Rate,
    /// How much may be read of a device.
    pub(super) byte_rate: Rate,
}

impl Thread {
    fn new(port: Arc<Port>, life: Arc<Life>, around: Surroundings) -> io::Result<Thread> {
        let poll = Poll::new()?;
        let (inbox, messages) = Inbox::new(Waker::new(poll.registry(), WAKER)?);
        let mut listener = TcpListener::from_std(port.listener.try_clone()?);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        *lock(&port.inbox) = Some(Arc::clone(&inbox));
        let timeouts = session::Timeouts {
            login_ms: clock::millis(around.timeouts.login),
            idle_ms: clock::millis(around.timeouts.idle),
            packet_ms: clock::millis(around.timeouts.packet),
        };
        Ok(Thread {
            // The longest incomplete packet, or what one read left behind a packet, and the next read.
            scratch: vec![0; around.limits.packet + 2 * READ_BYTES],
            kept: Arc::new(Kept::new(Arc::clone(&around.receive_used))),
            waiting: Arc::new(Kept::new(Arc::clone(&around.waiting_used))),
            resting: VecDeque::new(),
            login_rate: Rate::new(around.limits.logins_per_minute.into(), 60_000),
            byte_rate: Rate::new(around.limits.bytes_per_second as u64, 1_000),
            port,
            life,
            around,
            inbox,
            slots: Slab::new(),
            timers: Timers::default(),
            n_in_flight: 0,
            stalled: VecDeque::new(),
            messages,
            poll,
            listener,
            accepting: true,
            accept_again_at: 0,
            ready: VecDeque::new(),
            holding: VecDeque::new(),
            timeouts,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        // A stopping thread reads nothing more and waits for the receipts that are due.
        while !self.life.is_stopping() || (self.n_in_flight > 0 && self.life.may_finish()) {
            self.life.beat();
            match self.poll.poll(&mut events, Some(self.wait())) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            self.life.beat();
            for event in &events {
                match slot_of(event) {
                    Some(index) => self.note_readiness(index, event),
                    None if event.token() == LISTENER => self.accepting = true,
                    None => {}
                }
            }
            self.hear();
            if !self.life.is_stopping() {
                self.take_turns();
                // After the turns: should one of them stop the thread, who connects meanwhile waits in the listening
                // socket for the successor.
                self.accept();
                self.time_out();
                // Other ports may have used up the budget of which this one keeps most.
                self.shed();
                self.rouse();
            }
        }
        Ok(())
    }

    /// How long the readiness wait may last.
    fn wait(&self) -> Duration {
        if !self.messages.is_empty() {
            return Duration::ZERO;
        }
        if self.life.is_stopping() {
            // Only receipts are served any more: what is ready, due or to be accepted must not keep the thread awake.
            return self.life.patience().min(STOPPING_WAIT);
        }
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let now = clock::now();
        let mut until = now + clock::millis(self.life.patience());
        if let Some(at) = self.timers.next() {
            until = until.min(at);
        }
        if self.accepting {
            until = until.min(self.accept_again_at);
        }
        Duration::from_millis(until.saturating_sub(now))
    }

    fn note_readiness(&mut self, index: usize, event: &Event) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if event.is_read_closed() || event.is_error() {
            slot.read_closed = true;
        }
        if event.is_readable() || slot.read_closed {
            slot.readable = true;
            let session = slot.id(index);
            match slot.phase {
                // Bytes before the ack: a ping is harmless, a packet is not; which it is shows when it is read.
                Phase::InFlight(_) | Phase::Stalled => slot.early = true,
                // Gone before its login was answered: its place need not wait for the answer.
                _ if slot.is_gone_unanswered() => {
                    return self.drop_slot(index, "closed by the device");
                }
                _ => {}
            }
            if !self.life.is_stopping() {
                self.ready.push_back(session);
            }
        }
        if event.is_writable() && slot.has_unsent() {
            let session = slot.id(index);
            if slot.flush().is_err() {
                self.drop_slot(index, "answer not sent");
            } else if !slot.has_unsent() && !self.life.is_stopping() {
                // It was not read meanwhile.
                self.ready.push_back(session);
            }
        }
    }

    /// Beats every so many rounds of a loop over sessions; `n` counts the rounds.
    pub(super) fn beat_within(&self, n: usize) {
        if n.is_multiple_of(ROUNDS_PER_BEAT) {
            self.life.beat();
        }
    }

    fn hear(&mut self) {
        self.inbox.reading();
        for n in 0..MESSAGES_PER_TURN {
            self.beat_within(n);
            if self.life.is_retired() {
                return;
            }
            let Ok(message) = self.messages.try_recv() else {
                return;
            };
            match message {
                PortMessage::Receipt { session, outcome } => self.handle_receipt(session, outcome),
                PortMessage::Registered {
                    session,
                    is_registered,
                } => {
                    self.handle_registered(session, is_registered);
                }
                PortMessage::Close { session, why } => self.close_asked(session, why),
                PortMessage::Adopt(stream, peer) => {
                    if stream.set_nonblocking(true).is_ok() {
                        self.open(TcpStream::from_std(stream), peer);
                    }
                }
                PortMessage::Room => self.retry_stalled(),
                PortMessage::Stop => return,
                PortMessage::DirectoryLoaded => self.retry_unknown(),
                PortMessage::Probe(passed) => self.pass_probe(passed),
            }
        }
    }

    /// The session at this slot, if it still is the one meant.
    pub(super) fn find(&mut self, session: SessionId) -> Option<(usize, &mut Slot)> {
        let index = usize::try_from(session.slot).ok()?;
        let slot = self.slots.get_mut(index)?;
        (slot.serial == session.serial).then_some((index, slot))
    }

    /// The way to a session of this thread.
    pub(super) fn session_ref(&self, session: SessionId) -> SessionRef {
        SessionRef {
            inbox: Arc::clone(&self.inbox),
            session,
        }
    }
}

/// The slot that an event is about; `None` for the waker and the listening socket.
pub(super) fn slot_of(event: &Event) -> Option<usize> {
    event.token().0.checked_sub(FIRST_SLOT)
}

/// An IMEI for a log line.
pub(super) fn text(imei: Option<crate::imei::Imei>) -> String {
    imei.map_or_else(|| "-".to_owned(), |imei| imei.to_string())
}
