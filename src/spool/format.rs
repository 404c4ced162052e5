//! The bytes of a segment: header, frames, seal; and how to go on after damage.
//!
//! Pure functions over bytes; the layout is described at the top of `mod.rs`. Invariants: nothing is believed without
//! its checksum, no length is believed beyond the bytes that are there, and a search for the next good frame looks at each
//! byte once, because a frame must know the place where it lies.

use std::ops::Range;

use crc_fast::{CrcAlgorithm, checksum};

use super::SpoolError;
use super::entry::EntryRef;

/// The format that is written. Every earlier one is read.
pub const VERSION: u32 = 1;

/// The first bytes of a segment.
const MAGIC: [u8; 8] = *b"TPSPOOL\n";
/// Magic, version, number, checksum.
pub const HEADER_BYTES: usize = 24;
/// The first bytes of a frame: rare in packets and no text.
const MARKER: [u8; 4] = *b"\xF5TP\xA7";
/// Marker, checksum, place, length, kind.
const FRAME_HEAD_BYTES: usize = 17;
/// Where the part of a frame begins that its checksum is over.
const CHECKED_FROM: usize = 8;
/// The last frame of a segment that was finished.
const KIND_SEAL: u8 = 255;
/// Version, entries, records, first and last time.
const SEAL_PAYLOAD_BYTES: usize = 36;
/// A seal with its head.
pub const SEAL_BYTES: usize = FRAME_HEAD_BYTES + SEAL_PAYLOAD_BYTES;

/// How much is in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries.
    pub entries: u64,
    /// Records in those that are packets.
    pub records: u64,
    /// The earliest and the latest `received_at_us`; `None` where nothing is.
    pub received_us: Option<(i64, i64)>,
}

impl Tally {
    /// Counts one more entry.
    pub fn count(&mut self, entry: &EntryRef<'_>) {
        self.add(&Tally {
            entries: 1,
            records: entry.records(),
            received_us: Some((entry.received_at_us, entry.received_at_us)),
        });
    }

    /// Counts all of `other`.
    pub fn add(&mut self, other: &Tally) {
        self.entries = self.entries.saturating_add(other.entries);
        self.records = self.records.saturating_add(other.records);
        self.received_us = match (self.received_us, other.received_us) {
            (Some((first, last)), Some((begin, end))) => Some((first.min(begin), last.max(end))),
            (one, other) => one.or(other),
        };
    }
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A segment of a format that is known here.
    Good {
        /// The number under which it was begun; 0 where it came from elsewhere.
        number: u64,
    },
    /// A segment of a later trackport.
    Newer {
        /// Its format.
        version: u32,
    },
    /// No header, or a damaged one.
    Bad,
}

/// The header of segment `number`.
pub fn header(number: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&number.to_le_bytes());
    let crc = crc32(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the header of a segment.
pub fn read_header(bytes: &[u8]) -> Header {
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Header::Bad;
    };
    if bytes[..8] != MAGIC || u32_at(bytes, 20) != crc32(&bytes[..20]) {
        return Header::Bad;
    }
    match u32_at(bytes, 8) {
        0 => Header::Bad,
        version if version > VERSION => Header::Newer { version },
        _ => Header::Good {
            number: u64::from(u32_at(bytes, 12)) | u64::from(u32_at(bytes, 16)) << 32,
        },
    }
}

/// Appends the frame of `entry` to `to`; it will lie at `offset` in its segment.
///
/// # Errors
/// When the packet is longer than a frame can say.
pub fn write_entry(to: &mut Vec<u8>, offset: u64, entry: &EntryRef<'_>) -> Result<(), SpoolError> {
    let begin = to.len();
    to.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    entry.write(to);
    finish(to, begin, offset, entry.kind())
}

/// Appends the seal of a segment to `to`; it will lie at `offset`.
///
/// # Errors
/// None in practice: a seal has one length.
pub fn write_seal(to: &mut Vec<u8>, offset: u64, tally: &Tally) -> Result<(), SpoolError> {
    let begin = to.len();
    to.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    let (first, last) = tally.received_us.unwrap_or_default();
    to.extend_from_slice(&VERSION.to_le_bytes());
    to.extend_from_slice(&tally.entries.to_le_bytes());
    to.extend_from_slice(&tally.records.to_le_bytes());
    to.extend_from_slice(&first.to_le_bytes());
    to.extend_from_slice(&last.to_le_bytes());
    finish(to, begin, offset, KIND_SEAL)
}

/// Fills in the head of the frame that begins at `begin` and ends with `to`.
fn finish(to: &mut [u8], begin: usize, offset: u64, kind: u8) -> Result<(), SpoolError> {
    let frame = &mut to[begin..];
    let n_payload = frame.len() - FRAME_HEAD_BYTES;
    let length = u32::try_from(n_payload).map_err(|_| SpoolError::TooLarge { bytes: n_payload })?;
    frame[..4].copy_from_slice(&MARKER);
    frame[8..12].copy_from_slice(&place(offset).to_le_bytes());
    frame[12..16].copy_from_slice(&length.to_le_bytes());
    frame[16] = kind;
    let crc = crc32(&frame[CHECKED_FROM..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// What the last bytes of a segment say, when they are its seal. They lie at `offset`.
///
/// `None`: no seal, or one of a later format.
pub fn read_seal(bytes: &[u8], offset: u64) -> Option<Tally> {
    match frame(bytes, offset) {
        Frame::Good { kind, payload } if kind == KIND_SEAL && bytes.len() == SEAL_BYTES => {
            seal_tally(payload)
        }
        _ => None,
    }
}

fn seal_tally(payload: &[u8]) -> Option<Tally> {
    if payload.len() != SEAL_PAYLOAD_BYTES || u32_at(payload, 0) > VERSION {
        return None;
    }
    let long =
        |at: usize| u64::from(u32_at(payload, at)) | u64::from(u32_at(payload, at + 4)) << 32;
    let entries = long(4);
    let times = (long(20).cast_signed(), long(28).cast_signed());
    Some(Tally {
        entries,
        records: long(12),
        received_us: (entries > 0).then_some(times),
    })
}

/// What stands at the beginning of some bytes.
enum Frame<'a> {
    Good {
        kind: u8,
        payload: &'a [u8],
    },
    /// It may be good, but has so many bytes.
    Longer(usize),
    Bad,
}

fn frame(bytes: &[u8], offset: u64) -> Frame<'_> {
    let Some(head) = bytes.first_chunk::<FRAME_HEAD_BYTES>() else {
        return if MARKER.starts_with(&bytes[..bytes.len().min(4)]) {
            Frame::Longer(FRAME_HEAD_BYTES)
        } else {
            Frame::Bad
        };
    };
    if head[..4] != MARKER || u32_at(head, 8) != place(offset) {
        return Frame::Bad;
    }
    let n_bytes = usize::try_from(u32_at(head, 12))
        .unwrap_or(usize::MAX)
        .saturating_add(FRAME_HEAD_BYTES);
    let Some(whole) = bytes.get(..n_bytes) else {
        return Frame::Longer(n_bytes);
    };
    if u32_at(head, 4) != crc32(&whole[CHECKED_FROM..]) {
        return Frame::Bad;
    }
    Frame::Good {
        kind: head[16],
        payload: &whole[FRAME_HEAD_BYTES..],
    }
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut<'a> {
    /// A whole entry.
    Entry(EntryRef<'a>),
    /// The seal.
    Seal(Tally),
    /// Bytes in this range of the segment are no frame of this format.
    Damage(Range<u64>),
    /// So many bytes from here must be there before it can be said.
    Short(usize),
    /// Nothing.
    End,
}

/// Cuts a piece of a segment into what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Cutter<'a> {
    rest: &'a [u8],
    offset: u64,
    /// Whether nothing follows the piece.
    is_last: bool,
}

impl<'a> Cutter<'a> {
    /// A cutter of `bytes`, which lie at `offset` in their segment and end with it when `is_last`.
    pub fn new(bytes: &'a [u8], offset: u64, is_last: bool) -> Cutter<'a> {
        Cutter {
            rest: bytes,
            offset,
            is_last,
        }
    }

    /// Where in the segment the next one begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What comes next. The cutter stays where it is when the piece is too short to say.
    pub fn next(&mut self) -> Cut<'a> {
        if self.rest.is_empty() {
            return Cut::End;
        }
        let n_bad = match frame(self.rest, self.offset) {
            Frame::Good { kind, payload } => {
                let n_bytes = FRAME_HEAD_BYTES + payload.len();
                let cut = match kind {
                    KIND_SEAL => seal_tally(payload).map(Cut::Seal),
                    _ => EntryRef::read(kind, payload).map(Cut::Entry),
                };
                match cut {
                    Some(cut) => {
                        self.pass(n_bytes);
                        return cut;
                    }
                    None => n_bytes,
                }
            }
            Frame::Longer(n_bytes) if !self.is_last => return Cut::Short(n_bytes),
            Frame::Longer(_) | Frame::Bad => match self.next_good() {
                Some(n_bad) => n_bad,
                // Where the damage ends, only the whole rest of the segment can say.
                None if !self.is_last => return Cut::Short(usize::MAX),
                None => self.rest.len(),
            },
        };
        let begin = self.offset;
        self.pass(n_bad);
        Cut::Damage(begin..self.offset)
    }

    /// Bytes to the next good frame, not counting one that begins here.
    fn next_good(&self) -> Option<usize> {
        (1..self.rest.len()).find(|skip| {
            self.rest[*skip] == MARKER[0]
                && matches!(
                    frame(&self.rest[*skip..], self.offset + *skip as u64),
                    Frame::Good { .. }
                )
        })
    }

    fn pass(&mut self, n_bytes: usize) {
        self.rest = &self.rest[n_bytes..];
        self.offset += n_bytes as u64;
    }
}

/// What is in the bytes of one segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan<'a> {
    /// What it says of itself.
    pub header: Header,
    /// Every whole entry, with the place where it lies.
    pub entries: Vec<(u64, EntryRef<'a>)>,
    /// The entries counted.
    pub tally: Tally,
    /// What its seal says, where it has one.
    pub sealed: Option<Tally>,
    /// Ranges between good frames that are none.
    pub damaged: Vec<Range<u64>>,
    /// Where the last good frame ends: all bytes from here on are the tail.
    pub end: u64,
}

/// Reads `bytes` as a whole segment: everything that is whole in it, whatever else it holds.
///
/// A damaged header keeps nothing back. Of a later format nothing is read.
pub fn scan(bytes: &[u8]) -> Scan<'_> {
    let begin = bytes.len().min(HEADER_BYTES);
    let mut scan = Scan {
        header: read_header(bytes),
        entries: Vec::new(),
        tally: Tally::default(),
        sealed: None,
        damaged: Vec::new(),
        end: begin as u64,
    };
    if matches!(scan.header, Header::Newer { .. }) {
        return scan;
    }
    let mut cutter = Cutter::new(&bytes[begin..], begin as u64, true);
    loop {
        let offset = cutter.offset();
        match cutter.next() {
            Cut::Entry(entry) => {
                scan.tally.count(&entry);
                scan.entries.push((offset, entry));
                scan.end = cutter.offset();
            }
            Cut::Seal(tally) => {
                scan.sealed = Some(tally);
                scan.end = cutter.offset();
            }
            Cut::Damage(range) => match scan.damaged.last_mut() {
                // A frame of an unknown kind beside bytes that are none.
                Some(last) if last.end == range.start => last.end = range.end,
                _ => scan.damaged.push(range),
            },
            Cut::Short(_) | Cut::End => break,
        }
    }
    // What no good frame follows is the tail, not damage in the middle.
    scan.damaged.retain(|range| range.start < scan.end);
    scan
}

/// The place of a frame as it stands in the frame.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is all that a frame keeps"
)]
fn place(offset: u64) -> u32 {
    offset as u32
}

/// The CRC-32 of zip and Ethernet (ISO-HDLC).
fn crc32(bytes: &[u8]) -> u32 {
    // The crate returns every width as u64; the upper half of a CRC-32 is zero.
    let [.., a, b, c, d] = checksum(CrcAlgorithm::Crc32IsoHdlc, bytes).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The number at `at`, which callers have checked to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// A header as a later trackport might write it.
#[cfg(test)]
pub(super) fn later_header() -> [u8; HEADER_BYTES] {
    let mut bytes = header(1);
    bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let crc = crc32(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}
