//! How connections come in: as many as there are places, by descriptors, port and address, and who is allowed at all.
//!
//! Whatever is used up, the sessions that are there go on, and accepting goes on when there is a place again.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::SessionEntry;
use super::slot::{Place, Slot};
use super::strangers::Stranger;
use super::thread::{FIRST_SLOT, Thread};
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::mailbox::PortMessage;
use crate::protocol::teltonika::session::Session;

/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// How long accepting rests when descriptors are used up.
const ACCEPT_REST_MS: Millis = 100;

impl Thread {
    pub(super) fn accept(&mut self) {
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
                    let (fact, remedy) = match error.raw_os_error() {
                        Some(23) => (Fact::NoDescriptors, ": raise the system's fs.file-max"),
                        Some(24) => (Fact::NoDescriptors, ": raise LimitNOFILE"),
                        _ => (Fact::AcceptFailed, ""),
                    };
                    let (port, sessions) = (&self.port.label, self.slots.len());
                    facts::say(
                        fact,
                        format_args!("port={port} sessions={sessions} error={error}{remedy}"),
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

    /// Counts a connection among those of its address that have not logged in; the error says how many may be. One address is
    /// never given more than three quarters of the descriptors, so that it alone cannot keep all others out. Networks in the port's
    /// `allow` are trusted: a whole fleet may come from one address there.
    fn enter(&self, peer: SocketAddr) -> Result<Option<Stranger>, usize> {
        if !self.port.conf.allow.is_empty() {
            return Ok(None);
        }
        let all = self.around.sessions_max.load(Ordering::Relaxed);
        let max = self.around.limits.sessions_per_address.min(all / 4 * 3);
        let stranger = self.around.strangers.enter(peer.ip(), max);
        stranger.map(Some).ok_or(max)
    }

    /// Begins a session, if there is a place for one from there.
    pub(super) fn open(&mut self, mut stream: TcpStream, peer: SocketAddr) {
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
        let stranger = match self.enter(peer) {
            Ok(stranger) => stranger,
            Err(max) => {
                let is_key = max == self.around.limits.sessions_per_address;
                let raise = if is_key {
                    "[limits] sessions_per_address"
                } else {
                    "LimitNOFILE"
                };
                return facts::say(
                    Fact::AddressFull,
                    format_args!(
                        "port={label} peer={peer} sessions_without_login={max}: raise {raise}, or add its network to the port's `allow`"
                    ),
                );
            }
        };
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
        port.enter(id.slot, entry, stranger);
        port.counts.connections.fetch_add(1, Ordering::Relaxed);
        facts::say(Fact::Connected, format_args!("port={label} peer={peer}"));
        self.ready.push_back(id);
    }
}
