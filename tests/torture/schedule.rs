//! Which fault comes when: made from the seed alone, so that a seed repeats it.
//!
//! Two lanes run beside each other, one of the database and one of trackport and its devices, so that their faults overlap
//! in ever new ways. A lane has one fault at a time and takes its kinds out of a bag: all of them come before one comes
//! again, in an order of their own each time.

use std::fmt;
use std::time::Duration;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillPostgres,
    StopPostgres,
    FreezePostgres,
    SwallowDatabase,
    DelayDatabase,
    CutDatabase,
    LockTable,
    KillTrackport,
    KillTrackportAlone,
    TearSpool,
    StopTrackport,
    FreezeTrackport,
    InjectFaults,
    HupStorm,
    Usr1Storm,
    FillDisk,
    CutDevices,
    DelayDevices,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::KillPostgres => "kill -9 of PostgreSQL",
            Fault::StopPostgres => "stop and start of PostgreSQL",
            Fault::FreezePostgres => "PostgreSQL frozen (SIGSTOP)",
            Fault::SwallowDatabase => "network swallows all to and from the database",
            Fault::DelayDatabase => "network to the database slow",
            Fault::CutDatabase => "connections to the database cut",
            Fault::LockTable => "table of the records locked",
            Fault::KillTrackport => "kill -9 of trackport",
            Fault::KillTrackportAlone => "kill -9 of trackport while the database is away",
            Fault::TearSpool => "kill -9 of trackport, torn write in the spool",
            Fault::StopTrackport => "TERM and start of trackport",
            Fault::FreezeTrackport => "trackport frozen (SIGSTOP)",
            Fault::InjectFaults => "a life of trackport with random panics and hangs",
            Fault::HupStorm => "storm of HUP, with ports that go and come",
            Fault::Usr1Storm => "storm of USR1",
            Fault::FillDisk => "disk of the spool full, database away",
            Fault::CutDevices => "connections of all devices cut",
            Fault::DelayDevices => "network of all devices slow",
        })
    }
}

/// A sequence of faults, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Database,
    Trackport,
}

impl Lane {
    /// Its faults; in a soak only those that leave trackport's process alone.
    fn kinds(self, is_soak: bool) -> &'static [Fault] {
        match (self, is_soak) {
            (Lane::Database, false) => &[
                Fault::KillPostgres,
                Fault::StopPostgres,
                Fault::FreezePostgres,
                Fault::SwallowDatabase,
                Fault::DelayDatabase,
                Fault::CutDatabase,
                Fault::LockTable,
            ],
            (Lane::Database, true) => &[
                Fault::StopPostgres,
                Fault::FreezePostgres,
                Fault::SwallowDatabase,
                Fault::CutDatabase,
                Fault::LockTable,
            ],
            (Lane::Trackport, false) => &[
                Fault::KillTrackport,
                Fault::KillTrackportAlone,
                Fault::TearSpool,
                Fault::StopTrackport,
                Fault::FreezeTrackport,
                Fault::InjectFaults,
                Fault::HupStorm,
                Fault::Usr1Storm,
                Fault::FillDisk,
                Fault::CutDevices,
                Fault::DelayDevices,
            ],
            (Lane::Trackport, true) => &[Fault::CutDevices, Fault::DelayDevices],
        }
    }

    /// From the end of a fault to the next, in milliseconds.
    fn pause_ms(self, is_soak: bool) -> std::ops::Range<u64> {
        match (self, is_soak) {
            (Lane::Database, false) => 1_000..7_000,
            (Lane::Trackport, false) => 300..2_500,
            (_, true) => 10_000..30_000,
        }
    }
}

/// How long a fault lasts, in milliseconds.
fn lasts_ms(fault: Fault) -> std::ops::Range<u64> {
    match fault {
        Fault::CutDatabase | Fault::CutDevices => 0..1,
        Fault::KillPostgres | Fault::StopPostgres => 200..5_000,
        Fault::FreezePostgres | Fault::SwallowDatabase | Fault::LockTable => 500..9_000,
        Fault::DelayDatabase | Fault::DelayDevices => 2_000..6_000,
        Fault::KillTrackport | Fault::StopTrackport => 0..1_500,
        Fault::TearSpool => 2_500..5_000,
        Fault::FreezeTrackport => 300..6_000,
        Fault::InjectFaults => 6_000..12_000,
        Fault::HupStorm | Fault::Usr1Storm => 1_000..3_000,
        Fault::KillTrackportAlone => 500..5_000,
        Fault::FillDisk => 3_000..8_000,
    }
}

/// A fault to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub fault: Fault,
    /// From the start of the run.
    pub at: Duration,
    pub lasts: Duration,
    /// For the choices within the fault.
    pub seed: u64,
}

/// The faults of one lane within `length`. The last one has ended by then.
pub fn plan(seed: u64, lane: Lane, length: Duration, is_soak: bool) -> Vec<Planned> {
    let mut rng = fastrand::Rng::with_seed(seed ^ (0x7A_3D * (lane as u64 + 1)));
    let mut bag: Vec<Fault> = Vec::new();
    let mut planned = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        if bag.is_empty() {
            bag.extend(lane.kinds(is_soak));
            rng.shuffle(&mut bag);
        }
        at += Duration::from_millis(rng.u64(lane.pause_ms(is_soak)));
        let Some(fault) = bag.pop() else {
            return planned;
        };
        let lasts = Duration::from_millis(rng.u64(lasts_ms(fault)));
        if at + lasts > length {
            return planned;
        }
        planned.push(Planned {
            fault,
            at,
            lasts,
            seed: rng.u64(..),
        });
        at += lasts;
    }
}
