//! What is said over the control socket. Its shapes are its own: nothing inside depends on them.

use serde::{Deserialize, Serialize};

use crate::trouble::Readiness;

/// What the command line asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// The state of everything.
    Status,
    /// The open sessions.
    Sessions {
        /// Only those of this IMEI.
        imei: Option<String>,
        /// Only those of this port, by label.
        port: Option<String>,
        /// So many at most.
        limit: usize,
    },
    /// What is known of a device.
    Device {
        /// Which.
        imei: String,
    },
    /// Close the session of this IMEI.
    CloseSession {
        /// Whose.
        imei: String,
    },
    /// Restart the thread of a port.
    RestartPort {
        /// Its label, or its number where that is enough.
        port: String,
    },
    /// Show what this device sends and what it is answered.
    Trace {
        /// Whose.
        imei: String,
        /// Until it ends by itself, in seconds.
        for_s: u64,
        /// Into the log, and then whether to switch it on or off; else as answers.
        log: Option<bool>,
    },
}

/// What the server answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Sessions`].
    Sessions {
        /// The sessions, up to the limit.
        sessions: Vec<Session>,
        /// How many there are.
        total: usize,
    },
    /// To [`Request::Trace`]: one line of many; the last answer is [`Response::Done`].
    Line {
        /// What happened.
        text: String,
    },
    /// To [`Request::Device`].
    Device {
        /// Whether the device list is loaded from the database.
        is_loaded: bool,
        /// The device as it is in memory; absent: it is not.
        device: Option<DeviceNow>,
    },
    /// What was asked for was done.
    Done {
        /// In words.
        text: String,
    },
    /// It was not.
    Error {
        /// Why, and what would help.
        text: String,
    },
}

/// The state of the server.
///
/// What an older server does not say is as if there were none of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `CARGO_PKG_VERSION`.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// What its connections to PostgreSQL are called before the `/` and the thread.
    pub application: String,
    /// Where its conf was read from.
    pub conf: String,
    /// RFC 3339.
    pub started_at: String,
    /// In seconds.
    pub uptime_s: u64,
    /// Milliseconds since the supervisor's loop turned, which it does every 50 ms.
    pub supervisor_turned_ms_ago: u64,
    /// Whether what devices send now is acknowledged.
    pub readiness: Readiness,
    /// Nothing wrong, or what is.
    pub troubles: Vec<String>,
    /// Devices known.
    pub n_devices: usize,
    /// Whether the device list is loaded.
    pub devices_loaded: bool,
    /// Bytes of deliveries under way, and how many are allowed.
    pub queue_bytes: usize,
    /// Their limit.
    pub queue_limit: usize,
    /// Bytes of incomplete packets.
    pub receive_bytes: usize,
    /// How many there may be.
    #[serde(default)]
    pub receive_limit: usize,
    /// Sessions that there may be, all ports together.
    #[serde(default)]
    pub sessions_limit: usize,
    /// Packets acked since the start that are in the database.
    #[serde(default)]
    pub acks_database: u64,
    /// Packets acked since the start out of the spool.
    #[serde(default)]
    pub acks_spool: u64,
    /// Devices that have no room left in quarantine.
    #[serde(default)]
    pub quarantine_full_devices: u64,
    /// Entries of quarantine that were acked: the only copies of their packets.
    pub quarantine_acked: u64,
    /// Those of them that nobody has dismissed.
    pub quarantine_alerting: u64,
    /// Entries of quarantine that were not acked and rotate.
    pub quarantine_unacked: u64,
    /// Bytes of packets that wait for room in the queue.
    pub waiting_bytes: usize,
    /// The writers.
    pub writers: Vec<Writer>,
    /// The spool.
    pub spool: Spool,
    /// The ports.
    pub ports: Vec<Port>,
    /// Every supervised thread.
    pub threads: Vec<Thread>,
    /// Devices that somebody looks at.
    #[serde(default)]
    pub traces: Vec<Trace>,
    /// Log lines that nobody read in time, and that are lost.
    #[serde(default)]
    pub log_lines_lost: u64,
    /// Networks from which packets stopped half way, the last first.
    pub stalls: Vec<Stall>,
    /// The last line of each fact that was odd or worse, the last first.
    pub remarks: Vec<Remark>,
    /// Facts that happened, by name.
    pub counts: Vec<(String, u64)>,
}

/// One trace that is on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trace {
    /// Whose.
    pub imei: String,
    /// Whether it goes to the log.
    pub to_log: bool,
    /// RFC 3339.
    pub until: String,
}

/// One writer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Writer {
    /// `writer-0`.
    pub name: String,
    /// `up`, `away`, …
    pub database: String,
    /// What the database said last when something was wrong.
    pub last_error: String,
    /// Deliveries in its queue.
    pub queued: usize,
    /// Batches stored.
    pub batches: u64,
    /// Records stored.
    pub records: u64,
    /// How long the last batch took, in milliseconds.
    pub last_batch_ms: u64,
}

/// The spool.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Spool {
    /// One of [`Spool::STATES`]: `waiting` is for the database.
    pub state: String,
    /// What is wrong with it.
    pub trouble: Option<String>,
    /// Segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that may still be added, by `max_size` and by what is kept free on the disk.
    pub room_bytes: u64,
    /// Packets in it.
    pub packets: u64,
    /// Records in it.
    pub records: u64,
    /// RFC 3339: when the oldest packet in it arrived.
    pub oldest_at: Option<String>,
    /// The same in seconds from then to now.
    #[serde(default)]
    pub oldest_age_s: Option<u64>,
    /// Records a second that go in, over the last ten seconds.
    pub records_in_per_s: u64,
    /// Records a second that go out.
    pub records_out_per_s: u64,
    /// Seconds until it is empty, at this rate.
    pub empty_in_s: Option<u64>,
    /// Seconds until it is full, at this rate.
    pub full_in_s: Option<u64>,
    /// Packets that went in since the start.
    #[serde(default)]
    pub total_packets_in: u64,
    /// Packets that went out since the start.
    #[serde(default)]
    pub total_packets_out: u64,
    /// Records that went in since the start.
    pub total_records_in: u64,
    /// Records that went out since the start.
    pub total_records_out: u64,
    /// Files that were set aside because something in them could not be read.
    pub set_aside_files: u64,
    /// Their bytes.
    pub set_aside_bytes: u64,
}

impl Spool {
    /// The states there are.
    pub const STATES: [&'static str; 7] = [
        "empty",
        "taking",
        "draining",
        "waiting",
        "full",
        "failing",
        "not usable",
    ];
}

/// One port.
#[derive(Debug, Serialize, Deserialize)]
pub struct Port {
    /// `[::]:5027`.
    pub label: String,
    /// `running`, `restarting`, …, `not bound`.
    pub state: String,
    /// Open connections.
    pub sessions: usize,
    /// Connections accepted.
    pub connections: u64,
    /// Packets acked.
    pub packets: u64,
    /// Records acked.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// RFC 3339; absent before the first.
    pub last_ack_at: Option<String>,
    /// The one device of a pinned port.
    pub device: Option<String>,
    /// Why it is not bound.
    pub reason: Option<String>,
}

/// One thread.
#[derive(Debug, Serialize, Deserialize)]
pub struct Thread {
    /// Its name.
    pub name: String,
    /// Its start number.
    pub generation: u64,
    /// `running`, …
    pub state: String,
    /// Milliseconds since its last beat.
    pub beat_age_ms: u64,
    /// How often it failed.
    pub failures: u32,
    /// How often of these it went silent.
    #[serde(default)]
    pub silences: u32,
    /// Why it failed last.
    pub last_failure: String,
}

/// Packets from one network that were begun and not completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// `10.1.2.0/24`, or a /64.
    pub network: String,
    /// How many.
    pub packets: u64,
    /// How many of the last ones stopped after the same number of bytes, while no longer one came through.
    pub in_a_row: u64,
    /// After how many bytes the last one stopped.
    pub received: u64,
    /// How many it should have had, where that was received.
    pub expected: Option<u64>,
    /// RFC 3339: when the last one was given up.
    pub last_at: String,
}

/// The last line of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The fact's name.
    pub fact: String,
    /// `error` or `warn`.
    pub level: String,
    /// What was said.
    pub text: String,
    /// RFC 3339.
    pub at: String,
}

/// What the server knows of a device now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNow {
    /// `device.id`; absent while the database has not given it one.
    pub id: Option<i32>,
    /// `accepted`, `refused`, …
    pub state: String,
    /// It is kept out for a while, because its last session stopped a thread.
    pub is_kept_out: bool,
    /// Its sessions, its packets on their way, and its rows that are being stored.
    pub n_holders: usize,
}

/// One session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    /// On which port.
    pub port: String,
    /// From where.
    pub peer: String,
    /// Who, once it said so.
    pub imei: Option<String>,
    /// RFC 3339.
    pub connected_at: String,
}
