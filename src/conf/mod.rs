//! The conf file as trackport means it: checked values with units. `load.rs` makes it from TOML.
//!
//! Knows nothing of what uses it. Every default stands here once, as `Default`, and in the README's table.

mod change;
mod environment;
mod http;
mod listen;
mod load;
mod ports;
mod report;
mod section;
#[cfg(test)]
mod tests;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use log::LevelFilter;

use crate::imei::Imei;

pub use change::PortChanges;
pub use environment::DATABASE_URL;
pub use listen::parse_listen;
pub use load::{load, parse};
pub use report::{Complaint, ConfErrors};
pub use units::{UnitError, parse_duration, parse_size, show_duration, show_size};

/// Everything the conf file says. The default is what an empty file would say: no ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conf {
    /// Where PostgreSQL is and how it is written to.
    pub database: Database,
    /// The directory that keeps deliveries while the database is away.
    pub spool: Spool,
    /// Who may log in.
    pub devices: Devices,
    /// How wide partitions are and how long records are kept.
    pub retention: Retention,
    /// The tracker ports, ranges expanded, in the order of the file.
    pub ports: Vec<PortConf>,
    /// Metrics and health.
    pub http: Http,
    /// The socket of the command line.
    pub control: Control,
    /// How much is said in the log.
    pub log: Log,
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much of anything is allowed.
    pub limits: Limits,
    /// What is odd in the file without being wrong; for the log and for `trackport check`.
    pub warnings: Vec<Complaint>,
}

/// `[database]`
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// A libpq connection URL or key-value string.
    pub url: String,
    /// Writer threads, each with a connection of its own.
    pub writers: usize,
    /// Records in one batch at most.
    pub batch_records: usize,
}

/// `[spool]`
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Where the segments lie.
    pub directory: PathBuf,
    /// Bytes that all segments may take.
    pub max_size: u64,
    /// What is left free on the disk.
    pub keep_free: KeepFree,
}

/// How much of a disk is left free for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepFree {
    /// Hundredths of the file system.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

/// Which IMEIs are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Only devices that somebody added.
    Known,
    /// Every well-formed IMEI; it is registered at its first login.
    Any,
}

/// `[devices]`
#[derive(Clone, Debug, PartialEq)]
pub struct Devices {
    /// Which IMEIs are let in where the port does not say otherwise.
    pub accept: Accept,
    /// Devices that `accept = "any"` registers per hour at most.
    pub max_new_devices: u32,
}

/// The span of time that one partition of `record` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionWidth {
    /// One UTC day.
    Day,
    /// Monday to Monday, UTC.
    Week,
    /// One calendar month, UTC.
    Month,
}

/// `[retention]`
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// Width of new partitions.
    pub partition: PartitionWidth,
    /// How long records are kept; `None`: for ever.
    pub keep: Option<Duration>,
}

/// What a `listen` says: one host and one port number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listen {
    /// A plain number: every address of this machine, both families where there are both.
    Any(u16),
    /// One literal address.
    Address(SocketAddr),
    /// A host name, resolved when the port is bound; `localhost` means both families.
    Name(String, u16),
}

/// What trackers speak on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Teltonika's codecs 8, 8 Extended and 16 over TCP.
    Teltonika,
}

/// One tracker port: `[[port]]` with its range expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct PortConf {
    /// Where it listens.
    pub listen: Listen,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Overrides `[devices] accept`.
    pub accept: Option<Accept>,
    /// Networks that may connect; empty: all.
    pub allow: Vec<IpNet>,
    /// The one device whose data arrives here, login or not.
    pub device: Option<Imei>,
    /// Bytes of data that a device is asked to put into one TCP segment at most; `None`: as the route says.
    pub max_segment: Option<u16>,
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Http {
    /// Where the web thread listens, as a literal address or `localhost`; `None`: no web thread.
    pub listen: Option<Listen>,
    /// Whether pages and API ask who comes.
    pub access: WebAccess,
    /// What the web may be called in addresses, in small letters; empty: as people like.
    pub hosts: Vec<String>,
    /// The certificate with those of its authorities, and its key; `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// Proxies that say truly for whom they ask and how that was sent.
    pub proxies: Vec<IpNet>,
    /// Where the map's background comes from; `None`: from the program alone.
    pub tiles: Option<Tiles>,
}

/// Where TLS is read from, at start and at each reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the web's certificate, then those that lead from it to an authority's.
    pub certificate: PathBuf,
    /// PEM: the key of the first.
    pub key: PathBuf,
}

/// Somebody's server of map pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// With `{z}`, `{x}` and `{y}`.
    pub url: String,
    /// `https://` and the host: all that pages may load from elsewhere.
    pub origin: String,
    /// Whose the map is, as its owner wants it said.
    pub attribution: String,
}

/// Whether the web asks who comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebAccess {
    /// Nothing is shown without a login.
    #[default]
    Login,
    /// Whoever reaches it, from this machine alone, may do everything.
    Open,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Path of the local socket that `trackport status` and the like speak to.
    pub socket: PathBuf,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The level of all that is not named below.
    pub level: LevelFilter,
    /// Levels of modules, by name.
    pub modules: Vec<(String, LevelFilter)>,
}

/// The modules of trackport that say something in the log, as `[log.modules]` names them.
pub const LOG_MODULES: &[&str] = &[
    "batch",
    "control",
    "directory",
    "drain",
    "keeper",
    "logging",
    "notes",
    "port",
    "recompute",
    "spooler",
    "store",
    "supervisor",
    "trace",
    "web",
    "writer",
];

/// `[timeouts]`
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// From connect to login.
    pub login: Duration,
    /// Without a byte from a logged-in device.
    pub idle: Duration,
    /// From the first to the last byte of a packet.
    pub packet: Duration,
    /// How long a packet waits for the database until the spool takes it.
    pub ack_target: Duration,
    /// One statement of the database.
    pub statement: Duration,
    /// Until a connection to the database that acknowledges nothing is given up.
    pub tcp: Duration,
    /// Without a heartbeat until a port thread is replaced.
    pub silent_after: Duration,
    /// From TERM to the end.
    pub stop: Duration,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of one packet, its frame included.
    pub packet: usize,
    /// Bytes of incomplete packets of all sessions together.
    pub receive: usize,
    /// Bytes of deliveries on their way to the writers.
    pub queue: usize,
    /// Sessions of one port at most.
    pub sessions_per_port: usize,
    /// Sessions of one address that have not logged in, on all ports together.
    pub sessions_per_address: usize,
    /// Logins of one device in a minute.
    pub logins_per_minute: u32,
    /// Bytes that are read of one device in a second.
    pub bytes_per_second: usize,
}

impl KeepFree {
    /// The bytes that are to stay free on a file system of `total` bytes.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            KeepFree::Percent(percent) => total / 100 * u64::from(percent.min(100)),
            KeepFree::Bytes(bytes) => bytes,
        }
    }
}

impl Timeouts {
    /// Without a heartbeat until a thread that speaks to the database is replaced: everything
    /// that may rightly keep it has run out by then.
    pub fn silent_after_database(&self) -> Duration {
        self.statement + self.tcp + self.silent_after
    }
}

impl Default for Database {
    fn default() -> Database {
        Database {
            url: "postgresql:///trackport?host=/run/postgresql".to_owned(),
            writers: 1,
            batch_records: 5000,
        }
    }
}

impl Default for Spool {
    fn default() -> Spool {
        Spool {
            directory: PathBuf::from("/var/lib/trackport/spool"),
            max_size: 8 << 30,
            keep_free: KeepFree::Percent(10),
        }
    }
}

impl Default for Devices {
    fn default() -> Devices {
        Devices {
            accept: Accept::Known,
            max_new_devices: 1000,
        }
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            partition: PartitionWidth::Week,
            keep: None,
        }
    }
}

impl Default for Control {
    fn default() -> Control {
        Control {
            socket: PathBuf::from("/run/trackport/control.sock"),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: LevelFilter::Info,
            modules: Vec::new(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            login: Duration::from_secs(15),
            idle: Duration::from_secs(6 * 3600),
            packet: Duration::from_secs(120),
            ack_target: Duration::from_secs(2),
            statement: Duration::from_secs(30),
            tcp: Duration::from_secs(10),
            silent_after: Duration::from_secs(10),
            stop: Duration::from_secs(20),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            packet: 64 << 10,
            receive: 256 << 20,
            queue: 256 << 20,
            sessions_per_port: 1_000_000,
            sessions_per_address: 10_000,
            logins_per_minute: 60,
            bytes_per_second: 1 << 20,
        }
    }
}
