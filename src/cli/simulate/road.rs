//! Where a made-up vehicle is and how it is doing at a time.
//!
//! A pure function of device and time, so that a packet can be made again byte for byte instead of being kept. Every device
//! drives in circles of its own somewhere in Europe, 24 minutes of each 30, and stands the rest with its ignition off.

use std::f64::consts::TAU;

const CYCLE_MS: u64 = 30 * 60 * 1000;
const DRIVING_MS: u64 = 24 * 60 * 1000;
/// Metres in a degree of latitude.
const METRES_PER_DEGREE: f64 = 111_320.0;

/// What makes one vehicle differ from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vehicle {
    longitude_deg: f64,
    latitude_deg: f64,
    radius_m: f64,
    speed_kmh: u16,
    /// Cycles of different vehicles begin at different times.
    shift_ms: u64,
    seed: u64,
}

/// How it is doing at one time; units as in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Degrees times 10 000 000.
    pub(super) longitude: i32,
    /// Degrees times 10 000 000.
    pub(super) latitude: i32,
    pub(super) altitude_m: i16,
    pub(super) angle_deg: u16,
    pub(super) satellites: u8,
    pub(super) speed_kmh: u16,
    pub(super) driving: bool,
    pub(super) odometer_m: u32,
    pub(super) external_voltage_mv: u16,
    pub(super) signal: u8,
    /// Tenths of a degree Celsius.
    pub(super) temperature: i32,
    /// Even bits that no other record has.
    pub(super) noise: u64,
}

/// Spreads the bits of a number over all bits (the finalizer of splitmix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

impl Vehicle {
    /// The vehicle of a device in the run with this number: places depend on the device, noise on the run too.
    pub(super) fn new(imei: u64, run: u64) -> Vehicle {
        let bits = mix(imei);
        let part = |shift: u32, below: u32| f64::from((bits >> shift) as u16 % below as u16);
        Vehicle {
            longitude_deg: part(0, 2500) / 100.0,
            latitude_deg: 45.0 + part(16, 1000) / 100.0,
            radius_m: 1000.0 + part(32, 9000),
            speed_kmh: 30 + (bits >> 48) as u16 % 60,
            shift_ms: bits % CYCLE_MS,
            seed: mix(bits ^ run),
        }
    }

    /// The vehicle at `time_ms` since 1970.
    pub(super) fn at(&self, time_ms: u64) -> Moment {
        let shifted = time_ms + self.shift_ms;
        let (cycles, in_cycle) = (shifted / CYCLE_MS, shifted % CYCLE_MS);
        let driving = in_cycle < DRIVING_MS;
        // One day's driving is enough of a number; an odometer that began in 1970 would be absurd.
        let driven_ms = cycles % 100_000 * DRIVING_MS + in_cycle.min(DRIVING_MS);
        let driven_m = driven_ms as f64 / 3600.0 * f64::from(self.speed_kmh);
        let turn = (driven_m / self.radius_m) % TAU;
        let (sine, cosine) = turn.sin_cos();
        let noise = mix(self.seed ^ time_ms);
        let north_deg = sine * self.radius_m / METRES_PER_DEGREE;
        // A degree of longitude is 0.64 of one of latitude at 50° north.
        let east_deg = cosine * self.radius_m / (METRES_PER_DEGREE * 0.64);
        // Up to 51 units of 1e-7 degrees: half a metre, as receivers jitter.
        let jitter = (noise & 0x1FF) as f64 / 10.0;
        Moment {
            longitude: ((self.longitude_deg + east_deg) * 1e7 + jitter) as i32,
            latitude: ((self.latitude_deg + north_deg) * 1e7 + jitter) as i32,
            altitude_m: 100 + (noise >> 9 & 0x1F) as i16,
            // Counter-clockwise round the circle: the heading falls as the turn grows.
            angle_deg: (360 - turn.to_degrees() as u16 % 360) % 360,
            satellites: 8 + (noise >> 14 & 7) as u8,
            speed_kmh: if driving { self.speed_kmh } else { 0 },
            driving,
            odometer_m: (driven_m as u64 % 2_000_000_000) as u32,
            external_voltage_mv: if driving { 14_100 } else { 12_500 }
                + (noise >> 17 & 0x7F) as u16,
            signal: 1 + (noise >> 24) as u8 % 5,
            temperature: -50 + (noise >> 32 & 0x3F) as i32 + (self.radius_m as i32 % 200),
            noise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_MS: u64 = 1_780_000_000_000;

    #[test]
    fn a_vehicle_moves_as_fast_as_it_says() {
        let vehicle = Vehicle::new(350_000_000_000_000, 1);
        let start = (0..CYCLE_MS)
            .step_by(60_000)
            .map(|ms| TIME_MS + ms)
            .find(|ms| vehicle.at(*ms).driving && vehicle.at(ms + 60_000).driving)
            .unwrap();
        let (from, to) = (vehicle.at(start), vehicle.at(start + 60_000));
        let north_m = f64::from(to.latitude - from.latitude) / 1e7 * METRES_PER_DEGREE;
        let east_m = f64::from(to.longitude - from.longitude) / 1e7 * METRES_PER_DEGREE * 0.64;
        let expected_m = f64::from(from.speed_kmh) / 3.6 * 60.0;
        // A chord is a little shorter than its arc.
        let ratio = (north_m * north_m + east_m * east_m).sqrt() / expected_m;
        assert!((0.8..1.01).contains(&ratio), "{ratio}");
        let odometer = f64::from(to.odometer_m - from.odometer_m);
        assert!((odometer - expected_m).abs() < 2.0);
    }

    #[test]
    fn it_stands_with_its_ignition_off_part_of_the_time() {
        let vehicle = Vehicle::new(350_000_000_000_001, 1);
        let moments: Vec<Moment> = (0..30)
            .map(|minute| vehicle.at(TIME_MS + minute * 60_000))
            .collect();
        assert!(moments.iter().any(|one| one.driving && one.speed_kmh > 0));
        assert!(moments.iter().any(|one| !one.driving && one.speed_kmh == 0));
    }

    #[test]
    fn the_same_time_in_another_run_is_another_record() {
        let at = |run| Vehicle::new(350_000_000_000_000, run).at(TIME_MS);
        assert_eq!(at(1), at(1));
        assert_ne!(at(1).noise, at(2).noise);
        assert!((at(1).longitude - at(2).longitude).abs() < 60);
    }
}
