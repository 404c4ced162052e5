//! What must hold when a signal comes: a reload touches only what was changed, a restart of all threads and a stop lose and
//! double nothing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::Instant;

use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{Daemon, Folder, Setup};
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::all_records;
use crate::harness::{eventually, free_port, imei, ms, secs};

/// A fleet that keeps the server busy.
fn busy(port: u16) -> Plan {
    Plan {
        n_devices: 20,
        n_records: 5,
        pause: ms(1),
        patience: secs(5),
        ..Plan::one(port, 1)
    }
}

/// Appends a port to the conf.
fn add_port(daemon: &Daemon, port: u16, keys: &str) {
    daemon.edit_conf(|text| format!("{text}[[port]]\nlisten = \"127.0.0.1:{port}\"\n{keys}\n"));
}

fn is_listening(port: u16) -> bool {
    Device::try_connect(port).is_ok()
}

#[test]
fn hup_adds_and_removes_ports_and_leaves_the_others_alone() {
    let (database, mut client) = pg::shared().migrated();
    let (stays, goes, comes) = (free_port(), free_port(), free_port());
    let daemon = Setup::new(&database.url).port(stays).port(goes).start();
    let load = Load::start(Plan {
        n_devices: 3,
        ..Plan::one(stays, 1)
    });
    load.wait_acks(10, ANSWER);
    let mut leaving = Device::login(goes, imei(50));
    leaving.deliver(&packet(0, 1));
    add_port(&daemon, comes, "");
    daemon.signal("HUP");
    eventually(secs(5), "the new port takes a packet", || {
        Device::try_login(comes, imei(51)).is_some()
    });
    leaving.deliver(&packet(1, 1));
    daemon.edit_conf(|text| text.replace(&format!("[[port]]\nlisten = \"127.0.0.1:{goes}\""), ""));
    daemon.signal("HUP");
    leaving.expect_closed(secs(5));
    eventually(secs(5), "the removed port is closed", || {
        !is_listening(goes)
    });
    load.wait_acks(10, ANSWER);
    let report = load.finish();
    assert_eq!(report.n_reconnects(), 0, "sessions on the other port stay");
    assert!(
        report.slowest() < ms(1500),
        "an ack took {:?}",
        report.slowest()
    );
    report.check(&mut client);
    let labels: BTreeSet<String> = daemon
        .status()
        .ports
        .into_iter()
        .map(|port| port.label)
        .collect();
    assert_eq!(
        labels,
        [stays, comes]
            .map(|port| format!("127.0.0.1:{port}"))
            .into()
    );
    daemon.wait_log(secs(1), &["conf reloaded", "ports_added=1"]);
    daemon.wait_log(secs(1), &["port removed", &goes.to_string()]);
}

#[test]
fn hup_restarts_a_changed_port_on_its_socket_and_names_what_waits_for_a_restart() {
    let (database, _client) = pg::shared().migrated();
    let (stays, changes) = (free_port(), free_port());
    let daemon = Setup::new(&database.url).port(stays).port(changes).start();
    let mut untouched = Device::login(stays, imei(1));
    let mut touched = Device::login(changes, imei(2));
    daemon.edit_conf(|text| {
        text.replace(
            &format!("listen = \"127.0.0.1:{changes}\""),
            &format!("listen = \"127.0.0.1:{changes}\"\nallow = [\"10.0.0.0/8\"]"),
        )
        .replace("statement = \"3 s\"", "statement = \"4 s\"")
    });
    daemon.signal("HUP");
    touched.expect_closed(secs(5));
    let mut refused = Device::connect(changes);
    let _ = refused.try_send(&login(imei(2)));
    refused.expect_closed(ANSWER);
    untouched.deliver(&packet(0, 1));
    daemon.wait_log(secs(1), &["needs a restart", "statement"]);
    // Who may log in is changed without any restart.
    daemon.edit_conf(|text| text.replace("accept = \"any\"", "accept = \"known\""));
    daemon.signal("HUP");
    let mut stranger = 76;
    eventually(secs(5), "strangers are refused", || {
        stranger += 1;
        Device::try_login(stays, imei(stranger)).is_none()
    });
}

#[test]
fn a_stop_resets_no_connection_whose_ack_may_still_be_on_its_way() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.record IN EXCLUSIVE MODE")
        .unwrap();
    device.send(&packet(0, 1));
    device.expect_silence(ms(300));
    daemon.signal("TERM");
    daemon.wait_log(secs(3), &["stopping within"]);
    // Pings that the stopping thread has not read when the ack goes out.
    device.send(&[0xFF; 8]);
    transaction.commit().unwrap();
    assert_eq!(device.ack(ANSWER), Some(1));
    // A device that does not close its side delays the stop by a moment at most.
    assert!(daemon.wait_end(secs(3)).success());
    assert_eq!(device.error(), None);
    device.expect_closed(ANSWER);
    assert_eq!(all_records(&mut client), 1);
}

#[test]
fn hup_with_a_bad_conf_changes_nothing_and_says_why() {
    let (database, _client) = pg::shared().migrated();
    let (port, new) = (free_port(), free_port());
    let daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    add_port(&daemon, new, "devise = \"1\"\naccept = \"some\"");
    daemon.signal("HUP");
    daemon.wait_log(secs(5), &["conf refused", "trackport.toml:", "devise"]);
    daemon.wait_log(secs(5), &["conf refused", "accept"]);
    assert!(!is_listening(new), "half a conf was taken over");
    device.deliver(&packet(0, 1));
    // And the next good one is taken.
    daemon.edit_conf(|text| text.replace("devise = \"1\"\naccept = \"some\"", ""));
    daemon.signal("HUP");
    eventually(secs(5), "the new port listens", || is_listening(new));
    device.deliver(&packet(1, 1));
}

#[test]
fn a_port_in_use_concerns_that_port_only_and_is_tried_again() {
    let (database, _client) = pg::shared().migrated();
    let (port, taken) = (free_port(), free_port());
    let occupant = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    add_port(&daemon, taken, "");
    daemon.signal("HUP");
    daemon.wait_log(
        secs(5),
        &["port not bound", &taken.to_string(), "in use", "ss -ltnp"],
    );
    device.deliver(&packet(0, 1));
    let troubles = daemon.status().troubles;
    assert!(
        troubles
            .iter()
            .any(|trouble| trouble.contains(&taken.to_string())),
        "{troubles:?}"
    );
    drop(occupant);
    eventually(secs(20), "it is bound when it is free", || {
        Device::try_login(taken, imei(2)).is_some()
    });
    eventually(secs(3), "no trouble is left", || {
        daemon.troubles().is_empty()
    });
}

#[test]
fn usr1_under_load_restarts_every_thread_and_loses_nothing() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let generations = || -> Vec<(String, u64)> {
        let threads = daemon.status().threads;
        threads
            .into_iter()
            .map(|thread| (thread.name, thread.generation))
            .collect()
    };
    let before = generations();
    let load = Load::start(busy(port));
    load.wait_acks(100, ANSWER);
    daemon.signal("USR1");
    eventually(secs(20), "every thread has another generation", || {
        let Some(status) = daemon.try_status() else {
            return false;
        };
        let running = status
            .threads
            .iter()
            .all(|thread| thread.state == "running");
        running
            && before.iter().all(|(name, generation)| {
                status
                    .threads
                    .iter()
                    .any(|thread| thread.name == *name && thread.generation > *generation)
            })
    });
    load.wait_acks(200, ANSWER);
    let report = load.finish();
    assert_eq!(report.check(&mut client), 0);
    assert!(
        report.slowest() < secs(5),
        "an ack took {:?}",
        report.slowest()
    );
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
    let events =
        "SELECT count(*) FROM trackport.port_event WHERE event = 'stop' AND thread LIKE 'port %'";
    eventually(secs(5), "the restart is in port_event", || {
        client.query_one(events, &[]).unwrap().get::<_, i64>(0) == 1
    });
}

#[test]
fn usr2_logs_threads_ports_writers_and_queue() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    Device::login(port, imei(1)).deliver(&packet(0, 3));
    daemon.signal("USR2");
    daemon.wait_log(
        secs(5),
        &[
            "state port=127.0.0.1",
            &port.to_string(),
            "packets=1",
            "records=3",
        ],
    );
    daemon.wait_log(secs(1), &["state thread=\"writer-0\"", "running"]);
    daemon.wait_log(
        secs(1),
        &["state writer=writer-0", "database=up", "records=3"],
    );
    daemon.wait_log(secs(1), &["state", "queue bytes=0"]);
}

/// TERM or INT in the middle of load.
fn stopped_under_load(signal: &str) {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let load = Load::start(Plan {
        patience: secs(1),
        ..busy(port)
    });
    load.wait_acks(200, ANSWER);
    let begun = Instant::now();
    daemon.signal(signal);
    let status = daemon.wait_end(secs(7));
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() < secs(6), "took {:?}", begun.elapsed());
    let report = load.finish();
    assert!(report.n_acked() > 0);
    // Who was stored has also got its ack: writers finish what was taken, and acks are flushed.
    assert_eq!(report.check(&mut client), 0, "stored but not acked");
    assert_eq!(
        all_records(&mut client),
        i64::try_from(report.n_acked()).unwrap()
    );
    let n_packets = report.n_acked() / report.plan.n_records;
    daemon.wait_log(
        secs(1),
        &["stopped", &format!("packets_acked={n_packets} ")],
    );
    assert!(!daemon.socket().exists(), "the control socket is tidied up");
}

#[test]
fn term_under_load_ends_with_0_and_acked_is_stored() {
    stopped_under_load("TERM");
}

#[test]
fn int_under_load_ends_with_0_and_acked_is_stored() {
    stopped_under_load("INT");
}

#[test]
fn term_while_the_database_hangs_ends_in_time_without_an_ack() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let mut daemon = Setup::new(&database.url)
        .port(port)
        .timeout("stop", "3 s")
        .timeout("statement", "30 s")
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.signal_all("STOP");
    device.send(&packet(1, 1));
    sleep(ms(300));
    let begun = Instant::now();
    daemon.signal("TERM");
    let status = daemon.wait_end(secs(10));
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < secs(5), "took {took:?}");
    assert_eq!(device.ack(secs(1)), None, "acked by a frozen database");
    daemon.wait_log(
        secs(1),
        &["stopped", "packets_acked=1 ", "packets_unacked=1"],
    );
    cluster.signal_all("CONT");
}

#[test]
fn a_port_removed_under_load_finishes_what_it_took() {
    let (database, mut client) = pg::shared().migrated();
    let (stays, goes) = (free_port(), free_port());
    let daemon = Setup::new(&database.url).port(stays).port(goes).start();
    let load = Load::start(Plan {
        patience: secs(1),
        ..busy(goes)
    });
    load.wait_acks(200, ANSWER);
    daemon.edit_conf(|text| text.replace(&format!("[[port]]\nlisten = \"127.0.0.1:{goes}\""), ""));
    daemon.signal("HUP");
    daemon.wait_log(secs(5), &["thread ended", &goes.to_string()]);
    let report = load.finish();
    assert_eq!(report.check(&mut client), 0, "stored but not acked");
    let status = daemon.status();
    assert_eq!((status.ports.len(), status.queue_bytes), (1, 0));
}

#[test]
fn term_ends_a_server_that_never_reached_its_database_at_once() {
    let folder = Folder::new();
    let url = format!("postgresql:///nothing?host={}", folder.file("").display());
    let mut daemon = Setup::new(&url).port(free_port()).launch();
    eventually(ANSWER, "it runs", || daemon.try_status().is_some());
    let begun = Instant::now();
    daemon.signal("TERM");
    // Somebody who is impatient changes nothing.
    daemon.signal("TERM");
    daemon.signal("INT");
    let status = daemon.wait_end(secs(7));
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() < secs(3), "took {:?}", begun.elapsed());
}
