//! Bytes in quarantine, read again with this program and stored under their device, as far as they can be.
//!
//! An entry is one packet, or, where a session stopped a thread, whatever was being read then: pings, a login, several packets,
//! half a packet at the end. Invariants: an entry goes only together with the commit of its records; one that was acked goes
//! only when all of its bytes were understood; what is stored twice is there once.

use std::panic::catch_unwind;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{ErrorClass, StoreError};
use super::held::{self, Held};
use super::insert::Inserter;
use super::rows::{Origin, Rows};
use super::typed::TypedColumns;
use crate::protocol::teltonika::{Checked, Cut, Packet, check, cut};

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retried {
    /// Records that are in the table now, or would be.
    pub n_records: usize,
    /// Those of them that were not there before.
    pub n_new: u64,
    /// Bytes of a packet at the end that was never whole: its device sends it again.
    pub n_half: usize,
    /// Why the entry stays; `None` when it is removed, or would be.
    pub stays: Option<String>,
}

/// What the bytes of an entry hold.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content<'a> {
    packets: Vec<Packet<'a>>,
    /// The first thing that cannot be read.
    fault: Option<String>,
    /// Bytes of a packet that is not whole, at the end.
    n_half: usize,
}

/// Stores what can be read of `entry` and removes it when nothing unread is left, in one transaction. With `dry_run` the
/// database says whether it would take the rows, and nothing is changed.
///
/// # Errors
/// Those of the database that do not lie in the rows: nothing is changed then.
pub fn retry(
    inserter: &mut Inserter,
    entry: &Held,
    bytes: &[u8],
    dry_run: bool,
) -> Result<Retried, StoreError> {
    let stays = |why: String| Retried {
        n_records: 0,
        n_new: 0,
        n_half: 0,
        stays: Some(why),
    };
    let Some(imei) = entry.imei.as_deref() else {
        return Ok(stays(
            "nobody had logged in, so nobody knows whose it is".to_owned(),
        ));
    };
    let Some(device_id) = entry.device_id else {
        return Ok(stays(format!(
            "there is no device {imei}: `trackport device add` makes one"
        )));
    };
    // Bytes that stopped a thread may stop this one as well; the other entries shall have their turn.
    let Ok(content) = catch_unwind(|| read(bytes, imei)) else {
        return Ok(stays("reading it fails inside this program".to_owned()));
    };
    if content.packets.is_empty() {
        return Ok(stays(
            content
                .fault
                .unwrap_or_else(|| "there is no whole packet in it".to_owned()),
        ));
    }
    let why = content.fault.clone().or_else(|| {
        let lost = entry.acked && content.n_half > 0;
        lost.then(|| format!("its last {} bytes are no whole packet", content.n_half))
    });
    let mut rows = rows(entry, device_id, &content);
    let n_records = rows.len();
    let merged = inserter.merge_along(&mut rows, |transaction| {
        if why.is_none() {
            // What was half a packet may not have become the only copy meanwhile.
            held::remove(transaction, entry.id, content.n_half == 0)?;
        }
        if dry_run {
            // What is checked only at a commit is checked here, too.
            transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        }
        Ok(!dry_run)
    });
    match merged {
        Ok(n_new) => Ok(Retried {
            n_records,
            n_new,
            n_half: content.n_half,
            stays: why,
        }),
        Err(error) if matches!(error.class(), ErrorClass::Split | ErrorClass::Staging) => {
            Ok(stays(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

fn rows(entry: &Held, device_id: i32, content: &Content<'_>) -> Rows {
    let typed = TypedColumns::for_model(entry.model.as_deref());
    let mut rows = Rows::default();
    for packet in &content.packets {
        let origin = Origin {
            device_id,
            received_at_us: micros(entry.received_at),
            port: entry
                .port
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(0),
            codec: packet.codec,
            typed: &typed,
        };
        for record in packet.records() {
            rows.push(&origin, &record, record.digest());
        }
    }
    rows
}

fn micros(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
}

/// Takes the stream of the device `imei` apart. Behind a packet that cannot be read its length leads to the next one.
fn read<'a>(bytes: &'a [u8], imei: &str) -> Content<'a> {
    let mut content = Content::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let (consumed, fault) = match cut(rest, usize::MAX) {
            Cut::Ping => (1, None),
            Cut::Login { digits, consumed } => {
                if digits == imei.as_bytes() {
                    (consumed, None)
                } else {
                    // What follows is not this device's.
                    let fault = format!("at offset {offset} another device logs in");
                    (rest.len(), Some(fault))
                }
            }
            Cut::Frame(frame) => match check(frame) {
                Ok(Checked::Avl(packet)) => {
                    content.packets.push(packet);
                    (frame.len(), None)
                }
                // A command has no records.
                Ok(Checked::Command { .. }) => (frame.len(), None),
                Err(error) if offset == 0 => (frame.len(), Some(error.to_string())),
                Err(error) => (
                    frame.len(),
                    Some(format!("the packet at offset {offset}: {error}")),
                ),
            },
            Cut::Need(_) => {
                content.n_half = rest.len();
                return content;
            }
            Cut::Broken(error) => (rest.len(), Some(format!("at offset {offset}: {error}"))),
        };
        content.fault = content.fault.or(fault);
        rest = rest.get(consumed..).unwrap_or_default();
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::teltonika::Codec;
    use crate::protocol::teltonika::encode::{RecordSpec, login, packet};

    const IMEI: &str = "356307042441013";

    fn frame(n: usize) -> Vec<u8> {
        packet(Codec::Codec8, &vec![RecordSpec::default(); n]).unwrap()
    }

    fn counts(content: &Content<'_>) -> Vec<u8> {
        content
            .packets
            .iter()
            .map(|packet| packet.n_records)
            .collect()
    }

    #[test]
    fn all_whole_packets_of_a_stream_are_found() {
        let imei = IMEI.parse().unwrap();
        let stream = [&[0xFF][..], &login(imei), &frame(2), &[0xFF], &frame(3)].concat();
        let content = read(&stream, IMEI);
        assert_eq!(counts(&content), [2, 3]);
        assert_eq!((content.fault, content.n_half), (None, 0));
        let half = read(&stream[..stream.len() - 1], IMEI);
        assert_eq!(counts(&half), [2]);
        assert_eq!(half.n_half, frame(3).len() - 1);
    }

    #[test]
    fn behind_a_broken_packet_the_next_one_is_found() {
        let mut broken = frame(1);
        *broken.last_mut().unwrap() ^= 1;
        let stream = [frame(2), broken, frame(3)].concat();
        let content = read(&stream, IMEI);
        assert_eq!(counts(&content), [2, 3]);
        let fault = content.fault.unwrap();
        assert!(fault.contains("CRC") && fault.contains("offset"), "{fault}");
    }

    #[test]
    fn the_packets_of_another_device_are_not_taken_for_this_one_s() {
        let other = "356307042441021".parse().unwrap();
        let stream = [login(other), frame(2)].concat();
        let content = read(&stream, IMEI);
        assert!(content.packets.is_empty());
        assert!(content.fault.unwrap().contains("another device"));
    }
}
