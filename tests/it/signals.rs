//! What must hold when the operator or systemd speaks to the running server: a reload touches only what was changed, a restart
//! of all threads and a stop lose and double nothing, and systemd always knows how things are.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::thread::sleep;
use std::time::{Duration, Instant};

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
        daemon.status().troubles.is_empty()
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

/// What systemd is told, by datagrams.
struct Systemd {
    folder: Folder,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Systemd {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.file("notify")).unwrap();
        Systemd { folder, socket }
    }

    fn setup(&self, setup: Setup, watchdog: Duration) -> Setup {
        setup
            .env("NOTIFY_SOCKET", self.folder.file("notify"))
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
    }

    /// The next line that begins with `begin`; others are passed over.
    #[track_caller]
    fn wait(&self, begin: &str, within: Duration) -> String {
        let until = Instant::now() + within;
        let mut buffer = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "systemd was not told {begin:?} within {within:?}"
            );
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok(n) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if let Some(line) = text.lines().find(|line| line.starts_with(begin)) {
                return line.to_owned();
            }
        }
    }

    /// Sees that the watchdog is fed all the time.
    #[track_caller]
    fn expect_fed(&self, period: Duration, during: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < during {
            self.wait("WATCHDOG=1", period);
        }
    }
}

#[test]
fn systemd_is_told_everything_in_its_turn() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let systemd = Systemd::new();
    let mut daemon = systemd
        .setup(Setup::new(&database.url).port(port), secs(2))
        .launch();
    systemd.wait("READY=1", ANSWER);
    daemon.wait_ready();
    Device::login(port, imei(1)).deliver(&packet(0, 1));
    let status = systemd.wait("STATUS=1 ports", secs(5));
    assert!(status.contains("sessions"), "{status}");
    systemd.expect_fed(secs(2), secs(3));
    daemon.signal("HUP");
    systemd.wait("RELOADING=1", secs(5));
    systemd.wait("READY=1", secs(5));
    daemon.signal("TERM");
    systemd.wait("STOPPING=1", secs(5));
    assert_eq!(daemon.wait_end(secs(7)).code(), Some(0));
}

#[test]
fn reloading_says_since_when() {
    let (database, _client) = pg::shared().migrated();
    let systemd = Systemd::new();
    let daemon = systemd
        .setup(Setup::new(&database.url).port(free_port()), secs(5))
        .launch();
    systemd.wait("READY=1", ANSWER);
    daemon.signal("HUP");
    let line = systemd.wait("MONOTONIC_USEC=", secs(5));
    assert!(
        line["MONOTONIC_USEC=".len()..].parse::<u64>().is_ok(),
        "{line}"
    );
    // A conf that is refused ends the reload too, else systemd waits for it.
    systemd.wait("READY=1", secs(5));
    daemon.edit_conf(|text| format!("{text}\nnonsense = 1\n"));
    daemon.signal("HUP");
    systemd.wait("RELOADING=1", secs(5));
    systemd.wait("READY=1", secs(5));
}

#[test]
fn a_database_that_is_away_is_no_reason_to_be_killed() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    cluster.stop_server("fast");
    let systemd = Systemd::new();
    let setup = Setup::new(&database.url).port(free_port());
    let daemon = systemd.setup(setup, secs(2)).launch();
    systemd.wait("READY=1", ANSWER);
    let status = systemd.wait("STATUS=1 ports", secs(5));
    assert!(status.contains("degraded"), "{status}");
    systemd.expect_fed(secs(2), secs(4));
    cluster.start_server();
    daemon.wait_ready();
    systemd.expect_fed(secs(2), secs(3));
    cluster.stop_server("fast");
    systemd.expect_fed(secs(2), secs(4));
}

#[test]
fn a_database_that_hangs_is_no_reason_to_be_killed() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let systemd = Systemd::new();
    // As with the unit file and the defaults: the watchdog waits for less than the writer's time-outs together.
    let daemon = systemd
        .setup(Setup::new(&database.url).port(port), secs(3))
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.signal_all("STOP");
    device.send(&packet(1, 1));
    systemd.expect_fed(secs(3), secs(12));
    assert!(daemon.is_alive());
    cluster.signal_all("CONT");
}

#[test]
fn under_systemd_every_line_has_a_priority_of_the_journal() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url)
        .port(port)
        .env("JOURNAL_STREAM", "8:12345")
        .start();
    let mut stranger = Device::connect(port);
    stranger.send(b"GET / HTTP/1.1\r\n\r\n");
    stranger.expect_closed(ANSWER);
    daemon.edit_conf(|text| format!("{text}\nnonsense = 1\n"));
    daemon.signal("HUP");
    daemon.wait_log(secs(5), &["conf refused"]);
    assert_eq!(daemon.stop(), Some(0));
    let log = daemon.log();
    let priority = |line: &str| line.get(..3).map(ToOwned::to_owned);
    for line in log.lines() {
        assert!(
            priority(line)
                .is_some_and(|word| ["<3>", "<4>", "<5>", "<6>", "<7>"].contains(&word.as_str())),
            "a line without a priority: {line}"
        );
    }
    for (words, wanted) in [
        ("conf refused", "<3>"),
        ("not the protocol", "<4>"),
        ("thread started", "<6>"),
        ("connected port", "<7>"),
    ] {
        let line = log
            .lines()
            .find(|line| line.contains(words))
            .unwrap_or_else(|| panic!("no line with {words:?}"));
        assert_eq!(priority(line).as_deref(), Some(wanted), "{line}");
    }
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
