//! A writer: takes deliveries from its queue, stores a batch in one transaction, and only then says so.
//!
//! A batch is whatever is queued when the writer becomes free, capped by records and bytes; there is no timer. It lies in its
//! hand (`hand.rs`), where the spool takes it over when it waits too long; how it is stored is `batch`'s business. A batch that was
//! taken over is tried on all the same: when the database takes it, the writer reads its queue again.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::batch::{LineState, Lot, Storer};
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact};
use crate::hand::{Hand, InHand};
use crate::intake::{Queued, Received};
use crate::life::Life;
use crate::mailbox::{Outcome, Passed};
use crate::notes::Notes;
use crate::room::Room;

/// One writer's queue and state, through all its generations.
#[derive(Clone)]
pub struct Seat {
    /// The reading end, kept here so that the queue outlives the thread. While the hand is late it is the spool's to read.
    pub queue: Receiver<Queued>,
    /// The batch that it stores just now.
    pub hand: Arc<Hand>,
    /// How it stands with the database.
    pub state: Arc<LineState>,
}

/// What a writer thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// What its generations share.
    pub seat: Seat,
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
/// Bytes of packets in one batch at most.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// Serves the queue until `life` says stop; then stores what is queued and ends.
///
/// Blocks in the queue for `life.patience()`, in the database for its time-outs.
pub fn run(life: &Life, around: &Surroundings) {
    let state = &around.seat.state;
    let mut storer = Storer::new(
        life,
        state,
        &around.database,
        &around.timeouts,
        &around.application,
        &around.notes,
    );
    while !life.is_retired() {
        life.beat();
        // A successor has the hand.
        let Some(mut batch) = gather(life, around) else {
            return;
        };
        if !batch.is_empty() {
            fail::fail_point!("writer-batch");
            if storer.store(&mut batch).is_ok() {
                batch.all_is_well();
            }
            let left = batch.take();
            if !left.is_empty() {
                facts::say(
                    Fact::DeliveriesDropped,
                    format_args!("packets={}: their devices send them again", left.len()),
                );
            }
            drop(left);
            around.room.wake();
        } else if life.is_stopping() {
            break;
        } else {
            if !storer.line.is_connected() && state.schema_is_ready() {
                // Connecting before the first delivery: its ack shall not wait for it.
                storer.line.try_connect();
            }
            // The last batch, or a predecessor, may have left something unsaid.
            if storer.line.is_connected() {
                batch.all_is_well();
            }
        }
        if life.is_stopping() && !(life.is_draining() && life.may_finish()) {
            break;
        }
    }
    if !life.is_retired() {
        storer.line.disconnect();
    }
}

/// Waits a moment for a first delivery and takes what else is queued; `None` when a successor has the hand.
fn gather<'a>(life: &Life, around: &'a Surroundings) -> Option<InHand<'a>> {
    let queue = &around.seat.queue;
    let mut next = queue.recv_timeout(life.patience().min(IDLE)).ok();
    // What was received is dropped where a successor has the hand; its device sends it again.
    let mut batch = around.seat.hand.begin(life)?;
    let (mut n_records, mut n_bytes) = (0, 0);
    while let Some(message) = next {
        match message {
            Queued::Delivery(delivery) => {
                n_records += usize::from(delivery.packet.n_records);
                n_bytes += delivery.packet.frame.len();
                batch.push(*delivery);
            }
            Queued::Probe(passed) => {
                // An error means that nobody waits for it any more.
                let _ = passed.try_send(Passed::Writer);
            }
        }
        if n_records >= around.database.batch_records || n_bytes >= BATCH_BYTES_MAX {
            break;
        }
        next = queue.try_recv().ok();
    }
    batch.arrange();
    Some(batch)
}

impl Lot for InHand<'_> {
    fn len(&self) -> usize {
        self.n_left()
    }

    fn packets(&self, n: usize) -> Vec<Arc<Received>> {
        InHand::packets(self, n)
    }

    fn settle(&mut self, n: usize, outcome: Outcome) {
        self.resolve(std::iter::repeat_n(outcome, n));
    }

    fn is_acked(&self) -> bool {
        false
    }
}
