//! What must hold for packets that cannot be read or that the database does not take: they are kept with their bytes and the
//! reason, acknowledged only once they are kept for good, and stand in the way of no other packet.

use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::crc::crc16;
use trackport::protocol::teltonika::encode::{RecordSpec, frame};

use crate::harness::daemon::started;
use crate::harness::device::{ANSWER, Device, TIME_MS, encode, packet, record};
use crate::harness::rows::{REFUSE_AT_COMMIT, number, quarantine, records};
use crate::harness::{eventually, imei, ms, secs};

/// Spoils the CRC of a packet.
fn spoiled(mut packet: Vec<u8>) -> Vec<u8> {
    *packet.last_mut().unwrap() ^= 1;
    packet
}

/// Changes the data of a packet and makes its CRC right again.
fn changed(packet: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut data = packet[8..packet.len() - 4].to_vec();
    change(&mut data);
    frame(&data).unwrap()
}

#[test]
fn a_bad_crc_is_not_acked_and_the_third_time_it_is_kept_and_acked() {
    let (daemon, mut client, port) = started();
    let bad = spoiled(packet(0, 3));
    for n_seen in 1..=2 {
        let mut device = Device::login(port, imei(1));
        device.send(&bad);
        device.expect_closed(ANSWER);
        let entries = quarantine(&mut client, imei(1));
        assert_eq!(entries.len(), 1, "{entries:?}");
        let entry = &entries[0];
        assert_eq!(
            (entry.code.as_str(), entry.n_seen, entry.acked),
            ("crc", n_seen, false)
        );
        assert_eq!(entry.bytes, bad);
        assert!(
            entry.reason.to_lowercase().contains("crc"),
            "{}",
            entry.reason
        );
    }
    let mut device = Device::login(port, imei(1));
    device.send(&bad);
    assert_eq!(
        device.ack(ANSWER),
        Some(3),
        "acked with the count it declares"
    );
    let entry = &quarantine(&mut client, imei(1))[0];
    assert_eq!(
        (entry.n_seen, entry.acked, entry.n_records),
        (3, true, Some(3))
    );
    // The device goes on.
    device.deliver(&packet(0, 3));
    assert_eq!(records(&mut client, imei(1)), 3);
    daemon.wait_log(secs(1), &["packet broken", &imei(1).to_string()]);
    daemon.wait_log(secs(1), &["packet quarantined", &imei(1).to_string()]);
    assert_eq!(daemon.count("packet broken"), 3);
    assert_eq!(daemon.count("thread died"), 0);
}

#[test]
fn a_packet_damaged_once_on_the_way_is_stored_when_it_comes_again() {
    let (_daemon, mut client, port) = started();
    let good = packet(0, 3);
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(10, 1));
    device.send(&spoiled(good.clone()));
    device.expect_closed(ANSWER);
    Device::login(port, imei(1)).deliver(&good);
    assert_eq!(records(&mut client, imei(1)), 4);
    assert!(!quarantine(&mut client, imei(1))[0].acked);
}

#[test]
fn a_record_the_database_refuses_keeps_no_other_from_its_ack() {
    let (daemon, mut client, port) = started();
    client
        .batch_execute(
            "ALTER TABLE trackport.record ADD CONSTRAINT no_ghosts CHECK (speed_kmh <> 666)",
        )
        .unwrap();
    let ghost = encode(
        Codec::Codec8,
        &[
            record(0),
            RecordSpec {
                speed_kmh: 666,
                ..record(1)
            },
        ],
    );
    let mut devices: Vec<Device> = (0..8)
        .map(|number| Device::login(port, imei(number)))
        .collect();
    for device in &mut devices {
        device.deliver(&packet(100, 1));
    }
    // While somebody locks the table all eight gather behind the first; then they are one batch.
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    for (number, device) in devices.iter_mut().enumerate() {
        device.send(&if number == 5 {
            ghost.clone()
        } else {
            packet(0, 2)
        });
    }
    devices[0].expect_silence(ms(300));
    transaction.commit().unwrap();
    for device in &mut devices {
        assert_eq!(device.ack(ANSWER), Some(2));
    }
    for number in 0..8 {
        let n_records = if number == 5 { 1 } else { 3 };
        assert_eq!(
            records(&mut client, imei(number)),
            n_records,
            "device {number}"
        );
    }
    let entries = quarantine(&mut client, imei(5));
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].bytes, ghost);
    assert!(entries[0].acked);
    assert!(
        entries[0].reason.contains("no_ghosts"),
        "{}",
        entries[0].reason
    );
    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM trackport.quarantine",
            &[]
        ),
        1
    );
    daemon.wait_log(
        secs(1),
        &[
            "packet refused by the database",
            &imei(5).to_string(),
            "no_ghosts",
        ],
    );
    // The refused device goes on too.
    devices[5].deliver(&packet(200, 1));
}

#[test]
fn a_record_a_trigger_refuses_is_kept_with_what_the_trigger_said() {
    let (_daemon, mut client, port) = started();
    client
        .batch_execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'too fast for this fleet'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON trackport.record
             FOR EACH ROW WHEN (new.speed_kmh > 300) EXECUTE FUNCTION public.refuse()",
        )
        .unwrap();
    let fast = encode(
        Codec::Codec8,
        &[RecordSpec {
            speed_kmh: 301,
            ..record(0)
        }],
    );
    let mut device = Device::login(port, imei(1));
    device.deliver(&fast);
    device.deliver(&packet(1, 2));
    assert_eq!(records(&mut client, imei(1)), 2);
    let entry = &quarantine(&mut client, imei(1))[0];
    assert!(
        entry.acked && entry.reason.contains("too fast"),
        "{entry:?}"
    );
}

#[test]
fn impossible_clocks_are_stored_and_unwritable_times_are_quarantined() {
    let (_daemon, mut client, port) = started();
    let at = |time_ms: u64| {
        encode(
            Codec::Codec8,
            &[RecordSpec {
                time_ms,
                ..record(0)
            }],
        )
    };
    let mut device = Device::login(port, imei(1));
    device.deliver(&at(0));
    device.deliver(&at(TIME_MS));
    // The year 2200.
    device.deliver(&at(7_258_118_400_000));
    assert_eq!(records(&mut client, imei(1)), 3);
    // A clock far ahead never becomes the newest position.
    let latest = "SELECT (extract(epoch FROM time) * 1000)::bigint FROM trackport.latest";
    eventually(secs(5), "the latest position", || {
        client
            .query_opt(latest, &[])
            .unwrap()
            .is_some_and(|row| row.get::<_, i64>(0) == TIME_MS.cast_signed())
    });
    let never = at(u64::MAX);
    device.send(&never);
    device.expect_closed(ANSWER);
    let entry = &quarantine(&mut client, imei(1))[0];
    assert_eq!((entry.code.as_str(), entry.acked), ("time", false));
    assert_eq!(entry.bytes, never);
}

#[test]
fn counts_that_differ_are_quarantined() {
    let (_daemon, mut client, port) = started();
    let lies = changed(&packet(0, 2), |data| *data.last_mut().unwrap() = 3);
    let mut device = Device::login(port, imei(1));
    device.send(&lies);
    device.expect_closed(ANSWER);
    let entry = &quarantine(&mut client, imei(1))[0];
    assert_eq!((entry.code.as_str(), entry.acked), ("counts", false));
    assert_eq!(records(&mut client, imei(1)), 0);
    // A CRC that is right over all of it, so that nothing else was wrong.
    let crc = crc16(&lies[8..lies.len() - 4]).to_be_bytes();
    assert_eq!(lies[lies.len() - 2..], crc);
}

#[test]
fn what_fails_only_at_the_commit_is_not_taken_for_stored() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    // A deferred check: the rows are taken without a word, and the commit fails.
    client.batch_execute(REFUSE_AT_COMMIT).unwrap();
    let speed = |second| RecordSpec {
        speed_kmh: 666,
        ..record(second)
    };
    // Not the first of its session, so it goes straight into the table.
    let ghost = encode(Codec::Codec8, &[speed(1), speed(2)]);
    device.send(&ghost);
    assert_eq!(device.ack(ANSWER), Some(2));
    assert_eq!(records(&mut client, imei(1)), 1);
    let entries = quarantine(&mut client, imei(1));
    assert_eq!(entries.len(), 1, "acked, and neither stored nor kept");
    assert_eq!((&entries[0].bytes, entries[0].acked), (&ghost, true));
    assert!(
        entries[0].reason.contains("at the commit"),
        "{}",
        entries[0].reason
    );
    device.deliver(&packet(3, 1));
    assert_eq!(records(&mut client, imei(1)), 2);
}
