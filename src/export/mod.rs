//! Reports and tracks as files, for the command line and the web alike.
//!
//! Knows the rows of `crate::store::report` and no question to the database but theirs. Every writer writes while rows come, in bounded
//! memory; only a spreadsheet is made as a whole. What devices and people have named cannot become markup or a formula: `escape.rs`.

/// Names as they may stand in XML and in cells.
mod escape;
/// GeoJSON.
mod geojson;
/// GPX.
mod gpx;
/// KML.
mod kml;
/// A report as CSV.
mod report_csv;
/// A report as JSON.
mod report_json;
/// A report as a spreadsheet.
mod report_xlsx;
/// Sums of a report's rows.
mod summary;
/// Times as texts.
pub mod times;
/// Tracks.
pub mod track;
/// A track as CSV.
mod track_csv;

use std::io;

use rust_xlsxwriter::XlsxError;

use crate::store::StoreError;
use crate::store::report::Report;
use crate::store::report::head::Head;

pub use report_csv::CsvReport;
pub use report_json::{JsonReport, columns_json, head_json};
pub use report_xlsx::SheetReport;
pub use summary::Summary;

/// Why a file was not made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The rows did not come.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// The spreadsheet could not be made.
    #[error("the spreadsheet cannot be made: {0}")]
    Sheet(#[from] XlsxError),
}

/// What a report is of.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Which report.
    pub report: &'a Report,
    /// What stands above its rows.
    pub head: &'a Head,
}
