//! `trackport quarantine export`: entries whole, one JSON object per line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use postgres::Client;

use super::super::database;
use super::choice::{self, Choice};
use super::show;
use crate::store::held;

/// Writes what `choice` means to the file `to`, or to standard output.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; a file that is there already or cannot be written; `Failed`
/// when an entry is not there.
pub(super) fn run(path: &Path, choice: &Choice, to: Option<&Path>) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let chosen = choice::find(&mut client, &choice.filter())?;
    match to.filter(|to| *to != Path::new("-")) {
        None => {
            write(&mut client, &chosen.ids, io::stdout().lock())?;
        }
        Some(to) => {
            let name = || to.display().to_string();
            // An older export may be the only copy of what was removed since.
            let file = match File::create_new(to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => anyhow::bail!(
                    "{}: there is such a file already, and an export writes over none: name another",
                    name()
                ),
                file => file.with_context(name)?,
            };
            let n_entries = write(&mut client, &chosen.ids, &file).with_context(name)?;
            // Somebody removes what is in it next.
            file.sync_all().with_context(name)?;
            let entries = match n_entries {
                1 => "1 entry".to_owned(),
                n => format!("{n} entries"),
            };
            eprintln!("{entries} written to {}", to.display());
        }
    }
    chosen.ending()
}

fn write(client: &mut Client, ids: &[i64], out: impl Write) -> anyhow::Result<usize> {
    let mut out = BufWriter::new(out);
    let mut n_entries = 0;
    for id in ids {
        // One that rotated away meanwhile is sent again by its device.
        if let Some((entry, bytes)) = held::fetch(client, *id)? {
            writeln!(out, "{}", show::line(&show::json_whole(&entry, &bytes)))?;
            n_entries += 1;
        }
    }
    out.flush()?;
    Ok(n_entries)
}
