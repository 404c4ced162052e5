//! Cut, flipped, zeroed, missing: what is whole is read, what is not is told and kept.

use super::*;

/// A segment with a seal, or without, of ten entries; where each begins and ends.
fn segment(is_sealed: bool) -> (Vec<u8>, Vec<std::ops::Range<u64>>, Vec<Entry>) {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let mut appender = spool.appender();
    append(&mut appender, &entries(0..10)).unwrap();
    let name = disk.names()[0].clone();
    let bytes = disk.content(&name);
    let scanned = scan(&bytes);
    let mut begins: Vec<u64> = scanned.entries.iter().map(|(at, _)| *at).collect();
    begins.push(scanned.end);
    let ranges = begins.windows(2).map(|pair| pair[0]..pair[1]).collect();
    drop(appender);
    let bytes = if is_sealed {
        disk.content(&name)
    } else {
        bytes
    };
    (bytes, ranges, entries(0..10))
}

const NAME: &str = "0000000000000001.seg";

/// Opens a folder with this one segment, drains it and lets it go.
fn survivors(bytes: &[u8]) -> (Vec<Entry>, Vec<Damage>, Vec<String>) {
    let disk = SimulatedDisk::new(1);
    disk.put(NAME, bytes);
    let (spool, found) = opened(&disk, settings(1 << 30, 1 << 20));
    let (read, end, mut damaged) = drain(&spool);
    damaged.extend(found.damaged);
    spool.release(end).unwrap();
    assert_eq!(spool.depth().segments, 0);
    let names = disk.names();
    assert_eq!(
        spool.depth().set_aside_files,
        names.len() as u64,
        "{names:?}"
    );
    (read, damaged, names)
}

#[test]
fn a_cut_at_any_byte_leaves_everything_before_it() {
    for is_sealed in [false, true] {
        let (bytes, ranges, all) = segment(is_sealed);
        for cut in 0..bytes.len() {
            let n_whole = ranges
                .iter()
                .filter(|range| range.end <= cut as u64)
                .count();
            let (read, damaged, names) = survivors(&bytes[..cut]);
            assert_eq!(read, all[..n_whole], "cut at {cut}");
            let is_clean =
                cut as u64 == ranges[0].start || ranges.iter().any(|range| range.end == cut as u64);
            assert_eq!(damaged.is_empty(), is_clean, "cut at {cut}: {damaged:?}");
            assert_eq!(names.is_empty(), is_clean, "cut at {cut}: {names:?}");
        }
    }
}

#[test]
fn a_flip_at_any_byte_costs_only_the_entry_that_it_hits() {
    for is_sealed in [false, true] {
        let (bytes, ranges, all) = segment(is_sealed);
        for at in 0..bytes.len() {
            for bit in [0, 7] {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                let hit = ranges.iter().position(|range| range.contains(&(at as u64)));
                let mut expected = all.clone();
                if let Some(hit) = hit {
                    expected.remove(hit);
                }
                let (read, damaged, names) = survivors(&bytes);
                assert_eq!(read, expected, "byte {at}");
                // With a good seal nobody looks at the header.
                if hit.is_some() || !is_sealed {
                    assert_eq!(damaged.len(), 1, "byte {at}: {damaged:?}");
                    assert_eq!(names.len(), 1, "byte {at}: {names:?}");
                }
            }
        }
    }
}

#[test]
fn zeros_after_a_crash_are_no_damage() {
    let (mut bytes, _, all) = segment(false);
    bytes.resize(bytes.len() + 500, 0);
    let (read, damaged, names) = survivors(&bytes);
    assert_eq!((read, damaged, names.len()), (all, vec![], 0));
}

#[test]
fn files_that_hold_nothing_are_set_aside() {
    for bytes in [&[][..], &[0; 4096], b"not a segment\n"] {
        let (read, damaged, names) = survivors(bytes);
        assert_eq!(read, []);
        assert_eq!(names, [format!("{NAME}.bad")]);
        let told = damaged[0].to_string();
        assert!(
            told.contains("can be read") && told.contains(".seg.bad"),
            "{told}"
        );
    }
}

#[test]
fn a_seal_that_counts_nothing_costs_nothing() {
    let (mut bytes, _, all) = segment(false);
    let offset = bytes.len() as u64;
    format::write_seal(&mut bytes, offset, &Tally::default()).unwrap();
    let (read, damaged, names) = survivors(&bytes);
    assert_eq!((read, damaged, names.len()), (all, vec![], 0));
}

#[test]
fn a_name_with_the_largest_number_is_none_of_ours() {
    let (bytes, _, all) = segment(true);
    let disk = SimulatedDisk::new(1);
    disk.put(NAME, &bytes);
    disk.put("18446744073709551615.seg", &bytes);
    let (spool, found) = opened(&disk, settings(1 << 30, 1 << 20));
    assert_eq!((found.depth.segments, found.damaged), (1, vec![]));
    append(&mut spool.appender(), &entries(10..20)).unwrap();
    let (read, end, _) = drain(&spool);
    assert_eq!(read, [all, entries(10..20)].concat());
    spool.release(end).unwrap();
    assert_eq!(disk.names(), ["18446744073709551615.seg"]);
}

#[test]
fn a_torn_tail_is_kept_and_told_once() {
    let (bytes, ranges, all) = segment(false);
    let disk = SimulatedDisk::new(1);
    disk.put(NAME, &bytes[..bytes.len() - 5]);
    let (spool, found) = opened(&disk, settings(1 << 30, 1 << 20));
    let told = found.damaged[0].to_string();
    assert!(told.contains("were not acknowledged"), "{told}");
    assert_eq!(drain(&spool).0, all[..9]);
    let tail = disk.content("0000000000000001.seg.tail.bad");
    let begin = usize::try_from(ranges[9].start).unwrap();
    assert_eq!(tail, bytes[begin..bytes.len() - 5]);
    drop(spool);
    let (spool, found) = opened(&disk.restart(false), settings(1 << 30, 1 << 20));
    assert_eq!(found.damaged, []);
    assert_eq!(drain(&spool).0, all[..9]);
}

#[test]
fn a_later_format_is_left_alone() {
    let (bytes, _, _) = segment(false);
    let disk = SimulatedDisk::new(1);
    let later = format::later_header();
    let mut newer = later.to_vec();
    newer.extend_from_slice(&bytes[HEADER_BYTES..]);
    disk.put(NAME, &newer);
    let (spool, found) = opened(&disk, settings(1 << 30, 1 << 20));
    assert!(found.damaged[0].to_string().contains("later trackport"));
    assert_eq!(drain(&spool).0, []);
    append(&mut spool.appender(), &entries(0..1)).unwrap();
    let (_, end, _) = drain(&spool);
    spool.release(end).unwrap();
    assert_eq!(disk.content(NAME), newer);
}

#[test]
fn a_bad_page_costs_what_lies_in_it() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let all: Vec<Entry> = (0..100).map(|serial| entry(serial, 900)).collect();
    append(&mut spool.appender(), &all).unwrap();
    disk.world().bad_pages = vec![(NAME.to_owned(), 8192..8193)];
    let (read, end, damaged) = drain(&spool);
    assert!(read.len() >= 94 && read.len() < 100, "{}", read.len());
    assert!(read.iter().all(|entry| all.contains(entry)));
    assert_eq!(damaged.len(), 1);
    spool.release(end).unwrap();
    assert_eq!(disk.names(), [format!("{NAME}.bad")]);
    // A disk that gives nothing at all loses nothing.
    append(&mut spool.appender(), &all).unwrap();
    let second = "0000000000000002.seg".to_owned();
    disk.world().bad_pages = vec![(second, 0..1 << 20)];
    assert!(spool.read(None, 10, 1000).is_err());
    disk.world().bad_pages.clear();
    assert_eq!(drain(&spool).0, all);
}

/// Three segments of three entries.
fn three_segments(disk: &SimulatedDisk) -> Arc<Spool> {
    let (spool, _) = opened(disk, settings(1 << 30, 100));
    let mut appender = spool.appender();
    for n in 0..3 {
        append(&mut appender, &entries(n * 3..n * 3 + 3)).unwrap();
    }
    spool
}

#[test]
fn a_segment_of_which_the_disk_gives_nothing_holds_up_nobody_and_is_kept_for_the_next_start() {
    let disk = SimulatedDisk::new(1);
    let spool = three_segments(&disk);
    disk.world().bad_pages = vec![(NAME.to_owned(), 0..1 << 20)];
    let bytes = spool.depth().bytes + spool.depth().set_aside_bytes;
    // The disk may have been away for a moment only.
    assert!(spool.read(None, 1000, 100_000).is_err());
    assert!(spool.read(None, 1000, 100_000).is_err());
    let (read, end, damaged) = drain(&spool);
    assert_eq!(read, entries(3..9));
    assert_eq!(damaged.len(), 1);
    let told = damaged[0].to_string();
    assert!(
        told.contains("bad sector") && told.contains("next start"),
        "{told}"
    );
    assert_eq!(spool.depth().set_aside_files, 1);
    assert_eq!(spool.depth().bytes + spool.depth().set_aside_bytes, bytes);
    spool.release(end).unwrap();
    assert_eq!(spool.depth().segments, 0);
    assert_eq!(disk.names(), [NAME]);
    // Its number is not given again, and it is read when it can be.
    append(&mut spool.appender(), &entries(9..10)).unwrap();
    drop(spool);
    disk.world().bad_pages.clear();
    let (spool, found) = opened(&disk.restart(false), settings(1 << 30, 100));
    assert_eq!(found.damaged, []);
    assert_eq!(drain(&spool).0, [entries(0..3), entries(9..10)].concat());
}

#[test]
fn a_disk_that_gives_nothing_of_any_segment_is_waited_for() {
    let disk = SimulatedDisk::new(1);
    let spool = three_segments(&disk);
    let names = disk.names();
    disk.world().bad_pages = names
        .iter()
        .map(|name| (name.clone(), 0..1 << 20))
        .collect();
    for _ in 0..20 {
        assert!(spool.read(None, 1000, 100_000).is_err());
    }
    assert_eq!(spool.depth().set_aside_files, 0);
    disk.world().bad_pages.clear();
    let (read, _, damaged) = drain(&spool);
    assert_eq!((read, damaged), (entries(0..9), vec![]));
}

#[test]
fn a_first_page_that_cannot_be_read_costs_what_lies_in_it() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    let all: Vec<Entry> = (0..100).map(|serial| entry(serial, 900)).collect();
    append(&mut spool.appender(), &all).unwrap();
    disk.world().bad_pages = vec![(NAME.to_owned(), 0..100)];
    let (read, _, damaged) = drain(&spool);
    assert!(read.len() >= 94 && read.len() < 100, "{}", read.len());
    assert_eq!(read, all[100 - read.len()..]);
    assert_eq!(damaged.len(), 1);
}

#[test]
fn a_file_that_was_taken_away_is_told_and_passed_over() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 100));
    let mut appender = spool.appender();
    append(&mut appender, &entries(0..3)).unwrap();
    append(&mut appender, &entries(3..6)).unwrap();
    disk.remove(NAME).unwrap();
    let (read, _, damaged) = drain(&spool);
    assert_eq!(read, entries(3..6));
    assert_eq!(damaged[0].kind, DamageKind::Missing);
    assert_eq!(spool.depth().segments, 1);
}

#[test]
fn a_frame_that_a_device_sends_is_never_taken_for_ours() {
    // The bytes of a whole segment as the content of a packet, whose own frame is then damaged.
    let (inner, _, _) = segment(true);
    let mut carrier = entry(1, 0);
    carrier.frame = inner.into();
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    append(&mut spool.appender(), &[carrier, entry(2, 20)]).unwrap();
    let mut bytes = disk.content(NAME);
    bytes[HEADER_BYTES + 30] ^= 1;
    let (read, damaged, _) = survivors(&bytes);
    assert_eq!(read, [entry(2, 20)]);
    assert_eq!(damaged.len(), 1);
}
