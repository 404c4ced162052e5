//! A report as a table for people, with its parameters above and its sums below.

use std::io::{self, Write};
use std::time::Duration;

use super::super::text::{Table, amount, count, span as length, time};
use crate::export::{About, Summary, times};
use crate::store::report::head::{Head, Parameters};
use crate::store::report::rows::Cell;
use crate::store::report::{Column, Kind, REPORTS};

/// Devices that owe data are named up to here.
const OWING_SHOWN: usize = 10;

/// Says which reports there are.
pub(super) fn list(mut out: impl Write) -> io::Result<()> {
    for report in REPORTS {
        writeln!(
            out,
            "{}: {}. {}",
            report.name, report.title, report.description
        )?;
        let columns: Vec<&str> = report.columns.iter().map(|column| column.key).collect();
        writeln!(out, "    {}\n", columns.join(", "))?;
    }
    writeln!(
        out,
        "In SQL: SELECT * FROM trackport.report_daily(trackport.assets_of('fleet'), '2026-11-01', '2026-12-01')"
    )?;
    out.flush()
}

/// Rows that are gathered until their widths are known.
pub(super) struct Shown<'a> {
    about: About<'a>,
    table: Table,
    summary: Summary,
}

impl<'a> Shown<'a> {
    pub(super) fn new(about: About<'a>) -> Shown<'a> {
        let names = about
            .report
            .columns
            .iter()
            .filter(|column| is_shown(column));
        Shown {
            about,
            table: Table::of(names.map(|column| column.title.to_uppercase()).collect()),
            summary: Summary::new(about.report),
        }
    }

    pub(super) fn row(&mut self, cells: &[Cell]) {
        self.summary.add(cells);
        let columns = self.about.report.columns.iter().zip(cells);
        let shown = columns.filter(|(column, _)| is_shown(column));
        self.table
            .push(shown.map(|(column, cell)| text(column, cell)));
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let head = self.about.head;
        writeln!(
            out,
            "{} from {} to {}, times of {}",
            self.about.report.title,
            time(head.span.from),
            time(head.span.to),
            head.time_zone
        )?;
        for one in &head.parameters {
            writeln!(out, "{}", parameters(one))?;
        }
        writeln!(out, "Complete up to {}", time(head.complete_up_to))?;
        if head.n_owing > 0 {
            writeln!(out, "{}", owing(head))?;
        }
        writeln!(out)?;
        if self.summary.n_rows == 0 {
            return writeln!(out, "Nothing to report.");
        }
        self.table.write(out, "")?;
        let sums = self.summary.sums(self.about.report);
        let sums: Vec<String> = sums
            .map(|(column, sum)| {
                let value = text(column, &Cell::Integer(sum));
                format!("{} {value}", column.title.to_lowercase())
            })
            .collect();
        let lines = usize::try_from(self.summary.n_rows).unwrap_or(usize::MAX);
        let together = if sums.is_empty() { "" } else { ", together: " };
        writeln!(
            out,
            "\n{}{together}{}",
            count(lines, "line"),
            sums.join(", ")
        )
    }
}

/// Numbers of rows in tables are for programs.
fn is_shown(column: &Column) -> bool {
    !matches!(column.key, "asset_id" | "device_id")
}

fn text(column: &Column, cell: &Cell) -> String {
    match cell {
        Cell::Nothing => "-".to_owned(),
        Cell::Text(text) | Cell::Day(text) => text.clone(),
        Cell::Integer(value) if column.kind == Kind::Duration => hours(*value),
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        Cell::Integer(value) if column.unit == Some("m") && value.unsigned_abs() >= 10_000 => {
            format!("{:.1} km", *value as f64 / 1000.0)
        }
        Cell::Integer(value) if *value >= 0 && column.unit.is_none() => {
            amount(value.unsigned_abs())
        }
        Cell::Integer(value) => match column.unit {
            Some(unit) => format!("{value} {unit}"),
            None => value.to_string(),
        },
        Cell::Number(value) if column.unit == Some("°") => format!("{value:.5}"),
        Cell::Number(value) => match column.unit {
            Some(unit) => format!("{value:.1} {unit}"),
            None => value.to_string(),
        },
        Cell::Boolean(value) => if *value { "yes" } else { "no" }.to_owned(),
        Cell::Time(moment) => times::local(*moment).unwrap_or_default(),
    }
}

/// Seconds as `12:34:56`, which can be added up at a glance.
fn hours(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    format!(
        "{sign}{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn parameters(one: &Parameters) -> String {
    let degrees =
        |limit: Option<f64>| limit.map_or("none".to_owned(), |limit| format!("{limit} °C"));
    let span = |span: Duration| length(span);
    format!(
        "Group {}: trips by {}, moving from {} km/h, stops from {}, trips from {} m, a gap of {} splits, not above {} km/h; \
         temperature limits {} and {}, from {} on",
        one.groups.join(", "),
        one.trip_by,
        one.trip_speed_kmh,
        span(one.stop_min),
        one.trip_min_m,
        span(one.gap_max),
        one.believable_kmh,
        degrees(one.temperature_min),
        degrees(one.temperature_max),
        span(one.excursion_min)
    )
}

/// Who may still have records of the span.
pub(super) fn owing(head: &Head) -> String {
    let names = head.owing.iter().take(OWING_SHOWN).map(|one| {
        let contact = one.last_contact_at.map_or("never".to_owned(), time);
        format!("{} (device {}, last heard {contact})", one.asset, one.imei)
    });
    let names: Vec<String> = names.collect();
    let n_owing = usize::try_from(head.n_owing).unwrap_or(usize::MAX);
    let more = match n_owing.saturating_sub(names.len()) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "{} may still owe data: {}{more}",
        count(n_owing, "device"),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_hours_minutes_and_seconds() {
        assert_eq!(hours(45_296), "12:34:56");
        assert_eq!(hours(360_000), "100:00:00");
        assert_eq!(hours(-5), "-0:00:05");
    }
}
