//! What must hold for the ways of a batch into the table: one statement for a few rows, COPY for many, staging for what may
//! be there already. Packets here have more rows than the one statement takes, so that COPY and staging are what is tested;
//! other tests send a few rows at a time.

use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::RecordSpec;

use crate::harness::daemon::{Setup, started};
use crate::harness::device::{ANSWER, Device, encode, packet, record};
use crate::harness::rows::{REFUSE_AT_COMMIT, quarantine, records};
use crate::harness::{free_port, imei, postgres as pg, secs};

/// More rows than one statement takes.
const MANY: u64 = 60;
const MANY_ROWS: i64 = 60;
const MANY_ACKED: u32 = 60;

#[test]
fn what_comes_twice_among_many_rows_is_stored_once() {
    let (_daemon, mut client, port) = started();
    let first = packet(0, MANY);
    let mut device = Device::login(port, imei(1));
    device.deliver(&first);
    device.deliver(&first);
    drop(device);
    let mut device = Device::login(port, imei(1));
    device.deliver(&first);
    assert_eq!(records(&mut client, imei(1)), MANY_ROWS);
    // New bytes, and not the first packet of its session: straight into the table, where half of them are.
    device.deliver(&packet(MANY / 2, MANY));
    assert_eq!(records(&mut client, imei(1)), MANY_ROWS + MANY_ROWS / 2);
    device.deliver(&packet(2 * MANY, MANY));
    assert_eq!(records(&mut client, imei(1)), 2 * MANY_ROWS + MANY_ROWS / 2);
}

#[test]
fn a_row_the_database_refuses_among_many_is_found() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let _daemon = Setup::new(&database.url).port(port).start();
    client
        .batch_execute(
            "ALTER TABLE trackport.record ADD CONSTRAINT no_ghosts CHECK (speed_kmh <> 666)",
        )
        .unwrap();
    let mut good: Vec<Device> = (1..5).map(|n| Device::login(port, imei(n))).collect();
    let mut bad = Device::login(port, imei(9));
    for device in good.iter_mut().chain([&mut bad]) {
        device.deliver(&packet(0, 1));
    }
    let ghost: Vec<RecordSpec> = (1..=MANY)
        .map(|second| RecordSpec {
            speed_kmh: if second == 7 { 666 } else { 50 },
            ..record(second)
        })
        .collect();
    let ghost = encode(Codec::Codec8, &ghost);
    // While somebody locks the table they gather behind the first; then they are one batch.
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    for device in &mut good {
        device.send(&packet(1, MANY));
    }
    bad.send(&ghost);
    good[0].expect_silence(std::time::Duration::from_millis(300));
    transaction.commit().unwrap();
    for device in good.iter_mut().chain([&mut bad]) {
        assert_eq!(device.ack(ANSWER), Some(MANY_ACKED));
    }
    for number in 1..5 {
        assert_eq!(records(&mut client, imei(number)), 1 + MANY_ROWS);
    }
    assert_eq!(records(&mut client, imei(9)), 1);
    let entries = quarantine(&mut client, imei(9));
    assert_eq!(entries.len(), 1);
    assert_eq!((&entries[0].bytes, entries[0].acked), (&ghost, true));
}

#[test]
fn many_rows_that_fail_only_at_the_commit_are_not_taken_for_stored() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    client.batch_execute(REFUSE_AT_COMMIT).unwrap();
    let ghost: Vec<RecordSpec> = (1..=MANY)
        .map(|second| RecordSpec {
            speed_kmh: 666,
            ..record(second)
        })
        .collect();
    let ghost = encode(Codec::Codec8, &ghost);
    device.send(&ghost);
    assert_eq!(device.ack(ANSWER), Some(MANY_ACKED));
    assert_eq!(records(&mut client, imei(1)), 1);
    let entries = quarantine(&mut client, imei(1));
    assert_eq!(entries.len(), 1, "acked, and neither stored nor kept");
    assert_eq!((&entries[0].bytes, entries[0].acked), (&ghost, true));
}

#[test]
fn a_batch_that_the_spool_took_over_and_the_database_refuses_then_is_stored_but_for_the_guilty_packet()
 {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("ack_target", "300 ms")
        .start();
    client
        .batch_execute(
            "ALTER TABLE trackport.record ADD CONSTRAINT no_ghosts CHECK (speed_kmh <> 666)",
        )
        .unwrap();
    let mut devices: Vec<Device> = (1..6).map(|n| Device::login(port, imei(n))).collect();
    for device in &mut devices {
        device.deliver(&packet(0, 1));
    }
    let ghost = encode(
        Codec::Codec8,
        &[RecordSpec {
            speed_kmh: 666,
            ..record(1)
        }],
    );
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    // The first is the batch that waits for the lock; behind it the spool has the queue.
    let (bad, good) = devices.split_first_mut().unwrap();
    bad.deliver(&ghost);
    for device in good.iter_mut() {
        device.deliver(&packet(1, MANY));
    }
    transaction.commit().unwrap();
    daemon.wait_drained(secs(30));
    for number in 2..6 {
        assert_eq!(records(&mut client, imei(number)), 1 + MANY_ROWS);
        assert!(quarantine(&mut client, imei(number)).is_empty());
    }
    assert_eq!(records(&mut client, imei(1)), 1);
    let entries = quarantine(&mut client, imei(1));
    assert_eq!(entries.len(), 1);
    assert_eq!((&entries[0].bytes, entries[0].acked), (&ghost, true));
    // And the writer has its queue back.
    devices[1].deliver(&packet(500, MANY));
    assert_eq!(records(&mut client, imei(2)), 1 + 2 * MANY_ROWS);
}

#[test]
fn a_column_that_somebody_added_is_no_hindrance() {
    let (database, mut client) = pg::shared().migrated();
    client
        .batch_execute("ALTER TABLE trackport.record ADD COLUMN note text")
        .unwrap();
    let port = free_port();
    let _daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    device.deliver(&packet(1, MANY));
    assert_eq!(records(&mut client, imei(1)), 1 + MANY_ROWS);
}
