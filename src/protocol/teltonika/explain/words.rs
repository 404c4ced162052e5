//! Words and numbers for the lines of an explanation. Knows no offsets and no order of fields.

use super::super::crc::crc16;

/// Whether the last four bytes are the CRC of those before.
pub(super) fn ends_with_its_crc(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(data, crc)| u32::from_be_bytes(*crc) == u32::from(crc16(data)))
}

/// `bytes` as an unsigned big-endian number.
pub(super) fn number_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// `raw` of `width` bytes in two's complement.
pub(super) fn signed(raw: u64, width: u8) -> i64 {
    let unused_bits = 64_u32.saturating_sub(u32::from(width).saturating_mul(8));
    raw.wrapping_shl(unused_bits)
        .cast_signed()
        .wrapping_shr(unused_bits)
}

/// A time in milliseconds since 1970 as people write it.
pub(super) fn utc(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match time {
        Some(time) => time.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string(),
        None => "after the year 9999".to_owned(),
    }
}

/// A coordinate of four bytes in degrees.
pub(super) fn coordinate(axis: &str, raw: u64, degrees_max: u64) -> String {
    let raw = signed(raw, 4);
    let size = raw.unsigned_abs();
    let sign = if raw < 0 { "-" } else { "" };
    let (degrees, parts) = (size / 10_000_000, size % 10_000_000);
    let beyond = if size > degrees_max.saturating_mul(10_000_000) {
        format!(" (beyond {degrees_max}: no place on earth)")
    } else {
        String::new()
    };
    format!("{axis}: {raw} = {sign}{degrees}.{parts:07} deg{beyond}")
}

/// The text that `bytes` are, if they are printable; to stand behind other words.
pub(super) fn as_text(bytes: &[u8]) -> String {
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if !bytes.is_empty() && bytes.iter().all(printable) {
        format!(": \"{}\"", bytes.escape_ascii())
    } else {
        String::new()
    }
}

/// What a priority is called.
pub(super) fn priority(n: u64) -> &'static str {
    match n {
        0 => "Low",
        1 => "High",
        2 => "Panic",
        3 => "Security",
        _ => "(unknown)",
    }
}

/// What a generation type of codec 16 is called.
pub(super) fn generation(n: u64) -> &'static str {
    match n {
        0 => "On Exit",
        1 => "On Entrance",
        2 => "On Both",
        3 => "Reserved",
        4 => "Hysteresis",
        5 => "On Change",
        6 => "Eventual",
        7 => "Periodical",
        _ => "(unknown)",
    }
}

/// What the type of a command or message is called.
pub(super) fn message_type(n: u64) -> &'static str {
    match n {
        0x05 => "command",
        0x06 => "response",
        0x0B => "message",
        0x11 => "nACK: the IMEI is another's",
        _ => "(unknown)",
    }
}
