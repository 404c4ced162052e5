//! What must hold for partitions under a running server: no record is lost, doubled or out of sight while they are made, changed
//! in width and dropped, and no ack waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use postgres::{Client, IsolationLevel};
use trackport::conf::PartitionWidth;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::RecordSpec;
use trackport::store::partition::{Partition, ensure_partitions, list_partitions};
use trackport::store::rows::COLUMNS;

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Device, encode, record};
use crate::harness::load::{Load, Plan};
use crate::harness::rows::{all_records, number, records};
use crate::harness::{eventually, free_port, imei, join, ms, postgres as pg, secs, spawn};

/// What an ack may take while a partition is made or dropped: the wait for a lock, and room for a busy machine.
const HELD_UP: Duration = secs(4);

fn days(n: u64) -> Duration {
    secs(n * 86_400)
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// A packet of one record.
fn at(time: SystemTime) -> Vec<u8> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let spec = RecordSpec {
        time_ms: u64::try_from(since.as_millis()).unwrap(),
        ..record(0)
    };
    encode(Codec::Codec8, &[spec])
}

/// Copies of the one record in the table, of devices that nobody knows: `n` around `time`, a millisecond apart.
fn fill(client: &mut Client, time: SystemTime, n: i32) {
    let others = COLUMNS.strip_prefix("device_id, time").unwrap();
    client.batch_execute("SET statement_timeout = 0").unwrap();
    client
        .execute(
            &format!(
                "INSERT INTO trackport.record ({COLUMNS})
                 SELECT 1000000 + n % 100, $1::timestamptz + n * interval '1 ms' {others}
                 FROM (SELECT * FROM trackport.record LIMIT 1) r, generate_series(1, $2) n"
            ),
            &[&time, &n],
        )
        .unwrap();
}

fn retention(width: &str, more: &str) -> String {
    format!("[retention]\npartition = \"{width}\"\n{more}")
}

/// Another `[retention]` at the next start.
fn change(daemon: &Daemon, from: &str, to: &str) {
    daemon.edit_conf(|text| {
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    });
}

/// A daemon that makes partitions of this width, and a device that has delivered a record of now; the device's record is in `latest`.
fn started_with(width: &str, more: &str) -> (Daemon, Client, u16) {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .more(&retention(width, more))
        .start();
    daemon.wait_log(secs(10), &["partitions made"]);
    Device::login(port, imei(1)).deliver(&at(now()));
    eventually(ANSWER, "the keeper writes", || {
        number(&mut client, "SELECT count(*) FROM trackport.latest", &[]) == 1
    });
    (daemon, client, port)
}

#[track_caller]
fn restart(daemon: &mut Daemon) {
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
    daemon.wait_ready();
}

/// Sorted, and no two of them overlap.
#[track_caller]
fn checked(client: &mut Client) -> Vec<Partition> {
    let all = list_partitions(client).unwrap();
    for pair in all.windows(2) {
        assert!(pair[0].to <= pair[1].from, "{pair:?}");
    }
    all
}

#[test]
fn records_of_the_future_move_into_their_partition_unseen_by_readers_and_devices() {
    const N: i32 = 150_000;
    let (mut daemon, mut client, port) = started_with("day", "");
    let ahead = now() + days(9);
    fill(&mut client, ahead, N);
    let mut device = Device::login(port, imei(2));
    device.deliver(&at(ahead));
    assert_eq!(daemon.stop(), Some(0));
    // Wider partitions reach further ahead: the week of those records has come.
    change(&daemon, "\"day\"", "\"week\"");
    let done = Arc::new(AtomicBool::new(false));
    // One condition leads to the partition alone, the other one to all of them.
    let readers: Vec<_> = [
        "time >= $1 AND time < $2",
        "greatest(time, $1) < $2 AND time > now() + interval '1 day'",
    ]
    .into_iter()
    .map(|condition| {
        let (mut client, done) = (another(&mut client), Arc::clone(&done));
        spawn(move || {
            let sql = format!("SELECT count(*) FROM trackport.record WHERE {condition}");
            let (mut n_reads, mut n_before) = (0, i64::from(N));
            while !done.load(Ordering::Relaxed) {
                let n = number(&mut client, &sql, &[&ahead, &(ahead + days(1))]);
                assert!(n >= n_before, "{n} after {n_before}, of {n_reads} reads");
                (n_reads, n_before) = (n_reads + 1, n);
            }
            n_reads
        })
    })
    .collect();
    daemon.launch();
    daemon.wait_ready();
    let load = Load::start(Plan {
        n_devices: 3,
        ..Plan::one(port, 10)
    });
    // A device that goes on sending into that week.
    let sender = {
        let done = Arc::clone(&done);
        spawn(move || {
            let mut device = Device::login(port, imei(2));
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                device.deliver(&at(ahead + secs(60 + n)));
                n += 1;
            }
            n
        })
    };
    let left = "SELECT count(*) FROM trackport.record_default WHERE time > now()";
    eventually(secs(90), "the default partition gives its rows up", || {
        number(&mut client, left, &[]) == 0
    });
    load.wait_acks(20, ANSWER);
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(join(reader) > 2);
    }
    let n_sent = i64::try_from(join(sender)).unwrap();
    let report = load.finish();
    assert!(
        report.slowest() < HELD_UP,
        "an ack took {:?}",
        report.slowest()
    );
    assert_eq!(report.n_reconnects(), 0);
    let n_loaded = i64::try_from(report.n_acked()).unwrap();
    assert_eq!(records(&mut client, imei(2)), n_sent + 1);
    assert_eq!(
        all_records(&mut client),
        i64::from(N) + 2 + n_sent + n_loaded
    );
    assert_eq!(daemon.count("thread silent"), 0);
    // The same record again finds itself in the partition.
    Device::login(port, imei(2)).deliver(&at(ahead));
    assert_eq!(records(&mut client, imei(2)), n_sent + 1);
    checked(&mut client);
}

/// Another connection to the same database.
fn another(client: &mut Client) -> Client {
    let row = client
        .query_one(
            "SELECT current_database()::text, current_setting('unix_socket_directories'), current_setting('port')",
            &[],
        )
        .unwrap();
    let (name, host, port): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    pg::connect(&format!(
        "postgresql:///{name}?host={host}&port={port}&user=postgres"
    ))
}

#[test]
fn no_ack_waits_for_a_long_report_that_holds_partitions_up() {
    let (mut daemon, mut client, port) = started_with("day", "keep = \"30 days\"");
    // One to be dropped, and days to be made before the next start.
    ensure_partitions(
        &mut client,
        PartitionWidth::Day,
        now() - days(60),
        &mut |_| (),
    )
    .unwrap();
    let old = checked(&mut client)[0].name.clone();
    fill(&mut client, now() - days(60), 100);
    assert_eq!(daemon.stop(), Some(0));
    change(&daemon, "\"day\"", "\"week\"");
    let mut reporter = another(&mut client);
    let mut report = reporter
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .unwrap();
    let count = "SELECT count(*) FROM trackport.record";
    let n_before: i64 = report.query_one(count, &[]).unwrap().get(0);
    daemon.launch();
    daemon.wait_ready();
    let load = Load::start(Plan {
        n_devices: 3,
        ..Plan::one(port, 10)
    });
    // Both works have been tried and given way; the load went on meanwhile.
    daemon.wait_log(
        secs(20),
        &["housekeeping failed", "work=partitions", "lock timeout"],
    );
    eventually(secs(30), "it is tried again", || {
        daemon.count("housekeeping failed") >= 4
    });
    load.wait_acks(50, ANSWER);
    let slowest = load.finish();
    assert!(
        slowest.slowest() < HELD_UP,
        "an ack took {:?}",
        slowest.slowest()
    );
    assert_eq!(slowest.n_reconnects(), 0);
    let n_now: i64 = report.query_one(count, &[]).unwrap().get(0);
    assert_eq!(n_now, n_before, "the report reads what it began with");
    assert!(daemon.log_lines(&["partitions dropped"]).is_empty());
    report.commit().unwrap();
    // The pauses have grown to half a minute at most by now.
    daemon.wait_log(secs(90), &["partitions dropped", &old]);
    eventually(secs(90), "partitions are made", || {
        daemon.log_lines(&["partitions made"]).len() == 2
    });
    assert_eq!(
        daemon.count("thread silent") + daemon.count("thread died"),
        0
    );
    checked(&mut client);
}

#[test]
fn a_record_older_than_what_is_kept_is_acked_removed_and_stays_away() {
    let (mut daemon, mut client, port) = started_with("week", "keep = \"30 days\"");
    let newest = "SELECT (extract(epoch FROM time))::bigint FROM trackport.latest l JOIN trackport.device d ON d.id = l.device_id
                  WHERE d.imei = $1";
    let of_first = number(&mut client, newest, &[&imei(1).to_string()]);
    let old = now() - days(400);
    // One device has sent newer records, the other nothing else.
    for device in [1, 2] {
        Device::login(port, imei(device)).deliver(&at(old));
    }
    let n_old =
        "SELECT count(*) FROM trackport.record_default WHERE time < now() - interval '300 days'";
    assert_eq!(number(&mut client, n_old, &[]), 2, "acked, so stored");
    eventually(
        ANSWER,
        "the only record that a device has sent is its newest",
        || {
            client
                .query_opt(newest, &[&imei(2).to_string()])
                .unwrap()
                .is_some()
        },
    );
    let of_second = number(&mut client, newest, &[&imei(2).to_string()]);
    for round in 0..2 {
        restart(&mut daemon);
        eventually(secs(10), "retention removes them", || {
            number(&mut client, n_old, &[]) == 0
        });
        daemon.wait_log(secs(5), &["partitions dropped", "default_rows=2"]);
        // A device of which nothing is left is shown where it was last; nobody is set back.
        for (device, time) in [(1, of_first), (2, of_second)] {
            assert_eq!(
                number(&mut client, newest, &[&imei(device).to_string()]),
                time
            );
        }
        assert_eq!(records(&mut client, imei(2)), 0);
        assert_eq!(records(&mut client, imei(1)), 1);
        if round == 0 {
            // An ack that was lost: the same again is acked again, and is gone again with the next pass.
            for device in [1, 2] {
                Device::login(port, imei(device)).deliver(&at(old));
            }
            assert_eq!(number(&mut client, n_old, &[]), 2);
        }
    }
    // Nothing of it comes back by the repair of `latest`.
    restart(&mut daemon);
    assert_eq!(number(&mut client, n_old, &[]), 0);
    assert_eq!(
        number(&mut client, newest, &[&imei(1).to_string()]),
        of_first
    );
}

#[test]
fn a_width_that_is_changed_leaves_no_overlap_loses_no_record_and_retention_goes_on() {
    let (mut daemon, mut client, port) = started_with("month", "");
    // Months that have passed, with a record every five days, and more to come in all directions.
    ensure_partitions(
        &mut client,
        PartitionWidth::Month,
        now() - days(150),
        &mut |_| (),
    )
    .unwrap();
    let mut device = Device::login(port, imei(2));
    let begun = now();
    let times: Vec<SystemTime> = (0..60).map(|n| begun - days(5 * n)).collect();
    for time in &times {
        device.deliver(&at(*time));
    }
    drop(device);
    for (number, pair) in ["month", "day", "week", "month", "week", "day"]
        .windows(2)
        .enumerate()
    {
        assert_eq!(daemon.stop(), Some(0));
        change(
            &daemon,
            &format!("\"{}\"", pair[0]),
            &format!("\"{}\"", pair[1]),
        );
        daemon.launch();
        daemon.wait_ready();
        let n = u64::try_from(number).unwrap();
        let mut device = Device::login(port, imei(2));
        device.deliver(&at(begun + days(3 * n) + ms(1)));
        drop(device);
        checked(&mut client);
        assert_eq!(
            records(&mut client, imei(2)),
            61 + i64::try_from(n).unwrap()
        );
    }
    // No gap from the month before on, whoever made what.
    let all = checked(&mut client);
    let this = all
        .iter()
        .position(|one| one.from <= begun && one.to > begun)
        .unwrap();
    for pair in all[this - 1..].windows(2) {
        assert_eq!(pair[0].to, pair[1].from, "{pair:?}");
    }
    // Retention begins: what ends before is gone, whatever its width; what began before stays whole.
    assert_eq!(daemon.stop(), Some(0));
    change(
        &daemon,
        "partition = \"day\"",
        "partition = \"day\"\nkeep = \"60 days\"",
    );
    let oldest = now() - days(60);
    let whole: Vec<Partition> = all.into_iter().filter(|one| one.to > oldest).collect();
    daemon.launch();
    daemon.wait_ready();
    daemon.wait_log(secs(20), &["partitions dropped"]);
    assert_eq!(checked(&mut client), whole);
    let first = whole[0].from.min(oldest);
    let expected = times.iter().filter(|time| **time >= first).count() + 5;
    assert_eq!(
        records(&mut client, imei(2)),
        i64::try_from(expected).unwrap()
    );
}
