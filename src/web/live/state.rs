//! What an asset is doing, judged from its device's newest record and from how long ago that came.
//!
//! Pure: the time comes as an argument, in microseconds since 1970. Offline is judged by what is usual for this device in the mode
//! it was in: who reports every ten seconds on the road and every hour in the yard is missed after minutes there and hours here.

use serde::Serialize;

/// What an asset is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It moves.
    Moving,
    /// It stands with the ignition on.
    Idling,
    /// It stands.
    Parked,
    /// Nothing was received for longer than is usual.
    Offline,
    /// Nothing was ever received.
    Never,
}

/// What somebody may have to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// It was towed, fell or was hit within the last day.
    Shaken,
    /// A temperature is above the asset's limit.
    TooWarm,
    /// A temperature is below the asset's limit.
    TooCold,
    /// A sensor says an error in place of a value.
    SensorFault,
}

/// What is judged: the newest record of the asset's device, as far as it belongs to the asset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// When the newest record was received, microseconds since 1970; `None`: never.
    pub received_at_us: Option<i64>,
    /// What the device says of itself.
    pub movement: Option<bool>,
    /// Of a record with a fix.
    pub speed_kmh: Option<i32>,
    /// Whether the ignition is on.
    pub ignition: Option<bool>,
    /// From this speed on it moves, where the device does not say.
    pub moves_from_kmh: i32,
    /// Usual seconds between contacts while it moves.
    pub contact_moving_s: Option<f32>,
    /// And while it does not.
    pub contact_parked_s: Option<f32>,
    /// Degrees Celsius.
    pub temperature: [Option<f32>; 4],
    /// The least that is allowed.
    pub temperature_min: Option<f32>,
    /// The most that is allowed.
    pub temperature_max: Option<f32>,
    /// Bits of sensors that say an error.
    pub sensor_fault: i16,
    /// When it was last towed, hit or fell.
    pub shaken_us: Option<i64>,
}

/// So many usual intervals without a word are too many.
const INTERVALS: f32 = 3.0;
/// No device is missed earlier than this.
const OFFLINE_AFTER_MIN_S: f32 = 120.0;
/// Usual intervals of a device of which nothing is known yet: on the road, and standing, where many trackers speak once an hour.
const UNKNOWN_MOVING_S: f32 = 120.0;
const UNKNOWN_PARKED_S: f32 = 3600.0;
/// For how long somebody shall know.
const SHAKEN_FOR_US: i64 = 24 * 3600 * 1_000_000;

impl Facts {
    /// Whether it moved when it was heard last.
    pub fn moves(&self) -> bool {
        self.movement.unwrap_or_else(|| {
            self.speed_kmh
                .is_some_and(|speed| speed >= self.moves_from_kmh)
        })
    }

    /// After how many seconds without a word it counts as offline.
    pub fn offline_after_s(&self) -> f32 {
        let usual_s = if self.moves() {
            self.contact_moving_s.unwrap_or(UNKNOWN_MOVING_S)
        } else {
            self.contact_parked_s.unwrap_or(UNKNOWN_PARKED_S)
        };
        (usual_s * INTERVALS).max(OFFLINE_AFTER_MIN_S)
    }

    /// What it is doing at `now_us`.
    pub fn state(&self, now_us: i64) -> State {
        let Some(received_at_us) = self.received_at_us else {
            return State::Never;
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds of hours or days, and beyond that a float's cast saturates"
        )]
        let offline_after_us = (f64::from(self.offline_after_s()) * 1e6) as i64;
        if now_us.saturating_sub(received_at_us) > offline_after_us {
            return State::Offline;
        }
        match self.ignition {
            _ if self.moves() => State::Moving,
            Some(true) => State::Idling,
            _ => State::Parked,
        }
    }

    /// What somebody may have to look at, at `now_us`.
    pub fn flags(&self, now_us: i64) -> Vec<Flag> {
        let any = |beyond: &dyn Fn(f32) -> bool| {
            self.temperature
                .iter()
                .flatten()
                .any(|value| beyond(*value))
        };
        let is_shaken = self
            .shaken_us
            .is_some_and(|at_us| now_us.saturating_sub(at_us) <= SHAKEN_FOR_US);
        let mut flags = Vec::new();
        flags.extend(is_shaken.then_some(Flag::Shaken));
        let max = self.temperature_max;
        flags.extend(
            max.is_some_and(|max| any(&|value| value > max))
                .then_some(Flag::TooWarm),
        );
        let min = self.temperature_min;
        flags.extend(
            min.is_some_and(|min| any(&|value| value < min))
                .then_some(Flag::TooCold),
        );
        flags.extend((self.sensor_fault != 0).then_some(Flag::SensorFault));
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn facts() -> Facts {
        Facts {
            received_at_us: Some(0),
            moves_from_kmh: 5,
            contact_moving_s: Some(60.0),
            contact_parked_s: Some(3600.0),
            ..Facts::default()
        }
    }

    #[test]
    fn offline_is_three_usual_intervals_moving_and_parked_apart() {
        let moving = Facts {
            movement: Some(true),
            ..facts()
        };
        assert_eq!(moving.state(180 * S), State::Moving);
        assert_eq!(moving.state(180 * S + 1), State::Offline);
        let parked = Facts {
            movement: Some(false),
            ..facts()
        };
        assert_eq!(parked.state(180 * S + 1), State::Parked);
        assert_eq!(parked.state(10_800 * S), State::Parked);
        assert_eq!(parked.state(10_800 * S + 1), State::Offline);
    }

    #[test]
    fn nobody_is_missed_within_two_minutes() {
        let quick = Facts {
            movement: Some(true),
            contact_moving_s: Some(5.0),
            ..facts()
        };
        assert_eq!(quick.state(120 * S), State::Moving);
        assert_eq!(quick.state(120 * S + 1), State::Offline);
    }

    #[test]
    fn a_device_of_which_nothing_is_known_has_usual_intervals() {
        let new = Facts {
            contact_moving_s: None,
            contact_parked_s: None,
            ..facts()
        };
        assert_eq!(new.state(10_800 * S), State::Parked);
        let moving = Facts {
            movement: Some(true),
            ..new
        };
        assert_eq!(moving.state(361 * S), State::Offline);
    }

    #[test]
    fn what_was_never_heard_is_not_offline() {
        let never = Facts {
            received_at_us: None,
            movement: Some(true),
            ..facts()
        };
        assert_eq!(never.state(i64::MAX), State::Never);
    }

    #[test]
    fn the_device_knows_better_than_its_speed_whether_it_moves() {
        let of = |movement, speed_kmh, ignition| {
            Facts {
                movement,
                speed_kmh,
                ignition,
                ..facts()
            }
            .state(0)
        };
        assert_eq!(of(Some(true), Some(0), None), State::Moving);
        assert_eq!(of(Some(false), Some(9), Some(true)), State::Idling);
        assert_eq!(of(Some(false), Some(9), Some(false)), State::Parked);
        assert_eq!(of(None, Some(5), Some(true)), State::Moving);
        assert_eq!(of(None, Some(4), Some(true)), State::Idling);
        assert_eq!(of(None, None, None), State::Parked);
    }

    #[test]
    fn limits_are_still_allowed() {
        let of = |value: f32| {
            Facts {
                temperature: [None, Some(value), None, None],
                temperature_min: Some(2.0),
                temperature_max: Some(8.0),
                ..facts()
            }
            .flags(0)
        };
        assert_eq!(of(8.0), []);
        assert_eq!(of(8.1), [Flag::TooWarm]);
        assert_eq!(of(2.0), []);
        assert_eq!(of(1.9), [Flag::TooCold]);
        let without = Facts {
            temperature: [Some(99.0); 4],
            ..facts()
        };
        assert_eq!(without.flags(0), []);
    }

    #[test]
    fn shaken_lasts_a_day() {
        let shaken = Facts {
            shaken_us: Some(0),
            ..facts()
        };
        let day = 86_400 * S;
        assert_eq!(shaken.flags(day), [Flag::Shaken]);
        assert_eq!(shaken.flags(day + 1), []);
    }

    #[test]
    fn a_faulty_sensor_is_said() {
        let faulty = Facts {
            sensor_fault: 0b1_0000,
            ..facts()
        };
        assert_eq!(faulty.flags(0), [Flag::SensorFault]);
    }
}
