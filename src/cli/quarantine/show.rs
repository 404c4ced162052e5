//! Entries as people and programs read them: the list, one entry whole, and both as JSON.
//!
//! Knows no database and no clock. Invariant: reasons and bytes come from strangers; none of them steers the terminal.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::text::{Table, ago, amount, bytes as size, printable, time};
use crate::models::meaning;
use crate::protocol::hex;
use crate::protocol::teltonika::explain::{Explanation, explain};
use crate::store::held::Held;

/// Characters of a reason in the list; `show` has all of it.
const REASON_CHARS: usize = 90;

/// Whose entry it is.
pub(super) fn who(entry: &Held) -> String {
    entry
        .imei
        .as_deref()
        .map_or_else(|| "nobody".to_owned(), printable)
}

/// One line per entry, then how many there are.
pub(super) fn list(out: &mut impl Write, entries: &[Held], n_entries: u64) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "no entries");
    }
    let mut table = Table::new([
        "ID",
        "DEVICE",
        "LAST RECEIVED",
        "SEEN",
        "ACKED",
        "CODE",
        "RECORDS",
        "BYTES",
        "REASON",
    ]);
    for entry in entries {
        table.row(&[
            entry.id.to_string(),
            who(entry),
            time(entry.last_at),
            entry.n_seen.to_string(),
            acked(entry).to_owned(),
            entry.code.clone(),
            entry
                .n_records
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            entry.n_bytes.to_string(),
            shortened(&entry.reason),
        ]);
    }
    table.write(out, "")?;
    let n_shown = entries.len() as u64;
    match n_entries.max(n_shown) {
        n_all if n_all > n_shown => writeln!(
            out,
            "{} of {} entries; --limit shows more",
            amount(n_shown),
            amount(n_all)
        ),
        1 => writeln!(out, "1 entry"),
        n_all => writeln!(out, "{} entries", amount(n_all)),
    }
}

fn acked(entry: &Held) -> &'static str {
    match (entry.acked, entry.dismissed_at) {
        (false, _) => "no",
        (true, None) => "yes",
        (true, Some(_)) => "yes, dismissed",
    }
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARS) {
        None => reason.to_owned(),
        Some((end, _)) => format!("{}…", reason.get(..end).unwrap_or_default()),
    }
}

/// One line of JSON; control characters are spelled out, also those that JSON would allow.
pub(super) fn line(value: &Value) -> String {
    value
        .to_string()
        .chars()
        .fold(String::new(), |mut line, one| {
            if one.is_control() {
                // Outside of its strings, a value written in one line has none.
                let _ = write!(line, "\\u{:04x}", u32::from(one));
            } else {
                line.push(one);
            }
            line
        })
}

/// An entry without its bytes.
pub(super) fn json(entry: &Held) -> Value {
    json!({
        "id": entry.id,
        "imei": entry.imei,
        "device_name": entry.device_name,
        "model": entry.model,
        "firmware": entry.firmware,
        "received_at": time(entry.received_at),
        "last_at": time(entry.last_at),
        "port": entry.port,
        "address": entry.address.map(|address| address.to_string()),
        "code": entry.code,
        "reason": entry.reason,
        "n_seen": entry.n_seen,
        "acked": entry.acked,
        "dismissed_at": entry.dismissed_at.map(time),
        "n_records": entry.n_records,
        "n_bytes": entry.n_bytes,
    })
}

/// An entry with its bytes and the version that could not take it.
pub(super) fn json_whole(entry: &Held, bytes: &[u8]) -> Value {
    let mut value = json(entry);
    value["bytes"] = hex::encode(bytes).into();
    value["exported_by"] = concat!("trackport ", env!("CARGO_PKG_VERSION")).into();
    value
}

/// An entry with its bytes and what they mean.
pub(super) fn json_explained(entry: &Held, bytes: &[u8]) -> Value {
    let mut value = json(entry);
    value["bytes"] = hex::encode(bytes).into();
    value["explanation"] = explanation(entry, bytes).lines.into();
    value
}

fn explanation(entry: &Held, bytes: &[u8]) -> Explanation {
    explain(bytes, &|id| meaning(id, entry.model.as_deref()))
}

/// Everything of an entry, a line each, then its bytes and what they mean.
pub(super) fn write(
    out: &mut impl Write,
    entry: &Held,
    bytes: &[u8],
    now: SystemTime,
) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<16}{}", printable(value));
    let at = |at: SystemTime| format!("{} ({})", time(at), ago(at, now));
    line("entry", &entry.id.to_string())?;
    line(
        "device",
        entry.imei.as_deref().unwrap_or("nobody had logged in"),
    )?;
    line("name", entry.device_name.as_deref().unwrap_or("-"))?;
    line("model", entry.model.as_deref().unwrap_or("-"))?;
    line("firmware", entry.firmware.as_deref().unwrap_or("-"))?;
    line("code", &entry.code)?;
    line("reason", &entry.reason)?;
    line("first received", &at(entry.received_at))?;
    line("last received", &at(entry.last_at))?;
    line("times seen", &entry.n_seen.to_string())?;
    if let Some(address) = entry.address {
        let port = entry.port.map(|port| format!(" to port {port}"));
        line(
            "came from",
            &format!("{address}{}", port.unwrap_or_default()),
        )?;
    }
    line(
        "acked",
        if entry.acked {
            "yes: this is the only copy, and it is kept until you remove it"
        } else {
            "no: the device keeps it and sends it again"
        },
    )?;
    if let Some(dismissed) = entry.dismissed_at {
        line("dismissed", &at(dismissed))?;
    }
    line(
        "records",
        &entry
            .n_records
            .map_or_else(|| "not declared".to_owned(), |n| format!("{n} declared")),
    )?;
    line(
        "size",
        &size(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
    )?;
    line("bytes", &hex::encode(bytes))?;
    writeln!(out)?;
    for line in explanation(entry, bytes).lines {
        writeln!(out, "{}", printable(&line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry() -> Held {
        Held {
            id: 17,
            imei: Some("356307042441013".to_owned()),
            device_id: Some(1),
            device_name: Some("Van 7".to_owned()),
            model: Some("FMB920".to_owned()),
            firmware: None,
            received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(10),
            last_at: SystemTime::UNIX_EPOCH + Duration::from_secs(70),
            port: Some(5027),
            address: Some([192, 0, 2, 1].into()),
            reason: "wrong \u{1b}[2J".repeat(20),
            code: "crc".to_owned(),
            n_seen: 3,
            acked: true,
            dismissed_at: None,
            n_records: Some(2),
            n_bytes: 4,
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_says_how_many_there_are_and_cuts_long_reasons() {
        let text = written(|out| list(out, &[entry()], 1200));
        assert!(
            text.ends_with("1 of 1 200 entries; --limit shows more\n"),
            "{text}"
        );
        assert!(text.contains('…') && !text.contains('\u{1b}'), "{text}");
        let text = written(|out| list(out, &[entry()], 1));
        assert!(text.ends_with("\n1 entry\n"), "{text}");
        assert_eq!(written(|out| list(out, &[], 0)), "no entries\n");
    }

    #[test]
    fn an_entry_whole_has_its_bytes_and_says_that_it_is_the_only_copy() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(310);
        let text = written(|out| write(out, &entry(), &[0, 0, 7, 9], now));
        for words in [
            "only copy",
            "00000709",
            "Van 7",
            "4 min ago",
            "!!",
            "192.0.2.1 to port 5027",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn json_has_the_bytes_only_where_the_entry_is_whole() {
        assert_eq!(json(&entry())["bytes"], Value::Null);
        let whole = json_whole(&entry(), &[0, 15]);
        assert_eq!(
            (&whole["bytes"], &whole["n_seen"]),
            (&json!("000F"), &json!(3))
        );
        assert_eq!(whole["last_at"], "1970-01-01T00:01:10Z");
        // One byte in Latin-1 and a control sequence to some terminals; JSON lets it stand.
        let hostile = json!({"reason": "\u{9b}2J"});
        assert_eq!(line(&hostile), r#"{"reason":"\u009b2J"}"#);
    }
}
