//! The drain thread: brings what lies in the spool to the database, oldest first, at a pace that leaves live packets fast.
//!
//! It begins when the database stores what writers bring, knows the devices by the list in memory and registers those that the
//! list lacks: what was acked is stored, whatever became of its device since. What is stored is released, and whole segments are
//! removed by that. A kill costs nothing but a repetition: rows that are there are passed over. A packet that stops this thread
//! again and again goes to quarantine (`progress.rs`).

mod pace;
mod progress;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{GivenUp, LineState, Link, Lot, Storer};
use crate::clock::{self, Millis};
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact};
use crate::fleet::Device;
use crate::hub::Hub;
use crate::intake::{Content, Received};
use crate::life::Life;
use crate::mailbox::Outcome;
use crate::notes::Notes;
use crate::spool::{Chunk, Entry, EntryContent, Spool};
use crate::spooler::{SpoolState, tell_damage};
use crate::store::device::DeviceState;
use crate::store::directory::{KnownDevice, register};

use pace::Pace;
use progress::AtWork;
pub use progress::Progress;

/// What the drain thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Devices, writers and the spool.
    pub hub: Arc<Hub>,
    /// How it stands with the database, shared by its generations.
    pub state: Arc<LineState>,
    /// How far it is, shared by its generations.
    pub progress: Arc<Progress>,
    /// The keeper's queue.
    pub notes: Notes,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
}

/// How often an empty spool is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often segments that somebody has imported are looked for.
const ADOPT_EVERY_MS: Millis = 10_000;
/// Bytes read at once.
const CHUNK_BYTES_MAX: usize = 8 << 20;
/// After a disk that could not be read.
const DISK_REST: Duration = Duration::from_secs(5);

/// Drains the spool until `life` says stop. Blocks in the database and on the disk.
pub fn run(life: &Life, around: &Surroundings) {
    let mut drain = Drain {
        life,
        around,
        spool_state: &around.hub.spool,
        storer: Storer::new(
            life,
            &around.state,
            &around.database,
            &around.timeouts,
            &around.application,
            &around.notes,
        ),
        pace: Pace::new(around.database.batch_records),
        adopt_at: 0,
        n_drained: 0,
    };
    while !life.is_stopping() {
        life.beat();
        let Some(spool) = drain.spool_state.spool() else {
            life.sleep(LOOK_EVERY);
            continue;
        };
        drain.adopt(&spool);
        if !drain.may_begin(&spool) {
            life.sleep(LOOK_EVERY);
            continue;
        }
        match drain.step(&spool) {
            Ok(pause) => life.sleep(pause),
            Err(GivenUp) => break,
        }
    }
    if !life.is_retired() {
        drain.storer.line.disconnect();
    }
}

struct Drain<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    spool_state: &'a SpoolState,
    storer: Storer<'a>,
    pace: Pace,
    adopt_at: Millis,
    /// Records brought since the spool was empty last.
    n_drained: u64,
}

impl Drain<'_> {
    /// Takes in what somebody has imported.
    fn adopt(&mut self, spool: &Spool) {
        let now = clock::now();
        if now < self.adopt_at {
            return;
        }
        self.adopt_at = now + ADOPT_EVERY_MS;
        match spool.adopt_incoming() {
            Ok(adopted) => {
                adopted.damaged.iter().for_each(tell_damage);
                if adopted.files > 0 {
                    let (files, records) = (adopted.files, adopted.tally.records);
                    facts::say(
                        Fact::SpoolAdopted,
                        format_args!("files={files} records={records}"),
                    );
                }
            }
            Err(error) => facts::say(Fact::SpoolFailed, format_args!("error={error}")),
        }
    }

    /// Whether there is something to bring, and somebody to bring it to.
    fn may_begin(&self, spool: &Spool) -> bool {
        let hub = &self.around.hub;
        // The writers try all the time: the drain need not ask a database that is away as well.
        let is_up = hub.writers.iter().any(|seat| seat.state.link() == Link::Up);
        is_up && hub.fleet.is_loaded() && spool.depth().bytes > 0
    }

    /// Brings one chunk to the database; returns the pause before the next.
    fn step(&mut self, spool: &Spool) -> Result<Duration, GivenUp> {
        let begun = Instant::now();
        let n_live = self.n_live_batches();
        let progress = &*self.around.progress;
        // One entry is read however little is asked for.
        let (n_records, n_bytes) = if progress.is_careful() {
            (1, 1)
        } else {
            (self.pace.n_records(), CHUNK_BYTES_MAX)
        };
        let chunk = match spool.read(progress.drained(), n_records, n_bytes) {
            Ok(chunk) => chunk,
            Err(error) => {
                facts::say(Fact::SpoolFailed, format_args!("error={error}"));
                return Ok(DISK_REST);
            }
        };
        let Chunk {
            entries,
            next,
            damaged,
        } = chunk;
        damaged.iter().for_each(tell_damage);
        let n_packets = entries.len() as u64;
        let n_records: u64 = entries.iter().map(|entry| entry.as_ref().records()).sum();
        if !entries.is_empty() {
            let _at_work = AtWork {
                progress,
                life: self.life,
                n_entries: entries.len(),
                end: next,
            };
            let mut received = self.received(entries)?;
            if progress.is_guilty(next) {
                received.iter_mut().for_each(accuse);
            }
            let received = received.into_iter().map(Arc::new);
            self.storer.store(&mut Spooled(received.collect()))?;
            fail::fail_point!("drain-stored");
        }
        self.life.beat();
        // Also after a chunk without entries: what lay there may have been damaged through and through.
        progress.set_drained(next);
        let released = spool.release(next);
        self.spool_state.count_out(n_packets, n_records);
        self.n_drained += n_records;
        if let Err(error) = released {
            // What is stored is stored; the file is removed when the disk lets it go, and reading goes on behind it.
            facts::say(Fact::SpoolFailed, format_args!("error={error}"));
            if n_packets == 0 {
                return Ok(DISK_REST);
            }
        }
        if n_packets == 0 {
            return Ok(LOOK_EVERY);
        }
        if spool.depth().bytes == 0 {
            let n_records = std::mem::take(&mut self.n_drained);
            facts::say(Fact::SpoolDrained, format_args!("records={n_records}"));
        }
        Ok(self
            .pace
            .after(begun.elapsed(), self.n_live_batches() != n_live))
    }

    /// Batches that the writers have stored so far.
    fn n_live_batches(&self) -> u64 {
        let seats = self.around.hub.writers.iter();
        seats.map(|seat| seat.state.counts().0).sum()
    }

    /// The entries with the devices that they belong to.
    fn received(&mut self, entries: Vec<Entry>) -> Result<Vec<Received>, GivenUp> {
        let mut received = Vec::with_capacity(entries.len());
        for entry in entries {
            let device = match self.around.hub.fleet.get(entry.imei) {
                Some(device) if device.id().is_some() => device,
                _ => self.register(&entry)?,
            };
            received.push(Received {
                device,
                received_at_us: entry.received_at_us,
                port: entry.port,
                address: entry.peer,
                frame: entry.frame,
                n_records: entry.n_records,
                content: match entry.content {
                    EntryContent::Packet => Content::Packet,
                    EntryContent::Broken { code, reason } => Content::Broken {
                        code: code.into(),
                        reason,
                        declared: Some(entry.n_records),
                    },
                },
                maybe_resend: entry.maybe_resend,
            });
        }
        Ok(received)
    }

    /// Registers a device that the list lacks. One that was not let in as new is one that the database has forgotten: a person
    /// decides whether it may speak again.
    fn register(&mut self, entry: &Entry) -> Result<Arc<Device>, GivenUp> {
        let (imei, is_new) = (entry.imei, entry.is_new);
        let state = if is_new {
            DeviceState::Accepted
        } else {
            DeviceState::Pending
        };
        let known: KnownDevice = self
            .storer
            .line
            .ask(&|| false, |client| register(client, imei, state))?;
        facts::say(
            Fact::DeviceRegistered,
            format_args!(
                "imei={imei} id={} state={}: it has packets in the spool",
                known.id,
                known.state.as_str()
            ),
        );
        // The directory may have put it there meanwhile, and what it knows is no older.
        let fleet = &self.around.hub.fleet;
        let there = fleet.get(imei).filter(|device| device.id().is_some());
        Ok(there.unwrap_or_else(|| fleet.put(&known)))
    }
}

/// What stops the thread whenever it is to be stored is kept as it is: behind it others wait.
fn accuse(packet: &mut Received) {
    packet.content = Content::Broken {
        code: "stopped_a_thread".into(),
        reason: "the drain's thread died each time it was to be stored; the log says why"
            .to_owned(),
        declared: Some(packet.n_records),
    };
}

/// Packets from the spool. Their devices have their acks.
struct Spooled(VecDeque<Arc<Received>>);

impl Lot for Spooled {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn packets(&self, n: usize) -> Vec<Arc<Received>> {
        self.0.iter().take(n).cloned().collect()
    }

    fn settle(&mut self, n: usize, _: Outcome) {
        self.0.drain(..n.min(self.0.len()));
    }

    fn is_acked(&self) -> bool {
        true
    }
}
