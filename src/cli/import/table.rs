//! A table of another server as rows with named columns: from its database, or from a file that was exported there.
//!
//! Two forms are understood, told apart by the first line: CSV as PostgreSQL, H2 and spreadsheets write it, and tabs with backslashes as
//! `mysql --batch` writes it. Columns go by the names in the first line, in any order; those that nobody asks for are passed over.
//! Invariant: a row that is not in order is named and costs no other row.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use anyhow::Context;
use csv::{ByteRecord, Reader, ReaderBuilder};

/// How cells are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Commas or semicolons, quotes where they are needed, nothing for NULL.
    Csv,
    /// Tabs, no quotes, backslashes, NULL for NULL.
    Batch,
}

/// A table that is read row by row.
pub(super) struct Table<R> {
    reader: Reader<R>,
    form: Form,
    columns: HashMap<String, usize>,
    n_columns: usize,
    name: String,
    has_lines: bool,
    lines_behind: u64,
    record: ByteRecord,
}

/// One row.
pub(super) struct Row<'a, R> {
    table: &'a Table<R>,
}

impl<R: BufRead> Table<R> {
    /// Begins to read `from`. `name` is the file, or the table of a database, whose rows have no lines (`has_lines`).
    pub(super) fn open(
        mut from: R,
        name: &str,
        has_lines: bool,
        needed: &[&str],
    ) -> anyhow::Result<Table<R>> {
        let beginning = from.fill_buf().with_context(|| name.to_owned())?;
        let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
        let form = if line.contains(&b'\t') {
            Form::Batch
        } else {
            Form::Csv
        };
        // The reader takes the \n of \r\n for the beginning of the next line.
        let lines_behind = u64::from(line.ends_with(b"\r"));
        let delimiter = match form {
            Form::Batch => b'\t',
            Form::Csv if line.contains(&b';') && !line.contains(&b',') => b';',
            Form::Csv => b',',
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(form == Form::Csv)
            .flexible(true)
            .from_reader(from);
        let header = reader.byte_headers().with_context(|| name.to_owned())?;
        let columns: HashMap<String, usize> = header
            .iter()
            .enumerate()
            .map(|(place, name)| {
                let name = String::from_utf8_lossy(name);
                let name = name.trim_start_matches('\u{feff}').trim();
                (name.to_ascii_lowercase(), place)
            })
            .collect();
        let n_columns = header.len();
        let missing: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|name| !columns.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            anyhow::bail!(
                "{name}: the first line names no column {}; it must name the columns of the table",
                missing.join(", ")
            );
        }
        Ok(Table {
            reader,
            form,
            columns,
            n_columns,
            name: name.to_owned(),
            has_lines,
            lines_behind,
            record: ByteRecord::new(),
        })
    }
}

impl<R: Read> Table<R> {
    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Row<'_, R>>> {
        let is_there = self
            .reader
            .read_byte_record(&mut self.record)
            .with_context(|| self.name.clone())?;
        Ok(is_there.then_some(Row { table: self }))
    }
}

impl<R> Row<'_, R> {
    /// How a person finds the row.
    pub(super) fn label(&self) -> String {
        let id = self.get("id").unwrap_or_else(|| "?".to_owned());
        let name = &self.table.name;
        match self.table.record.position() {
            Some(position) if self.table.has_lines => {
                format!(
                    "{name}:{}: id {id}",
                    position.line() + self.table.lines_behind
                )
            }
            _ => format!("{name}: id {id}"),
        }
    }

    /// What is wrong with the row as a whole.
    pub(super) fn mistake(&self) -> Option<String> {
        let (n, wanted) = (self.table.record.len(), self.table.n_columns);
        (n != wanted).then(|| format!("{n} cells where the first line names {wanted} columns"))
    }

    /// The cell of a column; `None` where there is nothing in it, or no such column.
    pub(super) fn get(&self, column: &str) -> Option<String> {
        let place = *self.table.columns.get(column)?;
        let cell = String::from_utf8_lossy(self.table.record.get(place)?);
        match self.table.form {
            Form::Csv => (!cell.is_empty()).then(|| cell.into_owned()),
            Form::Batch if cell == "NULL" || cell.is_empty() => None,
            Form::Batch => Some(unescaped(&cell)),
        }
    }
}

/// A cell of `mysql --batch` as it was.
fn unescaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut rest = cell.chars();
    while let Some(one) = rest.next() {
        if one != '\\' {
            text.push(one);
            continue;
        }
        match rest.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('0') => text.push('\0'),
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let mut table = Table::open(text.as_bytes(), "t.csv", true, &["id", "note"]).unwrap();
        let mut cells = Vec::new();
        while let Some(row) = table.next().unwrap() {
            cells.push((row.label(), row.get("note"), row.mistake()));
        }
        cells
    }

    fn note(text: &str) -> Option<String> {
        cells(text).remove(0).1
    }

    #[test]
    fn both_forms_give_the_same_text() {
        let wanted = Some("a \"b\"\n\tc\\d".to_owned());
        assert_eq!(note("ID,NOTE,x\n1,\"a \"\"b\"\"\n\tc\\d\",\n"), wanted);
        assert_eq!(note("note\tid\na \"b\"\\n\\tc\\\\d\t1\n"), wanted);
    }

    #[test]
    fn nothing_is_nothing_in_both_forms() {
        assert_eq!(note("id;note\n1;\n"), None);
        assert_eq!(note("id;note\n1;\"\"\n"), None);
        assert_eq!(note("id\tnote\n1\tNULL\n"), None);
        assert_eq!(note("id,note\n1,NULL\n"), Some("NULL".to_owned()));
    }

    #[test]
    fn a_row_with_too_few_cells_is_named_and_the_next_is_read() {
        let cells = cells("\u{feff}id,note\n1\n\n2,b\n");
        assert_eq!(cells.len(), 2);
        assert_eq!(cells[0].0, "t.csv:2: id 1");
        assert!(cells[0].2.as_deref().unwrap().starts_with("1 cells"));
        assert_eq!(cells[1].1.as_deref(), Some("b"));
        assert_eq!(
            self::cells("id,note\r\n1,a\r\n2,b\r\n")[1].0,
            "t.csv:3: id 2"
        );
    }

    #[test]
    fn a_file_without_the_columns_is_refused_by_their_names() {
        let error = Table::open("id,x\n".as_bytes(), "t.csv", true, &["id", "note"]);
        let text = error.err().unwrap().to_string();
        assert!(text.contains("t.csv") && text.contains("note"), "{text}");
    }
}
