//! Devices that remember every ack they got.
//!
//! A device has its records in order and sends them from the first one that was not acked, as trackers do. How many go into a
//! packet, how long an ack is waited for, whether records are grouped anew after a lost connection, whether each packet gets a
//! connection of its own, is the device's nature, drawn from the seed. Devices come and go all the time; each finishes what
//! it has sent before it goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use trackport::imei::Imei;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode;

use crate::harness::device::{Answer, Device};
use crate::harness::{imei, join, ms, secs, spawn};
use crate::values::{Clock, Poison, Values};

/// Records in a packet at most.
const PACKET_MAX: u64 = 30;

/// How long an answer to a login is waited for.
const LOGIN: Duration = secs(6);

/// What a whole fleet does, in numbers.
#[derive(Default)]
pub struct Counts {
    /// Records acked.
    pub acked: AtomicU64,
    /// Packets acked.
    pub packets: AtomicU64,
    /// Connections that were logged in.
    pub logins: AtomicU64,
    /// Packets sent again because no ack came.
    pub resent: AtomicU64,
    /// The same with other records together.
    pub regrouped: AtomicU64,
    /// Packets sent again although their ack had come.
    pub forgotten: AtomicU64,
    /// Second logins while the first connection waited for its ack.
    pub twins: AtomicU64,
    /// Unreadable packets acked.
    pub poisoned: AtomicU64,
    /// Records acked whose clock was wrong.
    pub clock_steps: AtomicU64,
}

/// What one device saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub number: u64,
    pub imei: Imei,
    pub codec: Codec,
    /// Records below this index are acked.
    pub acked: u64,
    /// Records below this index were sent.
    pub sent: u64,
    /// Packets sent that nobody can read.
    pub poison: Vec<Poison>,
    /// What may never happen: an ack of another count, a login refused.
    pub wrong: Vec<String>,
    /// It had to go before its last packet was acked.
    pub is_unfinished: bool,
}

/// What the devices share.
struct World {
    values: Values,
    /// Ports of the proxies in front of trackport's.
    ports: Vec<u16>,
    counts: Arc<Counts>,
    next: AtomicU64,
    /// Devices begin nothing new.
    stop: AtomicBool,
    /// Devices give up at this time.
    give_up: Mutex<Option<Instant>>,
    seen: Mutex<Vec<Seen>>,
}

/// Devices at work.
pub struct Fleet {
    world: Arc<World>,
    threads: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// `n` devices at a time.
    pub fn start(n: u64, values: Values, ports: Vec<u16>) -> Fleet {
        let world = Arc::new(World {
            values,
            ports,
            counts: Arc::default(),
            next: AtomicU64::new(1),
            stop: AtomicBool::new(false),
            give_up: Mutex::default(),
            seen: Mutex::default(),
        });
        let threads = (0..n)
            .map(|_| {
                let world = Arc::clone(&world);
                spawn(move || {
                    while !world.is_stopping() {
                        let number = world.next.fetch_add(1, Ordering::Relaxed);
                        let seen = Tracker::new(&world, number).live();
                        world.seen.lock().expect("no poison").push(seen);
                    }
                })
            })
            .collect();
        Fleet { world, threads }
    }

    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.world.counts)
    }

    /// Every device finishes what it has sent; after `within` it gives up.
    pub fn finish(self, within: Duration) -> Vec<Seen> {
        *self.world.give_up.lock().expect("no poison") = Some(Instant::now() + within);
        self.world.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            join(thread);
        }
        std::mem::take(&mut *self.world.seen.lock().expect("no poison"))
    }
}

impl World {
    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn has_given_up(&self) -> bool {
        let give_up = *self.give_up.lock().expect("no poison");
        give_up.is_some_and(|at| Instant::now() > at)
    }
}

/// What a device is like.
struct Nature {
    patience: Duration,
    pause: Duration,
    lives: Duration,
    records_max: u64,
    /// It makes a connection for each packet.
    reconnects: bool,
    /// It groups its records anew after a lost connection.
    regroups: bool,
    /// Of a thousand packets, so many are sent on a second connection as well.
    twins: u16,
    /// Of a thousand packets, so many cannot be read.
    poison: u16,
}

impl Nature {
    fn draw(rng: &mut fastrand::Rng) -> Nature {
        let is_impatient = rng.u8(..4) == 0;
        Nature {
            patience: ms(if is_impatient {
                rng.u64(800..3_000)
            } else {
                rng.u64(8_000..30_000)
            }),
            pause: ms(rng.u64(0..700)),
            lives: ms(rng.u64(5_000..60_000)),
            records_max: rng.u64(1..=PACKET_MAX),
            reconnects: rng.u8(..4) == 0,
            regroups: rng.bool(),
            twins: if rng.u8(..4) == 0 { 30 } else { 0 },
            poison: if rng.u8(..3) == 0 { 20 } else { 0 },
        }
    }
}

struct Tracker<'a> {
    world: &'a World,
    rng: fastrand::Rng,
    nature: Nature,
    connection: Option<Device>,
    seen: Seen,
}

impl Tracker<'_> {
    fn new(world: &World, number: u64) -> Tracker<'_> {
        let mut rng = fastrand::Rng::with_seed(world.values.seed ^ (number << 32));
        let codecs = [Codec::Codec8, Codec::Codec8Extended, Codec::Codec16];
        Tracker {
            world,
            nature: Nature::draw(&mut rng),
            connection: None,
            seen: Seen {
                number,
                imei: imei(number),
                codec: codecs[rng.usize(..3)],
                acked: 0,
                sent: 0,
                poison: Vec::new(),
                wrong: Vec::new(),
                is_unfinished: false,
            },
            rng,
        }
    }

    fn live(mut self) -> Seen {
        let begun = Instant::now();
        while begun.elapsed() < self.nature.lives && !self.world.is_stopping() {
            let is_done = if self.rng.u16(..1000) < self.nature.poison {
                self.deliver_poison()
            } else {
                self.deliver()
            };
            if !is_done {
                self.seen.is_unfinished = true;
                break;
            }
            if self.nature.reconnects {
                self.connection = None;
            }
            sleep(ms(self.rng.u64(
                ..=u64::try_from(self.nature.pause.as_millis()).unwrap_or(0) + 20,
            )));
        }
        self.seen
    }

    /// Connects and logs in if need be. `None`: not now.
    fn connection(&mut self) -> Option<&mut Device> {
        if self.connection.is_none() {
            self.connection = self.log_in();
            if self.connection.is_none() {
                sleep(ms(self.rng.u64(50..400)));
            }
        }
        self.connection.as_mut()
    }

    fn log_in(&mut self) -> Option<Device> {
        let port = self.world.ports[self.rng.usize(..self.world.ports.len())];
        let mut device = Device::try_connect(port).ok()?;
        device.try_send(&encode::login(self.seen.imei)).ok()?;
        match device.answer(1, LOGIN) {
            Answer::Bytes(bytes) if bytes == [1] => {
                self.world.counts.logins.fetch_add(1, Ordering::Relaxed);
                Some(device)
            }
            Answer::Bytes(bytes) => {
                self.seen.wrong.push(format!("login answered {bytes:02x?}"));
                None
            }
            Answer::Closed(_) | Answer::Silence(_) => None,
        }
    }

    /// Sends the next packet until it is acked. False: given up.
    fn deliver(&mut self) -> bool {
        let from = self.seen.acked;
        let mut n = self.rng.u64(1..=self.nature.records_max);
        let mut n_tries = 0;
        while self.seen.acked == from {
            if self.world.has_given_up() {
                return false;
            }
            if self.connection().is_none() {
                continue;
            }
            if n_tries > 0 {
                self.world.counts.resent.fetch_add(1, Ordering::Relaxed);
                if self.nature.regroups {
                    n = self.rng.u64(1..=self.nature.records_max);
                    self.world.counts.regrouped.fetch_add(1, Ordering::Relaxed);
                }
            }
            n_tries += 1;
            let has_twin = self.rng.u16(..1000) < self.nature.twins;
            if !self.send(from, n) {
                continue;
            }
            if has_twin {
                self.twin(from, n);
            } else {
                self.await_ack(from, n, self.nature.patience);
            }
        }
        if self.rng.u16(..1000) < 10 {
            // The power failed before the ack was written down.
            self.world.counts.forgotten.fetch_add(1, Ordering::Relaxed);
            if self.rng.bool() {
                self.connection = None;
            }
            if self.connection().is_some() && self.send(from, n) {
                self.await_ack(from, n, self.nature.patience);
            }
        }
        true
    }

    fn send(&mut self, from: u64, n: u64) -> bool {
        let mut bytes = Vec::new();
        if self.rng.u8(..50) == 0 {
            // Keeps the link alive; may stand before any packet.
            bytes.push(0xFF);
        }
        bytes.extend(
            self.world
                .values
                .packet(self.seen.codec, self.seen.number, from, n),
        );
        self.seen.sent = self.seen.sent.max(from + n);
        let Some(connection) = self.connection.as_mut() else {
            return false;
        };
        let is_sent = connection.try_send(&bytes).is_ok();
        if !is_sent {
            self.connection = None;
        }
        is_sent
    }

    /// Waits for the ack of the records from `from` on; without it the connection is given up.
    fn await_ack(&mut self, from: u64, n: u64, patience: Duration) {
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        match connection.ack(patience) {
            Some(count) => self.acked(from, n, count),
            None => self.connection = None,
        }
    }

    fn acked(&mut self, from: u64, n: u64, count: u32) {
        if u64::from(count) != n {
            self.seen
                .wrong
                .push(format!("{count} records acked of the {n} from {from} on"));
            self.connection = None;
            return;
        }
        let counts = &self.world.counts;
        counts.packets.fetch_add(1, Ordering::Relaxed);
        let new = (from + n).saturating_sub(self.seen.acked);
        counts.acked.fetch_add(new, Ordering::Relaxed);
        let n_steps = (self.seen.acked..from + n)
            .filter(|index| self.world.values.clock(self.seen.number, *index) != Clock::Right)
            .count();
        counts
            .clock_steps
            .fetch_add(n_steps as u64, Ordering::Relaxed);
        self.seen.acked = self.seen.acked.max(from + n);
    }

    /// A second connection while the first waits: both are read, any ack counts.
    fn twin(&mut self, from: u64, n: u64) {
        self.world.counts.twins.fetch_add(1, Ordering::Relaxed);
        let mut first = self.connection.take();
        if self.connection().is_some() {
            let n = self.rng.u64(1..=self.nature.records_max);
            if self.send(from, n) {
                self.await_ack(from, n, self.nature.patience);
            }
        }
        if let Some(count) = first.as_mut().and_then(|first| first.ack(ms(1))) {
            self.acked(from, n, count);
        }
    }

    /// Sends a packet that nobody can read until it is acked. False: given up.
    fn deliver_poison(&mut self) -> bool {
        let n_before = self.seen.poison.len() as u64;
        let poison = self
            .world
            .values
            .poison(self.seen.codec, self.seen.number, n_before);
        self.seen.poison.push(poison.clone());
        loop {
            if self.world.has_given_up() {
                return false;
            }
            let patience = self.nature.patience;
            let Some(connection) = self.connection() else {
                continue;
            };
            let answer = match connection.try_send(&poison.bytes) {
                Ok(()) => connection.ack(patience),
                Err(_) => None,
            };
            match answer {
                Some(count) if count == poison.n_records => {
                    if let Some(last) = self.seen.poison.last_mut() {
                        last.is_acked = true;
                    }
                    self.world.counts.poisoned.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                Some(count) => {
                    self.seen.wrong.push(format!(
                        "{count} records acked of an unreadable packet of {}",
                        poison.n_records
                    ));
                    self.connection = None;
                }
                None => self.connection = None,
            }
        }
    }
}
