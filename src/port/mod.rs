//! One tracker port: what its thread, its supervisor and the command line share of it.
//!
//! `bind.rs` makes its socket, or takes one that the process was started with (`passed.rs`), `thread.rs` is the loop of its thread,
//! `accept.rs` how connections come in, `strangers.rs` who of them has not logged in, `stalls.rs` whose packets stop half way,
//! `slot.rs` one connection, `turn.rs` how it is read, `resting.rs` when it is not, `login.rs` who is let
//! in, `handover.rs` the way to the writer and back, `ending.rs` how sessions end, `timers.rs` when what runs out, `traced.rs` what
//! somebody who looks at a device is shown. The supervisor
//! owns the listening socket and lends clones, so a replaced thread loses no waiting connection.

mod accept;
pub mod bind;
mod ending;
mod handover;
mod login;
pub mod passed;
mod resting;
mod slot;
mod stalls;
mod strangers;
pub mod thread;
mod timers;
mod traced;
mod turn;

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;
use mio::net::TcpStream;
use socket2::SockRef;

use crate::acks::Acks;
use crate::conf::{Limits, PortConf, Timeouts};
use crate::doors::Doors;
use crate::facts::{self, Fact};
use crate::fleet::Fleet;
use crate::imei::Imei;
use crate::intake::DirectoryMessage;
use crate::mailbox::{CloseReason, Inbox, PortMessage, SessionId, SessionRef};
use crate::notes::Notes;
use crate::room::{Room, Share};
use crate::trace::Traces;
pub use stalls::{Stall, Stalls};
use strangers::Stranger;
pub use strangers::Strangers;

/// What every port thread needs from the rest of the process.
#[derive(Clone)]
pub struct Surroundings {
    /// The devices.
    pub fleet: Arc<Fleet>,
    /// Room for deliveries.
    pub room: Arc<Room>,
    /// Bytes of incomplete packets, all ports together.
    pub receive_used: Arc<AtomicUsize>,
    /// Bytes of packets that wait for room, all ports together.
    pub waiting_used: Arc<AtomicUsize>,
    /// Sessions without a login, by address, of all ports together.
    pub strangers: Arc<Strangers>,
    /// Packets that stopped half way, by network.
    pub stalls: Arc<Stalls>,
    /// Sessions of all ports together.
    pub sessions_open: Arc<AtomicUsize>,
    /// How many there may be: the descriptors of the process, less those that the rest of it needs.
    pub sessions_max: Arc<AtomicUsize>,
    /// The ways to writers and spool.
    pub doors: Doors,
    /// The directory's queue.
    pub directory: Sender<DirectoryMessage>,
    /// The keeper's queue.
    pub notes: Notes,
    /// Whoever looks at devices.
    pub traces: Arc<Traces>,
    /// How long acks took.
    pub acks: Arc<Acks>,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[limits]`
    pub limits: Limits,
}

/// The name of the thread that serves the port with this label.
pub fn thread_name(label: &str) -> String {
    format!("port {label}")
}

/// One bound port.
pub struct Port {
    /// The resolved address and number: the port's identity.
    pub address: SocketAddr,
    /// The address as people write it; names the thread too.
    pub label: String,
    /// What the conf says of it, `accept` filled in from `[devices]`.
    pub conf: PortConf,
    /// Counters for people.
    pub counts: Counts,
    listener: TcpListener,
    share: Arc<Share>,
    /// One count for all generations: no two sessions of this port are ever taken for each other.
    next_serial: AtomicU32,
    inbox: Mutex<Option<Arc<Inbox>>>,
    sessions: Mutex<Sessions>,
    /// How many `sessions` there are; written under its lock.
    n_sessions: AtomicUsize,
    turn: Mutex<Turn>,
}

/// What a port has seen since the process began.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Packets acked.
    pub packets_acked: AtomicU64,
    /// Records acked.
    pub records_acked: AtomicU64,
    /// Packets that were given up un-acked when a thread ended; their devices send them again.
    pub packets_unacked: AtomicU64,
    /// Bytes read.
    pub bytes_read: AtomicU64,
    /// Microseconds since 1970 UTC of the last acked packet.
    pub last_ack_us: AtomicU64,
}

/// One connection as others see it.
#[derive(Clone, Debug)]
pub struct SessionEntry {
    /// Tells the slot's users apart.
    pub serial: u32,
    /// The socket: held here so that shutting it down from outside can never hit a stranger's descriptor.
    pub stream: Arc<TcpStream>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Who it is, once it said so.
    pub imei: Option<Imei>,
    /// Microseconds since 1970 UTC.
    pub connected_at_us: i64,
}

/// A connection as others see it, and its place among those that have not logged in. The place is kept here and not by the
/// thread, so that a thread that hangs keeps nobody out.
#[derive(Debug)]
struct Known {
    entry: SessionEntry,
    stranger: Option<Stranger>,
}

type Sessions = HashMap<u32, Known>;

/// The session that the thread is busy with, and the bytes: what to blame when it panics or hangs.
#[derive(Debug, Default)]
pub struct Turn {
    /// Whose session; `None` between turns.
    pub imei: Option<Imei>,
    /// What is being read.
    pub bytes: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked inside left plain data behind; it is as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    /// A port that serves `conf` on an already bound socket.
    pub fn new(conf: PortConf, address: SocketAddr, listener: TcpListener) -> Port {
        // Set here and not where the socket is made, because a socket may outlive the conf that it was bound with. What is
        // accepted inherits it; 0 takes a former bound away.
        let max_segment = u32::from(conf.max_segment.unwrap_or(0));
        if let Err(error) = SockRef::from(&listener).set_tcp_mss(max_segment) {
            let port = bind::label(&address);
            facts::say(
                Fact::PortPartly,
                format_args!("port={port} max_segment={max_segment} is not heeded: {error}"),
            );
        }
        Port {
            address,
            label: bind::label(&address),
            conf,
            counts: Counts::default(),
            listener,
            share: Arc::default(),
            next_serial: AtomicU32::new(0),
            inbox: Mutex::default(),
            sessions: Mutex::default(),
            n_sessions: AtomicUsize::new(0),
            turn: Mutex::default(),
        }
    }

    /// The same socket with another conf; sessions begin anew there.
    ///
    /// # Errors
    /// When the descriptor cannot be cloned.
    pub fn with_conf(&self, conf: PortConf) -> std::io::Result<Port> {
        Ok(Port::new(conf, self.address, self.listener.try_clone()?))
    }

    /// Sends to the thread that serves the port now.
    pub fn send(&self, message: PortMessage) {
        if let Some(inbox) = lock(&self.inbox).as_ref() {
            inbox.send(message);
        }
    }

    /// Shuts every session down from outside, for a thread that cannot do it any more, and forgets them.
    /// Returns those that had logged in.
    pub fn shut_down_sessions(&self) -> Vec<(Imei, SessionRef)> {
        let sessions = {
            let mut sessions = lock(&self.sessions);
            self.n_sessions.store(0, Ordering::Relaxed);
            std::mem::take(&mut *sessions)
        };
        for Known { entry, .. } in sessions.values() {
            // An error means that it is closed already.
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
        let Some(inbox) = lock(&self.inbox).clone() else {
            return Vec::new();
        };
        sessions
            .into_iter()
            .filter_map(|(slot, Known { entry, .. })| {
                let session = SessionId {
                    slot,
                    serial: entry.serial,
                };
                let inbox = Arc::clone(&inbox);
                Some((entry.imei?, SessionRef { inbox, session }))
            })
            .collect()
    }

    /// What the thread was busy with, taken out.
    pub fn take_turn(&self) -> Turn {
        std::mem::take(&mut *lock(&self.turn))
    }

    /// Of the open connections, those of `imei` if it is given: the first `limit` of them, and how many there are.
    pub fn sessions(&self, imei: Option<Imei>, limit: usize) -> (Vec<SessionEntry>, usize) {
        let sessions = lock(&self.sessions);
        let Some(imei) = imei else {
            // Copied under the lock that the thread needs for every connection: no more than is shown.
            let shown = sessions.values().take(limit);
            return (
                shown.map(|known| known.entry.clone()).collect(),
                sessions.len(),
            );
        };
        let mut shown = Vec::new();
        let mut total = 0;
        let entries = sessions.values().map(|known| &known.entry);
        for entry in entries.filter(|entry| entry.imei == Some(imei)) {
            total += 1;
            if shown.len() < limit {
                shown.push(entry.clone());
            }
        }
        (shown, total)
    }

    /// How many connections are open. Takes no lock.
    pub fn n_sessions(&self) -> usize {
        self.n_sessions.load(Ordering::Relaxed)
    }

    fn enter(&self, slot: u32, entry: SessionEntry, stranger: Option<Stranger>) {
        let mut sessions = lock(&self.sessions);
        sessions.insert(slot, Known { entry, stranger });
        self.n_sessions.store(sessions.len(), Ordering::Relaxed);
    }

    fn forget(&self, session: SessionId) {
        let mut sessions = lock(&self.sessions);
        // A retired thread that comes back to life must not forget a session of its successor.
        if sessions
            .get(&session.slot)
            .is_some_and(|known| known.entry.serial == session.serial)
        {
            sessions.remove(&session.slot);
            self.n_sessions.store(sessions.len(), Ordering::Relaxed);
        }
    }

    /// The session has logged in as `imei`.
    fn is_now(&self, session: SessionId, imei: Imei) {
        let mut sessions = lock(&self.sessions);
        if let Some(known) = sessions.get_mut(&session.slot)
            && known.entry.serial == session.serial
        {
            known.entry.imei = Some(imei);
            known.stranger = None;
        }
    }

    /// Asks the thread to close one session.
    pub fn close_session(&self, session: SessionId, why: CloseReason) {
        if let Some(inbox) = lock(&self.inbox).clone() {
            SessionRef { inbox, session }.close(why);
        }
    }

    fn begin_turn(&self, imei: Option<Imei>, bytes: &[u8]) {
        let mut turn = lock(&self.turn);
        turn.imei = imei;
        turn.bytes.clear();
        if imei.is_some() {
            turn.bytes.extend_from_slice(bytes);
        }
    }

    fn end_turn(&self) {
        lock(&self.turn).imei = None;
    }

    fn count_ack(&self, n_records: u8, at_us: i64) {
        self.counts.packets_acked.fetch_add(1, Ordering::Relaxed);
        self.counts
            .records_acked
            .fetch_add(u64::from(n_records), Ordering::Relaxed);
        self.counts
            .last_ack_us
            .store(u64::try_from(at_us).unwrap_or(0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::conf::{Listen, Protocol};

    #[test]
    fn a_device_is_asked_for_small_segments_and_no_longer_when_the_conf_stops_asking() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // What the device's side puts into one segment, once it has heard what it may.
        let segment = || {
            let device = TcpStream::connect(address).unwrap();
            SockRef::from(&device).tcp_mss().unwrap()
        };
        let conf = |max_segment| PortConf {
            listen: Listen::Address(address),
            protocol: Protocol::Teltonika,
            accept: None,
            allow: Vec::new(),
            device: None,
            max_segment,
        };
        let usual = segment();
        let port = Port::new(conf(Some(700)), address, listener);
        assert!(segment() <= 700, "{} bytes, usually {usual}", segment());
        assert!(usual > 1460, "loopback carries large segments: {usual}");
        let _port = port.with_conf(conf(None)).unwrap();
        assert_eq!(segment(), usual);
    }

    #[test]
    fn a_list_of_sessions_is_cut_short_and_still_counts_them_all() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let imeis =
            ["350000000000014", "350000000000022"].map(|imei| imei.parse::<Imei>().unwrap());
        let conf = PortConf {
            listen: Listen::Address(address),
            protocol: Protocol::Teltonika,
            accept: None,
            allow: Vec::new(),
            device: None,
            max_segment: None,
        };
        let port = Port::new(conf, address, listener);
        for slot in 0..4 {
            let entry = SessionEntry {
                serial: slot,
                stream: Arc::new(mio::net::TcpStream::connect(address).unwrap()),
                peer: address,
                imei: imeis.get(slot as usize).copied(),
                connected_at_us: 0,
            };
            port.enter(slot, entry, None);
        }
        let (shown, total) = port.sessions(None, 3);
        assert_eq!((shown.len(), total, port.n_sessions()), (3, 4, 4));
        let (shown, total) = port.sessions(Some(imeis[1]), 0);
        assert_eq!((shown.len(), total), (0, 1));
        // What is gone is not counted, and a slot that was taken again is not given up for its former session.
        port.forget(SessionId { slot: 1, serial: 1 });
        port.forget(SessionId { slot: 2, serial: 1 });
        assert_eq!(port.n_sessions(), 3);
        port.shut_down_sessions();
        assert_eq!(port.n_sessions(), 0);
    }
}
