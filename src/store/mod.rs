//! The only code that speaks SQL: the schema, the connection, and what is asked of the tables.
//!
//! Knows nothing of ports and threads: every function takes a connection, blocks for the statement
//! time-out at most and is called again by whoever wanted it. Times are `SystemTime`, microseconds in the tables.

/// Vehicles, machines and boxes: what is tracked.
pub mod asset;
/// Making and changing assets.
pub mod asset_change;
/// Assets as a list of a page.
pub mod asset_list;
/// Who did what.
pub mod audit;
/// A connection that has a deadline for everything.
pub mod connect;
/// Many rows at once.
mod copy_out;
/// Devices as an operator keeps them.
pub mod device;
/// Devices as a list of a page.
pub mod device_list;
/// What AVL ids mean.
pub mod dictionary;
/// Devices as a running server keeps them.
pub mod directory;
/// Errors and what to do about them.
pub mod error;
/// A few rows in one statement.
mod few;
/// Values as people enter them.
mod field;
/// Which device is in which asset.
pub mod fitting;
/// Erasing a device.
pub mod forget;
/// Groups of assets, with the parameters of their reports.
pub mod group;
/// What is asked of a database that may be ill.
pub mod health;
/// What quarantine holds, as an operator works on it.
pub mod held;
/// Positions of another server.
pub mod imported;
/// Batches into `record`.
pub mod insert;
/// Refused logins and the fates of threads.
pub mod journal;
/// The newest record and the newest fix of each device.
pub mod latest;
/// What all assets' devices said last.
pub mod live;
/// The schema, brought to this program's version.
pub mod migrate;

/// Partitions of `record`, ahead of time and no longer than wanted.
pub mod partition;
/// Packets that cannot be read or stored.
pub mod quarantine;
/// What one IO element says.
pub mod reading;
/// Typed columns filled anew where a model has changed.
pub mod recompute;
/// Reports about assets, and their tracks.
pub mod report;
/// Bytes in quarantine, read and stored again.
pub mod reread;
/// Records as rows of a COPY.
pub mod rows;
/// What an asset's devices recorded in a span of time.
pub mod series;
/// Logins of browsers and tokens of programs.
pub mod session;
/// Many devices with their assets at once.
pub mod sheet;
/// Which model a device may be.
pub mod suggest;
/// Which AVL ids fill the typed columns of a record.
pub mod typed;
/// Who may use the web.
pub mod user;

/// What the wall clock is held against before anything is removed.
pub mod witness;

/// One tracker in place of another.
pub mod replace;

/// Rows into a new partition.
mod attach;
/// The dictionary as a table.
mod avl_id;
/// Whether a text has changed.
mod digest;
/// What sorted and searched lists share.
mod listing;
/// Where the password comes from.
mod password;

pub use connect::{
    SERVER_VERSION_MIN, ServerFacts, backend_pid, connect, connect_elsewhere, end_backend,
    server_facts,
};
pub use error::{ErrorClass, FieldMistake, StoreError, class, describe};
pub use migrate::{
    Applied, SCHEMA_VERSION, Step, check_schema, migrate, migrate_reporting, schema_version,
};
pub use typed::{Event, SHAKEN, Typed, TypedColumns};
