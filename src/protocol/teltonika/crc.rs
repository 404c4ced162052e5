//! The checksum of a frame: CRC-16/ARC, which the maker calls CRC-16/IBM.

use crc_fast::{CrcAlgorithm, checksum};

/// The CRC-16/ARC of `bytes` (polynomial 8005 reflected, initial value 0, no final xor).
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    // The crate returns every width as u64; the upper 48 bits of a CRC-16 are zero.
    let [.., high, low] = checksum(CrcAlgorithm::Crc16Arc, bytes).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit_by_bit(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0xA001 } else { 0 }
            })
        })
    }

    #[test]
    fn the_check_value_is_bb3d() {
        assert_eq!(crc16(b"123456789"), 0xBB3D);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn every_length_agrees_with_the_definition() {
        let mut seed = 1_u32;
        let bytes: Vec<u8> = (0..5000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                seed.to_be_bytes()[0]
            })
            .collect();
        for n in (0..1300).chain([2047, 2048, 2049, 4096, 4999, 5000]) {
            assert_eq!(crc16(&bytes[..n]), bit_by_bit(&bytes[..n]), "{n} bytes");
            let from_end = &bytes[bytes.len() - n..];
            assert_eq!(
                crc16(from_end),
                bit_by_bit(from_end),
                "{n} bytes from the end"
            );
        }
    }
}
