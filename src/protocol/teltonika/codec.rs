//! The codecs that carry records, and the widths in which they differ.

/// The last millisecond since 1970 that a `timestamptz` of PostgreSQL can hold (end of 294276).
pub const TIME_MS_MAX: u64 = 9_224_318_015_999_999;

/// How the IO section of a record is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Ids up to 255.
    Codec8,
    /// Ids up to 65535 and values of any length.
    Codec8Extended,
    /// Ids up to 65535 and a generation type; FMB630 and FM63xy only.
    Codec16,
}

impl Codec {
    /// The byte that names the codec on the wire.
    pub fn id(self) -> u8 {
        match self {
            Codec::Codec8 => 0x08,
            Codec::Codec8Extended => 0x8E,
            Codec::Codec16 => 0x10,
        }
    }

    /// The codec as the maker writes it in a configurator.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Codec8 => "Codec 8",
            Codec::Codec8Extended => "Codec 8 Extended",
            Codec::Codec16 => "Codec 16",
        }
    }

    /// The codec with this byte; `None` for command codecs and unknown bytes.
    #[inline]
    pub fn from_id(id: u8) -> Option<Codec> {
        match id {
            0x08 => Some(Codec::Codec8),
            0x8E => Some(Codec::Codec8Extended),
            0x10 => Some(Codec::Codec16),
            _ => None,
        }
    }

    /// Bytes of the event id.
    #[inline]
    pub fn event_width(self) -> u8 {
        self.id_width()
    }

    /// Bytes of an id in a group.
    #[inline]
    pub fn id_width(self) -> u8 {
        match self {
            Codec::Codec8 => 1,
            Codec::Codec8Extended | Codec::Codec16 => 2,
        }
    }

    /// Bytes of the total count and of each group's count.
    #[inline]
    pub fn count_width(self) -> u8 {
        match self {
            Codec::Codec8 | Codec::Codec16 => 1,
            Codec::Codec8Extended => 2,
        }
    }
}
