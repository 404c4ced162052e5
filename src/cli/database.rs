//! The database as the commands for people use it: one connection, whose tables are this program's.
//!
//! Knows no command. Says in one sentence why there is no such connection and what helps.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

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

/// When and how a device was heard last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Contact {
    pub(super) last_contact_at: Option<SystemTime>,
    pub(super) connected: bool,
    pub(super) sends_before_ack: bool,
}

/// The contacts of all devices that ever had one, by device id: one query, so that a list of a hundred thousand devices
/// is not a hundred thousand questions.
///
/// # Errors
/// When the database does not answer.
pub(super) fn contacts(client: &mut Client) -> Result<HashMap<i32, Contact>, StoreError> {
    let rows = client.query(
        "SELECT device_id, last_contact_at, connected, sends_before_ack_at IS NOT NULL FROM trackport.device_state",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| {
            let contact = Contact {
                last_contact_at: row.get(1),
                connected: row.get(2),
                sends_before_ack: row.get(3),
            };
            (row.get(0), contact)
        })
        .collect())
}
