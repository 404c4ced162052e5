//! A report as one JSON object, as the API answers: what stands above the rows, `rows` as arrays, and the sums below.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{About, Summary};
use crate::clock::utc;
use crate::store::report::head::{Head, Parameters};
use crate::store::report::rows::Cell;
use crate::store::report::{Column, Report};

/// Writes rows as they come.
pub struct JsonReport<'a, W> {
    about: About<'a>,
    out: W,
    summary: Summary,
}

impl<'a, W: Write> JsonReport<'a, W> {
    /// Writes what stands above the rows.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(about: About<'a>, mut out: W) -> io::Result<JsonReport<'a, W>> {
        let mut head = head_json(about.head);
        head.insert("report".to_owned(), about.report.name.into());
        head.insert("title".to_owned(), about.report.title.into());
        head.insert("columns".to_owned(), columns_json(about.report));
        let text = Value::Object(head).to_string();
        // The object goes on with its rows.
        write!(out, "{},\"rows\":[", &text[..text.len() - 1])?;
        Ok(JsonReport {
            about,
            out,
            summary: Summary::new(about.report),
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let separator = if self.summary.n_rows == 0 {
            "\n"
        } else {
            ",\n"
        };
        self.summary.add(cells);
        let cells: Vec<Value> = cells.iter().map(value).collect();
        write!(self.out, "{separator}{}", Value::Array(cells))
    }

    /// Writes the sums and returns where all of it was written to.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<W> {
        let mut sums: Map<String, Value> = self
            .summary
            .sums(self.about.report)
            .map(|(column, sum)| (column.key.to_owned(), sum.into()))
            .collect();
        sums.insert("n_rows".to_owned(), self.summary.n_rows.into());
        writeln!(self.out, "\n],\"summary\":{}}}", Value::Object(sums))?;
        Ok(self.out)
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Nothing => Value::Null,
        Cell::Text(text) | Cell::Day(text) => text.as_str().into(),
        Cell::Integer(value) => (*value).into(),
        Cell::Number(value) => (*value).into(),
        Cell::Boolean(value) => (*value).into(),
        Cell::Time(moment) => utc(moment.at).into(),
    }
}

/// `columns` of the answer, and of the list of reports.
pub fn columns_json(report: &Report) -> Value {
    let column = |column: &Column| {
        json!({
            "key": column.key, "title": column.title, "unit": column.unit, "type": column.kind.as_str()
        })
    };
    report.columns.iter().map(column).collect()
}

/// What stands above the rows, as fields of an object.
pub fn head_json(head: &Head) -> Map<String, Value> {
    let owing = head.owing.iter().map(|one| {
        json!({
            "asset": one.asset, "asset_id": one.asset_id, "device": one.imei,
            "last_contact_at": one.last_contact_at.and_then(utc), "n_quarantined": one.n_quarantined
        })
    });
    let mut fields = Map::new();
    for (key, value) in [
        ("from", utc(head.span.from).into()),
        ("to", utc(head.span.to).into()),
        ("time_zone", head.time_zone.as_str().into()),
        ("parameters", parameters(&head.parameters)),
        ("complete_up_to", utc(head.complete_up_to).into()),
        ("n_owing", head.n_owing.into()),
        ("owing", owing.collect()),
    ] {
        fields.insert(key.to_owned(), value);
    }
    fields
}

/// The parameters of all groups where they agree; otherwise `sets` has those of each.
fn parameters(sets: &[Parameters]) -> Value {
    match sets {
        [one] => set(one),
        sets => json!({ "sets": sets.iter().map(set).collect::<Value>() }),
    }
}

fn set(one: &Parameters) -> Value {
    json!({
        "groups": one.groups.join(", "), "time_zone": one.time_zone, "trip_by": one.trip_by,
        "trip_speed_kmh": one.trip_speed_kmh, "stop_min_s": one.stop_min.as_secs(), "trip_min_m": one.trip_min_m,
        "gap_max_s": one.gap_max.as_secs(), "believable_kmh": one.believable_kmh, "temperature_min": one.temperature_min,
        "temperature_max": one.temperature_max, "excursion_min_s": one.excursion_min.as_secs()
    })
}
