//! When a session is not read although it is open: too many bytes are kept of all of them, or its device sends too much.
//!
//! Nothing is lost by that: what is not read waits in the device, held back by TCP.

use super::slot::Phase;
use super::thread::{Thread, text};
use super::traced::said;
use crate::clock;
use crate::facts::{self, Fact};

/// Resting sessions that are read again in one round. Few, so that they cannot all overdraw the budget at once.
const ROUSED_PER_ROUND: usize = 32;

impl Thread {
    /// Whether the session must not be read now, and then sees to it that it is read later.
    pub(super) fn must_not_read(&mut self, index: usize) -> bool {
        self.is_slowed(index) || self.must_rest(index)
    }

    /// Whether the device sends more than it may; then it waits until that is made up for.
    fn is_slowed(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        let (now, rate) = (clock::now(), self.byte_rate);
        let device = slot.device.as_ref();
        let Some(until) = device.and_then(|device| device.bytes.due(rate, now)) else {
            return false;
        };
        slot.phase = Phase::Slowed(until);
        let session = slot.id(index);
        self.timers.plan(session, &mut slot.planned, until);
        let wait_ms = until.saturating_sub(now);
        self.trace(index, || {
            said(&format!(
                "it sends too much, and is read again in {wait_ms} ms"
            ))
        });
        let Some(slot) = self.slots.get_mut(index) else {
            return true;
        };
        if !slot.slowed_reported {
            slot.slowed_reported = true;
            let (port, imei) = (&self.port.label, text(slot.imei()));
            let max = self.around.limits.bytes_per_second;
            facts::say(
                Fact::DeviceSlowed,
                format_args!(
                    "port={port} imei={imei} bytes_per_second={max}: it is read later; raise [limits] bytes_per_second"
                ),
            );
        }
        true
    }

    /// Whether the port's sessions keep too much, so that nothing more is read of those that may send packets. Who has not
    /// logged in is read all the same: little is ever kept of him.
    fn must_rest(&mut self, index: usize) -> bool {
        let Some((kind, bytes)) = self.is_overdrawn() else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        if !slot.is_known() {
            return false;
        }
        if !slot.rests {
            slot.rests = true;
            let session = slot.id(index);
            self.resting.push_back(session);
            self.sweep_resting();
            let (port, limit) = (&self.port.label, self.around.limits.receive);
            facts::say(
                Fact::ReadingRests,
                format_args!(
                    "port={port} {kind}={bytes} limit={limit}: until some are given back; raise [limits] receive"
                ),
            );
        }
        true
    }

    /// Whether more bytes than `[limits] receive` are kept, or wait for room, and this port has its share in that.
    fn is_overdrawn(&self) -> Option<(&'static str, usize)> {
        let (limit, n_ports) = (self.around.limits.receive, self.around.room.n_ports());
        let kept = self.kept.too_much(limit, n_ports);
        let waiting = || self.waiting.too_much(limit, n_ports);
        kept.map(|bytes| ("bytes_kept", bytes))
            .or_else(|| waiting().map(|bytes| ("bytes_waiting", bytes)))
    }

    /// Lets some of those that rest be read again, if bytes were given back.
    pub(super) fn rouse(&mut self) {
        if self.resting.is_empty() || self.is_overdrawn().is_some() {
            return;
        }
        for _ in 0..ROUSED_PER_ROUND {
            let Some(session) = self.resting.pop_front() else {
                return;
            };
            if let Some((_, slot)) = self.find(session) {
                slot.rests = false;
                self.ready.push_back(session);
            }
        }
    }

    /// Forgets who is gone, once they may outnumber the sessions.
    fn sweep_resting(&mut self) {
        if self.resting.len() > 2 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.resting.retain(|session| {
                slots
                    .get(session.slot as usize)
                    .is_some_and(|slot| slot.serial == session.serial && slot.rests)
            });
        }
    }
}
