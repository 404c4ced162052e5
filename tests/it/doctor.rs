//! What must hold for who asks the doctor at night: of each fault that can be made it finds the subject and the remedy, without the
//! server, without the database, and it finds nothing where all is well.
//!
//! The machine of a test is somebody's: its firewall, kernel and clock are looked at and not judged here.

use std::fs;
use std::net::TcpListener;

use postgres::Client;
use serde_json::Value;
use trackport::protocol::teltonika::encode::login;
use trackport::store::health::tables;

use crate::harness::daemon::{Daemon, Setup, started, started_known, text};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::rows::{number, records, set_state};
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

/// What the doctor may find about any machine that runs tests.
const OF_THE_MACHINE: [&str; 3] = ["firewall", "kernel", "clock"];

/// What was found: grade, subject, text and remedy.
#[derive(Debug)]
struct Found(Vec<[String; 4]>);

/// Asks the doctor of a daemon's conf, and checks that its exit code is what it says.
#[track_caller]
fn examine(daemon: &Daemon) -> Found {
    let output = daemon.command(&["doctor", "--json"]);
    let told = text(&output.stdout);
    let value: Value = serde_json::from_str(&told)
        .unwrap_or_else(|error| panic!("{error}: {told}{}", text(&output.stderr)));
    let code = i32::from(value["wrong"].as_u64().unwrap() > 0);
    assert_eq!(output.status.code(), Some(code), "{told}");
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = value["findings"].as_array().unwrap().iter();
    Found(
        findings
            .map(|one| ["grade", "subject", "text", "remedy"].map(|key| word(one, key)))
            .collect(),
    )
}

impl Found {
    /// What is odd or wrong, beside what is so with the machine.
    fn bad(&self) -> Vec<&[String; 4]> {
        let of_machine = |one: &[String; 4]| {
            OF_THE_MACHINE.contains(&one[1].as_str())
                // Disks of test machines are full.
                || one[2].contains("shares the spool's disk")
        };
        self.0
            .iter()
            .filter(|one| one[0] != "ok" && one[0] != "not seen" && !of_machine(one))
            .collect()
    }

    /// There must be a finding of this grade and subject with these words, and these in its remedy.
    #[track_caller]
    fn has(&self, grade: &str, subject: &str, words: &str, remedy: &str) {
        let fits = |one: &&[String; 4]| {
            one[0] == grade
                && one[1] == subject
                && one[2].contains(words)
                && one[3].contains(remedy)
        };
        assert!(
            self.0.iter().any(|one| fits(&one)),
            "no {grade} {subject} with {words:?} and {remedy:?} in {:#?}",
            self.0
        );
    }
}

#[test]
fn where_all_is_well_nothing_is_found_and_nothing_is_left_behind() {
    let (daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 2));
    eventually(secs(10), "the device is known to be here", || {
        number(
            &mut client,
            "SELECT count(*) FROM trackport.device_state WHERE connected",
            &[],
        ) == 1
            && number(&mut client, "SELECT count(*) FROM trackport.latest", &[]) == 1
    });
    let found = examine(&daemon);
    assert!(found.bad().is_empty(), "{:#?}", found.bad());
    for (subject, words) in [
        ("server", "up for"),
        ("ports", "1 port takes connections"),
        ("descriptors", "room for"),
        ("network", "no packet stopped"),
        ("database", "schema version"),
        ("spool", "room for"),
        ("devices", "1 accepted, 1 connected, records of 1"),
    ] {
        found.has("ok", subject, words, "");
    }
    let told = text(&daemon.command(&["doctor"]).stdout);
    assert!(
        told.lines().count() < 25,
        "no noise when all is well:\n{told}"
    );
    assert!(
        told.lines().all(|line| line.chars().count() <= 110),
        "{told}"
    );
    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM trackport.login_attempt",
            &[]
        ),
        0
    );
    // The session that was there goes on.
    device.deliver(&packet(5, 1));
}

#[test]
fn a_server_that_does_not_run_is_wrong_and_a_port_that_another_has_is_named() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).write();
    let found = examine(&daemon);
    found.has("wrong", "server", "does not run", "");
    assert_eq!(found.bad().len(), 1, "{:#?}", found.bad());
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let own = format!(
        "127.0.0.1:{port} is taken by process {} ",
        std::process::id()
    );
    examine(&daemon).has(
        "wrong",
        "ports",
        &own,
        &format!("ss -ltnp 'sport = :{port}'"),
    );
    // The same while the server runs and waits for its port.
    let mut daemon = daemon;
    daemon.launch();
    eventually(secs(20), "the server answers", || {
        daemon.try_status().is_some()
    });
    examine(&daemon).has("wrong", "ports", &own, "ss -ltnp");
    drop(taken);
    daemon.wait_ready();
    assert!(
        examine(&daemon)
            .0
            .iter()
            .all(|one| one[1] != "ports" || one[0] == "ok")
    );
}

#[test]
fn a_conf_that_the_server_has_not_read_is_found() {
    let (daemon, _client, port) = started();
    let other = free_port();
    daemon.edit_conf(|text| text.replace(&port.to_string(), &other.to_string()));
    let found = examine(&daemon);
    found.has(
        "wrong",
        "ports",
        &format!("{other} is in the conf file"),
        "systemctl reload trackport",
    );
    found.has(
        "odd",
        "ports",
        &format!("{port} is served"),
        "systemctl reload trackport",
    );
    // A bad one is told as every command tells it.
    daemon.edit_conf(|text| format!("{text}\nlisten = 7\n"));
    assert_eq!(daemon.command(&["doctor"]).status.code(), Some(78));
}

#[test]
fn a_database_that_is_away_is_found_while_everything_else_is_looked_at() {
    let cluster = pg::Cluster::start();
    let (database, _) = cluster.migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    cluster.stop_server("immediate");
    let mut device = Device::login(port, imei(2));
    device.deliver(&packet(0, 3));
    let found = examine(&daemon);
    found.has(
        "wrong",
        "database",
        "no PostgreSQL at",
        "systemctl status postgresql",
    );
    found.has(
        "odd",
        "spool",
        "3 records wait for the database",
        "away or too slow",
    );
    found.has("ok", "ports", "1 port takes connections", "");
    cluster.start_server();
    daemon.wait_drained(secs(30));
    daemon.wait_ready();
    let found = examine(&daemon);
    found.has("ok", "database", "schema version", "");
    // What is over stays to be read for a day.
    found.has("odd", "server", "database away", "");
}

#[test]
fn tables_of_another_version_are_found() {
    let database = pg::shared().database();
    let daemon = Setup::new(&database.url).port(free_port()).write();
    examine(&daemon).has("wrong", "database", "run `trackport migrate`", "");
    daemon.must(&["migrate"]);
    let mut client = database.connect();
    client
        .batch_execute(
            "INSERT INTO trackport.migration (version, name, digest) VALUES (999, 'later', 'x')",
        )
        .unwrap();
    examine(&daemon).has("wrong", "database", "999", "");
}

#[test]
fn a_cluster_that_breaks_the_promise_or_fills_its_disk_is_found() {
    let cluster = pg::Cluster::start();
    let (database, mut client) = cluster.migrated();
    let daemon = Setup::new(&database.url).port(free_port()).start();
    for change in [
        "SELECT pg_create_physical_replication_slot('gone', true)",
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET autovacuum = off",
        "ALTER TABLE trackport.latest SET (autovacuum_enabled = false)",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(change).unwrap();
    }
    eventually(secs(10), "the settings are taken", || {
        number(
            &mut client,
            "SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'off'",
            &[],
        ) == 1
    });
    let found = examine(&daemon);
    found.has(
        "odd",
        "database",
        "replication slot gone holds",
        "pg_drop_replication_slot('gone')",
    );
    found.has("wrong", "database", "fsync is off", "");
    found.has("odd", "database", "full_page_writes is off", "");
    found.has(
        "wrong",
        "database",
        "autovacuum is off: tables grow",
        "autovacuum = on",
    );
    found.has(
        "odd",
        "database",
        "autovacuum is off for latest",
        "RESET (autovacuum_enabled)",
    );
    // A session that holds a lock, and one that waits for it.
    let mut holder = database.connect();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK trackport.latest IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let pid: i32 = lock
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    let url = database.url.clone();
    let waits = crate::harness::spawn(move || {
        let mut client = pg::connect(&url);
        client.batch_execute("SET statement_timeout = 0; SELECT count(*) FROM trackport.latest")
    });
    let own: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    eventually(secs(30), "somebody waits for long", || {
        number(
            &mut client,
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > interval '6 s' AND pid <> $1",
            &[&own],
        ) > 0
    });
    let remedy = format!("pg_terminate_backend({pid})");
    let holds = format!("a lock on trackport.latest that process {pid} holds");
    // Its own questions wait for that table as well, and are given up: what is known by then is told.
    let output = daemon.command(&["doctor", "--json"]);
    let told = text(&output.stdout);
    assert!(told.contains(&holds) && told.contains(&remedy), "{told}");
    lock.rollback().unwrap();
    crate::harness::join(waits).unwrap();
}

#[test]
fn a_standby_that_acknowledgements_do_not_wait_for_is_found() {
    let cluster = pg::Cluster::start();
    let (database, mut client) = cluster.migrated();
    let daemon = Setup::new(&database.url).port(free_port()).start();
    let standby = cluster.standby("replica1");
    eventually(secs(30), "the standby follows", || {
        number(
            &mut client,
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
            &[],
        ) == 1
    });
    examine(&daemon).has(
        "odd",
        "database",
        "1 standby (replica1) may lag",
        "synchronous_standby_names",
    );
    client
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        .unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    eventually(secs(10), "acknowledgements wait for the standby", || {
        examine(&daemon)
            .bad()
            .iter()
            .all(|one| !one[2].contains("may lag"))
    });
    // Whoever names the standby by mistake is told.
    let name = database.url.split(['/', '?']).nth(3).unwrap();
    let url = standby.url(name, "postgres");
    daemon.edit_conf(|text| text.replace(&database.url, &url));
    examine(&daemon).has(
        "wrong",
        "database",
        "it is a standby and takes no rows",
        "[database] url",
    );
    daemon.edit_conf(|text| text.replace(&url, &database.url));
}

#[test]
fn who_is_turned_away_is_told_with_the_command_that_lets_it_in() {
    let (daemon, mut client, port) = started_known();
    let stranger = imei(3);
    let knock = || {
        let mut device = Device::connect(port);
        device.send(&login(stranger));
        device.expect_last(&[0], ANSWER);
    };
    knock();
    knock();
    eventually(secs(10), "the refusals are written", || {
        number(
            &mut client,
            "SELECT coalesce(sum(n_attempts), 0)::bigint FROM trackport.login_attempt",
            &[],
        ) == 2
    });
    let name = stranger.to_string();
    let found = examine(&daemon);
    found.has(
        "odd",
        "devices",
        &format!("{name} was turned away 2 times"),
        &format!("trackport device add {name}"),
    );
    found.has(
        "odd",
        "devices",
        "no device may log in yet",
        "trackport device add",
    );
    let about = |args: &[&str]| {
        let output = daemon.command(&[&["doctor", "--imei", name.as_str()], args].concat());
        (output.status.code(), text(&output.stdout))
    };
    let (code, told) = about(&[]);
    assert_eq!(code, Some(1));
    assert!(
        told.ends_with(&format!(
            "\nIt is not known, so it may not log in.\n-> trackport device add {name}\n"
        )),
        "{told}"
    );
    // The remedy is taken, and the next thing that is missing is named.
    daemon.must(&["device", "add", &name]);
    eventually(secs(10), "the server knows it", || {
        let mut device = Device::connect(port);
        device.send(&login(stranger));
        device.answer(1, ANSWER) == Answer::Bytes(vec![1])
    });
    let mut device = Device::login(port, stranger);
    eventually(secs(10), "its login is written", || {
        about(&[]).1.contains("no whole packet of it has come")
    });
    assert_eq!(about(&[]).0, Some(1));
    device.deliver(&packet(0, 2));
    let (code, told) = about(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("\nIts records arrive; the newest came "),
        "{told}"
    );
    assert!(
        told.contains(&format!(
            "session       from {} on 127.0.0.1:{port}",
            device.address()
        )),
        "{told}"
    );
    let value: Value = serde_json::from_str(&about(&["--json"]).1).unwrap();
    assert_eq!(
        (&value["grade"], &value["imei"]),
        (&"ok".into(), &name.as_str().into())
    );
    set_state(&mut client, stranger, "refused");
    let (code, told) = about(&[]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains(&format!(
            "It is refused.\n-> trackport device accept {name}"
        )),
        "{told}"
    );
    drop(daemon);
}

#[test]
fn one_device_is_followed_without_the_server_too() {
    let (database, _client) = pg::shared().migrated();
    let daemon = Setup::new(&database.url).port(free_port()).write();
    let output = daemon.command(&["doctor", "--imei", &imei(4).to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(
        told.contains("state         not known") && told.contains("The server does not answer"),
        "{told}"
    );
}

#[test]
fn packets_that_stop_at_the_same_byte_point_at_the_tunnel() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("packet", "1 s")
        .timeout("login", "1 s")
        .start();
    let whole = packet(0, 20);
    let stop_at = |n: usize, address: [u8; 4], number: u64| {
        let mut device = Device::connect_from(address, port);
        device.send(&login(imei(number)));
        assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
        device.send(&whole[..n]);
        device
    };
    // By time-out, by a line that ends, and by a device that gives the line up and comes again.
    stop_at(700, [127, 9, 9, 1], 5).expect_closed(ANSWER);
    let of = format!(
        "stopped half way, the last one after 700 of {} bytes",
        whole.len()
    );
    examine(&daemon).has(
        "odd",
        "network",
        &format!("a packet from 127.9.9.0/24 {of}"),
        "max_segment",
    );
    drop(stop_at(700, [127, 9, 9, 2], 6));
    let _hangs = stop_at(700, [127, 9, 9, 3], 7);
    let _again = stop_at(0, [127, 9, 9, 3], 7);
    eventually(secs(10), "all three are seen", || {
        daemon
            .status()
            .stalls
            .iter()
            .any(|stall| stall.packets == 3)
    });
    // Elsewhere a line ends now and then.
    drop(stop_at(300, [127, 8, 8, 8], 8));
    eventually(secs(10), "both networks are seen", || {
        daemon.status().stalls.len() == 2
    });
    let found = examine(&daemon);
    let text = format!(
        "packets from 127.9.9.0/24 stop after 700 of {} bytes, the last 3 all there",
        whole.len()
    );
    found.has(
        "wrong",
        "network",
        &text,
        "max_segment = 1200 below [[port]]",
    );
    found.has(
        "odd",
        "network",
        "a packet from 127.8.8.0/24",
        "bad coverage",
    );
    // Once a whole one comes from there, the way is free.
    let mut device = Device::connect_from([127, 9, 9, 4], port);
    device.send(&login(imei(7)));
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
    device.deliver(&whole);
    let found = examine(&daemon);
    found.has(
        "odd",
        "network",
        "3 packets from 127.9.9.0/24",
        "bad coverage",
    );
}

#[test]
fn max_segment_is_heeded_at_the_start_and_after_a_reload() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port_with(port, "max_segment = 700")
        .start();
    let segment = || {
        let device = Device::login(port, imei(9));
        socket2::SockRef::from(device.stream()).tcp_mss().unwrap()
    };
    assert!(segment() <= 700);
    for (key, fits) in [
        ("max_segment = 1200", (701..=1200)),
        ("", (1461..=u32::MAX)),
        ("max_segment = 500", (0..=500)),
    ] {
        daemon.edit_conf(|text| {
            let without: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("max_segment"))
                .collect();
            // The port stands last in the file.
            format!("{}\n{key}\n", without.join("\n"))
        });
        daemon.signal("HUP");
        eventually(secs(10), &format!("{key:?} is heeded"), || {
            fits.contains(&segment())
        });
        Device::login(port, imei(9)).deliver(&packet(0, 100));
    }
    daemon.edit_conf(|text| text.replace("max_segment = 500", "max_segment = 10"));
    let output = daemon.command(&["check", "--conf-only"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).contains("from 500 to 1460"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn devices_that_do_not_wait_and_bytes_that_cannot_be_read_are_found() {
    let (daemon, mut client, port) = started();
    let (hasty, broken) = (imei(10), imei(11));
    let mut device = Device::login(port, hasty);
    device.send(&[packet(0, 1), packet(1, 1), packet(2, 1)].concat());
    eventually(secs(10), "its haste is written", || {
        number(
            &mut client,
            "SELECT count(*) FROM trackport.device_state WHERE sends_before_ack_at IS NOT NULL",
            &[],
        ) == 1
    });
    let mut bytes = packet(9, 1);
    *bytes.last_mut().unwrap() ^= 1;
    for n in 0..3 {
        let mut device = Device::login(port, broken);
        device.send(&bytes);
        if n < 2 {
            device.expect_closed(ANSWER);
            eventually(secs(10), "it is in quarantine", || {
                number(
                    &mut client,
                    "SELECT count(*) FROM trackport.quarantine WHERE n_seen = $1::int4",
                    &[&(n + 1)],
                ) == 1
            });
            let name = broken.to_string();
            examine(&daemon).has(
                "odd",
                "devices",
                &format!("1 packet could not be read within a day (crc), for example of {name}"),
                &format!("quarantine list --imei {name}"),
            );
            let output = daemon.command(&["doctor", "--imei", &name]);
            assert!(
                text(&output.stdout)
                    .contains("What it sends cannot be read: 1 packet in quarantine."),
                "{}",
                text(&output.stdout)
            );
        } else {
            assert_eq!(device.ack(ANSWER), Some(1));
        }
    }
    eventually(secs(10), "it is kept for good", || {
        number(
            &mut client,
            "SELECT count(*) FROM trackport.quarantine WHERE acked",
            &[],
        ) == 1
    });
    let found = examine(&daemon);
    found.has(
        "odd",
        "devices",
        &format!(
            "not waiting for acknowledgements: it loses records when the line breaks: {hasty}"
        ),
        "ACK type",
    );
    found.has(
        "wrong",
        "devices",
        "1 packet in quarantine for good",
        "trackport quarantine list --acked",
    );
    drop(daemon);
}

#[test]
fn devices_that_fell_silent_and_clocks_that_are_wrong_are_found() {
    let (daemon, mut client, port) = started();
    let (silent, odd) = (imei(12), imei(13));
    for one in [silent, odd] {
        Device::login(port, one).deliver(&packet(0, 20));
    }
    eventually(secs(10), "both are stored and gone", || {
        records(&mut client, silent) + records(&mut client, odd) == 40
            && number(&mut client, "SELECT count(*) FROM trackport.latest", &[]) == 2
            && number(
                &mut client,
                "SELECT count(*) FROM trackport.device_state WHERE NOT connected",
                &[],
            ) == 2
    });
    // As if one had sent every ten minutes until five hours ago, and the other had the year 2090.
    client
        .batch_execute(&format!(
            "UPDATE trackport.record r SET received_at = now() - interval '5 h' - (20 - extract(epoch FROM r.time - timestamptz '2026-01-01Z')) * interval '10 min'
             WHERE device_id = (SELECT id FROM trackport.device WHERE imei = '{silent}');
             UPDATE trackport.device_state SET last_contact_at = now() - interval '5 h'
             WHERE device_id = (SELECT id FROM trackport.device WHERE imei = '{silent}');
             UPDATE trackport.record SET time = time + interval '64 years'
             WHERE device_id = (SELECT id FROM trackport.device WHERE imei = '{odd}')"
        ))
        .unwrap();
    let found = examine(&daemon);
    found.has(
        "odd",
        "devices",
        &format!(
            "not heard for far longer than usual: {silent} (5 h 00 min ago, usually within 10 min)"
        ),
        &format!("doctor --imei {silent}"),
    );
    found.has(
        "odd",
        "devices",
        &format!("sending records from the future: {odd} (up to 2090-"),
        "107",
    );
    found.has("odd", "database", &format!("20 records have an impossible time, 2090-01-01T00:00:00Z to 2090-01-01T00:00:19Z: the clocks of {odd}"), "107");
    let told = text(
        &daemon
            .command(&["doctor", "--imei", &silent.to_string()])
            .stdout,
    );
    assert!(told.contains("It is away: heard 5 h 00 min ago"), "{told}");
}

#[test]
fn files_that_the_spool_set_aside_and_a_spool_that_cannot_be_used_are_found() {
    let (database, _client) = pg::shared().migrated();
    let daemon = Setup::new(&database.url).port(free_port()).start();
    let folder = daemon.folder().file("spool");
    fs::write(folder.join("0000000000000009.seg.bad"), b"nonsense").unwrap();
    examine(&daemon).has(
        "odd",
        "spool",
        "1 damaged file set aside",
        "trackport spool list",
    );
    let daemon = Setup::new(&database.url)
        .port(free_port())
        .without_spool()
        .launch();
    daemon.wait_ready();
    let found = examine(&daemon);
    found.has("wrong", "spool", "no-spool-here", "");
}

#[test]
fn too_few_descriptors_for_the_fleet_are_found() {
    let (database, mut client) = pg::shared().migrated();
    client
        .batch_execute("INSERT INTO trackport.device (imei) SELECT (356307042440000 + n)::text FROM generate_series(1, 500) n")
        .unwrap();
    let words = ["prlimit", "--nofile=200:4096"].map(str::to_owned).into();
    let daemon = Setup::new(&database.url)
        .port(free_port())
        .under(words)
        .start();
    let found = examine(&daemon);
    found.has(
        "odd",
        "descriptors",
        "500 devices are known",
        "LimitNOFILE=1024",
    );
}

#[test]
fn root_sees_by_the_eyes_of_the_server_where_the_database_knows_that_user_alone() {
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    // As on the machine of the README: the database takes each user by the name that the system gives it.
    let cluster = pg::Cluster::start();
    let folder = crate::harness::daemon::Folder::new();
    let rules = folder.file("pg_hba.conf");
    fs::write(&rules, "local all postgres trust\nlocal all all peer\n").unwrap();
    open_to_all(&folder.file(""), &rules);
    let database = cluster.database();
    let name = database.url.split(['/', '?']).nth(3).unwrap();
    let mut client = database.connect();
    for change in [
        "CREATE ROLE nobody LOGIN".to_owned(),
        format!("ALTER DATABASE {name} OWNER TO nobody"),
        format!("ALTER SYSTEM SET hba_file = '{}'", rules.display()),
    ] {
        client.batch_execute(&change).unwrap();
    }
    drop(client);
    cluster.stop_server("fast");
    cluster.start_server();
    let url = cluster.url(name, "nobody");
    let program = folder.file("trackport");
    fs::copy(crate::harness::daemon::BINARY, &program).unwrap();
    // A copy of the program, because its own place may be root's closed home.
    let run = format!(
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups {} \"$@\"",
        program.display()
    );
    let words = ["/bin/sh", "-c", run.as_str()].map(str::to_owned).into();
    let mut daemon = Setup::new(&url)
        .known_only()
        .port(free_port())
        .under(words)
        .write();
    open_to_all(&daemon.folder().file(""), &daemon.conf());
    daemon.launch();
    daemon.wait_ready();
    let ask = |args: &[&str]| {
        let output = std::process::Command::new(&program)
            .args(args)
            .arg("--conf")
            .arg(daemon.conf())
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout))
    };
    let (code, told) = ask(&["doctor"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("ok       database    PostgreSQL"), "{told}");
    assert!(told.contains("no device may log in yet"), "{told}");
    assert!(
        told.contains("ok       ports ") && told.contains("ok       descriptors "),
        "{told}"
    );
    let (code, told) = ask(&["doctor", "--imei", &imei(20).to_string()]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("state         not known"), "{told}");
}

/// Lets every user into `folder` and read `file`.
fn open_to_all(folder: &std::path::Path, file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_user_who_may_not_see_everything_is_told_what_and_how() {
    let (daemon, _client, _) = started();
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    // Somebody else may read the conf and run the program, which may lie in a home that is closed to others, and no more.
    let program = daemon.folder().file("trackport");
    fs::copy(crate::harness::daemon::BINARY, &program).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["doctor", "--json", "--conf"])
        .arg(daemon.conf())
        .output()
        .unwrap();
    let told = text(&output.stdout);
    let value: Value = serde_json::from_str(&told)
        .unwrap_or_else(|error| panic!("{error}: {told}{}", text(&output.stderr)));
    let server = value["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["subject"] == "server")
        .unwrap();
    assert_eq!(server["grade"], "not seen", "{told}");
    assert!(
        server["remedy"]
            .as_str()
            .unwrap()
            .contains("runuser -u trackport"),
        "{told}"
    );
}

#[test]
fn what_is_asked_of_a_large_default_partition_reads_few_of_its_pages() {
    let (_database, mut client) = pg::shared().migrated();
    client
        .batch_execute(&format!(
            "INSERT INTO trackport.device (imei) VALUES ('{0}');
             INSERT INTO trackport.record_default (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg,
                 satellites, speed_kmh, priority, event_id, codec, port, io)
             SELECT d.id, timestamptz '2020-01-01Z' + n * interval '1 min', n, now(), 25, 54, 0, 0, 0, 0, 0, 0, 8, 1, '\\x00'
             FROM trackport.device d, generate_series(1, 50000) n;
             UPDATE trackport.record_default SET time = timestamptz '1970-01-01Z' + digest * interval '1 s' WHERE digest <= 3;
             ANALYZE trackport.record_default",
            imei(1)
        ))
        .unwrap();
    let n_read = |client: &mut Client| -> i64 {
        client
            .query_one("SELECT pg_stat_force_next_flush()", &[])
            .unwrap();
        let sql = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables
                   WHERE relid = 'trackport.record_default'::regclass";
        client.query_one(sql, &[]).unwrap().get(0)
    };
    let before = n_read(&mut client);
    let tables = tables(&mut client).unwrap();
    let read = n_read(&mut client) - before;
    assert_eq!(tables.n_impossible, 3);
    assert_eq!(tables.impossible_imeis, [imei(1).to_string()]);
    assert!(read < 50, "{read} pages were read");
}
