//! One entry of the spool as one line of JSON, in both directions.
//!
//! Invariants: what is written is read back as the same entry. Entries come out of a file only when every line is
//! right; otherwise every mistake does.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::imei::Imei;
use crate::protocol::hex;
use crate::protocol::teltonika::avl::{self, Checked};
use crate::spool::{ContentRef, Entry, EntryContent, EntryRef};

/// A line, in the words of the status and of the tables.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    imei: String,
    /// RFC 3339, or microseconds since 1970 where no calendar has it.
    received_at: String,
    port: u16,
    peer: IpAddr,
    records: u8,
    #[serde(default)]
    maybe_resend: bool,
    #[serde(default)]
    new_device: bool,
    content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    frame: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    Packet,
    Broken,
}

/// The line of an entry, without its end.
pub(super) fn write(entry: &EntryRef<'_>) -> serde_json::Result<String> {
    let (content, code, reason) = match entry.content {
        ContentRef::Packet => (Content::Packet, None, None),
        ContentRef::Broken { code, reason } => (Content::Broken, Some(code), Some(reason)),
    };
    serde_json::to_string(&Line {
        imei: entry.imei.to_string(),
        received_at: time(entry.received_at_us),
        port: entry.port,
        peer: entry.peer,
        records: entry.n_records,
        maybe_resend: entry.maybe_resend,
        new_device: entry.is_new,
        content,
        code: code.map(str::to_owned),
        reason: reason.map(str::to_owned),
        frame: hex::encode(entry.frame),
    })
}

/// A time with its microseconds.
pub(super) fn time(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}

/// Reads a whole file of lines; empty ones are passed over.
///
/// # Errors
/// Every mistake, with its line; never an empty list.
pub(super) fn read_all(text: &str) -> Result<Vec<Entry>, Vec<(usize, String)>> {
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        match read(line) {
            Ok(entry) => entries.push(entry),
            Err(mistake) => mistakes.push((number, mistake)),
        }
    }
    if mistakes.is_empty() {
        Ok(entries)
    } else {
        Err(mistakes)
    }
}

fn read(line: &str) -> Result<Entry, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // The line that serde_json counts is always the first.
        let text = error.to_string();
        let at = text.find(" at line 1 column");
        at.map_or(text.clone(), |at| text[..at].to_owned())
    })?;
    let imei: Imei = line
        .imei
        .parse()
        .map_err(|error| format!("imei: {error}"))?;
    let frame = hex::decode(&line.frame).map_err(|error| format!("frame: {error}"))?;
    let content = match line.content {
        Content::Packet => {
            check(&frame, line.records)?;
            EntryContent::Packet
        }
        Content::Broken => EntryContent::Broken {
            code: line.code.ok_or("a broken packet has a code")?,
            reason: line.reason.ok_or("a broken packet has a reason")?,
        },
    };
    Ok(Entry {
        imei,
        received_at_us: read_time(&line.received_at)?,
        port: line.port,
        peer: line.peer,
        n_records: line.records,
        maybe_resend: line.maybe_resend,
        is_new: line.new_device,
        content,
        frame: frame.into(),
    })
}

fn check(frame: &[u8], n_records: u8) -> Result<(), String> {
    match avl::check(frame) {
        Ok(Checked::Avl(packet)) if packet.n_records == n_records => Ok(()),
        Ok(Checked::Avl(packet)) => Err(format!(
            "records: the frame has {}, not {n_records}",
            packet.n_records
        )),
        Ok(Checked::Command { .. }) => Err("frame: it is a command, no packet".to_owned()),
        Err(error) => Err(format!("frame: {error}")),
    }
}

fn read_time(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    text.parse()
        .map_err(|_| "received_at: write for example 2026-11-23T17:04:05.123456Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::teltonika::codec::Codec;
    use crate::protocol::teltonika::encode::{RecordSpec, packet};

    fn entry() -> Entry {
        Entry {
            imei: "356307042441013".parse().unwrap(),
            received_at_us: 1_790_000_000_123_456,
            port: 5027,
            peer: IpAddr::from([10, 0, 0, 7]),
            n_records: 2,
            maybe_resend: true,
            is_new: true,
            content: EntryContent::Packet,
            frame: packet(
                Codec::Codec8,
                &[RecordSpec::default(), RecordSpec::default()],
            )
            .unwrap()
            .into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let broken = Entry {
            content: EntryContent::Broken {
                code: "crc".to_owned(),
                reason: "the CRC is \"wrong\"\n".to_owned(),
            },
            frame: Box::from([1, 2, 3]),
            peer: "2001:db8::7".parse().unwrap(),
            received_at_us: i64::MIN,
            ..entry()
        };
        let entries = vec![entry(), broken];
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| write(&entry.as_ref()).unwrap())
            .collect();
        assert_eq!(read_all(&lines.join("\n\n")).unwrap(), entries);
        assert!(
            lines[0].contains("\"received_at\":\"2026-09-21T13:33:20.123456Z\""),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let good = write(&entry().as_ref()).unwrap();
        let text = [
            good.clone(),
            good.replace("356307042441013", "35630704244101"),
            String::new(),
            good.replace("\"records\":2", "\"records\":3"),
            "{".to_owned(),
            good.replace("2026-09-21T", "yesterday "),
            good.replace("\"packet\"", "\"broken\""),
            good.replace("\"port\"", "\"prot\""),
        ]
        .join("\n");
        let mistakes = read_all(&text).unwrap_err();
        let lines: Vec<usize> = mistakes.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 7, 8]);
        let words = [
            "15 digits",
            "the frame has 2",
            "EOF",
            "2026-11-23",
            "has a code",
            "prot",
        ];
        for ((_, told), word) in mistakes.iter().zip(words) {
            assert!(told.contains(word), "{told}");
        }
    }
}
