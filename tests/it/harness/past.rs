//! Records with known answers, written straight into the table: what a device would have sent, at made-up times.

use postgres::Client;
use postgres::types::ToSql;

use super::imei;
use super::rows::add;

/// Metres in a hundredth of a degree of latitude, on a sphere of the earth's mean radius.
pub const M_PER_CENTIDEGREE: f64 = 6_371_008.8 * std::f64::consts::PI / 18_000.0;

/// A device with the asset that it got.
#[derive(Clone, Copy, Debug)]
pub struct Fitted {
    pub device: i32,
    pub asset: i32,
}

/// What one record says; the position of `Default` is a fix in Vienna.
#[derive(Clone, Debug)]
pub struct Said {
    pub longitude: f64,
    pub latitude: f64,
    pub satellites: i16,
    pub speed_kmh: i32,
    pub ignition: Option<bool>,
    pub movement: Option<bool>,
    pub temperature: Option<f32>,
    pub faulty: bool,
    pub events: Option<i32>,
    pub odometer_m: Option<i64>,
    pub engine_seconds: Option<i64>,
}

impl Default for Said {
    fn default() -> Said {
        Said {
            longitude: 16.37,
            latitude: 48.2,
            satellites: 9,
            speed_kmh: 0,
            ignition: Some(false),
            movement: None,
            temperature: None,
            faulty: false,
            events: None,
            odometer_m: None,
            engine_seconds: None,
        }
    }
}

impl Said {
    /// With the ignition off.
    pub fn parked() -> Said {
        Said::default()
    }

    /// Driving, so many hundredths of a degree north of the start.
    pub fn driving(north: f64) -> Said {
        Said {
            latitude: 48.2 + north / 100.0,
            speed_kmh: 66,
            ignition: Some(true),
            ..Said::default()
        }
    }

    /// The same so many hundredths of a degree north of the start.
    pub fn at(self, north: f64) -> Said {
        Said {
            latitude: 48.2 + north / 100.0,
            ..self
        }
    }
}

/// Adds a device; it gets an asset of its own in the first group.
pub fn device(client: &mut Client, number: u64) -> Fitted {
    add(client, imei(number), None);
    let row = client
        .query_one(
            "SELECT device_id, asset_id FROM trackport.fitted WHERE imei = $1",
            &[&imei(number).to_string()],
        )
        .unwrap();
    Fitted {
        device: row.get(0),
        asset: row.get(1),
    }
}

/// Writes a record of `device` at `time`, as PostgreSQL reads it.
pub fn record(client: &mut Client, device: i32, time: &str, said: &Said) {
    let fault: Option<i16> = said.faulty.then_some(1);
    let parameters: [&(dyn ToSql + Sync); 13] = [
        &device,
        &time,
        &said.longitude,
        &said.latitude,
        &said.satellites,
        &said.speed_kmh,
        &said.ignition,
        &said.movement,
        &said.temperature,
        &fault,
        &said.events,
        &said.odometer_m,
        &said.engine_seconds,
    ];
    client
        .execute(
            "INSERT INTO trackport.record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
                 speed_kmh, priority, event_id, codec, port, ignition, movement, temperature_1, sensor_fault, events, odometer_m,
                 engine_seconds, io)
             SELECT $1::integer, t, hashtextextended(t::text, $1::integer), t, $3, $4, 180, 0, $5, $6, 0, 0, 8, 5027, $7, $8, $9, $10, $11, $12, $13, ''
             FROM (SELECT $2::text::timestamptz AS t) time",
            &parameters,
        )
        .unwrap();
}

/// A drive north from minute to minute, a hundredth of a degree each: records from `first` to `last` of the hour, the last one with the
/// ignition off. Returns how far north it came.
pub fn drive(
    client: &mut Client,
    device: i32,
    hour: &str,
    first: u32,
    last: u32,
    north: f64,
) -> f64 {
    let mut at = north;
    for minute in first..=last {
        let said = if minute == last {
            Said::parked().at(at)
        } else {
            Said::driving(at)
        };
        record(client, device, &format!("{hour}:{minute:02}:00Z"), &said);
        at += 1.0;
    }
    at - 1.0
}
