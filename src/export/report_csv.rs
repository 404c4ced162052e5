//! A report as CSV: a line of names, then one line a row. Times have the offset of the report's zone.

use std::io::{self, Write};

use super::About;
use super::escape::cell;
use super::times;
use crate::store::report::rows::Cell;

/// Writes rows as they come.
pub struct CsvReport<W: Write> {
    out: csv::Writer<W>,
}

impl<W: Write> CsvReport<W> {
    /// Writes the line of names.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(about: About<'_>, out: W) -> io::Result<CsvReport<W>> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(about.report.columns.iter().map(|column| column.key))?;
        Ok(CsvReport { out })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        for one in cells {
            let text = text(one);
            match one {
                Cell::Text(name) => self.out.write_field(&*cell(name))?,
                _ => self.out.write_field(text)?,
            }
        }
        self.out.write_record(None::<&[u8]>)?;
        Ok(())
    }

    /// Writes what is left and returns where all of it was written to.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self) -> io::Result<W> {
        self.out
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Text(text) | Cell::Day(text) => text.clone(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => value.to_string(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Time(moment) => times::with_offset(*moment).unwrap_or_default(),
    }
}
