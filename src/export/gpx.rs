//! A track as GPX 1.1; speed and direction in Garmin's extension, which most programs read.

use std::io::{self, Write};

use super::escape::Xml;
use super::times;
use crate::store::report::track::Point;

pub(super) fn begin(out: &mut impl Write, name: &str) -> io::Result<()> {
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <gpx version=\"1.1\" creator=\"trackport\" xmlns=\"http://www.topografix.com/GPX/1/1\" \
         xmlns:tpx=\"http://www.garmin.com/xmlschemas/TrackPointExtension/v2\">\n\
         <trk><name>{}</name>\n",
        Xml(name)
    )
}

pub(super) fn piece(out: &mut impl Write, piece: &[Point]) -> io::Result<()> {
    out.write_all(b"<trkseg>\n")?;
    for point in piece {
        write!(
            out,
            "<trkpt lat=\"{}\" lon=\"{}\">",
            point.latitude, point.longitude
        )?;
        if let Some(altitude) = point.altitude_m {
            write!(out, "<ele>{altitude}</ele>")?;
        }
        write!(out, "<time>{}</time>", times::point(point.time))?;
        if let Some(satellites) = point.satellites {
            write!(out, "<sat>{satellites}</sat>")?;
        }
        if let Some(speed) = point.speed_kmh {
            // Metres per second.
            let speed = f64::from(speed) / 3.6;
            write!(
                out,
                "<extensions><tpx:TrackPointExtension><tpx:speed>{speed:.2}</tpx:speed>"
            )?;
            if let Some(angle) = point.angle_deg {
                write!(out, "<tpx:course>{angle}</tpx:course>")?;
            }
            out.write_all(b"</tpx:TrackPointExtension></extensions>")?;
        }
        out.write_all(b"</trkpt>\n")?;
    }
    out.write_all(b"</trkseg>\n")
}

pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"</trk>\n</gpx>\n")
}
