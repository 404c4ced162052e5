//! A track as GeoJSON (RFC 7946): one feature a piece, its times in `coordTimes`, as togeojson and others have them.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::times;
use crate::store::report::track::Point;

pub(super) fn begin(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[\n")
}

pub(super) fn piece(
    out: &mut impl Write,
    name: &str,
    piece: &[Point],
    is_first: bool,
) -> io::Result<()> {
    let place = |point: &Point| match point.altitude_m {
        Some(altitude) => json!([point.longitude, point.latitude, altitude]),
        None => json!([point.longitude, point.latitude]),
    };
    // A line has two places at least.
    let geometry = match piece {
        [one] => json!({ "type": "Point", "coordinates": place(one) }),
        piece => {
            json!({ "type": "LineString", "coordinates": piece.iter().map(place).collect::<Value>() })
        }
    };
    let feature = json!({
        "type": "Feature",
        "properties": {
            "name": name, "device": piece.first().map(|point| &point.imei),
            "from": piece.first().map(|point| times::point(point.time)), "to": piece.last().map(|point| times::point(point.time)),
            "coordTimes": piece.iter().map(|point| times::point(point.time)).collect::<Value>(),
            "speeds_kmh": piece.iter().map(|point| point.speed_kmh).collect::<Value>()
        },
        "geometry": geometry
    });
    let separator = if is_first { "" } else { "," };
    writeln!(out, "{separator}{feature}")
}

pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"]}\n")
}
