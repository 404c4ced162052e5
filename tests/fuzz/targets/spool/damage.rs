//! A good segment, some damage, and what may come out of it.
//!
//! The damage is of the kind that disks and crashes do and that a checksum always shows: up to four bytes beside each other
//! changed, a range zeroed, taken out or put in twice, the end cut off. A fuzzer that may change everything would find forged
//! checksums in the end, which no disk does.

use std::net::IpAddr;
use std::ops::Range;

use trackport::imei::Imei;
use trackport::spool::{Entry, EntryContent, scan, write_incoming};

use crate::SEAL_BYTES;
use crate::memory::Memory;

/// Numbers off the front of a script; zeros when it is over.
struct Script<'s>(&'s [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }
}

pub fn costs_only_what_it_hits(script: &[u8]) {
    let mut script = Script(script);
    let entries: Vec<Entry> = (0..script.byte() % 6).map(|_| entry(&mut script)).collect();
    if entries.is_empty() {
        return;
    }
    let bytes = segment(&entries);
    let good = scan(&bytes);
    let found: Vec<Entry> = good
        .entries
        .iter()
        .map(|(_, entry)| entry.to_entry())
        .collect();
    assert_eq!(found, entries, "what is written is read");
    assert!(good.sealed.is_some() && good.damaged.is_empty() && good.end == bytes.len() as u64);

    let mut damaged = bytes.clone();
    let touched = damage(&mut damaged, &mut script);
    let left = scan(&damaged);
    for entry in &left.entries {
        assert!(good.entries.contains(entry), "{entry:?} was never put in");
    }
    let mut ends = good
        .entries
        .iter()
        .map(|(offset, _)| *offset)
        .skip(1)
        .collect::<Vec<u64>>();
    // Behind the last entry stands the seal.
    ends.push((bytes.len() - SEAL_BYTES) as u64);
    for (entry, end) in good.entries.iter().zip(ends) {
        let is_hit = touched.start < end && entry.0 < touched.end;
        assert!(
            is_hit || left.entries.contains(entry),
            "{entry:?} is missing"
        );
    }
}

fn entry(script: &mut Script<'_>) -> Entry {
    let flags = script.byte();
    let n_frame = script.number() % 100;
    let frame: Vec<u8> = (0..n_frame).map(|_| script.byte()).collect();
    Entry {
        imei: Imei::from_number(script.number() as u64).expect("it is short"),
        received_at_us: i64::from(script.byte()),
        port: 5027,
        peer: if flags & 1 == 0 {
            IpAddr::from([10, 0, 0, 7])
        } else {
            IpAddr::from([7; 16])
        },
        n_records: script.byte(),
        maybe_resend: flags & 2 != 0,
        is_new: flags & 4 != 0,
        content: if flags & 8 == 0 {
            EntryContent::Packet
        } else {
            EntryContent::Broken {
                code: "crc".to_owned(),
                reason: "x".repeat(usize::from(flags >> 4)),
            }
        },
        frame: frame.into(),
    }
}

/// The bytes of a finished segment.
fn segment(entries: &[Entry]) -> Vec<u8> {
    let disk = Memory::default();
    let names = write_incoming(&disk, "fuzz", entries.iter().map(Entry::as_ref));
    assert_eq!(names.expect("memory is there").len(), 1);
    disk.all().remove(0).1
}

/// Damages `bytes`; everything before and behind the range that is returned stands where it stood.
fn damage(bytes: &mut Vec<u8>, script: &mut Script<'_>) -> Range<u64> {
    let n_bytes = bytes.len();
    let kind = script.byte();
    let begin = script.number() % n_bytes;
    let end = begin + script.number() % (n_bytes - begin + 1);
    let touched = match kind % 5 {
        0 => {
            let end = n_bytes.min(begin + 4);
            for byte in &mut bytes[begin..end] {
                *byte ^= script.byte();
            }
            begin..end
        }
        1 => {
            bytes[begin..end].fill(0);
            begin..end
        }
        2 => {
            bytes.truncate(begin);
            begin..n_bytes
        }
        3 => {
            bytes.drain(begin..end);
            begin..n_bytes
        }
        _ => {
            let twice = bytes[begin..end].to_vec();
            bytes.splice(end..end, twice);
            // What was put in stands behind the first of the two.
            end..n_bytes
        }
    };
    touched.start as u64..touched.end as u64
}
