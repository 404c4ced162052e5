//! Believable lives: vehicles, boxes and machines that go about their days, and the packets in which their devices tell of it.
//!
//! `map.rs` and `way.rs` are the country, `drive.rs` how one goes through it, `day.rs` and `life.rs` what is done when, `happenings.rs`
//! and `cold.rs` what else there is, `record.rs` what a device says of it, `fleet.rs` who there is. Invariant: everything is a function of
//! seed, number and time, so that a packet can be made again byte for byte and a device costs a few hundred bytes of memory.

mod chance;
mod cold;
mod course;
mod day;
mod drive;
pub(super) mod fleet;
mod happenings;
mod life;
mod map;
mod record;
mod way;

use crate::protocol::teltonika::encode::{self, RecordSpec};
use crate::protocol::teltonika::{Checked, Codec, check};

use chance::Chance;
use cold::Box_;
pub(super) use course::{Course, Flight, Step};
use day::{Day, Event};
use fleet::Kind;
pub(super) use life::Life;
use record::{Before, Moment};

/// How often devices record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// While the ignition is on, or somebody moves the thing.
    pub(super) moving_ms: u64,
    /// While it stands.
    pub(super) parked_ms: u64,
}

/// How lives are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) codec: Codec,
    pub(super) rhythm: Rhythm,
    /// Records in a packet at most.
    pub(super) n_records_max: usize,
}

/// A moment that is recorded, and the event that made it so.
type Due = (u64, Option<Event>);

/// One day with everything that its records need.
#[derive(Debug)]
struct Today {
    /// The source of chance tells lives apart.
    life: Chance,
    number: u64,
    day: Day,
    /// Ascending; no two are the same.
    dues: Vec<Due>,
    before: Before,
    cold: Option<Box_>,
}

/// Makes the packets of lives, for one thread.
#[derive(Debug)]
pub(super) struct Teller {
    telling: Telling,
    /// The day asked for last: a packet is chosen, sent and remembered one right after the other.
    today: Option<Today>,
}

impl Teller {
    pub(super) fn new(telling: Telling) -> Teller {
        Teller {
            telling,
            today: None,
        }
    }

    fn today(&mut self, life: &Life, number: u64) -> &Today {
        let is_it = |today: &Today| today.life == life.chance && today.number == number;
        match self.today.take().filter(is_it) {
            Some(today) => self.today.insert(today),
            None => {
                let day = life.day(number);
                let (odometer_m, ignition_ms) = life.before(number);
                self.today.insert(Today {
                    life: life.chance,
                    number,
                    dues: dues(self.telling.rhythm, life, &day),
                    before: Before {
                        odometer_m,
                        ignition_ms,
                        this_week_m: life.this_week_m(number),
                    },
                    cold: (life.kind == Kind::ColdBox).then(|| Box_::new(life, &day, number)),
                    day,
                })
            }
        }
    }

    /// The first moments after `after_ms` that are recorded until `until_ms`, or the last of them if `newest`; a packet's worth at
    /// most, of one day. And when the next moment after them is, or the next day.
    pub(super) fn choose(
        &mut self,
        life: &Life,
        after_ms: u64,
        until_ms: u64,
        newest: bool,
    ) -> (Option<Flight>, u64) {
        let n_records_max = self.telling.n_records_max;
        let number = life.day_of(if newest { until_ms } else { after_ms + 1 });
        let Today { day, dues, .. } = self.today(life, number);
        let from = dues.partition_point(|(time_ms, _)| *time_ms <= after_ms);
        let to = dues.partition_point(|(time_ms, _)| *time_ms <= until_ms);
        let (from, to) = if newest {
            (from.max(to.saturating_sub(n_records_max)), to)
        } else {
            (from, to.min(from + n_records_max))
        };
        let next_ms = dues.get(to).map_or(day.end_ms, |(time_ms, _)| *time_ms);
        let flight = (from < to).then(|| Flight {
            first_ms: dues[from].0,
            last_ms: dues[to - 1].0,
            n_records: (to - from) as u8,
            newest,
        });
        (flight, next_ms)
    }

    /// Lets go of the day asked for last.
    pub(super) fn forget(&mut self) {
        self.today = None;
    }

    /// Makes `packet` the one of this flight.
    pub(super) fn write(&mut self, life: &Life, flight: Flight, packet: &mut Vec<u8>) {
        let codec = self.telling.codec;
        let today = self.today(life, life.day_of(flight.first_ms));
        let mut records: Vec<RecordSpec> = today
            .dues
            .iter()
            .filter(|(time_ms, _)| (flight.first_ms..=flight.last_ms).contains(time_ms))
            .map(|(time_ms, event)| {
                let moment = Moment {
                    time_ms: *time_ms,
                    state: today.day.at(*time_ms),
                    event: *event,
                };
                record::record(life, today.before, today.cold.as_ref(), &moment, codec)
            })
            .collect();
        if flight.newest {
            records.reverse();
        }
        packet.clear();
        packet.extend(
            encode::packet(codec, &records).expect("records are made as the codec has them"),
        );
    }
}

/// The moments that are recorded on a day, ascending; no two are the same.
fn dues(rhythm: Rhythm, life: &Life, day: &Day) -> Vec<Due> {
    let mut dues: Vec<Due> = day
        .events
        .iter()
        .map(|event| (event.at_ms, Some(*event)))
        .collect();
    // Devices do not tick together.
    let phase = life.chance.of("tick");
    for (place, piece) in day.pieces.iter().enumerate() {
        let awake = piece.ignition || piece.towed;
        let step_ms = if awake {
            rhythm.moving_ms
        } else {
            rhythm.parked_ms
        };
        let phase_ms = phase.below((step_ms / 1000).max(1)) * 1000;
        let mut time_ms = (piece.start_ms + phase_ms).next_multiple_of(step_ms) - phase_ms;
        while time_ms < day.end_of(place) {
            dues.push((time_ms, None));
            time_ms += step_ms;
        }
        // Corners are recorded too.
        let before = place.checked_sub(1).map(|before| &day.pieces[before]);
        if let (Some(leg), Some(before)) = (&piece.leg, before)
            && before.leg.is_some()
            && !piece.hidden
            && !before.hidden
        {
            let turn = (leg.bearing_deg - before.bearing_deg + 540.0).rem_euclid(360.0) - 180.0;
            if turn.abs() > 20.0 {
                dues.push((piece.start_ms.next_multiple_of(1000), None));
            }
        }
    }
    dues.retain(|(time_ms, _)| (day.start_ms..day.end_ms).contains(time_ms));
    // An event's record stands for the others of its second; two events have a record each.
    dues.sort_by_key(|(time_ms, event)| (*time_ms, event.is_none()));
    let mut kept: Vec<Due> = Vec::with_capacity(dues.len());
    for (time_ms, event) in dues {
        let last_ms = kept.last().map_or(0, |(last_ms, _)| *last_ms);
        if time_ms > last_ms {
            kept.push((time_ms, event));
        } else if event.is_some() {
            kept.push((last_ms + 1, event));
        }
    }
    kept
}

/// Time and digest of each record of a packet, as the table has them.
pub(super) fn keys(packet: &[u8]) -> Vec<(u64, i64)> {
    match check(packet) {
        Ok(Checked::Avl(packet)) => packet
            .records()
            .map(|record| (record.time_ms, record.digest().cast_signed()))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
