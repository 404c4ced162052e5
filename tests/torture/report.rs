//! What the run says at its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::check::Findings;
use crate::faults::Stage;
use crate::fleet::Counts;
use crate::schedule::Fault;
use crate::watch::{Life, spooled};

/// How far memory and descriptors of a soak may have grown, by their slope over the time after its first quarter.
const MEMORY_GROWTH_MAX: f64 = 32.0 * MIB;
const DESCRIPTORS_GROWTH_MAX: f64 = 40.0;

const MIB: f64 = 1024.0 * 1024.0;

/// Lines of trackport's log that count, and what they mean.
const LOG_FACTS: [(&str, &str); 12] = [
    ("thread died", "panics of a thread"),
    ("thread silent", "hangs of a thread"),
    ("database connected", "connections to the database"),
    ("deliveries not acked", "batches given back un-acked"),
    ("batch split", "batches taken apart"),
    ("session taken over", "sessions taken over"),
    (
        "packet refused by the database",
        "packets refused by the database",
    ),
    ("spool takes packets", "times that the spool took over"),
    ("spool full", "times that the spool was full"),
    ("spool failed", "times that the spool's disk failed"),
    ("spool write was interrupted", "torn writes set aside"),
    ("spool damaged", "damage in the spool beyond torn writes"),
];

/// The whole run.
pub struct Report {
    tally: BTreeMap<Fault, u32>,
    skipped: BTreeMap<Fault, u32>,
    counts: Arc<Counts>,
    n_cut: u64,
    n_connections: u64,
    lives: Vec<Life>,
    took: Duration,
    is_soak: bool,
    facts: Vec<(&'static str, usize)>,
    complaints: Vec<String>,
    pub findings: Findings,
}

impl Report {
    pub fn new(
        stage: &Stage,
        counts: &Arc<Counts>,
        lives: Vec<Life>,
        took: Duration,
        is_soak: bool,
    ) -> Report {
        let mut report = Report {
            tally: stage.tally(),
            skipped: stage.skipped(),
            counts: Arc::clone(counts),
            n_cut: stage.devices.n_cut.load(Ordering::Relaxed),
            n_connections: stage.devices.n_connections.load(Ordering::Relaxed),
            lives,
            took,
            is_soak,
            facts: Vec::new(),
            complaints: stage.failures(),
            findings: Findings::default(),
        };
        report.judge_growth();
        report
    }

    pub fn complain(&mut self, text: String) {
        self.complaints.push(text);
    }

    /// Counts the facts of trackport's log. A thread that dies of anything but an injected fault is a mistake, and so is a
    /// spool with more damage than torn writes.
    pub fn take_log(&mut self, log: &str) {
        let mistakes = log.lines().filter(|line| {
            line.contains("thread died") && !line.contains("injected")
                || line.contains("spool damaged")
        });
        self.complaints.extend(mistakes.map(ToOwned::to_owned));
        self.facts = LOG_FACTS
            .iter()
            .map(|(fact, means)| (*means, log.matches(fact).count()))
            .collect();
    }

    pub fn is_good(&self) -> bool {
        let verdict = &self.findings.verdict;
        self.complaints.is_empty()
            && self.findings.complaints.is_empty()
            && verdict.lost.is_empty()
            && verdict.doubled.is_empty()
            && verdict.wrong.is_empty()
            && verdict.foreign.is_empty()
            // A run in which nothing was acked proves nothing.
            && self.counts.acked.load(Ordering::Relaxed) > 0
    }

    fn judge_growth(&mut self) {
        if !self.is_soak {
            return;
        }
        let mut complaints = Vec::new();
        for slope in self.lives.iter().filter_map(Life::slope) {
            let memory = slope.memory_per_minute * slope.minutes;
            if memory > MEMORY_GROWTH_MAX {
                complaints.push(format!(
                    "memory grew by {:.1} MiB in {:.1} minutes; {:.0} MiB are allowed",
                    memory / MIB,
                    slope.minutes,
                    MEMORY_GROWTH_MAX / MIB
                ));
            }
            let descriptors = slope.descriptors_per_minute * slope.minutes;
            if descriptors > DESCRIPTORS_GROWTH_MAX {
                complaints.push(format!(
                    "descriptors grew by {descriptors:.0} in {:.1} minutes; {DESCRIPTORS_GROWTH_MAX:.0} are allowed",
                    slope.minutes
                ));
            }
        }
        self.complaints.append(&mut complaints);
    }

    pub fn print(&self) {
        println!("\nFaults survived");
        for (fault, n) in &self.tally {
            println!("{n:8}  {fault}");
        }
        for (fault, n) in &self.skipped {
            println!("{n:8}  NOT TRIED: {fault}");
        }
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        for (n, what) in [
            (self.n_cut, "connections of devices cut"),
            (count(&counts.resent), "packets sent again"),
            (
                count(&counts.regrouped),
                "of them with other records together",
            ),
            (
                count(&counts.forgotten),
                "packets sent again after their ack",
            ),
            (
                count(&counts.twins),
                "packets sent on two connections at once",
            ),
            (
                count(&counts.clock_steps),
                "records acked whose clock was wrong",
            ),
            (count(&counts.poisoned), "unreadable packets"),
        ] {
            println!("{n:8}  {what}");
        }
        println!("\nIn trackport's log");
        for (what, n) in &self.facts {
            println!("{n:8}  {what}");
        }
        self.print_lives();
        let acked = count(&counts.acked);
        let (spooled, drained) = spooled(&self.lives);
        let findings = &self.findings;
        let verdict = &findings.verdict;
        println!("\nThe books");
        for (n, what) in [
            (findings.n_devices, "devices"),
            (self.n_connections, "connections"),
            (count(&counts.logins), "logins"),
            (count(&counts.packets), "packets acked"),
            (acked, "records acked"),
            (spooled, "records that went into the spool, at least"),
            (
                drained,
                "records brought in from it, repeats after a kill included",
            ),
            (findings.n_stored, "records in the table"),
            (verdict.n_unacked, "of them stored, and not acked yet"),
            (verdict.lost.len() as u64, "LOST"),
            (verdict.doubled.len() as u64, "DOUBLED"),
            (verdict.wrong.len() as u64, "with wrong values"),
            (verdict.foreign.len() as u64, "never sent by anybody"),
            (findings.n_quarantined, "unreadable packets in quarantine"),
            (
                findings.n_suspected,
                "packets there because a thread stopped at them",
            ),
        ] {
            println!("{n:8}  {what}");
        }
        let rate = acked as f64 / self.took.as_secs_f64();
        println!(
            "{:8.0}  records acked a second, in {:.0} s",
            rate,
            self.took.as_secs_f64()
        );
        for complaint in self.complaints.iter().chain(&findings.complaints) {
            println!("WRONG: {complaint}");
        }
        println!();
    }

    fn print_lives(&self) {
        println!("\nLives of trackport: {}", self.lives.len());
        if self.is_soak {
            for life in &self.lives {
                let by_minute: Vec<String> = life
                    .memory_by_minute()
                    .iter()
                    .map(|bytes| format!("{:.1}", bytes / MIB))
                    .collect();
                println!("          MiB by the minute: {}", by_minute.join(" "));
            }
        }
        for slope in self.lives.iter().filter_map(Life::slope) {
            println!(
                "{:8.1}  minutes: memory {:.1} MiB, {:+.2} MiB a minute; descriptors {:.0}, {:+.1} a minute",
                slope.minutes,
                slope.memory / MIB,
                slope.memory_per_minute / MIB,
                slope.descriptors,
                slope.descriptors_per_minute
            );
        }
    }
}
