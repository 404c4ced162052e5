//! Who is let in: an IMEI is looked up in memory and answered 01 or 00, or waits for somebody who knows.
//!
//! Never 00 out of ignorance: while the device list is not loaded, nothing is answered until the login time-out.

use std::sync::Arc;

use super::slot::Phase;
use super::thread::{Thread, text};
use super::traced::said;
use crate::clock::{self, Millis};
use crate::conf::Accept;
use crate::facts::{self, Fact};
use crate::fleet::{Device, TakeOver};
use crate::imei::Imei;
use crate::intake::DirectoryMessage;
use crate::mailbox::{CloseReason, SessionId};
use crate::notes::Note;
use crate::protocol::teltonika::session::LOGIN_ACCEPTED;
use crate::store::device::DeviceState;
use crate::trace::Seen;

/// How long a login waits when two connections of one IMEI push each other out.
const DAMP_MS: Millis = 5_000;

impl Thread {
    /// A connection says that it is `imei`.
    pub(super) fn log_in(&mut self, index: usize, imei: Imei) {
        match self.port.conf.device {
            Some(pinned) if pinned != imei => {
                self.refuse(index, imei, "the port is pinned to another device");
            }
            _ => self.identify(index, imei),
        }
    }

    /// Finds out whether `imei` may speak here, and begins its session if so.
    pub(super) fn identify(&mut self, index: usize, imei: Imei) {
        let pinned = self.port.conf.device == Some(imei);
        let accept = self.port.conf.accept.unwrap_or(Accept::Known);
        let is_loaded = self.around.fleet.is_loaded();
        match self.around.fleet.get(imei) {
            Some(device) => match device.state() {
                DeviceState::Accepted => self.admit(index, &device),
                DeviceState::Pending if pinned => self.admit(index, &device),
                // The copy of the list may be out of date: somebody may have let the device in meanwhile.
                _ if !is_loaded => self.wait_for_list(index, imei),
                DeviceState::Refused => self.refuse(index, imei, "the device is refused"),
                DeviceState::Pending => self.refuse(index, imei, "the device waits to be accepted"),
                DeviceState::Removed => self.refuse(index, imei, "the device was removed"),
            },
            None if pinned || accept == Accept::Any => self.ask(index, imei, pinned),
            None if !is_loaded => self.wait_for_list(index, imei),
            None => self.refuse(index, imei, "the device is not known"),
        }
    }

    /// Nobody can say yet whether the device is known: nothing is answered until somebody can.
    fn wait_for_list(&mut self, index: usize, imei: Imei) {
        facts::say(
            Fact::LoginWaits,
            format_args!("port={} imei={imei}", self.port.label),
        );
        self.trace_as(index, imei, || {
            said("no answer yet: the device list is not loaded, so nobody can tell whether it is known")
        });
        if let Some(slot) = self.slots.get_mut(index) {
            slot.phase = Phase::Unknown(imei);
        }
    }

    /// Asks the directory to register the device.
    fn ask(&mut self, index: usize, imei: Imei, pinned: bool) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.phase = Phase::Asking(imei);
        let session = slot.id(index);
        self.trace_as(index, imei, || said("a new device: to be registered"));
        let asks = self.session_ref(session);
        // A full queue means that the database is slow; the device tries again after its time-out.
        let message = DirectoryMessage::Register { imei, pinned, asks };
        if self.around.directory.try_send(message).is_err() {
            self.close(index, "too many registrations at once");
        }
    }

    /// The directory answers a registration.
    pub(super) fn handle_registered(&mut self, session: SessionId, is_registered: bool) {
        let Some((index, slot)) = self.find(session) else {
            return;
        };
        let Phase::Asking(imei) = slot.phase else {
            return;
        };
        slot.phase = Phase::Open;
        if is_registered {
            self.identify(index, imei);
        } else {
            self.refuse(index, imei, "no more new devices for now");
        }
        self.turn(index);
    }

    /// The device list is complete: who waited for it is answered.
    pub(super) fn retry_unknown(&mut self) {
        let mut waiting: Vec<(u32, usize, Imei)> = self
            .slots
            .iter()
            .filter_map(|(index, slot)| match slot.phase {
                Phase::Unknown(imei) => Some((slot.serial, index, imei)),
                _ => None,
            })
            .collect();
        // In the order of connecting, so that of one device's logins the newest wins.
        waiting.sort_unstable();
        for (n, (_, index, imei)) in waiting.into_iter().enumerate() {
            self.beat_within(n);
            self.slots[index].phase = Phase::Open;
            self.identify(index, imei);
            self.turn(index);
        }
    }

    fn admit(&mut self, index: usize, device: &Arc<Device>) {
        let now = clock::now();
        let imei = device.imei;
        let label = self.port.label.clone();
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let (peer, session) = (slot.peer, slot.id(index));
        if device.is_kept_out(now) {
            facts::say(
                Fact::DeviceKeptOut,
                format_args!(
                    "port={label} peer={peer} imei={imei}: its last session stopped a thread"
                ),
            );
            self.trace_as(index, imei, || {
                said("kept out: its last session stopped a thread")
            });
            return self.close(index, "device kept out");
        }
        if let Some(until) = device.logins.due(self.login_rate, now) {
            let max = self.around.limits.logins_per_minute;
            facts::say(
                Fact::LoginsSlowed,
                format_args!(
                    "port={label} peer={peer} imei={imei} logins_per_minute={max}: the login waits; raise [limits] logins_per_minute"
                ),
            );
            return self.damp(index, imei, until);
        }
        let me = self.session_ref(session);
        if device.session().as_ref() != Some(&me) {
            match device.take_over(&me, now) {
                TakeOver::None => {}
                TakeOver::From(old) => old.close(CloseReason::TakenOver),
                TakeOver::Damped => {
                    facts::say(
                        Fact::TakeOverDamped,
                        format_args!(
                            "port={label} peer={peer} imei={imei}: two connections use one IMEI"
                        ),
                    );
                    return self.damp(index, imei, now + DAMP_MS);
                }
            }
        }
        device.logins.spend(1, self.login_rate, now);
        if device.tell_odd() {
            facts::say(
                Fact::ImeiOdd,
                format_args!(
                    "port={label} peer={peer} imei={imei}: the last digit is no Luhn digit of the others"
                ),
            );
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        // Another IMEI on the same connection: the device before it leaves.
        let before = slot.device.replace(Arc::clone(device));
        let by_login = slot.pending.is_none();
        let sent = if by_login {
            let answer = slot.session.login_accepted(now);
            slot.send(&answer, now)
        } else {
            Ok(())
        };
        if let Some(before) = before.filter(|before| before.imei != imei)
            && before.leave(&me)
        {
            self.note_logged_out(&before);
        }
        if by_login {
            self.trace(index, || Seen::Sent(LOGIN_ACCEPTED.into()));
        }
        self.trace(index, || said("accepted"));
        self.port.is_now(session, imei);
        self.tell_login(index);
        facts::say(
            Fact::LoginAccepted,
            format_args!("port={label} peer={peer} imei={imei}"),
        );
        if sent.is_err() {
            return self.drop_slot(index, "answer not sent");
        }
        if !by_login {
            self.hand_over(index);
        }
    }

    /// Tells the keeper that a device has logged in, as soon as it has an id.
    pub(super) fn tell_login(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let device_id = slot.device.as_ref().and_then(|device| device.id());
        slot.is_login_untold = device_id.is_none();
        if let Some(device_id) = device_id {
            self.around.notes.leave(Note::LoggedIn {
                device_id,
                at_us: clock::wall_us(),
                address: slot.peer,
                port: self.port.address.port(),
            });
        }
    }

    /// Lets a login wait for its answer, unless nobody waits for it any more.
    fn damp(&mut self, index: usize, imei: Imei, until: Millis) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.phase = Phase::Damped(imei, until);
        let wait_ms = until.saturating_sub(clock::now());
        self.trace_as(index, imei, || said(&format!("its login waits for {wait_ms} ms: it logs in too often, or two connections use one IMEI")));
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.is_gone_unanswered() {
            return self.drop_slot(index, "closed by the device");
        }
        let session = slot.id(index);
        self.timers.plan(session, &mut slot.planned, until);
    }

    fn refuse(&mut self, index: usize, imei: Imei, reason: &'static str) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let (port, peer) = (self.port.label.clone(), slot.peer);
        facts::say(
            Fact::LoginRefused,
            format_args!(
                "port={port} peer={peer} imei={} reason={reason}",
                text(Some(imei))
            ),
        );
        let by_login = slot.pending.is_none();
        let answer = by_login.then(|| slot.session.login_refused());
        // Dropped when the directory is behind: the log has the line, and the device comes again.
        let _ = self.around.directory.try_send(DirectoryMessage::Refused {
            imei,
            port,
            peer,
            reason,
        });
        self.trace_as(index, imei, || said(&format!("refused: {reason}")));
        match answer {
            Some(answer) => {
                self.trace_as(index, imei, || Seen::Sent(answer.into()));
                self.answer_and_close(index, &answer, reason);
            }
            None => self.close(index, reason),
        }
    }
}
