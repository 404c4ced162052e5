//! The loop of one port thread: accept, read, hand over, hear receipts, answer, time out.
//!
//! It blocks in one place, the readiness wait, and that with a time-out so that it beats. Everything else is non-blocking.
//! Sockets are edge-triggered: a socket is read until it is empty or its turn's budget of bytes is used, in which case it
//! stands in `ready` for the next turn, so that a loud tracker starves no other.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::slot::{Got, Phase, Slot};
use super::timers::Timers;
use super::{Port, SessionEntry, Surroundings, lock};
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::life::Life;
use crate::mailbox::{CloseReason, Inbox, PortMessage, SessionId, SessionRef};
use crate::notes::Note;
use crate::protocol::teltonika::session::{self, Expired, LOGIN_REFUSED, Output, Session};

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Tokens of sessions are slots plus this.
const FIRST_SLOT: usize = 2;

/// Bytes that one session may have read in one turn.
const TURN_BYTES: usize = 64 * 1024;
/// Bytes asked of a socket at once.
const READ_BYTES: usize = 16 * 1024;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// Messages heard in one turn.
const MESSAGES_PER_TURN: usize = 16_384;
/// How long accepting rests when descriptors are used up.
const ACCEPT_REST_MS: Millis = 100;
/// How long a closed connection's last bytes are thrown away before its descriptor is given up.
const LINGER_MS: Millis = 1_000;

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
    messages: Receiver<PortMessage>,
    poll: Poll,
    listener: TcpListener,
    accepting: bool,
    accept_again_at: Millis,
    ready: VecDeque<SessionId>,
    /// Sessions that began to hold bytes, the oldest first; checked when looked at.
    holding: VecDeque<SessionId>,
    scratch: Vec<u8>,
    next_serial: u32,
    timeouts: session::Timeouts,
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
            scratch: vec![0; around.limits.packet + READ_BYTES],
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
            next_serial: 0,
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
                match event.token() {
                    WAKER => {}
                    LISTENER => self.accepting = true,
                    Token(token) => self.note_readiness(token - FIRST_SLOT, event),
                }
            }
            self.hear();
            if !self.life.is_stopping() {
                self.accept();
                self.take_turns();
                self.time_out();
            }
        }
        Ok(())
    }

    /// How long the readiness wait may last.
    fn wait(&self) -> Duration {
        if !self.ready.is_empty() || !self.messages.is_empty() {
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
            if matches!(slot.phase, Phase::InFlight(_) | Phase::Stalled) {
                // Bytes before the ack: a ping is harmless, a packet is not; which it is shows when it is read.
                slot.early = true;
            }
            let session = slot.id(index);
            self.ready.push_back(session);
        }
        if event.is_writable() && slot.has_outgoing() && slot.flush().is_err() {
            self.drop_slot(index, "answer not sent");
        }
    }

    fn hear(&mut self) {
        self.inbox.reading();
        for _ in 0..MESSAGES_PER_TURN {
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
                PortMessage::WriterGone(writer) => self.handle_writer_gone(writer),
                PortMessage::Room => self.retry_stalled(),
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
        let address = peer.ip().to_canonical();
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
        self.next_serial = self.next_serial.wrapping_add(1);
        let stream = Arc::new(stream);
        let session = Session::new(clock::now(), port.conf.device.is_some());
        let slot = entry.insert(Slot::new(
            Arc::clone(&stream),
            peer,
            self.next_serial,
            session,
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
        lock(&port.sessions).insert(id.slot, entry);
        port.counts.connections.fetch_add(1, Ordering::Relaxed);
        facts::say(Fact::Connected, format_args!("port={label} peer={peer}"));
        self.ready.push_back(id);
    }

    fn take_turns(&mut self) {
        // Only those that stand there now: who comes back waits for the next round, after the new events.
        for _ in 0..self.ready.len() {
            let Some(session) = self.ready.pop_front() else {
                return;
            };
            if let Some((index, _)) = self.find(session) {
                self.turn(index);
            }
        }
    }

    /// Lets one session read and be read, within its budget of bytes.
    pub(super) fn turn(&mut self, index: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.turn_with(index, &mut scratch);
        self.scratch = scratch;
        self.port.end_turn();
    }

    fn turn_with(&mut self, index: usize, scratch: &mut [u8]) {
        let mut budget = TURN_BYTES;
        // What is held was looked at already, unless something before it has been answered meanwhile.
        let mut fresh = true;
        loop {
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            match slot.phase {
                Phase::Open => {}
                Phase::Closing(_) => return self.discard(index, scratch),
                _ => return,
            }
            let held = slot.held.len();
            scratch[..held].copy_from_slice(&slot.held);
            let mut filled = held;
            if slot.readable && (held == 0 || !fresh) && !slot.at_end {
                match slot.read(&mut scratch[held..held + READ_BYTES]) {
                    Got::Bytes(n) => {
                        filled += n;
                        budget = budget.saturating_sub(n);
                        let total = &self.port.counts.bytes_read;
                        total.fetch_add(n as u64, Ordering::Relaxed);
                    }
                    Got::Nothing => {}
                    Got::End => slot.at_end = true,
                    Got::Broken(error) => {
                        let text = error.to_string();
                        return self.drop_slot(index, &text);
                    }
                }
            }
            if filled > held || (fresh && held > 0) {
                self.port.begin_turn(slot.imei(), &scratch[..filled]);
                let consumed = self.process(index, &scratch[..filled]);
                self.hold(index, &scratch[consumed..filled]);
            }
            fresh = false;
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            if slot.at_end && matches!(slot.phase, Phase::Open) {
                return self.close(index, "closed by the device");
            }
            if !slot.readable || !matches!(slot.phase, Phase::Open) {
                return;
            }
            if budget == 0 {
                let session = slot.id(index);
                self.ready.push_back(session);
                return;
            }
        }
    }

    /// Feeds the session until it wants more bytes or waits for something. Returns how many bytes it took.
    fn process(&mut self, index: usize, input: &[u8]) -> usize {
        let packet_max = self.around.limits.packet;
        let mut taken = 0;
        loop {
            let Some(slot) = self.slots.get_mut(index) else {
                return taken;
            };
            if !matches!(slot.phase, Phase::Open) || !slot.session.wants_bytes() {
                return taken;
            }
            let rest = input.get(taken..).unwrap_or_default();
            let (consumed, output) = slot.session.handle_bytes(rest, packet_max, clock::now());
            taken += consumed;
            match output {
                Output::Need(_) => return taken,
                Output::Ping => {}
                Output::Login(imei) => self.log_in(index, imei),
                Output::BadLogin(error) => {
                    let (port, peer) = (&self.port.label, slot.peer);
                    facts::say(
                        Fact::LoginRefused,
                        format_args!("port={port} peer={peer} imei=- error={error}"),
                    );
                    self.answer_and_close(index, &LOGIN_REFUSED, "login refused");
                }
                Output::Packet(packet) => {
                    fail::fail_point!("port-packet");
                    self.take_packet(index, packet.n_records, packet.frame, taken < input.len());
                }
                Output::Broken {
                    frame,
                    error,
                    declared,
                } => {
                    self.take_broken(index, frame, error, declared);
                }
                Output::Command { codec_id } => {
                    let (port, imei) = (&self.port.label, text(slot.imei()));
                    facts::say(
                        Fact::CommandFrame,
                        format_args!("port={port} imei={imei} codec={codec_id}"),
                    );
                }
                Output::Garbage(error) => {
                    let (port, peer, imei) = (&self.port.label, slot.peer, text(slot.imei()));
                    facts::say(
                        Fact::NotTheProtocol,
                        format_args!("port={port} peer={peer} imei={imei} error={error}"),
                    );
                    self.close(index, "not the protocol");
                }
                Output::BeforeLogin => {
                    let (port, peer) = (&self.port.label, slot.peer);
                    facts::say(
                        Fact::PacketBeforeLogin,
                        format_args!(
                            "port={port} peer={peer}: a port with `device` takes packets without a login"
                        ),
                    );
                    self.close(index, "packet before login");
                }
            }
        }
    }

    /// Keeps what was not taken, within the budget of all ports.
    fn hold(&mut self, index: usize, rest: &[u8]) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let before = slot.held.capacity();
        let began = before == 0 && !rest.is_empty();
        if rest.is_empty() {
            slot.held = Vec::new();
        } else {
            slot.held.clear();
            slot.held.extend_from_slice(rest);
        }
        let after = slot.held.capacity();
        let session = slot.id(index);
        let deadline = slot.session.deadline(&self.timeouts);
        self.timers.plan(session, &mut slot.planned, deadline);
        if began {
            self.holding.push_back(session);
        }
        let used = &self.around.receive_used;
        if after > before {
            let total = used.fetch_add(after - before, Ordering::AcqRel) + after - before;
            if total > self.around.limits.receive {
                self.shed(total);
            }
        } else if before > after {
            used.fetch_sub(before - after, Ordering::AcqRel);
        }
        // Sessions that hold nothing any more leave the queue when it has grown twice as long as the table.
        if self.holding.len() > 2 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.holding.retain(|session| {
                slots
                    .get(session.slot as usize)
                    .is_some_and(|slot| slot.serial == session.serial && !slot.held.is_empty())
            });
        }
    }

    /// Closes the session that has held an incomplete packet longest.
    fn shed(&mut self, total: usize) {
        while let Some(session) = self.holding.pop_front() {
            let Some((index, slot)) = self.find(session) else {
                continue;
            };
            if slot.held.is_empty() || !matches!(slot.phase, Phase::Open) {
                continue;
            }
            let (peer, imei) = (slot.peer, text(slot.imei()));
            let port = &self.port.label;
            facts::say(
                Fact::ReceiveFull,
                format_args!(
                    "port={port} peer={peer} imei={imei} bytes={total}: raise [limits] receive"
                ),
            );
            return self.close(index, "receive budget used up");
        }
    }

    fn time_out(&mut self) {
        let now = clock::now();
        while let Some((session, at)) = self.timers.due(now) {
            let timeouts = self.timeouts;
            let Some((index, slot)) = self.find(session) else {
                continue;
            };
            if slot.planned != at {
                continue;
            }
            slot.planned = Millis::MAX;
            let next = match slot.phase {
                Phase::Closing(until) if until <= now => {
                    self.free(index);
                    continue;
                }
                Phase::Closing(until) => until,
                Phase::Damped(imei, until) if until <= now => {
                    slot.phase = Phase::Open;
                    self.log_in(index, imei);
                    self.turn(index);
                    continue;
                }
                Phase::Damped(_, until) => until,
                _ => {
                    if let Some(expired) = slot.session.expired(&timeouts, now) {
                        self.expire(index, expired);
                        continue;
                    }
                    slot.session.deadline(&timeouts)
                }
            };
            if let Some(slot) = self.slots.get_mut(index) {
                self.timers.plan(session, &mut slot.planned, next);
            }
        }
    }

    fn expire(&mut self, index: usize, expired: Expired) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let (port, peer, imei) = (&self.port.label, slot.peer, text(slot.imei()));
        let (fact, why) = match expired {
            Expired::Login => (Fact::LoginTimeout, "no login in time"),
            Expired::Idle => (Fact::IdleTimeout, "idle too long"),
            Expired::HalfPacket => (Fact::PacketTimeout, "packet not completed in time"),
        };
        let bytes = slot.held.len();
        facts::say(
            fact,
            format_args!("port={port} peer={peer} imei={imei} bytes_received={bytes}"),
        );
        self.close(index, why);
    }

    fn close_asked(&mut self, session: SessionId, why: CloseReason) {
        let Some((index, slot)) = self.find(session) else {
            return;
        };
        let imei = text(slot.imei());
        let peer = slot.peer;
        let (fact, why) = match why {
            CloseReason::TakenOver => (Fact::TakenOver, "taken over by a newer login"),
            CloseReason::Refused => (Fact::SessionClosed, "device no longer accepted"),
            CloseReason::Asked => (Fact::SessionClosed, "asked over the control socket"),
        };
        facts::say(
            fact,
            format_args!("port={} imei={imei} peer={peer} why={why}", self.port.label),
        );
        self.close(index, why);
    }

    pub(super) fn answer_and_close(&mut self, index: usize, answer: &[u8], why: &str) {
        if let Some(slot) = self.slots.get_mut(index) {
            // A failed write means that nobody is there to read it.
            let _ = slot.send(answer);
        }
        self.close(index, why);
    }

    /// Ends a session: nothing more is sent after what was sent, and what still comes is thrown away for a moment, so
    /// that an ack on its way is not destroyed by a reset.
    pub(super) fn close(&mut self, index: usize, why: &str) {
        self.part(index, why);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.at_end {
            return self.free(index);
        }
        slot.shut_down_writing();
        let until = clock::now() + LINGER_MS;
        slot.phase = Phase::Closing(until);
        slot.readable = true;
        let session = slot.id(index);
        self.timers.plan(session, &mut slot.planned, until);
        self.ready.push_back(session);
    }

    /// Ends a session whose connection is broken.
    pub(super) fn drop_slot(&mut self, index: usize, why: &str) {
        self.part(index, why);
        self.free(index);
    }

    /// The device leaves and everything held is let go. Idempotent.
    fn part(&mut self, index: usize, why: &str) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if matches!(slot.phase, Phase::Closing(_)) {
            return;
        }
        let freed = std::mem::take(&mut slot.held).capacity();
        self.around.receive_used.fetch_sub(freed, Ordering::AcqRel);
        if let Phase::InFlight(_) = slot.phase {
            self.n_in_flight -= 1;
        }
        slot.phase = Phase::Open;
        slot.pending = None;
        let (peer, imei, session) = (slot.peer, text(slot.imei()), slot.id(index));
        let device = slot.device.take();
        facts::say(
            Fact::Disconnected,
            format_args!("port={} peer={peer} imei={imei} why={why}", self.port.label),
        );
        if let Some(device) = device
            && device.leave(&self.session_ref(session))
        {
            let at_us = clock::wall_us();
            self.around.notes.leave(Note::LoggedOut {
                device_id: device.id(),
                at_us,
            });
        }
    }

    /// Reads what still comes on a closed session and forgets it.
    fn discard(&mut self, index: usize, scratch: &mut [u8]) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        match slot.read(scratch) {
            Got::Bytes(_) if slot.readable => {
                let session = slot.id(index);
                self.ready.push_back(session);
            }
            Got::Bytes(_) | Got::Nothing => {}
            Got::End | Got::Broken(_) => self.free(index),
        }
    }

    fn free(&mut self, index: usize) {
        if let Some(slot) = self.slots.try_remove(index) {
            lock(&self.port.sessions).remove(&slot.id(index).slot);
            // The descriptor closes with its last owner and leaves the readiness wait by that.
        }
    }

    /// Lets every session go; a device that waits for an ack will send again.
    fn end(&mut self) {
        let unacked = self.n_in_flight + self.stalled.len();
        if unacked > 0 {
            facts::say(
                Fact::DeliveriesDropped,
                format_args!(
                    "port={} packets={unacked}: their devices send them again",
                    self.port.label
                ),
            );
        }
        let indices: Vec<usize> = self.slots.iter().map(|(index, _)| index).collect();
        for index in indices {
            if let Some(slot) = self.slots.get_mut(index) {
                // Acks that receipts on their way allow were written before the writers ended; see the order of stopping.
                let _ = slot.flush();
                let _ = slot.stream.shutdown(Shutdown::Write);
            }
            self.drop_slot(index, "port stopped");
        }
    }
}

/// An IMEI for a log line.
pub(super) fn text(imei: Option<crate::imei::Imei>) -> String {
    imei.map_or_else(|| "-".to_owned(), |imei| imei.to_string())
}
