//! Asking the database from a page: questions travel over a channel to plain threads, answers come back.
//!
//! The blocking client must not be used on the runtime, and a slow answer must not hold the web thread. So a handler leaves its work as
//! a closure at the desk, a `query` thread does it with its own connection, and the handler waits for it, asynchronously and not for
//! ever. Three pools, so that somebody's report of a year does not keep everybody's map waiting.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use crossbeam_channel::{Receiver, Sender};
use futures_util::stream;
use postgres::Client;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::life::Life;
use crate::store::StoreError;

/// Questions of a pool that wait; who comes in excess is told to come again.
const WAITING_MAX: usize = 64;
/// Pieces of a streamed answer that wait for a slow reader.
const PIECES_MAX: usize = 4;
/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;
/// A reader that does not take a piece within this gives its place to others.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at whether a slow reader has taken one.
const LOOK: Duration = Duration::from_millis(20);
/// What a statement that ran out of time needs to say so.
const GRACE: Duration = Duration::from_secs(5);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// What a page shows at once.
    Quick,
    /// Reports and exports.
    Slow,
    /// Logins, whose passwords keep a processor busy.
    Login,
}

impl Pool {
    /// All.
    pub const ALL: [Pool; 3] = [Pool::Quick, Pool::Slow, Pool::Login];

    /// Its threads, each with a connection once it was asked something.
    pub fn n_threads(self) -> usize {
        match self {
            Pool::Quick | Pool::Slow => 2,
            // Passwords never take more than one processor.
            Pool::Login => 1,
        }
    }

    /// What one statement may take.
    pub fn statement(self) -> Duration {
        match self {
            Pool::Quick | Pool::Login => Duration::from_secs(10),
            Pool::Slow => Duration::from_secs(60),
        }
    }

    /// In names of threads.
    pub fn name(self) -> &'static str {
        match self {
            Pool::Quick => "query",
            Pool::Slow => "report",
            Pool::Login => "login",
        }
    }
}

/// What a thread of a pool is handed: work that takes the connection, or learns that there is none.
pub type Question = Box<dyn FnOnce(Result<&mut Client, &StoreError>, &Life) + Send>;

/// Where questions are left; clones leave them at the same pools.
#[derive(Clone)]
pub struct Desk {
    quick: Sender<Question>,
    slow: Sender<Question>,
    login: Sender<Question>,
}

/// Where the threads take them.
#[derive(Clone)]
pub struct Queues {
    quick: Receiver<Question>,
    slow: Receiver<Question>,
    login: Receiver<Question>,
}

impl Queues {
    /// The queue of `pool`.
    pub fn of(&self, pool: Pool) -> Receiver<Question> {
        match pool {
            Pool::Quick => self.quick.clone(),
            Pool::Slow => self.slow.clone(),
            Pool::Login => self.login.clone(),
        }
    }
}

/// Both ends.
pub fn desk() -> (Desk, Queues) {
    let (quick, quick_queue) = crossbeam_channel::bounded(WAITING_MAX);
    let (slow, slow_queue) = crossbeam_channel::bounded(WAITING_MAX);
    let (login, login_queue) = crossbeam_channel::bounded(WAITING_MAX);
    let queues = Queues {
        quick: quick_queue,
        slow: slow_queue,
        login: login_queue,
    };
    (Desk { quick, slow, login }, queues)
}

impl Desk {
    /// Has `work` done by a thread of `pool` and returns what it found. Whoever does not wait any more is not worked for.
    ///
    /// # Errors
    /// What `work` refuses; that the database is away, the pool too busy, or the answer too long in coming.
    pub(super) async fn ask<T, E>(
        &self,
        pool: Pool,
        work: impl FnOnce(&mut Client) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal>,
    {
        let (reply, answer) = oneshot::channel();
        self.leave(
            pool,
            Box::new(move |client, _| {
                if reply.is_closed() {
                    return;
                }
                let answer = match client {
                    Ok(client) => work(client).map_err(Into::into),
                    Err(error) => Err(Refusal::of_store(error)),
                };
                // An error says that nobody waits any more.
                let _ = reply.send(answer);
            }),
        )?;
        match timeout(pool.statement() + GRACE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refusal::broken()),
            Err(_) => Err(Refusal::too_slow(pool.statement())),
        }
    }

    /// As `ask`, for an answer that is sent while it is made: `work` writes it. What it refuses before the first byte is refused as
    /// such; afterwards the answer breaks off in a way that the client sees.
    ///
    /// # Errors
    /// As `ask`.
    pub(super) async fn stream<E>(
        &self,
        pool: Pool,
        work: impl FnOnce(&mut Client, &mut Sink<'_>) -> Result<(), E> + Send + 'static,
    ) -> Result<Body, Refusal>
    where
        E: Into<Refusal>,
    {
        let (pieces, mut answer) = mpsc::channel(PIECES_MAX);
        let is_whole = Arc::new(AtomicBool::new(false));
        let done_whole = Arc::clone(&is_whole);
        self.leave(
            pool,
            Box::new(move |client, life| {
                if pieces.is_closed() {
                    return;
                }
                let mut sink = Sink {
                    pieces: &pieces,
                    life,
                    piece: Vec::with_capacity(PIECE_BYTES),
                    taken_within: TAKEN_WITHIN,
                };
                let done = match client {
                    Ok(client) => work(client, &mut sink).map_err(Into::into),
                    Err(error) => Err(Refusal::of_store(error)),
                };
                let done = done.and_then(|()| sink.flush().map_err(|_| Refusal::broken()));
                match done {
                    Ok(()) => done_whole.store(true, Ordering::Release),
                    // An error says that nobody reads any more, or too slowly: the end without `is_whole` tells it then.
                    Err(refusal) => drop(pieces.try_send(Err(refusal))),
                }
            }),
        )?;
        match timeout(pool.statement() + GRACE, answer.recv()).await {
            Err(_) => Err(Refusal::too_slow(pool.statement())),
            Ok(None) if is_whole.load(Ordering::Acquire) => Ok(Body::empty()),
            Ok(None) => Err(Refusal::broken()),
            Ok(Some(Err(refusal))) => Err(refusal),
            Ok(Some(Ok(first))) => {
                let first = stream::iter([Ok(first)]);
                let rest = stream::unfold(Some((answer, is_whole)), rest);
                Ok(Body::from_stream(stream::StreamExt::chain(first, rest)))
            }
        }
    }

    fn leave(&self, pool: Pool, question: Question) -> Result<(), Refusal> {
        let queue = match pool {
            Pool::Quick => &self.quick,
            Pool::Slow => &self.slow,
            Pool::Login => &self.login,
        };
        queue.try_send(question).map_err(|_| Refusal::busy())
    }
}

/// What is left of a streamed answer: until it ends (`None`), and that it is whole.
type Rest = Option<(mpsc::Receiver<Result<Bytes, Refusal>>, Arc<AtomicBool>)>;

/// The next piece. An answer that ended before it was whole, for example because its thread panicked, ends with an error: a file that
/// was cut off must not look like one that was not.
async fn rest(rest: Rest) -> Option<(io::Result<Bytes>, Rest)> {
    let (mut answer, is_whole) = rest?;
    match answer.recv().await {
        Some(Ok(piece)) => Some((Ok(piece), Some((answer, is_whole)))),
        Some(Err(refusal)) => Some((Err(io::Error::other(refusal.text)), None)),
        None if is_whole.load(Ordering::Acquire) => None,
        None => Some((Err(io::Error::other("the answer broke off")), None)),
    }
}

/// Where a streamed answer is written to. A write waits for a slow reader, though not for long, and fails once it is gone.
pub(super) struct Sink<'a> {
    pieces: &'a mpsc::Sender<Result<Bytes, Refusal>>,
    life: &'a Life,
    piece: Vec<u8>,
    taken_within: Duration,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.life.beat();
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let mut piece = Ok(Bytes::from(piece));
        let begun = Instant::now();
        // Beating meanwhile: who waits for a reader is not silent.
        loop {
            piece = match self.pieces.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(TrySendError::Full(piece)) => piece,
            };
            if self.life.is_stopping() || begun.elapsed() > self.taken_within {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.life.beat();
            thread::sleep(LOOK);
        }
    }
}

impl From<Infallible> for Refusal {
    fn from(never: Infallible) -> Refusal {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_takes_nothing_does_not_keep_its_thread() {
        let (pieces, _answer) = mpsc::channel(PIECES_MAX);
        let life = Life::new("report-0", 0, Duration::from_secs(60));
        let mut sink = Sink {
            pieces: &pieces,
            life: &life,
            piece: Vec::new(),
            taken_within: Duration::from_millis(50),
        };
        let error = sink
            .write_all(&[0; 64])
            .and_then(|()| (0..=PIECES_MAX).try_for_each(|_| sink.write_all(&[0; PIECE_BYTES])));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_answer_that_broke_off_does_not_look_whole() {
        // As a thread leaves it that panics in the middle.
        for is_whole in [false, true] {
            let (pieces, answer) = mpsc::channel(PIECES_MAX);
            pieces.try_send(Ok(Bytes::from_static(b"half"))).unwrap();
            drop(pieces);
            let left = Some((answer, Arc::new(AtomicBool::new(is_whole))));
            let body = Body::from_stream(stream::unfold(left, rest));
            let read = axum::body::to_bytes(body, PIECE_BYTES).await;
            assert_eq!(read.is_ok(), is_whole);
        }
    }
}
