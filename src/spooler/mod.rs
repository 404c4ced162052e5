//! The spool thread: takes over what waits too long for the database, makes it durable on disk, and only then says so.
//!
//! What waits too long is known by each writer's hand, for the batch in it and for the writer's queue: both are taken over until the
//! writer has brought something to the database again. Packets of devices that the database has given no id yet have a queue of
//! their own. One sync makes a whole group durable. When the spool cannot be used, or is full, packets wait where they are and are not acked: nothing is dropped.
//!
//! Invariant: a delivery is resolved as durable only after the sync of its group, and never by a retired generation.

mod broken;
mod health;
mod state;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select};

use crate::clock::{self, Millis};
use crate::conf::{self, Timeouts};
use crate::doors::Doors;
use crate::facts::{self, Fact};
use crate::hand::InHand;
use crate::intake::{Content, Delivery, Queued, Received};
use crate::life::Life;
use crate::mailbox::{Outcome, Passed, Store};
use crate::room::Room;
use crate::spool::{
    Appender, ContentRef, EntryRef, Folder, Opened, SEGMENT_BYTES, Settings, Spool, SpoolError,
};
use crate::writer::Seat;

use broken::Sightings;
use health::Health;
pub use health::tell_damage;
pub use state::{Rates, SpoolState, Trouble};

/// What the spool thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// What its generations share.
    pub state: Arc<SpoolState>,
    /// Packets of devices without an id.
    pub queue: Receiver<Queued>,
    /// The writers, in whose hands and queues it finds what waits.
    pub writers: Vec<Seat>,
    /// Where to send what need not go to disk after all.
    pub doors: Doors,
    /// The room that its receipts give back.
    pub room: Arc<Room>,
    /// `[spool]`
    pub spool: conf::Spool,
    /// `[timeouts]`
    pub timeouts: Timeouts,
}

/// How often it looks who is late.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes made durable by one sync at most; packets of a group wait for the slowest of them.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// With less room than for a large packet the spool counts as full.
const ROOM_MIN: u64 = 64 << 10;
/// Packets in one group at most.
const GROUP_PACKETS_MAX: usize = 16_384;
/// What an entry takes on disk beside its frame, at most; words of a broken packet come on top.
const ENTRY_BYTES: u64 = 64;
const SECOND_MS: Millis = 1_000;
/// Without anything to do for so long it says that it rests; devices send at intervals.
const REST_AFTER_MS: Millis = 3_000;

/// Serves until `life` says stop, and then until nothing is in its hands any more.
///
/// Blocks in its queues for 50 ms, and on the disk for as long as the disk takes.
pub fn run(life: &Life, around: &Surroundings) {
    let state = &*around.state;
    let Some(hand) = state.hand.begin(life) else {
        return;
    };
    let mut spooler = Spooler {
        life,
        around,
        state,
        hand,
        appender: state.spool().map(|spool| spool.appender()),
        sightings: Sightings::default(),
        sampled_at: 0,
        busy_at: 0,
        stored_before: 0,
        health: Health::new(state),
    };
    while !life.is_retired() {
        life.beat();
        let now = clock::now();
        if now >= spooler.sampled_at + SECOND_MS {
            spooler.sampled_at = now;
            state.sample(now);
        }
        let late = spooler.late(now);
        spooler.wait(&late);
        if spooler.health.may_try() && spooler.open() && spooler.has_room() {
            // What is there from a try that failed goes first, and nothing more is taken before it went.
            if spooler.hand.n_left() == 0 {
                spooler.collect(&late);
            }
            spooler.store(late.is_empty());
        } else {
            spooler.do_without();
        }
        // Answers, and what went back to the writers, have made room.
        around.room.wake();
        if life.is_stopping() && (spooler.is_idle() || !life.may_finish()) {
            break;
        }
    }
    // Un-acked: their devices send them again.
    drop(spooler.hand.take());
}

struct Spooler<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    state: &'a SpoolState,
    hand: InHand<'a>,
    appender: Option<Appender>,
    sightings: Sightings,
    sampled_at: Millis,
    /// When something was late, or went to disk, last.
    busy_at: Millis,
    /// What the database had taken when the spool took something last.
    stored_before: u64,
    health: Health<'a>,
}

impl Spooler<'_> {
    /// The writers whose packets have waited too long, by index.
    fn late(&self, now: Millis) -> Vec<usize> {
        let target = clock::millis(self.around.timeouts.ack_target);
        let seats = self.around.writers.iter().enumerate();
        seats
            .filter(|(_, seat)| seat.hand.is_late(now, target))
            .map(|(index, _)| index)
            .collect()
    }

    fn is_idle(&self) -> bool {
        self.hand.n_left() == 0 && self.around.queue.is_empty()
    }

    /// Waits a moment, or until something is there for it.
    fn wait(&self, late: &[usize]) {
        let moment = LOOK_EVERY.min(self.life.patience());
        if !self.health.may_try() {
            // Whatever is there, it cannot be taken yet.
            std::thread::sleep(moment);
            return;
        }
        let seats = || late.iter().map(|&index| &self.around.writers[index]);
        if self.hand.n_left() > 0 || seats().any(|seat| seat.hand.has_deliveries()) {
            return;
        }
        let mut select = Select::new();
        select.recv(&self.around.queue);
        for seat in seats() {
            select.recv(&seat.queue);
        }
        // A time-out is as good as a message: everything is looked at in either case.
        let _ = select.ready_timeout(moment);
    }

    /// Opens the spool if it is not open; says whether it is.
    fn open(&mut self) -> bool {
        if self.appender.is_some() {
            return true;
        }
        let spool = match self.state.spool() {
            Some(spool) => spool,
            None => match open(&self.around.spool) {
                Ok(spool) => {
                    self.state.set_spool(Arc::clone(&spool));
                    spool
                }
                Err(error) => {
                    self.health.failed(&error);
                    return false;
                }
            },
        };
        self.appender = Some(spool.appender());
        self.health.works();
        true
    }

    /// Whether a packet fits. A full spool takes nothing over that the database may still store in time.
    fn has_room(&mut self) -> bool {
        let Some(spool) = self.state.spool() else {
            return false;
        };
        match spool.room() {
            Ok(room) if room >= ROOM_MIN => {
                self.health.has_room();
                true
            }
            Ok(room) => {
                let needed = ROOM_MIN;
                self.health.failed(&SpoolError::Full { needed, room });
                false
            }
            Err(error) => {
                self.health.failed(&error);
                false
            }
        }
    }

    /// Takes into its hands what the database does not take in time, up to a group.
    fn collect(&mut self, late: &[usize]) {
        // Half of a group for those who wait for nobody else, whatever comes from the writers.
        let mut n_bytes = self.take_queued(&self.around.queue, GROUP_BYTES_MAX / 2);
        for &index in late {
            let seat = &self.around.writers[index];
            for delivery in seat.hand.take_over() {
                n_bytes += self.take(delivery);
            }
            n_bytes += self.take_queued(&seat.queue, GROUP_BYTES_MAX.saturating_sub(n_bytes));
        }
    }

    /// Takes from a queue until it has taken so many bytes; returns how many.
    fn take_queued(&mut self, queue: &Receiver<Queued>, bytes_max: usize) -> usize {
        let mut n_bytes = 0;
        while n_bytes < bytes_max
            && let Ok(message) = queue.try_recv()
        {
            match message {
                Queued::Delivery(delivery) => n_bytes += self.take(*delivery),
                Queued::Probe(passed) => {
                    // An error means that nobody waits for it any more.
                    let _ = passed.try_send(Passed::Writer);
                }
            }
        }
        n_bytes
    }

    /// Takes one delivery; returns its bytes.
    fn take(&mut self, delivery: Delivery) -> usize {
        let n_bytes = delivery.packet.frame.len();
        if let Content::Broken { declared, .. } = delivery.packet.content
            && !self.sightings.is_for_good(&delivery.packet, declared)
        {
            // Evidence that the device sends again; only what is acked must be kept.
            delivery.ticket.resolve(Outcome::SendAgain);
            return 0;
        }
        self.hand.push(delivery);
        n_bytes
    }

    /// Makes what is in hand durable, group by group, and answers it.
    fn store(&mut self, none_is_late: bool) {
        while self.hand.n_left() > 0 && !self.life.is_retired() {
            self.life.beat();
            match self.store_group() {
                Ok((packets, records)) => {
                    self.busy_at = clock::now();
                    self.stored_before = self.n_stored();
                    self.state.count_in(packets, records);
                    if self.state.set_taking(true) {
                        facts::say(
                            Fact::SpoolTakes,
                            format_args!(
                                "records={records}: acks go on, the database gets them later"
                            ),
                        );
                    }
                    self.health.works();
                }
                // A successor has begun; this thread is about to hear that it is retired.
                Err(SpoolError::Superseded) => return,
                Err(error) => return self.health.failed(&error),
            }
        }
        let now = clock::now();
        if !none_is_late {
            self.busy_at = now;
        }
        if now >= self.busy_at + REST_AFTER_MS {
            self.health.rests();
        }
        if now >= self.busy_at + REST_AFTER_MS
            && self.n_stored() > self.stored_before
            && self.state.set_taking(false)
        {
            let depth = self.state.depth();
            facts::say(
                Fact::SpoolRests,
                format_args!(
                    "entries={} records={}: the database takes packets again",
                    depth.entries, depth.records
                ),
            );
        }
    }

    /// What the database has taken so far, from the writers and from the spool. A line that counts as up proves nothing: a writer
    /// without packets does not notice that its database went away.
    fn n_stored(&self) -> u64 {
        let writers = self.around.writers.iter();
        let batches: u64 = writers.map(|seat| seat.state.counts().0).sum();
        batches + self.state.total_out().0
    }

    /// Makes the front of what is in hand durable by one sync. Returns its packets and records.
    fn store_group(&mut self) -> Result<(u64, u64), SpoolError> {
        let (Some(appender), Some(spool)) = (self.appender.as_mut(), self.state.spool()) else {
            return Ok((0, 0));
        };
        let room = spool.room()?.min(GROUP_BYTES_MAX as u64);
        // Shared, because the disk takes its time and whoever finds this thread hanging in it takes the deliveries away.
        let packets = self.hand.packets(GROUP_PACKETS_MAX);
        let mut n_bytes = 0;
        let fits = |packet: &&Arc<Received>| {
            let is_first = n_bytes == 0;
            n_bytes += packet.frame.len() as u64 + ENTRY_BYTES;
            is_first || n_bytes <= room
        };
        let group: Vec<_> = packets
            .iter()
            .take_while(fits)
            .map(|one| entry(one))
            .collect();
        let records = group.iter().map(|(entry, _)| entry.records()).sum();
        fail::fail_point!("spool-append");
        appender.append(group.iter().map(|(entry, _)| *entry))?;
        fail::fail_point!("spool-synced");
        self.hand.resolve(group.iter().map(|(_, outcome)| *outcome));
        Ok((group.len() as u64, records))
    }

    /// The disk cannot be used: what the database can take after all goes there.
    fn do_without(&mut self) {
        let from_queue = self
            .around
            .queue
            .try_iter()
            .filter_map(|message| match message {
                Queued::Delivery(delivery) => Some(*delivery),
                // Probes go to writers.
                Queued::Probe(_) => None,
            });
        let waiting: Vec<Delivery> = self.hand.take().into_iter().chain(from_queue).collect();
        let late = self.late(clock::now());
        for delivery in waiting {
            match self.around.doors.writer_of(&delivery.packet.device) {
                // It has room of its own, so the queue has a place for it.
                Some(writer) if !late.contains(&writer) => {
                    let queued_at = clock::now();
                    self.around.doors.hand_over(Delivery {
                        queued_at,
                        ..delivery
                    });
                }
                _ => self.hand.push(delivery),
            }
        }
    }
}

/// A packet as it lies on disk, and what its device hears when it does.
fn entry(packet: &Received) -> (EntryRef<'_>, Outcome) {
    let (content, outcome) = match &packet.content {
        Content::Packet => (ContentRef::Packet, Outcome::Durable(Store::Spool)),
        Content::Broken { code, reason, .. } => (
            ContentRef::Broken { code, reason },
            Outcome::QuarantinedForGood(Store::Spool),
        ),
    };
    let entry = EntryRef {
        imei: packet.device.imei,
        received_at_us: packet.received_at_us,
        port: packet.port,
        peer: packet.address,
        n_records: packet.n_records,
        maybe_resend: packet.maybe_resend,
        is_new: packet.device.is_new(),
        content,
        frame: &packet.frame,
    };
    (entry, outcome)
}

fn open(conf: &conf::Spool) -> Result<Arc<Spool>, SpoolError> {
    let settings = Settings {
        max_size: conf.max_size,
        keep_free: conf.keep_free,
        // A bound of a few segments only would keep the drained ones too long.
        segment_size: SEGMENT_BYTES.min(conf.max_size / 8),
    };
    let folder = Folder::make(&conf.directory).map_err(|source| SpoolError::Disk {
        doing: "make",
        file: ".".to_owned(),
        place: conf.directory.display().to_string(),
        source,
    })?;
    let (spool, Opened { depth, damaged }) = Spool::open(Arc::new(folder), settings)?;
    facts::say(
        Fact::SpoolOpened,
        format_args!(
            "directory={} entries={} records={} bytes={}",
            conf.directory.display(),
            depth.entries,
            depth.records,
            depth.bytes
        ),
    );
    damaged.iter().for_each(tell_damage);
    Ok(Arc::new(spool))
}
