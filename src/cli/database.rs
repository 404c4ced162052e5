//! The database as the commands for people use it: one connection, whose tables are this program's.
//!
//! Knows no command. Says in one sentence why there is no such connection and what helps.

use std::path::Path;

use anyhow::Context;
use postgres::Client;

use crate::conf::{self, Conf};
use crate::store::{self, StoreError};

/// How the connections of the command line are called in `pg_stat_activity`.
pub(super) const APPLICATION_NAME: &str = "trackport command";

/// Connects to the database of the conf file at `path`, whatever tables are in it.
///
/// # Errors
/// The mistakes of the conf file, or why the database cannot be reached.
pub(super) fn connect_any(path: &Path) -> anyhow::Result<(Client, Conf)> {
    let conf = conf::load(path)?;
    let client = store::connect(&conf.database, &conf.timeouts, APPLICATION_NAME)
        .with_context(|| format!("database of {}", path.display()))?;
    Ok((client, conf))
}

/// Connects to the database of the conf file at `path` and makes sure that its tables are those of this program.
///
/// # Errors
/// As `connect_any`; tables that are missing, older or newer.
pub(super) fn connect(path: &Path) -> anyhow::Result<Client> {
    let (mut client, _conf) = connect_any(path)?;
    match store::check_schema(&mut client) {
        Ok(()) => Ok(client),
        Err(StoreError::Older { found: 0, .. }) => {
            anyhow::bail!("database: the tables are not there yet; run `trackport migrate`")
        }
        Err(error) => Err(error).context("database"),
    }
}
