//! The real program as systemd would run it: a conf file, a control socket, a log, signals, an exit code.
//!
//! Every wait has a deadline. What was started is ended by its own process id, also when a test fails; then its log is
//! shown.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::Client;
use trackport::control::client;
use trackport::control::messages::{Request, Response, Status};

use super::{eventually, free_port, ms, postgres as pg, secs};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_trackport");

/// How long the program may take to be ready on a busy machine.
const PATIENCE: Duration = secs(30);

/// A folder that nobody can make.
pub const NO_SPOOL: &str = "directory = \"/proc/no-spool-here\"";

/// Lines of a failed test's log that are shown.
const LOG_LINES: usize = 150;

/// A folder of one test, removed with its value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Short, because the path of a socket has about a hundred bytes.
        let name = format!(
            "trackport-it-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a daemon is to be started with.
pub struct Setup {
    url: String,
    ports: Vec<String>,
    accept: &'static str,
    spool: Option<String>,
    timeouts: Vec<(&'static str, &'static str)>,
    more: String,
    env: Vec<(String, String)>,
    under: Vec<String>,
}

impl Setup {
    /// On the database at `url`, every device accepted, with time-outs that a test can wait for.
    pub fn new(url: &str) -> Setup {
        Setup {
            url: url.to_owned(),
            ports: Vec::new(),
            accept: "any",
            spool: None,
            timeouts: vec![
                ("login", "5 s"),
                ("idle", "10 min"),
                ("packet", "5 s"),
                ("statement", "3 s"),
                ("tcp", "1 s"),
                ("silent_after", "1 s"),
                ("stop", "5 s"),
            ],
            more: String::new(),
            env: Vec::new(),
            under: Vec::new(),
        }
    }

    /// One more `[[port]]` at this number.
    pub fn port(self, number: u16) -> Setup {
        self.port_with(number, "")
    }

    /// One more `[[port]]` at this number, with more keys.
    pub fn port_with(self, number: u16, keys: &str) -> Setup {
        self.listen(&format!("\"127.0.0.1:{number}\""), keys)
    }

    /// One more `[[port]]`, `listen` as TOML.
    pub fn listen(mut self, listen: &str, keys: &str) -> Setup {
        self.ports.push(format!("listen = {listen}\n{keys}"));
        self
    }

    /// Only devices of the table may log in.
    pub fn known_only(mut self) -> Setup {
        self.accept = "known";
        self
    }

    /// The keys of `[spool]`, in place of a folder of the test's own.
    pub fn spool(mut self, keys: &str) -> Setup {
        self.spool = Some(keys.to_owned());
        self
    }

    /// Without a spool: its folder cannot be made.
    pub fn without_spool(self) -> Setup {
        self.spool(NO_SPOOL)
    }

    /// A time-out that differs.
    pub fn timeout(mut self, key: &'static str, value: &'static str) -> Setup {
        self.timeouts.retain(|(other, _)| *other != key);
        self.timeouts.push((key, value));
        self
    }

    /// Other tables of the conf file.
    pub fn more(mut self, toml: &str) -> Setup {
        self.more.push_str(toml);
        self.more.push('\n');
        self
    }

    /// A variable of the environment.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Setup {
        let value = value.as_ref().to_str().expect("UTF-8").to_owned();
        self.env.push((key.to_owned(), value));
        self
    }

    /// Started by another program, which gets these words and the command and makes its own process that command's.
    pub fn under(mut self, words: Vec<String>) -> Setup {
        self.under = words;
        self
    }

    /// Faults to be injected, as the `fail` crate writes them.
    #[cfg(feature = "faults")]
    pub fn faults(self, faults: &str) -> Setup {
        self.env("FAILPOINTS", faults)
    }

    /// The conf file's text.
    fn text(&self, folder: &Folder) -> String {
        let mut text = format!(
            "[database]\nurl = \"{}\"\n[devices]\naccept = \"{}\"\n[control]\nsocket = \"{}\"\n",
            self.url,
            self.accept,
            folder.file("control.sock").display(),
        );
        // Disks of test machines are fuller than those of servers.
        let spool = self.spool.clone().unwrap_or_else(|| {
            format!(
                "directory = \"{}\"\nkeep_free = \"1 GiB\"",
                folder.file("spool").display()
            )
        });
        write!(text, "[spool]\n{spool}\n[timeouts]\n").expect("a string takes anything");
        for (key, value) in &self.timeouts {
            writeln!(text, "{key} = \"{value}\"").expect("a string takes anything");
        }
        text.push_str(&self.more);
        for port in &self.ports {
            text.push_str("[[port]]\n");
            text.push_str(port);
            text.push('\n');
        }
        text
    }

    /// Writes the conf without starting anything.
    pub fn write(self) -> Daemon {
        let folder = Folder::new();
        fs::write(folder.file("trackport.toml"), self.text(&folder)).expect("a conf file");
        Daemon {
            folder,
            setup: self,
            child: None,
            n_starts: 0,
        }
    }

    /// Starts the program and does not wait for anything.
    pub fn launch(self) -> Daemon {
        let mut daemon = self.write();
        daemon.launch();
        daemon
    }

    /// Starts the program and waits until it is ready to take logins and to store.
    pub fn start(self) -> Daemon {
        let daemon = self.launch();
        daemon.wait_ready();
        daemon
    }
}

/// A running program, or one that ran.
pub struct Daemon {
    folder: Folder,
    setup: Setup,
    child: Option<Child>,
    n_starts: u32,
}

impl Daemon {
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn conf(&self) -> PathBuf {
        self.folder.file("trackport.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.file("control.sock")
    }

    /// Starts the program, for the first time or again.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.file("log"))
            .expect("a log file");
        let mut words = self.setup.under.iter().map(String::as_str).chain([BINARY]);
        let mut command = Command::new(words.next().expect("the program at least"));
        command
            .args(words)
            .args(["run", "--conf"])
            .arg(self.conf())
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env("RUST_LOG", "warn,trackport=debug")
            .env("RUST_BACKTRACE", "0")
            .envs(self.setup.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        self.child = Some(command.spawn().expect("the program starts"));
        self.n_starts += 1;
    }

    /// Sets a variable of the environment of later starts.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.setup.env.push((key.to_owned(), value.to_owned()));
    }

    /// Injects these faults at later starts.
    #[cfg(feature = "faults")]
    pub fn inject_faults(&mut self, faults: &str) {
        self.forget_faults();
        self.setup
            .env
            .push(("FAILPOINTS".to_owned(), faults.to_owned()));
    }

    /// Injects no faults any more at later starts.
    #[cfg(feature = "faults")]
    pub fn forget_faults(&mut self) {
        self.setup.env.retain(|(key, _)| key != "FAILPOINTS");
    }

    /// Waits until it hears signals and serves its ports, whatever else is missing.
    #[track_caller]
    pub fn wait_serving(&self) {
        eventually(PATIENCE, "serving", || {
            self.try_status().is_some_and(|status| {
                !status.ports.is_empty() && status.ports.iter().all(|port| port.state == "running")
            })
        });
    }

    /// Waits until everything runs. What lies in quarantine keeps nobody from logging in and storing.
    #[track_caller]
    pub fn wait_ready(&self) {
        eventually(PATIENCE, "ready", || {
            assert!(self.is_alive(), "it ended while it started\n{}", self.log());
            let ready = |status: Status| {
                let in_the_way = |trouble: &&String| !trouble.contains("in quarantine");
                let troubles = self.without_wanted(status.troubles.clone());
                troubles.iter().find(in_the_way).is_none()
                    && status.devices_loaded
                    && status.writers.iter().all(|writer| writer.database == "up")
                    && status.ports.iter().all(|port| port.state == "running")
            };
            self.try_status().is_some_and(ready)
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // One that ended and is not waited for yet is a Z.
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    /// Sends a signal: `TERM`, `HUP`, `KILL`, …
    pub fn signal(&self, signal: &str) {
        super::kill(self.pid(), signal);
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait_end(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        let child = self.child.as_mut().expect("it runs");
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                self.child = None;
                return status;
            }
            assert!(begun.elapsed() < within, "did not end within {within:?}");
            sleep(ms(10));
        }
    }

    /// TERM, and the exit code.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait_end(secs(10)).code()
    }

    /// Ends it as a power loss would.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal("KILL");
        let status = self.wait_end(secs(10));
        assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");
    }

    /// Everything it wrote, of all starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.file("log")).unwrap_or_default()).into_owned()
    }

    /// The lines of the log with all of these words in them.
    pub fn log_lines(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(has_all).map(ToOwned::to_owned).collect()
    }

    /// Waits for a line with all of these words and returns it.
    #[track_caller]
    pub fn wait_log(&self, within: Duration, words: &[&str]) -> String {
        let mut lines = Vec::new();
        eventually(within, &format!("a log line with {words:?}"), || {
            lines = self.log_lines(words);
            !lines.is_empty()
        });
        lines.remove(0)
    }

    /// What it says of itself, if it answers.
    pub fn try_status(&self) -> Option<Status> {
        match client::ask(&self.socket(), &Request::Status) {
            Ok(Response::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// What it says of itself.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.try_status()
            .expect("an answer over the control socket")
    }

    /// What it says is wrong, beside the spool that it was started without.
    #[track_caller]
    pub fn troubles(&self) -> Vec<String> {
        self.without_wanted(self.status().troubles)
    }

    fn without_wanted(&self, mut troubles: Vec<String>) -> Vec<String> {
        if self.setup.spool.as_deref() == Some(NO_SPOOL) {
            troubles.retain(|trouble| !trouble.starts_with("spool: "));
        }
        troubles
    }

    /// Waits until everything that was in the spool is in the database.
    #[track_caller]
    pub fn wait_drained(&self, within: Duration) {
        eventually(within, "the spool is empty", || {
            let spool = self.status().spool;
            spool.packets == 0 && spool.state == "empty"
        });
    }

    /// How often a fact happened.
    #[track_caller]
    pub fn count(&self, fact: &str) -> u64 {
        let counts = self.status().counts;
        counts
            .iter()
            .find(|(name, _)| name == fact)
            .map_or(0, |(_, n)| *n)
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("a number")
            .parse()
            .expect("a number");
        kib * 1024
    }

    /// Runs the program's command line against this conf.
    pub fn command(&self, args: &[&str]) -> Output {
        Command::new(BINARY)
            .args(args)
            .arg("--conf")
            .arg(self.conf())
            .env_remove("FAILPOINTS")
            .stdin(Stdio::null())
            .output()
            .expect("the program starts")
    }

    /// The same, and it must do it; returns what it printed.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.command(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{args:?}: {}\n{out}{err}",
            output.status
        );
        out
    }

    /// Adds or replaces text in the conf file.
    pub fn edit_conf(&self, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.conf()).expect("the conf file");
        fs::write(self.conf(), edit(text)).expect("the conf file");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let mut ended = None;
        if let Some(mut child) = self.child.take() {
            super::kill(child.id(), "TERM");
            let begun = Instant::now();
            while begun.elapsed() < secs(8) && matches!(child.try_wait(), Ok(None)) {
                sleep(ms(10));
            }
            // An error means that it has ended.
            let _ = child.kill();
            ended = child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES);
            eprintln!(
                "--- the daemon's log, {from} lines left out ---\n{}\n---",
                lines[from..].join("\n")
            );
        } else if let Some(status) = ended {
            assert!(status.success(), "after TERM: {status}\n{}", self.log());
        }
    }
}

/// A running daemon with one port that takes every device, and its database.
pub fn started() -> (Daemon, Client, u16) {
    let (database, client) = pg::shared().migrated();
    let port = free_port();
    (Setup::new(&database.url).port(port).start(), client, port)
}

/// The same, taking only devices of the table.
pub fn started_known() -> (Daemon, Client, u16) {
    let (database, client) = pg::shared().migrated();
    let port = free_port();
    let setup = Setup::new(&database.url).known_only().port(port);
    (setup.start(), client, port)
}
/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the program by itself.
pub fn run(args: &[&str]) -> Output {
    Command::new(BINARY)
        .args(args)
        .env_remove("TRACKPORT_CONF")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}
