//! `trackport quarantine`: looks at packets that could not be read or stored, and brings them where they belong.
//!
//! Works on the database alone; a running server sees within seconds what was done. `choice.rs` is how entries are named,
//! `show.rs` the text and JSON for people and programs, `retry.rs` and `export.rs` the commands of that name.

mod choice;
mod export;
mod retry;
mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::text::{count, time};
use super::{Failed, database};
use crate::store::held::{self, Held};
use choice::{Choice, Filters};

/// What to do with packets in quarantine.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the entries, those that came last first
    #[command(
        after_help = "Examples:\n  trackport quarantine list --acked\n  trackport quarantine list --imei 356307042441013 --code crc"
    )]
    List {
        /// Which entries.
        #[command(flatten)]
        filters: Filters,
        /// So many entries at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show everything of entries, and explain their bytes field by field as far as it goes
    Show {
        /// The entries' numbers
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
        /// One JSON object per line instead of text
        #[arg(long)]
        json: bool,
    },
    /// Read and store entries again, and remove those that could be
    ///
    /// What this version of trackport can read, or the database takes by now, is stored under its device and leaves quarantine,
    /// both at once; the others stay, and it is said why. Doing it twice does no harm. Ends with 1 when an entry stays.
    #[command(
        after_help = "Examples:\n  trackport quarantine retry --all --dry-run\n  trackport quarantine retry 17 18"
    )]
    Retry {
        /// Which entries.
        #[command(flatten)]
        choice: Choice,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Write entries with their bytes as JSON lines, for the maker's support or to keep
    #[command(
        after_help = "Example:\n  trackport quarantine export --imei 356307042441013 --to broken.jsonl"
    )]
    Export {
        /// Which entries; all of them where nothing is said.
        #[command(flatten)]
        choice: Choice,
        /// The file to write, which must not be there yet; standard output without it or with -
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// End the alert about entries that you have looked at; they stay
    #[command(after_help = "Example:\n  trackport quarantine dismiss 17 18")]
    Dismiss {
        /// Which entries.
        #[command(flatten)]
        choice: Choice,
    },
    /// Remove entries for ever
    ///
    /// An entry that was acked is the only copy of its packet: the device has forgotten it. `export` keeps one.
    #[command(
        after_help = "Example:\n  trackport quarantine export 17 --to 17.jsonl && trackport quarantine remove 17 --yes"
    )]
    Remove {
        /// Which entries.
        #[command(flatten)]
        choice: Choice,
        /// Remove also what was acked
        #[arg(long)]
        yes: bool,
    },
}

/// Entries whose loss is told one by one.
const TOLD_MAX: usize = 20;

/// Does what `command` says in the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; `Failed` when it was told already what was not done.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    match command {
        Command::List {
            filters,
            limit,
            json,
        } => list(path, filters, *limit, *json),
        Command::Show { ids, json } => show(path, ids, *json),
        Command::Retry { choice, dry_run } => retry::run(path, choice, *dry_run),
        Command::Export { choice, to } => export::run(path, choice, to.as_deref()),
        Command::Dismiss { choice } => dismiss(path, choice),
        Command::Remove { choice, yes } => remove(path, choice, *yes),
    }
}

fn list(path: &Path, filters: &Filters, limit: u32, json: bool) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let filter = filters.filter();
    let entries = held::list(&mut client, &filter, i64::from(limit))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        for entry in &entries {
            writeln!(out, "{}", show::line(&show::json(entry)))?;
        }
    } else {
        let n_entries = held::count(&mut client, &filter)?;
        show::list(&mut out, &entries, n_entries)?;
    }
    out.flush()?;
    Ok(())
}

fn show(path: &Path, ids: &[i64], json: bool) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut failed = false;
    for (place, id) in ids.iter().enumerate() {
        let Some((entry, bytes)) = held::fetch(&mut client, *id)? else {
            choice::missing(*id);
            failed = true;
            continue;
        };
        if json {
            writeln!(out, "{}", show::line(&show::json_explained(&entry, &bytes)))?;
        } else {
            if place > 0 {
                writeln!(out)?;
            }
            show::write(&mut out, &entry, &bytes, SystemTime::now())?;
        }
    }
    out.flush()?;
    if failed { Err(Failed.into()) } else { Ok(()) }
}

fn dismiss(path: &Path, choice: &Choice) -> anyhow::Result<()> {
    let filter = choice.wanted("quarantine dismiss")?;
    let mut client = database::connect(path)?;
    let chosen = choice::find(&mut client, &filter)?;
    let n_dismissed = held::dismiss(&mut client, &filter)?;
    let packets = count(usize::try_from(n_dismissed).unwrap_or(usize::MAX), "packet");
    writeln!(
        io::stdout().lock(),
        "{packets} dismissed; what was acked stays in quarantine and is the only copy"
    )?;
    chosen.ending()
}

fn remove(path: &Path, choice: &Choice, yes: bool) -> anyhow::Result<()> {
    let filter = choice.wanted("quarantine remove")?;
    let mut client = database::connect(path)?;
    let chosen = choice::find(&mut client, &filter)?;
    let mut out = io::stdout().lock();
    if !yes {
        let only_copies = held::Filter {
            ids: Some(chosen.ids.clone()),
            acked: Some(true),
            ..held::Filter::default()
        };
        let lost = held::list(&mut client, &only_copies, i64::MAX)?;
        if !lost.is_empty() {
            tell_losses(&lost);
            return Err(Failed.into());
        }
    }
    for id in &chosen.ids {
        // One that became the only copy since it was looked at stays.
        if held::remove(&mut client, *id, yes)? {
            writeln!(out, "entry {id} is removed")?;
        } else {
            writeln!(out, "entry {id} is gone already, or was acked meanwhile")?;
        }
    }
    chosen.ending()
}

/// Says on standard error what would be lost with these entries.
fn tell_losses(lost: &[Held]) {
    for entry in lost.iter().take(TOLD_MAX) {
        eprintln!(
            "trackport: entry {} is the only copy: {} of {}, acked, received {}",
            entry.id,
            entry.n_records.map_or_else(
                || "a packet".to_owned(),
                |n| count(usize::try_from(n).unwrap_or(0), "record")
            ),
            show::who(entry),
            time(entry.received_at),
        );
    }
    if lost.len() > TOLD_MAX {
        eprintln!("trackport: and {} more", lost.len() - TOLD_MAX);
    }
    eprintln!(
        "trackport: nothing is removed; `quarantine export` keeps a copy, then --yes removes for ever"
    );
}
