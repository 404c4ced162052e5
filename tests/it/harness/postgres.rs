//! A throw-away PostgreSQL cluster in a temporary folder, durable as a real one (`fsync = on`).
//!
//! `shared()` is one cluster for the whole binary; each test takes a `Database` of its own in it. Tests that stop, kill or
//! freeze the server start their own `Cluster`. The server runs as user postgres when the tests run as root, which
//! PostgreSQL refuses. Everything ends with the test binary: by drop, or, for the shared cluster, by a
//! process that waits for the binary's end.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;
use trackport::conf;
use trackport::store;

/// How long the server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own, stopped and removed on drop.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
}

/// A fresh database in a cluster.
pub struct Database {
    /// A URL for `[database] url`, by socket.
    pub url: String,
}

/// The cluster that the tests of this binary share.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = Cluster::start();
        // A static is never dropped: a shell outlives this process and tidies up. Its standard input
        // is a pipe that nobody writes to; it ends when this process does.
        let tidy = format!(
            "cat >/dev/null; kill -QUIT {} 2>/dev/null; sleep 1; rm -rf '{}'",
            cluster.server_pid(),
            cluster.folder.display()
        );
        let child = Command::new("/bin/sh")
            .args(["-c", &tidy])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        std::mem::forget(child);
        cluster
    })
}

impl Cluster {
    /// Makes and starts a cluster.
    pub fn start() -> Cluster {
        let cluster = Cluster::unmade();
        run(cluster
            .tool("initdb")
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(cluster.data()));
        cluster.settle();
        cluster
    }

    /// A folder and a port for a cluster.
    fn unmade() -> Cluster {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Short, because the path of a socket has about a hundred bytes.
        let folder = std::env::temp_dir().join(format!(
            "trackport-pg-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&folder).expect("a temporary folder");
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&folder));
        }
        // The port is free now; another process could take it before the server does, and then the
        // start fails loudly.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        Cluster { folder, port }
    }

    /// Gives it its settings, behind those that stand there, and starts it.
    fn settle(&self) {
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             fsync = on\nmax_connections = 200\nlog_min_messages = warning\n",
            self.port,
            self.folder.display()
        );
        File::options()
            .append(true)
            .create(true)
            .open(self.data().join("postgresql.auto.conf"))
            .and_then(|mut file| file.write_all(settings.as_bytes()))
            .expect("the settings of the cluster");
        self.start_server();
    }

    /// How its superuser connects, as `key=value` pairs.
    fn keys(&self) -> String {
        format!(
            "host={} port={} user=postgres",
            self.folder.display(),
            self.port
        )
    }

    /// Starts the server after `stop_server` or a kill.
    pub fn start_server(&self) {
        run(self
            .tool("pg_ctl")
            .args(["start", "-w", "-s", "-t"])
            .arg(PATIENCE.as_secs().to_string())
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(self.data().join("server.log")));
    }

    /// Stops the server; `mode` as `pg_ctl -m` has it: fast, immediate, smart.
    pub fn stop_server(&self, mode: &str) {
        run(self
            .tool("pg_ctl")
            .args(["stop", "-w", "-s", "-m", mode, "-D"])
            .arg(self.data()));
    }

    /// Asks for passwords over TCP from now on.
    pub fn demand_passwords(&self) {
        let rules = "local all all trust\nhost all all all scram-sha-256\n";
        fs::write(self.data().join("pg_hba.conf"), rules).expect("the rules of the cluster");
        // Whoever connects after it has returned is asked.
        run(self
            .tool("pg_ctl")
            .args(["reload", "-s", "-D"])
            .arg(self.data()));
        super::eventually(PATIENCE, "the server asks for passwords", || {
            let url = format!(
                "postgresql://postgres:wrong@127.0.0.1:{}/postgres",
                self.port
            );
            Client::connect(&url, postgres::NoTls).is_err()
        });
    }

    /// Process id of the postmaster.
    pub fn server_pid(&self) -> u32 {
        fs::read_to_string(self.data().join("postmaster.pid"))
            .expect("the server runs")
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .expect("a process id in the first line")
    }

    /// Process ids of the postmaster and all its children.
    pub fn all_pids(&self) -> Vec<u32> {
        let server = self.server_pid();
        let mut pids = vec![server];
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().nth(1));
            if parent.and_then(|parent| parent.parse().ok()) == Some(server) {
                pids.push(pid);
            }
        }
        pids
    }

    /// Sends `signal` (`STOP`, `CONT`, `KILL`) to the postmaster and all its children.
    pub fn signal_all(&self, signal: &str) {
        for pid in self.all_pids() {
            // A child may have ended meanwhile.
            super::kill(pid, signal);
        }
    }

    /// The TCP port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection string for database `name` as `user`, by socket.
    pub fn url(&self, name: &str, user: &str) -> String {
        format!(
            "postgresql:///{name}?host={}&port={}&user={user}",
            self.folder.display(),
            self.port
        )
    }

    /// A fresh, empty database.
    pub fn database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut client = connect(&self.url("postgres", "postgres"));
        // From template0, because two tests cannot copy template1 while one of them looks at it.
        client
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .expect("a fresh database");
        Database {
            url: self.url(&name, "postgres"),
        }
    }

    /// A fresh database with the schema in it.
    pub fn migrated(&self) -> (Database, Client) {
        let database = self.database();
        let mut client = connect(&database.url);
        store::migrate(&mut client).expect("the schema");
        (database, client)
    }

    /// Where its data and its socket lie; its programs may write here.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a program of PostgreSQL to its end, which must be a good one.
    #[track_caller]
    pub fn run_tool(&self, name: &str, args: &[&str]) {
        run(self.tool(name).args(args));
    }

    /// A second server, which follows this one by `name`.
    pub fn standby(&self, name: &str) -> Cluster {
        let standby = Cluster::unmade();
        let from = format!("{} application_name={name}", self.keys());
        run(standby
            .tool("pg_basebackup")
            .args(["-c", "fast", "-R", "-d", &from, "-D"])
            .arg(standby.data()));
        standby.settle();
        standby
    }

    /// Makes a standby the server that is written to.
    pub fn promote(&self) {
        run(self
            .tool("pg_ctl")
            .args(["promote", "-w", "-s", "-D"])
            .arg(self.data()));
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of PostgreSQL, run as somebody it accepts.
    fn tool(&self, name: &str) -> Command {
        let program = bin().join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--init-groups",
                    "--",
                ])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.folder).env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid"))
            && let Some(pid) = text.lines().next()
        {
            // A frozen server cannot end: it is woken, then told.
            self.signal_all("CONT");
            super::kill(pid, "QUIT");
            let begun = Instant::now();
            while Path::new("/proc").join(pid).exists() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Database {
    /// A connection as trackport makes it.
    pub fn connect(&self) -> Client {
        connect(&self.url)
    }
}

/// A connection as trackport makes it.
pub fn connect(url: &str) -> Client {
    let database = conf::Database {
        url: url.to_owned(),
        writers: 1,
        batch_records: 5000,
    };
    store::connect(&database, &timeouts(), "trackport test").expect("a connection")
}

/// The defaults of the conf file.
pub fn timeouts() -> conf::Timeouts {
    conf::Timeouts::default()
}

/// Where the programs of the newest PostgreSQL on this machine are.
fn bin() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (root, tail) in [("/usr/lib/postgresql", "bin"), ("/usr", "bin")] {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let version = entry
                .file_name()
                .to_string_lossy()
                .replace("pgsql-", "")
                .parse();
            let folder = entry.path().join(tail);
            if let Ok(version) = version
                && folder.join("initdb").exists()
            {
                found.push((version, folder));
            }
        }
    }
    found.sort();
    found
        .pop()
        .map(|(_, folder)| folder)
        .or_else(|| {
            Path::new("/usr/bin/initdb")
                .exists()
                .then(|| PathBuf::from("/usr/bin"))
        })
        .expect("PostgreSQL's programs: install the package postgresql")
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn run(command: &mut Command) {
    // Into files, not pipes: a server that pg_ctl leaves behind would keep a pipe open for ever.
    let output = std::env::temp_dir().join(format!(
        "trackport-run-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = fs::File::create(&output).expect("a temporary file");
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .status();
    let said = fs::read_to_string(&output).unwrap_or_default();
    let _ = fs::remove_file(&output);
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}\n{said}"
    );
}
