//! Proxies that let a network be as bad as networks are: between devices and trackport, and between trackport and
//! PostgreSQL.
//!
//! A connection has two pumps, a thread for each direction. What a pump does is decided by its connection's own
//! roughness (where it is cut, how it is split, how slow it is), drawn from the seed, and by the switch that
//! the faults turn. A network that swallows stops forwarding and closes nothing; bytes are never lost from within a stream,
//! because TCP would send them again.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use socket2::SockRef;

use crate::harness::{ms, spawn};

/// How often a pump with nothing to do looks at the switch.
const LOOK: Duration = ms(100);

/// What the faults decide about a network.
#[derive(Default)]
pub struct Switch {
    /// How many faults want that nothing passes.
    swallowing: AtomicU32,
    /// Longest delay of a read, in milliseconds.
    delay_ms: AtomicU64,
    /// Raised to cut all connections.
    cuts: AtomicU64,
    /// Connections cut within, by faults or by their roughness.
    pub n_cut: AtomicU64,
    /// Connections that were made.
    pub n_connections: AtomicU64,
}

impl Switch {
    pub fn swallow(&self) {
        self.swallowing.fetch_add(1, Ordering::SeqCst);
    }

    pub fn pass(&self) {
        self.swallowing.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn delay(&self, longest: Duration) {
        self.delay_ms.store(
            u64::try_from(longest.as_millis()).expect("a short time"),
            Ordering::SeqCst,
        );
    }

    pub fn cut_all(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    fn is_swallowing(&self) -> bool {
        self.swallowing.load(Ordering::SeqCst) > 0
    }
}

/// How bad one connection is by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Roughness {
    /// Cut after so many bytes.
    cut_after: Option<usize>,
    /// What is read at once is written in so many pieces at most.
    n_pieces: usize,
    /// Longest delay of a read.
    delay_ms: u64,
    /// Cut by a reset instead of an orderly end.
    resets: bool,
}

impl Roughness {
    fn draw(rng: &mut fastrand::Rng) -> Roughness {
        let mut some = |percent: u8, range: std::ops::Range<usize>| {
            (rng.u8(..100) < percent).then(|| rng.usize(range))
        };
        let cut_after = some(30, 1..40_000);
        let n_pieces = some(40, 2..8).unwrap_or(1);
        let delay_ms = some(40, 1..80).unwrap_or(0) as u64;
        Roughness {
            cut_after,
            n_pieces,
            delay_ms,
            resets: rng.bool(),
        }
    }
}

/// Listens on `port` of 127.0.0.1 and forwards to `target`; `seed` makes its connections rough.
pub fn start(port: u16, target: u16, switch: &Arc<Switch>, seed: Option<u64>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let switch = Arc::clone(switch);
    spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let Ok(client) = client else { continue };
            let switch = Arc::clone(&switch);
            spawn(move || {
                let rng = seed.map(|seed| fastrand::Rng::with_seed(seed ^ ((number as u64) << 20)));
                forward(client, target, &switch, rng);
            });
        }
    });
}

/// One direction of a connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    switch: Arc<Switch>,
    /// The connection is over, for both directions.
    dead: Arc<AtomicBool>,
    rough: Roughness,
    rng: fastrand::Rng,
}

fn forward(client: TcpStream, target: u16, switch: &Arc<Switch>, rng: Option<fastrand::Rng>) {
    // A network that lets nothing pass lets no connection come about either.
    while switch.is_swallowing() {
        sleep(ms(20));
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
        return;
    };
    switch.n_connections.fetch_add(1, Ordering::Relaxed);
    let dead = Arc::new(AtomicBool::new(false));
    let pump_of = |from: &TcpStream, to: &TcpStream, rng: &mut fastrand::Rng, is_rough: bool| {
        let rough = if is_rough {
            Roughness::draw(rng)
        } else {
            Roughness {
                n_pieces: 1,
                ..Roughness::default()
            }
        };
        Some(Pump {
            from: from.try_clone().ok()?,
            to: to.try_clone().ok()?,
            switch: Arc::clone(switch),
            dead: Arc::clone(&dead),
            rough,
            rng: rng.fork(),
        })
    };
    let is_rough = rng.is_some();
    let mut rng = rng.unwrap_or_else(|| fastrand::Rng::with_seed(0));
    let (Some(mut up), Some(mut down)) = (
        pump_of(&client, &server, &mut rng, is_rough),
        pump_of(&server, &client, &mut rng, is_rough),
    ) else {
        return;
    };
    drop((client, server));
    spawn(move || up.run());
    down.run();
}

impl Pump {
    fn run(&mut self) {
        if self.from.set_read_timeout(Some(LOOK)).is_err() {
            return;
        }
        // The other side may have stopped reading for good.
        let _ = self.to.set_write_timeout(Some(Duration::from_secs(30)));
        let _ = self.to.set_nodelay(true);
        let cuts = self.switch.cuts.load(Ordering::SeqCst);
        let mut buffer = [0; 16 * 1024];
        let mut left = self.rough.cut_after;
        while !self.dead.load(Ordering::SeqCst) {
            if self.switch.cuts.load(Ordering::SeqCst) != cuts {
                return self.cut();
            }
            if self.switch.is_swallowing() {
                sleep(ms(20));
                continue;
            }
            let n = match self.from.read(&mut buffer) {
                Ok(0) => {
                    let _ = self.to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(n) => n,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(_) => return self.cut(),
            };
            // What was read just before is on its way as well.
            while self.switch.is_swallowing() && self.switch.cuts.load(Ordering::SeqCst) == cuts {
                sleep(ms(20));
            }
            self.wait();
            let passing = left.map_or(n, |left| n.min(left));
            if self.write(&buffer[..passing]).is_err() || left.is_some_and(|left| left <= n) {
                return self.cut();
            }
            left = left.map(|left| left - n);
        }
    }

    fn wait(&mut self) {
        let longest = self
            .rough
            .delay_ms
            .max(self.switch.delay_ms.load(Ordering::SeqCst));
        if longest > 0 {
            sleep(ms(self.rng.u64(..=longest)));
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        for _ in 1..self.rng.usize(1..=self.rough.n_pieces) {
            let (piece, rest) = bytes.split_at(self.rng.usize(..=bytes.len()));
            self.to.write_all(piece)?;
            sleep(ms(self.rng.u64(..4)));
            bytes = rest;
        }
        self.to.write_all(bytes)
    }

    fn cut(&self) {
        if !self.dead.swap(true, Ordering::SeqCst) {
            self.switch.n_cut.fetch_add(1, Ordering::Relaxed);
        }
        for stream in [&self.from, &self.to] {
            if self.rough.resets {
                // With the last handle closed, which is when both pumps have seen the end.
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            } else {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}
