//! Why a frame is not a packet: for logs, metrics and quarantine.

use super::super::reader::Short;
use super::codec::TIME_MS_MAX;

/// Why a frame is not a packet. Offsets count from the preamble, records from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Too few bytes for the head of a frame.
    #[error("the frame is cut off: {0}")]
    Short(Short),
    /// The first four bytes are not zero.
    #[error("a frame begins with 00000000, this begins with {found:08X}")]
    Preamble {
        /// The first four bytes.
        found: u32,
    },
    /// The length field does not fit the frame.
    #[error(
        "the frame announces {announced} data bytes and has {found} in all; it should have 12 more than it announces"
    )]
    Length {
        /// Data bytes announced at offset 4.
        announced: u32,
        /// Bytes of the whole frame.
        found: usize,
    },
    /// The checksum is wrong: the bytes were damaged on their way.
    #[error("the CRC field says {found:08X}, the data says {computed:08X}")]
    Crc {
        /// The CRC field.
        found: u32,
        /// The CRC of the data.
        computed: u32,
    },
    /// A codec that trackport does not know.
    #[error(
        "codec {found:#04X} at offset 8 is unknown; AVL data comes as 0x08, 0x8E or 0x10, commands as 0x0C to 0x0F"
    )]
    Codec {
        /// The codec byte.
        found: u8,
    },
    /// The record counts at the front and at the end differ.
    #[error("number of data 1 is {first}, number of data 2 is {second}")]
    Counts {
        /// Number of data 1, at offset 9.
        first: u8,
        /// Number of data 2, before the CRC.
        second: u8,
    },
    /// A packet without records.
    #[error("number of data is 0; a packet has at least one record")]
    NoRecords,
    /// A record runs into number of data 2.
    #[error("record {record} is cut off: {short}")]
    RecordShort {
        /// Which record.
        record: u8,
        /// What was missing where.
        short: Short,
    },
    /// The groups of a record do not add up.
    #[error(
        "record {record}, whose IO count is at offset {offset}, announces {announced} IO elements, its groups hold {found}"
    )]
    IoCount {
        /// Which record.
        record: u8,
        /// Offset of the total count.
        offset: usize,
        /// The total count.
        announced: u32,
        /// The sum of the group counts.
        found: u32,
    },
    /// Bytes are left behind the last record.
    #[error("the records end at offset {offset}, {left} bytes before number of data 2")]
    Trailing {
        /// Where the last record ends.
        offset: usize,
        /// Bytes between it and number of data 2.
        left: usize,
    },
    /// A time no database column can hold.
    #[error(
        "record {record} at offset {offset} has the time {time_ms} ms since 1970, the last that can be stored is {TIME_MS_MAX}"
    )]
    Time {
        /// Which record.
        record: u8,
        /// Where it begins.
        offset: usize,
        /// The time it gives.
        time_ms: u64,
    },
}

impl PacketError {
    /// A short word for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            PacketError::Short(_) => "short",
            PacketError::Preamble { .. } => "preamble",
            PacketError::Length { .. } => "length",
            PacketError::Crc { .. } => "crc",
            PacketError::Codec { .. } => "codec",
            PacketError::Counts { .. } => "counts",
            PacketError::NoRecords => "no_records",
            PacketError::RecordShort { .. } => "record_short",
            PacketError::IoCount { .. } => "io_count",
            PacketError::Trailing { .. } => "trailing",
            PacketError::Time { .. } => "time",
        }
    }
}

impl From<Short> for PacketError {
    fn from(short: Short) -> PacketError {
        PacketError::Short(short)
    }
}
