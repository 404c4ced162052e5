//! `trackport migrate`: makes the tables, or brings them up to date, and says what it did.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;

use super::database;
use crate::store::{self, migrate::Step};

/// What may follow `trackport migrate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Applies what is missing to the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that is away, in use by another migration, newer or not as it was left.
pub fn run(_args: &Args, path: &Path) -> anyhow::Result<()> {
    let (mut client, _conf) = database::connect_any(path)?;
    let mut out = io::stdout().lock();
    let before = store::schema_version(&mut client).context("database")?;
    // A broken pipe must not stop a migration half way: what cannot be told is told by the exit code.
    let mut told = Ok(());
    let applied = store::migrate_reporting(&mut client, &mut |step| {
        if let Step::Apply { version, name } = step
            && told.is_ok()
        {
            told = writeln!(out, "applying {version:04}_{name}").and_then(|()| out.flush());
        }
    })
    .context("database")?;
    told?;
    let after = store::schema_version(&mut client).context("database")?;
    if applied.is_empty() {
        writeln!(out, "the tables are up to date: schema version {after}")?;
    } else if before == 0 {
        writeln!(out, "the tables are made: schema version {after}")?;
    } else {
        writeln!(
            out,
            "the tables went from schema version {before} to {after}"
        )?;
    }
    Ok(())
}
