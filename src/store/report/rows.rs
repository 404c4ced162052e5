//! The rows of a report, one after the other.

use std::time::SystemTime;

use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::ToSql;
use postgres::{Client, Row};

use super::super::error::StoreError;
use super::{Kind, Report, Span};

/// A moment, and what clocks in the report's zone showed then, as if it were UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The moment.
    pub at: SystemTime,
    /// The clocks.
    pub local: SystemTime,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// There is none.
    Nothing,
    /// Words.
    Text(String),
    /// A whole number; seconds where the column's kind is `Duration`.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// A moment.
    Time(Moment),
    /// `2026-11-01`
    Day(String),
}

/// Calls `each` with every row of `report` about `assets`, in the order of their names and times; after `rows_max` rows, where there are
/// more, it stops and returns `false`.
///
/// # Errors
/// When the database does not answer in time; what `each` returns.
pub fn for_each<E: From<StoreError>>(
    client: &mut Client,
    report: &Report,
    assets: &[i32],
    span: Span,
    time_zone: &str,
    rows_max: Option<i64>,
    each: &mut dyn FnMut(&[Cell]) -> Result<(), E>,
) -> Result<bool, E> {
    let sql = question(report);
    // One more than wanted tells whether there are more.
    let limit = rows_max.map(|n| n.saturating_add(1));
    let parameters: [&(dyn ToSql + Sync); 5] = [&assets, &span.from, &span.to, &time_zone, &limit];
    let mut rows = client
        .query_raw(&sql, parameters)
        .map_err(|error| E::from(error.into()))?;
    let mut cells = Vec::with_capacity(report.columns.len());
    let mut n_rows = 0;
    while let Some(row) = rows.next().map_err(|error| E::from(error.into()))? {
        if rows_max == Some(n_rows) {
            return Ok(false);
        }
        n_rows += 1;
        cells.clear();
        read(report, &row, &mut cells);
        each(&cells)?;
    }
    Ok(true)
}

/// The statement; the columns are its own names for themselves, so that a function that has others is refused by the database.
fn question(report: &Report) -> String {
    let columns: Vec<String> = report
        .columns
        .iter()
        .map(|column| {
            let key = column.key;
            match column.kind {
                Kind::Text => format!("r.\"{key}\"::text"),
                Kind::Integer | Kind::Duration => format!("r.\"{key}\"::bigint"),
                // By way of numeric, so that a real is no longer than it is exact.
                Kind::Number => format!("r.\"{key}\"::numeric::double precision"),
                Kind::Boolean => format!("r.\"{key}\""),
                Kind::Time => format!("r.\"{key}\", r.\"{key}\" AT TIME ZONE $4"),
                Kind::Day => format!("to_char(r.\"{key}\", 'YYYY-MM-DD')"),
            }
        })
        .collect();
    format!(
        "SELECT {} FROM trackport.report_{}($1, $2, $3) r ORDER BY r.asset, r.asset_id, r.\"{}\", r.device_id LIMIT $5",
        columns.join(", "),
        report.name,
        report.ordered_by
    )
}

fn read(report: &Report, row: &Row, cells: &mut Vec<Cell>) {
    let mut place = 0;
    for column in report.columns {
        let cell = match column.kind {
            Kind::Text => row.get::<_, Option<String>>(place).map(Cell::Text),
            Kind::Integer | Kind::Duration => row.get::<_, Option<i64>>(place).map(Cell::Integer),
            Kind::Number => row.get::<_, Option<f64>>(place).map(Cell::Number),
            Kind::Boolean => row.get::<_, Option<bool>>(place).map(Cell::Boolean),
            Kind::Time => {
                let at: Option<SystemTime> = row.get(place);
                place += 1;
                let local: Option<SystemTime> = row.get(place);
                at.zip(local)
                    .map(|(at, local)| Cell::Time(Moment { at, local }))
            }
            Kind::Day => row.get::<_, Option<String>>(place).map(Cell::Day),
        };
        place += 1;
        cells.push(cell.unwrap_or(Cell::Nothing));
    }
}
