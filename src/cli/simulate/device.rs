//! One simulated device: what it waits for, what its answers mean, which packet is next.
//!
//! Knows no socket and no clock. Invariants: a packet is given up only for its ack; times of records only grow.

use super::lives::{Course, Flight, Life};
use super::packet::Template;
use super::road::Vehicle;
use crate::backoff::Backoff;
use crate::imei::Imei;

/// What the device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No connection; one is made when it is due.
    Offline,
    /// The connection is being made.
    Connecting,
    /// The login is sent, 01 or 00 is awaited.
    LoggingIn,
    /// Logged in; the next packet is sent when it is due.
    Ready,
    /// The packet in flight is sent, its ack is awaited.
    AwaitingAck,
    /// All its packets are acknowledged, or the simulation ends.
    Done,
}

/// What bytes from the server mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer is not complete.
    More,
    /// 01.
    LoginAccepted,
    /// 00.
    LoginRefused,
    /// The full count.
    Acked,
    /// Anything else, as a number.
    Wrong(u32),
    /// Bytes that nobody waits for.
    Unasked,
}

/// What a device has to tell.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Packets of one form.
    Vehicle(Vehicle),
    /// A life, and how far it is told.
    Life(Box<Life>, Course),
}

/// The state of one device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) imei: Imei,
    pub(super) role: Role,
    pub(super) phase: Phase,
    /// When something is to be done unless something happens before, in ms of the caller's clock.
    pub(super) due_ms: u64,
    /// When the next packet is to be sent.
    pub(super) next_packet_ms: u64,
    /// Bytes of the packet or login in flight that the socket has taken.
    pub(super) n_written: usize,
    /// It has taken all of them.
    pub(super) is_written: bool,
    /// When the packet in flight was sent, in µs of the caller's clock.
    pub(super) sent_us: u64,
    pub(super) n_acked: u64,
    pub(super) connected_before: bool,
    pub(super) backoff: Backoff,
    /// The packet in flight.
    in_flight: Option<Flight>,
    /// Time of the last record sent.
    last_ms: u64,
    answer: u32,
    n_answer_bytes: u8,
}

impl Device {
    pub(super) fn new(imei: Imei, role: Role, due_ms: u64, backoff: Backoff) -> Device {
        Device {
            imei,
            role,
            phase: Phase::Offline,
            due_ms,
            next_packet_ms: due_ms,
            n_written: 0,
            is_written: false,
            sent_us: 0,
            n_acked: 0,
            connected_before: false,
            backoff,
            in_flight: None,
            last_ms: 0,
            answer: 0,
            n_answer_bytes: 0,
        }
    }

    /// Whether a packet was sent whose ack has not come.
    pub(super) fn has_packet(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The packet in flight.
    pub(super) fn in_flight(&self) -> Option<Flight> {
        self.in_flight
    }

    /// Records in the packet in flight.
    pub(super) fn n_records(&self) -> usize {
        self.in_flight.map_or(0, |flight| flight.n_records.into())
    }

    /// This packet is in flight from now on.
    pub(super) fn takes_off(&mut self, flight: Flight) {
        self.in_flight = Some(flight);
        self.last_ms = flight.last_ms;
    }

    /// The next packet of a vehicle: its last record is of `wall_ms`, unless the records before it are as late.
    pub(super) fn next_flight(&self, template: &Template, wall_ms: u64) -> Flight {
        let span_ms = (template.n_records() as u64 - 1) * template.step_ms();
        let first_ms = wall_ms
            .saturating_sub(span_ms)
            .max(self.last_ms + template.step_ms());
        Flight {
            first_ms,
            last_ms: first_ms + span_ms,
            n_records: template.n_records() as u8,
            newest: false,
        }
    }

    /// The packet in flight is acknowledged: returns it.
    pub(super) fn acked(&mut self) -> Option<Flight> {
        self.n_acked += 1;
        self.in_flight.take()
    }

    /// A new connection, or a new answer to wait for.
    pub(super) fn awaits(&mut self, phase: Phase) {
        self.phase = phase;
        self.answer = 0;
        self.n_answer_bytes = 0;
    }

    /// What `bytes` mean, of which all belong to one answer at most, because one thing is asked at a time.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Heard {
        let n_records = self.n_records();
        let wanted = match self.phase {
            Phase::LoggingIn => 1,
            Phase::AwaitingAck => 4,
            Phase::Offline | Phase::Connecting | Phase::Ready | Phase::Done => 0,
        };
        if usize::from(self.n_answer_bytes) + bytes.len() > wanted {
            return Heard::Unasked;
        }
        for byte in bytes {
            self.answer = self.answer << 8 | u32::from(*byte);
            self.n_answer_bytes += 1;
        }
        if usize::from(self.n_answer_bytes) < wanted {
            return Heard::More;
        }
        match (self.phase, self.answer) {
            (Phase::LoggingIn, 1) => Heard::LoginAccepted,
            (Phase::LoggingIn, 0) => Heard::LoginRefused,
            (Phase::AwaitingAck, count) if count as usize == n_records => Heard::Acked,
            (_, other) => Heard::Wrong(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Codec;
    use super::*;

    const WALL_MS: u64 = 1_780_000_000_000;

    fn device() -> Device {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
        let imei: Imei = "350000000000000".parse().unwrap();
        let role = Role::Vehicle(Vehicle::new(imei.number(), 1));
        Device::new(imei, role, 0, backoff)
    }

    /// A device with a packet of ten records in flight.
    fn sending() -> Device {
        let template = Template::new(Codec::Codec8, 10, 0, 1).unwrap();
        let mut device = device();
        device.takes_off(device.next_flight(&template, WALL_MS));
        device
    }

    #[test]
    fn only_the_full_count_is_an_ack() {
        let mut device = sending();
        device.awaits(Phase::AwaitingAck);
        assert_eq!(device.hear(&[0, 0]), Heard::More);
        assert_eq!(device.hear(&[0, 10]), Heard::Acked);
        for wrong in [0, 9, 11, 0x0A00_0000] {
            device.awaits(Phase::AwaitingAck);
            assert_eq!(device.hear(&u32::to_be_bytes(wrong)), Heard::Wrong(wrong));
        }
        device.awaits(Phase::AwaitingAck);
        assert_eq!(device.hear(&[0, 0, 0, 10, 0]), Heard::Unasked);
        device.awaits(Phase::Ready);
        assert_eq!(device.hear(&[1]), Heard::Unasked);
    }

    #[test]
    fn a_login_is_accepted_refused_or_answered_with_nonsense() {
        let mut device = device();
        for (byte, heard) in [
            (1, Heard::LoginAccepted),
            (0, Heard::LoginRefused),
            (2, Heard::Wrong(2)),
        ] {
            device.awaits(Phase::LoggingIn);
            assert_eq!(device.hear(&[byte]), heard);
        }
    }

    #[test]
    fn a_packet_stays_in_flight_until_its_ack_and_times_never_repeat() {
        let template = Template::new(Codec::Codec8, 10, 0, 1).unwrap();
        let mut device = sending();
        let first = device.in_flight().unwrap();
        assert_eq!((first.first_ms, first.last_ms), (WALL_MS - 9, WALL_MS));
        assert_eq!(device.acked(), Some(first));
        assert!(!device.has_packet());
        let second = device.next_flight(&template, WALL_MS);
        assert_eq!(second.first_ms, WALL_MS + 1, "the clock stands still");
        device.takes_off(second);
        device.acked();
        let third = device.next_flight(&template, WALL_MS + 1000);
        assert_eq!(third.first_ms, WALL_MS + 991);
    }
}
