//! What a trace says, line by line. Knows no clock and no thread.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Piece, Place, Seen};
use crate::clock::{self, Millis};
use crate::mailbox::{Outcome, Store};
use crate::protocol::hex;
use crate::protocol::teltonika::avl::{Packet, Record};

/// Bytes shown on one line.
const LINE_BYTES: usize = 512;
/// Sessions whose last packet is remembered.
const SESSIONS_MAX: usize = 64;

/// Makes lines of pieces; remembers when packets were whole, to say how long their acks took.
#[derive(Debug, Default)]
pub(super) struct Words {
    packets: HashMap<Place, Millis>,
}

/// One line: what happened, and the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verb: &'static str,
    pub(super) text: String,
}

impl Words {
    /// The lines for a piece.
    pub(super) fn lines(&mut self, piece: &Piece) -> Vec<Line> {
        let one = |verb, text| vec![Line { verb, text }];
        match &piece.seen {
            Seen::Read(bytes) => bytes_lines("read", bytes),
            Seen::Sent(bytes) => bytes_lines("sent", bytes),
            Seen::Said(text) => one("note", text.clone()),
            Seen::Packet(text) => {
                if self.packets.len() >= SESSIONS_MAX {
                    self.packets.clear();
                }
                self.packets.insert(piece.place, piece.at);
                one("packet", text.clone())
            }
            Seen::Answered(outcome, bytes) => {
                let since = self.packets.remove(&piece.place);
                let mut lines = bytes_lines("sent", bytes);
                let text = answered(
                    *outcome,
                    bytes,
                    since.map(|since| piece.at.saturating_sub(since)),
                );
                lines.push(Line { verb: "ack", text });
                lines
            }
        }
    }
}

/// The line as a terminal shows it, time in UTC.
pub(super) fn for_terminal(piece: &Piece, line: &Line) -> String {
    let Place { port, peer, serial } = piece.place;
    let time = clock_text(piece.at_us);
    let Line { verb, text } = line;
    format!("{time} {peer} port {port} #{serial} {verb:<6} {text}")
}

/// Hours to milliseconds, UTC.
pub(super) fn clock_text(at_us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(at_us).unwrap_or_default();
    let text = format!("{time:.3}");
    text.split_once('T')
        .map_or_else(|| text.clone(), |(_, time)| time.to_owned())
}

fn bytes_lines(verb: &'static str, bytes: &[u8]) -> Vec<Line> {
    let n = bytes.len();
    let mut lines = Vec::new();
    for (index, part) in bytes.chunks(LINE_BYTES).enumerate() {
        let hex = hex::encode(part);
        let from = index * LINE_BYTES;
        let text = match (n, from) {
            (1, _) => format!("1 byte {hex}"),
            (_, 0) => format!("{n} bytes {hex}"),
            _ => format!("… from byte {from} {hex}"),
        };
        lines.push(Line { verb, text });
    }
    lines
}

/// How a packet's ack came about.
fn answered(outcome: Outcome, ack: &[u8], took: Option<Millis>) -> String {
    let n_records = ack.last().copied().unwrap_or(0);
    let mut text = format!("of {}", records(usize::from(n_records)));
    match took {
        Some(took) => {
            let _ = write!(text, ", {took} ms after the packet was whole");
        }
        None => text.push_str(", its packet is not in this trace"),
    }
    text.push_str(match outcome {
        Outcome::Durable(Store::Database) => ": stored in the database",
        Outcome::Durable(Store::Spool) => ": stored in the spool",
        Outcome::QuarantinedForGood(_) => ": not readable, kept in quarantine",
        Outcome::SendAgain | Outcome::Lost => ": not stored",
    });
    text
}

/// A checked packet: its codec and its records, the first and the last of them with time and place.
pub(super) fn packet(frame: &[u8]) -> String {
    let Some(packet) = Packet::from_checked(frame) else {
        return format!("{} bytes", frame.len());
    };
    let mut text = format!(
        "{}, {}",
        packet.codec.name(),
        records(usize::from(packet.n_records))
    );
    let mut all = packet.records();
    if let Some(first) = all.next() {
        let _ = write!(text, ": {}", record(&first));
    }
    if let Some(last) = all.last() {
        let _ = write!(text, " … {}", record(&last));
    }
    text
}

fn records(n: usize) -> String {
    match n {
        1 => "1 record".to_owned(),
        n => format!("{n} records"),
    }
}

fn record(record: &Record<'_>) -> String {
    let time_us = i64::try_from(record.time_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    let degrees = |value: i32| f64::from(value) / 1e7;
    let mut text = clock::text(time_us);
    if record.satellites == 0 {
        text.push_str(", no fix");
    } else {
        let _ = write!(
            text,
            ", {:.5} {:.5}, {} km/h, {} satellites",
            degrees(record.latitude),
            degrees(record.longitude),
            record.speed_kmh,
            record.satellites
        );
    }
    let n_elements = record.io.n_elements();
    let _ = write!(text, ", {n_elements} IO elements");
    if record.event_id != 0 {
        let _ = write!(text, ", event {}", record.event_id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::place;
    use super::*;

    fn piece(at: Millis, seen: Seen) -> Piece {
        let at_us = 1_795_522_867_219_000;
        Piece {
            at_us,
            at,
            place: place(),
            seen,
        }
    }

    /// Published by the maker: codec 8, one record.
    const FRAME: &str = "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000000000010000C7CF";

    #[test]
    fn every_byte_of_a_long_piece_is_shown() {
        let bytes: Vec<u8> = (0..1300).map(|n| (n % 251) as u8).collect();
        let lines = bytes_lines("read", &bytes);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].text.starts_with("1300 bytes 000102"));
        assert!(lines[1].text.starts_with("… from byte 512 "));
        let shown: String = lines
            .iter()
            .map(|line| line.text.rsplit(' ').next().unwrap())
            .collect();
        assert_eq!(hex::decode(&shown).unwrap(), bytes);
    }

    #[test]
    fn an_ack_says_how_long_it_took_and_where_the_packet_is() {
        let mut words = Words::default();
        let frame = hex::decode(FRAME).unwrap();
        let line = words.lines(&piece(1_000, Seen::packet(&frame))).remove(0);
        assert_eq!(line.verb, "packet");
        assert_eq!(
            line.text,
            "Codec 8, 1 record: 2019-06-10T10:04:46Z, no fix, 5 IO elements, event 1"
        );
        let ack: Box<[u8]> = Box::new([0, 0, 0, 1]);
        let spooled = Outcome::Durable(Store::Spool);
        let lines = words.lines(&piece(1_012, Seen::Answered(spooled, ack.clone())));
        assert_eq!(lines[0].text, "4 bytes 00000001");
        assert_eq!(
            lines[1].text,
            "of 1 record, 12 ms after the packet was whole: stored in the spool"
        );
        let lines = words.lines(&piece(
            1_020,
            Seen::Answered(Outcome::QuarantinedForGood(Store::Database), ack),
        ));
        assert_eq!(
            lines[1].text,
            "of 1 record, its packet is not in this trace: not readable, kept in quarantine"
        );
    }

    #[test]
    fn a_line_on_a_terminal_begins_with_when_and_where() {
        let piece = piece(0, Seen::Sent(Box::new([1])));
        let line = Words::default().lines(&piece).remove(0);
        let shown = for_terminal(&piece, &line);
        assert_eq!(
            shown,
            "12:21:07.219Z 10.0.0.9:4411 port 5027 #3 sent   1 byte 01"
        );
    }
}
