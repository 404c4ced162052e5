//! The local socket between the running server and its command line: one JSON line asks, one answers; a trace is many answers.
//!
//! `messages.rs` is what is said, `server.rs` the thread that answers, `trace.rs` the answers that last, `client.rs` the command
//! line's end.

pub mod client;
pub mod messages;
pub mod server;
mod trace;
