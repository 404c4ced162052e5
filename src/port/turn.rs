//! A session's turn: read within a budget of bytes, feed the protocol, act on what it says, keep the rest.

use std::sync::atomic::Ordering;

use super::slot::{Got, Phase};
use super::thread::{READ_BYTES, Thread, text};
use super::traced::said;
use crate::clock;
use crate::facts::{self, Fact};
use crate::protocol::teltonika::frame::PING;
use crate::protocol::teltonika::session::{LOGIN_REFUSED, Output};
use crate::trace::Seen;

/// Bytes that one session may have read in one turn.
const TURN_BYTES: usize = 64 * 1024;
/// Bytes asked at once of a socket that has not said who it is: a login has 17. What a stranger sends behind one waits in the
/// kernel until the login is answered, so strangers make nothing grow here.
const STRANGER_BYTES: usize = 256;
/// Sessions that hold bytes, looked at in search of one that can be closed.
const HOLDERS_LOOKED_AT: usize = 256;

impl Thread {
    pub(super) fn take_turns(&mut self) {
        // Only those that stand there now: who comes back waits for the next round, after the new events.
        for n in 0..self.ready.len() {
            self.beat_within(n);
            if self.life.is_retired() {
                return;
            }
            let Some(session) = self.ready.pop_front() else {
                return;
            };
            if let Some((index, _)) = self.find(session) {
                self.turn(index);
            }
        }
    }

    /// Lets one session read and be read, within its budget of bytes.
    pub(super) fn turn(&mut self, index: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.turn_with(index, &mut scratch);
        self.scratch = scratch;
        self.port.end_turn();
    }

    pub(super) fn turn_with(&mut self, index: usize, scratch: &mut [u8]) {
        let mut budget = TURN_BYTES;
        // What is held was looked at already, unless something before it has been answered meanwhile.
        let mut fresh = true;
        loop {
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            match slot.phase {
                Phase::Open => {}
                Phase::Closing(_) => return self.discard(index, scratch),
                _ => return,
            }
            if slot.has_unsent() {
                // A device that takes no answers is not read: what it is owed must not grow.
                let session = slot.id(index);
                let deadline = slot.deadline(&self.timeouts);
                return self.timers.plan(session, &mut slot.planned, deadline);
            }
            let held = slot.held.bytes().len();
            let is_read = slot.readable && (held == 0 || !fresh) && !slot.at_end;
            if is_read && self.must_not_read(index) {
                return;
            }
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            scratch[..held].copy_from_slice(slot.held.bytes());
            let mut filled = held;
            if is_read {
                let wanted = if slot.is_known() {
                    READ_BYTES
                } else {
                    STRANGER_BYTES
                };
                match slot.read(&mut scratch[held..held + wanted]) {
                    Got::Bytes(n) => {
                        if let Some(device) = &slot.device {
                            device.bytes.spend(n as u64, self.byte_rate, clock::now());
                        }
                        filled += n;
                        budget = budget.saturating_sub(n);
                        let total = &self.port.counts.bytes_read;
                        total.fetch_add(n as u64, Ordering::Relaxed);
                    }
                    Got::Nothing => {}
                    Got::End => slot.at_end = true,
                    Got::Broken(error) => {
                        let text = error.to_string();
                        self.note_stall(index);
                        return self.drop_slot(index, &text);
                    }
                }
            }
            let imei = slot.imei();
            if filled > held {
                self.trace(index, || Seen::Read(scratch[held..filled].into()));
            }
            if filled > held || (fresh && held > 0) {
                self.port.begin_turn(imei, &scratch[..filled]);
                let consumed = self.process(index, &scratch[..filled]);
                self.hold(index, &scratch[consumed..filled]);
            }
            fresh = false;
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            if matches!(slot.phase, Phase::Open) {
                // Whatever came before the last ack has been looked at: it was no packet.
                slot.early = false;
            }
            if slot.at_end && matches!(slot.phase, Phase::Open) {
                self.note_stall(index);
                return self.close(index, "closed by the device");
            }
            if !slot.readable || !matches!(slot.phase, Phase::Open) {
                return;
            }
            if budget == 0 {
                let session = slot.id(index);
                self.ready.push_back(session);
                return;
            }
        }
    }

    /// Feeds the session until it wants more bytes or waits for something. Returns how many bytes it took.
    pub(super) fn process(&mut self, index: usize, input: &[u8]) -> usize {
        let packet_max = self.around.limits.packet;
        let mut taken = 0;
        loop {
            let Some(slot) = self.slots.get_mut(index) else {
                return taken;
            };
            let is_open = matches!(slot.phase, Phase::Open);
            if !is_open || !slot.session.wants_bytes() || slot.has_unsent() {
                return taken;
            }
            let rest = input.get(taken..).unwrap_or_default();
            let (consumed, output) = slot.session.handle_bytes(rest, packet_max, clock::now());
            taken += consumed;
            match output {
                Output::Need(_) => return taken,
                Output::Ping => self.trace(index, || said("ping")),
                Output::Login(imei) => {
                    self.trace_login(index, imei, &input[taken - consumed..]);
                    self.log_in(index, imei);
                }
                Output::BadLogin(error) => {
                    let (port, peer) = (&self.port.label, slot.peer);
                    facts::say(
                        Fact::LoginRefused,
                        format_args!("port={port} peer={peer} imei=- error={error}"),
                    );
                    self.answer_and_close(index, &LOGIN_REFUSED, "login refused");
                }
                Output::Packet(packet) => {
                    fail::fail_point!("port-packet");
                    self.trace(index, || Seen::packet(packet.frame));
                    self.take_packet(
                        index,
                        packet.n_records,
                        packet.frame,
                        has_more(&input[taken..]),
                    );
                }
                Output::Broken {
                    frame,
                    error,
                    declared,
                } => {
                    self.trace(index, || Seen::Packet(format!("not readable: {error}")));
                    self.take_broken(index, frame, error, declared);
                }
                Output::Command { codec_id } => {
                    let (port, imei) = (&self.port.label, text(slot.imei()));
                    facts::say(
                        Fact::CommandFrame,
                        format_args!("port={port} imei={imei} codec={codec_id}"),
                    );
                    self.trace(index, || {
                        said(&format!("command frame of codec {codec_id}"))
                    });
                }
                Output::Garbage(error) => {
                    let (port, peer, imei) = (&self.port.label, slot.peer, text(slot.imei()));
                    facts::say(
                        Fact::NotTheProtocol,
                        format_args!("port={port} peer={peer} imei={imei} error={error}"),
                    );
                    self.trace(index, || said(&format!("not the protocol: {error}")));
                    self.close(index, "not the protocol");
                }
                Output::BeforeLogin => {
                    let (port, peer) = (&self.port.label, slot.peer);
                    facts::say(
                        Fact::PacketBeforeLogin,
                        format_args!(
                            "port={port} peer={peer}: a port with `device` takes packets without a login"
                        ),
                    );
                    self.close(index, "packet before login");
                }
            }
        }
    }

    /// Keeps what was not taken, within the budget of all ports.
    pub(super) fn hold(&mut self, index: usize, rest: &[u8]) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let began = slot.held.bytes().is_empty() && !rest.is_empty();
        slot.held.keep(rest);
        let session = slot.id(index);
        let deadline = slot.deadline(&self.timeouts);
        self.timers.plan(session, &mut slot.planned, deadline);
        if began {
            self.holding.push_back(session);
        }
        if !rest.is_empty() {
            self.shed();
        }
        // Sessions that hold nothing any more leave the queue when it has grown twice as long as the table.
        if self.holding.len() > 2 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.holding.retain(|session| {
                slots.get(session.slot as usize).is_some_and(|slot| {
                    slot.serial == session.serial && !slot.held.bytes().is_empty()
                })
            });
        }
    }

    /// Closes the session that has held an incomplete packet longest, if the budget of all ports is used up and this one
    /// has its share in that.
    pub(super) fn shed(&mut self) {
        let (limit, n_ports) = (self.around.limits.receive, self.around.room.n_ports());
        let Some(total) = self.kept.too_much(limit, n_ports) else {
            return;
        };
        for _ in 0..self.holding.len().min(HOLDERS_LOOKED_AT) {
            let Some(session) = self.holding.pop_front() else {
                return;
            };
            let Some((index, slot)) = self.find(session) else {
                continue;
            };
            if slot.held.bytes().is_empty() {
                continue;
            }
            if !matches!(slot.phase, Phase::Open | Phase::Slowed(_)) {
                // It waits for an answer, after which it may turn out to hold an incomplete packet.
                self.holding.push_back(session);
                continue;
            }
            let (peer, imei) = (slot.peer, text(slot.imei()));
            let port = &self.port.label;
            facts::say(
                Fact::ReceiveFull,
                format_args!(
                    "port={port} peer={peer} imei={imei} bytes={total}: raise [limits] receive"
                ),
            );
            return self.close(index, "receive budget used up");
        }
    }
}

/// Whether anything but pings stands in `rest`.
fn has_more(rest: &[u8]) -> bool {
    rest.iter().any(|&byte| byte != PING)
}
