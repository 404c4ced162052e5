//! Looks at trackport's process from outside: whether it lives, what memory and descriptors it has.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::faults::{Stage, ended, launch};
use crate::harness::{ms, secs};

/// What one life of the process took, second by second.
#[derive(Debug, Default)]
pub struct Life {
    pid: u32,
    /// Seconds since the start of the run, resident bytes, descriptors.
    samples: Vec<(f64, f64, f64)>,
    /// Records that went into the spool and out of it, as it said last.
    spooled: (u64, u64),
}

/// How memory and descriptors went in a life, after its first quarter.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    pub minutes: f64,
    pub memory: f64,
    pub memory_per_minute: f64,
    pub descriptors: f64,
    pub descriptors_per_minute: f64,
}

/// Lives shorter than this say nothing about growth.
const LONG: f64 = 20.0;

/// Records that went into the spool and out of it, at least: what a life did in its last second nobody has seen.
pub fn spooled(lives: &[Life]) -> (u64, u64) {
    lives.iter().fold((0, 0), |sum, life| {
        (sum.0 + life.spooled.0, sum.1 + life.spooled.1)
    })
}

impl Life {
    /// Resident bytes at the end of each minute.
    pub fn memory_by_minute(&self) -> Vec<f64> {
        self.samples
            .chunks(60)
            .filter_map(|minute| Some(minute.last()?.1))
            .collect()
    }

    /// The slope, if it lived long enough.
    pub fn slope(&self) -> Option<Slope> {
        let (first, last) = (self.samples.first()?.0, self.samples.last()?.0);
        if last - first < LONG {
            return None;
        }
        let begin = first + (last - first) / 4.0;
        let steady: Vec<_> = self
            .samples
            .iter()
            .filter(|sample| sample.0 >= begin)
            .collect();
        let line = |value: fn(&(f64, f64, f64)) -> f64| {
            let n = steady.len() as f64;
            let mean_x = steady.iter().map(|sample| sample.0).sum::<f64>() / n;
            let mean_y = steady.iter().map(|sample| value(sample)).sum::<f64>() / n;
            let (mut xy, mut xx) = (0.0, 0.0);
            for sample in &steady {
                xy += (sample.0 - mean_x) * (value(sample) - mean_y);
                xx += (sample.0 - mean_x).powi(2);
            }
            (mean_y, 60.0 * xy / xx)
        };
        let (memory, memory_per_minute) = line(|sample| sample.1);
        let (descriptors, descriptors_per_minute) = line(|sample| sample.2);
        Some(Slope {
            minutes: (last - begin) / 60.0,
            memory,
            memory_per_minute,
            descriptors,
            descriptors_per_minute,
        })
    }
}

/// Watches until `stop`; returns all lives. A process that ended by itself is a failure, and is started again as
/// systemd would.
pub fn watch(stage: &Stage, begun: Instant, stop: &AtomicBool) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut next = Duration::ZERO;
    while !stop.load(Ordering::SeqCst) {
        sleep(ms(50));
        let Some(mut daemon) = stage.try_daemon() else {
            continue;
        };
        if stage.is_interrupted() {
            return lives;
        }
        if let Some(found) = ended(&mut daemon) {
            stage.fail(found);
            launch(&mut daemon);
        }
        if begun.elapsed() < next {
            continue;
        }
        next = begun.elapsed() + secs(1);
        let pid = daemon.pid();
        let status = daemon.try_status();
        drop(daemon);
        let Some(memory) = memory(pid) else { continue };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        if lives.last().is_none_or(|life| life.pid != pid) {
            lives.push(Life {
                pid,
                ..Life::default()
            });
        }
        if let Some(life) = lives.last_mut() {
            let sample = (
                begun.elapsed().as_secs_f64(),
                memory as f64,
                descriptors as f64,
            );
            life.samples.push(sample);
            if let Some(status) = status {
                let spool = status.spool;
                life.spooled = (spool.total_records_in, spool.total_records_out);
            }
        }
    }
    lives
}

/// Resident bytes of a process.
fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
