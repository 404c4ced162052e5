//! Until when a certificate is believed.
//!
//! The TLS library judges certificates of others and does not tell the dates of our own. They stand at a fixed place of X.509 (RFC 5280,
//! 4.1), so a few steps through its DER find them, and no library of its own is needed. Whatever is not as expected is not known.

use std::time::{Duration, SystemTime};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT Version`, absent in the oldest.
const VERSION: u8 = 0xA0;

/// `notAfter` of a certificate in DER.
pub(super) fn expires_at(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let mut rest = signed;
    if rest.first() == Some(&VERSION) {
        rest = element(rest, VERSION)?.1;
    }
    // Serial number, algorithm of the signature, issuer.
    for _ in 0..3 {
        rest = element(rest, *rest.first()?)?.1;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let after_begin = element(validity, *validity.first()?)?.1;
    let tag = *after_begin.first()?;
    let (time, _) = element(after_begin, tag)?;
    read_time(tag, std::str::from_utf8(time).ok()?)
}

/// The content of the element that `bytes` begin with, if it has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let n_bytes = usize::from(first & 0x7F);
        if n_bytes > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(n_bytes)?;
        length = digits
            .iter()
            .fold(0, |length, &digit| length << 8 | usize::from(digit));
        rest = after;
    }
    (found == tag).then(|| rest.split_at_checked(length))?
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn read_time(tag: u8, text: &str) -> Option<SystemTime> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i16 = text.get(..2)?.parse().ok()?;
            // RFC 5280, 4.1.2.5.1.
            (
                if year >= 50 { 1900 + year } else { 2000 + year },
                text.get(2..)?,
            )
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let digits = rest.strip_suffix('Z')?;
    let part = |from: usize| digits.get(from..from + 2)?.parse::<i8>().ok();
    let time =
        jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0)
            .ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let seconds = u64::try_from(time.timestamp().as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `content` with a tag and its length.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut bytes = vec![tag];
        if length < 0x80 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.extend([
                0x82,
                u8::try_from(length >> 8).unwrap(),
                (length & 0xFF) as u8,
            ]);
        }
        bytes.extend(content);
        bytes
    }

    fn certificate(time: &[u8]) -> Vec<u8> {
        let validity = [der(UTC_TIME, b"260101000000Z"), time.to_vec()].concat();
        let signed = [
            der(VERSION, &der(2, &[2])),
            der(2, &[7; 20]),
            der(SEQUENCE, b"algorithm"),
            der(SEQUENCE, &[b'n'; 300]),
            der(SEQUENCE, &validity),
            der(SEQUENCE, b"subject"),
        ]
        .concat();
        der(
            SEQUENCE,
            &[der(SEQUENCE, &signed), der(3, b"signature")].concat(),
        )
    }

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn the_end_is_found_in_both_spellings() {
        let utc = certificate(&der(UTC_TIME, b"261124120000Z"));
        assert_eq!(expires_at(&utc), at(1_795_521_600));
        let general = certificate(&der(GENERALIZED_TIME, b"20501231235959Z"));
        assert_eq!(expires_at(&general), at(2_556_143_999));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(&der(UTC_TIME, b"261124120000Z"));
        for length in 0..whole.len() - 20 {
            // Never a panic; mostly nothing is known.
            let _ = expires_at(&whole[..length]);
        }
        for time in [&b"261324120000Z"[..], b"26112412000Z", b"x", b""] {
            assert_eq!(expires_at(&certificate(&der(UTC_TIME, time))), None);
        }
        assert_eq!(expires_at(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0]), None);
        assert_eq!(expires_at(b"-----BEGIN"), None);
    }
}
