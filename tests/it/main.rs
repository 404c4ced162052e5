//! The one integration binary: each module holds the promises of one part. What needs PostgreSQL starts a
//! throw-away cluster of its own (`harness::postgres`), so that nothing on the machine is touched.

// The exception for tests in clippy.toml does not reach their helper functions.
#![allow(clippy::unwrap_used)]

// Things to test against.
mod harness;
// The tables: migrations, views, partitions, and the rules of what is kept beside the records.
mod schema;
