//! An AVL frame checked from preamble to CRC, and its records.
//!
//! Knows nothing of sessions and devices. Invariant: a [`Packet`] from [`check`] has a right CRC,
//! equal counts, and exactly `n_records` records whose groups add up and whose times PostgreSQL
//! can hold; walking it cannot fail. Nothing here allocates.

use twox_hash::XxHash3_64;

use super::super::reader::{Reader, Short};
use super::codec::{Codec, TIME_MS_MAX};
use super::crc::crc16;
use super::error::PacketError;
use super::frame::FRAME_OVERHEAD;
use super::io::{Io, IoFault, Shape, skip};

/// What a sound frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked<'a> {
    /// Records.
    Avl(Packet<'a>),
    /// A command, a response or a message (codecs 12 to 15) with a right CRC; never acked.
    Command {
        /// The codec byte, 0x0C to 0x0F.
        codec_id: u8,
    },
}

/// A checked AVL packet; see the invariant of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// How its records are laid out.
    pub codec: Codec,
    /// How many records it has, 1 to 255: what the ack says.
    pub n_records: u8,
    /// The whole frame, from preamble to CRC.
    pub frame: &'a [u8],
}

/// The parts of a frame whose preamble and length are right.
struct Parts<'a> {
    data: Reader<'a>,
    crc: u32,
}

#[inline]
fn parts(frame: &[u8]) -> Result<Parts<'_>, PacketError> {
    let mut reader = Reader::new(frame);
    let preamble = reader.u32()?;
    let announced = reader.u32()?;
    if preamble != 0 {
        return Err(PacketError::Preamble { found: preamble });
    }
    let data_bytes = usize::try_from(announced).unwrap_or(usize::MAX);
    if data_bytes.saturating_add(FRAME_OVERHEAD) != frame.len() {
        return Err(PacketError::Length {
            announced,
            found: frame.len(),
        });
    }
    let data = reader.sub(data_bytes)?;
    let crc = reader.u32()?;
    Ok(Parts { data, crc })
}

/// Checks a whole frame, preamble to CRC.
///
/// # Errors
/// The first thing that is wrong, looked for in this order: preamble and length, CRC, codec, counts,
/// records one after the other.
pub fn check(frame: &[u8]) -> Result<Checked<'_>, PacketError> {
    let Parts { mut data, crc } = parts(frame)?;
    let computed = u32::from(crc16(data.rest()));
    if crc != computed {
        return Err(PacketError::Crc {
            found: crc,
            computed,
        });
    }
    let codec_id = data.u8()?;
    if let 0x0C..=0x0F = codec_id {
        return Ok(Checked::Command { codec_id });
    }
    let Some(codec) = Codec::from_id(codec_id) else {
        return Err(PacketError::Codec { found: codec_id });
    };
    let n_records = data.u8()?;
    let mut records = data.sub(data.rest().len().saturating_sub(1))?;
    let second = data.u8()?;
    if n_records != second {
        return Err(PacketError::Counts {
            first: n_records,
            second,
        });
    }
    if n_records == 0 {
        return Err(PacketError::NoRecords);
    }
    let mut shape = Shape::default();
    for record in 1..=n_records {
        check_record(&mut records, codec, record, &mut shape)?;
    }
    if !records.is_empty() {
        return Err(PacketError::Trailing {
            offset: records.position(),
            left: records.rest().len(),
        });
    }
    Ok(Checked::Avl(Packet {
        codec,
        n_records,
        frame,
    }))
}

#[inline]
fn check_record(
    reader: &mut Reader<'_>,
    codec: Codec,
    record: u8,
    shape: &mut Shape,
) -> Result<(), PacketError> {
    let offset = reader.position();
    let at_record = |short| PacketError::RecordShort { record, short };
    let head = Head::read(reader, codec).map_err(at_record)?;
    let time_ms = head.time_ms();
    if time_ms > TIME_MS_MAX {
        return Err(PacketError::Time {
            record,
            offset,
            time_ms,
        });
    }
    let offset = reader.position();
    skip(reader, codec, shape).map_err(|fault| match fault {
        IoFault::Short(short) => at_record(short),
        IoFault::Count { announced, found } => PacketError::IoCount {
            record,
            offset,
            announced,
            found,
        },
    })
}

/// The record count that a frame announces, if its preamble, length and AVL codec are sound
/// whatever else is wrong with it: what an ack must say so that the device goes on.
pub fn declared(frame: &[u8]) -> Option<u8> {
    let mut data = parts(frame).ok()?.data;
    Codec::from_id(data.u8().ok()?)?;
    data.u8().ok()
}

impl<'a> Packet<'a> {
    /// Reads a frame again that [`check`] has found good, without checking it again.
    ///
    /// Never unsafe: of other bytes it gives `None`, or a packet whose records end early.
    #[inline]
    pub fn from_checked(frame: &'a [u8]) -> Option<Packet<'a>> {
        let mut data = parts(frame).ok()?.data;
        let codec = Codec::from_id(data.u8().ok()?)?;
        let n_records = data.u8().ok()?;
        Some(Packet {
            codec,
            n_records,
            frame,
        })
    }

    /// The records in the order of the packet.
    #[inline]
    pub fn records(&self) -> Records<'a> {
        let data = parts(self.frame).and_then(|Parts { mut data, .. }| {
            data.array::<2>()?;
            Ok(data.sub(data.rest().len().saturating_sub(1))?)
        });
        Records {
            codec: self.codec,
            n_left: self.n_records,
            reader: data.unwrap_or(Reader::new(&[])),
            shape: Shape::default(),
        }
    }
}

/// Iterator over the records of a packet; see [`Packet::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    codec: Codec,
    n_left: u8,
    reader: Reader<'a>,
    shape: Shape,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    // A record is large to hand over; read in place by the caller's loop it costs a quarter less.
    #[inline(always)]
    fn next(&mut self) -> Option<Record<'a>> {
        self.n_left = self.n_left.checked_sub(1)?;
        let whole = self.reader.rest();
        let head = Head::read(&mut self.reader, self.codec).ok()?;
        let io = self.reader.rest();
        skip(&mut self.reader, self.codec, &mut self.shape).ok()?;
        let left = self.reader.rest().len();
        Some(head.with(
            before(whole, left),
            Io {
                codec: self.codec,
                bytes: before(io, left),
            },
        ))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.n_left)))
    }
}

/// `bytes` without its last `left` bytes.
#[inline]
fn before(bytes: &[u8], left: usize) -> &[u8] {
    bytes
        .get(..bytes.len().saturating_sub(left))
        .unwrap_or_default()
}

/// One AVL record. Positions are not judged here: `satellites == 0` means the position is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// All its bytes, timestamp to end of IO.
    pub raw: &'a [u8],
    /// Milliseconds since 1970 UTC, at most [`TIME_MS_MAX`].
    pub time_ms: u64,
    /// 0 low, 1 high, 2 panic; others occur and are kept.
    pub priority: u8,
    /// Degrees east times 10 000 000; west is negative.
    pub longitude: i32,
    /// Degrees north times 10 000 000; south is negative.
    pub latitude: i32,
    /// Metres above sea level.
    pub altitude_m: i16,
    /// Course over ground, degrees clockwise from north.
    pub angle_deg: u16,
    /// Satellites used; 0 means that there is no fix.
    pub satellites: u8,
    /// Speed in km/h; 0 also when it is not known.
    pub speed_kmh: u16,
    /// The AVL id that caused the record, 0 if none did.
    pub event_id: u16,
    /// What triggered the event (codec 16 only).
    pub generation: Option<u8>,
    /// The IO elements.
    pub io: Io<'a>,
}

impl Record<'_> {
    /// XXH3-64 with seed 0 of [`Record::raw`]: with device and time it names a record for ever.
    #[inline]
    pub fn digest(&self) -> u64 {
        XxHash3_64::oneshot(self.raw)
    }
}

/// The fields of a record before its IO section.
struct Head<'a> {
    fixed: &'a [u8; 24],
    event_id: u16,
    generation: Option<u8>,
}

impl<'a> Head<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>, codec: Codec) -> Result<Head<'a>, Short> {
        let fixed = reader.array()?;
        let event_id = match codec {
            Codec::Codec8 => u16::from(reader.u8()?),
            Codec::Codec8Extended | Codec::Codec16 => reader.u16()?,
        };
        let generation = match codec {
            Codec::Codec16 => Some(reader.u8()?),
            Codec::Codec8 | Codec::Codec8Extended => None,
        };
        Ok(Head {
            fixed,
            event_id,
            generation,
        })
    }

    #[inline]
    fn time_ms(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.fixed;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    #[inline]
    fn with(self, raw: &'a [u8], io: Io<'a>) -> Record<'a> {
        #[rustfmt::skip]
        let [
            _, _, _, _, _, _, _, _,
            priority,
            lon0, lon1, lon2, lon3,
            lat0, lat1, lat2, lat3,
            alt0, alt1,
            angle0, angle1,
            satellites,
            speed0, speed1,
        ] = *self.fixed;
        Record {
            raw,
            time_ms: self.time_ms(),
            priority,
            longitude: i32::from_be_bytes([lon0, lon1, lon2, lon3]),
            latitude: i32::from_be_bytes([lat0, lat1, lat2, lat3]),
            altitude_m: i16::from_be_bytes([alt0, alt1]),
            angle_deg: u16::from_be_bytes([angle0, angle1]),
            satellites,
            speed_kmh: u16::from_be_bytes([speed0, speed1]),
            event_id: self.event_id,
            generation: self.generation,
            io,
        }
    }
}
