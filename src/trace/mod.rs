//! Traces: what is read from one device and written to it, shown to whoever asked for it while it happens.
//!
//! Ports ask whether anybody looks at an IMEI, which costs one atomic while nobody does, and say what they see. Each trace has a bounded
//! queue and a thread of its own behind it (`scribe.rs`), which makes lines of that (`words.rs`). Whoever reads slowly misses pieces and is told how many:
//! a port waits for no trace. A login is traced by the IMEI that it says, whether or not there is such a device.

mod scribe;
mod words;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::clock::{self, Millis};
use crate::imei::Imei;
use crate::mailbox::Outcome;

pub use scribe::{Scribe, Sink};

/// The longest trace.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Traces at once, at most.
pub const TRACES_MAX: usize = 8;
/// Pieces that wait in one trace's queue, at most.
const PIECES_MAX: usize = 4096;
/// Bytes of them together, at most.
const BYTES_MAX: usize = 1 << 20;
/// No IMEI is traced at this place.
const NOBODY: u64 = u64::MAX;

/// Where something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The port's number.
    pub port: u16,
    /// The other side.
    pub peer: SocketAddr,
    /// Tells the port's sessions apart.
    pub serial: u32,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Bytes that one read gave.
    Read(Box<[u8]>),
    /// Bytes that were given to the socket.
    Sent(Box<[u8]>),
    /// A whole frame that is a packet, or should be one; in words.
    Packet(String),
    /// What became of the last packet, and the answer that was sent for it.
    Answered(Outcome, Box<[u8]>),
    /// Something else, in words.
    Said(String),
}

impl Seen {
    fn n_bytes(&self) -> usize {
        match self {
            Seen::Read(bytes) | Seen::Sent(bytes) | Seen::Answered(_, bytes) => bytes.len(),
            Seen::Packet(text) | Seen::Said(text) => text.len(),
        }
    }

    /// A checked packet, in words.
    pub fn packet(frame: &[u8]) -> Seen {
        Seen::Packet(words::packet(frame))
    }
}

/// One thing that was seen, when and where.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Microseconds since 1970 UTC.
    at_us: i64,
    at: Millis,
    place: Place,
    seen: Seen,
}

/// Whom a trace is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Whoever asked, on a terminal.
    Terminal,
    /// The log.
    Log,
}

/// One trace as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Whose.
    pub imei: Imei,
    /// Whom it is for.
    pub reader: Reader,
    /// When it ends by itself, microseconds since 1970 UTC.
    pub until_us: i64,
}

/// What waits in one queue, and what found no room in it.
#[derive(Debug, Default)]
struct Load {
    n_bytes: AtomicUsize,
    n_missed: AtomicU64,
}

#[derive(Debug)]
struct Trace {
    number: u64,
    traced: Traced,
    pieces: Sender<Piece>,
    load: Arc<Load>,
}

/// The traces that are on. They outlive the threads of ports.
#[derive(Debug)]
pub struct Traces {
    /// Looked at before anything else: what is not traced costs no more than this.
    n: AtomicUsize,
    imeis: [AtomicU64; TRACES_MAX],
    traces: Mutex<Vec<Trace>>,
    next_number: AtomicU64,
}

impl Default for Traces {
    fn default() -> Traces {
        Traces {
            n: AtomicUsize::new(0),
            imeis: [const { AtomicU64::new(NOBODY) }; TRACES_MAX],
            traces: Mutex::default(),
            next_number: AtomicU64::new(0),
        }
    }
}

/// The reading end of one trace; dropped, the trace is off.
#[derive(Debug)]
pub(crate) struct Tracing {
    traces: Arc<Traces>,
    number: u64,
    traced: Traced,
    pieces: Receiver<Piece>,
    load: Arc<Load>,
}

/// So many are on that there is no place for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{TRACES_MAX} traces are on, and that is the most there can be: end one, `trackport status` lists them"
)]
pub struct TooMany;

impl Traces {
    /// Whether anything is traced at all.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.n.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody looks at this device.
    pub fn wants(&self, imei: Imei) -> bool {
        let is_it = |place: &AtomicU64| place.load(Ordering::Relaxed) == imei.number();
        self.is_on() && self.imeis.iter().any(is_it)
    }

    /// Says what was seen of a device to everybody who looks at it. Waits for nobody.
    pub fn say(&self, imei: Imei, place: Place, seen: Seen) {
        let n_bytes = seen.n_bytes();
        let piece = Piece {
            at_us: clock::wall_us(),
            at: clock::now(),
            place,
            seen,
        };
        for trace in self.lock().iter().filter(|trace| trace.traced.imei == imei) {
            let load = &trace.load;
            let has_room = load.n_bytes.fetch_add(n_bytes, Ordering::AcqRel) < BYTES_MAX;
            if !has_room || trace.pieces.try_send(piece.clone()).is_err() {
                load.n_bytes.fetch_sub(n_bytes, Ordering::AcqRel);
                load.n_missed.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Switches a trace on.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn begin(self: &Arc<Traces>, traced: Traced) -> Result<Tracing, TooMany> {
        let mut traces = self.lock();
        if traces.len() >= TRACES_MAX {
            return Err(TooMany);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let (sender, pieces) = crossbeam_channel::bounded(PIECES_MAX);
        let load = Arc::new(Load::default());
        traces.push(Trace {
            number,
            traced,
            pieces: sender,
            load: Arc::clone(&load),
        });
        self.publish(&traces);
        let traces = Arc::clone(self);
        Ok(Tracing {
            traces,
            number,
            traced,
            pieces,
            load,
        })
    }

    /// Switches the traces of a device to the log off; how many there were.
    pub fn end_in_log(&self, imei: Imei) -> usize {
        let is_it = |trace: &Trace| trace.traced.imei == imei && trace.traced.reader == Reader::Log;
        self.remove(is_it)
    }

    /// Every trace that is on.
    pub fn list(&self) -> Vec<Traced> {
        self.lock().iter().map(|trace| trace.traced).collect()
    }

    fn remove(&self, is_it: impl Fn(&Trace) -> bool) -> usize {
        let mut traces = self.lock();
        let before = traces.len();
        traces.retain(|trace| !is_it(trace));
        self.publish(&traces);
        before - traces.len()
    }

    /// Under the lock: ports see the same as the list says.
    fn publish(&self, traces: &[Trace]) {
        let traced = traces.iter().map(|trace| trace.traced.imei.number());
        for (place, number) in self
            .imeis
            .iter()
            .zip(traced.chain(std::iter::repeat(NOBODY)))
        {
            place.store(number, Ordering::Relaxed);
        }
        self.n.store(traces.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Trace>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracing {
    /// The next piece was taken out of the queue.
    fn took(&self, piece: &Piece) {
        let n_bytes = piece.seen.n_bytes();
        self.load.n_bytes.fetch_sub(n_bytes, Ordering::AcqRel);
    }

    /// How many pieces found no room since the last time.
    fn take_missed(&self) -> u64 {
        self.load.n_missed.swap(0, Ordering::AcqRel)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        self.traces.remove(|trace| trace.number == self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn imei(n: u64) -> Imei {
        Imei::from_number(350_000_000_000_000 + n).unwrap()
    }

    pub(super) fn place() -> Place {
        Place {
            port: 5027,
            peer: ([10, 0, 0, 9], 4411).into(),
            serial: 3,
        }
    }

    pub(super) fn begin(traces: &Arc<Traces>, n: u64, reader: Reader) -> Result<Tracing, TooMany> {
        traces.begin(Traced {
            imei: imei(n),
            reader,
            until_us: 0,
        })
    }

    #[test]
    fn only_who_is_traced_is_wanted_and_nothing_is_left_of_a_trace_that_ended() {
        let traces = Arc::new(Traces::default());
        assert!(!traces.is_on() && !traces.wants(imei(1)));
        let first = begin(&traces, 1, Reader::Terminal).unwrap();
        let _second = begin(&traces, 1, Reader::Log).unwrap();
        let third = begin(&traces, 3, Reader::Terminal).unwrap();
        assert!(traces.wants(imei(1)) && traces.wants(imei(3)) && !traces.wants(imei(2)));
        traces.say(imei(3), place(), Seen::Said("x".to_owned()));
        assert_eq!((first.pieces.len(), third.pieces.len()), (0, 1));
        drop(first);
        assert!(traces.wants(imei(1)), "the log still looks");
        assert_eq!(traces.end_in_log(imei(1)), 1);
        assert!(!traces.wants(imei(1)));
        drop(third);
        assert!(!traces.is_on() && traces.list().is_empty());
    }

    #[test]
    fn a_trace_that_nobody_reads_is_bounded_in_pieces_and_in_bytes_and_counts_the_rest() {
        let traces = Arc::new(Traces::default());
        let unread = begin(&traces, 1, Reader::Terminal).unwrap();
        for _ in 0..PIECES_MAX + 10 {
            traces.say(imei(1), place(), Seen::Read(Box::new([1])));
        }
        assert_eq!(unread.pieces.len(), PIECES_MAX);
        assert_eq!(unread.take_missed(), 10);
        while let Ok(piece) = unread.pieces.try_recv() {
            unread.took(&piece);
        }
        let large: Box<[u8]> = vec![0; 64 << 10].into();
        for _ in 0..100 {
            traces.say(imei(1), place(), Seen::Read(large.clone()));
        }
        assert_eq!(unread.pieces.len(), BYTES_MAX / large.len());
        assert_eq!(unread.take_missed(), 100 - unread.pieces.len() as u64);
    }

    #[test]
    fn there_are_only_so_many_traces() {
        let traces = Arc::new(Traces::default());
        let mut on: Vec<Tracing> = (0..TRACES_MAX as u64)
            .map(|n| begin(&traces, n, Reader::Log).unwrap())
            .collect();
        assert_eq!(begin(&traces, 9, Reader::Log).unwrap_err(), TooMany);
        on.pop();
        assert!(begin(&traces, 9, Reader::Log).is_ok());
    }
}
