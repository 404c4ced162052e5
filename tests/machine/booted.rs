//! A booted machine: systemd as its first process, PostgreSQL, a journal, and a network of its own with a loopback only.
//!
//! Started by systemd-nspawn; commands go in by nsenter, and tests that speak TCP to it run [`Booted::inside`]. What was started is
//! ended by its process id, also when a test fails; then the console and the journal are shown.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::daemon::text;
use crate::harness::{eventually, kill, ms, secs};
use crate::root::{Root, run, said};

/// How long a boot may take on a busy machine.
const PATIENCE: Duration = secs(60);

/// How long it may take to end.
const ENDING: Duration = secs(10);

/// Lines of a failed test's journal that are shown.
const JOURNAL_LINES: &str = "150";

/// A booted machine.
pub struct Booted {
    root: Root,
    nspawn: Child,
    /// Its first process, as this machine numbers it.
    first: u32,
    cgroups: Vec<PathBuf>,
}

impl Booted {
    /// Boots it, and waits until everything that belongs to a boot has been started.
    #[track_caller]
    pub fn boot(root: Root) -> Booted {
        let console = fs::File::create(console(&root)).unwrap();
        let cgroups = cgroups();
        let place = root.path("/").display().to_string();
        // Ends with the test, however that ends. Each machine has a control group of its own, else they would share one.
        let mut script = String::from("set -e; ");
        for cgroup in &cgroups {
            fs::create_dir_all(cgroup).unwrap();
            script += &format!("echo $$ >{}/cgroup.procs; ", cgroup.display());
        }
        script += "exec setpriv --pdeathsig KILL systemd-nspawn --quiet --register=no --private-network --console=pipe --boot";
        if !cgroups.is_empty() {
            script += " --keep-unit";
        }
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("{script} --directory={place}")])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console);
        let nspawn = command.spawn().unwrap();
        let mut booted = Booted {
            root,
            nspawn,
            first: 0,
            cgroups,
        };
        eventually(PATIENCE, "a first process", || {
            let ended = booted.nspawn.try_wait().unwrap();
            assert!(ended.is_none(), "it does not boot: {ended:?}");
            booted.first = first_process(booted.nspawn.id()).unwrap_or(0);
            booted.first != 0
        });
        eventually(PATIENCE, "a booted machine", || {
            let state = text(&booted.run(&["systemctl", "is-system-running"]).stdout);
            ["running", "degraded"].contains(&state.trim())
        });
        booted
    }

    /// Its files.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Runs a command in it, as root.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command
            .args([
                "-t",
                &self.first.to_string(),
                "-m",
                "-p",
                "-u",
                "-i",
                "-n",
                "--",
            ])
            .args(["/usr/bin/env", "-i", "LC_ALL=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(args);
        run(&mut command)
    }

    /// The same, and it must do it; returns what it printed.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        said(args, &self.run(args))
    }

    /// The same by a shell.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        self.must(&["/bin/sh", "-ec", script])
    }

    /// Runs `body` on a thread that has this machine's network, as all threads have that it starts.
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.first)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap();
                body()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The number that this machine has for a process of that one.
    #[track_caller]
    pub fn pid_here(&self, pid: u32) -> u32 {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.first);
        let numbers = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let found = pids.find(|here| {
            let status = fs::read_to_string(format!("/proc/{here}/status")).unwrap_or_default();
            let numbers = status.lines().find(|line| line.starts_with("NSpid:"));
            namespace(*here) == own
                && numbers.is_some_and(|line| line.ends_with(&format!("\t{pid}")))
        });
        found.expect("the process runs")
    }

    /// Where a file of it lies, what is mounted in it included.
    pub fn live_path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.first))
    }

    /// A property of a unit, as `systemctl show` has it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let value = self.must(&["systemctl", "show", "--value", "--property", name, unit]);
        value.trim().to_owned()
    }

    /// Waits until a property of a unit has this value.
    #[track_caller]
    pub fn wait_property(&self, unit: &str, name: &str, wanted: &str, within: Duration) {
        let what = format!("{name}={wanted} of {unit}");
        eventually(within, &what, || self.property(unit, name) == wanted);
    }

    /// What the journal has of a unit, in the form that `journalctl --output` names.
    pub fn journal(&self, unit: &str, form: &str) -> String {
        self.must(&[
            "journalctl",
            "--no-pager",
            "--quiet",
            "--unit",
            unit,
            "--output",
            form,
        ])
    }

    /// Waits for a line in the journal of a unit that has all of these words, and returns it.
    #[track_caller]
    pub fn wait_journal(&self, unit: &str, within: Duration, words: &[&str]) -> String {
        let mut found = None;
        eventually(within, &format!("a line of {unit} with {words:?}"), || {
            let journal = self.journal(unit, "cat");
            found = journal
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(ToOwned::to_owned);
            found.is_some()
        });
        found.expect("it was found")
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = fs::read_to_string(console(&self.root)).unwrap_or_default();
            eprintln!("the console:\n{console}");
            if self.first != 0 {
                let journal = self.run(&["journalctl", "--no-pager", "--lines", JOURNAL_LINES]);
                eprintln!("the journal:\n{}", text(&journal.stdout));
            }
        }
        // With its first process everything in it ends, and with that systemd-nspawn; or with systemd-nspawn its first process.
        if self.first != 0 {
            kill(self.first, "KILL");
            let begun = Instant::now();
            while matches!(self.nspawn.try_wait(), Ok(None)) && begun.elapsed() < ENDING {
                sleep(ms(10));
            }
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        for cgroup in &self.cgroups {
            let _ = run(Command::new("find")
                .arg(cgroup)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]));
        }
    }
}

/// What it says while it boots.
fn console(root: &Root) -> PathBuf {
    root.path("/").with_file_name("console")
}

/// The child of systemd-nspawn that is the first process in a machine; others only prepare it.
fn first_process(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_first = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let numbers = status.lines().find(|line| line.starts_with("NSpid:"));
        name.trim() == "systemd" && numbers.is_some_and(|numbers| numbers.ends_with("\t1"))
    };
    let mut pids = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.find(is_first)
}

/// Control groups to be made for a machine. None where a systemd runs this one: it makes them itself.
fn cgroups() -> Vec<PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    if Path::new("/run/systemd/system").exists() {
        return Vec::new();
    }
    let name = format!(
        "trackport-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    [
        "/sys/fs/cgroup/systemd",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup",
    ]
    .iter()
    .map(Path::new)
    .filter(|mount| mount.join("cgroup.procs").exists())
    .map(|mount| mount.join(&name))
    .collect()
}

#[test]
fn a_booted_machine_has_its_own_network_processes_and_database() {
    let Some(root) = Root::new() else {
        return;
    };
    let machine = Booted::boot(root);
    assert!(
        machine
            .shell("systemctl --version")
            .starts_with("systemd 252")
    );
    let postgres = "postgresql@15-main";
    machine.wait_property(postgres, "ActiveState", "active", PATIENCE);
    machine.inside(|| {
        std::net::TcpStream::connect("127.0.0.1:5432").unwrap();
        assert!(
            std::net::TcpListener::bind("127.0.0.1:502").is_ok(),
            "a network of its own"
        );
    });
    let rows = machine.shell("su postgres -c 'psql -Atc \"SELECT 1 + 1\"'");
    assert_eq!(rows.trim(), "2");
    machine.wait_journal(postgres, PATIENCE, &["Started", "PostgreSQL"]);
    let motd = machine.root().read("/etc/motd");
    assert_eq!(machine.must(&["cat", "/etc/motd"]), motd);
    let first = machine.first;
    drop(machine);
    assert!(
        !Path::new(&format!("/proc/{first}")).exists(),
        "it has ended"
    );
}
