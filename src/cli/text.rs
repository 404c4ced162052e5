//! Text for people: aligned columns, times, amounts.
//!
//! Knows no command and reads no clock. Invariant: what comes from devices or the database never steers the terminal;
//! its control characters are shown, not sent.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use crate::clock;

/// Rows under a header, aligned when they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(header: [&str; N]) -> Table {
        Table {
            rows: vec![header.iter().map(|word| (*word).to_owned()).collect()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: &[String; N]) {
        self.rows
            .push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// A table whose header is made while it runs; `push` its rows.
    pub(super) fn of(header: Vec<String>) -> Table {
        Table { rows: vec![header] }
    }

    /// A row of a table made by `of`: as many cells as the header has.
    pub(super) fn push(&mut self, cells: impl Iterator<Item = String>) {
        self.rows.push(cells.map(|cell| printable(&cell)).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Writes every row behind `indent`; columns of numbers are aligned to the right.
    pub(super) fn write(&self, out: &mut impl Write, indent: &str) -> io::Result<()> {
        let n_columns = self.rows.first().map_or(0, Vec::len);
        let columns: Vec<(usize, bool)> = (0..n_columns)
            .map(|column| {
                let cells = || self.rows.iter().map(move |row| row[column].as_str());
                let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
                let numbers = !self.is_empty() && cells().skip(1).all(is_amount);
                (width, numbers)
            })
            .collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, (width, to_the_right)) in row.iter().zip(&columns) {
                if *to_the_right {
                    let _ = write!(line, "{cell:>width$}  ");
                } else {
                    let _ = write!(line, "{cell:<width$}  ");
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn is_amount(cell: &str) -> bool {
    let digits = cell.chars().filter(char::is_ascii_digit).count();
    // Fifteen digits and more are a name (an IMEI), not an amount.
    digits < 15
        && cell
            .chars()
            .all(|one| one.is_ascii_digit() || matches!(one, ' ' | '.' | '-'))
}

/// `text` with its control characters spelled out.
pub(super) fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|one| {
            let spelled = one.is_control().then(|| one.escape_default());
            let plain = spelled.is_none().then_some(one);
            spelled.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// A number with its thousands apart: `1 234 567`.
pub(super) fn amount(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit that leaves three digits or less before the point.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut scaled = number as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1000.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A span of time in one or two units: `350 ms`, `12 s`, `3 min`, `2 h 05 min`, `4 d 3 h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.subsec_millis()),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How long before `now` something was: `3 min ago`, `just now`; a time ahead says so.
pub(super) fn ago(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(age) if age < Duration::from_secs(1) => "just now".to_owned(),
        Ok(age) => format!("{} ago", span(age)),
        Err(ahead) => format!("{} ahead of this clock", span(ahead.duration())),
    }
}

/// A time as `2026-11-23T17:04:05Z`, with milliseconds where there are any.
pub(super) fn time(time: SystemTime) -> String {
    clock::utc(time).unwrap_or_else(|| "outside of any calendar".to_owned())
}

/// `1 device`, `2 devices`.
pub(super) fn count(n_things: usize, thing: &str) -> String {
    let ending = if n_things == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", amount(n_things as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_at_the_right() {
        let mut table = Table::new(["NAME", "RECORDS"]);
        table.row(&["Würzburg".to_owned(), "7".to_owned()]);
        table.row(&["x".to_owned(), "1 234".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out, "").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "NAME      RECORDS\nWürzburg        7\nx           1 234\n"
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("Van\u{1b}[2J\n7"), "Van\\u{1b}[2J\\n7");
        assert_eq!(printable("Lkw Süd"), "Lkw Süd");
    }

    #[test]
    fn amounts_are_read_at_a_glance() {
        assert_eq!(amount(0), "0");
        assert_eq!(amount(999), "999");
        assert_eq!(amount(1_234_567), "1 234 567");
        assert_eq!(bytes(1000), "1000 B");
        assert_eq!(bytes(268_435_456), "256.0 MiB");
        assert_eq!(span(Duration::from_millis(350)), "350 ms");
        assert_eq!(span(Duration::from_secs(7_500)), "2 h 05 min");
        assert_eq!(span(Duration::from_secs(90_000 * 4)), "4 d 4 h");
        assert_eq!(count(1, "device"), "1 device");
        assert_eq!(count(1200, "device"), "1 200 devices");
    }

    #[test]
    fn a_time_ahead_of_the_clock_is_said() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(ago(now - Duration::from_secs(180), now), "3 min ago");
        assert_eq!(ago(now, now), "just now");
        let ahead = ago(now + Duration::from_secs(60), now);
        assert_eq!(ahead, "60 s ahead of this clock");
    }

    #[test]
    fn times_show_their_milliseconds_where_they_have_some() {
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(time(second), "1970-01-01T00:00:01Z");
        let millisecond = second + Duration::from_millis(5);
        assert_eq!(time(millisecond), "1970-01-01T00:00:01.005Z");
    }
}
