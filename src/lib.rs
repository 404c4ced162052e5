//! trackport: receives what GPS trackers send and keeps it in PostgreSQL.
//!
//! The modules in reading order, the lowest first. A module uses those above it in this list only.

#![forbid(unsafe_code)]

/// The fifteen digits that name a device.
pub mod imei;

/// The monotonic clock and the wall clock.
pub mod clock;

/// Growing pauses between tries.
pub mod backoff;

/// How fast something may go.
pub mod pace;

/// Passwords and tokens, and what is kept of them.
pub mod secret;

/// What trackers say, as pure functions over bytes.
pub mod protocol;

/// The conf file: what it means, and every mistake in it at once.
pub mod conf;

/// Log lines: with their fields to the journal where systemd runs it, else on stderr.
pub mod logging;

/// Notable facts: one name, one level, one counter each.
pub mod facts;

/// What a supervised thread and its supervisor know of each other.
pub mod life;

/// What is acked while the database is away: segment files on disk.
pub mod spool;

/// PostgreSQL: the schema and everything that is asked of it.
pub mod store;

/// Reports and tracks as files.
pub mod export;

/// Models as people type them, and what an AVL id means on one.
pub mod models;

/// Devices as a spreadsheet writes them.
pub mod sheet;

/// The way to a port thread: its inbox and what it hears there.
pub mod mailbox;

/// What is read from one device and written to it, for whoever looks.
pub mod trace;

/// How long packets waited for their acks.
pub mod acks;

/// The devices in memory.
pub mod fleet;

/// The bytes that deliveries may take on their way.
pub mod room;

/// The copy of the device list on disk, for a start while the database is away.
pub mod roster;

/// Handing over from ports to whoever makes packets durable, with receipts.
pub mod intake;

/// Deliveries in a thread's hand, where others can take them over.
pub mod hand;

/// The ways to whoever makes packets durable.
pub mod doors;

/// Side notes for the keeper.
pub mod notes;

/// A tracker port: its socket, its sessions, its thread.
pub mod port;

/// A lot of packets into the database, whoever brings it.
pub mod batch;

/// A writer: batches into the database, receipts back.
pub mod writer;

/// The spool thread: what waits too long for the database goes to disk, receipts back.
pub mod spooler;

/// What the threads share beyond their queues.
pub mod hub;

/// What is wrong now, for everybody who tells of it.
pub mod trouble;

/// The drain: from the spool to the database.
pub mod drain;

/// The device list, kept in step with the database.
pub mod directory;

/// Housekeeping in the database: schema, partitions, latest positions, events.
pub mod keeper;

/// Typed columns filled anew in the background where a model has changed.
pub mod recompute;

/// The local socket of the command line.
pub mod control;

/// The web thread: metrics, health, API and pages over HTTP.
pub mod web;

/// Starts, watches, restarts and stops every thread.
pub mod supervisor;

/// The command line.
pub mod cli;
