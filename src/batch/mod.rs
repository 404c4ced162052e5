//! A lot of packets into the database, whoever brings it: a writer what just arrived, the drain what lay in the spool.
//!
//! Errors have classes: the same again, through staging, split until the guilty packet is alone, or a person is needed. A
//! database that is away is waited for. `encode.rs` makes rows, `line.rs` holds the line to the database, `state.rs` is what
//! others see of it, this file decides.
//!
//! A lot may lose packets while it is being stored, because the spool takes over what waits too long. The rows are tried all
//! the same until the database has taken them: that is how it shows that it is well again, and rows that are there twice are one.
//!
//! Invariant: a packet is settled as durable only after the commit, and never by a retired generation.

mod encode;
mod line;
mod state;

use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::clock;
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact};
use crate::intake::{Content, Received};
use crate::life::Life;
use crate::mailbox::{Outcome, Store};
use crate::notes::{Note, Notes};
use crate::store::error::StoreError;
use crate::store::quarantine::{self, QuarantineEntry, Seen};

use encode::Encoder;
use line::Failed;
pub use line::Line;
pub use state::{LineState, Link};

/// Packets to be stored in their order, and whoever waits to hear what became of them.
pub trait Lot {
    /// Packets that are left.
    fn len(&self) -> usize;

    /// Whether none is left.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `n` packets, or those of them that are left.
    fn packets(&self, n: usize) -> Vec<Arc<Received>>;

    /// The first `n` packets have this outcome and leave the lot.
    fn settle(&mut self, n: usize, outcome: Outcome);

    /// Whether the devices have their acks already, so that nothing of it may be refused.
    fn is_acked(&self) -> bool;
}

/// The thread has to end: what is left in the lot is not stored.
#[derive(Debug)]
pub struct GivenUp;

/// What stores lots: a line to the database and the memory in which rows are made.
pub struct Storer<'a> {
    /// The line.
    pub line: Line<'a>,
    encoder: Encoder,
    notes: &'a Notes,
}

/// One of the ways into quarantine.
type Keep = fn(&mut postgres::Client, &QuarantineEntry<'_>) -> Result<Seen, StoreError>;

impl<'a> Storer<'a> {
    /// A storer for the thread of `life` that is not connected yet.
    pub fn new(
        life: &'a Life,
        state: &'a LineState,
        database: &'a Database,
        timeouts: &'a Timeouts,
        application: &'a str,
        notes: &'a Notes,
    ) -> Storer<'a> {
        Storer {
            line: Line::new(life, state, database, timeouts, application),
            encoder: Encoder::default(),
            notes,
        }
    }

    /// Stores every packet of `lot` and settles it. Blocks in the database, waiting for one that is away as long as the thread may go on.
    ///
    /// # Errors
    /// When the thread has to end; the packets that are left are the caller's.
    pub fn store(&mut self, lot: &mut dyn Lot) -> Result<(), GivenUp> {
        let stored = self.store_all(lot);
        // The rows hold their devices, and nobody tries them again.
        self.encoder.clear();
        stored
    }

    fn store_all(&mut self, lot: &mut dyn Lot) -> Result<(), GivenUp> {
        while !lot.is_empty() {
            match packets_in_front(lot) {
                0 => self.store_broken(lot)?,
                n_packets => self.store_packets(lot, n_packets)?,
            }
        }
        Ok(())
    }

    /// Stores the first `n_packets` of the lot, all of which can be read.
    fn store_packets(&mut self, lot: &mut dyn Lot, n_packets: usize) -> Result<(), GivenUp> {
        // Sizes of the parts still to be stored, the next one last; more than one only while a refused lot is taken apart.
        let mut parts = vec![n_packets];
        let mut all_staged = false;
        while let Some(n) = parts.pop() {
            if lot.is_empty() {
                return Ok(());
            }
            loop {
                match self.try_store(lot, n, all_staged) {
                    Ok(()) => {
                        if !self.line.life().is_retired() {
                            lot.settle(n, Outcome::Durable(Store::Database));
                            self.notes.leave_latest(self.encoder.take_latest());
                        }
                        break;
                    }
                    // Others have taken the packets over, and the database is well enough to refuse their rows.
                    Err(Failed::Split | Failed::Known) if lot.is_empty() => return Ok(()),
                    Err(Failed::Again) => all_staged = true,
                    Err(Failed::Known) if !all_staged => all_staged = true,
                    // Staging passes over known records, so a key of somebody else's making refuses one here.
                    Err(Failed::Split | Failed::Known) if n == 1 => {
                        self.store_refused(lot)?;
                        break;
                    }
                    Err(Failed::Split | Failed::Known) => {
                        facts::say(Fact::BatchSplit, format_args!("packets={n}"));
                        parts.push(n - n / 2);
                        parts.push(n / 2);
                        break;
                    }
                    Err(Failed::GivenUp) => return Err(GivenUp),
                }
            }
        }
        Ok(())
    }

    /// One transaction for the first `n` packets. Rows that were made stay as they are when others take the packets over meanwhile.
    fn try_store(&mut self, lot: &dyn Lot, n: usize, all_staged: bool) -> Result<(), Failed> {
        if !lot.is_empty() {
            self.encoder.clear();
            for packet in lot.packets(n) {
                #[cfg(feature = "faults")]
                poison(&packet);
                if !self.encoder.add(&packet, all_staged) {
                    let error = "this program cannot make rows of what its port has checked";
                    self.line.state().set_error(error);
                    return Err(Failed::Split);
                }
            }
        }
        let encoder = &mut self.encoder;
        let started = clock::now();
        self.line.with_database(&|| is_awaited(lot), |inserter| {
            fail::fail_point!("writer-insert");
            inserter.insert(&mut encoder.direct, &mut encoder.staged)
        })?;
        let n_records = encoder.direct.len() + encoder.staged.len();
        let took_ms = clock::now() - started;
        self.line.state().count_batch(n_records, took_ms);
        Ok(())
    }

    /// The first packet is refused by the database, alone as it is: it goes to quarantine for good.
    fn store_refused(&mut self, lot: &mut dyn Lot) -> Result<(), GivenUp> {
        let reason = self.line.state().last_error();
        let (keep, code) = (quarantine::refused, "refused_by_database");
        let Some((packet, seen)) = self.quarantine(lot, keep, code, &reason)? else {
            return Ok(());
        };
        if seen.acked {
            facts::say(
                Fact::PacketRefused,
                format_args!(
                    "imei={} bytes={} records={} reason={reason:?}",
                    packet.device.imei,
                    packet.frame.len(),
                    packet.n_records
                ),
            );
            lot.settle(1, Outcome::Durable(Store::Database));
        } else {
            lot.settle(1, Outcome::SendAgain);
        }
        Ok(())
    }

    /// The first packet cannot be read: it goes to quarantine; the third time for good.
    fn store_broken(&mut self, lot: &mut dyn Lot) -> Result<(), GivenUp> {
        let first = lot.packets(1).pop();
        let Some(Content::Broken { code, reason, .. }) = first.as_ref().map(|one| &one.content)
        else {
            // Somebody took it over meanwhile.
            return Ok(());
        };
        let keep = quarantine::report;
        let Some((packet, seen)) = self.quarantine(lot, keep, code, reason)? else {
            return Ok(());
        };
        if seen.acked {
            facts::say(
                Fact::PacketQuarantined,
                format_args!(
                    "imei={} seen={} reason={reason:?}: kept and acked, so that the device goes on",
                    packet.device.imei, seen.n_seen
                ),
            );
            lot.settle(1, Outcome::QuarantinedForGood(Store::Database));
        } else {
            lot.settle(1, Outcome::SendAgain);
        }
        Ok(())
    }

    /// Brings the first packet to quarantine by `keep`, or for good where its device has its ack already; `None` when the lot has lost
    /// it, or another generation has taken this one's place.
    fn quarantine(
        &mut self,
        lot: &dyn Lot,
        keep: Keep,
        code: &str,
        reason: &str,
    ) -> Result<Option<(Arc<Received>, Seen)>, GivenUp> {
        let Some(packet) = lot.packets(1).pop() else {
            return Ok(None);
        };
        let keep = if lot.is_acked() { keep_acked } else { keep };
        let entry = entry(&packet, code, reason);
        // Quarantine takes any bytes.
        let seen = self
            .line
            .ask(&|| is_awaited(lot), |client| keep(client, &entry))?;
        self.notes.leave(Note::Quarantined);
        if seen.is_full {
            let imei = packet.device.imei;
            facts::say(
                Fact::QuarantineFull,
                format_args!(
                    "imei={imei}: such packets of it are not acked any more; look with `trackport quarantine list --imei {imei}`, \
                     then retry, or export and remove"
                ),
            );
        }
        Ok((!self.line.life().is_retired()).then_some((packet, seen)))
    }
}

/// A fault of the tests: packets of one device that stop whoever makes rows of them.
#[cfg(feature = "faults")]
fn poison(packet: &Received) {
    fail::fail_point!("encode-packet", |imei: Option<String>| assert!(
        imei != Some(packet.device.imei.to_string()),
        "poisoned"
    ));
}

/// Keeps a packet whose device has its ack already.
fn keep_acked(
    client: &mut postgres::Client,
    entry: &QuarantineEntry<'_>,
) -> Result<Seen, StoreError> {
    quarantine::keep_acked(client, entry)?;
    Ok(Seen {
        n_seen: quarantine::N_SEEN_TO_ACK,
        acked: true,
        is_full: false,
    })
}

/// Whether a device waits for its ack: a thread that shall end goes on for that only.
fn is_awaited(lot: &dyn Lot) -> bool {
    !lot.is_acked() && !lot.is_empty()
}

/// How many packets at the front can be read.
fn packets_in_front(lot: &dyn Lot) -> usize {
    let packets = lot.packets(usize::MAX);
    let can_be_read = |packet: &&Arc<Received>| matches!(packet.content, Content::Packet);
    packets.iter().take_while(can_be_read).count()
}

fn entry<'a>(packet: &'a Received, code: &'a str, reason: &'a str) -> QuarantineEntry<'a> {
    let n_records = match packet.content {
        Content::Packet => Some(packet.n_records),
        Content::Broken { declared, .. } => declared,
    };
    QuarantineEntry {
        imei: Some(packet.device.imei),
        device_id: packet.device.id(),
        received_at: clock::system_time(packet.received_at_us),
        port: Some(i32::from(packet.port)),
        address: Some(packet.address.to_canonical()),
        code,
        reason,
        bytes: &packet.frame,
        digest: XxHash3_64::oneshot(&packet.frame).cast_signed(),
        n_records: n_records.map(i32::from),
    }
}
