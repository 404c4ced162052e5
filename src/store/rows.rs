//! Records as the database takes them: rows of `trackport.record` in COPY BINARY form.
//!
//! Source: PostgreSQL manual, COPY, "Binary Format". The order of columns is that of the table; nothing is allocated
//! for a record beyond the buffer's growth.
//!
//! The columns behind `io` are empty in most fleets' records, and an empty column costs PostgreSQL time as well: a lot that has none of
//! them is sent without them. The first row that has one makes all rows of its lot wide.

use crate::protocol::teltonika::{Codec, Record};
use crate::store::typed::{Typed, TypedColumns};

/// The columns of `trackport.record` in the order of [`Rows::push`], for wide rows.
pub const COLUMNS: &str = "device_id, time, digest, received_at, longitude, latitude, altitude_m, \
    angle_deg, satellites, speed_kmh, priority, event_id, generation, codec, port, ignition, movement, \
    odometer_m, external_voltage_mv, battery_voltage_mv, battery_level, signal, temperature_1, \
    temperature_2, temperature_3, temperature_4, humidity_1, humidity_2, humidity_3, humidity_4, io, \
    events, sensor_fault, door, engine_seconds, vehicle_odometer_m, fuel_l, fuel_percent";

/// What is the last column of rows that are not wide.
const LAST_COMMON: &str = ", io";

const N_COMMON: i16 = 31;
const N_RARE: i16 = 7;
/// A field without a value.
pub(super) const NULL: [u8; 4] = (-1_i32).to_be_bytes();
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of no extension.
const HEADER: usize = 19;
/// The -1 that ends the stream.
const TRAILER: usize = 2;
/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// Rows of one COPY.
#[derive(Debug)]
pub struct Rows {
    buffer: Vec<u8>,
    n_rows: usize,
    is_wide: bool,
    is_finished: bool,
}

impl Default for Rows {
    fn default() -> Rows {
        let mut rows = Rows {
            buffer: Vec::new(),
            n_rows: 0,
            is_wide: false,
            is_finished: false,
        };
        rows.clear();
        rows
    }
}

/// The fields of one row.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    left: i16,
}

impl<'a> Fields<'a> {
    /// What stands behind the last field.
    fn last_rest(mut self) -> &'a [u8] {
        while self.next().is_some() {}
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let length = i32::from_be_bytes(*self.rest.first_chunk()?);
        // NULL is a length of -1 and no bytes.
        let length = 4 + usize::try_from(length).unwrap_or(0);
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(field)
    }
}

/// What a row needs beside the record itself.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// `device.id`.
    pub device_id: i32,
    /// Microseconds since 1970 UTC.
    pub received_at_us: i64,
    /// The port it came in on.
    pub port: u16,
    /// How it was encoded.
    pub codec: Codec,
    /// Which IO elements fill typed columns.
    pub typed: &'a TypedColumns,
}

impl Rows {
    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.extend_from_slice(SIGNATURE);
        self.buffer
            .extend_from_slice(&[0; HEADER - SIGNATURE.len()]);
        self.n_rows = 0;
        self.is_wide = false;
        self.is_finished = false;
    }

    /// Whether the rows have all of [`COLUMNS`], not only the [`common_columns`].
    pub fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// The rows; each is its fields as COPY has them, length in front.
    pub fn iter(&self) -> impl Iterator<Item = Fields<'_>> {
        let end = self.buffer.len() - if self.is_finished { TRAILER } else { 0 };
        let mut rest = self.buffer.get(HEADER..end).unwrap_or_default();
        std::iter::from_fn(move || {
            let fields = Fields {
                rest: rest.get(2..)?,
                left: n_columns(self.is_wide),
            };
            rest = fields.clone().last_rest();
            Some(fields)
        })
    }

    /// The whole COPY stream; no row can follow. Asked again, it is the same.
    pub fn finish(&mut self) -> &[u8] {
        if !self.is_finished {
            self.buffer.extend_from_slice(&(-1_i16).to_be_bytes());
            self.is_finished = true;
        }
        &self.buffer
    }

    /// Adds a record and returns what its IO elements say in typed columns.
    pub fn push(&mut self, origin: &Origin<'_>, record: &Record<'_>, digest: u64) -> Typed {
        let typed = origin.typed.read(record.event_id, &record.io);
        if typed.has_rare() && !self.is_wide {
            self.widen();
        }
        let out = &mut self.buffer;
        out.extend_from_slice(&n_columns(self.is_wide).to_be_bytes());
        int4(out, origin.device_id);
        int8(out, time_from_2000_us(record.time_ms));
        int8(out, digest.cast_signed());
        int8(out, origin.received_at_us - EPOCH_2000_US);
        float8(out, degrees(record.longitude));
        float8(out, degrees(record.latitude));
        int2(out, record.altitude_m);
        int4(out, i32::from(record.angle_deg));
        int2(out, i16::from(record.satellites));
        int4(out, i32::from(record.speed_kmh));
        int2(out, i16::from(record.priority));
        int4(out, i32::from(record.event_id));
        optional(out, record.generation.map(i16::from), int2);
        int2(out, i16::from(origin.codec.id()));
        int4(out, i32::from(origin.port));
        optional(out, typed.ignition, boolean);
        optional(out, typed.movement, boolean);
        optional(out, typed.odometer_m, int8);
        optional(out, typed.external_voltage_mv, int4);
        optional(out, typed.battery_voltage_mv, int4);
        optional(out, typed.battery_level, int2);
        optional(out, typed.signal, int2);
        for value in typed.temperature.into_iter().chain(typed.humidity) {
            optional(out, value, float4);
        }
        field(out, record.io.bytes);
        if self.is_wide {
            rare(out, &typed);
        }
        self.n_rows += 1;
        typed
    }

    /// Adds the columns that the rows so far do not have.
    fn widen(&mut self) {
        let mut wide = Vec::with_capacity(
            self.buffer.len() + self.n_rows * 4 * usize::from(N_RARE.unsigned_abs()),
        );
        wide.extend_from_slice(self.buffer.get(..HEADER).unwrap_or_default());
        for row in self.iter() {
            wide.extend_from_slice(&n_columns(true).to_be_bytes());
            let fields = row.rest.len() - row.clone().last_rest().len();
            wide.extend_from_slice(row.rest.get(..fields).unwrap_or_default());
            for _ in 0..N_RARE {
                wide.extend_from_slice(&NULL);
            }
        }
        self.buffer = wide;
        self.is_wide = true;
    }
}

fn n_columns(is_wide: bool) -> i16 {
    N_COMMON + if is_wide { N_RARE } else { 0 }
}

/// The columns of rows that are not wide.
pub fn common_columns() -> &'static str {
    let end = COLUMNS
        .find(LAST_COMMON)
        .map_or(COLUMNS.len(), |at| at + LAST_COMMON.len());
    COLUMNS.get(..end).unwrap_or(COLUMNS)
}

fn rare(out: &mut Vec<u8>, typed: &Typed) {
    optional(out, typed.events, int4);
    optional(out, typed.sensor_fault(), int2);
    optional(out, typed.door, boolean);
    optional(out, typed.engine_seconds, int8);
    optional(out, typed.vehicle_odometer_m, int8);
    optional(out, typed.fuel_l, float4);
    optional(out, typed.fuel_percent, int2);
}

/// A device's time as PostgreSQL counts it. The decoder let only times of PostgreSQL's range through; its last years are too
/// many microseconds from 1970 for an `i64`.
fn time_from_2000_us(time_ms: u64) -> i64 {
    i64::try_from(time_ms)
        .unwrap_or(i64::MAX)
        .saturating_sub(EPOCH_2000_US / 1000)
        .saturating_mul(1000)
}

/// A device's time in microseconds since 1970 UTC, or the last that can be told.
pub fn time_us(time_ms: u64) -> i64 {
    i64::try_from(time_ms)
        .unwrap_or(i64::MAX / 1000)
        .saturating_mul(1000)
}

/// Degrees of a coordinate sent in units of 1e-7; the nearest double, so exact to the last digit sent.
pub fn degrees(raw: i32) -> f64 {
    f64::from(raw) / 1e7
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = i32::try_from(bytes.len()).expect("a packet is smaller than 2 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: fn(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(&NULL),
    }
}

fn int2(out: &mut Vec<u8>, value: i16) {
    field(out, &value.to_be_bytes());
}

fn int4(out: &mut Vec<u8>, value: i32) {
    field(out, &value.to_be_bytes());
}

fn int8(out: &mut Vec<u8>, value: i64) {
    field(out, &value.to_be_bytes());
}

fn float4(out: &mut Vec<u8>, value: f32) {
    field(out, &value.to_be_bytes());
}

fn float8(out: &mut Vec<u8>, value: f64) {
    field(out, &value.to_be_bytes());
}

fn boolean(out: &mut Vec<u8>, value: bool) {
    field(out, &[u8::from(value)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::teltonika::Packet;
    use crate::protocol::teltonika::encode::{IoSpec, RecordSpec, packet};

    #[test]
    fn the_fields_of_each_row_are_those_that_were_pushed() {
        let specs = [1, 2, 3].map(|time_ms| RecordSpec {
            time_ms,
            ..RecordSpec::default()
        });
        let frame = packet(Codec::Codec8, &specs).unwrap();
        let packet = Packet::from_checked(&frame).unwrap();
        let typed = TypedColumns::for_model(None);
        let origin = Origin {
            device_id: 7,
            received_at_us: EPOCH_2000_US,
            port: 5027,
            codec: Codec::Codec8,
            typed: &typed,
        };
        let mut rows = Rows::default();
        for record in packet.records() {
            rows.push(&origin, &record, record.time_ms);
        }
        for _ in 0..2 {
            let digests: Vec<_> = rows
                .iter()
                .map(|mut row| row.nth(2).unwrap().to_vec())
                .collect();
            let expected: Vec<_> = (1..=3_u64)
                .map(|digest| [&8_i32.to_be_bytes()[..], &digest.to_be_bytes()].concat())
                .collect();
            assert_eq!(digests, expected);
            assert!(
                rows.iter()
                    .all(|row| row.count() == common_columns().split(',').count())
            );
            // With the trailer it is the same.
            rows.finish();
        }
    }

    #[test]
    fn the_first_row_with_a_rare_column_makes_the_rows_before_it_wide() {
        let specs = [0, 246, 0].map(|event_id| RecordSpec {
            event_id,
            io: vec![(246, IoSpec::Fixed { width: 1, raw: 1 })],
            ..RecordSpec::default()
        });
        let frame = packet(Codec::Codec8, &specs).unwrap();
        let packet = Packet::from_checked(&frame).unwrap();
        let typed = TypedColumns::for_model(None);
        let origin = Origin {
            device_id: 7,
            received_at_us: EPOCH_2000_US,
            port: 5027,
            codec: Codec::Codec8,
            typed: &typed,
        };
        let mut rows = Rows::default();
        let n_common = common_columns().split(',').count();
        let n_wide = COLUMNS.split(',').count();
        for (place, record) in packet.records().enumerate() {
            rows.push(&origin, &record, 5);
            let expected = if place == 0 { n_common } else { n_wide };
            assert!(rows.iter().all(|row| row.count() == expected), "{place}");
        }
        let events: Vec<_> = rows
            .iter()
            .map(|mut row| row.nth(n_common).unwrap().to_vec())
            .collect();
        let towing = [4_i32.to_be_bytes(), 1_i32.to_be_bytes()].concat();
        assert_eq!(events, [NULL.to_vec(), towing, NULL.to_vec()]);
        let ios: Vec<_> = rows
            .iter()
            .map(|mut row| row.nth(n_common - 1).unwrap().to_vec())
            .collect();
        assert_eq!(ios[0], ios[2]);
        assert!(ios[0].len() > 4);
        rows.clear();
        assert!(!rows.is_wide());
    }
}
