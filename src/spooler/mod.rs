//! The spool thread: takes over what waits too long for the database, makes it durable on disk, and only then says so.
//!
//! What waits too long is known by each writer's hand: the batch in it, and everything in the writer's queue for as long as that
//! batch is not finished. Packets of devices that the database has given no id yet have a queue of their own. One sync makes a
//! whole group durable. When the spool cannot be used, or is full, packets wait where they are and are not acked: nothing is dropped.
//!
//! Invariant: a delivery is resolved as durable only after the sync of its group, and never by a retired generation.

mod broken;
mod state;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender};

use crate::backoff::Backoff;
use crate::batch::Link;
use crate::clock::{self, Millis};
use crate::conf::{self, Timeouts};
use crate::facts::{self, Fact, Reminder};
use crate::hand::InHand;
use crate::intake::{Content, Delivery, WriterMessage};
use crate::life::Life;
use crate::mailbox::{Outcome, Passed};
use crate::room::Room;
use crate::spool::{
    Appender, Damage, DamageKind, Entry, EntryContent, Folder, Opened, SEGMENT_BYTES, Settings,
    Spool, SpoolError,
};
use crate::writer::Seat;

use broken::Sightings;
pub use state::{Rates, SpoolState};

/// What the spool thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// What its generations share.
    pub state: Arc<SpoolState>,
    /// Packets of devices without an id.
    pub queue: Receiver<WriterMessage>,
    /// The writers: where to find what waits, and where to send what need not go to disk after all.
    pub writers: Vec<(Seat, Sender<WriterMessage>)>,
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
/// Between two tries with a disk that refused, or a full one.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
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
        retry: Backoff::new(RETRY.0, RETRY.1),
        retry_at: 0,
        reminder: Reminder::default(),
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
        if now >= spooler.retry_at && spooler.open() && spooler.has_room() {
            spooler.collect(&late);
            spooler.store(late.is_empty());
        } else {
            spooler.do_without();
        }
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
    retry: Backoff,
    /// The disk is left alone until then.
    retry_at: Millis,
    reminder: Reminder,
}

impl Spooler<'_> {
    /// The writers whose packets have waited too long, by index.
    fn late(&self, now: Millis) -> Vec<usize> {
        let target = clock::millis(self.around.timeouts.ack_target);
        let seats = self.around.writers.iter().enumerate();
        seats
            .filter(|(_, (seat, _))| seat.hand.is_late(now, target))
            .map(|(index, _)| index)
            .collect()
    }

    fn is_idle(&self) -> bool {
        self.hand.n_left() == 0 && self.around.queue.is_empty()
    }

    /// Waits a moment, or until something is there for it.
    fn wait(&self, late: &[usize]) {
        let moment = LOOK_EVERY.min(self.life.patience());
        if clock::now() < self.retry_at {
            // Whatever is there, it cannot be taken yet.
            std::thread::sleep(moment);
            return;
        }
        let seats = || late.iter().map(|&index| &self.around.writers[index].0);
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
                    self.failed(Fact::SpoolUnusable, &error);
                    return false;
                }
            },
        };
        self.appender = Some(spool.appender());
        self.well();
        true
    }

    /// Whether a packet fits. A full spool takes nothing over that the database may still store in time.
    fn has_room(&mut self) -> bool {
        let Some(spool) = self.state.spool() else {
            return false;
        };
        match spool.room() {
            Ok(room) if room >= ROOM_MIN => {
                self.well();
                true
            }
            Ok(room) => {
                let needed = ROOM_MIN;
                self.failed(Fact::SpoolFull, &SpoolError::Full { needed, room });
                false
            }
            Err(error) => {
                self.failed(Fact::SpoolFailed, &error);
                false
            }
        }
    }

    fn well(&mut self) {
        self.state.set_trouble("");
        self.retry.reset();
        self.reminder.is_over();
    }

    fn failed(&mut self, fact: Fact, error: &SpoolError) {
        let text = error.to_string();
        let now = clock::now();
        match self.reminder.is_due(&text, now) {
            Some(lasting_s) => facts::say(
                fact,
                format_args!(
                    "error={text:?} lasting_s={lasting_s}: what the database does not take is not acked meanwhile"
                ),
            ),
            None => facts::count(fact),
        }
        self.state.set_trouble(&text);
        self.retry_at = now + clock::millis(self.retry.next());
    }

    /// Takes into its hands what the database does not take in time, up to a group.
    fn collect(&mut self, late: &[usize]) {
        let mut n_bytes = 0;
        for &index in late {
            for delivery in self.around.writers[index].0.hand.take_over() {
                n_bytes += self.take(delivery);
            }
        }
        let queues = late
            .iter()
            .map(|&index| &self.around.writers[index].0.queue)
            .chain([&self.around.queue]);
        for queue in queues {
            while n_bytes < GROUP_BYTES_MAX
                && let Ok(message) = queue.try_recv()
            {
                match message {
                    WriterMessage::Delivery(delivery) => n_bytes += self.take(*delivery),
                    WriterMessage::Probe(passed) => {
                        // An error means that nobody waits for it any more.
                        let _ = passed.try_send(Passed::Writer);
                    }
                }
            }
        }
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
                    self.state.count_in(packets, records);
                    if self.state.set_taking(true) {
                        facts::say(
                            Fact::SpoolTakes,
                            format_args!(
                                "records={records}: acks go on, the database gets them later"
                            ),
                        );
                    }
                    self.well();
                }
                Err(error) => {
                    let fact = match error {
                        SpoolError::Full { .. } => Fact::SpoolFull,
                        SpoolError::Superseded => return,
                        _ => Fact::SpoolFailed,
                    };
                    self.failed(fact, &error);
                    return;
                }
            }
        }
        let now = clock::now();
        if !none_is_late || self.hand.n_left() > 0 {
            self.busy_at = now;
        }
        if now >= self.busy_at + REST_AFTER_MS
            && self.database_is_there()
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

    /// Whether it is, as far as the writers know. Where only packets come that never wait for a writer, nobody is late.
    fn database_is_there(&self) -> bool {
        let writers = self.around.writers.iter();
        writers
            .map(|(seat, _)| seat.state.link())
            .any(|link| link == Link::Up)
    }

    /// Makes the front of what is in hand durable by one sync. Returns its packets and records.
    fn store_group(&mut self) -> Result<(u64, u64), SpoolError> {
        let Some(appender) = self.appender.as_mut() else {
            return Ok((0, 0));
        };
        // Copies, because the disk takes its time and whoever finds this thread hanging in it takes the deliveries away.
        let (mut entries, mut outcomes) = (Vec::new(), Vec::new());
        let (mut n_bytes, mut records) = (0, 0);
        self.hand.show_while(|delivery| {
            if n_bytes >= GROUP_BYTES_MAX {
                return false;
            }
            let (entry, outcome) = entry(delivery);
            n_bytes += entry.frame.len();
            records += entry.as_ref().records();
            entries.push(entry);
            outcomes.push(outcome);
            true
        });
        fail::fail_point!("spool-append");
        appender.append(entries.iter().map(Entry::as_ref))?;
        fail::fail_point!("spool-synced");
        let packets = outcomes.len() as u64;
        for outcome in outcomes {
            self.hand.resolve(1, outcome);
        }
        self.around.room.wake();
        Ok((packets, records))
    }

    /// The disk cannot be used: what the database can take after all goes there.
    fn do_without(&mut self) {
        let from_queue = self
            .around
            .queue
            .try_iter()
            .filter_map(|message| match message {
                WriterMessage::Delivery(delivery) => Some(*delivery),
                WriterMessage::Probe(_) => None,
            });
        let waiting: Vec<Delivery> = self.hand.take().into_iter().chain(from_queue).collect();
        let now = clock::now();
        let target = clock::millis(self.around.timeouts.ack_target);
        for delivery in waiting {
            let writer = delivery.packet.device.id().map(|id| {
                let index = usize::try_from(id).unwrap_or(0) % self.around.writers.len();
                &self.around.writers[index]
            });
            match writer {
                Some((seat, queue)) if !seat.hand.is_late(now, target) && !queue.is_full() => {
                    // It has room of its own, so the queue has a place; an answer of `Lost` is the worst that can come of it.
                    let _ = queue.try_send(WriterMessage::Delivery(Box::new(delivery)));
                }
                _ => self.hand.push(delivery),
            }
        }
    }
}

/// A delivery as it lies on disk, and what its device hears when it does.
fn entry(delivery: &Delivery) -> (Entry, Outcome) {
    let packet = &delivery.packet;
    let (content, outcome) = match &packet.content {
        Content::Packet => (EntryContent::Packet, Outcome::Durable),
        Content::Broken { code, reason, .. } => {
            let (code, reason) = (code.to_string(), reason.clone());
            let content = EntryContent::Broken { code, reason };
            (content, Outcome::QuarantinedForGood)
        }
    };
    let entry = Entry {
        imei: packet.device.imei,
        received_at_us: packet.received_at_us,
        port: packet.port,
        peer: packet.address,
        n_records: packet.n_records,
        maybe_resend: packet.maybe_resend,
        is_new: packet.device.is_new,
        content,
        frame: packet.frame.clone(),
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

/// Says what could not be read. A write that a crash interrupted was never acked.
pub fn tell_damage(damage: &Damage) {
    let fact = match damage.kind {
        DamageKind::TornTail { .. } => Fact::SpoolTorn,
        _ => Fact::SpoolDamaged,
    };
    facts::say(fact, format_args!("{damage}"));
}
