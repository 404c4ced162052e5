//! Any bytes as a segment of the spool, and good segments with damage.
//!
//! Of any bytes: nothing panics; a scan, a look and a reader find the same entries; of what cannot be read every byte is kept. Of
//! a damaged segment: no entry comes out that was not put in, and none is missing that the damage did not touch.
//!
//! Byte 0 of an input says which: 0, the bytes behind it are a segment; 1, the same with checksums made right; else they are a script
//! of entries and damage.

#![no_main]

mod damage;
mod memory;

use std::sync::Arc;

use crc_fast::{CrcAlgorithm, checksum};
use libfuzzer_sys::fuzz_target;
use trackport::conf::KeepFree;
use trackport::spool::{Entry, Header, Scan, Settings, Spool, Tally, examine, scan};

use memory::Memory;

/// Magic, version, number, checksum; and the head of a frame.
const HEADER_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 17;
const MARKER: &[u8] = b"\xF5TP\xA7";
const KIND_SEAL: u8 = 255;
/// The last frame of a finished segment.
pub const SEAL_BYTES: usize = 53;
/// The name of the only segment.
const NAME: &str = "0000000000000001.seg";

const SETTINGS: Settings = Settings {
    max_size: 1 << 30,
    keep_free: KeepFree::Percent(10),
    segment_size: 1 << 20,
};

fuzz_target!(|input: &[u8]| {
    match input {
        [0, segment @ ..] => readers_agree(segment),
        [1, segment @ ..] => readers_agree(&with_right_checksums(segment)),
        [_, script @ ..] => damage::costs_only_what_it_hits(script),
        [] => {}
    }
});

/// Makes header and frames right: magic, places and checksums, which chance would have to guess.
fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let crc = |bytes: &[u8]| (checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32).to_le_bytes();
    if bytes.len() < HEADER_BYTES {
        return bytes;
    }
    bytes[..8].copy_from_slice(b"TPSPOOL\n");
    let header = crc(&bytes[..20]);
    bytes[20..HEADER_BYTES].copy_from_slice(&header);
    let mut at = HEADER_BYTES;
    while let Some(head) = bytes.get(at..at + FRAME_HEAD_BYTES) {
        let length = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        let end = at + FRAME_HEAD_BYTES + length as usize;
        if !head.starts_with(MARKER) || end > bytes.len() {
            at += 1;
            continue;
        }
        bytes[at + 8..at + 12].copy_from_slice(&(at as u32).to_le_bytes());
        let frame = crc(&bytes[at + 8..end]);
        bytes[at + 4..at + 8].copy_from_slice(&frame);
        at = end;
    }
    bytes
}

/// The scan, the look and the reader about one segment.
fn readers_agree(bytes: &[u8]) {
    let scan = scan(bytes);
    scan_keeps_its_word(bytes, &scan);
    let look = examine(bytes);
    assert_eq!(look.tally, scan.tally);

    let disk = Memory::default();
    disk.put(NAME, bytes);
    let expected: Vec<Entry> = scan
        .entries
        .iter()
        .map(|(_, entry)| entry.to_entry())
        .collect();
    let (found, damaged) = drain(&disk);
    if found != expected {
        // At a start the seal is believed without a look at what is before it. Only somebody who knows the place can make such bytes:
        // the last packet of a device. It may hide that packet, and show in its place what was written into it as if it were an
        // entry; but no other packet is hidden, and nothing happens without a word.
        let is_newer = matches!(scan.header, Header::Newer { .. });
        assert!(
            ends_with_a_seal(bytes),
            "the reader found others than the scan"
        );
        let others = expected.split_last().map_or(&[][..], |(_, others)| others);
        assert!(
            is_newer || (damaged > 0 && found.starts_with(others)),
            "{} of {} packets, {damaged} damaged",
            found.len(),
            expected.len()
        );
    }
    let kept = disk.all();
    if damaged == 0 {
        assert!(kept.is_empty() || kept == [(NAME.to_owned(), bytes.to_vec())]);
    } else {
        // Whole, or the tail alone where nothing else is wrong.
        assert!(
            kept.iter().any(|(name, kept)| {
                kept == bytes || (name.ends_with(".tail.bad") && bytes.ends_with(kept))
            }),
            "damage was told and nothing of it is kept: {kept:?}"
        );
    }
}

fn ends_with_a_seal(bytes: &[u8]) -> bool {
    bytes
        .last_chunk::<SEAL_BYTES>()
        .is_some_and(|seal| seal.starts_with(MARKER) && seal[FRAME_HEAD_BYTES - 1] == KIND_SEAL)
}

fn scan_keeps_its_word(bytes: &[u8], scan: &Scan<'_>) {
    let n_bytes = bytes.len() as u64;
    assert!(scan.end <= n_bytes);
    if let Header::Newer { .. } = scan.header {
        assert!(scan.entries.is_empty() && scan.damaged.is_empty());
    }
    let mut tally = Tally::default();
    let mut behind = HEADER_BYTES as u64;
    for (offset, entry) in &scan.entries {
        assert!(*offset >= behind, "entries overlap");
        behind = offset + (FRAME_HEAD_BYTES + entry.frame.len()) as u64;
        assert!(behind <= scan.end);
        tally.count(entry);
    }
    assert_eq!(tally, scan.tally);
    let mut behind = 0;
    for range in &scan.damaged {
        assert!(range.start >= behind && range.start < range.end && range.end <= scan.end);
        behind = range.end;
        let is_free = |offset: &u64| !range.contains(offset);
        assert!(scan.entries.iter().all(|(offset, _)| is_free(offset)));
    }
}

/// Everything that a reader finds in the folder, and how often it told of damage. All of it is released in the end.
fn drain(disk: &Memory) -> (Vec<Entry>, usize) {
    let (spool, opened) = Spool::open(Arc::new(disk.clone()), SETTINGS).expect("memory is there");
    let mut n_damaged = opened.damaged.len();
    let mut entries = Vec::new();
    let mut at = None;
    loop {
        let chunk = spool.read(at, 3, 300).expect("memory can be read");
        n_damaged += chunk.damaged.len();
        let is_done = chunk.entries.is_empty();
        entries.extend(chunk.entries);
        at = Some(chunk.next);
        if is_done {
            break;
        }
    }
    spool
        .release(at.expect("something was read"))
        .expect("memory can be changed");
    (entries, n_damaged)
}
