//! One connection in a port's table: its socket, its protocol session and what it waits for.
//!
//! Bytes are kept here only while an item is incomplete or something before it waits for its answer. An idle logged-in
//! connection holds none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

use crate::clock::{Micros, Millis};
use crate::fleet::Device;
use crate::imei::Imei;
use crate::intake::Content;
use crate::mailbox::SessionId;
use crate::protocol::teltonika::session::{Session, Timeouts};

/// What a connection waits for.
#[derive(Debug)]
pub(super) enum Phase {
    /// Bytes.
    Open,
    /// The directory, which registers the device.
    Asking(Imei),
    /// The device list: nobody can say yet whether the device is known.
    Unknown(Imei),
    /// Its turn: two connections push each other out, or the device logs in too often.
    Damped(Imei, Millis),
    /// Its time: more was read of the device than it may send.
    Slowed(Millis),
    /// Room in the queue, with the packet ready.
    Stalled,
    /// The receipt of its packet, which was whole at this time.
    InFlight(Micros),
    /// The other side to read the last answer; what it still sends is thrown away.
    Closing(Millis),
}

/// The bytes that sessions keep of one kind: those of all ports, which have one budget, and those of one thread.
#[derive(Debug)]
pub(super) struct Kept {
    all: Arc<AtomicUsize>,
    mine: AtomicUsize,
}

impl Kept {
    /// A thread that keeps nothing yet; `all` counts the bytes of all ports.
    pub(super) fn new(all: Arc<AtomicUsize>) -> Kept {
        let mine = AtomicUsize::new(0);
        Kept { all, mine }
    }

    /// The bytes of all ports, if they are more than `budget` and this thread is to give some back: one that keeps less
    /// than an equal share of the budget leaves that to those that keep more.
    pub(super) fn too_much(&self, budget: usize, n_ports: usize) -> Option<usize> {
        let all = self.all.load(Ordering::Acquire);
        let mine = self.mine.load(Ordering::Acquire);
        (all > budget && mine >= budget / n_ports.max(1)).then_some(all)
    }

    fn change(&self, before: usize, after: usize) {
        for count in [&*self.all, &self.mine] {
            count.fetch_add(after, Ordering::AcqRel);
            count.fetch_sub(before, Ordering::AcqRel);
        }
    }
}

/// Bytes that a session keeps, counted for as long as they live, so that a thread that panics gives them back as well.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    kept: Arc<Kept>,
}

impl Held {
    /// Keeps `rest` in place of what was kept.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        let before = self.bytes.capacity();
        if rest.is_empty() {
            // An idle session keeps no buffer.
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
            self.bytes.extend_from_slice(rest);
        }
        self.kept.change(before, self.bytes.capacity());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.kept.change(self.bytes.capacity(), 0);
    }
}

/// The bytes of a packet that is not handed over yet, counted for as long as it lives.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: usize,
    waiting: Arc<Kept>,
}

impl Weight {
    pub(super) fn new(bytes: usize, waiting: &Arc<Kept>) -> Weight {
        waiting.change(0, bytes);
        let waiting = Arc::clone(waiting);
        Weight { bytes, waiting }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.waiting.change(self.bytes, 0);
    }
}

/// One descriptor's place among those that sessions may have; given up when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(super) fn take(open: &Arc<AtomicUsize>) -> Place {
        open.fetch_add(1, Ordering::AcqRel);
        Place(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A packet that is not handed over yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) frame: Box<[u8]>,
    pub(super) n_records: u8,
    pub(super) content: Content,
    pub(super) received_at_us: i64,
    /// The same on the monotonic clock.
    pub(super) received_at: Micros,
    pub(super) maybe_resend: bool,
    pub(super) _weight: Weight,
}

/// An answer that the socket did not take yet. There is never more than one: nothing is read and nothing is answered before it
/// is gone, so a device that reads no answers makes nothing grow.
#[derive(Debug, Default)]
struct Unsent {
    bytes: [u8; ANSWER_BYTES],
    n: u8,
}

/// The longest answer.
const ANSWER_BYTES: usize = 4;

/// One connection.
#[derive(Debug)]
pub(super) struct Slot {
    _place: Place,
    pub(super) stream: Arc<TcpStream>,
    pub(super) peer: SocketAddr,
    pub(super) serial: u32,
    pub(super) session: Session,
    pub(super) phase: Phase,
    pub(super) device: Option<Arc<Device>>,
    /// Bytes behind which something is missing, or before which something is waited for.
    pub(super) held: Held,
    pub(super) pending: Option<Box<Pending>>,
    unsent: Unsent,
    /// Since when there is something unsent.
    unsent_since: Millis,
    /// When it is looked at next.
    pub(super) planned: Millis,
    /// The socket may have bytes.
    pub(super) readable: bool,
    /// The other side will send no more; reading to the end tells so.
    pub(super) read_closed: bool,
    /// The end was read.
    pub(super) at_end: bool,
    /// Its login was not told yet, because the device had no id.
    pub(super) is_login_untold: bool,
    /// Bytes came while a packet waited for its ack.
    pub(super) early: bool,
    /// The device was already reported for not waiting.
    pub(super) early_reported: bool,
    /// It stands in the queue of those that are read when bytes are given back.
    pub(super) rests: bool,
    /// The device was already reported for sending too much.
    pub(super) slowed_reported: bool,
}

/// What a read gave.
pub(super) enum Got {
    /// This many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end.
    End,
    /// The connection is broken.
    Broken(io::Error),
}

impl Slot {
    pub(super) fn new(
        stream: Arc<TcpStream>,
        peer: SocketAddr,
        serial: u32,
        session: Session,
        place: Place,
        kept: &Arc<Kept>,
    ) -> Slot {
        Slot {
            _place: place,
            stream,
            peer,
            serial,
            session,
            phase: Phase::Open,
            device: None,
            held: Held {
                bytes: Vec::new(),
                kept: Arc::clone(kept),
            },
            pending: None,
            unsent: Unsent::default(),
            unsent_since: 0,
            planned: Millis::MAX,
            readable: true,
            read_closed: false,
            at_end: false,
            is_login_untold: false,
            early: false,
            early_reported: false,
            rests: false,
            slowed_reported: false,
        }
    }

    pub(super) fn id(&self, index: usize) -> SessionId {
        SessionId {
            slot: u32::try_from(index).expect("a port has fewer than 2^32 sessions"),
            serial: self.serial,
        }
    }

    /// When it is looked at next, if nothing happens before.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Millis {
        let next = match self.phase {
            Phase::Closing(until) | Phase::Damped(_, until) | Phase::Slowed(until) => until,
            _ => self.session.deadline(timeouts),
        };
        self.answer_deadline(timeouts)
            .map_or(next, |until| next.min(until))
    }

    /// Until when an answer that waits for the socket may wait: as long as a packet may take.
    fn answer_deadline(&self, timeouts: &Timeouts) -> Option<Millis> {
        self.has_unsent()
            .then(|| self.unsent_since.saturating_add(timeouts.packet_ms))
    }

    /// Whether the other side has not taken an answer for longer than it may.
    pub(super) fn reads_no_answers(&self, timeouts: &Timeouts, now: Millis) -> bool {
        self.answer_deadline(timeouts)
            .is_some_and(|until| until <= now)
    }

    /// Whether whoever is connected may send packets: as a device that has logged in, or on a port that is one device's.
    pub(super) fn is_known(&self) -> bool {
        self.session.is_known()
    }

    pub(super) fn imei(&self) -> Option<Imei> {
        self.device.as_ref().map(|device| device.imei)
    }

    /// Whether it waits to push another connection out, and the other side has closed already. In other phases a closed
    /// side may still want its answer.
    pub(super) fn is_gone_unanswered(&self) -> bool {
        self.read_closed && matches!(self.phase, Phase::Damped(..))
    }

    /// Reads once. A short read means that the socket is empty: the next edge tells of more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Got {
        loop {
            return match (&*self.stream).read(buffer) {
                Ok(0) => Got::End,
                Ok(n) => {
                    self.readable = n == buffer.len() || self.read_closed;
                    Got::Bytes(n)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    Got::Nothing
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Got::Broken(error),
            };
        }
    }

    /// Sends an answer, keeping what the socket does not take.
    ///
    /// # Errors
    /// When the connection is broken, or an earlier answer still waits, which no caller lets happen.
    pub(super) fn send(&mut self, answer: &[u8], now: Millis) -> io::Result<()> {
        if self.has_unsent() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let Some(place) = self.unsent.bytes.get_mut(..answer.len()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        place.copy_from_slice(answer);
        self.unsent.n = u8::try_from(answer.len()).unwrap_or(0);
        self.unsent_since = now;
        self.flush()
    }

    /// Sends what was kept.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.has_unsent() {
            let n = usize::from(self.unsent.n);
            let sent = match (&*self.stream).write(&self.unsent.bytes[..n]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => sent,
                // The socket tells when it takes more.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.unsent.bytes.copy_within(sent..n, 0);
            self.unsent.n -= u8::try_from(sent).unwrap_or(self.unsent.n);
        }
        Ok(())
    }

    /// Whether an answer still waits for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.n > 0
    }

    /// What waits for the socket is not sent any more.
    pub(super) fn forget_unsent(&mut self) {
        self.unsent.n = 0;
    }

    /// What the kernel keeps for the other side will be thrown away with the descriptor.
    pub(super) fn give_up_sending(&self) {
        // An error means that the connection is gone already.
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Says that nothing more will be sent.
    pub(super) fn shut_down_writing(&self) {
        // An error means that the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

// A port may hold a million connections, most of them idle.
const _: () = assert!(size_of::<Slot>() <= 192);

#[cfg(test)]
mod tests {
    use super::*;

    fn held(kept: &Arc<Kept>) -> Held {
        let (bytes, kept) = (Vec::new(), Arc::clone(kept));
        Held { bytes, kept }
    }

    #[test]
    fn a_port_that_keeps_little_gives_nothing_back_for_one_that_keeps_much() {
        let all = Arc::new(AtomicUsize::new(0));
        let [loud, quiet] = [0, 1].map(|_| Arc::new(Kept::new(Arc::clone(&all))));
        let (mut much, mut little) = (held(&loud), held(&quiet));
        much.keep(&[0; 950]);
        little.keep(&[0; 100]);
        assert_eq!(quiet.too_much(1000, 2), None);
        assert_eq!(loud.too_much(1000, 2), Some(1050));
        much.keep(&[]);
        assert_eq!(loud.too_much(1000, 2), None);
        drop(little);
        assert_eq!(all.load(Ordering::Acquire), 0);
    }
}
