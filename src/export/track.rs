//! A track as a file: its records gathered into pieces without gaps, each piece written as a whole.
//!
//! Another fitting, or a gap, ends a piece; so does its length, so that memory is bounded: then the next one begins with the same place.

use std::io::Write;
use std::time::Duration;

use postgres::Client;

use super::{ExportError, geojson, gpx, kml, track_csv};
use crate::store::report::Span;
use crate::store::report::track::{self, Point, Tracked};

/// Places in one piece at most.
const PIECE_MAX: usize = 10_000;

/// How a track is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// GPS Exchange Format 1.1.
    Gpx,
    /// RFC 7946.
    GeoJson,
    /// Keyhole Markup Language 2.2 with the tracks of Google Earth.
    Kml,
    /// One line a record, also without a fix.
    Csv,
}

impl Format {
    /// What a browser is told.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Gpx => "application/gpx+xml",
            Format::GeoJson => "application/geo+json",
            Format::Kml => "application/vnd.google-earth.kml+xml",
            Format::Csv => "text/csv; charset=utf-8",
        }
    }

    /// What names of files end in.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Gpx => "gpx",
            Format::GeoJson => "geojson",
            Format::Kml => "kml",
            Format::Csv => "csv",
        }
    }
}

/// Writes what was recorded of an asset, and returns how many records were.
///
/// # Errors
/// Those of the database and of `out`.
pub fn write(
    client: &mut Client,
    asset: &Tracked,
    span: Span,
    format: Format,
    out: &mut impl Write,
) -> Result<u64, ExportError> {
    match format {
        Format::Gpx => gpx::begin(out, &asset.name)?,
        Format::GeoJson => geojson::begin(out)?,
        Format::Kml => kml::begin(out, &asset.name)?,
        Format::Csv => track_csv::begin(out)?,
    }
    let mut piece: Vec<Point> = Vec::new();
    let mut n_records = 0;
    let mut n_pieces = 0;
    let mut put = |out: &mut _, piece: &[Point]| -> Result<(), ExportError> {
        if piece.is_empty() {
            return Ok(());
        }
        match format {
            Format::Gpx => gpx::piece(out, piece)?,
            Format::GeoJson => geojson::piece(out, &asset.name, piece, n_pieces == 0)?,
            Format::Kml => kml::piece(out, &asset.name, piece)?,
            Format::Csv => track_csv::piece(out, &asset.name, piece)?,
        }
        n_pieces += 1;
        Ok(())
    };
    track::for_each(client, asset.id, span, &mut |point| {
        // A list of records has those without a fix, too; a line on a map has none of them.
        if format != Format::Csv && !point.is_fix {
            return Ok(());
        }
        n_records += 1;
        if piece
            .last()
            .is_some_and(|last| is_apart(last, &point, asset.gap_max))
        {
            put(out, &piece)?;
            piece.clear();
        } else if piece.len() >= PIECE_MAX {
            put(out, &piece)?;
            match piece.pop() {
                Some(last) if format != Format::Csv => {
                    piece.clear();
                    piece.push(last);
                }
                _ => piece.clear(),
            }
        }
        piece.push(point);
        Ok::<(), ExportError>(())
    })?;
    put(out, &piece)?;
    match format {
        Format::Gpx => gpx::end(out)?,
        Format::GeoJson => geojson::end(out)?,
        Format::Kml => kml::end(out)?,
        Format::Csv => {}
    }
    Ok(n_records)
}

fn is_apart(last: &Point, next: &Point, gap_max: Duration) -> bool {
    let pause = next.time.duration_since(last.time).unwrap_or_default();
    last.fitting_id != next.fitting_id || pause > gap_max
}
