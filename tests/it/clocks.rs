//! What must hold when a clock is wrong, a device's or the server's: every record is stored and acked, `latest` shows the truth
//! as soon as the clock is right again, and nothing is removed because of a time that only one clock tells of.

use std::time::{Duration, SystemTime};

use postgres::Client;
use trackport::conf::PartitionWidth;
use trackport::imei::Imei;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::RecordSpec;
use trackport::store::partition::ensure_partitions;

use crate::harness::daemon::{Setup, started};
use crate::harness::device::{ANSWER, Device, encode, record};
use crate::harness::rows::{quarantine, records};
use crate::harness::{eventually, free_port, imei, ms, postgres as pg, secs};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const YEAR: i64 = 365 * DAY;

/// The last millisecond that PostgreSQL has a time for: the end of the year 294276.
const TIME_MS_MAX: u64 = 9_224_318_015_999_999;

/// The last second that fits into 32 bits: 2106-02-07 06:28:15.
const END_OF_32_BITS: u64 = 0xFFFF_FFFF * 1000;

/// Now, in milliseconds; later than everything that was acked before.
fn now_ms() -> u64 {
    std::thread::sleep(ms(2));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

/// So far from now.
fn from_now(by_ms: i64) -> u64 {
    now_ms().checked_add_signed(by_ms).unwrap()
}

fn at(time_ms: u64, satellites: u8) -> Vec<u8> {
    let spec = RecordSpec {
        time_ms,
        satellites,
        ..record(0)
    };
    encode(Codec::Codec8, &[spec])
}

/// Delivers a record with a fix and returns its time.
#[track_caller]
fn deliver(device: &mut Device, time_ms: u64) -> u64 {
    device.deliver(&at(time_ms, 9));
    time_ms
}

/// Time of the newest record and of the newest fix, once the keeper has written down all that was delivered until now.
#[track_caller]
fn latest(client: &mut Client, port: u16, of: Imei) -> Option<(u64, u64)> {
    let (marker, time_ms) = (imei(999), now_ms());
    deliver(&mut Device::login(port, marker), time_ms);
    eventually(ANSWER, "the keeper writes", || {
        latest_now(client, marker).is_some_and(|(time, _)| time == time_ms)
    });
    latest_now(client, of)
}

#[track_caller]
fn latest_now(client: &mut Client, of: Imei) -> Option<(u64, u64)> {
    let sql = "SELECT (extract(epoch FROM time) * 1000)::bigint, coalesce((extract(epoch FROM fix_time) * 1000)::bigint, 0)
               FROM trackport.latest JOIN trackport.device d ON d.id = device_id WHERE d.imei = $1";
    let row = client.query_opt(sql, &[&of.to_string()]).unwrap()?;
    Some((
        row.get::<_, i64>(0).cast_unsigned(),
        row.get::<_, i64>(1).cast_unsigned(),
    ))
}

#[test]
fn a_record_of_any_time_is_stored_or_kept_and_none_poisons_latest() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    let right = deliver(&mut device, now_ms());
    let odd = [
        0,
        1,
        999,
        END_OF_32_BITS,
        END_OF_32_BITS + 1000,
        TIME_MS_MAX,
    ];
    for time_ms in odd {
        deliver(&mut device, time_ms);
    }
    assert_eq!(latest(&mut client, port, imei(1)), Some((right, right)));
    let times = "SELECT array_agg((extract(epoch FROM time) * 1000)::bigint ORDER BY time)
                 FROM trackport.position WHERE imei = $1";
    let row = client.query_one(times, &[&imei(1).to_string()]).unwrap();
    let stored: Vec<u64> = row
        .get::<_, Vec<i64>>(0)
        .into_iter()
        .map(i64::cast_unsigned)
        .collect();
    let mut sent = odd.to_vec();
    sent.push(right);
    sent.sort_unstable();
    assert_eq!(stored, sent, "each as it was sent");
    // What PostgreSQL has no number for is kept as bytes, and acked once it has come three times.
    for beyond in [TIME_MS_MAX + 1, u64::MAX] {
        let packet = at(beyond, 9);
        for _ in 0..2 {
            let mut device = Device::login(port, imei(2));
            device.send(&packet);
            device.expect_closed(ANSWER);
        }
        let mut device = Device::login(port, imei(2));
        device.deliver(&packet);
        deliver(&mut device, now_ms());
    }
    let kept = quarantine(&mut client, imei(2));
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|entry| entry.acked && entry.code == "time"));
    assert_eq!(records(&mut client, imei(2)), 2);
}

#[test]
fn records_of_impossible_times_slow_no_report() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    deliver(&mut device, 0);
    deliver(&mut device, now_ms());
    client
        .batch_execute(
            "INSERT INTO trackport.record SELECT (jsonb_populate_record(r, jsonb_build_object('digest', n, 'device_id', n % 50))).*
                 FROM trackport.record r, generate_series(1, 20000) n WHERE r.time < '1971-01-01';
             ANALYZE trackport.record, trackport.record_default",
        )
        .unwrap();
    let mut plan = |condition: &str| -> String {
        let sql = format!(
            "EXPLAIN SELECT time, longitude, latitude FROM trackport.position WHERE imei = '{}' AND {condition}",
            imei(1)
        );
        let rows = client.query(&sql, &[]).unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        lines.join("\n")
    };
    let day = plan("time >= now() - interval '1 day' AND time < now()");
    assert!(
        day.contains("Subplans Removed") && !day.contains("record_default"),
        "{day}"
    );
    let since = plan("time >= now() - interval '1 day'");
    assert!(!since.contains("Seq Scan on record_default"), "{since}");
}

#[test]
fn latest_is_right_as_soon_as_a_device_clock_is_right_again() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    let before = deliver(&mut device, now_ms());
    deliver(&mut device, from_now(3 * YEAR));
    assert_eq!(latest(&mut client, port, imei(1)), Some((before, before)));
    // So little ahead that it may be true: until a clock that is right says otherwise.
    let ahead = deliver(&mut device, from_now(50 * MINUTE));
    assert_eq!(latest(&mut client, port, imei(1)), Some((ahead, ahead)));
    let right = deliver(&mut device, now_ms());
    assert_eq!(latest(&mut client, port, imei(1)), Some((right, right)));
    // Back: to 2010, to the day before.
    for time_ms in [1_262_304_000_000, from_now(-DAY)] {
        deliver(&mut device, time_ms);
    }
    assert_eq!(latest(&mut client, port, imei(1)), Some((right, right)));
    // The newest fix has a time of its own.
    let ahead = deliver(&mut device, from_now(50 * MINUTE));
    let no_fix = now_ms();
    device.deliver(&at(no_fix, 0));
    assert_eq!(latest(&mut client, port, imei(1)), Some((no_fix, ahead)));
    let fix = deliver(&mut device, now_ms());
    let newest = now_ms();
    device.deliver(&at(newest, 0));
    assert_eq!(latest(&mut client, port, imei(1)), Some((newest, fix)));
    // What is made of the records alone is the same.
    assert_eq!(daemon.stop(), Some(0));
    for lost in ["true", "false"] {
        client
            .execute(&format!("DELETE FROM trackport.latest WHERE {lost}"), &[])
            .unwrap();
        daemon.launch();
        daemon.wait_ready();
        eventually(ANSWER, "repaired", || {
            latest_now(&mut client, imei(1)) == Some((newest, fix))
        });
        assert_eq!(latest(&mut client, port, imei(1)), Some((newest, fix)));
        assert_eq!(daemon.stop(), Some(0));
    }
    assert_eq!(records(&mut client, imei(1)), 10, "all are stored");
}

#[test]
fn when_every_clock_of_the_machine_is_ahead_the_records_keep_all_from_being_dropped() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    // A year ahead, the database's clock with the server's, looks like records that are a year old.
    let then = SystemTime::now() - Duration::from_secs(365 * 86_400);
    let made = ensure_partitions(&mut client, PartitionWidth::Week, then, &mut |_| ()).unwrap();
    let mut daemon = Setup::new(&database.url)
        .port(port)
        .more("[retention]\nkeep = \"30 days\"")
        .start();
    let mut device = Device::login(port, imei(1));
    for days in [367, 366, 365] {
        deliver(&mut device, from_now(-days * DAY));
    }
    eventually(ANSWER, "the keeper writes", || {
        latest_now(&mut client, imei(1)).is_some()
    });
    drop(device);
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
    let names: Vec<&str> = made.iter().map(|one| one.name.as_str()).collect();
    daemon.wait_log(
        secs(10),
        &["clock in doubt", &format!("kept={}", names.join(","))],
    );
    assert!(!daemon.status().troubles.is_empty());
    assert_eq!(records(&mut client, imei(1)), 3);
    // A device that tells of now settles it.
    assert_eq!(latest(&mut client, port, imei(2)), None);
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
    daemon.wait_log(secs(10), &["partitions dropped", &names.join(",")]);
    daemon.wait_ready();
    assert_eq!(records(&mut client, imei(1)), 0);
}

/// The server's own clock: moved by an injected fault.
#[cfg(feature = "faults")]
mod server {
    use super::*;
    use crate::harness::daemon::{Daemon, Folder};
    use crate::harness::rows::number;
    use std::fs;

    const SHIFT: &str = "TRACKPORT_CLOCK_SHIFT_FILE";

    /// A clock that can be set.
    struct Clock(Folder);

    impl Clock {
        fn new() -> Clock {
            Clock(Folder::new())
        }

        fn setup(&self, setup: Setup) -> Setup {
            setup.env(SHIFT, self.0.file("shift"))
        }

        /// Sets it so far from the right time.
        fn set(&self, by_ms: i64) {
            // As a whole: a half-written file would be another time.
            let (new, file) = (self.0.file("new"), self.0.file("shift"));
            fs::write(&new, (by_ms / 1000).to_string()).unwrap();
            fs::rename(new, file).unwrap();
        }
    }

    fn started_with(clock: &Clock, more: &str) -> (Daemon, Client, u16) {
        let (database, client) = pg::shared().migrated();
        let port = free_port();
        let setup = clock.setup(Setup::new(&database.url).port(port).more(more));
        (setup.start(), client, port)
    }

    fn partitions(client: &mut Client) -> Vec<String> {
        let all = trackport::store::partition::list_partitions(client).unwrap();
        all.into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn latest_does_not_freeze_after_the_servers_clock_was_a_year_ahead() {
        let clock = Clock::new();
        let (daemon, mut client, port) = started_with(&clock, "");
        // One device whose clock is ahead like the server's, one whose clock is right.
        let mut wrong = Device::login(port, imei(1));
        let mut right = Device::login(port, imei(2));
        let fix = deliver(&mut wrong, now_ms());
        clock.set(YEAR);
        let believed = deliver(&mut wrong, from_now(YEAR));
        let true_time = deliver(&mut right, now_ms());
        assert_eq!(
            latest(&mut client, port, imei(1)),
            Some((believed, believed))
        );
        assert_eq!(
            latest(&mut client, port, imei(2)),
            Some((true_time, true_time))
        );
        clock.set(0);
        daemon.wait_log(secs(5), &["wall clock stepped", "by_s=-315"]);
        // The first record without a fix: the fix of before is found again.
        let no_fix = now_ms();
        wrong.deliver(&at(no_fix, 0));
        assert_eq!(latest(&mut client, port, imei(1)), Some((no_fix, fix)));
        for (device, number) in [(&mut wrong, 1), (&mut right, 2)] {
            let time_ms = deliver(device, now_ms());
            assert_eq!(
                latest(&mut client, port, imei(number)),
                Some((time_ms, time_ms))
            );
        }
        let ahead = "SELECT count(*) FROM trackport.device_state WHERE greatest(last_contact_at, last_login_at) > now()";
        eventually(secs(5), "nobody was heard in the future", || {
            number(&mut client, ahead, &[]) == 0
        });
        assert_eq!(records(&mut client, imei(1)), 4, "all of them are kept");
    }

    #[test]
    fn a_clock_set_back_or_forward_ends_no_session_and_loses_no_record() {
        let clock = Clock::new();
        let (daemon, mut client, port) = started_with(&clock, "");
        let mut device = Device::login(port, imei(1));
        let mut last = deliver(&mut device, now_ms());
        for (round, by_ms) in [-10 * YEAR, 10 * YEAR, -YEAR, -3 * 60 * MINUTE, 0]
            .into_iter()
            .enumerate()
        {
            clock.set(by_ms);
            eventually(secs(5), "the step is noticed", || {
                daemon.log_lines(&["wall clock stepped"]).len() == round + 1
            });
            last = deliver(&mut device, now_ms());
            // Who comes now is let in as well.
            let newcomer = imei(10 + u64::try_from(round).unwrap());
            deliver(&mut Device::login(port, newcomer), now_ms());
        }
        assert_eq!(records(&mut client, imei(1)), 6);
        assert_eq!(latest(&mut client, port, imei(1)), Some((last, last)));
        assert_eq!(
            daemon.count("idle time-out") + daemon.count("packet time-out"),
            0
        );
        assert_eq!(
            daemon.count("thread silent") + daemon.count("thread died"),
            0
        );
    }

    #[test]
    fn a_clock_years_ahead_drops_nothing_and_a_person_is_told() {
        let clock = Clock::new();
        let more = "[retention]\npartition = \"day\"\nkeep = \"30 days\"";
        let (mut daemon, mut client, port) = started_with(&clock, more);
        let mut device = Device::login(port, imei(1));
        for days in 0..3 {
            deliver(&mut device, from_now(-days * DAY));
        }
        latest(&mut client, port, imei(1)).unwrap();
        let made = partitions(&mut client);
        assert_eq!(made.len(), 6);
        // While it runs, and at a start, which looks at retention at once.
        clock.set(14 * YEAR);
        for _ in 0..2 {
            daemon.wait_log(secs(10), &["clock in doubt", "no partitions are made"]);
            daemon.wait_log(secs(10), &["clock in doubt", "kept=", &made[0], &made[5]]);
            deliver(&mut Device::login(port, imei(1)), now_ms());
            assert_eq!(partitions(&mut client), made);
            let status = daemon.status();
            assert!(
                status
                    .troubles
                    .iter()
                    .any(|trouble| trouble.contains("clocks")),
                "{status:?}"
            );
            assert_eq!(daemon.stop(), Some(0));
            fs::remove_file(daemon.folder().file("log")).unwrap();
            daemon.launch();
        }
        clock.set(0);
        daemon.wait_ready();
        assert_eq!(records(&mut client, imei(1)), 5);
        assert_eq!(partitions(&mut client), made);
        assert!(daemon.log_lines(&["partitions dropped"]).is_empty());
        // Said of the time that is right, it works.
        let old = deliver(&mut Device::login(port, imei(1)), from_now(-31 * DAY));
        assert!(old > 0);
        clock.set(2 * MINUTE);
        daemon.wait_log(secs(10), &["partitions dropped", "default_rows=1"]);
        assert_eq!(records(&mut client, imei(1)), 5);
    }
}
