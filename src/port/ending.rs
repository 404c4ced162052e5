//! How sessions end: by time-out, on request, by an answer that closes, by a broken connection, with the thread.
//!
//! Closing shuts down writing and throws away what still comes for a moment, so that an ack on its way is not
//! destroyed by a reset.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::Events;

use super::slot::{Got, Phase};
use super::thread::{STOPPING_WAIT, Thread, slot_of, text};
use super::traced::said;
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::fleet::Device;
use crate::mailbox::{CloseReason, SessionId};
use crate::notes::Note;
use crate::protocol::teltonika::session::Expired;

/// How long a closed connection's last bytes are thrown away before its descriptor is given up.
const LINGER_MS: Millis = 1_000;
/// The same for all connections of a thread that ends, together.
const END_LINGER_MS: Millis = 500;

impl Thread {
    pub(super) fn time_out(&mut self) {
        let now = clock::now();
        let mut n = 0;
        while let Some((session, at)) = self.timers.due(now) {
            n += 1;
            self.beat_within(n);
            let timeouts = self.timeouts;
            let Some((index, slot)) = self.find(session) else {
                continue;
            };
            if slot.planned != at {
                continue;
            }
            slot.planned = Millis::MAX;
            match slot.phase {
                _ if slot.reads_no_answers(&timeouts, now) => self.end_unread(index),
                Phase::Closing(until) if until <= now => self.free(index),
                Phase::Damped(imei, until) if until <= now => {
                    slot.phase = Phase::Open;
                    self.log_in(index, imei);
                    self.turn(index);
                    // One that must wait again has only as long as any login.
                    if let Some((index, slot)) = self.find(session)
                        && matches!(slot.phase, Phase::Damped(..))
                        && let Some(expired) = slot.session.expired(&timeouts, now)
                    {
                        self.expire(index, expired);
                    }
                }
                Phase::Slowed(until) if until <= now => {
                    slot.phase = Phase::Open;
                    self.turn(index);
                }
                Phase::Closing(_) | Phase::Damped(..) | Phase::Slowed(_) => {}
                _ => {
                    if let Some(expired) = slot.session.expired(&timeouts, now) {
                        self.expire(index, expired);
                    }
                }
            }
            // Whoever is still there is looked at again, whatever became of it.
            if let Some((index, slot)) = self.find(session) {
                let next = slot.deadline(&timeouts);
                let slot = &mut self.slots[index];
                self.timers.plan(session, &mut slot.planned, next);
            }
        }
        let slots = &self.slots;
        self.timers.sweep(slots.len(), |session| {
            let slot = slots.get(session.slot as usize)?;
            (slot.serial == session.serial).then_some(slot.planned)
        });
    }

    pub(super) fn expire(&mut self, index: usize, expired: Expired) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let (port, peer, imei) = (&self.port.label, slot.peer, text(slot.imei()));
        let (fact, why) = match expired {
            Expired::Login => (Fact::LoginTimeout, "no login in time"),
            Expired::Idle => (Fact::IdleTimeout, "idle too long"),
            Expired::HalfPacket => (Fact::PacketTimeout, "packet not completed in time"),
        };
        let bytes = slot.held.bytes().len();
        self.note_stall(index);
        facts::say(
            fact,
            format_args!("port={port} peer={peer} imei={imei} bytes_received={bytes}"),
        );
        self.close(index, why);
    }

    /// Ends the session of a device that reads no answers, and throws away at once what waits for it in the kernel.
    fn end_unread(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let (port, peer, imei) = (&self.port.label, slot.peer, text(slot.imei()));
        facts::say(
            Fact::AnswersNotRead,
            format_args!(
                "port={port} peer={peer} imei={imei}: none was taken for as long as [timeouts] packet"
            ),
        );
        slot.give_up_sending();
        self.drop_slot(index, "answers not read");
    }

    pub(super) fn close_asked(&mut self, session: SessionId, why: CloseReason) {
        let Some((index, slot)) = self.find(session) else {
            return;
        };
        let imei = text(slot.imei());
        let peer = slot.peer;
        let (fact, why) = match why {
            CloseReason::TakenOver => (Fact::TakenOver, "taken over by a newer login"),
            CloseReason::Refused => (Fact::SessionClosed, "device no longer accepted"),
            CloseReason::Asked => (Fact::SessionClosed, "asked over the control socket"),
        };
        if fact == Fact::TakenOver {
            // Its device has given the connection up.
            self.note_stall(index);
        }
        facts::say(
            fact,
            format_args!("port={} imei={imei} peer={peer} why={why}", self.port.label),
        );
        self.close(index, why);
    }

    pub(super) fn answer_and_close(&mut self, index: usize, answer: &[u8], why: &str) {
        if let Some(slot) = self.slots.get_mut(index) {
            // A failed write means that nobody is there to read it.
            let _ = slot.send(answer, clock::now());
        }
        self.close(index, why);
    }

    /// Ends a session: nothing more is sent after what was sent, and what still comes is thrown away for a moment, so
    /// that an ack on its way is not destroyed by a reset.
    pub(super) fn close(&mut self, index: usize, why: &str) {
        self.part(index, why);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.at_end {
            return self.free(index);
        }
        slot.shut_down_writing();
        let until = clock::now() + LINGER_MS;
        slot.phase = Phase::Closing(until);
        slot.readable = true;
        let session = slot.id(index);
        self.timers.plan(session, &mut slot.planned, until);
        self.ready.push_back(session);
    }

    /// Ends a session whose connection is broken.
    pub(super) fn drop_slot(&mut self, index: usize, why: &str) {
        self.part(index, why);
        self.free(index);
    }

    /// The device leaves and everything held is let go. Idempotent.
    pub(super) fn part(&mut self, index: usize, why: &str) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if matches!(slot.phase, Phase::Closing(_)) {
            return;
        }
        self.trace(index, || said(&format!("closed: {why}")));
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.held.keep(&[]);
        if let Phase::InFlight(_) = slot.phase {
            self.n_in_flight -= 1;
        }
        slot.phase = Phase::Open;
        slot.pending = None;
        slot.forget_unsent();
        let (peer, imei, session) = (slot.peer, text(slot.imei()), slot.id(index));
        let device = slot.device.take();
        facts::say(
            Fact::Disconnected,
            format_args!("port={} peer={peer} imei={imei} why={why}", self.port.label),
        );
        if let Some(device) = device
            && device.leave(&self.session_ref(session))
        {
            self.note_logged_out(&device);
        }
    }

    /// Tells the keeper that a device's session is over. Of a device without an id nothing was told.
    pub(super) fn note_logged_out(&self, device: &Device) {
        if let Some(device_id) = device.id() {
            let at_us = clock::wall_us();
            self.around
                .notes
                .leave(Note::LoggedOut { device_id, at_us });
        }
    }

    /// Reads what still comes on a closed session and forgets it.
    pub(super) fn discard(&mut self, index: usize, scratch: &mut [u8]) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        match slot.read(scratch) {
            Got::Bytes(_) if slot.readable => {
                let session = slot.id(index);
                self.ready.push_back(session);
            }
            Got::Bytes(_) | Got::Nothing => {}
            Got::End | Got::Broken(_) => self.free(index),
        }
    }

    pub(super) fn free(&mut self, index: usize) {
        if let Some(slot) = self.slots.try_remove(index) {
            self.port.forget(slot.id(index));
            // The descriptor closes with its last owner and leaves the readiness wait by that.
        }
    }

    /// Lets every session go; a device that waits for an ack will send again.
    pub(super) fn end(&mut self) {
        let n_stalled = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.phase, Phase::Stalled))
            .count();
        let unacked = self.n_in_flight + n_stalled;
        if unacked > 0 {
            self.port
                .counts
                .packets_unacked
                .fetch_add(unacked as u64, Ordering::Relaxed);
            facts::say(
                Fact::DeliveriesDropped,
                format_args!(
                    "port={} packets={unacked}: their devices send them again",
                    self.port.label
                ),
            );
        }
        let indices: Vec<usize> = self.slots.iter().map(|(index, _)| index).collect();
        for (n, &index) in indices.iter().enumerate() {
            self.beat_within(n);
            if let Some(slot) = self.slots.get_mut(index) {
                // Acks that receipts on their way allow were written before the writers ended; see the order of stopping.
                let _ = slot.flush();
            }
            self.close(index, "port stopped");
        }
        self.linger();
        for (n, &index) in indices.iter().enumerate() {
            self.beat_within(n);
            self.free(index);
        }
    }

    /// Throws away what still comes on the closed sessions until every device has closed its side as well, for a moment
    /// at most: closing a connection with bytes unread would reset it.
    fn linger(&mut self) {
        let until = clock::now() + END_LINGER_MS;
        let mut events = Events::with_capacity(1024);
        loop {
            self.life.beat();
            // At least once, even when time is up already.
            self.take_turns();
            let left = until.saturating_sub(clock::now());
            if self.slots.is_empty() || left == 0 || !self.life.may_finish() {
                return;
            }
            let wait = if self.ready.is_empty() {
                Duration::from_millis(left).min(STOPPING_WAIT)
            } else {
                Duration::ZERO
            };
            if self.poll.poll(&mut events, Some(wait)).is_err() {
                // The next round finds out whether there is time left.
                continue;
            }
            for event in &events {
                let Some(index) = slot_of(event) else {
                    continue;
                };
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.readable = true;
                    slot.read_closed |= event.is_read_closed() || event.is_error();
                    let session = slot.id(index);
                    self.ready.push_back(session);
                }
            }
        }
    }
}
