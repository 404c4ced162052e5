//! A track as CSV: one line a record, also without a fix; `fix` says which have one.

use std::io::{self, Write};

use super::escape::cell;
use super::times;
use crate::store::report::track::Point;

const COLUMNS: [&str; 17] = [
    "asset",
    "imei",
    "time",
    "fix",
    "longitude",
    "latitude",
    "altitude_m",
    "angle_deg",
    "speed_kmh",
    "satellites",
    "ignition",
    "movement",
    "temperature_1",
    "temperature_2",
    "temperature_3",
    "temperature_4",
    "events",
];

pub(super) fn begin(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))
}

pub(super) fn piece(out: &mut impl Write, name: &str, piece: &[Point]) -> io::Result<()> {
    fn text(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let mut out = csv::Writer::from_writer(out);
    for point in piece {
        let [one, two, three, four] = point.temperature;
        let fields: [String; COLUMNS.len()] = [
            cell(name).into_owned(),
            point.imei.clone(),
            times::point(point.time),
            point.is_fix.to_string(),
            point.longitude.to_string(),
            point.latitude.to_string(),
            text(point.altitude_m),
            text(point.angle_deg),
            text(point.speed_kmh),
            text(point.satellites),
            text(point.ignition),
            text(point.movement),
            text(one),
            text(two),
            text(three),
            text(four),
            point.events.join(" "),
        ];
        out.write_record(&fields)?;
    }
    out.flush()
}
