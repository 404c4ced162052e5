//! What happens on one day and not on the next: harsh driving, a shock, a machine towed away, a cable pulled out.

use super::chance::Chance;
use super::day::Builder;
use super::drive::Driving;
use super::fleet::Kind;
use super::life::Life;
use super::way::{Way, place};

const HOUR_MS: u64 = 60 * 60 * 1000;
/// Behind a truck, or on one.
const TOWED: Driving = Driving {
    top_kmh: 45.0,
    speeds_up: 0.6,
    slows_down: 1.0,
    haste: 1.0,
};

/// Adds what happens today to a day of which only the night is missing.
pub(super) fn today(life: &Life, builder: &mut Builder, today: Chance) {
    drives_harshly(life, builder, today.of("harsh"));
    if life.kind == Kind::Machine {
        if today.of("towed").happens(0.05) {
            is_towed(life, builder, today.of("towed"));
        }
        if today.of("shaken").happens(0.1) {
            let at_ms = builder.now_ms + today.of("shaken when").minutes_ms(20.0, 300.0);
            builder.event(at_ms, CRASH, 1, None);
            builder.event(at_ms + 4000, CRASH, 1, None);
        }
    } else if today.of("crash").happens(0.008) {
        let at_ms = builder.now_ms + today.of("crash when").minutes_ms(5.0, 200.0);
        builder.event(at_ms, CRASH, 1, None);
    }
    if today.of("unplug").happens(0.03) {
        let at_ms = builder.now_ms + today.of("unplug when").minutes_ms(10.0, 90.0);
        let at_ms = at_ms.next_multiple_of(1000);
        builder.unplug(at_ms, today.of("unplug long").minutes_ms(20.0, 240.0));
    }
    if matches!(life.kind, Kind::Truck | Kind::ColdBox) && today.of("jamming").happens(0.012) {
        let at_ms = builder.now_ms + today.of("jamming when").minutes_ms(10.0, 60.0);
        builder.event(at_ms, JAMMING, 1, None);
        builder.event(
            at_ms + today.of("jamming long").minutes_ms(1.0, 6.0),
            JAMMING,
            0,
            None,
        );
    }
    if matches!(life.kind, Kind::Van | Kind::Truck) && today.of("alarm").happens(0.008) {
        builder.event(builder.now_ms + HOUR_MS / 2, ALARM, 1, None);
    }
}

const CRASH: u16 = 247;
const JAMMING: u16 = 249;
const ALARM: u16 = 236;
const HARSH: u16 = 253;
const HARSH_FORCE: u16 = 254;
const OVER_SPEED: u16 = 255;

/// Legs that began or ended harder than they should, and such as were too fast.
fn drives_harshly(life: &Life, builder: &mut Builder, chance: Chance) {
    if life.kind == Kind::Machine {
        return;
    }
    // A few drivers do most of it.
    let temper = life.chance.of("temper").part().powi(3) * 0.02;
    let mut found = Vec::new();
    for (number, piece) in (0..).zip(builder.pieces()) {
        let Some(leg) = piece.leg else {
            continue;
        };
        let now = chance.nth(number);
        if now.happens(temper) {
            let type_ = 1 + now.of("type").below(3);
            let force = now.of("force").between(35.0, 75.0) as u64;
            found.push((
                piece.start_ms + 1000,
                HARSH,
                type_,
                Some((HARSH_FORCE, force)),
            ));
        }
        let kmh = leg.speeds[1] * 3.6;
        if kmh > 80.0 && leg.metres > 1000.0 && now.of("fast").happens(temper) {
            found.push((
                piece.start_ms + 20_000,
                OVER_SPEED,
                kmh.round() as u64,
                None,
            ));
        }
    }
    for (at_ms, id, value, also) in found {
        builder.event(at_ms, id, value, also);
    }
}

/// In the evening to another place in town, and back before the morning.
fn is_towed(life: &Life, builder: &mut Builder, chance: Chance) {
    let site = builder.at();
    builder.park_until(14 * HOUR_MS + chance.of("when").minutes_ms(0.0, 150.0));
    let away = place(life.home(), chance.of("where"), 500.0, 4000.0);
    for (to, seed) in [(away, 0), (site, 1)] {
        let mut way = Way::from(builder.at());
        way.along_streets(life.home(), to);
        builder.is_towed(&way, TOWED, chance.nth(seed));
        builder.stand(chance.of("long").minutes_ms(40.0, 160.0), false);
    }
}
