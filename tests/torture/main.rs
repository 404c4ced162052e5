//! The torture run: a fleet that remembers its acks, networks that fail, and every fault that the promise must outlive.
//!
//! Afterwards every acked record must be in the table exactly once with exactly its values, every row must have been sent by
//! a device, and quarantine must hold what was poisoned and nothing else. The seed repeats the schedule, the values and
//! the roughness of the networks; how the threads meet is the machine's own.

// The exception for tests in clippy.toml does not reach their helper functions.
#![allow(clippy::unwrap_used)]

// The comparison with the tables.
mod check;
// Makes faults happen.
mod faults;
// The devices.
mod fleet;
// Things to test against, the same as those of the tests.
#[allow(dead_code)]
#[path = "../it/harness/mod.rs"]
mod harness;
// Networks that fail.
mod proxy;
// What is said at the end.
mod report;
// Which fault comes when.
mod schedule;
// The conf file that trackport gets.
mod setting;
// What each record says.
mod values;
// One device's rows against what it sent.
mod verdict;
// The process from outside.
mod watch;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;

use check::Bounds;
use faults::{SmallDisk, Stage};
use fleet::Fleet;
use harness::daemon::{Daemon, Folder};
use harness::postgres::Cluster;
use harness::{free_ports, ms, secs};
use report::Report;
use schedule::Lane;
use values::Values;

/// Ports of trackport, each with a proxy in front of it.
const N_PORTS: u16 = 3;

/// How long the devices may take to finish what they have sent once everything is healed. A device whose packet stopped a
/// thread is kept out for a minute.
const FINISH: Duration = secs(120);

/// How long troubles may last after that.
const CALM: Duration = secs(60);

/// Breaks everything around trackport at random, and checks that nothing acked is lost or doubled.
#[derive(Parser)]
#[command(name = "scripts/torture", disable_version_flag = true)]
struct Args {
    /// How long the faults go on; healing and checking come on top.
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// Repeats a schedule; random without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Devices at a time.
    #[arg(long, default_value_t = 40)]
    devices: u64,
    /// No kills, only outages of database and network: fails when memory or descriptors grow.
    #[arg(long)]
    soak: bool,
    /// Keeps trackport's log; a run that fails keeps it always.
    #[arg(long)]
    keep: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "a number, as in 0.5 or 10")?;
    if (0.1..=100_000.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("from 0.1 on".to_owned())
    }
}

impl Args {
    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let soak = if args.soak { " --soak" } else { "" };
    let again = format!(
        "scripts/torture --minutes {} --devices {} --seed {seed}{soak}",
        args.minutes, args.devices
    );
    println!("{again}");
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&args, seed)));
    match outcome {
        Ok(Some(report)) => {
            report.print();
            if report.is_good() {
                println!("Nothing acked was lost or doubled.");
                return ExitCode::SUCCESS;
            }
        }
        Ok(None) => {
            println!("Interrupted.");
            return ExitCode::from(130);
        }
        // The panic has said what went wrong.
        Err(_) => {}
    }
    println!("FAILED. The same schedule again: {again}");
    ExitCode::FAILURE
}

/// Where an interrupt is heard.
fn interrupted() -> &'static AtomicBool {
    static INTERRUPTED: OnceLock<AtomicBool> = OnceLock::new();
    INTERRUPTED.get_or_init(|| {
        let set = || interrupted().store(true, Ordering::SeqCst);
        ctrlc::set_handler(set).expect("the only handler of this process");
        AtomicBool::new(false)
    })
}

/// The whole story; `None` when it was interrupted.
fn run(args: &Args, seed: u64) -> Option<Report> {
    interrupted();
    let folder = Folder::new();
    let spool = folder.file("spool");
    let disk = SmallDisk::mount(&spool);
    if disk.is_none() {
        println!(
            "NOT TRIED: a full disk of the spool; only root may mount the small file system for it"
        );
    }
    let cluster = Cluster::start();
    let (database, _client) = cluster.migrated();
    let first = free_ports(2 * N_PORTS + 1);
    let ports: Vec<u16> = (first..first + N_PORTS).collect();
    let proxies: Vec<u16> = (first + N_PORTS..first + 2 * N_PORTS).collect();
    let database_proxy = first + 2 * N_PORTS;
    let url = through(&database.url, database_proxy);
    let (mut daemon, confs) = setting::written(&url, &ports, &spool, seed, args.minutes > 5.0);
    let begun_at = SystemTime::now();
    let begin_ms = begun_at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let values = Values {
        seed,
        // To the day, so that a seed means the same all day long.
        begin_ms: u64::try_from(begin_ms).unwrap() / 86_400_000 * 86_400_000,
    };
    let cluster_port = cluster.port();
    daemon.launch();
    let stage = Stage::new(
        cluster,
        database.url.clone(),
        daemon,
        spool,
        disk.is_some(),
        confs,
    );
    proxy::start(database_proxy, cluster_port, &stage.database, None);
    for (number, (proxy, port)) in (0_u64..).zip(proxies.iter().zip(&ports)) {
        let rough = seed ^ (number + 1) << 56;
        proxy::start(*proxy, *port, &stage.devices, Some(rough));
    }
    let fleet = Fleet::start(args.devices, values, proxies);
    let counts = fleet.counts();
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let (seen, lives) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch::watch(&stage, begun, &stop));
        let lanes = [Lane::Database, Lane::Trackport].map(|lane| {
            let planned = schedule::plan(seed, lane, args.length(), args.soak);
            let stage = &stage;
            scope.spawn(move || stage.run(begun, &planned))
        });
        wait(&stage, begun, args.length(), &counts, &lanes);
        for lane in lanes {
            if lane.join().is_err() {
                stage.fail("a fault could not be made; see the panic above".to_owned());
            }
        }
        println!(
            "{:7.1} s  all faults are over",
            begun.elapsed().as_secs_f32()
        );
        let finish = if stage.is_interrupted() {
            Duration::ZERO
        } else {
            FINISH
        };
        let seen = fleet.finish(finish);
        if !stage.is_interrupted() {
            wait_calm(&stage);
        }
        stop.store(true, Ordering::SeqCst);
        (seen, watch.join().unwrap_or_default())
    });
    if stage.is_interrupted() {
        return None;
    }
    let slept = begun.elapsed();
    let mut report = Report::new(&stage, &counts, lives, slept, args.soak);
    let (mut daemon, cluster) = stage.into_daemon();
    match daemon.stop() {
        Some(0) => {}
        code => report.complain(format!("after TERM trackport ended with {code:?}")),
    }
    report.take_log(&daemon.log());
    let bounds = Bounds {
        begun: begun_at,
        ports,
    };
    report.findings = check::check(&mut database.connect(), &values, &seen, &bounds);
    if args.keep || !report.is_good() {
        keep_log(&daemon, seed);
    }
    drop((daemon, cluster, disk));
    Some(report)
}

/// The same database over TCP by the proxy.
fn through(url: &str, proxy: u16) -> String {
    let name = url
        .strip_prefix("postgresql:///")
        .and_then(|rest| rest.split('?').next())
        .expect("a URL of the harness");
    format!("postgresql://postgres@127.0.0.1:{proxy}/{name}")
}

/// Waits for the end of the faults, or for an interrupt, and says how it goes.
fn wait(
    stage: &Stage,
    begun: Instant,
    length: Duration,
    counts: &Arc<fleet::Counts>,
    lanes: &[ScopedJoinHandle<'_, ()>],
) {
    let mut next = secs(10);
    while begun.elapsed() < length || !lanes.iter().all(ScopedJoinHandle::is_finished) {
        sleep(ms(100));
        if interrupted().load(Ordering::SeqCst) {
            return stage.interrupt();
        }
        if begun.elapsed() >= next {
            next += secs(10);
            println!(
                "{:7.1} s  {} records acked",
                begun.elapsed().as_secs_f32(),
                counts.acked.load(Ordering::Relaxed)
            );
        }
    }
}

/// Waits until trackport has nothing to complain about and nothing left to store.
fn wait_calm(stage: &Stage) {
    let begun = Instant::now();
    loop {
        let status = stage.daemon().try_status().map(|mut status| {
            // It is there, and right.
            status
                .troubles
                .retain(|trouble| !trouble.contains("in quarantine for good"));
            status
        });
        match status {
            Some(status)
                if status.troubles.is_empty()
                    && status.queue_bytes == 0
                    && status.spool.packets == 0 =>
            {
                return;
            }
            _ if begun.elapsed() < CALM => sleep(ms(200)),
            Some(status) => {
                return stage.fail(format!(
                    "{CALM:?} after everything was healed: {:?}, {} bytes in the queue, {} packets in the spool, which is {}",
                    status.troubles, status.queue_bytes, status.spool.packets, status.spool.state
                ));
            }
            None => return stage.fail(format!("no answer for {CALM:?} on the control socket")),
        }
    }
}

/// Where the log of a run stays that somebody wants to read.
fn keep_log(daemon: &Daemon, seed: u64) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture");
    let kept = folder.join(format!("{seed}.log"));
    let is_kept = fs::create_dir_all(&folder).is_ok() && fs::write(&kept, daemon.log()).is_ok();
    if is_kept {
        println!("trackport's log: {}", kept.display());
    }
}
