//! trackport: receives what GPS trackers send and keeps it in PostgreSQL.
//!
//! The modules in reading order, the lowest first. A module uses those above it in this list only.

#![forbid(unsafe_code)]

/// The fifteen digits that name a device.
pub mod imei;

/// The conf file: what it means, and every mistake in it at once.
pub mod conf;

/// Tracker ports: the sockets that devices connect to, and the threads that serve them.
pub mod port;

/// The command line: what may be typed, and how each command ends.
pub mod cli;
