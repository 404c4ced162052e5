//! Reports about assets: which there are, what they are made of, and how they are asked for.
//!
//! The figures themselves are made by the SQL functions `trackport.report_…` (schema/0009_reports.sql), so that every tool can ask for the
//! same ones. Here is what command line, web and documentation share. Knows no format: `crate::export` writes files.

/// The reports and their columns.
mod catalog;
/// Which assets a report is about.
pub mod choice;
/// What stands above the rows.
pub mod head;
/// The rows.
pub mod rows;
/// Times as people write them.
pub mod span;
/// What an asset's devices recorded, one row a record.
pub mod track;

use std::time::SystemTime;

pub use catalog::{Column, Kind, REPORTS, Report};

/// A span of time: `from` belongs to it, `to` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub from: SystemTime,
    /// Where it ends.
    pub to: SystemTime,
}

/// The report called `name`.
pub fn named(name: &str) -> Option<&'static Report> {
    REPORTS.iter().find(|report| report.name == name)
}
