//! Every test that looks at trackport from outside, in one binary, because that links once.
//!
//! A module asks one kind of question; its comment says which, so that a new test finds its place.

// The exception for tests in clippy.toml does not reach their helper functions.
#![allow(clippy::unwrap_used)]

// A stream in words: what a support engineer reads of good and of broken bytes.
mod explain;
// The makers' frames and captures, byte for byte: what is published must decode as published.
mod golden;
// Properties over made-up packets: what is encoded comes back, what is damaged is refused.
mod roundtrip;
// One connection as a state machine, by hand-made time: answers, order, time-outs.
mod session;
// Things to test against.
mod harness;
// The tables: migrations, views, partitions, and the rules of what is kept beside the records.
mod schema;
// The database is away or slow, and the spool takes its place.
mod spool;
// Trackers that behave: from the socket to the row.
mod ingest;
// The ways of a batch into the table.
mod batches;
// Durable first, then the ack, by the program's system calls.
mod order;
// Who may speak.
mod login;
// What records say beside where: events, faulty sensors, how often a device is heard; and what a changed model does to them.
mod columns;
// People work in the database beside the server.
mod directory;
// Packets that cannot be read or stored.
mod refused;
// What people do with such packets, and what the server says about them.
mod quarantine;
// Whatever else speaks to a tracker port.
mod bad_input;
// The database or trackport itself goes away.
mod outage;
// Backups, and moves to another server or machine, while devices send.
mod backup;
// The operator speaks to the running server.
mod signals;
// Somebody looks at one device of the running server.
mod tracing;
// How much is said in the log, and where.
mod log;
// What systemd is told.
mod systemd;
// What the torture run relies on.
mod torture;
// Threads that die or hang.
#[cfg(feature = "faults")]
mod restart;
// The spool's threads that die or hang.
#[cfg(feature = "faults")]
mod restart_spool;
// Clocks that are wrong, of devices and of the server.
mod clocks;
// Partitions under a running server: made, filled, changed in width, dropped.
mod partitions;
// The conf file and the command line.
mod conf_cli;
// What a release needs of the system that it is installed on.
mod glibc;
// The environment in place of the conf file, and health checks.
mod environment;
// What waits on disk, in the hands of people.
mod spool_cli;
// Whoever moves in from Traccar.
mod traccar;
// Reports and exports of assets.
mod report;
// A device that is erased, while it goes on sending.
mod forget;
// What stands between a tracker and a row, and whether it is found.
mod doctor;
// Tools that play devices and explain packets.
mod tools;
// Locks, floods and limits.
mod pressure;
// Who is let in to pages and API, and what they may see.
mod access;
// The way to them: TLS, proxies, addresses.
mod access_tls;
// Assets, devices and groups over the API.
mod manage;
// Who may change what over the API.
mod manage_rights;
// Metrics and health over HTTP.
mod web;
// Whoever speaks to the web as no friend would.
mod web_abuse;
// Whether the server says when it is ready.
mod web_ready;
// The web thread under its supervisor.
mod web_threads;
// What is shipped for Prometheus and Grafana.
mod prometheus;
// Whoever tries to take more than there is for one.
mod limits;
// Whoever follows the positions.
mod live;
// What an asset recorded, as the web tells it.
mod series;
