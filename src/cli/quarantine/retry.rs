//! `trackport quarantine retry`: one entry after the other, each in a transaction of its own.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;

use super::super::text::{count, printable};
use super::super::{Failed, database};
use super::choice::{self, Choice};
use crate::store::error::ErrorClass;
use crate::store::held;
use crate::store::insert::Inserter;
use crate::store::latest::repair_latest;
use crate::store::reread::{self, Retried};

/// Retries what `choice` means.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; `Failed` when an entry stays or is not there.
pub(super) fn run(path: &Path, choice: &Choice, dry_run: bool) -> anyhow::Result<()> {
    let filter = choice.wanted("quarantine retry")?;
    let mut inserter = Inserter::new(database::connect(path)?)?;
    let chosen = choice::find(inserter.client(), &filter)?;
    let mut out = io::stdout().lock();
    let (mut n_removed, mut n_stay) = (0, 0);
    let mut device_ids = BTreeSet::new();
    for id in &chosen.ids {
        let Some((entry, bytes)) = held::fetch(inserter.client(), *id)? else {
            writeln!(out, "entry {id}: gone already")?;
            continue;
        };
        let retried = match reread::retry(&mut inserter, &entry, &bytes, dry_run) {
            Ok(retried) => retried,
            Err(error) if error.class() == ErrorClass::Retry && !inserter.client().is_closed() => {
                Retried {
                    n_records: 0,
                    n_new: 0,
                    n_half: 0,
                    stays: Some(format!("{error}; try again")),
                }
            }
            Err(error) => return Err(error).with_context(|| format!("entry {id}")),
        };
        if retried.n_records > 0 && !dry_run {
            device_ids.extend(entry.device_id);
        }
        match retried.stays {
            None => n_removed += 1,
            Some(_) => n_stay += 1,
        }
        writeln!(
            out,
            "entry {id}: {}",
            printable(&outcome(&retried, dry_run))
        )?;
    }
    for device_id in device_ids {
        // What was stored may be the device's newest record.
        repair_latest(inserter.client(), device_id - 1, 1, SystemTime::now())?;
    }
    let (removed, ending) = if dry_run {
        (
            "would be stored and removed",
            "; nothing is changed (--dry-run)",
        )
    } else {
        ("stored and removed", "")
    };
    writeln!(
        out,
        "{n_removed} {removed}, {}{ending}",
        match n_stay {
            0 => "none stays".to_owned(),
            1 => "1 stays".to_owned(),
            n => format!("{n} stay"),
        }
    )?;
    if n_stay > 0 {
        return Err(Failed.into());
    }
    chosen.ending()
}

fn outcome(retried: &Retried, dry_run: bool) -> String {
    let records = count(retried.n_records, "record");
    let stored = if dry_run { "would be stored" } else { "stored" };
    match (&retried.stays, retried.n_records) {
        (None, _) if retried.n_half > 0 => format!(
            "{records} {stored}, {} of them new; its last {} bytes are half a packet, which the device sends again",
            retried.n_new, retried.n_half
        ),
        (None, _) => format!("{records} {stored}, {} of them new", retried.n_new),
        (Some(why), 0) => format!("stays: {why}"),
        (Some(why), _) => format!(
            "stays: {why} ({records} {stored}, {} of them new)",
            retried.n_new
        ),
    }
}
