//! Makes logins and frames as a device does, for the simulator and the tests.
//!
//! Knows no clock and no plausibility: a time, position or value may be nonsense, but what the
//! codec cannot carry is an error. Invariant: what comes out passes `avl::check`, except for times
//! beyond its bound.

use super::super::super::imei::Imei;
use super::codec::Codec;
use super::crc::crc16;

/// One record to be sent; the fields are those of [`super::Record`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RecordSpec {
    /// Milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// 0 low, 1 high, 2 panic.
    pub priority: u8,
    /// Degrees east times 10 000 000.
    pub longitude: i32,
    /// Degrees north times 10 000 000.
    pub latitude: i32,
    /// Metres above sea level.
    pub altitude_m: i16,
    /// Degrees clockwise from north.
    pub angle_deg: u16,
    /// Satellites used.
    pub satellites: u8,
    /// km/h.
    pub speed_kmh: u16,
    /// The AVL id that caused the record, 0 if none did.
    pub event_id: u16,
    /// `Some` in codec 16, `None` in the others.
    pub generation: Option<u8>,
    /// Id and value; sent in groups by width, in this order within a group.
    pub io: Vec<(u16, IoSpec)>,
}

/// The value of an IO element to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoSpec {
    /// A number.
    Fixed {
        /// Bytes on the wire: 1, 2, 4 or 8.
        width: u8,
        /// The number; it must fit the width.
        raw: u64,
    },
    /// Any bytes (8 Extended only).
    Bytes(Vec<u8>),
}

/// What a codec cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A packet has 1 to 255 records.
    #[error("a packet has 1 to 255 records, not {0}")]
    RecordCount(usize),
    /// An AVL or event id above 255 in codec 8.
    #[error("{} has no id {id}; ids above 255 need Codec 8 Extended or 16", codec.name())]
    Id {
        /// The codec wanted.
        codec: Codec,
        /// The id it cannot carry.
        id: u16,
    },
    /// More elements than the codec can count.
    #[error("{} cannot count {n_elements} IO elements in a record", codec.name())]
    IoCount {
        /// The codec wanted.
        codec: Codec,
        /// Elements in the record.
        n_elements: usize,
    },
    /// A width no group has, or a number too large for its width.
    #[error("{raw} is no number of {width} bytes; widths are 1, 2, 4 and 8")]
    Value {
        /// The width wanted.
        width: u8,
        /// The number.
        raw: u64,
    },
    /// A value of variable length in a codec that has none.
    #[error("{} has no values of variable length", .0.name())]
    NoVariable(Codec),
    /// A value longer than 65535 bytes.
    #[error("a value of {0} bytes is longer than 65535")]
    VariableLength(usize),
    /// A generation type outside codec 16, or none in it.
    #[error("a generation type belongs to Codec 16 and to it alone, not to {}", .0.name())]
    Generation(Codec),
    /// The data is longer than its length field can say.
    #[error("{0} bytes are too many for a frame")]
    TooLarge(usize),
}

/// The login of a device.
pub fn login(imei: Imei) -> Vec<u8> {
    let mut bytes = vec![0, 15];
    bytes.extend_from_slice(imei.to_string().as_bytes());
    bytes
}

/// A frame around `data` (codec to number of data 2), whatever it is.
///
/// # Errors
/// When `data` is longer than a length field can say.
pub fn frame(data: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let length = u32::try_from(data.len()).map_err(|_| EncodeError::TooLarge(data.len()))?;
    let mut bytes = vec![0; 4];
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(data);
    bytes.extend(u32::from(crc16(data)).to_be_bytes());
    Ok(bytes)
}

/// The frame of a packet with these records.
///
/// # Errors
/// What the codec cannot carry.
pub fn packet(codec: Codec, records: &[RecordSpec]) -> Result<Vec<u8>, EncodeError> {
    let n_records = match u8::try_from(records.len()) {
        Ok(n) if n > 0 => n,
        _ => return Err(EncodeError::RecordCount(records.len())),
    };
    let mut data = vec![codec.id(), n_records];
    for record in records {
        put_record(&mut data, codec, record)?;
    }
    data.push(n_records);
    frame(&data)
}

fn put_record(data: &mut Vec<u8>, codec: Codec, record: &RecordSpec) -> Result<(), EncodeError> {
    data.extend(record.time_ms.to_be_bytes());
    data.push(record.priority);
    data.extend(record.longitude.to_be_bytes());
    data.extend(record.latitude.to_be_bytes());
    data.extend(record.altitude_m.to_be_bytes());
    data.extend(record.angle_deg.to_be_bytes());
    data.push(record.satellites);
    data.extend(record.speed_kmh.to_be_bytes());
    put_id(data, codec, record.event_id)?;
    match (codec, record.generation) {
        (Codec::Codec16, Some(generation)) => data.push(generation),
        (Codec::Codec8 | Codec::Codec8Extended, None) => {}
        _ => return Err(EncodeError::Generation(codec)),
    }
    put_count(data, codec, record.io.len())?;
    for width in [1, 2, 4, 8] {
        put_group(data, codec, &record.io, width)?;
    }
    put_variable(data, codec, &record.io)?;
    // What went into no group has a width that none has.
    match record.io.iter().find_map(|(_, value)| match value {
        IoSpec::Fixed { width, raw } if !matches!(width, 1 | 2 | 4 | 8) => Some((*width, *raw)),
        _ => None,
    }) {
        Some((width, raw)) => Err(EncodeError::Value { width, raw }),
        None => Ok(()),
    }
}

fn put_group(
    data: &mut Vec<u8>,
    codec: Codec,
    io: &[(u16, IoSpec)],
    group: u8,
) -> Result<(), EncodeError> {
    let members = io.iter().filter_map(|(id, value)| match value {
        IoSpec::Fixed { width, raw } if *width == group => Some((*id, *raw)),
        _ => None,
    });
    put_count(data, codec, members.clone().count())?;
    for (id, raw) in members {
        put_id(data, codec, id)?;
        let bytes = raw.to_be_bytes();
        let unused = bytes.len().saturating_sub(usize::from(group));
        let (zeros, value) = bytes.split_at(unused);
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(EncodeError::Value { width: group, raw });
        }
        data.extend_from_slice(value);
    }
    Ok(())
}

fn put_variable(data: &mut Vec<u8>, codec: Codec, io: &[(u16, IoSpec)]) -> Result<(), EncodeError> {
    let members = io.iter().filter_map(|(id, value)| match value {
        IoSpec::Bytes(bytes) => Some((*id, bytes)),
        IoSpec::Fixed { .. } => None,
    });
    if codec != Codec::Codec8Extended {
        return match members.count() {
            0 => Ok(()),
            _ => Err(EncodeError::NoVariable(codec)),
        };
    }
    put_count(data, codec, members.clone().count())?;
    for (id, bytes) in members {
        put_id(data, codec, id)?;
        let length =
            u16::try_from(bytes.len()).map_err(|_| EncodeError::VariableLength(bytes.len()))?;
        data.extend(length.to_be_bytes());
        data.extend_from_slice(bytes);
    }
    Ok(())
}

fn put_id(data: &mut Vec<u8>, codec: Codec, id: u16) -> Result<(), EncodeError> {
    match codec {
        Codec::Codec8 => data.push(u8::try_from(id).map_err(|_| EncodeError::Id { codec, id })?),
        Codec::Codec8Extended | Codec::Codec16 => data.extend(id.to_be_bytes()),
    }
    Ok(())
}

fn put_count(data: &mut Vec<u8>, codec: Codec, n_elements: usize) -> Result<(), EncodeError> {
    let too_many = EncodeError::IoCount { codec, n_elements };
    match codec {
        Codec::Codec8 | Codec::Codec16 => {
            data.push(u8::try_from(n_elements).map_err(|_| too_many)?);
        }
        Codec::Codec8Extended => {
            data.extend(
                u16::try_from(n_elements)
                    .map_err(|_| too_many)?
                    .to_be_bytes(),
            );
        }
    }
    Ok(())
}
