//! Makes the faults happen. Each begins and ends, is counted by kind, and ends only processes that this run started.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::daemon::Daemon;
use crate::harness::postgres::{Cluster, connect};
use crate::harness::{eventually, ms, secs};
use crate::proxy::Switch;
use crate::schedule::{Fault, Planned};

/// What a life of trackport with faults injected meets, as the `fail` crate writes it, and whether the database is away for a
/// part of it: only then is there anything in the spool.
const INJECTED: [(&str, bool); 6] = [
    ("port-packet=0.2%panic(injected)", false),
    ("port-packet=0.1%sleep(4000)", false),
    (
        "writer-batch=0.5%panic(injected);writer-insert=0.5%panic(injected)",
        false,
    ),
    (
        "writer-insert=0.5%sleep(8000);writer-batch=0.3%sleep(8000)",
        false,
    ),
    (
        "spool-append=10%panic(injected);spool-synced=10%panic(injected);drain-stored=20%panic(injected)",
        true,
    ),
    (
        "spool-append=3%sleep(5000);spool-synced=3%sleep(5000);drain-stored=10%sleep(5000)",
        true,
    ),
];

/// How long TERM may take: `[timeouts] stop` and room for a busy machine.
const STOP: Duration = secs(12);

/// What the faults act on.
pub struct Stage {
    pub cluster: Cluster,
    /// Of the database, past the proxy.
    url: String,
    /// Locked while it is down on purpose, so that whoever holds the lock finds it running.
    daemon: Mutex<Daemon>,
    /// Between trackport and PostgreSQL.
    pub database: Arc<Switch>,
    /// Between devices and trackport.
    pub devices: Arc<Switch>,
    pub spool: PathBuf,
    /// The spool lies on a small file system of its own.
    pub small_disk: bool,
    /// The conf file with and without its last port.
    pub confs: [String; 2],
    tally: Mutex<BTreeMap<Fault, u32>>,
    skipped: Mutex<BTreeMap<Fault, u32>>,
    failures: Mutex<Vec<String>>,
    interrupted: AtomicBool,
}

impl Stage {
    pub fn new(
        cluster: Cluster,
        url: String,
        daemon: Daemon,
        spool: PathBuf,
        small_disk: bool,
        confs: [String; 2],
    ) -> Stage {
        Stage {
            cluster,
            url,
            daemon: Mutex::new(daemon),
            database: Arc::default(),
            devices: Arc::default(),
            spool,
            small_disk,
            confs,
            tally: Mutex::default(),
            skipped: Mutex::default(),
            failures: Mutex::default(),
            interrupted: AtomicBool::new(false),
        }
    }

    /// trackport, running. A fault that failed with it in hand has said so already.
    pub fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// trackport, unless a fault has it in hand.
    pub fn try_daemon(&self) -> Option<MutexGuard<'_, Daemon>> {
        self.daemon.try_lock().ok()
    }

    pub fn into_daemon(self) -> (Daemon, Cluster) {
        let daemon = self
            .daemon
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (daemon, self.cluster)
    }

    pub fn fail(&self, text: String) {
        eprintln!("FAILURE: {text}");
        self.failures.lock().expect("no poison").push(text);
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no poison").clone()
    }

    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Faults survived, by kind.
    pub fn tally(&self) -> BTreeMap<Fault, u32> {
        self.tally.lock().expect("no poison").clone()
    }

    /// Faults that could not be made: for want of rights, or of anything to tear.
    pub fn skipped(&self) -> BTreeMap<Fault, u32> {
        self.skipped.lock().expect("no poison").clone()
    }

    /// Goes through the faults of one lane.
    pub fn run(&self, begun: Instant, planned: &[Planned]) {
        for next in planned {
            while begun.elapsed() < next.at {
                if self.is_interrupted() {
                    return;
                }
                sleep(ms(20).min(next.at.saturating_sub(begun.elapsed())));
            }
            println!(
                "{:7.1} s  {}, {:.1} s",
                begun.elapsed().as_secs_f32(),
                next.fault,
                next.lasts.as_secs_f32()
            );
            let is_done = self.happen(next);
            let table = if is_done { &self.tally } else { &self.skipped };
            *table
                .lock()
                .expect("no poison")
                .entry(next.fault)
                .or_default() += 1;
        }
    }

    /// One fault from its begin to its end; false where it could not be made.
    fn happen(&self, planned: &Planned) -> bool {
        let mut rng = fastrand::Rng::with_seed(planned.seed);
        let lasts = planned.lasts;
        match planned.fault {
            Fault::KillPostgres => self.kill_postgres(lasts),
            Fault::StopPostgres => {
                self.cluster
                    .stop_server(if rng.bool() { "fast" } else { "immediate" });
                sleep(lasts);
                self.cluster.start_server();
            }
            Fault::FreezePostgres => {
                self.cluster.signal_all("STOP");
                sleep(lasts);
                self.cluster.signal_all("CONT");
            }
            Fault::SwallowDatabase => {
                self.database.swallow();
                sleep(lasts);
                if rng.bool() {
                    // Long enough for some router to have forgotten the connections.
                    self.database.cut_all();
                }
                self.database.pass();
            }
            Fault::DelayDatabase => delay(&self.database, ms(rng.u64(20..400)), lasts),
            Fault::DelayDevices => delay(&self.devices, ms(rng.u64(50..1_500)), lasts),
            Fault::CutDatabase => self.database.cut_all(),
            Fault::LockTable => {
                let mut client = connect(&self.url);
                let mut transaction = client.transaction().expect("a database that is there");
                transaction
                    .batch_execute(
                        "SET LOCAL statement_timeout = 0; LOCK TABLE trackport.record IN EXCLUSIVE MODE",
                    )
                    .expect("a database that is there");
                sleep(lasts);
            }
            Fault::CutDevices => self.devices.cut_all(),
            Fault::KillTrackport => self.kill_trackport(lasts, |_| ()),
            Fault::KillTrackportAlone => {
                self.database.swallow();
                sleep(lasts);
                self.kill_trackport(Duration::ZERO, |_| ());
                // It may have to begin without a database, too.
                sleep(ms(rng.u64(0..3_000)));
                self.database.cut_all();
                self.database.pass();
            }
            Fault::TearSpool => {
                // So long that the spool is being written.
                self.database.swallow();
                sleep(lasts);
                let mut is_torn = false;
                self.kill_trackport(Duration::ZERO, |_| is_torn = tear(&self.spool, &mut rng));
                sleep(ms(rng.u64(0..2_000)));
                self.database.cut_all();
                self.database.pass();
                return is_torn;
            }
            Fault::StopTrackport => self.stop_trackport(lasts),
            Fault::FreezeTrackport => {
                let daemon = self.daemon();
                daemon.signal("STOP");
                sleep(lasts);
                daemon.signal("CONT");
            }
            Fault::InjectFaults => {
                let (injected, away) = INJECTED[rng.usize(..INJECTED.len())];
                self.kill_trackport(Duration::ZERO, |daemon| daemon.inject_faults(injected));
                if away {
                    self.database.swallow();
                    sleep(lasts / 2);
                    self.database.cut_all();
                    self.database.pass();
                    sleep(lasts / 2);
                } else {
                    sleep(lasts);
                }
                self.kill_trackport(Duration::ZERO, Daemon::forget_faults);
            }
            Fault::HupStorm => self.hup_storm(lasts, &mut rng),
            Fault::Usr1Storm => {
                let begun = Instant::now();
                while begun.elapsed() < lasts {
                    self.daemon().signal("USR1");
                    sleep(ms(rng.u64(0..300)));
                }
            }
            Fault::FillDisk if !self.small_disk => return false,
            Fault::FillDisk => {
                // Full before the spool is needed, or while it is being written.
                let is_late = rng.bool();
                let filler = (!is_late).then(|| fill(&self.spool));
                self.database.swallow();
                sleep(lasts / 2);
                let filler = filler.unwrap_or_else(|| fill(&self.spool));
                sleep(lasts / 2);
                self.database.pass();
                fs::remove_file(filler).expect("our own file");
            }
        }
        true
    }

    fn kill_postgres(&self, lasts: Duration) {
        let pids = self.cluster.all_pids();
        self.cluster.signal_all("KILL");
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        eventually(secs(20), "PostgreSQL is dead", || pids.iter().all(is_gone));
        sleep(lasts);
        self.cluster.start_server();
    }

    /// Kills trackport, does something while it is dead, and starts it again.
    fn kill_trackport(&self, lasts: Duration, meanwhile: impl FnOnce(&mut Daemon)) {
        let mut daemon = self.daemon();
        if let Some(found) = ended(&mut daemon) {
            self.fail(found);
        } else {
            daemon.kill();
        }
        meanwhile(&mut daemon);
        sleep(lasts);
        launch(&mut daemon);
    }

    fn stop_trackport(&self, lasts: Duration) {
        let mut daemon = self.daemon();
        daemon.signal("TERM");
        let status = daemon.wait_end(STOP);
        if status.code() != Some(0) {
            self.fail(format!("after TERM trackport ended with {status}"));
        }
        sleep(lasts);
        launch(&mut daemon);
    }

    /// The last port leaves the conf and comes back. At the end it is there.
    fn hup_storm(&self, lasts: Duration, rng: &mut fastrand::Rng) {
        let begun = Instant::now();
        while begun.elapsed() < lasts {
            let conf = &self.confs[rng.usize(..2)];
            {
                let daemon = self.daemon();
                daemon.edit_conf(|_| conf.clone());
                daemon.signal("HUP");
            }
            sleep(ms(rng.u64(0..200)));
        }
        let daemon = self.daemon();
        daemon.edit_conf(|_| self.confs[0].clone());
        daemon.signal("HUP");
    }
}

/// Starts trackport and waits until it hears signals: nobody can catch one that comes before the program's first line.
pub fn launch(daemon: &mut Daemon) {
    const USR1: u64 = 1 << 9;
    daemon.launch();
    let path = format!("/proc/{}/status", daemon.pid());
    eventually(secs(20), "trackport hears signals", || {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        // One that has ended is the watcher's business.
        caught.is_some_and(|caught| caught & USR1 != 0) || !daemon.is_alive()
    });
}

/// How it ended, if it ended by itself.
pub fn ended(daemon: &mut Daemon) -> Option<String> {
    if daemon.is_alive() {
        return None;
    }
    let status = daemon.wait_end(secs(1));
    Some(format!("trackport ended by itself with {status}"))
}

fn delay(switch: &Switch, longest: Duration, lasts: Duration) {
    switch.delay(longest);
    sleep(lasts);
    switch.delay(Duration::ZERO);
}

/// What a power loss leaves behind what was synced: bytes that nobody meant, at the end of the newest segment. False where
/// there is none, or where it was finished: nothing was being written then.
fn tear(spool: &Path, rng: &mut fastrand::Rng) -> bool {
    let newest = fs::read_dir(spool)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "seg")
        })
        .max_by_key(std::fs::DirEntry::file_name);
    let Some(newest) = newest else {
        return false;
    };
    let is_finished = fs::read(newest.path()).is_ok_and(|bytes| has_seal(&bytes));
    if is_finished {
        return false;
    }
    let garbage: Vec<u8> = (0..rng.usize(1..5_000)).map(|_| rng.u8(..)).collect();
    OpenOptions::new()
        .append(true)
        .open(newest.path())
        .and_then(|mut file| file.write_all(&garbage))
        .expect("a segment can be written to");
    true
}

/// Whether a segment ends with its seal; see the spool's own document.
fn has_seal(segment: &[u8]) -> bool {
    /// Marker, CRC, place, length and kind, and then version, counts and times.
    const SEAL_BYTES: usize = 17 + 36;
    segment.len().checked_sub(SEAL_BYTES).is_some_and(|at| {
        segment[at..].starts_with(&[0xF5, 0x54, 0x50, 0xA7]) && segment[at + 16] == 255
    })
}

/// Fills the file system that `folder` lies on; returns the file that does it.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file in the spool's file system");
    let block = vec![0; 64 * 1024];
    let mut size = block.len();
    // Smaller and smaller pieces, until not a byte fits.
    while size > 0 {
        match file.write(&block[..size]) {
            Ok(n) if n == size => {}
            _ => size /= 2,
        }
    }
    path
}

/// A file system of a few megabytes in memory, unmounted on drop.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; `None` where that is not allowed.
    pub fn mount(folder: &Path) -> Option<SmallDisk> {
        fs::create_dir_all(folder).expect("a folder");
        let status = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                "size=24m,mode=0755",
                "trackport-torture",
            ])
            .arg(folder)
            .stderr(std::process::Stdio::null())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then(|| SmallDisk(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
