//! A report as a spreadsheet: a sheet with the rows, and one that says by which rules and of which time they are.
//!
//! Times are what clocks showed in the report's zone, because a spreadsheet knows no zones; durations are times that can be added up. A
//! text is written as a text, whatever it begins with.

use jiff::Timestamp;
use rust_xlsxwriter::{ExcelDateTime, Format, FormatAlign, Workbook, Worksheet, XlsxError};

use super::{About, Summary};
use crate::clock::utc;
use crate::store::report::head::Parameters;
use crate::store::report::rows::Cell;
use crate::store::report::{Column, Kind};

/// Gathers rows; the file is made at the end.
pub struct SheetReport<'a> {
    about: About<'a>,
    sheet: Worksheet,
    formats: Vec<Format>,
    summary: Summary,
}

const N_ROWS_ABOVE: u32 = 1;

impl<'a> SheetReport<'a> {
    /// Begins with the names of the columns, which stay in sight.
    ///
    /// # Errors
    /// Those of the library, for what it cannot hold.
    pub fn begin(about: About<'a>) -> Result<SheetReport<'a>, XlsxError> {
        let mut sheet = Worksheet::new();
        sheet.set_name(about.report.title)?;
        let bold = bold().set_text_wrap().set_align(FormatAlign::Top);
        for (place, column) in (0u16..).zip(about.report.columns) {
            sheet.write_string_with_format(0, place, title(column), &bold)?;
            sheet.set_column_width(place, width(column))?;
        }
        sheet.set_freeze_panes(N_ROWS_ABOVE, 2)?;
        Ok(SheetReport {
            about,
            sheet,
            formats: about.report.columns.iter().map(format).collect(),
            summary: Summary::new(about.report),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Those of the library, for what it cannot hold.
    pub fn row(&mut self, cells: &[Cell]) -> Result<(), XlsxError> {
        self.summary.add(cells);
        // A sheet has a million rows at most, and reports are bounded below that; the library refuses more.
        let row = u32::try_from(self.summary.n_rows).unwrap_or(u32::MAX);
        let columns = self.about.report.columns.iter().zip(&self.formats);
        for ((place, cell), (column, format)) in (0u16..).zip(cells).zip(columns) {
            write(&mut self.sheet, (row, place), column.kind, cell, format)?;
        }
        Ok(())
    }

    /// Makes the file.
    ///
    /// # Errors
    /// Those of the library, for what it cannot hold.
    pub fn finish(mut self) -> Result<Vec<u8>, XlsxError> {
        let last_row = u32::try_from(self.summary.n_rows).unwrap_or(u32::MAX);
        let last_column = u16::try_from(self.about.report.columns.len() - 1).unwrap_or(u16::MAX);
        self.sheet.autofilter(0, 0, last_row, last_column)?;
        let rules = self.rules()?;
        let mut book = Workbook::new();
        book.push_worksheet(self.sheet);
        book.push_worksheet(rules);
        book.save_to_buffer()
    }

    /// The second sheet: two columns, a name and what it says.
    fn rules(&self) -> Result<Worksheet, XlsxError> {
        let head = self.about.head;
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut line = |name: &str, text: String| lines.push((name.to_owned(), text));
        line("Report", self.about.report.title.to_owned());
        line("What it tells", self.about.report.description.to_owned());
        line("From", utc(head.span.from).unwrap_or_default());
        line("To", utc(head.span.to).unwrap_or_default());
        line("Time zone", head.time_zone.clone());
        line(
            "Complete up to",
            utc(head.complete_up_to).unwrap_or_default(),
        );
        line("Devices that owe data", head.n_owing.to_string());
        for (column, sum) in self.summary.sums(self.about.report) {
            line(&format!("Sum: {}", title(column)), sum.to_string());
        }
        for one in &head.parameters {
            line("Groups", one.groups.join(", "));
            for (name, text) in words(one) {
                line(name, text);
            }
        }
        for one in &head.owing {
            let contact = one.last_contact_at.and_then(utc).unwrap_or_default();
            line(
                "Owes data",
                format!("{} ({}), last heard {contact}", one.asset, one.imei),
            );
        }
        let mut sheet = Worksheet::new();
        sheet.set_name("Parameters")?;
        sheet.set_column_width(0, 32)?;
        sheet.set_column_width(1, 90)?;
        let bold = bold();
        for (row, (name, text)) in (0u32..).zip(&lines) {
            sheet.write_string_with_format(row, 0, name, &bold)?;
            sheet.write_string(row, 1, text)?;
        }
        Ok(sheet)
    }
}

/// The parameters of a group in words, a name and a text each.
pub(super) fn words(one: &Parameters) -> Vec<(&'static str, String)> {
    let limit = |limit: Option<f64>| limit.map_or("none".to_owned(), |limit| format!("{limit} °C"));
    let minutes = |span: std::time::Duration| format!("{} min", span.as_secs_f64() / 60.0);
    vec![
        ("Days of", one.time_zone.clone()),
        ("Trips by", one.trip_by.clone()),
        ("Moving from", format!("{} km/h", one.trip_speed_kmh)),
        ("Shortest stop", minutes(one.stop_min)),
        ("Shortest trip", format!("{} m", one.trip_min_m)),
        ("Gap that splits", minutes(one.gap_max)),
        (
            "Highest believable speed",
            format!("{} km/h", one.believable_kmh),
        ),
        ("Lowest temperature", limit(one.temperature_min)),
        ("Highest temperature", limit(one.temperature_max)),
        ("Shortest excursion", minutes(one.excursion_min)),
    ]
}

fn write(
    sheet: &mut Worksheet,
    (row, place): (u32, u16),
    kind: Kind,
    cell: &Cell,
    format: &Format,
) -> Result<(), XlsxError> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a spreadsheet has no other numbers"
    )]
    match cell {
        Cell::Nothing => {}
        Cell::Text(text) => {
            sheet.write_string(row, place, text)?;
        }
        Cell::Integer(value) if kind == Kind::Duration => {
            sheet.write_number_with_format(row, place, *value as f64 / 86_400.0, format)?;
        }
        Cell::Integer(value) => {
            sheet.write_number_with_format(row, place, *value as f64, format)?;
        }
        Cell::Number(value) => {
            sheet.write_number_with_format(row, place, *value, format)?;
        }
        Cell::Boolean(value) => {
            sheet.write_boolean(row, place, *value)?;
        }
        Cell::Time(moment) => {
            // What a spreadsheet's calendar has not stays empty.
            if let Some(time) = Timestamp::try_from(moment.local)
                .ok()
                .and_then(|time| ExcelDateTime::from_timestamp(time.as_second()).ok())
            {
                sheet.write_datetime_with_format(row, place, &time, format)?;
            }
        }
        Cell::Day(text) => {
            sheet.write_datetime_with_format(
                row,
                place,
                &ExcelDateTime::parse_from_str(text)?,
                format,
            )?;
        }
    }
    Ok(())
}

fn title(column: &Column) -> String {
    match column.unit {
        // A time that can be added up has no unit.
        Some(unit) if column.kind != Kind::Duration => format!("{} [{unit}]", column.title),
        _ => column.title.to_owned(),
    }
}

fn bold() -> Format {
    Format::new().set_bold()
}

fn format(column: &Column) -> Format {
    let plain = Format::new();
    match column.kind {
        Kind::Duration => plain.set_num_format("[h]:mm:ss"),
        Kind::Time => plain.set_num_format("yyyy-mm-dd hh:mm:ss"),
        Kind::Day => plain.set_num_format("yyyy-mm-dd"),
        Kind::Number if column.unit == Some("°") => plain.set_num_format("0.000000"),
        Kind::Number => plain.set_num_format("0.0"),
        Kind::Integer if column.unit == Some("m") => plain.set_num_format("#,##0"),
        Kind::Integer => plain.set_num_format("0"),
        Kind::Text | Kind::Boolean => plain,
    }
}

fn width(column: &Column) -> f64 {
    match column.kind {
        Kind::Time => 19.0,
        Kind::Text if column.key == "asset" => 28.0,
        _ => 12.0,
    }
}
