//! How warm it is: outside, and in a box whose doors open and whose cooling machine runs in cycles and fails now and then.
//!
//! A box warms or cools towards an aim, the faster the farther it is from it.

use super::chance::{Chance, wander};
use super::day::{DAY_MS, DOOR, DOOR_OPEN, Day, Event};
use super::life::Life;
use super::map::Point;

/// Degrees Celsius outside, by season, hour and weather.
pub(super) fn outside(at: Point, time_ms: u64) -> f64 {
    let days = time_ms as f64 / DAY_MS as f64;
    let turn = |part: f64| (part * std::f64::consts::TAU).cos();
    // Coldest on 20 January and half past three in the night.
    let season = -9.5 * turn((days - 20.0) / 365.2425);
    let hour = -4.2 * turn(days.fract() - 0.15);
    let weather = wander(Chance::new(20), time_ms, DAY_MS) * 9.0 - 4.5;
    10.0 - 0.6 * (at.latitude_deg - 50.0) + season + hour + weather
}

/// The machine keeps the box within so much of what is set,
const CYCLE_C: f64 = 0.8;
/// and needs about so long from start to start.
const CYCLE_MS: f64 = 19.0 * 60_000.0;
/// Seconds in which the difference to the aim falls to a third: cooled, with open doors, left alone.
const COOLED_S: f64 = 17.0 * 60.0;
const OPEN_S: f64 = 50.0 * 60.0;
const ALONE_S: f64 = 6.5 * 3600.0;

/// A box on one day.
#[derive(Clone, Debug)]
pub(super) struct Box_ {
    set_c: f64,
    phase_ms: u64,
    /// When what began, how warm it was, what it aims for, how fast.
    spans: Vec<Span>,
    broken_probe: Option<(u64, u64, u16)>,
    noise: Chance,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start_ms: u64,
    from_c: f64,
    aim_c: f64,
    seconds: f64,
}

impl Span {
    fn at(&self, time_ms: u64) -> f64 {
        let seconds = time_ms.saturating_sub(self.start_ms) as f64 / 1000.0;
        self.aim_c + (self.from_c - self.aim_c) * (-seconds / self.seconds).exp()
    }
}

/// What its probes say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Readings {
    /// Front and rear of the box in tenths of a degree, or an error code of the probe.
    pub(super) probes: [i16; 2],
    /// Tenths of a percent.
    pub(super) humidity: u16,
}

/// What a broken wired probe says: not connected.
const NOT_CONNECTED: u16 = 3000;
/// Not ready.
const NOT_READY: u16 = 850;

impl Box_ {
    pub(super) fn new(life: &Life, day: &Day, number: u64) -> Box_ {
        let chance = life.chance.of("box");
        let set_c = [-21.0, 4.0, 2.5, 5.0][chance.of("set").below(4) as usize];
        let today = chance.nth(number);
        let fails = today.of("fails").happens(0.08).then(|| {
            let start_ms = day.start_ms + today.of("when").minutes_ms(120.0, 900.0);
            (
                start_ms,
                start_ms + today.of("long").minutes_ms(50.0, 220.0),
            )
        });
        let probe = chance.of("probe").happens(0.2);
        let broken_probe = (probe && today.of("probe").happens(0.5)).then(|| {
            let start_ms = day.start_ms + today.of("probe when").minutes_ms(30.0, 1000.0);
            let end_ms = start_ms + today.of("probe long").minutes_ms(15.0, 240.0);
            let not_ready = today.of("code").happens(0.3);
            (
                start_ms,
                end_ms,
                if not_ready { NOT_READY } else { NOT_CONNECTED },
            )
        });
        Box_ {
            set_c,
            phase_ms: chance.of("phase").below(CYCLE_MS as u64),
            spans: spans(day, set_c, fails),
            broken_probe,
            noise: today.of("noise"),
        }
    }

    pub(super) fn readings(&self, time_ms: u64) -> Readings {
        let place = self
            .spans
            .partition_point(|span| span.start_ms <= time_ms)
            .saturating_sub(1);
        let span = &self.spans[place];
        let air_c = span.at(time_ms);
        let cooled = (span.aim_c - self.set_c).abs() < 0.01;
        let cycle = ((time_ms + self.phase_ms) as f64 / CYCLE_MS).fract();
        // Down while the machine runs, up again more slowly.
        let swing = if cycle < 0.35 {
            1.0 - cycle / 0.175
        } else {
            (cycle - 0.675) / 0.325
        };
        let swing_c = if cooled && (air_c - self.set_c).abs() < 3.0 {
            swing * CYCLE_C
        } else {
            0.0
        };
        let noise = |which: u64| {
            self.noise
                .nth(time_ms / 1000)
                .nth(which)
                .between(-0.08, 0.08)
        };
        let front_c = air_c + swing_c + noise(0);
        // The rear is at the doors.
        let rear_c = self.set_c + (air_c - self.set_c) * 1.3 + swing_c * 0.6 + 0.4 + noise(1);
        let tenths = |degrees: f64| (degrees * 10.0).round() as i16;
        let mut probes = [tenths(front_c), tenths(rear_c)];
        if let Some((start_ms, end_ms, code)) = self.broken_probe
            && (start_ms..end_ms).contains(&time_ms)
        {
            probes[1] = code.cast_signed();
        }
        let damp = 62.0 + 2.2 * (air_c - self.set_c).min(12.0) + 4.0 * swing + noise(2) * 10.0;
        Readings {
            probes,
            humidity: (damp.clamp(5.0, 99.0) * 10.0) as u16,
        }
    }
}

/// The day's spans: one begins whenever doors open or close, the machine fails or is mended.
fn spans(day: &Day, set_c: f64, fails: Option<(u64, u64)>) -> Vec<Span> {
    let mut times = vec![day.start_ms];
    times.extend(
        day.openings
            .iter()
            .flat_map(|(open, close)| [*open, *close]),
    );
    times.extend(fails.iter().flat_map(|(start, end)| [*start, *end]));
    times.sort_unstable();
    let mut spans: Vec<Span> = Vec::with_capacity(times.len());
    for start_ms in times {
        let from_c = spans.last().map_or(set_c, |last| last.at(start_ms));
        let is_on = |times: &(u64, u64)| (times.0..times.1).contains(&start_ms);
        let state = day.at(start_ms);
        let (aim_c, seconds) = if day.openings.iter().any(is_on) {
            (outside(state.at, start_ms), OPEN_S)
        } else if fails.as_ref().is_some_and(is_on) {
            (outside(state.at, start_ms) + 2.0, ALONE_S)
        } else {
            (set_c, COOLED_S)
        };
        spans.push(Span {
            start_ms,
            from_c,
            aim_c,
            seconds,
        });
    }
    spans
}

/// Now and then nobody closes a door for a long time.
pub(super) fn forget_a_door(day: &mut Day, today: Chance) {
    if !today.of("forgotten").happens(0.05) || day.openings.is_empty() {
        return;
    }
    let place = today.of("which").below(day.openings.len() as u64) as usize;
    let (open_ms, close_ms) = day.openings[place];
    let until_ms = day
        .openings
        .get(place + 1)
        .map_or(day.end_ms - 1000, |next| next.0 - 1000)
        .min(close_ms + today.of("long").minutes_ms(20.0, 60.0));
    let told = |ms: u64| ms.next_multiple_of(1000);
    if until_ms <= close_ms {
        return;
    }
    day.openings[place] = (open_ms, until_ms);
    for event in &mut day.events {
        if event.id == DOOR && event.value != DOOR_OPEN && event.at_ms == told(close_ms) {
            *event = Event {
                at_ms: told(until_ms),
                ..*event
            };
        }
    }
}
