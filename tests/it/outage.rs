//! What must hold when the database or trackport itself goes away and there is no spool to take its place: nothing is acknowledged
//! that is not stored, what was acknowledged is there exactly once, nobody has to be told anything, and all goes on by itself.

use std::thread::sleep;
use std::time::Instant;

use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::Setup;
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::{number, records};
use crate::harness::{eventually, free_port, imei, ms, secs};

/// A few devices that do not lose patience.
fn patient(port: u16) -> Plan {
    Plan {
        n_devices: 5,
        n_records: 3,
        patience: secs(60),
        ..Plan::one(port, 1)
    }
}

#[test]
fn while_postgresql_is_stopped_nothing_is_acked_and_sessions_stay_open() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).without_spool().port(port).start();
    let mut idle = Device::login(port, imei(50));
    idle.deliver(&packet(0, 1));
    let load = Load::start(patient(port));
    load.wait_acks(20, ANSWER);
    drop(client);
    cluster.stop_server("fast");
    sleep(ms(300));
    let before = load.n_acked();
    idle.send(&packet(1, 1));
    idle.expect_silence(secs(2));
    assert_eq!(load.n_acked(), before, "acked without a database");
    daemon.wait_log(secs(2), &["database away", "writer-0"]);
    let status = daemon.status();
    assert!(
        status
            .troubles
            .iter()
            .any(|trouble| trouble.contains("away")),
        "{:?}",
        status.troubles
    );
    assert_eq!(status.ports[0].sessions, 6);
    // Who is known logs in from memory; about a stranger nobody can say anything, so nothing is said.
    let mut known = Device::login(port, imei(50));
    let mut stranger = Device::connect(port);
    stranger.send(&login(imei(60)));
    stranger.expect_silence(secs(1));
    cluster.start_server();
    load.wait_acks(20, secs(20));
    known.deliver(&packet(1, 1));
    assert_eq!(
        stranger.answer(1, ANSWER),
        Answer::Bytes(vec![1]),
        "let in when the database is back"
    );
    let report = load.finish();
    assert_eq!(report.n_reconnects(), 0, "sessions stayed open");
    let mut client = database.connect();
    assert_eq!(report.check(&mut client), 0);
    assert_eq!(records(&mut client, imei(50)), 2);
    eventually(secs(15), "no trouble is left", || {
        daemon.troubles().is_empty()
    });
}

#[test]
fn kill_9_of_postgresql_loses_and_doubles_nothing() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url).without_spool().port(port).start();
    let load = Load::start(Plan {
        pause: ms(0),
        ..patient(port)
    });
    for _ in 0..2 {
        load.wait_acks(50, ANSWER);
        let pids = cluster.all_pids();
        cluster.signal_all("KILL");
        let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        eventually(secs(10), "PostgreSQL is dead", || pids.iter().all(gone));
        cluster.start_server();
        load.wait_acks(50, secs(30));
    }
    let report = load.finish();
    assert_eq!(report.n_reconnects(), 0, "sessions stayed open");
    let mut client = database.connect();
    assert_eq!(report.check(&mut client), 0);
    daemon.wait_log(secs(1), &["database away", "writer-0"]);
}

#[test]
fn a_frozen_postgresql_is_noticed_and_left_behind_when_it_wakes() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .without_spool()
        .port(port)
        .timeout("statement", "2 s")
        .start();
    let load = Load::start(Plan {
        patience: secs(20),
        ..patient(port)
    });
    load.wait_acks(20, ANSWER);
    cluster.signal_all("STOP");
    sleep(ms(300));
    let before = load.n_acked();
    // statement + tcp + silent_after is 4 s.
    daemon.wait_log(secs(10), &["thread silent", "writer-0"]);
    daemon.wait_log(secs(10), &["database away", "writer-0"]);
    assert_eq!(load.n_acked(), before, "acked by a frozen database");
    // A login is answered all the time.
    let begun = Instant::now();
    drop(Device::login(port, imei(1)));
    assert!(begun.elapsed() < secs(2));
    sleep(secs(2));
    assert!(daemon.is_alive());
    cluster.signal_all("CONT");
    load.wait_acks(50, secs(30));
    let report = load.finish();
    let mut client = database.connect();
    report.check(&mut client);
    eventually(
        secs(20),
        "the old threads have ended and no trouble is left",
        || daemon.troubles().is_empty(),
    );
}

#[test]
fn kill_9_of_trackport_under_load_keeps_what_was_acked_once() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).without_spool().port(port).start();
    let load = Load::start(Plan {
        n_devices: 50,
        n_records: 5,
        pause: ms(5),
        patience: secs(20),
        ..Plan::one(port, 1)
    });
    for _ in 0..3 {
        load.wait_acks(300, secs(20));
        daemon.kill();
        daemon.launch();
    }
    load.wait_acks(300, secs(20));
    let report = load.finish();
    assert!(report.n_reconnects() >= 100, "all connected anew each time");
    assert!(
        report.seen.iter().all(|seen| seen.acked > 0),
        "every device got through"
    );
    assert_eq!(report.check(&mut client), 0);
    daemon.wait_ready();
}

#[test]
fn started_without_a_database_it_waits_for_it() {
    let cluster = Cluster::start();
    // Without tables: they are made when the database comes.
    let database = cluster.database();
    cluster.stop_server("fast");
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .without_spool()
        .port(port)
        .timeout("login", "30 s")
        .launch();
    eventually(secs(10), "it says what is wrong", || {
        daemon.try_status().is_some_and(|status| {
            !status.devices_loaded
                && status
                    .troubles
                    .iter()
                    .any(|trouble| trouble.contains("writer-0"))
        })
    });
    // The control socket is there before the ports are.
    daemon.wait_serving();
    let mut device = Device::connect(port);
    device.send(&login(imei(1)));
    device.expect_silence(secs(2));
    cluster.start_server();
    assert_eq!(device.answer(1, secs(25)), Answer::Bytes(vec![1]));
    device.deliver(&packet(0, 3));
    assert_eq!(records(&mut database.connect(), imei(1)), 3);
}

#[test]
fn a_connection_ended_by_an_administrator_is_made_anew() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).without_spool().port(port).start();
    let load = Load::start(Plan {
        pause: ms(2),
        ..patient(port)
    });
    // Often, so that one of them meets a commit.
    for _ in 0..25 {
        load.wait_acks(10, ANSWER);
        let n_ended = number(
            &mut client,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'trackport/%'",
            &[],
        );
        assert!(n_ended > 0);
    }
    load.wait_acks(30, secs(20));
    let report = load.finish();
    assert_eq!(report.n_reconnects(), 0);
    assert_eq!(report.check(&mut client), 0);
    // A new device is let in, so the device list has its connection again.
    Device::login(port, imei(70)).deliver(&packet(0, 1));
    assert_eq!(daemon.count("thread died"), 0);
}

#[test]
fn what_needs_a_person_is_said_loudly_and_mended_without_a_restart() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).without_spool().port(port).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    client
        .batch_execute("ALTER TABLE trackport.record RENAME TO record_of_somebody")
        .unwrap();
    device.send(&packet(1, 1));
    device.expect_silence(ms(500));
    daemon.wait_log(secs(5), &["database needs a person", "record"]);
    assert_eq!(daemon.status().writers[0].database, "refuses");
    client
        .batch_execute("ALTER TABLE trackport.record_of_somebody RENAME TO record")
        .unwrap();
    assert_eq!(device.ack(secs(15)), Some(1));
    assert_eq!(records(&mut client, imei(1)), 2);
    eventually(secs(3), "no trouble is left", || {
        daemon.troubles().is_empty()
    });
}
