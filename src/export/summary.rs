//! Sums of a report's rows.

use crate::store::report::Report;
use crate::store::report::rows::Cell;

/// How many rows there are, and the sums of the columns of which a sum says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Rows.
    pub n_rows: u64,
    sums: Vec<i64>,
}

impl Summary {
    /// Of no row yet.
    pub fn new(report: &Report) -> Summary {
        Summary {
            n_rows: 0,
            sums: vec![0; report.columns.len()],
        }
    }

    /// Adds a row.
    pub fn add(&mut self, cells: &[Cell]) {
        self.n_rows += 1;
        for (sum, cell) in self.sums.iter_mut().zip(cells) {
            if let Cell::Integer(value) = cell {
                *sum = sum.saturating_add(*value);
            }
        }
    }

    /// Columns that are summed up, with their sums.
    pub fn sums<'a>(
        &'a self,
        report: &'a Report,
    ) -> impl Iterator<Item = (&'a crate::store::report::Column, i64)> {
        let columns = report.columns.iter().zip(self.sums.iter().copied());
        columns.filter(|(column, _)| column.is_summed)
    }
}
