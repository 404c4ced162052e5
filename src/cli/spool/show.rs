//! What lies in the spool, as text for people and JSON for programs.
//!
//! Knows no folder: gets what was found.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::text::{self, Table};
use super::line;
use crate::clock;
use crate::imei::Imei;
use crate::spool::{DamageKind, EntryRef, Found, FoundKind, Look, Tally};

/// A file and what is in it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) found: Found,
    pub(super) look: Look,
}

/// What is in the spool of each device.
pub(super) type Devices = BTreeMap<Imei, (Tally, u64)>;

/// Counts an entry for its device.
pub(super) fn count(devices: &mut Devices, entry: &EntryRef<'_>) {
    let (tally, bytes) = devices.entry(entry.imei).or_default();
    tally.count(entry);
    *bytes += entry.frame.len() as u64;
}

impl Seen {
    /// In a few words, what state it is in.
    fn state(&self) -> String {
        let Seen { found, look } = self;
        if found.kind == FoundKind::SetAside && found.name.ends_with(".tail.bad") {
            return "what a crash interrupted, never acknowledged".to_owned();
        }
        let mut words: Vec<String> = look.damage.iter().map(damage).collect();
        match found.kind {
            FoundKind::SetAside if look.tally.entries > 0 => {
                words.insert(0, "what is whole was drained".to_owned());
            }
            FoundKind::Incoming => words.insert(0, "to be taken in".to_owned()),
            FoundKind::Segment(_) if words.is_empty() => {
                words.push(if look.is_sealed { "finished" } else { "grows" }.to_owned());
            }
            _ => {}
        }
        words.join("; ")
    }

    fn kind(&self) -> &'static str {
        match self.found.kind {
            FoundKind::Segment(_) => "segment",
            FoundKind::Incoming => "incoming",
            FoundKind::SetAside => "set_aside",
        }
    }

    /// As one line of JSON.
    pub(super) fn json(&self) -> Value {
        let Seen { found, look } = self;
        let (first, last) = times(&look.tally, line::time);
        json!({
            "file": found.name,
            "kind": self.kind(),
            "bytes": found.bytes,
            "entries": look.tally.entries,
            "records": look.tally.records,
            "first_received_at": first,
            "last_received_at": last,
            "finished": look.is_sealed,
            "state": self.state(),
        })
    }
}

fn damage(kind: &DamageKind) -> String {
    match kind {
        DamageKind::TornTail { bytes } => {
            format!("{bytes} bytes at its end are being written, or were cut off by a crash")
        }
        DamageKind::Hole { offset, bytes } => {
            format!("{bytes} bytes from {offset} on are damaged")
        }
        DamageKind::Header => "its first bytes are damaged".to_owned(),
        DamageKind::Nothing { .. } => "nothing in it can be read".to_owned(),
        DamageKind::Newer { version } => {
            format!("of a later trackport (format {version}), left alone")
        }
        DamageKind::Missing => "taken away".to_owned(),
        DamageKind::Unreadable { reason } => format!("it cannot be read: {reason}"),
    }
}

fn times(tally: &Tally, text: impl Fn(i64) -> String) -> (Option<String>, Option<String>) {
    tally.received_us.map_or((None, None), |(first, last)| {
        (Some(text(first)), Some(text(last)))
    })
}

/// Writes the files as text: what waits, then what is set aside.
pub(super) fn files(out: &mut impl Write, place: &str, seen: &[Seen]) -> io::Result<()> {
    let (aside, waiting): (Vec<&Seen>, Vec<&Seen>) = seen
        .iter()
        .partition(|seen| seen.found.kind == FoundKind::SetAside);
    let mut all = Tally::default();
    waiting.iter().for_each(|seen| all.add(&seen.look.tally));
    let bytes = waiting.iter().map(|seen| seen.found.bytes).sum();
    writeln!(
        out,
        "{place}: {} wait to be stored, {} in {} ({})",
        records(all.records),
        text::count(usize::try_from(all.entries).unwrap_or(usize::MAX), "packet"),
        text::count(waiting.len(), "file"),
        text::bytes(bytes),
    )?;
    write_table(out, &waiting)?;
    if !aside.is_empty() {
        let bytes = aside.iter().map(|seen| seen.found.bytes).sum();
        writeln!(
            out,
            "\nset aside: {} ({}); `trackport spool export FILE` shows what can be read, nothing deletes them but you",
            text::count(aside.len(), "file"),
            text::bytes(bytes),
        )?;
        write_table(out, &aside)?;
    }
    Ok(())
}

fn records(n_records: u64) -> String {
    text::count(usize::try_from(n_records).unwrap_or(usize::MAX), "record")
}

fn write_table(out: &mut impl Write, seen: &[&Seen]) -> io::Result<()> {
    let mut table = Table::new(["FILE", "SIZE", "PACKETS", "RECORDS", "FROM", "TO", "STATE"]);
    for seen in seen {
        let tally = &seen.look.tally;
        let (first, last) = times(tally, clock::text);
        table.row(&[
            seen.found.name.clone(),
            text::bytes(seen.found.bytes),
            text::amount(tally.entries),
            text::amount(tally.records),
            first.unwrap_or_default(),
            last.unwrap_or_default(),
            seen.state(),
        ]);
    }
    if table.is_empty() {
        return Ok(());
    }
    table.write(out, "  ")
}

/// Writes what waits of each device, as a table or one line of JSON each.
pub(super) fn devices(out: &mut impl Write, devices: &Devices, json: bool) -> io::Result<()> {
    let mut table = Table::new(["IMEI", "PACKETS", "RECORDS", "SIZE", "FROM", "TO"]);
    for (imei, (tally, bytes)) in devices {
        if json {
            let (first, last) = times(tally, line::time);
            let line = json!({
                "imei": imei.to_string(),
                "entries": tally.entries,
                "records": tally.records,
                "bytes": bytes,
                "first_received_at": first,
                "last_received_at": last,
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let (first, last) = times(tally, clock::text);
        table.row(&[
            imei.to_string(),
            text::amount(tally.entries),
            text::amount(tally.records),
            text::bytes(*bytes),
            first.unwrap_or_default(),
            last.unwrap_or_default(),
        ]);
    }
    if json {
        return Ok(());
    }
    table.write(out, "")
}
