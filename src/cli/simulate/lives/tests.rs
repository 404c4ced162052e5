//! What lives promise: no jumps, counters that fit the way, packets that can be made again.

use super::day::DAY_MS;
use super::*;
use crate::protocol::teltonika::IoValue;
use crate::store::dictionary::MEANINGS;

/// Tuesday, 10 November 2026, a little after midnight.
const DAY: u64 = 20_767;
const KINDS: [Kind; 5] = [
    Kind::Van,
    Kind::Car,
    Kind::Truck,
    Kind::ColdBox,
    Kind::Machine,
];

fn telling(codec: Codec) -> Telling {
    Telling {
        codec,
        rhythm: Rhythm {
            moving_ms: 15_000,
            parked_ms: 300_000,
        },
        n_records_max: 25,
    }
}

fn lives() -> impl Iterator<Item = Life> {
    KINDS
        .into_iter()
        .flat_map(|kind| (0..6).map(move |number| Life::new(kind, 1, number)))
}

/// All that a life tells of a time, packet by packet, as it does while time goes by.
fn told(life: &Life, from_ms: u64, until_ms: u64, step_ms: u64) -> Vec<Flight> {
    let mut teller = Teller::new(telling(Codec::Codec8Extended));
    let mut course = Course::new(life, from_ms, from_ms);
    let mut flights = Vec::new();
    for now_ms in (from_ms..=until_ms).step_by(step_ms as usize) {
        while let Step::Send(flight) = course.step(&mut teller, life, now_ms) {
            flights.push(flight);
        }
    }
    flights
}

#[test]
fn a_week_has_no_jump_in_place_and_counters_never_fall() {
    for life in lives() {
        let mut last: Option<(f64, u64, super::map::Point)> = None;
        for number in DAY..DAY + 9 {
            let day = life.day(number);
            let (odometer_m, ignition_ms) = life.before(number);
            for time_ms in (day.start_ms..day.end_ms).step_by(7000) {
                let state = day.at(time_ms);
                let odometer_m = odometer_m + state.odometer_m;
                let ignition_ms = ignition_ms + state.ignition_ms;
                if let Some((last_m, last_ms, last_at)) = last {
                    let driven_m = odometer_m - last_m;
                    assert!(
                        (-0.01..290.0).contains(&driven_m),
                        "{:?} {number} {driven_m}",
                        life.kind
                    );
                    assert!(ignition_ms >= last_ms && ignition_ms - last_ms <= 7000);
                    let moved_m = last_at.metres_to(state.at);
                    // Out of a tunnel or garage it may be farther.
                    assert!(moved_m < 3500.0, "{:?} {number} {moved_m}", life.kind);
                }
                last = Some((odometer_m, ignition_ms, state.at));
            }
        }
    }
}

#[test]
fn no_day_is_too_short_for_what_is_done_in_it() {
    for kind in KINDS {
        for life in (0..60).map(|number| Life::new(kind, 2, number)) {
            for number in DAY..DAY + 7 {
                let day = life.day(number);
                let last = day.pieces.last().unwrap();
                let rest_ms = day.end_ms - last.start_ms;
                assert!(
                    last.leg.is_none() && rest_ms > 600_000,
                    "{kind:?} {number} {rest_ms}"
                );
            }
        }
    }
}

#[test]
fn every_kind_drives_stands_and_turns_its_ignition_on_and_off() {
    for kind in KINDS {
        let (mut moving, mut idling, mut parked, mut metres) = (0, 0, 0, 0.0);
        for life in (0..6).map(|number| Life::new(kind, 1, number)) {
            let day = life.day(DAY);
            metres += day.odometer_m;
            for time_ms in (day.start_ms..day.end_ms).step_by(60_000) {
                let state = day.at(time_ms);
                match (state.moving, state.ignition) {
                    (true, _) => moving += 1,
                    (false, true) => idling += 1,
                    (false, false) => parked += 1,
                }
            }
        }
        assert!(
            moving > 10 && idling > 3 && parked > 1000,
            "{kind:?} {moving} {idling} {parked}"
        );
        let kilometres = metres / 6000.0;
        let expected = match kind {
            Kind::Machine => 0.05..5.0,
            Kind::Car => 4.0..250.0,
            Kind::Van => 15.0..400.0,
            Kind::Truck | Kind::ColdBox => 100.0..800.0,
        };
        assert!(expected.contains(&kilometres), "{kind:?} {kilometres} km");
    }
}

#[test]
fn a_packet_can_be_made_again_and_is_right_in_every_codec() {
    for codec in [Codec::Codec8, Codec::Codec8Extended, Codec::Codec16] {
        for life in lives() {
            let mut teller = Teller::new(telling(codec));
            let begin_ms = DAY * DAY_MS + 9 * 3_600_000;
            let (flight, next_ms) = teller.choose(&life, begin_ms, begin_ms + 40_000_000, false);
            let flight = flight.unwrap();
            assert!(flight.first_ms > begin_ms && next_ms > flight.last_ms);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            teller.write(&life, flight, &mut one);
            Teller::new(telling(codec)).write(&life, flight, &mut other);
            assert_eq!(one, other);
            let keys = keys(&one);
            assert_eq!(keys.len(), usize::from(flight.n_records));
            assert!(keys.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let newest = Flight {
                newest: true,
                ..flight
            };
            teller.write(&life, newest, &mut other);
            assert!(
                super::keys(&other)
                    .windows(2)
                    .all(|pair| pair[0].0 > pair[1].0)
            );
        }
    }
}

#[test]
fn every_moment_is_told_once_also_after_a_time_without_network() {
    for life in lives() {
        let from_ms = DAY * DAY_MS;
        let until_ms = from_ms + 3 * DAY_MS;
        let mut times: Vec<(u64, u64)> = told(&life, from_ms, until_ms, 60_000)
            .iter()
            .map(|flight| (flight.first_ms, flight.last_ms))
            .collect();
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let mut recorded = 0;
        let mut inside = 0;
        for number in life.day_of(from_ms)..=life.day_of(until_ms) {
            for (time_ms, _) in dues(telling(Codec::Codec8).rhythm, &life, &life.day(number)) {
                if (from_ms + 1..until_ms - 3 * 3_600_000).contains(&time_ms) {
                    recorded += 1;
                    let place = times.partition_point(|(_, last_ms)| *last_ms < time_ms);
                    inside += usize::from(
                        times
                            .get(place)
                            .is_some_and(|(first_ms, _)| *first_ms <= time_ms),
                    );
                }
            }
        }
        assert!(recorded > 500, "{recorded}");
        assert_eq!(inside, recorded, "{:?}", life.kind);
    }
}

#[test]
fn what_is_owed_after_a_time_without_network_comes_newest_first() {
    let life = lives()
        .find(|life| {
            told(life, DAY * DAY_MS, (DAY + 3) * DAY_MS, 60_000)
                .iter()
                .any(|one| one.newest)
        })
        .expect("some have no network for a while");
    let flights = told(&life, DAY * DAY_MS, (DAY + 3) * DAY_MS, 60_000);
    let owed: Vec<&Flight> = flights.iter().filter(|flight| flight.newest).collect();
    assert!(!owed.is_empty());
    let backwards = owed
        .windows(2)
        .filter(|pair| pair[1].last_ms < pair[0].first_ms)
        .count();
    assert!(owed.len() < 2 || backwards > 0);
}

#[test]
fn the_models_dictionary_has_every_element_in_its_width() {
    for life in lives() {
        let mut teller = Teller::new(telling(Codec::Codec8Extended));
        let mut packet = Vec::new();
        let begin_ms = DAY * DAY_MS;
        let (flight, _) = teller.choose(&life, begin_ms + DAY_MS / 2, begin_ms + DAY_MS, false);
        teller.write(&life, flight.unwrap(), &mut packet);
        let Ok(Checked::Avl(packet)) = check(&packet) else {
            panic!("{:?}", check(&packet));
        };
        for record in packet.records() {
            for element in record.io.elements() {
                let IoValue::Fixed { width, .. } = element.value else {
                    panic!("{:?} {}", life.kind, element.id);
                };
                let model = life.kind.model();
                let known = MEANINGS.iter().any(|meaning| {
                    meaning.id == element.id
                        && meaning.holds_for(model)
                        && meaning.width == Some(width.into())
                });
                assert!(known, "{model} {} in {width} bytes", element.id);
            }
        }
    }
}

#[test]
fn a_box_stays_cold_warms_by_its_door_and_says_when_a_probe_is_broken() {
    let (mut near, mut far, mut broken) = (0, 0, 0);
    for number in 0..40 {
        let life = Life::new(Kind::ColdBox, 1, number);
        let day = life.day(DAY);
        let cold = Box_::new(&life, &day, DAY);
        let at_night = cold.readings(day.start_ms + 60_000).probes[0];
        for time_ms in (day.start_ms..day.end_ms).step_by(60_000) {
            let [front, rear] = cold.readings(time_ms).probes;
            if (front - at_night).abs() <= 25 {
                near += 1;
            } else {
                far += 1;
            }
            broken += usize::from(matches!(rear, 850 | 3000));
        }
    }
    assert!(near > 10 * far, "{near} {far}");
    assert!(far > 100 && broken > 20, "{far} {broken}");
}
