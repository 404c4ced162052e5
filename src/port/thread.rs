//! The loop of one port thread: accept, read, hand over, hear receipts, answer, time out.
//!
//! It blocks in one place, the readiness wait, and that with a time-out so that it beats. Everything else is non-blocking.
//! Sockets are edge-triggered: a socket is read until it is empty or its turn's budget of bytes is used, in which case it
//! stands in `ready` for the next turn, so that a loud tracker starves no other.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::slot::{Kept, Phase, Place, Slot};
use super::timers::Timers;
use super::{Port, SessionEntry, Surroundings, lock};
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::life::Life;
use crate::mailbox::{Inbox, PortMessage, SessionId, SessionRef};
use crate::protocol::teltonika::session::{self, Session};

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Tokens of sessions are slots plus this.
const FIRST_SLOT: usize = 2;

/// Bytes asked of a socket at once.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// Rounds of a loop over sessions between two beats.
const ROUNDS_PER_BEAT: usize = 1024;
/// Messages heard in one turn.
const MESSAGES_PER_TURN: usize = 16_384;
/// How long accepting rests when descriptors are used up.
const ACCEPT_REST_MS: Millis = 100;
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
    /// Sessions that began to hold bytes, the oldest first; checked when looked at.
    pub(super) holding: VecDeque<SessionId>,
    pub(super) scratch: Vec<u8>,
    pub(super) timeouts: session::Timeouts,
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
                Phase::InFlight | Phase::Stalled => slot.early = true,
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
        if event.is_writable() && slot.has_outgoing() && slot.flush().is_err() {
            self.drop_slot(index, "answer not sent");
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

    fn accept(&mut self) {
        if !self.accepting || clock::now() < self.accept_again_at {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let max = self.around.sessions_max.load(Ordering::Relaxed);
            if self.around.sessions_open.load(Ordering::Relaxed) >= max {
                let port = &self.port.label;
                facts::say(
                    Fact::NoDescriptors,
                    format_args!(
                        "port={port} sessions={max}: the others are kept for the database; raise LimitNOFILE"
                    ),
                );
                self.accept_again_at = clock::now() + ACCEPT_REST_MS;
                return;
            }
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if self.life.is_retired() {
                        self.hand_on(stream, peer);
                    } else {
                        self.open(stream, peer);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accepting = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // EMFILE and ENFILE have no kind of their own. Whatever it is, the sessions go on.
                    let fact = match error.raw_os_error() {
                        Some(23 | 24) => Fact::NoDescriptors,
                        _ => Fact::AcceptFailed,
                    };
                    let port = &self.port.label;
                    facts::say(
                        fact,
                        format_args!("port={port} sessions={} error={error}", self.slots.len()),
                    );
                    self.accept_again_at = clock::now() + ACCEPT_REST_MS;
                    return;
                }
            }
        }
        // More may wait: no edge will tell of them.
        self.accept_again_at = clock::now();
    }

    /// Gives a connection to the thread that took this one's place.
    fn hand_on(&self, stream: TcpStream, peer: SocketAddr) {
        self.port.send(PortMessage::Adopt(stream.into(), peer));
    }

    fn open(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let port = Arc::clone(&self.port);
        let label = &port.label;
        // An IPv4 address that came in by the IPv6 socket is shown and matched as what it is.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let address = peer.ip();
        if !port.conf.allow.is_empty() && !port.conf.allow.iter().any(|net| net.contains(&address))
        {
            facts::say(
                Fact::AddressNotAllowed,
                format_args!("port={label} peer={peer}: add its network to the port's `allow`"),
            );
            return;
        }
        if self.slots.len() >= self.around.limits.sessions_per_port {
            facts::say(
                Fact::PortFull,
                format_args!(
                    "port={label} peer={peer} sessions={}: raise [limits] sessions_per_port",
                    self.slots.len()
                ),
            );
            return;
        }
        // Acks are four bytes that a device waits for.
        let _ = stream.set_nodelay(true);
        let entry = self.slots.vacant_entry();
        let index = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) =
            self.poll
                .registry()
                .register(&mut stream, Token(index + FIRST_SLOT), interest)
        {
            facts::say(
                Fact::AcceptFailed,
                format_args!("port={label} peer={peer} error={error}"),
            );
            return;
        }
        let serial = port.next_serial.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(stream);
        let session = Session::new(clock::now(), port.conf.device.is_some());
        let slot = entry.insert(Slot::new(
            Arc::clone(&stream),
            peer,
            serial,
            session,
            Place::take(&self.around.sessions_open),
            &self.kept,
        ));
        let id = slot.id(index);
        let deadline = slot.session.deadline(&self.timeouts);
        self.timers.plan(id, &mut slot.planned, deadline);
        let connected_at_us = clock::wall_us();
        let entry = SessionEntry {
            serial: id.serial,
            stream,
            peer,
            imei: None,
            connected_at_us,
        };
        port.enter(id.slot, entry);
        port.counts.connections.fetch_add(1, Ordering::Relaxed);
        facts::say(Fact::Connected, format_args!("port={label} peer={peer}"));
        self.ready.push_back(id);
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
