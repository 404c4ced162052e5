//! Power loss at every write and sync, failing disks, full disks: against a model that only remembers what was said.
//!
//! The model owes every entry that `append` said Ok to until its release was asked for. A run that breaks is told with its
//! seed and the change at which power went, and is repeated by these two numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::simulated::{Lie, Random, SimulatedDisk};
use super::{entry, settings};
use crate::spool::{Appender, Entry, Position, Spool};

/// What was said about each entry, by its serial number.
#[derive(Default)]
struct Model {
    /// Everything that was ever given to `append`.
    given: HashMap<u64, Entry>,
    /// What it said Ok to, in order, and was not released.
    owed: Vec<u64>,
}

/// One life of the process.
struct Life {
    spool: Arc<Spool>,
    appender: Appender,
    at: Option<Position>,
    /// Read in this life, in order.
    pass: Vec<u64>,
    /// Owed at the beginning of this life or since, in order; released ones included.
    expected: Vec<u64>,
}

fn serial(entry: &Entry) -> u64 {
    u64::from_le_bytes(entry.frame[..8].try_into().unwrap())
}

struct Run {
    disk: SimulatedDisk,
    model: Model,
    life: Option<Life>,
    random: Random,
    next_serial: u64,
}

impl Run {
    fn open(&mut self) -> Result<(), String> {
        let opened = Spool::open(Arc::new(self.disk.clone()), settings(1 << 20, 700));
        let Ok((spool, _)) = opened else {
            return if self.disk.world().is_dark {
                self.lose_power()
            } else {
                Err(format!("it did not open: {opened:?}"))
            };
        };
        let spool = Arc::new(spool);
        self.life = Some(Life {
            appender: spool.appender(),
            spool,
            at: None,
            pass: Vec::new(),
            expected: self.model.owed.clone(),
        });
        Ok(())
    }

    fn end_life(&mut self, power_was_lost: bool) -> Result<(), String> {
        if let Some(life) = self.life.take() {
            life.check(false)?;
        }
        self.disk = self.disk.restart(power_was_lost);
        Ok(())
    }

    fn lose_power(&mut self) -> Result<(), String> {
        self.end_life(true)?;
        let again = self.random.one_in(2);
        let soon = self.random.below(20) as u64 + 1;
        {
            let mut world = self.disk.world();
            world.power_goes_at = again.then_some(world.n_changes + soon);
        }
        self.open()
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(life) = &mut self.life else {
            return self.open();
        };
        match self.random.below(12) {
            0..=5 => {
                let n_entries = self.random.below(6) + 1;
                let group: Vec<Entry> = (0..n_entries)
                    .map(|_| {
                        self.next_serial += 1;
                        entry(self.next_serial, self.random.below(90))
                    })
                    .collect();
                let serials: Vec<u64> = group.iter().map(serial).collect();
                let copies = group.iter().map(|entry| (serial(entry), entry.clone()));
                self.model.given.extend(copies);
                if life
                    .appender
                    .append(group.iter().map(Entry::as_ref))
                    .is_ok()
                {
                    self.model.owed.extend(&serials);
                    life.expected.extend(&serials);
                }
            }
            6..=8 => {
                let n_records = self.random.below(30);
                life.read(&self.model, n_records)?;
            }
            9 => {
                // What was read is asked to be released: the model owes it no more, whatever comes of it.
                if let Some(at) = life.at {
                    let done: HashSet<u64> = life.pass.iter().copied().collect();
                    self.model.owed.retain(|serial| !done.contains(serial));
                    let _ = life.spool.release(at);
                }
            }
            10 => {
                life.appender = life.spool.appender();
            }
            _ => {
                // The process is killed, the machine is not.
                let power_was_lost = self.random.one_in(2);
                self.end_life(power_was_lost)?;
                self.open()?;
            }
        }
        if self.disk.world().is_dark {
            self.lose_power()?;
        }
        Ok(())
    }
}

impl Life {
    fn read(&mut self, model: &Model, max_records: usize) -> Result<bool, String> {
        let Ok(chunk) = self.spool.read(self.at, max_records, 1000) else {
            return Ok(false);
        };
        for entry in &chunk.entries {
            let serial = serial(entry);
            if model.given.get(&serial) != Some(entry) {
                return Err(format!("never appended, but read: {entry:?}"));
            }
            self.pass.push(serial);
        }
        self.at = Some(chunk.next);
        Ok(!chunk.entries.is_empty())
    }

    /// Whether what was read is what was owed, in its order; all of it when `is_whole`.
    fn check(&self, is_whole: bool) -> Result<(), String> {
        let expected: HashSet<u64> = self.expected.iter().copied().collect();
        let read: Vec<u64> = self
            .pass
            .iter()
            .copied()
            .filter(|serial| expected.contains(serial))
            .collect();
        let good = if is_whole {
            read == self.expected
        } else {
            self.expected.starts_with(&read)
        };
        if good {
            Ok(())
        } else {
            Err(format!("owed {:?}, read {read:?}", self.expected))
        }
    }
}

/// Plays the schedule of `seed`, with power going at change `power_goes_at`; says how many changes there were.
fn play(seed: u64, power_goes_at: Option<u64>, lie: Lie) -> Result<u64, String> {
    let disk = SimulatedDisk::new(seed);
    {
        let mut world = disk.world();
        world.power_goes_at = power_goes_at;
        world.lie = lie;
        // Every third schedule has a disk that fails now and then.
        world.failures = if seed.is_multiple_of(3) { 12 } else { 0 };
    }
    let mut run = Run {
        disk,
        model: Model::default(),
        life: None,
        random: Random(seed ^ 0x5EED),
        next_serial: 0,
    };
    for _ in 0..40 {
        run.step()?;
    }
    run.disk.world().failures = 0;
    run.disk.world().power_goes_at = None;
    // At last power goes once more, and everything is drained.
    run.end_life(true)?;
    run.open()?;
    let life = run.life.as_mut().ok_or("closed")?;
    while life.read(&run.model, 100)? {}
    life.check(true)?;
    if let Some(at) = life.at {
        life.spool.release(at).map_err(|error| error.to_string())?;
    }
    let depth = life.spool.depth();
    if depth.segments != 0 {
        return Err(format!("drained, but {depth:?}"));
    }
    let n_changes = run.disk.world().n_changes;
    Ok(n_changes)
}

/// The first schedule that breaks, of so many seeds and power going at each change of each.
fn first_broken(seeds: std::ops::Range<u64>, lie: Lie) -> Option<String> {
    seeds.into_iter().find_map(|seed| {
        let told = |at: Option<u64>, error| format!("seed {seed}, power goes at {at:?}: {error}");
        let n_changes = match play(seed, None, lie) {
            Ok(n_changes) => n_changes,
            Err(error) => return Some(told(None, error)),
        };
        (1..=n_changes).find_map(|at| {
            let broken = play(seed, Some(at), lie).err();
            broken.map(|error| told(Some(at), error))
        })
    })
}

#[test]
fn what_append_said_ok_to_survives_power_loss_at_every_write_and_sync() {
    assert_eq!(first_broken(0..60, Lie::None), None);
}

#[test]
fn a_disk_that_swallows_the_sync_of_data_is_caught() {
    let broken = first_broken(0..60, Lie::Data);
    assert!(broken.is_some(), "the model does not bite");
}

#[test]
fn a_disk_that_swallows_the_sync_of_names_is_caught() {
    let broken = first_broken(0..60, Lie::Names);
    assert!(broken.is_some(), "the model does not bite");
}
