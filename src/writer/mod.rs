//! A writer: takes deliveries from its queue, stores a batch in one transaction, and only then says so.
//!
//! A batch is whatever is queued when the writer becomes free, capped by records and bytes; there is no timer. Errors have
//! classes: the same again, through staging, split until the guilty packet is alone, or a person is needed. A database that is
//! away means no receipts, so no acks; the sessions wait. `batch.rs` gathers, `encode.rs` makes rows, `link.rs` holds the
//! line to the database, this file decides.
//!
//! Invariant: a delivery is resolved as durable only after the commit, and never by a retired generation.

mod batch;
mod encode;
mod link;
mod state;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use twox_hash::XxHash3_64;

use crate::backoff::Backoff;
use crate::clock;
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact, Reminder};
use crate::intake::{Content, Delivery, WriterMessage};
use crate::life::Life;
use crate::mailbox::Outcome;
use crate::notes::{Note, Notes};
use crate::room::Room;
use crate::store::error::StoreError;
use crate::store::insert::Inserter;
use crate::store::quarantine::{self, QuarantineEntry, Seen};

use batch::Batch;
use encode::Encoder;
use link::{Failed, RETRY, RETRY_SLOWLY};
pub use state::{Link, WriterState};

/// What a writer thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Its queue; the next generation reads the same one.
    pub queue: Receiver<WriterMessage>,
    /// What others see of it, shared by its generations.
    pub state: Arc<WriterState>,
    /// The room that its receipts give back.
    pub room: Arc<Room>,
    /// The keeper's queue.
    pub notes: Notes,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
}

/// How long an idle writer waits before it looks whether it shall end.
const IDLE: Duration = Duration::from_millis(250);

/// Serves the queue until `life` says stop; then stores what is queued and ends.
///
/// Blocks in the queue for `life.patience()`, in the database for its time-outs.
pub fn run(life: &Life, around: &Surroundings) {
    let mut writer = Writer {
        life,
        around,
        inserter: None,
        backend: None,
        encoder: Encoder::default(),
        retry: Backoff::new(RETRY.0, RETRY.1),
        retry_slowly: Backoff::new(RETRY_SLOWLY.0, RETRY_SLOWLY.1),
        reminder: Reminder::default(),
    };
    let mut batch = Batch::new(around.database.batch_records);
    // A predecessor may have died in the middle.
    around.state.set_in_database(false);
    while !life.is_retired() {
        life.beat();
        batch.gather(&around.queue, life.patience().min(IDLE));
        if !batch.is_empty() {
            fail::fail_point!("writer-batch");
            around.state.set_in_database(true);
            writer.store(batch.take());
            around.state.set_in_database(false);
            around.room.wake();
        } else if life.is_stopping() {
            break;
        } else if writer.inserter.is_none() && around.state.schema_is_ready() {
            // Connecting before the first delivery: its ack shall not wait for it.
            writer.try_connect();
        }
        if life.is_stopping() && !(life.is_draining() && life.may_finish()) {
            break;
        }
    }
    if !life.is_retired() {
        writer.disconnect();
    }
}

/// One of the ways into quarantine.
type Keep = fn(&mut postgres::Client, &QuarantineEntry<'_>) -> Result<Seen, StoreError>;

struct Writer<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    inserter: Option<Inserter>,
    /// The server's side of the connection.
    backend: Option<i32>,
    encoder: Encoder,
    retry: Backoff,
    retry_slowly: Backoff,
    reminder: Reminder,
}

impl Writer<'_> {
    /// Stores deliveries and resolves them. What is not resolved when this returns was given back un-acked.
    fn store(&mut self, deliveries: Vec<Delivery>) {
        let (packets, broken): (Vec<_>, Vec<_>) = deliveries
            .into_iter()
            .partition(|delivery| matches!(delivery.content, Content::Packet));
        self.store_packets(packets);
        for delivery in broken {
            self.store_broken(delivery);
        }
    }

    fn store_packets(&mut self, packets: Vec<Delivery>) {
        // Parts still to be stored, the next one last; more than one only while a refused batch is taken apart.
        let mut parts = vec![(packets, false)];
        while let Some((mut part, mut all_staged)) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            loop {
                match self.try_store(&part, all_staged) {
                    Ok(()) => {
                        self.resolve(part);
                        break;
                    }
                    Err(Failed::Again) => all_staged = true,
                    Err(Failed::Known) if !all_staged => all_staged = true,
                    // Staging passes over known records, so a key of somebody else's making refuses one here.
                    Err(Failed::Split | Failed::Known) if part.len() == 1 => {
                        if let Some(delivery) = part.pop() {
                            self.store_refused(delivery);
                        }
                        break;
                    }
                    Err(Failed::Split | Failed::Known) => {
                        facts::say(Fact::BatchSplit, format_args!("packets={}", part.len()));
                        let second = part.split_off(part.len() / 2);
                        parts.push((second, all_staged));
                        parts.push((part, all_staged));
                        break;
                    }
                    Err(Failed::GivenUp) => {
                        let packets =
                            part.len() + parts.iter().map(|(part, _)| part.len()).sum::<usize>();
                        facts::say(
                            Fact::DeliveriesDropped,
                            format_args!("packets={packets}: their devices send them again"),
                        );
                        return;
                    }
                }
            }
        }
    }

    /// One transaction for all of `packets`.
    fn try_store(&mut self, packets: &[Delivery], all_staged: bool) -> Result<(), Failed> {
        self.encoder.encode(packets, all_staged);
        let started = clock::now();
        let mut encoder = std::mem::take(&mut self.encoder);
        let result = self.with_database(|inserter| {
            fail::fail_point!("writer-insert");
            inserter.insert(&mut encoder.direct, &mut encoder.staged)
        });
        self.encoder = encoder;
        match result {
            Ok(_) => {
                let n_records = self.encoder.direct.len() + self.encoder.staged.len();
                self.around
                    .state
                    .count_batch(n_records, clock::now() - started);
                Ok(())
            }
            Err(failed) => Err(failed),
        }
    }

    /// The rows are committed: says so to everybody who waits for it.
    fn resolve(&mut self, packets: Vec<Delivery>) {
        if self.life.is_retired() {
            return;
        }
        for delivery in packets {
            delivery.ticket.resolve(Outcome::Durable);
        }
        self.around.notes.leave_latest(self.encoder.take_latest());
    }

    /// A packet that the database refuses, alone as it is, goes to quarantine for good.
    fn store_refused(&mut self, delivery: Delivery) {
        let reason = self.around.state.last_error();
        let entry = QuarantineEntry {
            code: "refused_by_database",
            reason: &reason,
            ..entry(&delivery)
        };
        let Some(seen) = self.quarantine(quarantine::refused, &entry) else {
            return;
        };
        if !seen.acked {
            return delivery.ticket.resolve(Outcome::SendAgain);
        }
        let (imei, bytes) = (delivery.device.imei, delivery.frame.len());
        facts::say(
            Fact::PacketRefused,
            format_args!(
                "imei={imei} bytes={bytes} records={} reason={reason:?}",
                delivery.n_records
            ),
        );
        if !self.life.is_retired() {
            delivery.ticket.resolve(Outcome::Durable);
        }
    }

    /// Brings `entry` to quarantine by `keep`; `None` when the thread may not go on.
    fn quarantine(&mut self, keep: Keep, entry: &QuarantineEntry<'_>) -> Option<Seen> {
        let seen = loop {
            match self.with_database(|inserter| keep(inserter.client(), entry)) {
                Ok(seen) => break seen,
                Err(Failed::Again) => {}
                Err(Failed::Known | Failed::Split) => self.quarantine_refused(),
                Err(Failed::GivenUp) => return None,
            }
        };
        self.around.notes.leave(Note::Quarantined);
        if seen.is_full {
            let imei = entry
                .imei
                .map_or_else(|| "-".to_owned(), |imei| imei.to_string());
            facts::say(
                Fact::QuarantineFull,
                format_args!(
                    "imei={imei}: such packets of it are not acked any more; look with `trackport quarantine list --imei {imei}`, \
                     then retry, or export and remove"
                ),
            );
        }
        Some(seen)
    }

    /// Quarantine takes any bytes; when the table refuses them all the same, somebody has changed it.
    fn quarantine_refused(&mut self) {
        let error = StoreError::Refused(self.around.state.last_error());
        self.person_needed(&error);
    }

    /// A packet that cannot be read goes to quarantine; the third time for good.
    fn store_broken(&mut self, delivery: Delivery) {
        let Content::Broken {
            code,
            ref reason,
            declared,
        } = delivery.content
        else {
            return;
        };
        let entry = QuarantineEntry {
            code,
            reason,
            n_records: declared.map(i32::from),
            ..entry(&delivery)
        };
        let Some(seen) = self.quarantine(quarantine::report, &entry) else {
            return;
        };
        if self.life.is_retired() {
            return;
        }
        if seen.acked {
            let imei = delivery.device.imei;
            facts::say(
                Fact::PacketQuarantined,
                format_args!(
                    "imei={imei} seen={} reason={reason:?}: kept and acked, so that the device goes on",
                    seen.n_seen
                ),
            );
            delivery.ticket.resolve(Outcome::QuarantinedForGood);
        } else {
            delivery.ticket.resolve(Outcome::SendAgain);
        }
    }
}

fn entry(delivery: &Delivery) -> QuarantineEntry<'_> {
    QuarantineEntry {
        imei: Some(delivery.device.imei),
        device_id: Some(delivery.device.id()),
        received_at: clock::system_time(delivery.received_at_us),
        port: Some(i32::from(delivery.port)),
        address: Some(delivery.peer.ip().to_canonical()),
        code: "",
        reason: "",
        bytes: &delivery.frame,
        digest: XxHash3_64::oneshot(&delivery.frame).cast_signed(),
        n_records: Some(i32::from(delivery.n_records)),
    }
}
