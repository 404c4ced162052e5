//! What must hold under systemd: it always knows how things are, the watchdog is fed as long as the server could do its work, and
//! the journal gets a priority with every line.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::harness::daemon::{Folder, Setup};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::{free_port, imei, secs};

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
        let message = self.wait_message(begin, within);
        let mut lines = message.lines();
        let line = lines.find(|line| line.starts_with(begin));
        line.expect("it was found").to_owned()
    }

    /// The next message with a line that begins with `begin`; others are passed over.
    #[track_caller]
    fn wait_message(&self, begin: &str, within: Duration) -> String {
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
            if text.lines().any(|line| line.starts_with(begin)) {
                return text;
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
fn systemd_keeps_the_sockets_of_the_conf_and_no_others() {
    let (database, _client) = pg::shared().migrated();
    let (stays, goes) = (free_port(), free_port());
    let systemd = Systemd::new();
    let setup = Setup::new(&database.url).port(stays).port(goes);
    let daemon = systemd.setup(setup, secs(5)).launch();
    // Each by a name of its own, in which systemd allows no colon.
    for port in [stays, goes] {
        let message = systemd.wait_message("FDSTORE=1", ANSWER);
        let name = format!("FDNAME=127.0.0.1.{port}");
        assert!(message.lines().any(|line| line == name), "{message}");
    }
    systemd.wait("READY=1", ANSWER);
    daemon.wait_ready();
    let port = format!("[[port]]\nlisten = \"127.0.0.1:{goes}\"\n");
    daemon.edit_conf(|text| text.replace(&port, ""));
    daemon.signal("HUP");
    let message = systemd.wait_message("FDSTOREREMOVE=1", secs(5));
    let name = format!("FDNAME=127.0.0.1.{goes}");
    assert!(message.lines().any(|line| line == name), "{message}");
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
fn a_full_spool_beside_a_database_that_hangs_is_no_reason_to_be_killed() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let systemd = Systemd::new();
    // No disk has so much to keep free.
    let spool = format!(
        "directory = \"{}\"\nkeep_free = \"1024 TiB\"",
        systemd.folder.file("spool").display()
    );
    let setup = Setup::new(&database.url).port(port).spool(&spool);
    let daemon = systemd.setup(setup, secs(3)).launch();
    daemon.wait_log(ANSWER, &["spool full", "make room on its disk"]);
    daemon.wait_log(ANSWER, &["database connected", "writer-0"]);
    daemon.wait_log(ANSWER, &["device list loaded"]);
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.signal_all("STOP");
    device.send(&packet(1, 1));
    // Long enough for threads to be replaced, and for their successors to hang as well.
    systemd.expect_fed(secs(3), secs(20));
    assert!(daemon.is_alive());
    let answer = device.answer(1, secs(1));
    assert!(
        matches!(&answer, Answer::Closed(bytes) | Answer::Silence(bytes) if bytes.is_empty()),
        "acked by nobody: {answer:?}"
    );
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
