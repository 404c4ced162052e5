//! What the spool promises, asked of the real folder and of a disk that loses power.

#![allow(clippy::unwrap_used)]

mod bounds;
mod damage;
mod folder;
mod power;
mod simulated;

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::format::{self, HEADER_BYTES};
use super::*;
use crate::imei::Imei;
use simulated::SimulatedDisk;

fn settings(max_size: u64, segment_size: u64) -> Settings {
    Settings {
        max_size,
        keep_free: KeepFree::Percent(10),
        segment_size,
    }
}

/// An entry that is told from others by `serial`, with `n_more` bytes after it.
fn entry(serial: u64, n_more: usize) -> Entry {
    let mut frame = serial.to_le_bytes().to_vec();
    frame.extend((0..n_more).map(|n| u8::try_from(n % 251).unwrap()));
    let content = if serial.is_multiple_of(7) {
        EntryContent::Broken {
            code: "crc".to_owned(),
            reason: "the CRC is wrong".to_owned(),
        }
    } else {
        EntryContent::Packet
    };
    Entry {
        imei: Imei::from_number(356_307_042_441_000 + serial % 1000).unwrap(),
        received_at_us: 1_790_000_000_000_000 + i64::try_from(serial).unwrap(),
        port: 5027,
        peer: IpAddr::from([10, 0, 0, 7]),
        n_records: 3,
        maybe_resend: serial.is_multiple_of(2),
        is_new: serial.is_multiple_of(5),
        content,
        frame: frame.into(),
    }
}

fn entries(serials: std::ops::Range<u64>) -> Vec<Entry> {
    serials.map(|serial| entry(serial, 20)).collect()
}

fn append(appender: &mut Appender, entries: &[Entry]) -> Result<(), SpoolError> {
    appender.append(entries.iter().map(Entry::as_ref))
}

fn opened(disk: &SimulatedDisk, settings: Settings) -> (Arc<Spool>, Opened) {
    let (spool, opened) = Spool::open(Arc::new(disk.clone()), settings).unwrap();
    (Arc::new(spool), opened)
}

/// Everything that can be read, and what is told of the rest.
fn drain(spool: &Spool) -> (Vec<Entry>, Position, Vec<Damage>) {
    let mut entries = Vec::new();
    let mut damaged = Vec::new();
    let mut at = None;
    loop {
        let chunk = spool.read(at, 10, 100_000).unwrap();
        let is_done = chunk.entries.is_empty();
        entries.extend(chunk.entries);
        damaged.extend(chunk.damaged);
        at = Some(chunk.next);
        if is_done {
            return (entries, chunk.next, damaged);
        }
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let content = prop_oneof![
        Just(EntryContent::Packet),
        ("[a-z_]{0,300}", "\\PC{0,300}")
            .prop_map(|(code, reason)| EntryContent::Broken { code, reason }),
    ];
    let who = (0..=999_999_999_999_999_u64, any::<i64>(), any::<u16>());
    let flags = (any::<u8>(), any::<bool>(), any::<bool>());
    let frame = proptest::collection::vec(any::<u8>(), 0..400);
    (who, any::<IpAddr>(), flags, content, frame).prop_map(|(who, peer, flags, content, frame)| {
        Entry {
            imei: Imei::from_number(who.0).unwrap(),
            received_at_us: who.1,
            port: who.2,
            peer,
            n_records: flags.0,
            maybe_resend: flags.1,
            is_new: flags.2,
            content,
            frame: frame.into(),
        }
    })
}

/// As the format keeps it: of a code 255 bytes.
fn as_kept(mut entry: Entry) -> Entry {
    if let EntryContent::Broken { code, .. } = &mut entry.content {
        code.truncate(255);
    }
    entry
}

proptest! {
    #[test]
    fn what_is_appended_is_read(groups in proptest::collection::vec(
        proptest::collection::vec(any_entry(), 1..10), 1..10
    )) {
        let disk = SimulatedDisk::new(1);
        let (spool, _) = opened(&disk, settings(1 << 30, 2000));
        let mut appender = spool.appender();
        for group in &groups {
            append(&mut appender, group).unwrap();
        }
        let expected: Vec<Entry> = groups.concat().into_iter().map(as_kept).collect();
        prop_assert_eq!(&drain(&spool).0, &expected);
        drop((appender, spool));
        let (spool, found) = opened(&disk.restart(true), settings(1 << 30, 2000));
        prop_assert_eq!(found.damaged, vec![]);
        prop_assert_eq!(found.depth.entries, expected.len() as u64);
        prop_assert_eq!(&drain(&spool).0, &expected);
    }

    #[test]
    fn no_bytes_upset_the_scan(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let scan = scan(&bytes);
        prop_assert!(scan.entries.is_empty());
        prop_assert!(scan.end <= bytes.len() as u64);
    }
}

/// Pieces of 64 KiB are what is read at once; neither their ends nor an entry larger than one shows in a chunk.
#[test]
fn a_chunk_is_as_large_as_was_asked_for_whatever_pieces_it_is_read_in() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 4 << 20));
    let mut appender = spool.appender();
    let n_more = |serial| if serial == 150 { 200_000 } else { 1000 };
    let all: Vec<Entry> = (0..300)
        .map(|serial| entry(serial, n_more(serial)))
        .collect();
    append(&mut appender, &all).unwrap();
    let whole = spool.read(None, usize::MAX, usize::MAX).unwrap();
    assert_eq!(whole.entries, all);
    let first = spool.read(None, 3 * 140, usize::MAX).unwrap();
    assert_eq!(first.entries, all[..140]);
    let second = spool.read(Some(first.next), 3 * 100, usize::MAX).unwrap();
    assert_eq!(second.entries, all[140..240]);
    let third = spool
        .read(Some(second.next), usize::MAX, 30 * 1008)
        .unwrap();
    assert_eq!(third.entries, all[240..270]);
    assert_eq!((whole.damaged, third.damaged), (vec![], vec![]));
}

#[test]
fn reading_goes_on_where_it_stopped_and_release_takes_whole_segments() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 300));
    let mut appender = spool.appender();
    for n in 0..6 {
        append(&mut appender, &entries(n * 4..n * 4 + 4)).unwrap();
    }
    assert_eq!(spool.depth().segments, 6);
    let first = spool.read(None, 5, 100_000).unwrap();
    // Two entries of three records would be six.
    assert_eq!(first.entries, entries(0..1));
    assert_eq!(spool.release(first.next).unwrap().segments, 0);
    let rest = spool.read(Some(first.next), 1000, 100_000).unwrap();
    assert_eq!(rest.entries, entries(1..4));
    assert_eq!(spool.release(rest.next).unwrap().segments, 1);
    // A reader that begins anew begins with what is left.
    assert_eq!(drain(&spool).0, entries(4..24));
    let (_, end, _) = drain(&spool);
    assert_eq!(spool.release(end).unwrap().segments, 5);
    assert_eq!(spool.depth(), Depth::default());
    assert_eq!(disk.names(), [""; 0]);
    // The segment that grew is gone; the next group begins another.
    append(&mut appender, &entries(24..25)).unwrap();
    let chunk = spool.read(Some(end), 10, 1000).unwrap();
    assert_eq!(chunk.entries, entries(24..25));
}

#[test]
fn a_superseded_appender_counts_for_nothing() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let mut old = spool.appender();
    append(&mut old, &entries(0..2)).unwrap();
    let mut new = spool.appender();
    let refused = append(&mut old, &entries(2..3));
    assert!(matches!(refused, Err(SpoolError::Superseded)));
    append(&mut new, &entries(3..5)).unwrap();
    drop(old);
    assert_eq!(drain(&spool).0, [entries(0..2), entries(3..5)].concat());
}

#[test]
fn a_failed_sync_is_never_trusted_again() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let mut appender = spool.appender();
    append(&mut appender, &entries(0..2)).unwrap();
    let before = disk.names();
    disk.world().failures = 1;
    assert!(matches!(
        append(&mut appender, &entries(2..4)),
        Err(SpoolError::Disk { .. })
    ));
    let touched = disk.content(&before[0]);
    disk.world().failures = 0;
    append(&mut appender, &entries(4..6)).unwrap();
    assert_eq!(disk.content(&before[0]), touched);
    assert_eq!(disk.names().len(), 2);
    assert_eq!(drain(&spool).0, [entries(0..2), entries(4..6)].concat());
}

#[test]
fn a_full_disk_leaves_no_heap_of_empty_files() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let mut appender = spool.appender();
    disk.world().failures = 1;
    for _ in 0..5 {
        assert!(append(&mut appender, &entries(0..2)).is_err());
    }
    disk.world().failures = 0;
    append(&mut appender, &entries(0..2)).unwrap();
    assert_eq!(spool.depth().segments, 1);
    // A file that could be made but not opened stays empty; nothing of it is read.
    assert_eq!(drain(&spool).0, entries(0..2));
}

#[test]
fn files_from_elsewhere_come_last_and_once() {
    let elsewhere = SimulatedDisk::new(1);
    let (other, _) = opened(&elsewhere, settings(1 << 30, 1 << 20));
    append(&mut other.appender(), &entries(10..13)).unwrap();
    let file = elsewhere.content(&elsewhere.names()[0]);

    let disk = SimulatedDisk::new(2);
    disk.put("incoming-a.seg", &file);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let mut appender = spool.appender();
    append(&mut appender, &entries(0..2)).unwrap();
    disk.put("incoming-b.seg", &file);
    disk.put("incoming-c.seg", b"no segment at all");
    let adopted = spool.adopt_incoming().unwrap();
    assert_eq!((adopted.files, adopted.tally.entries), (1, 3));
    assert_eq!(adopted.damaged[0].kept_as, "incoming-c.seg.bad");
    append(&mut appender, &entries(2..4)).unwrap();
    let expected = [
        entries(10..13),
        entries(0..2),
        entries(10..13),
        entries(2..4),
    ]
    .concat();
    assert_eq!(drain(&spool).0, expected);
    assert_eq!(spool.adopt_incoming().unwrap(), Adopted::default());
}

#[test]
fn a_start_reads_the_seals_and_not_the_backlog() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 4000));
    let mut appender = spool.appender();
    for n in 0..100 {
        append(&mut appender, &entries(n * 100..n * 100 + 100)).unwrap();
    }
    drop((appender, spool));
    let disk = disk.restart(false);
    disk.world().bytes_read = 0;
    let (_, found) = opened(&disk, settings(1 << 30, 4000));
    assert_eq!(found.depth.entries, 10_000);
    assert_eq!(found.depth.segments, 100);
    let expected = 100 * format::SEAL_BYTES as u64;
    assert_eq!(disk.world().bytes_read, expected);
    assert!(found.depth.bytes > 10 * expected);
}

#[test]
fn what_another_process_puts_there_is_taken_in_as_it_is() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let all = entries(0..50);
    let names = write_incoming(&disk, "7-1", all.iter().map(Entry::as_ref)).unwrap();
    assert_eq!(names, ["incoming-7-1-0000.seg"]);
    // Safe from the moment on that it is said.
    drop(spool);
    let (spool, found) = opened(&disk.restart(true), settings(1 << 30, 1 << 20));
    assert_eq!((found.depth.entries, found.damaged), (50, vec![]));
    assert_eq!(drain(&spool).0, all);
}

#[test]
fn a_file_that_arrived_and_cannot_be_read_is_told_once_and_taken_in_when_it_can() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let all = entries(0..5);
    let names = write_incoming(&disk, "7-1", all.iter().map(Entry::as_ref)).unwrap();
    disk.world().bad_pages = vec![(names[0].clone(), 0..1 << 20)];
    let told = spool.adopt_incoming().unwrap().damaged;
    assert!(told[0].to_string().contains("bad sector"), "{told:?}");
    assert_eq!(spool.adopt_incoming().unwrap(), Adopted::default());
    disk.world().bad_pages.clear();
    assert_eq!(spool.adopt_incoming().unwrap().tally.entries, 5);
    assert_eq!(drain(&spool).0, all);
    assert_eq!(spool.depth().set_aside_files, 0);
}

#[test]
fn a_reader_waits_for_what_is_being_added_unless_a_new_appender_takes_over() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    // An append that hangs in the disk.
    let generation = spool.index().supersede();
    let hangs = spool.index().begin(generation, None, 1000).unwrap();
    let arrived = entries(10..13);
    write_incoming(&disk, "7-1", arrived.iter().map(Entry::as_ref)).unwrap();
    assert_eq!(spool.adopt_incoming().unwrap().files, 1);
    // What arrived has a later number: passing on to it would leave behind what is being added.
    let (read, at, _) = drain(&spool);
    assert_eq!(read, []);
    let later = Position {
        segment: 99,
        offset: 0,
    };
    assert_eq!(spool.release(later).unwrap(), Released::default());
    let mut appender = spool.appender();
    assert_eq!(spool.read(Some(at), 100, 10_000).unwrap().entries, arrived);
    // When it comes back it is a stranger.
    let published = spool
        .index()
        .publish(generation, hangs.number, 500, &Tally::default());
    assert!(matches!(published, Err(SpoolError::Superseded)));
    append(&mut appender, &entries(20..22)).unwrap();
    assert_eq!(drain(&spool).0, [arrived, entries(20..22)].concat());
}
