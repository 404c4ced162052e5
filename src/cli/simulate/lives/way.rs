//! The shape of ways: roads between towns that bend, streets within a town that turn.
//!
//! A road is the same for everybody who drives on it, in both directions. Knows no speed of a vehicle, only what is allowed.

use super::chance::Chance;
use super::map::{Point, Town, centre, next_town};

/// Roads are bent until their pieces are about so long.
const PIECE_M: f64 = 1400.0;
/// From corner to corner of a town's streets.
const BLOCK_M: f64 = 230.0;
/// What makes the roads; not the fleet's seed, since fleets share the country.
const COUNTRY: u64 = 1809;

/// A bend, corner or light of a way, and the piece of road that leads to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Point,
    /// What is allowed on the way to this node.
    pub(super) limit_kmh: f64,
    /// There is a traffic light.
    pub(super) light: bool,
    /// The way to this node lies in a tunnel.
    pub(super) tunnel: bool,
}

/// A way that is put together piece by piece.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) nodes: Vec<Node>,
}

impl Way {
    pub(super) fn from(at: Point) -> Way {
        let mut way = Way::default();
        way.push(at, 30.0, false, false);
        way
    }

    fn push(&mut self, at: Point, limit_kmh: f64, light: bool, tunnel: bool) {
        // Without length there is no direction either.
        if self
            .nodes
            .last()
            .is_some_and(|last| last.at.metres_to(at) < 1.0)
        {
            return;
        }
        self.nodes.push(Node {
            at,
            limit_kmh,
            light,
            tunnel,
        });
    }

    fn end(&self) -> Point {
        self.nodes.last().expect("a way begins somewhere").at
    }

    /// On to a place, straight.
    pub(super) fn straight_to(&mut self, at: Point, limit_kmh: f64) {
        self.push(at, limit_kmh, false, false);
    }

    /// On by roads, from the middle of one town to the middle of another.
    pub(super) fn along_roads(&mut self, mut from: Town, to: Town) {
        while from != to {
            let next = next_town(from, to);
            self.along_road(from, next);
            from = next;
        }
    }

    fn along_road(&mut self, from: Town, to: Town) {
        let (low, high) = (from.min(to), from.max(to));
        let chance = Chance::new(COUNTRY).nth((low * 1000 + high) as u64);
        let metres = centre(low).metres_to(centre(high));
        let levels = (metres / PIECE_M).log2().ceil().max(1.0) as u32;
        let n_pieces = 1_usize << levels;
        let mut points = vec![centre(low); n_pieces + 1];
        points[n_pieces] = centre(high);
        for level in 0..levels {
            let step = n_pieces >> level;
            // Large bends first; the small ones of a motorway are gentle.
            let bend = if level < 2 { 0.09 } else { 0.05 };
            for at in (0..n_pieces).step_by(step) {
                let (one, other) = (points[at], points[at + step]);
                let aside = chance.nth((at + step / 2) as u64).between(-bend, bend);
                let (east_m, north_m) = one.way_to(other);
                points[at + step / 2] = one
                    .towards(other, 0.5)
                    .moved(-north_m * aside, east_m * aside);
            }
        }
        let motorway = chance.of("kind").happens(0.85);
        let tunnel = chance.of("tunnel");
        let tunnel_at = tunnel
            .happens(0.4)
            .then(|| (tunnel.of("at").between(0.2, 0.8) * n_pieces as f64) as usize);
        let piece_m = metres / n_pieces as f64;
        let mut node = |place: usize, piece: usize| {
            let to_town_m = piece.min(n_pieces - 1 - piece) as f64 * piece_m;
            let limit_kmh = match to_town_m {
                near if near < 3000.0 => 50.0,
                near if near < 7000.0 => 80.0,
                _ if motorway => 120.0,
                _ => 90.0,
            };
            let light = limit_kmh <= 50.0 && chance.of("light").nth(place as u64).happens(0.5);
            self.push(points[place], limit_kmh, light, tunnel_at == Some(piece));
        };
        // The piece with number n lies between the points n and n + 1.
        if from < to {
            (1..=n_pieces).for_each(|place| node(place, place - 1));
        } else {
            (0..n_pieces).rev().for_each(|place| node(place, place));
        }
    }

    /// On by the streets of `town` to a place in it, round corners.
    pub(super) fn along_streets(&mut self, town: Town, to: Point) {
        let (mut x, mut y) = corner_of(town, self.end());
        let (to_x, to_y) = corner_of(town, to);
        self.push(corner(town, x, y), 20.0, false, false);
        let chance = Chance::new(COUNTRY).of("street").nth(town as u64);
        let mut along_x = chance.nth((x * 31 + y).unsigned_abs()).happens(0.5);
        while (x, y) != (to_x, to_y) {
            let here = chance.nth((x * 7919 + y * 104_729).cast_unsigned());
            let left = if along_x { to_x - x } else { to_y - y };
            let run = left.signum() * left.abs().min(1 + here.below(5).cast_signed());
            if along_x {
                x += run;
            } else {
                y += run;
            }
            along_x = !along_x;
            let limit_kmh = if run.abs() >= 3 { 50.0 } else { 30.0 };
            let light = here.of("light").happens(0.3);
            self.push(corner(town, x, y), limit_kmh, light, false);
        }
        self.push(to, 10.0, false, false);
    }
}

/// The streets of each town lie another way.
fn turned(town: Town) -> (f64, f64) {
    let turn_deg = Chance::new(COUNTRY)
        .of("turn")
        .nth(town as u64)
        .between(0.0, 90.0);
    turn_deg.to_radians().sin_cos()
}

/// The corner of streets that is nearest to a place.
fn corner_of(town: Town, at: Point) -> (i64, i64) {
    let (east_m, north_m) = centre(town).way_to(at);
    let (sine, cosine) = turned(town);
    (
        ((east_m * cosine + north_m * sine) / BLOCK_M).round() as i64,
        ((north_m * cosine - east_m * sine) / BLOCK_M).round() as i64,
    )
}

fn corner(town: Town, x: i64, y: i64) -> Point {
    let (sine, cosine) = turned(town);
    let (x_m, y_m) = (x as f64 * BLOCK_M, y as f64 * BLOCK_M);
    centre(town).moved(x_m * cosine - y_m * sine, x_m * sine + y_m * cosine)
}

/// A place beside a street of `town`, between two distances from its middle.
pub(super) fn place(town: Town, chance: Chance, from_m: f64, to_m: f64) -> Point {
    let (sine, cosine) = chance
        .of("direction")
        .between(0.0, 360.0)
        .to_radians()
        .sin_cos();
    let metres = chance.of("far").between(from_m, to_m);
    let (x, y) = corner_of(town, centre(town).moved(sine * metres, cosine * metres));
    // Off the street, as yards and ramps are.
    let (sine, cosine) = chance.of("yard").between(0.0, 360.0).to_radians().sin_cos();
    let yard_m = chance.of("yard far").between(15.0, 60.0);
    corner(town, x, y).moved(sine * yard_m, cosine * yard_m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_road_is_the_same_in_both_directions_and_no_line() {
        let points = |from: Town, to: Town| -> Vec<Point> {
            let mut way = Way::from(centre(from));
            way.along_roads(from, to);
            way.nodes.iter().map(|node| node.at).collect()
        };
        let there = points(0, 13);
        let mut back = points(13, 0);
        back.reverse();
        assert_eq!(there, back);
        let metres: f64 = there
            .windows(2)
            .map(|pair| pair[0].metres_to(pair[1]))
            .sum();
        let straight = centre(0).metres_to(centre(13));
        assert!(
            (1.01..1.5).contains(&(metres / straight)),
            "{}",
            metres / straight
        );
    }

    #[test]
    fn streets_lead_to_the_place_round_corners() {
        let from = place(9, Chance::new(1), 500.0, 4000.0);
        let to = place(9, Chance::new(2), 500.0, 4000.0);
        let mut way = Way::from(from);
        way.along_streets(9, to);
        assert_eq!(way.nodes.last().unwrap().at, to);
        assert!(way.nodes.len() > 4);
        let turns = way
            .nodes
            .windows(3)
            .filter(|three| {
                let (one, other) = (
                    three[0].at.bearing_to(three[1].at),
                    three[1].at.bearing_to(three[2].at),
                );
                let turn = (one - other).rem_euclid(360.0);
                (60.0..300.0).contains(&turn)
            })
            .count();
        assert!(turns >= 2, "{turns}");
    }
}
