//! How much the spool may take: by its size and by what is to stay free.

use super::*;

fn needed(error: Result<(), SpoolError>) -> (u64, u64) {
    match error {
        Err(SpoolError::Full { needed, room }) => (needed, room),
        other => panic!("not full: {other:?}"),
    }
}

#[test]
fn at_max_size_nothing_is_written_until_something_is_released() {
    let disk = SimulatedDisk::new(1);
    let (spool, _) = opened(&disk, settings(1000, 400));
    let mut appender = spool.appender();
    let mut n_appended = 0;
    let full = loop {
        match append(&mut appender, &entries(n_appended..n_appended + 1)) {
            Ok(()) => n_appended += 1,
            full => break full,
        }
    };
    let (needed, room) = needed(full);
    assert!(room < needed && spool.depth().bytes <= 1000);
    assert!(n_appended >= 7, "{n_appended}");
    let before = disk.n_bytes();
    assert!(append(&mut appender, &entries(0..1)).is_err());
    assert_eq!(disk.n_bytes(), before);
    assert_eq!(drain(&spool).0, entries(0..n_appended));
    let (_, end, _) = drain(&spool);
    spool.release(end).unwrap();
    assert_eq!(spool.room().unwrap(), 1000);
    append(&mut appender, &entries(0..1)).unwrap();
}

#[test]
fn what_is_set_aside_counts_for_max_size() {
    let disk = SimulatedDisk::new(1);
    disk.put("0000000000000003.seg.bad", &[1; 600]);
    let (spool, found) = opened(&disk, settings(1000, 400));
    assert_eq!(spool.room().unwrap(), 400);
    assert_eq!(
        (found.depth.set_aside_files, found.depth.set_aside_bytes),
        (1, 600)
    );
    // Its number is not given again.
    append(&mut spool.appender(), &entries(0..1)).unwrap();
    assert!(disk.names().contains(&"0000000000000004.seg".to_owned()));
}

#[test]
fn what_is_to_stay_free_stays_free() {
    let disk = SimulatedDisk::new(1);
    disk.world().space = Space {
        total: 10_000,
        free: 1150,
    };
    let (spool, _) = opened(&disk, settings(1 << 30, 1 << 20));
    assert_eq!(spool.room().unwrap(), 150);
    let mut appender = spool.appender();
    let (needed, room) = needed(append(&mut appender, &entries(0..2)));
    assert_eq!(room, 150);
    assert!(needed > 150);
    append(&mut appender, &entries(0..1)).unwrap();
    // The next question need not wait for the disk to be asked again.
    assert!(spool.room().unwrap() < 50);
    let by_bytes = Settings {
        keep_free: KeepFree::Bytes(1100),
        ..settings(1 << 30, 1 << 20)
    };
    drop((appender, spool));
    let (spool, _) = opened(&disk.restart(false), by_bytes);
    assert_eq!(spool.room().unwrap(), 50);
}
