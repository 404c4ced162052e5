//! `trackport device replace`: a new tracker into the asset of another, and what people do next.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use super::super::{database, moment, text};
use crate::imei::Imei;
use crate::store::replace::{self, Replaced};

/// What may follow `trackport device replace`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The device that is taken out
    old: Imei,
    /// The device that is put in its place; it is let in where nobody has decided about it
    new: Imei,
    /// When that was, for example 2026-11-24T08:30:00Z; now without it
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<SystemTime>,
}

/// Replaces the one by the other.
///
/// # Errors
/// What stands against it, and what would help.
pub(super) fn run(args: &Args, path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let replaced = replace::replace(&mut client, args.old, args.new, args.at)?;
    write(out, &replaced)?;
    Ok(())
}

fn write(out: &mut impl Write, replaced: &Replaced) -> std::io::Result<()> {
    let (old, new) = (replaced.old.imei, replaced.new.imei);
    let asset = &replaced.asset;
    if replaced.is_let_in {
        writeln!(out, "{new} may log in from now on")?;
    }
    let since = replaced
        .fitting
        .fitted_at
        .map_or_else(|| "ever".to_owned(), text::time);
    writeln!(
        out,
        "{new} is in asset {} ({}) since {since}; what {old} recorded before stays there",
        asset.id,
        text::printable(&asset.name)
    )?;
    if let Some(gone) = &replaced.gone {
        writeln!(
            out,
            "the asset that {new} had of its own, {:?}, was never used and is gone",
            text::printable(gone)
        )?;
    }
    if let Some(left) = &replaced.left {
        writeln!(
            out,
            "asset {} ({}) has no device any more; {new} had recorded nothing there",
            left.id,
            text::printable(&left.name)
        )?;
    }
    writeln!(
        out,
        "{old} stays {}, so that it can deliver what it still holds; `trackport device remove {old}` takes it out of service",
        replaced.old.state
    )?;
    let offered = replaced.offered();
    if !offered.is_empty() {
        let options: Vec<String> = offered
            .iter()
            .map(|(field, value)| format!("--{field} {}", quoted(&text::printable(value))))
            .collect();
        writeln!(
            out,
            "where it holds for {new} as well: trackport device set {new} {}",
            options.join(" ")
        )?;
    }
    Ok(())
}

/// As a shell takes it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}
