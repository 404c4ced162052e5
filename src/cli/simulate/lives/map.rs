//! The towns that vehicles drive between, and which roads join them.
//!
//! Towns are where they are in the world (to two or three digits of a degree); the roads between them are made up in `way.rs`.

use std::sync::LazyLock;

/// A place on the earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) longitude_deg: f64,
    pub(super) latitude_deg: f64,
}

/// Metres in a degree of latitude.
const METRES_PER_DEGREE: f64 = 111_195.0;

impl Point {
    /// Metres east and north of here; good for distances of a road's piece.
    pub(super) fn way_to(self, to: Point) -> (f64, f64) {
        let middle = f64::midpoint(self.latitude_deg, to.latitude_deg);
        (
            (to.longitude_deg - self.longitude_deg) * METRES_PER_DEGREE * middle.to_radians().cos(),
            (to.latitude_deg - self.latitude_deg) * METRES_PER_DEGREE,
        )
    }

    pub(super) fn metres_to(self, to: Point) -> f64 {
        let (east_m, north_m) = self.way_to(to);
        (east_m * east_m + north_m * north_m).sqrt()
    }

    /// Degrees clockwise from north, 0 to 360.
    pub(super) fn bearing_to(self, to: Point) -> f64 {
        let (east_m, north_m) = self.way_to(to);
        east_m.atan2(north_m).to_degrees().rem_euclid(360.0)
    }

    pub(super) fn moved(self, east_m: f64, north_m: f64) -> Point {
        let latitude_deg = self.latitude_deg + north_m / METRES_PER_DEGREE;
        let middle = f64::midpoint(self.latitude_deg, latitude_deg);
        Point {
            longitude_deg: self.longitude_deg
                + east_m / (METRES_PER_DEGREE * middle.to_radians().cos()),
            latitude_deg,
        }
    }

    /// `part` of the way to another point.
    pub(super) fn towards(self, to: Point, part: f64) -> Point {
        Point {
            longitude_deg: self.longitude_deg + (to.longitude_deg - self.longitude_deg) * part,
            latitude_deg: self.latitude_deg + (to.latitude_deg - self.latitude_deg) * part,
        }
    }
}

/// A town by its place in the table.
pub(super) type Town = usize;

/// Latitude and longitude.
const TOWNS: [(f64, f64); 48] = [
    (53.551, 9.994),  // 0 Hamburg
    (53.079, 8.802),  // 1 Bremen
    (52.375, 9.732),  // 2 Hannover
    (52.520, 13.405), // 3 Berlin
    (52.131, 11.640), // 4 Magdeburg
    (51.340, 12.375), // 5 Leipzig
    (51.051, 13.738), // 6 Dresden
    (51.313, 9.498),  // 7 Kassel
    (51.514, 7.465),  // 8 Dortmund
    (50.937, 6.960),  // 9 Köln
    (50.110, 8.682),  // 10 Frankfurt
    (49.793, 9.953),  // 11 Würzburg
    (49.452, 11.077), // 12 Nürnberg
    (48.137, 11.575), // 13 München
    (48.776, 9.183),  // 14 Stuttgart
    (49.007, 8.404),  // 15 Karlsruhe
    (48.401, 9.988),  // 16 Ulm
    (50.978, 11.029), // 17 Erfurt
    (54.092, 12.099), // 18 Rostock
    (52.279, 8.047),  // 19 Osnabrück
    (47.999, 7.842),  // 20 Freiburg
    (47.809, 13.055), // 21 Salzburg
    (48.306, 14.286), // 22 Linz
    (48.208, 16.373), // 23 Wien
    (47.070, 15.439), // 24 Graz
    (47.269, 11.404), // 25 Innsbruck
    (50.075, 14.438), // 26 Praha
    (49.195, 16.607), // 27 Brno
    (47.377, 8.541),  // 28 Zürich
    (47.559, 7.588),  // 29 Basel
    (46.948, 7.447),  // 30 Bern
    (52.368, 4.904),  // 31 Amsterdam
    (52.091, 5.122),  // 32 Utrecht
    (51.924, 4.478),  // 33 Rotterdam
    (51.219, 4.402),  // 34 Antwerpen
    (50.851, 4.352),  // 35 Bruxelles
    (50.629, 3.057),  // 36 Lille
    (48.573, 7.752),  // 37 Strasbourg
    (52.406, 16.925), // 38 Poznań
    (51.108, 17.038), // 39 Wrocław
    (53.428, 14.553), // 40 Szczecin
    (49.612, 6.130),  // 41 Luxembourg
    (49.013, 12.102), // 42 Regensburg
    (50.776, 6.084),  // 43 Aachen
    (48.149, 17.107), // 44 Bratislava
    (49.748, 13.378), // 45 Plzeň
    (53.866, 10.687), // 46 Lübeck
    (54.323, 10.123), // 47 Kiel
];

/// The towns at both ends; the lower number first.
const ROADS: [(Town, Town); 67] = [
    (0, 1),
    (0, 2),
    (0, 46),
    (0, 47),
    (1, 2),
    (1, 19),
    (2, 4),
    (2, 7),
    (2, 19),
    (3, 4),
    (3, 5),
    (3, 6),
    (3, 18),
    (3, 38),
    (3, 40),
    (4, 5),
    (5, 6),
    (5, 17),
    (6, 26),
    (6, 39),
    (7, 8),
    (7, 10),
    (7, 11),
    (7, 17),
    (8, 9),
    (8, 19),
    (8, 32),
    (9, 10),
    (9, 41),
    (9, 43),
    (10, 11),
    (10, 15),
    (11, 12),
    (11, 14),
    (12, 13),
    (12, 17),
    (12, 42),
    (13, 16),
    (13, 21),
    (13, 25),
    (13, 42),
    (14, 15),
    (14, 16),
    (15, 37),
    (18, 46),
    (20, 29),
    (20, 37),
    (21, 22),
    (22, 23),
    (23, 24),
    (23, 27),
    (23, 44),
    (26, 27),
    (26, 45),
    (27, 44),
    (28, 29),
    (28, 30),
    (29, 30),
    (31, 32),
    (32, 33),
    (33, 34),
    (34, 35),
    (35, 36),
    (35, 41),
    (35, 43),
    (38, 39),
    (42, 45),
];

/// How many towns there are.
pub(super) const N_TOWNS: usize = TOWNS.len();

/// The middle of a town.
pub(super) fn centre(town: Town) -> Point {
    let (latitude_deg, longitude_deg) = TOWNS[town];
    Point {
        longitude_deg,
        latitude_deg,
    }
}

/// For each town the next one on the shortest way to each other, and how far that is.
struct Ways {
    next: [[Town; N_TOWNS]; N_TOWNS],
    metres: [[f64; N_TOWNS]; N_TOWNS],
}

static WAYS: LazyLock<Ways> = LazyLock::new(|| {
    let mut ways = Ways {
        next: [[0; N_TOWNS]; N_TOWNS],
        metres: [[f64::INFINITY; N_TOWNS]; N_TOWNS],
    };
    for town in 0..N_TOWNS {
        ways.metres[town][town] = 0.0;
        ways.next[town][town] = town;
    }
    for (one, other) in ROADS {
        let metres = centre(one).metres_to(centre(other));
        for (from, to) in [(one, other), (other, one)] {
            ways.metres[from][to] = metres;
            ways.next[from][to] = to;
        }
    }
    // Floyd and Warshall: by way of each town in turn.
    for by in 0..N_TOWNS {
        for from in 0..N_TOWNS {
            for to in 0..N_TOWNS {
                let metres = ways.metres[from][by] + ways.metres[by][to];
                if metres < ways.metres[from][to] {
                    ways.metres[from][to] = metres;
                    ways.next[from][to] = ways.next[from][by];
                }
            }
        }
    }
    ways
});

/// The next town on the way from one to another; the town itself when it is there.
pub(super) fn next_town(from: Town, to: Town) -> Town {
    WAYS.next[from][to]
}

/// How far it is from town to town, as the bird flies along the roads.
pub(super) fn metres_between(from: Town, to: Town) -> f64 {
    WAYS.metres[from][to]
}

/// The towns within a distance of one, itself not among them.
pub(super) fn towns_within(of: Town, metres: f64) -> Vec<Town> {
    (0..N_TOWNS)
        .filter(|town| *town != of && metres_between(of, *town) <= metres)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_town_can_be_reached_and_has_a_neighbour() {
        for from in 0..N_TOWNS {
            assert!(!towns_within(from, 200_000.0).is_empty(), "{from}");
            for to in 0..N_TOWNS {
                let mut town = from;
                let mut steps = 0;
                while town != to {
                    town = next_town(town, to);
                    steps += 1;
                    assert!(steps < N_TOWNS, "{from} {to}");
                }
            }
        }
    }

    #[test]
    fn distances_and_bearings_are_those_of_the_earth() {
        // Hamburg to Berlin: 255 km along a great circle.
        let metres = centre(0).metres_to(centre(3));
        assert!((250_000.0..260_000.0).contains(&metres), "{metres}");
        let here = centre(9);
        for (east_m, north_m, bearing_deg) in [
            (0.0, 100.0, 0.0),
            (100.0, 0.0, 90.0),
            (0.0, -100.0, 180.0),
            (-100.0, 0.0, 270.0),
        ] {
            let there = here.moved(east_m, north_m);
            assert!((here.metres_to(there) - 100.0).abs() < 0.01);
            assert!((here.bearing_to(there) - bearing_deg).abs() < 0.01);
        }
    }
}
