//! The life of one vehicle, box or machine: who it is, and what it does on which day.
//!
//! A pure function of seed, number and day: any day can be made again, in any order, and nothing of it is kept but the counters of a
//! week. Routes belong to the weekday, as rounds and shifts do; what happens besides belongs to the day.

use std::cell::OnceCell;

use super::chance::Chance;
use super::day::{Builder, DAY_MS, Day};
use super::drive::Driving;
use super::fleet::Kind;
use super::map::{Point, Town, centre, towns_within};
use super::way::{Way, place};
use super::{cold, happenings};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Monday, 5 January 2026: counters are small then.
const FIRST_WEEK: i64 = 2923;

/// Freight stays so near to its home.
const REGION_M: f64 = 200_000.0;

/// What drove and ran before each day of a week, and in the whole week.
type Counters = [(f64, u64); 8];

/// One life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(super) kind: Kind,
    pub(super) chance: Chance,
    home: Town,
    /// When its days begin, after midnight UTC.
    shift_ms: u64,
    /// Days from its week's begin to Monday: somebody is always at work.
    week_shift: u64,
    week: OnceCell<Box<Counters>>,
}

impl Life {
    pub(crate) fn new(kind: Kind, seed: u64, number: u64) -> Life {
        let chance = Chance::new(seed).of("life").nth(number);
        // Freight goes day and night, the others by day; each day begins when it rests.
        let around_the_clock = match kind {
            Kind::Truck | Kind::ColdBox => chance.of("night shift").happens(0.7),
            Kind::Van => chance.of("night shift").happens(0.25),
            Kind::Car | Kind::Machine => false,
        };
        let shift_ms = if around_the_clock {
            chance.of("shift").minutes_ms(0.0, 24.0 * 60.0)
        } else {
            3 * HOUR_MS
        };
        Life {
            kind,
            chance,
            home: chance.of("home").below(super::map::N_TOWNS as u64) as Town,
            shift_ms,
            week_shift: if around_the_clock {
                chance.of("rest day").below(7)
            } else {
                0
            },
            week: OnceCell::new(),
        }
    }

    /// The number of the day that has this time.
    pub(super) fn day_of(&self, time_ms: u64) -> u64 {
        time_ms.saturating_sub(self.shift_ms) / DAY_MS
    }

    /// When the day begins.
    pub(super) fn starts_ms(&self, number: u64) -> u64 {
        number * DAY_MS + self.shift_ms
    }

    /// Metres driven and milliseconds with ignition on, in the whole life until this day begins.
    pub(super) fn before(&self, number: u64) -> (f64, u64) {
        let week = self.week.get_or_init(|| {
            let mut week: Box<Counters> = Box::new([(0.0, 0); 8]);
            for weekday in 0..7 {
                let day = self.plan(self.monday(number) + weekday as u64, false);
                let (metres, ms) = week[weekday];
                week[weekday + 1] = (metres + day.odometer_m, ms + day.ignition_ms);
            }
            week
        });
        let weeks = (self.weeks(number) - FIRST_WEEK).max(0) as u64;
        let (week_m, week_ms) = week[7];
        let (metres, ms) = week[self.weekday(number)];
        let worn = self.chance.of("worn");
        (
            worn.between(8e6, 2.4e8).round() + weeks as f64 * week_m + metres,
            worn.of("hours").minutes_ms(60.0 * 200.0, 60.0 * 6000.0) + weeks * week_ms + ms,
        )
    }

    /// Metres driven since Monday, until this day begins.
    pub(super) fn this_week_m(&self, number: u64) -> f64 {
        let (metres, _) = self.before(number);
        let (monday_m, _) = self.before(self.monday(number));
        metres - monday_m
    }

    /// The day with this number.
    pub(super) fn day(&self, number: u64) -> Day {
        self.plan(number, true)
    }

    /// `eventful`: with what happens on this day alone.
    fn plan(&self, number: u64, eventful: bool) -> Day {
        let today = self.chance.of("day").nth(number);
        let routine = self.chance.of("weekday").nth(self.weekday(number) as u64);
        let mut builder = Builder::new(self.starts_ms(number), self.rests_at(number));
        let late_ms = today.of("late").minutes_ms(0.0, 35.0);
        match self.kind {
            Kind::Van => self.round(&mut builder, number, routine, late_ms),
            Kind::Car => self.commute(&mut builder, number, routine, late_ms),
            Kind::Truck | Kind::ColdBox => self.haul(&mut builder, number, routine, late_ms),
            Kind::Machine => self.work(&mut builder, number, routine, late_ms),
        }
        if eventful {
            happenings::today(self, &mut builder, today);
        }
        let mut day = builder.finish();
        if self.kind == Kind::ColdBox && eventful {
            cold::forget_a_door(&mut day, today);
        } else if self.kind != Kind::ColdBox {
            day.openings.clear();
            day.events.retain(|event| event.id != super::day::DOOR);
        }
        day
    }

    /// Where it stands when the day begins, which is where the day before has ended.
    fn rests_at(&self, number: u64) -> Point {
        let town = self.night(self.weekday(number));
        let chance = self.chance.of("yard").nth(town as u64);
        match self.kind {
            Kind::Machine => place(town, chance, 4500.0, 8000.0),
            Kind::Car => place(town, chance, 1200.0, 4500.0),
            Kind::Van => place(town, chance, 800.0, 3500.0),
            Kind::Truck | Kind::ColdBox => place(town, chance, 2000.0, 5000.0),
        }
    }

    /// The town before the day of the week begins.
    fn night(&self, weekday: usize) -> Town {
        if !matches!(self.kind, Kind::Truck | Kind::ColdBox) || !(1..=5).contains(&weekday) {
            return self.home;
        }
        let near = towns_within(self.home, REGION_M);
        let chance = self.chance.of("night").nth(weekday as u64);
        near[chance.below(near.len() as u64) as usize]
    }

    pub(super) fn driving(&self) -> Driving {
        let haste = self.chance.of("haste").between(0.9, 1.1);
        let (top_kmh, speeds_up, slows_down) = match self.kind {
            Kind::Van => (125.0, 1.2, 1.6),
            Kind::Car => (145.0, 1.6, 2.0),
            Kind::Truck | Kind::ColdBox => (86.0, 0.5, 1.0),
            Kind::Machine => (6.0, 0.4, 0.8),
        };
        Driving {
            top_kmh,
            speeds_up,
            slows_down,
            haste,
        }
    }

    /// Drives through the town to a place in it.
    fn in_town(&self, builder: &mut Builder, town: Town, to: Point, chance: Chance) {
        let mut way = Way::from(builder.at());
        way.along_streets(town, to);
        builder.go(&way, self.driving(), chance);
    }

    /// Drives to a place in another town, with the rests that long drives need.
    fn to_town(&self, builder: &mut Builder, from: Town, to: Town, at: Point, chance: Chance) {
        let mut way = Way::from(builder.at());
        way.along_streets(from, centre(from));
        let (mut town, mut metres, mut stage) = (from, 0.0, 0);
        while town != to {
            let next = super::map::next_town(town, to);
            way.along_roads(town, next);
            metres += centre(town).metres_to(centre(next));
            town = next;
            if metres > 230_000.0 && town != to {
                builder.go(&way, self.driving(), chance.nth(stage));
                builder.stand(chance.of("rest").nth(stage).minutes_ms(46.0, 58.0), false);
                builder.stand(MINUTE_MS, true);
                way = Way::from(builder.at());
                (metres, stage) = (0.0, stage + 1);
            }
        }
        way.along_streets(to, at);
        builder.go(&way, self.driving(), chance.nth(stage));
    }

    /// A van's round: from the depot to customers and back.
    fn round(&self, builder: &mut Builder, number: u64, routine: Chance, late_ms: u64) {
        let depot = builder.at();
        builder.hidden = self.chance.of("garage").happens(0.1);
        builder.park_until(routine.of("begin").minutes_ms(150.0, 230.0) + late_ms);
        let works = match self.weekday(number) {
            6 => false,
            5 => routine.of("saturday").happens(0.4),
            _ => true,
        };
        if !works {
            builder.hidden = false;
            return;
        }
        builder.stand(routine.of("warm").minutes_ms(1.0, 4.0), true);
        builder.hidden = false;
        let near = towns_within(self.home, 130_000.0);
        let away = routine.of("away").happens(0.3) && !near.is_empty();
        let town = if away {
            near[routine.of("where").below(near.len() as u64) as usize]
        } else {
            self.home
        };
        let n_stops = if away {
            9
        } else {
            20 + routine.of("stops").below(14)
        };
        for number in 0..n_stops {
            let stop = routine.of("stop").nth(number);
            let customer = place(town, stop, 300.0, 4500.0);
            if away && number == 0 {
                self.to_town(builder, self.home, town, customer, stop);
            } else {
                self.in_town(builder, town, customer, stop);
            }
            let runs_on = stop.of("runs on").happens(0.25);
            builder.stand(stop.of("long").minutes_ms(4.0, 19.0), runs_on);
            if number == n_stops / 2 {
                builder.stand(stop.of("lunch").minutes_ms(25.0, 45.0), false);
            }
            builder.stand(20_000, true);
        }
        if away {
            self.to_town(builder, town, self.home, depot, routine.of("back"));
        } else {
            self.in_town(builder, town, depot, routine.of("back"));
        }
    }

    /// A car's day: to work and home, and what else there is to be done.
    fn commute(&self, builder: &mut Builder, number: u64, routine: Chance, late_ms: u64) {
        let home = builder.at();
        let near = towns_within(self.home, 110_000.0);
        let far = self.chance.of("far").happens(0.35) && !near.is_empty();
        let town = if far {
            near[self.chance.of("work town").below(near.len() as u64) as usize]
        } else {
            self.home
        };
        let errand = |builder: &mut Builder, chance: Chance| {
            builder.stand(30_000, true);
            let shop = place(self.home, chance, 500.0, 3500.0);
            self.in_town(builder, self.home, shop, chance);
            builder.stand(chance.of("long").minutes_ms(12.0, 70.0), false);
            builder.stand(20_000, true);
            self.in_town(builder, self.home, home, chance.of("back"));
        };
        builder.park_until(routine.of("begin").minutes_ms(170.0, 290.0) + late_ms);
        if self.weekday(number) >= 5 {
            if routine.of("weekend").happens(0.6) {
                builder.stand(routine.of("asleep").minutes_ms(60.0, 300.0), false);
                errand(builder, routine);
            }
            return;
        }
        let work = place(town, self.chance.of("work"), 300.0, 4000.0);
        builder.stand(40_000, true);
        if far {
            self.to_town(builder, self.home, town, work, routine);
        } else {
            self.in_town(builder, town, work, routine);
        }
        builder.hidden = self.chance.of("garage").happens(0.2);
        builder.stand(routine.of("work").minutes_ms(430.0, 540.0), false);
        builder.hidden = false;
        builder.stand(30_000, true);
        if far {
            self.to_town(builder, town, self.home, home, routine.of("back"));
        } else {
            self.in_town(builder, town, home, routine.of("back"));
        }
        if routine.of("evening").happens(0.4) {
            builder.stand(routine.of("supper").minutes_ms(30.0, 120.0), false);
            errand(builder, routine.of("errand"));
        }
    }

    /// A day of freight: load here, unload and load there, unload in a third town, and rest.
    fn haul(&self, builder: &mut Builder, number: u64, routine: Chance, late_ms: u64) {
        let weekday = self.weekday(number);
        builder.park_until(routine.of("begin").minutes_ms(30.0, 120.0) + late_ms);
        if weekday == 6 {
            return;
        }
        let near = towns_within(self.home, REGION_M);
        let by = near[routine.of("by").below(near.len() as u64) as usize];
        let towns = [self.night(weekday), by, self.night(weekday + 1)];
        builder.stand(routine.of("warm").minutes_ms(2.0, 6.0), true);
        for (number, town) in (0..).zip(towns) {
            let stop = routine.of("stop").nth(number);
            let dock = place(town, stop, 1500.0, 5500.0);
            match number {
                0 => self.in_town(builder, town, dock, stop),
                _ => self.to_town(builder, towns[number as usize - 1], town, dock, stop),
            }
            if stop.of("queue").happens(0.5) {
                builder.stand(stop.of("waits").minutes_ms(2.0, 16.0), true);
            }
            builder.load(stop.of("long").minutes_ms(30.0, 65.0), stop);
            builder.stand(90_000, true);
        }
        let rest = self.rests_at(number + 1);
        self.in_town(builder, towns[2], rest, routine.of("rest"));
    }

    /// A machine's day on its site.
    fn work(&self, builder: &mut Builder, number: u64, routine: Chance, late_ms: u64) {
        let site = builder.at();
        let works = match self.weekday(number) {
            6 => false,
            5 => routine.of("saturday").happens(0.3),
            _ => true,
        };
        builder.park_until(routine.of("begin").minutes_ms(150.0, 210.0) + late_ms);
        if !works {
            return;
        }
        for (block, long) in [(0, 150.0), (1, 130.0), (2, 160.0)] {
            let chance = routine.of("block").nth(block);
            let end_ms = builder.now_ms + chance.minutes_ms(long - 40.0, long);
            builder.stand(chance.of("warm").minutes_ms(2.0, 6.0), true);
            for number in 0.. {
                if builder.now_ms >= end_ms {
                    break;
                }
                let move_ = chance.of("move").nth(number);
                let mut way = Way::from(builder.at());
                let (east_m, north_m) = (
                    move_.of("east").between(-45.0, 45.0),
                    move_.of("north").between(-45.0, 45.0),
                );
                way.straight_to(site.moved(east_m, north_m), 6.0);
                builder.go(&way, self.driving(), move_);
                builder.stand(move_.of("digs").minutes_ms(1.5, 9.0), true);
            }
            builder.stand(chance.of("pause").minutes_ms(18.0, 45.0), false);
        }
        let mut way = Way::from(builder.at());
        way.straight_to(site, 6.0);
        builder.stand(60_000, true);
        builder.go(&way, self.driving(), routine);
    }

    /// The town it belongs to.
    pub(super) fn home(&self) -> Town {
        self.home
    }

    /// Until when nothing comes through, if nothing comes through at this time.
    pub(super) fn away_until(&self, time_ms: u64) -> Option<u64> {
        let within = |start_ms: u64, long_ms: u64| {
            (start_ms..start_ms + long_ms)
                .contains(&time_ms)
                .then_some(start_ms + long_ms)
        };
        let number = self.day_of(time_ms);
        let today = self.chance.of("away").nth(number);
        let long = today.happens(0.06).then(|| {
            let start_ms = self.starts_ms(number) + today.of("when").minutes_ms(60.0, 1200.0);
            within(start_ms, today.of("long").minutes_ms(25.0, 150.0))
        });
        // Some have a bad antenna.
        let slot_ms = 47 * MINUTE_MS;
        let slot = time_ms / slot_ms;
        let now = self.chance.of("gap").nth(slot);
        let short = (self.chance.of("flaky").happens(0.08) && now.happens(0.6)).then(|| {
            let start_ms = slot * slot_ms + now.of("when").minutes_ms(0.0, 36.0);
            within(start_ms, now.of("long").minutes_ms(4.0, 9.0))
        });
        long.flatten().or(short.flatten())
    }

    /// Weeks since its first one.
    fn weeks(&self, number: u64) -> i64 {
        ((number + 3 + self.week_shift) / 7).cast_signed()
    }

    /// The day of its week; 0 is the first day of work, 6 that of rest.
    fn weekday(&self, number: u64) -> usize {
        ((number + 3 + self.week_shift) % 7) as usize
    }

    /// The first day of the week that has this day.
    fn monday(&self, number: u64) -> u64 {
        number - self.weekday(number) as u64
    }
}
