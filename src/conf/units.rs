//! Durations and sizes as people write them in the conf file: `"15 s"`, `"64 KiB"`.
//!
//! Knows no keys and no bounds. What is written by `show_…` is read back by `parse_…` as the same value.

use std::time::Duration;

/// Why a text is no duration or no size; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number at the beginning, or something that is no whole number.
    #[error("it must begin with a whole number; write for example \"{0}\"")]
    Number(&'static str),
    /// A number without a unit where only a unit gives it a meaning.
    #[error("the unit is missing; write for example \"{0}\"")]
    Missing(String),
    /// The word after the number is no unit.
    #[error("\"{word}\" is no unit; the units are {units}")]
    Unknown {
        /// The word as written.
        word: String,
        /// The words that would be right.
        units: &'static str,
    },
    /// More than can be counted.
    #[error("the number is too large")]
    TooLarge,
}

/// The units of a duration in milliseconds; the first name is the one that is shown.
const DURATIONS: &[(&[&str], u64)] = &[
    (&["weeks", "week"], 7 * 86_400_000),
    (&["days", "day", "d"], 86_400_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["min", "minute", "minutes"], 60_000),
    (&["s", "sec", "second", "seconds"], 1000),
    (&["ms", "millisecond", "milliseconds"], 1),
];

/// The units of a size in bytes.
const SIZES: &[(&[&str], u64)] = &[
    (&["TiB"], 1 << 40),
    (&["GiB"], 1 << 30),
    (&["MiB"], 1 << 20),
    (&["KiB"], 1 << 10),
    (&["B", "byte", "bytes"], 1),
];

/// Reads a duration: a whole number and a unit from `ms` to `weeks`.
///
/// # Errors
/// When the number or the unit is missing or unknown. `m` is refused on purpose: it is read as
/// minutes by some and as months by others.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, word) = split(text, "15 s")?;
    if word.is_empty() {
        return Err(UnitError::Missing(format!("{number} s")));
    }
    let unit = find(DURATIONS, word, "ms, s, min, h, days and weeks")?;
    number
        .checked_mul(unit)
        .map(Duration::from_millis)
        .ok_or(UnitError::TooLarge)
}

/// Reads a size in bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`, or bytes without a unit.
///
/// # Errors
/// When the number is missing or the unit unknown. `KB` and `k` are refused on purpose: whether
/// they mean 1000 or 1024 is anybody's guess.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, word) = split(text, "64 KiB")?;
    if word.is_empty() {
        return Ok(number);
    }
    let unit = find(SIZES, word, "B, KiB, MiB, GiB and TiB")?;
    number.checked_mul(unit).ok_or(UnitError::TooLarge)
}

/// The duration as it would stand in the conf file, in the largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(DURATIONS, milliseconds, "s")
}

/// The size as it would stand in the conf file, in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    show(SIZES, bytes, "B")
}

fn split<'t>(text: &'t str, example: &'static str) -> Result<(u64, &'t str), UnitError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, word) = text.split_at(end);
    if digits.is_empty() || word.starts_with(['.', ',', '_']) {
        return Err(UnitError::Number(example));
    }
    let number = digits.parse().map_err(|_| UnitError::TooLarge)?;
    Ok((number, word.trim_start()))
}

fn find(table: &[(&[&str], u64)], word: &str, units: &'static str) -> Result<u64, UnitError> {
    table
        .iter()
        .find(|(names, _)| names.contains(&word))
        .map(|(_, unit)| *unit)
        .ok_or_else(|| UnitError::Unknown {
            word: word.to_owned(),
            units,
        })
}

fn show(table: &[(&[&str], u64)], value: u64, unit_of_zero: &str) -> String {
    for (names, unit) in table {
        // Weeks are read but not written: "400 days" is what people keep records for.
        if value > 0 && value.is_multiple_of(*unit) && names[0] != "weeks" {
            let number = value / unit;
            let name = if number == 1 && names[0] == "days" {
                "day"
            } else {
                names[0]
            };
            return format!("{number} {name}");
        }
    }
    format!("{value} {unit_of_zero}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_mean_what_people_write() {
        for (text, seconds) in [
            ("15 s", 15),
            ("15s", 15),
            ("2 min", 120),
            ("6 h", 21_600),
            ("1 day", 86_400),
            ("400 days", 34_560_000),
            ("2 weeks", 1_209_600),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("500 ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn a_wrong_duration_says_what_would_be_right() {
        let told = |text: &str| parse_duration(text).unwrap_err().to_string();
        assert!(told("15").contains("write for example \"15 s\""));
        assert!(told("soon").contains("whole number"));
        assert!(told("1.5 h").contains("whole number"));
        assert!(told("-3 s").contains("whole number"));
        assert!(told("5 m").contains("the units are ms, s, min, h, days and weeks"));
        assert!(told("99999999999999999999 s").contains("too large"));
        assert!(told("18446744073709551615 weeks").contains("too large"));
    }

    #[test]
    fn sizes_are_powers_of_two_only() {
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("8 GiB"), Ok(8 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert!(parse_size("64 KB").unwrap_err().to_string().contains("KiB"));
        assert_eq!(parse_size("99999999 TiB"), Err(UnitError::TooLarge));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for milliseconds in [0, 1, 500, 1000, 90_000, 3_600_000, 86_400_000, 604_800_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        for bytes in [0, 1, 1023, 1024, 65_536, 8 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Duration::from_secs(400 * 86_400)), "400 days");
    }
}
