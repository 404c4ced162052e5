//! A track as KML 2.2 with `gx:Track`, which Google Earth shows as a journey; one placemark a piece.

use std::io::{self, Write};

use super::escape::Xml;
use super::times;
use crate::store::report::track::Point;

pub(super) fn begin(out: &mut impl Write, name: &str) -> io::Result<()> {
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <kml xmlns=\"http://www.opengis.net/kml/2.2\" xmlns:gx=\"http://www.google.com/kml/ext/2.2\">\n\
         <Document><name>{}</name>\n",
        Xml(name)
    )
}

pub(super) fn piece(out: &mut impl Write, name: &str, piece: &[Point]) -> io::Result<()> {
    write!(out, "<Placemark><name>{}</name>\n<gx:Track>\n", Xml(name))?;
    // All times first, then all places, as the schema has it.
    for point in piece {
        writeln!(out, "<when>{}</when>", times::point(point.time))?;
    }
    for point in piece {
        let altitude = point.altitude_m.unwrap_or(0);
        writeln!(
            out,
            "<gx:coord>{} {} {altitude}</gx:coord>",
            point.longitude, point.latitude
        )?;
    }
    out.write_all(b"</gx:Track>\n</Placemark>\n")
}

pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"</Document>\n</kml>\n")
}
