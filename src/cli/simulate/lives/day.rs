//! One day of a life: standing and driving, one after the other, and what happens besides.
//!
//! Knows no records. Invariants: pieces follow each other without a gap from the day's begin to its end; a day ends where the next
//! begins; what is driven and how long the ignition is on depend on the weekday alone, so that counters can go on over weeks.

use super::chance::Chance;
use super::drive::{Driving, Leg, drive};
use super::map::Point;
use super::way::Way;

/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A time of standing, or one leg of a drive.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) start_ms: u64,
    pub(super) at: Point,
    pub(super) bearing_deg: f64,
    pub(super) ignition: bool,
    pub(super) leg: Option<Leg>,
    /// No satellite is seen: a tunnel or a garage.
    pub(super) hidden: bool,
    /// It is moved by others.
    pub(super) towed: bool,
    /// Driven since the day's begin, until the piece begins.
    odometer_m: f64,
    /// Ignition on since the day's begin, until the piece begins.
    ignition_ms: u64,
}

/// Something that makes a record of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) at_ms: u64,
    /// The AVL id that tells it,
    pub(super) id: u16,
    /// with this value,
    pub(super) value: u64,
    /// and a second element, if it needs one.
    pub(super) also: Option<(u16, u64)>,
}

/// A day.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) pieces: Vec<Piece>,
    /// In no order.
    pub(super) events: Vec<Event>,
    /// From when to when the doors of a box are open.
    pub(super) openings: Vec<(u64, u64)>,
    /// From when to when the supply is cut.
    pub(super) unplugged: Option<(u64, u64)>,
    pub(super) odometer_m: f64,
    pub(super) ignition_ms: u64,
}

/// How it is at one time of a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// Where it is, or where it was last seen.
    pub(super) at: Point,
    pub(super) fix: bool,
    pub(super) speed_kmh: f64,
    pub(super) bearing_deg: f64,
    pub(super) ignition: bool,
    pub(super) moving: bool,
    /// Driven since the day's begin.
    pub(super) odometer_m: f64,
    /// Ignition on since the day's begin.
    pub(super) ignition_ms: u64,
    /// How long the ignition is as it is, counted from the day's begin at most.
    pub(super) since_ms: u64,
    pub(super) unplugged: bool,
    pub(super) door_open: bool,
}

/// Puts a day together.
#[derive(Debug)]
pub(super) struct Builder {
    day: Day,
    pub(super) now_ms: u64,
    at: Point,
    bearing_deg: f64,
    /// What follows is under a roof.
    pub(super) hidden: bool,
    towed: bool,
}

impl Builder {
    pub(super) fn new(start_ms: u64, at: Point) -> Builder {
        Builder {
            day: Day {
                start_ms,
                end_ms: start_ms + DAY_MS,
                pieces: Vec::new(),
                events: Vec::new(),
                openings: Vec::new(),
                unplugged: None,
                odometer_m: 0.0,
                ignition_ms: 0,
            },
            now_ms: start_ms,
            at,
            bearing_deg: 0.0,
            hidden: false,
            towed: false,
        }
    }

    pub(super) fn at(&self) -> Point {
        self.at
    }

    fn push(&mut self, ms: u64, ignition: bool, leg: Option<Leg>) {
        let day = &mut self.day;
        // A whole day is enough for everything that is planned in it; what is too much is cut off.
        let ms = ms.min(day.end_ms.saturating_sub(self.now_ms));
        if ms == 0 {
            return;
        }
        day.pieces.push(Piece {
            start_ms: self.now_ms,
            at: self.at,
            bearing_deg: self.bearing_deg,
            ignition,
            leg,
            hidden: self.hidden || leg.is_some_and(|leg| leg.tunnel),
            towed: self.towed,
            odometer_m: day.odometer_m,
            ignition_ms: day.ignition_ms,
        });
        if ignition {
            day.ignition_ms += ms;
        }
        self.now_ms += ms;
    }

    pub(super) fn stand(&mut self, ms: u64, ignition: bool) {
        self.push(ms, ignition, None);
    }

    /// Stands with the ignition off until that time after the day's begin.
    pub(super) fn park_until(&mut self, after_ms: u64) {
        self.stand(
            (self.day.start_ms + after_ms).saturating_sub(self.now_ms),
            false,
        );
    }

    /// Stands with the doors open for some of the time.
    pub(super) fn load(&mut self, ms: u64, chance: Chance) {
        let mut open_ms = self.now_ms + chance.of("first").minutes_ms(1.0, 5.0);
        let end_ms = self.now_ms + ms;
        for number in 0.. {
            let long = chance.of("open").nth(number).minutes_ms(2.0, 14.0);
            let close_ms = (open_ms + long).min(end_ms.saturating_sub(20_000));
            if close_ms <= open_ms {
                break;
            }
            self.day.openings.push((open_ms, close_ms));
            open_ms = close_ms + chance.of("shut").nth(number).minutes_ms(3.0, 15.0);
        }
        self.stand(ms, false);
    }

    pub(super) fn go(&mut self, way: &Way, driving: Driving, chance: Chance) {
        for leg in drive(way, driving, chance) {
            self.bearing_deg = leg.bearing_deg;
            self.push(
                (leg.seconds() * 1000.0).round() as u64,
                !self.towed,
                Some(leg),
            );
            self.at = leg.to;
            if !self.towed {
                self.day.odometer_m += leg.metres;
            }
            if leg.waits_s > 0.0 && !self.towed {
                self.stand((leg.waits_s * 1000.0) as u64, true);
            }
        }
    }

    /// Goes without its own engine.
    pub(super) fn is_towed(&mut self, way: &Way, driving: Driving, chance: Chance) {
        self.event(self.now_ms, 246, 1, None);
        self.towed = true;
        self.go(way, driving, chance);
        self.towed = false;
        self.event(self.now_ms, 246, 0, None);
    }

    pub(super) fn event(&mut self, at_ms: u64, id: u16, value: u64, also: Option<(u16, u64)>) {
        if at_ms < self.day.end_ms {
            // Devices record in whole seconds.
            let at_ms = at_ms.next_multiple_of(1000);
            self.day.events.push(Event {
                at_ms,
                id,
                value,
                also,
            });
        }
    }

    /// The supply is cut from here on for a while.
    pub(super) fn unplug(&mut self, at_ms: u64, ms: u64) {
        let end_ms = (at_ms + ms).min(self.day.end_ms - 1000);
        self.day.unplugged = Some((at_ms, end_ms));
        self.event(at_ms, 252, 1, None);
        self.event(end_ms, 252, 0, None);
    }

    /// The pieces that there are.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.day.pieces
    }

    /// Stands until the day is over.
    pub(super) fn finish(mut self) -> Day {
        self.park_until(DAY_MS);
        self.tell_ignition();
        self.tell_doors();
        self.day
    }

    /// Ignition on and off, begins and ends of trips.
    fn tell_ignition(&mut self) {
        let mut told = Vec::new();
        let mut driving = false;
        let mut last = false;
        for piece in &self.day.pieces {
            if piece.ignition != last {
                if !piece.ignition && driving {
                    told.push((piece.start_ms, 250, 0));
                    driving = false;
                }
                told.push((piece.start_ms, 239, piece.ignition.into()));
                last = piece.ignition;
            }
            if piece.ignition && piece.leg.is_some() && !driving {
                told.push((piece.start_ms, 250, 1));
                driving = true;
            }
        }
        for (at_ms, id, value) in told {
            self.event(at_ms, id, value, None);
        }
    }

    fn tell_doors(&mut self) {
        for (open_ms, close_ms) in self.day.openings.clone() {
            self.event(open_ms, DOOR, DOOR_OPEN, None);
            self.event(close_ms, DOOR, 0, None);
        }
    }
}

/// The element of a vehicle's doors, and what it says when the box is open.
pub(super) const DOOR: u16 = 90;
pub(super) const DOOR_OPEN: u64 = 0x2000;

impl Day {
    fn piece_at(&self, time_ms: u64) -> usize {
        self.pieces
            .partition_point(|piece| piece.start_ms <= time_ms)
            .saturating_sub(1)
    }

    /// When the piece ends.
    pub(super) fn end_of(&self, place: usize) -> u64 {
        self.pieces
            .get(place + 1)
            .map_or(self.end_ms, |next| next.start_ms)
    }

    /// How it is at a time of this day.
    pub(super) fn at(&self, time_ms: u64) -> State {
        let place = self.piece_at(time_ms);
        let piece = &self.pieces[place];
        let within_ms = time_ms.saturating_sub(piece.start_ms);
        let (metres, speed) = piece
            .leg
            .map_or((0.0, 0.0), |leg| leg.after(within_ms as f64 / 1000.0));
        let is_on = |times: &(u64, u64)| (times.0..times.1).contains(&time_ms);
        let since_ms = self.pieces[..=place]
            .iter()
            .rev()
            .take_while(|one| one.ignition == piece.ignition)
            .last()
            .map_or(0, |first| time_ms.saturating_sub(first.start_ms));
        let mut state = State {
            at: piece.leg.map_or(piece.at, |leg| leg.point_after(metres)),
            fix: !piece.hidden,
            speed_kmh: speed * 3.6,
            bearing_deg: piece.bearing_deg,
            ignition: piece.ignition,
            moving: piece.leg.is_some(),
            odometer_m: piece.odometer_m + if piece.towed { 0.0 } else { metres },
            ignition_ms: piece.ignition_ms + if piece.ignition { within_ms } else { 0 },
            since_ms,
            unplugged: self.unplugged.as_ref().is_some_and(is_on),
            door_open: self.openings.iter().any(is_on),
        };
        if piece.hidden {
            // Where it went in.
            let entry = self.pieces[..=place]
                .iter()
                .rev()
                .take_while(|one| one.hidden)
                .last()
                .unwrap_or(piece);
            state.at = entry.at;
            state.speed_kmh = 0.0;
            state.bearing_deg = entry.bearing_deg;
        }
        state
    }
}
