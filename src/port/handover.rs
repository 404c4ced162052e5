//! From a packet to its ack: the delivery goes to the device's writer, its receipt comes back, the ack goes out.
//!
//! One packet of a session is on its way at a time, and nothing is read from the session until its receipt is there. A
//! full queue never blocks and never drops: the packet stays with its session, which is not read meanwhile.

use std::sync::Arc;

use super::slot::{Pending, Phase, Weight};
use super::thread::{Thread, text};
use super::traced::said;
use crate::clock;
use crate::facts::{self, Fact};
use crate::intake::{Content, Delivery, Received, Ticket};
use crate::mailbox::{Outcome, Passed, SessionId};
use crate::notes::Note;
use crate::protocol::teltonika::PacketError;
use crate::trace::Seen;
use crossbeam_channel::Sender;
use twox_hash::XxHash3_64;

impl Thread {
    /// A checked packet has arrived; `more_behind` when bytes follow it.
    pub(super) fn take_packet(
        &mut self,
        index: usize,
        n_records: u8,
        frame: &[u8],
        more_behind: bool,
    ) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.early && !slot.early_reported {
            slot.early_reported = true;
            let (port, imei) = (&self.port.label, text(slot.imei()));
            facts::say(
                Fact::SendsBeforeAck,
                format_args!(
                    "port={port} imei={imei}: set the device's ACK type to AVL, or what it sends can be lost on the way"
                ),
            );
            if let Some(device_id) = slot.device.as_ref().and_then(|device| device.id()) {
                let at_us = clock::wall_us();
                self.around
                    .notes
                    .leave(Note::SendsBeforeAck { device_id, at_us });
            }
        }
        slot.early = more_behind;
        self.around.stalls.passed(slot.peer.ip(), frame.len());
        if slot.is_login_untold {
            self.tell_login(index);
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        // Only the first packet that this process sees of a device can repeat what it does not remember; of the others
        // only a byte-identical one counts. Regrouped records that are there already are noticed by the database's key.
        let digest = XxHash3_64::oneshot(frame);
        let maybe_resend = match &slot.device {
            Some(device) => {
                let last = device.swap_last_packet(digest);
                last == digest || last == 0
            }
            None => true,
        };
        self.take(index, n_records, frame, Content::Packet, maybe_resend);
    }

    /// A packet that cannot be read has arrived.
    pub(super) fn take_broken(
        &mut self,
        index: usize,
        frame: &[u8],
        error: PacketError,
        declared: Option<u8>,
    ) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let (port, peer, imei) = (&self.port.label, slot.peer, text(slot.imei()));
        let bytes = frame.len();
        facts::say(
            Fact::PacketBroken,
            format_args!("port={port} peer={peer} imei={imei} bytes={bytes} error={error}"),
        );
        // An ack of no records would not move the device on.
        let declared = declared.filter(|&n_records| n_records > 0);
        let content = Content::Broken {
            code: error.code().into(),
            reason: error.to_string(),
            declared,
        };
        self.take(index, declared.unwrap_or(0), frame, content, true);
    }

    fn take(
        &mut self,
        index: usize,
        n_records: u8,
        frame: &[u8],
        content: Content,
        maybe_resend: bool,
    ) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.pending = Some(Box::new(Pending {
            frame: frame.into(),
            n_records,
            content,
            received_at_us: clock::wall_us(),
            received_at: clock::now_us(),
            maybe_resend,
            _weight: Weight::new(frame.len() + size_of::<Pending>(), &self.waiting),
        }));
        match (&slot.device, self.port.conf.device) {
            (None, Some(pinned)) => self.identify(index, pinned),
            _ => self.hand_over(index),
        }
    }

    /// Gives the session's packet to the device's writer, or lets it wait for room.
    pub(super) fn hand_over(&mut self, index: usize) {
        if !self.try_hand_over(index) {
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            if !matches!(slot.phase, Phase::Stalled) {
                slot.phase = Phase::Stalled;
                let session = slot.id(index);
                self.stalled.push_back(session);
                self.sweep_stalled();
                self.trace(index, || said("the packet waits: the queue is full"));
                let (used, limit) = (self.around.room.used(), self.around.room.limit());
                facts::say(
                    Fact::QueueFull,
                    format_args!(
                        "port={} bytes={used} limit={limit}: reading rests until the writers have stored some",
                        self.port.label
                    ),
                );
            }
            self.around.room.wait(&self.inbox);
            // Room may have come between the try and the asking.
            if self.try_hand_over(index) {
                self.stalled.pop_back();
            }
        }
    }

    fn try_hand_over(&mut self, index: usize) -> bool {
        if self.life.is_retired() {
            // Nobody would hear the ack; the device sends again to the successor.
            return true;
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return true;
        };
        let session = slot.id(index);
        let (Some(device), Some(pending)) = (slot.device.clone(), slot.pending.take()) else {
            return true;
        };
        let Some(hold) = self
            .around
            .room
            .take(&self.port_share(), pending.frame.len())
        else {
            self.slots[index].pending = Some(pending);
            return false;
        };
        let pending = *pending;
        let slot = &mut self.slots[index];
        let packet = Arc::new(Received {
            device,
            received_at_us: pending.received_at_us,
            port: self.port.address.port(),
            address: slot.peer.ip(),
            frame: pending.frame,
            n_records: pending.n_records,
            content: pending.content,
            maybe_resend: pending.maybe_resend,
        });
        slot.phase = Phase::InFlight(pending.received_at);
        self.n_in_flight += 1;
        let delivery = Delivery {
            packet,
            queued_at: clock::now(),
            ticket: Ticket::new(self.session_ref(session), hold),
        };
        self.around.doors.hand_over(delivery);
        true
    }

    fn port_share(&self) -> Arc<crate::room::Share> {
        Arc::clone(&self.port.share)
    }

    /// Forgets who does not wait for room any more, once they may outnumber the sessions.
    fn sweep_stalled(&mut self) {
        if self.stalled.len() > 2 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.stalled.retain(|session| {
                slots.get(session.slot as usize).is_some_and(|slot| {
                    slot.serial == session.serial && matches!(slot.phase, Phase::Stalled)
                })
            });
        }
    }

    /// There may be room again: the longest waiting goes first.
    pub(super) fn retry_stalled(&mut self) {
        let mut n = 0;
        while let Some(session) = self.stalled.pop_front() {
            n += 1;
            self.beat_within(n);
            let Some((index, slot)) = self.find(session) else {
                continue;
            };
            if !matches!(slot.phase, Phase::Stalled) {
                continue;
            }
            if !self.try_hand_over(index) {
                self.stalled.push_front(session);
                self.around.room.wait(&self.inbox);
                return;
            }
        }
    }

    /// A delivery's outcome. One that fits no packet in flight is from a session that is gone.
    pub(super) fn handle_receipt(&mut self, session: SessionId, outcome: Outcome) {
        let Some((index, slot)) = self.find(session) else {
            return;
        };
        let Phase::InFlight(received_at) = slot.phase else {
            return;
        };
        slot.phase = Phase::Open;
        self.n_in_flight -= 1;
        let slot = &mut self.slots[index];
        let ack = match outcome {
            Outcome::Durable(store) => Some((slot.session.durable(clock::now()), store)),
            Outcome::QuarantinedForGood(store) => {
                let ack = slot.session.quarantined_for_good(clock::now());
                ack.map(|ack| (ack, store))
            }
            Outcome::SendAgain | Outcome::Lost => None,
        };
        match ack {
            Some((ack, store)) => {
                let n_records = ack[3];
                let sent = slot.send(&ack, clock::now());
                self.trace(index, || Seen::Answered(outcome, ack.into()));
                if sent.is_err() {
                    return self.drop_slot(index, "ack not sent");
                }
                self.port.count_ack(n_records, clock::wall_us());
                let took = clock::now_us().saturating_sub(received_at);
                self.around.acks.count(store, took);
            }
            None if outcome == Outcome::Lost => return self.close(index, "delivery given back"),
            None => return self.close(index, "packet not readable"),
        }
        if !self.life.is_stopping() {
            self.turn(index);
        }
    }

    /// Sends a watchdog probe on through a writer's queue.
    pub(super) fn pass_probe(&self, passed: Sender<Passed>) {
        self.around.doors.pass_probe(passed);
    }
}
