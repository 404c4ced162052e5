//! The tables keep what they promise: migrations, views over records made by hand, partitions, `latest`, quarantine.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use postgres::Client;
use trackport::conf::PartitionWidth;
use trackport::imei::Imei;
use trackport::store::device::{self, DeviceChange, DeviceState};
use trackport::store::directory::{self, DeviceContact};
use trackport::store::journal::{self, LoginAttempt, PortEvent};
use trackport::store::latest::{LatestRow, repair_latest, update_latest};
use trackport::store::partition::{Expired, drop_expired, ensure_partitions, list_partitions};
use trackport::store::quarantine::{self, QuarantineEntry, Seen};
use trackport::store::{self, ErrorClass, StoreError, Typed};

use crate::harness::postgres::{Cluster, connect, shared, timeouts};

/// Monday 2026-11-23 12:00:00 UTC.
const NOON_S: u64 = 1_795_435_200;

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOON_S)
}

fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

fn imei(number: u64) -> Imei {
    Imei::from_number(356_307_042_440_000 + number).unwrap()
}

fn model(name: &str) -> DeviceChange {
    DeviceChange {
        model: Some(name.to_owned()),
        ..DeviceChange::default()
    }
}

/// Inserts a record made by hand; `io` is the IO section in hex.
fn insert(
    client: &mut Client,
    device_id: i32,
    time: SystemTime,
    satellites: i16,
    codec: i16,
    io: &str,
) {
    client
        .execute(
            "INSERT INTO record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
                 speed_kmh, priority, event_id, codec, port, io)
             VALUES ($1, $2, 7, $2, 25.25, -54.6872, 111, 214, $3, 50, 0, 0, $4, 5027, decode($5, 'hex'))",
            &[&device_id, &time, &satellites, &codec, &io.replace(' ', "")],
        )
        .unwrap();
}

fn count(client: &mut Client, table: &str) -> i64 {
    client
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .unwrap()
        .get(0)
}

/// What `reading` says about one id: name, value and error.
fn reading(client: &mut Client, id: i32) -> (Option<String>, Option<String>, Option<String>) {
    let row = client
        .query_one(
            "SELECT name, value::text, error FROM reading WHERE avl_id = $1",
            &[&id],
        )
        .unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[test]
fn migrating_twice_changes_nothing() {
    let database = shared().database();
    let mut client = database.connect();
    assert_eq!(store::schema_version(&mut client).unwrap(), 0);
    assert!(matches!(
        store::check_schema(&mut client),
        Err(StoreError::Older { found: 0, .. })
    ));
    let mut steps = 0;
    let applied = store::migrate_reporting(&mut client, &mut |_| steps += 1).unwrap();
    assert_eq!(applied.len() + 3, steps);
    let loaded = "SELECT string_agg(t::text, ',') FROM trackport.dictionary t";
    let before: String = client.query_one(loaded, &[]).unwrap().get(0);
    assert_eq!(store::migrate(&mut client).unwrap(), []);
    store::check_schema(&mut client).unwrap();
    let after: String = client.query_one(loaded, &[]).unwrap().get(0);
    assert_eq!(before, after, "the dictionary is not loaded again");
    assert_eq!(count(&mut client, "avl_id"), 3553);
}

#[test]
fn two_processes_that_migrate_at_once_both_succeed() {
    let database = shared().database();
    thread::scope(|scope| {
        let both: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| store::migrate(&mut database.connect()).unwrap().len()))
            .collect();
        let mut applied: Vec<usize> = both.into_iter().map(|one| one.join().unwrap()).collect();
        applied.sort_unstable();
        assert_eq!(applied[0], 0);
        assert!(applied[1] > 0);
    });
}

#[test]
fn an_edited_or_newer_schema_is_refused() {
    let (_database, mut client) = shared().migrated();
    client
        .batch_execute("INSERT INTO migration VALUES (9999, 'later', 'x')")
        .unwrap();
    let error = store::migrate(&mut client).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9999, .. }),
        "{error}"
    );
    client
        .batch_execute("DELETE FROM migration WHERE version = 9999; UPDATE migration SET digest = 'x' WHERE version = 2")
        .unwrap();
    let error = store::migrate(&mut client).unwrap_err();
    assert!(
        matches!(error, StoreError::Edited { version: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("0002_io_elements"), "{error}");
}

#[test]
fn a_session_is_prepared_as_promised() {
    let (database, mut client) = shared().migrated();
    for (setting, expected) in [
        ("synchronous_commit", "on"),
        ("statement_timeout", "30s"),
        ("TimeZone", "UTC"),
        ("search_path", "trackport, pg_temp"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "40s"),
    ] {
        let value: String = client
            .query_one("SELECT current_setting($1)", &[&setting])
            .unwrap()
            .get(0);
        assert_eq!(value, expected, "{setting}");
    }
    let mut other = database.connect();
    let facts = store::server_facts(&mut other).unwrap();
    assert!(
        facts.fsync && facts.version_num >= store::SERVER_VERSION_MIN,
        "{facts:?}"
    );
    let pid = store::backend_pid(&mut other).unwrap();
    assert!(store::end_backend(&mut client, pid, Duration::from_secs(5)).unwrap());
    assert_eq!(
        store::class(&other.query("SELECT 1", &[]).unwrap_err()),
        ErrorClass::Retry
    );
}

#[test]
fn a_frozen_server_is_given_up_in_time() {
    let cluster = Cluster::start();
    let by_tcp = format!(
        "postgresql://postgres@127.0.0.1:{}/postgres",
        cluster.port()
    );
    let by_socket = cluster.database().url;
    cluster.signal_all("STOP");
    for url in [by_tcp, by_socket] {
        let database = trackport::conf::Database {
            url,
            writers: 1,
            batch_records: 1,
        };
        let mut timeouts = timeouts();
        timeouts.tcp = Duration::from_millis(500);
        let begun = Instant::now();
        let error = store::connect(&database, &timeouts, "trackport test")
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
    }
    cluster.signal_all("CONT");
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let conf = trackport::conf::Database {
        url: database.url.clone(),
        writers: 1,
        batch_records: 1,
    };
    let mut client = database.connect();
    cluster.stop_server("immediate");
    assert_eq!(
        store::class(&client.query("SELECT 1", &[]).unwrap_err()),
        ErrorClass::Retry
    );
    let error = store::connect(&conf, &timeouts(), "trackport test")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.to_string().contains(".s.PGSQL."), "{error}");
    cluster.start_server();
    assert_eq!(store::schema_version(&mut database.connect()).unwrap(), 0);
}

#[test]
fn every_element_of_every_codec_is_read_as_sent() {
    let (_database, mut client) = shared().migrated();
    let device = device::add(&mut client, imei(1), &DeviceChange::default()).unwrap();
    // Codec 8: one element of each width, id 78 with the largest number.
    insert(
        &mut client,
        device.id,
        noon(),
        9,
        8,
        "04 01 ef01 01 42 2ee0 01 10 ffffffff 01 4e ffffffffffffffff",
    );
    // 8 Extended: 8 bytes, then two of variable length, the first empty.
    insert(
        &mut client,
        device.id,
        noon() + days(1),
        9,
        142,
        "0004 0001 2a30ff 0000 0000 0001 000b fffffffffffffffe 0002 014b0000 0101 0003 616263",
    );
    // Codec 16: ids of two bytes, counts of one; id 300 twice.
    insert(
        &mut client,
        device.id,
        noon() + days(2),
        9,
        16,
        "03 02 012c01 012c02 01 0042 1000 00 00",
    );
    let rows = client
        .query(
            "SELECT avl_id, value::text, encode(bytes, 'escape') FROM record_io WHERE imei = $1 ORDER BY time, avl_id",
            &[&imei(1).to_string()],
        )
        .unwrap();
    let read: Vec<(i32, Option<String>, Option<String>)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let number = |id: i32, value: &str| (id, Some(value.to_owned()), None);
    let text = |id: i32, value: &str| (id, None, Some(value.to_owned()));
    assert_eq!(
        read,
        [
            number(16, "4294967295"),
            number(66, "12000"),
            number(78, "18446744073709551615"),
            number(239, "1"),
            number(11, "18446744073709551614"),
            text(257, "abc"),
            text(331, ""),
            number(10800, "255"),
            number(66, "4096"),
            number(300, "1"),
            number(300, "2"),
        ]
    );
    let by_id = client
        .query_one(
            "SELECT string_agg(coalesce(trackport.io(r, 78), trackport.io(r, 11), trackport.io(r, 300))::text, ' ' ORDER BY time),
                 bool_and(trackport.io(r, 257) IS NULL)
             FROM record r",
            &[],
        )
        .unwrap();
    assert_eq!(
        by_id.get::<_, String>(0),
        "18446744073709551615 18446744073709551614 2",
        "of a doubled id the last counts"
    );
    assert!(by_id.get::<_, bool>(1), "variable length has no number");
}

#[test]
fn io_cut_anywhere_is_read_without_an_error() {
    let (_database, mut client) = shared().migrated();
    let whole =
        "0004 0001 2a30ff 0000 0000 0001 000b fffffffffffffffe 0002 014b0000 0101 0003 616263"
            .replace(' ', "");
    for codec in [8_i16, 16, 142, 7] {
        client
            .query(
                "SELECT e.*, trackport.io(r, 257) FROM generate_series(0, length(decode($1, 'hex'))) n
                 CROSS JOIN LATERAL (SELECT substring(decode($1, 'hex') FOR n) AS io) s
                 CROSS JOIN LATERAL (SELECT (jsonb_populate_record(NULL::trackport.record,
                     jsonb_build_object('codec', $2::smallint, 'io', s.io::text))).*) r
                 LEFT JOIN LATERAL trackport.io_elements($2, s.io) e ON true",
                &[&whole, &codec],
            )
            .unwrap();
    }
}

#[test]
fn readings_have_names_signs_units_and_errors() {
    let (_database, mut client) = shared().migrated();
    let device = device::add(&mut client, imei(2), &model("FMB120")).unwrap();
    // 72: -5.5 °C in 4 bytes, 25: -1 °C, 26: not found, 27: 40 °C; 73: 3000 not connected, 86: parse failed, 240.
    insert(
        &mut client,
        device.id,
        noon(),
        9,
        8,
        "08 01 f001 05 19ff9c 1a7fff 1b0fa0 56fffe 422ee0 02 48ffffffc9 4900000bb8 00",
    );
    let named = |name: &str, value: Option<&str>, error: Option<&str>| {
        (
            Some(name.to_owned()),
            value.map(str::to_owned),
            error.map(str::to_owned),
        )
    };
    assert_eq!(
        reading(&mut client, 72),
        named("Dallas Temperature 1", Some("-5.5"), None)
    );
    assert_eq!(
        reading(&mut client, 73),
        named("Dallas Temperature 2", None, Some("not connected"))
    );
    assert_eq!(
        reading(&mut client, 25),
        named("BLE Temperature #1", Some("-1"), None)
    );
    assert_eq!(
        reading(&mut client, 26),
        named("BLE Temperature #2", None, Some("not found"))
    );
    assert_eq!(
        reading(&mut client, 27),
        named("BLE Temperature #3", Some("40"), None)
    );
    assert_eq!(
        reading(&mut client, 86),
        named("BLE Humidity #1", None, Some("parse failed"))
    );
    assert_eq!(
        reading(&mut client, 66),
        named("External Voltage", Some("12"), None)
    );
    // Another model, another meaning; none, none.
    device::set(&mut client, imei(2), &model("FMB640")).unwrap();
    assert_eq!(
        reading(&mut client, 25),
        named("Engine Temperature", Some("-10"), None)
    );
    device::set(&mut client, imei(2), &model("")).unwrap();
    assert_eq!(
        reading(&mut client, 25),
        (None, Some("65436".to_owned()), None)
    );
    // What fills a typed column without a model has its name without one.
    assert_eq!(
        reading(&mut client, 66),
        named("External Voltage", Some("12"), None)
    );
    assert_eq!(
        reading(&mut client, 240),
        named("Movement", Some("1"), None)
    );
    assert_eq!(
        reading(&mut client, 72),
        named("Dallas Temperature 1", Some("-5.5"), None)
    );
}

#[test]
fn a_position_says_whether_it_is_a_fix() {
    let (_database, mut client) = shared().migrated();
    let device = device::add(&mut client, imei(3), &model("FMB120")).unwrap();
    device::rename(&mut client, imei(3), "Van 3").unwrap();
    insert(
        &mut client,
        device.id,
        noon() + Duration::from_millis(123),
        0,
        8,
        "0000000000",
    );
    let row = client
        .query_one(
            "SELECT imei, name, model, fix, latitude, time::text FROM position",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, String>(0), imei(3).to_string());
    assert_eq!(row.get::<_, String>(1), "Van 3");
    assert_eq!(row.get::<_, String>(2), "FMB120");
    assert!(!row.get::<_, bool>(3));
    assert_eq!(row.get::<_, f64>(4), -54.6872);
    assert_eq!(row.get::<_, String>(5), "2026-11-23 12:00:00.123+00");
}

#[test]
fn whoever_may_read_reads_future_partitions_too() {
    let (_database, mut client) = shared().migrated();
    ensure_partitions(&mut client, PartitionWidth::Week, noon(), &mut |_| ()).unwrap();
    client.batch_execute("SET ROLE trackport_read").unwrap();
    for table in [
        "position",
        "reading",
        "record_io",
        "latest",
        "quarantine",
        "record_2026w50",
    ] {
        assert_eq!(count(&mut client, table), 0, "{table}");
    }
    let error = client.execute("DELETE FROM latest", &[]).unwrap_err();
    assert_eq!(store::class(&error), ErrorClass::Person);
}

#[test]
fn an_owner_without_rights_to_make_roles_has_a_schema_all_the_same() {
    let cluster = Cluster::start();
    let mut superuser = connect(&cluster.url("postgres", "postgres"));
    superuser
        .batch_execute("CREATE ROLE limited LOGIN")
        .unwrap();
    superuser
        .batch_execute("CREATE DATABASE tracks OWNER limited")
        .unwrap();
    let mut client = connect(&cluster.url("tracks", "limited"));
    assert!(!store::migrate(&mut client).unwrap().is_empty());
    ensure_partitions(&mut client, PartitionWidth::Week, noon(), &mut |_| ()).unwrap();
    superuser
        .batch_execute("CREATE ROLE trackport_read NOLOGIN")
        .unwrap();
    assert_eq!(store::migrate(&mut client).unwrap(), []);
    let mut reader = connect(&cluster.url("tracks", "postgres"));
    reader.batch_execute("SET ROLE trackport_read").unwrap();
    assert_eq!(count(&mut reader, "position"), 0);
    assert_eq!(count(&mut reader, "record_2026w48"), 0);
}

#[test]
fn partitions_take_their_rows_out_of_the_default_one() {
    let (_database, mut client) = shared().migrated();
    for (device_id, time) in [(1, noon()), (2, noon() + days(400)), (3, noon() - days(8))] {
        insert(&mut client, device_id, time, 9, 8, "0000000000");
    }
    assert_eq!(count(&mut client, "record_default"), 3);
    let made = ensure_partitions(&mut client, PartitionWidth::Week, noon(), &mut |_| ()).unwrap();
    assert_eq!(made.len(), 6);
    assert_eq!(count(&mut client, "record_2026w48"), 1);
    assert_eq!(count(&mut client, "record_default"), 2);
    assert_eq!(count(&mut client, "record"), 3);
    assert_eq!(
        ensure_partitions(&mut client, PartitionWidth::Week, noon(), &mut |_| ()).unwrap(),
        []
    );
    // The key holds in the partition as well.
    let twice = client
        .execute("INSERT INTO record SELECT * FROM record_2026w48", &[])
        .unwrap_err();
    assert_eq!(store::class(&twice), ErrorClass::Staging);
}

#[test]
fn a_full_default_partition_is_moved_piece_by_piece() {
    let (_database, mut client) = shared().migrated();
    client
        .execute(
            "INSERT INTO record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
                 speed_kmh, priority, event_id, codec, port, io)
             SELECT 1, $1::timestamptz + n * interval '1 ms', 7, $1, 25.25, -54.6872, 111, 214, 9, 50, 0, 0, 8, 5027, ''
             FROM generate_series(1, 60000) AS n",
            &[&noon()],
        )
        .unwrap();
    insert(&mut client, 2, noon() + days(400), 9, 8, "0000000000");
    let mut n_beats = 0;
    ensure_partitions(&mut client, PartitionWidth::Week, noon(), &mut |_| {
        n_beats += 1;
    })
    .unwrap();
    assert_eq!(count(&mut client, "record_2026w48"), 60_000);
    assert_eq!(count(&mut client, "record_default"), 1);
    assert!(n_beats > 12, "somebody waits for a sign: {n_beats}");
}

#[test]
fn a_width_changed_later_never_overlaps() {
    let (_database, mut client) = shared().migrated();
    ensure_partitions(&mut client, PartitionWidth::Week, noon(), &mut |_| ()).unwrap();
    for width in [
        PartitionWidth::Month,
        PartitionWidth::Day,
        PartitionWidth::Week,
    ] {
        ensure_partitions(&mut client, width, noon(), &mut |_| ()).unwrap();
        ensure_partitions(&mut client, width, noon() + days(70), &mut |_| ()).unwrap();
    }
    let all = list_partitions(&mut client).unwrap();
    for pair in all.windows(2) {
        assert!(pair[0].to <= pair[1].from, "{pair:?}");
    }
    // From the first of October (the month before) to the end of what was asked for: no gap either.
    assert_eq!(
        all.first().unwrap().from,
        noon() - days(53) - Duration::from_secs(12 * 3600)
    );
    for pair in all.windows(2) {
        assert_eq!(pair[0].to, pair[1].from, "{pair:?}");
    }
}

#[test]
fn a_long_report_holds_partitions_up_for_a_second_only() {
    let (database, mut client) = shared().migrated();
    let mut reporter = database.connect();
    let mut report = reporter.transaction().unwrap();
    report.query("SELECT count(*) FROM record", &[]).unwrap();
    let begun = Instant::now();
    let error =
        ensure_partitions(&mut client, PartitionWidth::Day, noon(), &mut |_| ()).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    report.commit().unwrap();
    assert_eq!(
        ensure_partitions(&mut client, PartitionWidth::Day, noon(), &mut |_| ())
            .unwrap()
            .len(),
        6
    );
}

#[test]
fn what_is_too_old_is_dropped_and_nothing_else() {
    let (_database, mut client) = shared().migrated();
    ensure_partitions(
        &mut client,
        PartitionWidth::Day,
        noon() - days(30),
        &mut |_| (),
    )
    .unwrap();
    ensure_partitions(&mut client, PartitionWidth::Day, noon(), &mut |_| ()).unwrap();
    insert(&mut client, 1, noon() - days(4000), 9, 8, "0000000000");
    insert(&mut client, 1, noon() + days(4000), 9, 8, "0000000000");
    insert(&mut client, 1, noon(), 9, 8, "0000000000");
    let mut all = Expired::default();
    while !all.is_complete {
        let piece = drop_expired(&mut client, days(10), noon()).unwrap();
        assert!(piece.dropped.len() <= 1, "one at a time: {piece:?}");
        all.dropped.extend(piece.dropped);
        all.n_default_rows += piece.n_default_rows;
        all.is_complete = piece.is_complete;
    }
    assert_eq!(all.dropped.len(), 6);
    assert_eq!(all.n_default_rows, 1);
    assert_eq!(count(&mut client, "record"), 2);
    assert_eq!(list_partitions(&mut client).unwrap().len(), 6);
}

#[test]
fn old_rows_of_the_default_partition_are_deleted_piece_by_piece() {
    let (_database, mut client) = shared().migrated();
    client
        .execute(
            "INSERT INTO record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
                 speed_kmh, priority, event_id, codec, port, io)
             SELECT 1, $1::timestamptz - n * interval '1 ms', 7, $1, 25.25, -54.6872, 111, 214, 9, 50, 0, 0, 8, 5027, ''
             FROM generate_series(1, 15000) AS n",
            &[&(noon() - days(4000))],
        )
        .unwrap();
    let mut pieces = Vec::new();
    loop {
        let piece = drop_expired(&mut client, days(10), noon()).unwrap();
        pieces.push(piece.n_default_rows);
        if piece.is_complete {
            break;
        }
    }
    assert_eq!(pieces, [10_000, 5_000]);
}

/// Devices 1 and 2: `latest` has rows of devices only.
fn two_devices(client: &mut Client) {
    for number in 1..=2 {
        let device = device::add(client, imei(number), &DeviceChange::default()).unwrap();
        assert_eq!(u64::try_from(device.id).unwrap(), number);
    }
}

fn latest_row(device_id: i32, time: SystemTime, satellites: i16) -> LatestRow {
    LatestRow {
        device_id,
        time,
        digest: 7,
        received_at: noon(),
        longitude: 25.25,
        latitude: -54.6872,
        altitude_m: 111,
        angle_deg: 214,
        satellites,
        speed_kmh: 50,
        priority: 0,
        event_id: 0,
        port: 5027,
        typed: Typed::default(),
    }
}

/// Time and fix time of a device in seconds from noon.
fn latest(client: &mut Client, device_id: i32) -> Option<(i64, Option<i64>)> {
    client
        .query_opt(
            "SELECT (extract(epoch FROM time) - $2::bigint)::bigint, (extract(epoch FROM fix_time) - $2::bigint)::bigint
             FROM latest WHERE device_id = $1",
            &[&device_id, &NOON_S.cast_signed()],
        )
        .unwrap()
        .map(|row| (row.get(0), row.get(1)))
}

fn update(client: &mut Client, rows: &[LatestRow]) -> usize {
    let newest = rows.iter().cloned().collect();
    update_latest(client, &newest, noon()).unwrap().len()
}

#[test]
fn latest_never_goes_back_and_keeps_the_newest_fix() {
    let (_database, mut client) = shared().migrated();
    two_devices(&mut client);
    let at = |s: u64| noon() - Duration::from_secs(1000) + Duration::from_secs(s);
    // Out of order, two devices mixed; the newest of device 1 has no fix.
    let rows = [
        latest_row(2, at(10), 5),
        latest_row(1, at(30), 0),
        latest_row(1, at(20), 5),
        latest_row(1, at(10), 5),
    ];
    assert_eq!(update(&mut client, &rows), 2);
    assert_eq!(latest(&mut client, 1), Some((-970, Some(-980))));
    assert_eq!(latest(&mut client, 2), Some((-990, Some(-990))));
    assert_eq!(update(&mut client, &rows), 0, "nothing newer");
    // An older record with a newer fix moves the fix alone.
    assert_eq!(update(&mut client, &[latest_row(1, at(25), 4)]), 1);
    assert_eq!(latest(&mut client, 1), Some((-970, Some(-975))));
    let mut typed = latest_row(1, at(40), 0);
    typed.typed.ignition = Some(true);
    typed.typed.temperature[1] = Some(-5.5);
    update(&mut client, &[typed]);
    assert_eq!(latest(&mut client, 1), Some((-960, Some(-975))));
    let row = client
        .query_one(
            "SELECT ignition, temperature_2, fix_latitude FROM latest WHERE device_id = 1",
            &[],
        )
        .unwrap();
    assert_eq!(
        (
            row.get::<_, bool>(0),
            row.get::<_, f32>(1),
            row.get::<_, f64>(2)
        ),
        (true, -5.5, -54.6872)
    );
}

#[test]
fn a_device_that_is_not_there_any_more_has_no_latest() {
    let (_database, mut client) = shared().migrated();
    two_devices(&mut client);
    let rows = [latest_row(2, noon(), 5), latest_row(3, noon(), 5)];
    assert_eq!(update(&mut client, &rows), 1);
    assert_eq!(latest(&mut client, 3), None);
}

#[test]
fn a_clock_far_ahead_never_becomes_latest() {
    let (_database, mut client) = shared().migrated();
    two_devices(&mut client);
    let far = noon() + Duration::from_secs(3601);
    assert_eq!(update(&mut client, &[latest_row(1, far, 5)]), 0);
    let near = noon() + Duration::from_secs(3600);
    assert_eq!(update(&mut client, &[latest_row(1, near, 5)]), 1);
}

#[test]
fn latest_is_repaired_from_the_records() {
    let (_database, mut client) = shared().migrated();
    ensure_partitions(&mut client, PartitionWidth::Day, noon(), &mut |_| ()).unwrap();
    let mut ids = Vec::new();
    for number in 10..13 {
        let device = device::add(&mut client, imei(number), &DeviceChange::default()).unwrap();
        insert(&mut client, device.id, noon() - days(2), 7, 8, "0000000000");
        insert(&mut client, device.id, noon(), 0, 8, "0000000000");
        ids.push(device.id);
    }
    client
        .execute("UPDATE record SET received_at = $1 - interval '2 days' WHERE device_id = $2 AND time = $1", &[&noon(), &ids[2]])
        .unwrap();
    let mut after = 0;
    let mut chunks = 0;
    while let Some(last) = repair_latest(&mut client, after, 2, noon()).unwrap() {
        after = last;
        chunks += 1;
    }
    assert_eq!(chunks, 2);
    let two_days = -2 * 86_400;
    assert_eq!(latest(&mut client, ids[0]), Some((0, Some(two_days))));
    assert_eq!(
        latest(&mut client, ids[2]),
        Some((two_days, Some(two_days))),
        "its newest lies ahead"
    );
}

fn entry(imei: Imei, bytes: &[u8], n_records: Option<i32>) -> QuarantineEntry<'_> {
    QuarantineEntry {
        imei: Some(imei),
        device_id: None,
        received_at: noon(),
        port: Some(5027),
        address: Some("192.0.2.1".parse().unwrap()),
        reason: "CRC 0000 where 1234 was computed",
        code: "crc",
        bytes,
        digest: bytes
            .iter()
            .fold(0_i64, |sum, byte| sum.wrapping_mul(31) + i64::from(*byte)),
        n_records,
    }
}

#[test]
fn the_third_time_a_sound_packet_is_kept_for_good() {
    let (_database, mut client) = shared().migrated();
    let seen = |n_seen, acked| Seen {
        n_seen,
        acked,
        is_full: false,
    };
    let sound = entry(imei(20), b"sound", Some(3));
    for expected in [seen(1, false), seen(2, false), seen(3, true), seen(4, true)] {
        assert_eq!(quarantine::report(&mut client, &sound).unwrap(), expected);
    }
    let unsound = entry(imei(20), b"noise", None);
    for n_seen in 1..6 {
        assert_eq!(
            quarantine::report(&mut client, &unsound).unwrap(),
            seen(n_seen, false)
        );
    }
    // The same bytes of another device are another packet.
    assert_eq!(
        quarantine::report(&mut client, &entry(imei(21), b"sound", Some(3))).unwrap(),
        seen(1, false)
    );
    let refused = entry(imei(20), b"refused by the database", Some(1));
    assert_eq!(
        quarantine::refused(&mut client, &refused).unwrap(),
        seen(1, true)
    );
    // Bytes of a session without login.
    let mut nobody = entry(imei(20), b"nobody", None);
    nobody.imei = None;
    assert_eq!(
        quarantine::report(&mut client, &nobody).unwrap(),
        seen(1, false)
    );
    assert_eq!(
        quarantine::report(&mut client, &nobody).unwrap(),
        seen(2, false)
    );
}

#[test]
fn entries_not_acked_rotate_and_acked_ones_stay() {
    let (_database, mut client) = shared().migrated();
    quarantine::refused(&mut client, &entry(imei(22), b"kept", Some(1))).unwrap();
    for number in 0..40_u8 {
        let bytes = [b'n', number];
        let mut one = entry(imei(22), &bytes, None);
        one.received_at = noon() + Duration::from_secs(u64::from(number));
        quarantine::report(&mut client, &one).unwrap();
    }
    let row = client
        .query_one("SELECT count(*) FILTER (WHERE acked), count(*) FILTER (WHERE NOT acked), min(last_at) FILTER (WHERE NOT acked) FROM quarantine", &[])
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 16));
    assert_eq!(
        row.get::<_, SystemTime>(2),
        noon() + Duration::from_secs(24)
    );
    // A device that fills its share with what must stay is not acked any more.
    client
        .execute(
            "INSERT INTO quarantine (imei, received_at, last_at, reason, code, bytes, digest, acked)
             SELECT $1, now(), now(), '', '', '', -n, true FROM generate_series(1, 999) n",
            &[&imei(22).to_string()],
        )
        .unwrap();
    let full = quarantine::refused(&mut client, &entry(imei(22), b"one more", Some(1))).unwrap();
    assert_eq!(
        full,
        Seen {
            n_seen: 1,
            acked: false,
            is_full: true
        }
    );
}

#[test]
fn a_running_server_hears_of_each_change_of_a_device() {
    let (database, mut client) = shared().migrated();
    let mut listener = database.connect();
    listener
        .batch_execute(&format!("LISTEN {}", directory::DEVICE_CHANNEL))
        .unwrap();
    let first = directory::register(&mut client, imei(30), DeviceState::Accepted).unwrap();
    let again = directory::register(&mut client, imei(30), DeviceState::Pending).unwrap();
    assert_eq!(first, again, "registering twice is registering once");
    device::refuse(&mut client, imei(30)).unwrap();
    let changed = directory::changed_since(&mut client, first.version).unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!(
        (changed[0].id, changed[0].state),
        (first.id, DeviceState::Refused)
    );
    device::refuse(&mut client, imei(30)).unwrap();
    assert_eq!(
        directory::changed_since(&mut client, changed[0].version).unwrap(),
        [],
        "no change, no version"
    );
    let mut heard = 0;
    {
        use postgres::fallible_iterator::FallibleIterator as _;
        let mut notifications = listener.notifications();
        let mut waiting = notifications.timeout_iter(Duration::from_millis(300));
        while let Some(notification) = waiting.next().unwrap() {
            assert_eq!(notification.payload(), imei(30).to_string());
            heard += 1;
        }
    }
    assert_eq!(heard, 2);
}

#[test]
fn a_removed_device_keeps_its_id() {
    let (_database, mut client) = shared().migrated();
    let device = device::add(&mut client, imei(31), &model("FMB120")).unwrap();
    let twice = device::add(&mut client, imei(31), &DeviceChange::default()).unwrap_err();
    assert!(twice.to_string().contains("exists already"), "{twice}");
    device::remove(&mut client, imei(31)).unwrap();
    assert_eq!(device::list(&mut client, false).unwrap(), []);
    assert_eq!(device::list(&mut client, true).unwrap().len(), 1);
    client.execute("DELETE FROM device", &[]).unwrap_err();
    let back = device::add(&mut client, imei(31), &DeviceChange::default()).unwrap();
    assert_eq!((back.id, back.state), (device.id, DeviceState::Accepted));
    assert!(device::set(&mut client, imei(32), &model("x")).is_err());
}

#[test]
fn an_import_adds_and_changes_and_says_how_many() {
    let (_database, mut client) = shared().migrated();
    let rows: Vec<_> = (40..50)
        .map(|number| (imei(number), model("FMB120")))
        .collect();
    let imported = device::import(&mut client, &rows).unwrap();
    assert_eq!(
        (imported.n_added, imported.n_changed, imported.n_same),
        (10, 0, 0)
    );
    let rows: Vec<_> = (48..52)
        .map(|number| {
            (
                imei(number),
                model(if number == 48 { "FMB920" } else { "FMB120" }),
            )
        })
        .collect();
    let imported = device::import(&mut client, &rows).unwrap();
    assert_eq!(
        (imported.n_added, imported.n_changed, imported.n_same),
        (2, 1, 1)
    );
}

#[test]
fn contacts_attempts_and_events_are_written_down() {
    let (_database, mut client) = shared().migrated();
    let device = device::add(&mut client, imei(50), &DeviceChange::default()).unwrap();
    let contact = DeviceContact {
        device_id: device.id,
        last_login_at: Some(noon()),
        last_contact_at: Some(noon()),
        address: Some("2001:db8::1".parse().unwrap()),
        port: Some(5027),
        connected: true,
        sends_before_ack_at: None,
    };
    let stranger = DeviceContact {
        device_id: 999,
        ..contact.clone()
    };
    directory::store_contacts(&mut client, &[stranger, contact.clone()], noon()).unwrap();
    let later = DeviceContact {
        last_login_at: None,
        last_contact_at: Some(noon() + days(1)),
        address: None,
        connected: false,
        ..contact
    };
    directory::store_contacts(&mut client, &[later], noon() + days(1)).unwrap();
    let shown = device::show(&mut client, imei(50)).unwrap().unwrap();
    assert_eq!(shown.last_login_at, Some(noon()));
    assert_eq!(shown.last_contact_at, Some(noon() + days(1)));
    assert_eq!(shown.address, Some("2001:db8::1".parse().unwrap()));
    assert!(!shown.connected);
    let attempt = LoginAttempt {
        imei: "123456789012345".to_owned(),
        port: "[::]:5027".to_owned(),
        n_attempts: 2,
        first_at: noon(),
        last_at: noon(),
        last_address: None,
        reason: "unknown".to_owned(),
    };
    for _ in 0..2 {
        journal::add_login_attempts(&mut client, std::slice::from_ref(&attempt)).unwrap();
    }
    let n_attempts: i64 = client
        .query_one("SELECT n_attempts FROM login_attempt", &[])
        .unwrap()
        .get(0);
    assert_eq!(n_attempts, 4);
    let event = PortEvent {
        at: noon(),
        thread: "writer-0".to_owned(),
        generation: 1,
        event: "death".to_owned(),
        reason: Some("panic: zero \0 byte".to_owned()),
    };
    journal::add_port_events(&mut client, &[event]).unwrap();
    assert_eq!(
        journal::drop_old_port_events(&mut client, noon()).unwrap(),
        0
    );
    assert_eq!(
        journal::drop_old_port_events(&mut client, noon() + days(401)).unwrap(),
        1
    );
}

#[test]
fn what_strangers_can_fill_stays_bounded() {
    let (_database, mut client) = shared().migrated();
    client
        .batch_execute(
            "INSERT INTO login_attempt SELECT lpad(n::text, 15, '0'), '[::]:5027', 1, to_timestamp(n), to_timestamp(n), NULL, 'unknown'
                 FROM generate_series(1, 100000) n;
             INSERT INTO quarantine (imei, received_at, last_at, reason, code, bytes, digest)
                 SELECT lpad(n::text, 15, '0'), to_timestamp(n), to_timestamp(n), '', '', '', n FROM generate_series(1, 10000) n",
        )
        .unwrap();
    let attempt = LoginAttempt {
        imei: "x".to_owned(),
        port: "[::]:5027".to_owned(),
        n_attempts: 1,
        first_at: noon(),
        last_at: noon(),
        last_address: None,
        reason: "no IMEI".to_owned(),
    };
    journal::add_login_attempts(&mut client, &[attempt]).unwrap();
    assert_eq!(count(&mut client, "login_attempt"), 100_000);
    assert_eq!(
        count(
            &mut client,
            "login_attempt WHERE imei IN ('000000000000001', 'x')"
        ),
        1
    );
    quarantine::report(&mut client, &entry(imei(60), b"noise", None)).unwrap();
    assert_eq!(count(&mut client, "quarantine"), 10_000);
}

#[test]
fn changes_of_devices_commit_in_the_order_of_their_versions() {
    let (database, mut client) = shared().migrated();
    device::add(&mut client, imei(61), &DeviceChange::default()).unwrap();
    device::add(&mut client, imei(62), &DeviceChange::default()).unwrap();
    let mut other = database.connect();
    let mut slow = other.transaction().unwrap();
    slow.execute(
        "UPDATE device SET note = 'slow' WHERE imei = $1",
        &[&imei(61).to_string()],
    )
    .unwrap();
    // A later version must not be seen before the earlier one.
    client.batch_execute("SET lock_timeout = '100ms'").unwrap();
    let error = device::rename(&mut client, imei(62), "quick").unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry);
    slow.commit().unwrap();
    device::rename(&mut client, imei(62), "quick").unwrap();
}

#[test]
fn latest_is_repaired_in_time_also_over_the_partitions_of_years() {
    let (_database, mut client) = shared().migrated();
    client
        .batch_execute(
            "DO $$ DECLARE day date; BEGIN
                 FOR day IN SELECT generate_series(date '2023-01-02', date '2025-12-29', interval '7 days') LOOP
                     EXECUTE format('CREATE TABLE trackport.record_%s PARTITION OF trackport.record FOR VALUES FROM (%L) TO (%L)',
                         to_char(day, 'YYYYMMDD'), day || ' 00:00Z', day + 7 || ' 00:00Z');
                 END LOOP;
             END $$;
             INSERT INTO trackport.device (imei) SELECT (350000000000000 + n)::text FROM generate_series(1, 1000) n;
             INSERT INTO trackport.record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg,
                 satellites, speed_kmh, priority, event_id, codec, port, io)
             SELECT d.id, at, d.id, at, 25, 54, 0, 0, 9, 0, 0, 0, 8, 1, '\\x00'
             FROM generate_series(timestamptz '2023-01-03Z', timestamptz '2025-12-30Z', interval '7 days') at, trackport.device d;
             ANALYZE trackport.record, trackport.device;
             SET statement_timeout = '30s'",
        )
        .unwrap();
    repair_latest(&mut client, 0, 1_000, SystemTime::now()).unwrap();
    let sql = "SELECT count(*) FROM trackport.latest WHERE time >= '2025-12-29'";
    assert_eq!(client.query_one(sql, &[]).unwrap().get::<_, i64>(0), 1000);
}
