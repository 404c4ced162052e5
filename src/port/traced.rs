//! What a port says to traces: what was read and written, what it was, what became of it.
//!
//! Nothing is made of it, no byte is copied, unless somebody looks at the session's device.

use super::slot::{Phase, Slot};
use super::thread::Thread;
use crate::imei::Imei;
use crate::trace::{Place, Seen};

impl Thread {
    /// Says what was seen of a session to whoever looks at its device.
    #[inline]
    pub(super) fn trace(&self, index: usize, seen: impl FnOnce() -> Seen) {
        if self.around.traces.is_on()
            && let Some(imei) = self.slots.get(index).and_then(|slot| self.speaks_as(slot))
        {
            self.trace_as(index, imei, seen);
        }
    }

    /// The same of a session that says it is `imei`, before it is let in.
    #[inline]
    pub(super) fn trace_as(&self, index: usize, imei: Imei, seen: impl FnOnce() -> Seen) {
        if !self.around.traces.wants(imei) {
            return;
        }
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let place = Place {
            port: self.port.address.port(),
            peer: slot.peer,
            serial: slot.serial,
        };
        self.around.traces.say(imei, place, seen());
    }

    /// A login was read: from here on it is known whose the bytes are.
    pub(super) fn trace_login(&self, index: usize, imei: Imei, bytes: &[u8]) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        if self.around.traces.is_on() {
            if self.speaks_as(slot) != Some(imei) {
                // The piece that it came in was nobody's yet.
                self.trace_as(index, imei, || Seen::Read(bytes.into()));
            }
            self.trace_as(index, imei, || said(&format!("login of {imei}")));
        }
    }

    /// Whose the bytes of a session are.
    fn speaks_as(&self, slot: &Slot) -> Option<Imei> {
        match slot.phase {
            Phase::Asking(imei) | Phase::Unknown(imei) | Phase::Damped(imei, _) => Some(imei),
            _ => slot.imei().or(self.port.conf.device),
        }
    }
}

/// Something in words.
pub(super) fn said(text: &str) -> Seen {
    Seen::Said(text.to_owned())
}
