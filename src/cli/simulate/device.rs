//! One simulated device: what it waits for, what its answers mean, which packet is next.
//!
//! Knows no socket and no clock. Invariants: a packet is given up only for its ack; times of records only grow.

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

/// The state of one device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) imei: Imei,
    pub(super) vehicle: Vehicle,
    pub(super) phase: Phase,
    /// When something is to be done unless something happens before, in ms of the caller's clock.
    pub(super) due_ms: u64,
    /// When the next packet is to be sent.
    pub(super) next_packet_ms: u64,
    /// Bytes of the packet or login in flight that the socket has taken.
    pub(super) n_written: usize,
    /// When the packet in flight was sent, in µs of the caller's clock.
    pub(super) sent_us: u64,
    pub(super) n_acked: u64,
    pub(super) connected_before: bool,
    pub(super) backoff: Backoff,
    /// Time of the first record of the packet in flight.
    in_flight_ms: Option<u64>,
    /// Time of the last record sent.
    last_ms: u64,
    answer: u32,
    n_answer_bytes: u8,
}

impl Device {
    pub(super) fn new(imei: Imei, run: u64, due_ms: u64, backoff: Backoff) -> Device {
        Device {
            imei,
            vehicle: Vehicle::new(imei.number(), run),
            phase: Phase::Offline,
            due_ms,
            next_packet_ms: due_ms,
            n_written: 0,
            sent_us: 0,
            n_acked: 0,
            connected_before: false,
            backoff,
            in_flight_ms: None,
            last_ms: 0,
            answer: 0,
            n_answer_bytes: 0,
        }
    }

    /// Whether a packet was sent whose ack has not come.
    pub(super) fn has_packet(&self) -> bool {
        self.in_flight_ms.is_some()
    }

    /// Time of the first record of the packet to be sent: that in flight, else a new one whose last record is of `wall_ms`,
    /// unless the records before it are as late.
    pub(super) fn packet_ms(&mut self, template: &Template, wall_ms: u64) -> u64 {
        if let Some(first_ms) = self.in_flight_ms {
            return first_ms;
        }
        let span_ms = (template.n_records() as u64 - 1) * template.step_ms();
        let first_ms = wall_ms
            .saturating_sub(span_ms)
            .max(self.last_ms + template.step_ms());
        self.last_ms = first_ms + span_ms;
        self.in_flight_ms = Some(first_ms);
        first_ms
    }

    /// The packet in flight is acknowledged: returns the time of its first record.
    pub(super) fn acked(&mut self) -> Option<u64> {
        self.n_acked += 1;
        self.in_flight_ms.take()
    }

    /// A new connection, or a new answer to wait for.
    pub(super) fn awaits(&mut self, phase: Phase) {
        self.phase = phase;
        self.answer = 0;
        self.n_answer_bytes = 0;
    }

    /// What `bytes` mean, of which all belong to one answer at most, because one thing is asked at a time.
    pub(super) fn hear(&mut self, bytes: &[u8], n_records: usize) -> Heard {
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
        Device::new("350000000000000".parse().unwrap(), 1, 0, backoff)
    }

    #[test]
    fn only_the_full_count_is_an_ack() {
        let mut device = device();
        device.awaits(Phase::AwaitingAck);
        assert_eq!(device.hear(&[0, 0], 10), Heard::More);
        assert_eq!(device.hear(&[0, 10], 10), Heard::Acked);
        for wrong in [0, 9, 11, 0x0A00_0000] {
            device.awaits(Phase::AwaitingAck);
            assert_eq!(
                device.hear(&u32::to_be_bytes(wrong), 10),
                Heard::Wrong(wrong)
            );
        }
        device.awaits(Phase::AwaitingAck);
        assert_eq!(device.hear(&[0, 0, 0, 10, 0], 10), Heard::Unasked);
        device.awaits(Phase::Ready);
        assert_eq!(device.hear(&[1], 10), Heard::Unasked);
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
            assert_eq!(device.hear(&[byte], 10), heard);
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_and_times_never_repeat() {
        let template = Template::new(Codec::Codec8, 10, 0, 1).unwrap();
        let mut device = device();
        let first = device.packet_ms(&template, WALL_MS);
        assert_eq!(first, WALL_MS - 9);
        assert_eq!(device.packet_ms(&template, WALL_MS + 1000), first, "resent");
        assert_eq!(device.acked(), Some(first));
        assert_eq!(
            device.packet_ms(&template, WALL_MS),
            WALL_MS + 1,
            "the clock stands still"
        );
        device.acked();
        assert_eq!(device.packet_ms(&template, WALL_MS + 1000), WALL_MS + 991);
    }
}
