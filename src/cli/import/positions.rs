//! Positions of Traccar as rows of `imported_position`: what its `tc_positions` says, in the units of this program.
//!
//! Pure functions over one row. Times have no zone there and get theirs in the database.

use std::collections::HashMap;

use jiff::civil::DateTime;

use super::attributes;
use super::devices::is_true;
use super::table::Row;
use crate::store::imported::ImportedPosition;

/// The columns without which nothing can be done.
pub(super) const NEEDED: [&str; 5] = ["id", "deviceid", "fixtime", "latitude", "longitude"];

/// Kilometres per hour.
const KNOT: f64 = 1.852;

/// What became of a row.
pub(super) enum Taken {
    /// To be stored; whether something of it could not be read, in words.
    Row(Box<ImportedPosition>, Option<String>),
    /// From before the time that was asked for.
    TooOld,
    /// Its device is not taken over: `tc_devices.id`.
    NoDevice(i64),
}

/// Reads a row. `devices` leads from ids there to ids here; what is older than `since`, a time of the other server, is passed over.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read<R>(
    row: &Row<'_, R>,
    devices: &HashMap<i64, i32>,
    since: Option<DateTime>,
) -> Result<Taken, String> {
    if let Some(mistake) = row.mistake() {
        return Err(mistake);
    }
    let device: i64 = needed(row, "deviceid")?;
    let Some(&device_id) = devices.get(&device) else {
        return Ok(Taken::NoDevice(device));
    };
    let fix_time = time(row, "fixtime")?;
    // Of a message without a position Traccar keeps the time of the position before it as the time of the fix.
    let time = time(row, "devicetime")?
        .or(fix_time)
        .ok_or("neither devicetime nor fixtime")?;
    if since.is_some_and(|since| time < since) {
        return Ok(Taken::TooOld);
    }
    let degrees = |column: &'static str, most: f64| {
        let degrees: f64 = needed(row, column)?;
        if degrees.abs() <= most {
            Ok(degrees)
        } else {
            Err(format!("{column} {degrees} is beyond {most} degrees"))
        }
    };
    let mut position = ImportedPosition {
        device_id,
        source_id: needed(row, "id")?,
        time: time.to_string(),
        received_at: self::time(row, "servertime")?.map(|time| time.to_string()),
        fix: row.get("valid").map(|text| is_true(&text)),
        longitude: degrees("longitude", 180.0)?,
        latitude: degrees("latitude", 90.0)?,
        altitude_m: rounded(row, "altitude", 1.0, 32_767.0)
            .and_then(|metres| i16::try_from(metres).ok()),
        angle_deg: rounded(row, "course", 1.0, 360.0),
        speed_kmh: rounded(row, "speed", KNOT, 100_000.0),
        protocol: row.get("protocol"),
        address: row.get("address"),
        ..ImportedPosition::default()
    };
    let text = row.get("attributes").unwrap_or_default();
    let odd = attributes::is_text(&text)
        .then(|| "its attributes are no JSON object; they are kept as text".to_owned());
    attributes::take(&mut position, attributes::read(&text));
    Ok(Taken::Row(Box::new(position), odd))
}

fn needed<R, T: std::str::FromStr>(row: &Row<'_, R>, column: &str) -> Result<T, String> {
    let text = row.get(column).ok_or_else(|| format!("no {column}"))?;
    text.trim()
        .parse()
        .map_err(|_| format!("{column} {text:?} is no number"))
}

/// A time as Traccar writes it, without a zone.
fn time<R>(row: &Row<'_, R>, column: &str) -> Result<Option<DateTime>, String> {
    let Some(text) = row.get(column) else {
        return Ok(None);
    };
    let wrong = || format!("{column} {text:?} is no time like 2026-01-31 12:00:00, without a zone");
    let has_zone = text
        .get(10..)
        .is_some_and(|rest| rest.contains(['+', '-', 'Z', '[']));
    if has_zone {
        return Err(wrong());
    }
    let time: DateTime = text.trim().parse().map_err(|_| wrong())?;
    if time.year() < 1 {
        return Err(wrong());
    }
    Ok(Some(time))
}

/// A number that may be missing, times `unit`, as a whole one; nothing where it makes no sense.
fn rounded<R>(row: &Row<'_, R>, column: &str, unit: f64, most: f64) -> Option<i32> {
    let number: f64 = row.get(column)?.trim().parse().ok()?;
    let number = (number * unit).round();
    #[expect(clippy::cast_possible_truncation, reason = "within bounds that fit")]
    (number.abs() <= most).then_some(number as i32)
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;

    const HEADER: &str = "id,deviceid,devicetime,fixtime,servertime,valid,latitude,longitude,altitude,speed,course,attributes";

    fn taken(row: &str) -> Result<Taken, String> {
        let text = format!("{HEADER}\n{row}\n");
        let mut table = Table::open(text.as_bytes(), "t", true, &NEEDED).unwrap();
        let devices = HashMap::from([(5, 70)]);
        let since = Some("2020-01-01 00:00:00".parse().unwrap());
        read(&table.next().unwrap().unwrap(), &devices, since)
    }

    #[test]
    fn knots_become_kilometres_and_the_device_time_is_the_time() {
        let row = "9,5,2026-01-31 12:00:01.5,2026-01-31 11:00:00,2026-01-31 12:00:02,t,54.5,-25.25,111.6,29.15766738660907,271,{}";
        let Ok(Taken::Row(position, None)) = taken(row) else {
            panic!("not taken");
        };
        assert_eq!((position.device_id, position.source_id), (70, 9));
        assert_eq!(position.time, "2026-01-31T12:00:01.5");
        assert_eq!(position.received_at.as_deref(), Some("2026-01-31T12:00:02"));
        assert_eq!(position.speed_kmh, Some(54));
        assert_eq!(
            (position.altitude_m, position.angle_deg),
            (Some(112), Some(271))
        );
        assert_eq!((position.latitude, position.longitude), (54.5, -25.25));
        assert_eq!(position.fix, Some(true));
    }

    #[test]
    fn each_mistake_is_told_in_words() {
        for (row, words) in [
            ("9,5,,,,t,54,25,0,0,0,{}", "neither devicetime nor fixtime"),
            ("9,5,yesterday,,,t,54,25,0,0,0,{}", "is no time"),
            (
                "9,5,2026-01-31 12:00:00+02,,,t,54,25,0,0,0,{}",
                "without a zone",
            ),
            ("9,5,2026-01-31 12:00:00,,,t,95,25,0,0,0,{}", "beyond 90"),
            ("9,5,2026-01-31 12:00:00,,,t,NaN,25,0,0,0,{}", "beyond 90"),
            ("9,5,2026-01-31 12:00:00,,,t,,25,0,0,0,{}", "no latitude"),
            ("x,5,2026-01-31 12:00:00,,,t,54,25,0,0,0,{}", "is no number"),
            ("9,5,2026-01-31 12:00:00,,,t,54,25,0,0", "10 cells"),
        ] {
            let text = taken(row).err().unwrap();
            assert!(text.contains(words), "{row}: {text}");
        }
        assert!(matches!(
            taken("9,6,,,,t,54,25,0,0,0,{}"),
            Ok(Taken::NoDevice(6))
        ));
        let old = "9,5,2019-12-31 23:59:59,,,t,54,25,0,0,0,{}";
        assert!(matches!(taken(old), Ok(Taken::TooOld)));
    }
}
