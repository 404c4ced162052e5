//! Times as people write them: `2026-11-01`, `2026-11`, `2026-11-01T08:00`, RFC 3339, `yesterday`, `last month`.
//!
//! Days, months and words are those of a zone, whose rules the database knows. A day, a month or a word is meant whole: as the end of a
//! span it stands for its own end.

use std::time::SystemTime;

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan};
use postgres::Client;

use super::super::error::StoreError;
use super::Span;

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// One moment, wherever.
    Moment(Timestamp),
    /// From a local time to another, the same for one moment.
    Local(DateTime, DateTime),
}

/// The span from `from` to `to` in `zone`. Without `to` it ends where `from` does, if that is a day, a month or such, else now.
///
/// # Errors
/// `Refused` for what is no time and for a span that ends before it begins.
pub fn resolve(
    client: &mut Client,
    zone: &str,
    from: &str,
    to: Option<&str>,
) -> Result<Span, StoreError> {
    let row = client.query_one(
        "SELECT to_char(now() AT TIME ZONE $1, 'YYYY-MM-DD\"T\"HH24:MI:SS'), now()",
        &[&zone],
    )?;
    let local: String = row.get(0);
    let now: DateTime = local
        .parse()
        .map_err(|_| StoreError::Refused(format!("the database's clock says {local}")))?;
    let begin = meaning(from, now)?;
    let end = match to {
        Some(to) => meaning(to, now)?,
        None => match begin {
            Meaning::Local(first, last) if first != last => begin,
            _ => Meaning::Local(now, now),
        },
    };
    let from_time = moment(client, zone, begin, false)?;
    let to_time = moment(client, zone, end, true)?;
    if from_time >= to_time {
        return Err(StoreError::Refused(format!(
            "the time from {from:?} to {:?} is none: it ends before it begins",
            to.unwrap_or("now")
        )));
    }
    Ok(Span {
        from: from_time,
        to: to_time,
    })
}

fn moment(
    client: &mut Client,
    zone: &str,
    meaning: Meaning,
    is_end: bool,
) -> Result<SystemTime, StoreError> {
    let local = match meaning {
        Meaning::Moment(moment) => return Ok(SystemTime::from(moment)),
        Meaning::Local(_, end) if is_end => end,
        Meaning::Local(begin, _) => begin,
    };
    let row = client.query_one(
        "SELECT ($1::text)::timestamp AT TIME ZONE $2",
        &[&local.to_string(), &zone],
    )?;
    Ok(row.get(0))
}

fn meaning(text: &str, now: DateTime) -> Result<Meaning, StoreError> {
    let text = text.trim();
    let refused = || {
        StoreError::Refused(format!(
            "{text:?} is no time: 2026-11-01, 2026-11, 2026-11-01T08:00, 2026-11-01T08:00:00+01:00, now, today, yesterday, this or \
             last week, month or year is"
        ))
    };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Meaning::Moment(moment));
    }
    let today = now.date();
    let day = |date: Date, n: i32, width: jiff::Span| {
        let begin = date.checked_add(n.days()).ok()?;
        Some((begin, begin.checked_add(width).ok()?))
    };
    let days = match text.to_ascii_lowercase().as_str() {
        "now" => return Ok(Meaning::Local(now, now)),
        "today" => day(today, 0, 1.day()),
        "yesterday" => day(today, -1, 1.day()),
        word @ ("this week" | "last week") => {
            let monday = -i32::from(today.weekday().to_monday_zero_offset());
            day(
                today,
                monday - if word == "last week" { 7 } else { 0 },
                7.days(),
            )
        }
        "this month" => day(today.first_of_month(), 0, 1.month()),
        "last month" => today
            .first_of_month()
            .checked_sub(1.month())
            .ok()
            .and_then(|first| day(first, 0, 1.month())),
        "this year" => day(today.first_of_year(), 0, 1.year()),
        "last year" => today
            .first_of_year()
            .checked_sub(1.year())
            .ok()
            .and_then(|first| day(first, 0, 1.year())),
        _ => match (text.len(), text.parse::<Date>()) {
            (10, Ok(date)) => day(date, 0, 1.day()),
            // A month.
            (7, _) => format!("{text}-01")
                .parse::<Date>()
                .ok()
                .and_then(|first| day(first, 0, 1.month())),
            _ => {
                let local: DateTime = text.parse().map_err(|_| refused())?;
                return Ok(Meaning::Local(local, local));
            }
        },
    };
    let (begin, end) = days.ok_or_else(refused)?;
    Ok(Meaning::Local(
        begin.to_datetime(jiff::civil::Time::midnight()),
        end.to_datetime(jiff::civil::Time::midnight()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(text: &str) -> String {
        // A Tuesday.
        let now = "2026-03-24T10:30:00".parse().unwrap();
        match meaning(text, now).unwrap() {
            Meaning::Moment(moment) => moment.to_string(),
            Meaning::Local(begin, end) => format!("{begin} {end}"),
        }
    }

    #[test]
    fn days_months_and_words_are_meant_whole() {
        for (text, begin, end) in [
            ("2026-11-01", "2026-11-01", "2026-11-02"),
            ("2026-12", "2026-12-01", "2027-01-01"),
            ("today", "2026-03-24", "2026-03-25"),
            ("Yesterday", "2026-03-23", "2026-03-24"),
            ("this week", "2026-03-23", "2026-03-30"),
            ("last week", "2026-03-16", "2026-03-23"),
            ("last month", "2026-02-01", "2026-03-01"),
            ("this year", "2026-01-01", "2027-01-01"),
            ("last year", "2025-01-01", "2026-01-01"),
        ] {
            assert_eq!(
                days(text),
                format!("{begin}T00:00:00 {end}T00:00:00"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_time_of_day_is_a_moment() {
        assert_eq!(
            days("2026-11-01T08:00"),
            "2026-11-01T08:00:00 2026-11-01T08:00:00"
        );
        assert_eq!(days("2026-11-01T08:00:00+01:00"), "2026-11-01T07:00:00Z");
        assert_eq!(days("now"), "2026-03-24T10:30:00 2026-03-24T10:30:00");
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        let now = "2026-03-24T10:30:00".parse().unwrap();
        for text in [
            "",
            "soon",
            "2026-13",
            "2026-02-30",
            "24.11.2026",
            "9999-12-31",
        ] {
            let refused = meaning(text, now);
            assert!(
                matches!(&refused, Err(StoreError::Refused(why)) if why.contains("yesterday")),
                "{text:?}: {refused:?}"
            );
        }
    }
}
