//! Cuts the byte stream of a device into its items, before anything is checked or believed.
//!
//! Knows lengths only, no codecs and no CRC. Invariant: what cannot be an item is refused at the
//! first byte that shows it, so that nobody buffers on the word of a length field.

use super::super::reader::{Reader, Short};

/// Bytes of a frame around the data it announces: preamble, length field and CRC.
pub const FRAME_OVERHEAD: usize = 12;
/// The byte that keeps a link alive; it can stand before any item.
pub const PING: u8 = 0xFF;
/// Codec, number of data 1 and number of data 2: no frame announces less.
const DATA_BYTES_MIN: u32 = 3;
/// Room for serials beside the fifteen digits of an IMEI; what is longer is no login at all.
const LOGIN_BYTES_MAX: u16 = 32;
/// The same with the length field: what needs more bytes than these is no login.
pub(super) const LOGIN_ITEM_BYTES_MAX: usize = 34;

/// What stands at the front of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut<'a> {
    /// One byte FF.
    Ping,
    /// A login.
    Login {
        /// What should be the digits of an IMEI.
        digits: &'a [u8],
        /// Bytes of the whole item.
        consumed: usize,
    },
    /// A whole frame from preamble to CRC, unchecked.
    Frame(&'a [u8]),
    /// The item is incomplete: this many bytes, counted from the start of the input, are needed to
    /// say more. Always more than there are.
    Need(usize),
    /// This is not the stream of a device.
    Broken(FrameError),
}

/// Why the stream cannot be cut any further. There is no way to find the next item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame begins with two zero bytes, but not with four.
    #[error("a frame begins with 00000000, this begins with {found:08X}")]
    Preamble {
        /// The first four bytes.
        found: u32,
    },
    /// The announced data cannot even hold a codec and two counts.
    #[error("a frame announces at least 3 data bytes, this announces {announced}")]
    TooSmall {
        /// Data bytes announced.
        announced: u32,
    },
    /// The frame would be larger than allowed.
    #[error("a frame of {announced} data bytes is more than the {packet_bytes_max} bytes allowed")]
    TooLarge {
        /// Data bytes announced.
        announced: u32,
        /// Bytes that a whole frame may have.
        packet_bytes_max: usize,
    },
    /// A login that cannot be one.
    #[error("a login announces 15 bytes, this announces {announced}{looks_like}")]
    LoginLength {
        /// Bytes announced.
        announced: u16,
        /// What speaks here instead.
        looks_like: LooksLike,
    },
}

impl FrameError {
    /// A short word for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            FrameError::Preamble { .. } => "preamble",
            FrameError::TooSmall { .. } => "too_small",
            FrameError::TooLarge { .. } => "too_large",
            FrameError::LoginLength { looks_like, .. } => match looks_like {
                LooksLike::Http => "http",
                LooksLike::Tls => "tls",
                LooksLike::Text => "text",
                LooksLike::Unknown => "login_length",
            },
        }
    }
}

/// A guess at what is talking to the port if it is no tracker. Shown as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LooksLike {
    /// A web browser, a health check or a scanner.
    Http,
    /// A device or client that speaks TLS to a port without it.
    Tls,
    /// Some text protocol.
    Text,
    /// Nothing known.
    Unknown,
}

impl std::fmt::Display for LooksLike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LooksLike::Http => "; it looks like HTTP",
            LooksLike::Tls => "; it looks like TLS, which this port does not speak",
            LooksLike::Text => "; it looks like text",
            LooksLike::Unknown => "",
        })
    }
}

impl LooksLike {
    /// The guess for a stream that begins with `input`.
    pub fn guess(input: &[u8]) -> LooksLike {
        const METHODS: [&[u8]; 9] = [
            b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"DELE", b"PATC", b"PRI ",
        ];
        let begin = input.get(..4).unwrap_or(input);
        if METHODS.iter().any(|method| method.starts_with(begin)) {
            LooksLike::Http
        } else if input.starts_with(&[0x16, 0x03]) {
            LooksLike::Tls
        } else if begin
            .iter()
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        {
            LooksLike::Text
        } else {
            LooksLike::Unknown
        }
    }
}

/// Cuts the first item off `input`; a whole frame may have `packet_bytes_max` bytes.
pub fn cut(input: &[u8], packet_bytes_max: usize) -> Cut<'_> {
    if input.first() == Some(&PING) {
        return Cut::Ping;
    }
    match item(input, packet_bytes_max) {
        Ok(cut) => cut,
        Err(Short { offset, wanted, .. }) => Cut::Need(offset.saturating_add(wanted)),
    }
}

fn item(input: &[u8], packet_bytes_max: usize) -> Result<Cut<'_>, Short> {
    let mut reader = Reader::new(input);
    if input.is_empty() {
        // One byte is worth looking at: it may be a ping.
        reader.u8()?;
    }
    let login_bytes = reader.u16()?;
    if login_bytes > LOGIN_BYTES_MAX {
        return Ok(Cut::Broken(FrameError::LoginLength {
            announced: login_bytes,
            looks_like: LooksLike::guess(input),
        }));
    }
    if login_bytes > 0 {
        let digits = reader.take(usize::from(login_bytes))?;
        let consumed = reader.position();
        return Ok(Cut::Login { digits, consumed });
    }
    // A wrong preamble shows as soon as its bytes are there, not only with the length behind them.
    if reader.rest().iter().take(2).any(|byte| *byte != 0) {
        let found = input.iter().chain(&[0; 2]).take(4);
        return Ok(Cut::Broken(FrameError::Preamble {
            found: found.fold(0, |found, byte| (found << 8) | u32::from(*byte)),
        }));
    }
    let mut head = Reader::new(input);
    let [_, _, _, _, length @ ..] = *head.array::<8>()?;
    let announced = u32::from_be_bytes(length);
    if announced < DATA_BYTES_MIN {
        return Ok(Cut::Broken(FrameError::TooSmall { announced }));
    }
    let frame_bytes = usize::try_from(announced)
        .unwrap_or(usize::MAX)
        .saturating_add(FRAME_OVERHEAD);
    if frame_bytes > packet_bytes_max {
        return Ok(Cut::Broken(FrameError::TooLarge {
            announced,
            packet_bytes_max,
        }));
    }
    Ok(Cut::Frame(Reader::new(input).take(frame_bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 65_536;

    fn broken(input: &[u8]) -> FrameError {
        match cut(input, MAX) {
            Cut::Broken(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn need_grows_only_with_what_is_known() {
        assert_eq!(cut(&[], MAX), Cut::Need(1));
        assert_eq!(cut(&[0], MAX), Cut::Need(2));
        assert_eq!(cut(&[0, 0], MAX), Cut::Need(8));
        assert_eq!(cut(&[0, 15], MAX), Cut::Need(17));
        assert_eq!(cut(&[0, 32], MAX), Cut::Need(LOGIN_ITEM_BYTES_MAX));
        assert_eq!(cut(&[0, 0, 0, 0, 0, 0, 0, 40], MAX), Cut::Need(52));
        assert_eq!(cut(&[0xFF, 0xFF], MAX), Cut::Ping);
    }

    #[test]
    fn a_gigabyte_is_refused_at_eight_bytes() {
        let error = broken(&[0, 0, 0, 0, 0x40, 0, 0, 0]);
        assert_eq!(error.code(), "too_large");
        assert!(error.to_string().contains("1073741824"), "{error}");
        assert_eq!(
            cut(&[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], usize::MAX),
            Cut::Need(0xFFFF_FFFF + 12)
        );
    }

    #[test]
    fn the_largest_frame_allowed_is_allowed() {
        let mut input = vec![0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0];
        assert_eq!(cut(&input, 15), Cut::Frame(&input));
        assert!(matches!(cut(&input, 14), Cut::Broken(_)));
        input.push(9);
        assert_eq!(cut(&input, 15), Cut::Frame(&input[..15]));
        assert_eq!(broken(&[0, 0, 0, 0, 0, 0, 0, 2]).code(), "too_small");
    }

    #[test]
    fn a_wrong_preamble_shows_at_its_byte() {
        assert_eq!(
            broken(&[0, 0, 7]),
            FrameError::Preamble { found: 0x0000_0700 }
        );
        assert_eq!(broken(&[0, 0, 0, 1, 9, 9]).code(), "preamble");
    }

    #[test]
    fn strangers_are_called_by_their_name() {
        assert_eq!(broken(b"GET / HTTP/1.1\r\n").code(), "http");
        assert_eq!(broken(b"PO").code(), "http");
        assert_eq!(broken(&[0x16, 0x03, 0x01, 0x02, 0x00]).code(), "tls");
        assert_eq!(broken(b"##,imei:123").code(), "text");
        assert_eq!(broken(&[0x78, 0x78, 0x0D, 0x01]).code(), "login_length");
        assert!(broken(b"GET /").to_string().ends_with("looks like HTTP"));
    }

    #[test]
    fn a_login_of_another_length_is_a_login_to_be_refused() {
        assert_eq!(
            cut(&[0, 2, b'1', b'x', 0], MAX),
            Cut::Login {
                digits: b"1x",
                consumed: 4
            }
        );
        assert_eq!(broken(&[0, 33]).code(), "login_length");
    }
}
