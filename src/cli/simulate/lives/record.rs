//! What a device says of one moment of its life: the elements of a record, as its model has them.
//!
//! Ids and widths are the dictionary's for the model of the kind.

use super::chance::{Chance, wander};
use super::cold::{Box_, outside};
use super::day::{DOOR, DOOR_OPEN, Event, State};
use super::fleet::Kind;
use super::life::Life;
use crate::protocol::teltonika::Codec;
use crate::protocol::teltonika::encode::{IoSpec, RecordSpec};

/// What a life has counted before the day begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) odometer_m: f64,
    pub(super) ignition_ms: u64,
    pub(super) this_week_m: f64,
}

/// One moment that is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time_ms: u64,
    pub(super) state: State,
    pub(super) event: Option<Event>,
}

/// The record of one moment.
pub(super) fn record(
    life: &Life,
    before: Before,
    cold: Option<&Box_>,
    moment: &Moment,
    codec: Codec,
) -> RecordSpec {
    let Moment {
        time_ms,
        state,
        event,
    } = *moment;
    let senses = Senses {
        life,
        state: &moment.state,
        time_ms,
        odometer_m: before.odometer_m + state.odometer_m,
        ignition_ms: before.ignition_ms + state.ignition_ms,
        driven_m: before.this_week_m + state.odometer_m,
        noise: life.chance.of("noise").nth(time_ms),
    };
    let mut io = Vec::with_capacity(32);
    let mut put = |id: u16, width: u8, raw: u64| {
        if codec != Codec::Codec8 || id < 256 {
            io.push((id, IoSpec::Fixed { width, raw }));
        }
    };
    senses.device(&mut put);
    match life.kind {
        Kind::Van => {}
        Kind::Car => senses.car(&mut put),
        Kind::Truck => senses.truck(&mut put),
        Kind::ColdBox => {
            if let Some(cold) = cold {
                senses.cold_box(cold, &mut put);
            }
        }
        Kind::Machine => senses.machine(&mut put),
    }
    let mut event_id = 0;
    if let Some(event) = event {
        event_id = event.id;
        // What is in every record is there with its new value already.
        if !matches!(event.id, 239 | 240 | DOOR) {
            put(event.id, 1, event.value);
        }
        if let Some((id, value)) = event.also {
            put(id, 1, value);
        }
    }
    let (longitude, latitude) = senses.place();
    RecordSpec {
        time_ms,
        priority: if matches!(event_id, 236 | 246 | 247 | 252) {
            2
        } else {
            u8::from(event_id != 0)
        },
        longitude,
        latitude,
        altitude_m: if longitude == 0 {
            0
        } else {
            senses.altitude_m()
        },
        angle_deg: state.bearing_deg.round() as u16 % 360,
        satellites: senses.satellites(),
        speed_kmh: state.speed_kmh.round() as u16,
        event_id,
        generation: (codec == Codec::Codec16).then_some(if event_id == 0 { 5 } else { 0 }),
        io,
    }
}

/// What there is to be measured at one moment.
struct Senses<'a> {
    life: &'a Life,
    state: &'a State,
    time_ms: u64,
    odometer_m: f64,
    ignition_ms: u64,
    /// Since it was filled up, which is on Mondays.
    driven_m: f64,
    noise: Chance,
}

impl Senses<'_> {
    /// One in eighty never had a fix: its antenna is broken.
    fn is_blind(&self) -> bool {
        self.life.chance.of("blind").happens(1.0 / 80.0)
    }

    fn satellites(&self) -> u8 {
        if !self.state.fix || self.is_blind() {
            return 0;
        }
        let sky = wander(self.life.chance.of("sky"), self.time_ms, 7 * 60_000);
        (7.0 + sky * 9.5) as u8
    }

    fn place(&self) -> (i32, i32) {
        if self.is_blind() {
            return (0, 0);
        }
        // Receivers jitter by a metre or two, and stand still where they stand.
        let jitter = |which: u64| {
            if self.state.speed_kmh > 0.0 {
                self.noise.nth(which).between(-120.0, 120.0)
            } else {
                0.0
            }
        };
        let at = self.state.at;
        (
            (at.longitude_deg * 1e7 + jitter(1)) as i32,
            (at.latitude_deg * 1e7 + jitter(2)) as i32,
        )
    }

    fn altitude_m(&self) -> i16 {
        let at = self.state.at;
        let hills = (at.longitude_deg * 9.0).sin() + (at.latitude_deg * 13.0).sin();
        ((53.6 - at.latitude_deg).max(0.0) * 85.0 + 30.0 + hills * 14.0) as i16
    }

    fn supply_mv(&self) -> u64 {
        let state = self.state;
        if state.unplugged {
            return 0;
        }
        let volts = if state.ignition {
            14.05 + 0.12 * self.noise.nth(3).part()
        } else {
            let hours = state.since_ms as f64 / 3_600_000.0;
            12.35 + 0.45 * (-hours / 5.0).exp() + 0.03 * self.noise.nth(3).part()
        };
        let freight = matches!(self.life.kind, Kind::Truck | Kind::Machine);
        (volts * if freight { 2000.0 } else { 1000.0 }) as u64
    }

    fn signal(&self) -> u64 {
        let net = wander(self.life.chance.of("net"), self.time_ms, 4 * 60_000);
        if self.state.fix {
            (1.2 + net * 4.5).min(5.0) as u64
        } else {
            (net * 3.0) as u64
        }
    }

    /// What every device says.
    fn device(&self, put: &mut impl FnMut(u16, u8, u64)) {
        let state = self.state;
        put(239, 1, state.ignition.into());
        put(240, 1, state.moving.into());
        put(80, 1, if state.moving { 1 } else { 0 });
        put(21, 1, self.signal());
        put(
            200,
            1,
            if state.ignition || state.since_ms < 600_000 {
                0
            } else {
                1
            },
        );
        put(69, 1, if self.satellites() > 0 { 1 } else { 2 });
        let dilution =
            7.0 + 9.0 * wander(self.life.chance.of("dilution"), self.time_ms, 5 * 60_000);
        put(181, 2, (dilution * 1.6) as u64);
        put(182, 2, dilution as u64);
        put(66, 2, self.supply_mv());
        let battery_mv = if state.unplugged { 3880.0 } else { 4060.0 };
        put(67, 2, (battery_mv + 25.0 * self.noise.nth(4).part()) as u64);
        put(
            68,
            2,
            if state.ignition {
                (self.noise.nth(5).part() * 20.0) as u64
            } else {
                0
            },
        );
        put(113, 1, if state.unplugged { 84 } else { 100 });
        put(24, 2, state.speed_kmh.round() as u64);
        put(16, 4, self.odometer_m as u64);
        put(241, 4, 26_201);
        put(449, 4, self.ignition_ms / 1000);
    }

    fn car(&self, put: &mut impl FnMut(u16, u8, u64)) {
        if !self.state.ignition {
            return;
        }
        let fuel = 96.0 - self.driven_m / 1000.0 * 0.13;
        put(48, 1, fuel.max(4.0) as u64);
        put(36, 2, self.revolutions(850.0, 21.0));
        let minutes = self.state.since_ms as f64 / 60_000.0;
        let air_c = outside(self.state.at, self.time_ms);
        let coolant_c = 89.0 - (89.0 - air_c.min(60.0)) * (-minutes / 4.5).exp();
        put(32, 1, u64::from((coolant_c as i8).cast_unsigned()));
    }

    fn truck(&self, put: &mut impl FnMut(u16, u8, u64)) {
        if !self.state.ignition {
            return;
        }
        let litres = 1080.0 - self.driven_m / 1000.0 * 0.29;
        put(84, 2, (litres.max(40.0) * 10.0) as u64);
        // The vehicle's own odometer is older than the device's.
        put(87, 4, (self.odometer_m + 4_321_000.0) as u64);
        put(102, 4, self.ignition_ms / 60_000);
        put(85, 2, self.revolutions(560.0, 9.0));
    }

    fn revolutions(&self, idle: f64, per_kmh: f64) -> u64 {
        let gear = (self.state.speed_kmh / 28.0).floor().min(4.0);
        let driven = self.state.speed_kmh * per_kmh / (1.0 + gear * 0.35);
        (idle + driven + 40.0 * self.noise.nth(6).part()) as u64
    }

    fn cold_box(&self, cold: &Box_, put: &mut impl FnMut(u16, u8, u64)) {
        let readings = cold.readings(self.time_ms);
        for (id, tenths) in [(72, readings.probes[0]), (73, readings.probes[1])] {
            put(id, 4, u64::from(i32::from(tenths).cast_unsigned()));
        }
        put(86, 2, readings.humidity.into());
        put(29, 1, 91);
        put(DOOR, 2, if self.state.door_open { DOOR_OPEN } else { 0 });
        put(1, 1, self.state.door_open.into());
    }

    fn machine(&self, put: &mut impl FnMut(u16, u8, u64)) {
        let shakes = if self.state.ignition { 160.0 } else { 6.0 };
        for (number, (id, rest)) in (7..).zip([(17, 0.0), (18, 0.0), (19, 1000.0)]) {
            let axis = rest + self.noise.nth(number).between(-shakes, shakes);
            put(id, 2, u64::from((axis as i16).cast_unsigned()));
        }
        put(102, 4, self.ignition_ms / 60_000);
    }
}
