//! The IMEI: fifteen digits that name a device. Only checked values exist.

use std::fmt;
use std::str::FromStr;

/// The IMEI of one device: exactly fifteen decimal digits.
///
/// Kept as a number, because it is a key in memory a million times over; shown with its
/// leading zeros. The check digit is not demanded: test units and the maker's own examples fail it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Imei(u64);

/// Why a text is no IMEI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImeiError {
    /// The text is not fifteen characters long.
    #[error("an IMEI has 15 digits, this has {0} characters")]
    Length(usize),
    /// A character is not a decimal digit.
    #[error("an IMEI has digits only")]
    NotDigits,
}

impl Imei {
    /// Digits in an IMEI.
    pub const DIGITS: usize = 15;

    /// Reads an IMEI from its ASCII digits.
    ///
    /// # Errors
    /// When `ascii` is not exactly fifteen decimal digits.
    pub fn from_ascii(ascii: &[u8]) -> Result<Imei, ImeiError> {
        if !ascii.iter().all(u8::is_ascii_digit) {
            return Err(ImeiError::NotDigits);
        }
        if ascii.len() != Self::DIGITS {
            return Err(ImeiError::Length(ascii.len()));
        }
        Ok(Imei(ascii.iter().fold(0, |number, digit| {
            number * 10 + u64::from(digit - b'0')
        })))
    }

    /// The fifteen digits as one number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The IMEI with this number.
    ///
    /// # Errors
    /// When the number has more than fifteen digits.
    pub fn from_number(number: u64) -> Result<Imei, ImeiError> {
        if number > 999_999_999_999_999 {
            Err(ImeiError::Length(16))
        } else {
            Ok(Imei(number))
        }
    }

    /// Whether the last digit is the Luhn check digit of the others.
    pub fn luhn_ok(self) -> bool {
        let mut rest = self.0;
        let mut sum = 0;
        for place in 0..Self::DIGITS {
            let digit = rest % 10;
            rest /= 10;
            let doubled = if place % 2 == 1 { digit * 2 } else { digit };
            sum += doubled / 10 + doubled % 10;
        }
        sum % 10 == 0
    }
}

impl FromStr for Imei {
    type Err = ImeiError;

    fn from_str(text: &str) -> Result<Imei, ImeiError> {
        Imei::from_ascii(text.as_bytes())
    }
}

impl fmt::Display for Imei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:015}", self.0)
    }
}

impl fmt::Debug for Imei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imei({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_survive() {
        let imei: Imei = "012345678901237".parse().unwrap();
        assert_eq!(imei.to_string(), "012345678901237");
        assert_eq!(Imei::from_number(imei.number()), Ok(imei));
    }

    #[test]
    fn what_is_no_imei_says_why() {
        assert_eq!("35630704244101".parse::<Imei>(), Err(ImeiError::Length(14)));
        assert_eq!("35630704244101x".parse::<Imei>(), Err(ImeiError::NotDigits));
        assert_eq!(
            "3563070424410130".parse::<Imei>(),
            Err(ImeiError::Length(16))
        );
        assert!(Imei::from_number(1_000_000_000_000_000).is_err());
    }

    #[test]
    fn the_check_digit_is_known() {
        assert!("356307042441013".parse::<Imei>().unwrap().luhn_ok());
        assert!(!"123456789012345".parse::<Imei>().unwrap().luhn_ok());
    }
}
