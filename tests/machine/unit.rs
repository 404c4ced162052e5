//! The unit under a real systemd: started, reloaded, signalled, killed, starved and misconfigured, as an operator and a bad day do.

use std::fs;

use crate::harness::daemon::{BINARY, text};
use crate::harness::device::{Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::{eventually, imei, secs};
use crate::root::Root;
use crate::service::{PATIENCE, PORT, Service, UNIT, conf, conf_file};

#[test]
fn it_is_ready_when_it_takes_devices_and_reads_its_conf_again() {
    let Some(service) = Service::install() else {
        return;
    };
    // Type=notify: start returns when it is ready, and then nobody is refused.
    service.0.must(&["systemctl", "start", UNIT]);
    service.0.inside(|| drop(Device::connect(PORT)));
    service.wait_all_well();
    let mut device = service.0.inside(|| Device::login(PORT, imei(1)));
    device.deliver(&packet(0, 1));
    eventually(PATIENCE, "the status line", || {
        service.status_text().starts_with("1 ports, 1 sessions")
    });
    let shown = service.0.shell("systemctl status trackport");
    assert!(shown.contains("Status: \"1 ports"), "{shown}");

    // A good conf is taken up, and sessions stay.
    service.edit_conf(&conf("", "[[port]]\nlisten = 5028"));
    service.0.must(&["systemctl", "reload", UNIT]);
    eventually(PATIENCE, "the new port", || {
        service.0.inside(|| Device::try_connect(5028).is_ok())
    });
    device.deliver(&packet(1, 1));
    // A bad one is refused before the server is asked, with the place of the mistake.
    let cursor = service.journal_cursor();
    service.edit_conf(&conf("[timeouts]\nstop = \"5 parsecs\"", ""));
    let reload = service.0.run(&["systemctl", "reload", UNIT]);
    assert!(!reload.status.success(), "a bad conf was taken");
    let said = service.0.must(&[
        "journalctl",
        "--unit",
        UNIT,
        "--output=cat",
        "--after-cursor",
        &cursor,
    ]);
    assert!(
        said.contains("trackport.toml:") && said.contains("5 parsecs"),
        "{said}"
    );
    assert_eq!(service.0.property(UNIT, "ActiveState"), "active");
    device.deliver(&packet(2, 1));
    service.0.inside(|| drop(Device::connect(5028)));

    // The signals by systemd's own command.
    service.0.must(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=USR2",
        UNIT,
    ]);
    service
        .0
        .wait_journal(UNIT, PATIENCE, &["state", "writer-0"]);
    service.0.must(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=USR1",
        UNIT,
    ]);
    service
        .0
        .wait_journal(UNIT, PATIENCE, &["restarting threads="]);
    service.0.wait_journal(
        UNIT,
        PATIENCE,
        &["thread started", "writer-0", "generation=1"],
    );
    assert_eq!(service.n_restarts(), 0);
    // TERM is an orderly end, after which it stays down.
    service.0.must(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=TERM",
        UNIT,
    ]);
    service
        .0
        .wait_property(UNIT, "ActiveState", "inactive", PATIENCE);
    assert_eq!(service.0.property(UNIT, "Result"), "success");
    let rows: i64 = {
        let mut client = service.database();
        client
            .query_one("SELECT count(*) FROM trackport.record", &[])
            .unwrap()
            .get(0)
    };
    assert_eq!(rows, 3);
}

#[test]
fn it_is_started_again_after_a_kill_and_after_silence() {
    let Some(service) = Service::install_with(|root| {
        let drop_in = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=3\n";
        root.write("/etc/systemd/system/trackport.service.d/fast.conf", drop_in);
    }) else {
        return;
    };
    service.start();
    let first = service.pid();
    service.0.must(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=KILL",
        UNIT,
    ]);
    eventually(PATIENCE, "a second process", || {
        service.pid() != first && service.pid() != 0
    });
    assert_eq!(service.n_restarts(), 1);
    service.wait_all_well();
    // A database that is away is said and is no reason to end it: acks come from the spool, the watchdog is fed.
    let load = service.0.inside(|| Load::start(Plan::one(PORT, 1)));
    load.wait_acks(3, PATIENCE);
    service.0.must(&["systemctl", "stop", "postgresql@15-main"]);
    eventually(PATIENCE, "degraded", || {
        service.status_text().contains("degraded")
    });
    load.wait_acks(3, PATIENCE);
    // More than twice as long as the watchdog waits.
    std::thread::sleep(secs(7));
    assert_eq!(service.0.property(UNIT, "ActiveState"), "active");
    assert_eq!(service.n_restarts(), 1);
    service
        .0
        .must(&["systemctl", "start", "postgresql@15-main"]);
    service.wait_all_well();
    // A process that stands still is ended by the watchdog and replaced.
    let second = service.pid();
    service.0.must(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=STOP",
        UNIT,
    ]);
    eventually(PATIENCE, "a third process", || {
        service.pid() != second && service.pid() != 0
    });
    assert_eq!(service.n_restarts(), 2);
    service
        .0
        .wait_journal("init.scope", PATIENCE, &["Watchdog timeout", "trackport"]);
    service.wait_all_well();
}

#[test]
fn a_wrong_conf_or_wrong_usage_ends_it_for_good() {
    let Some(service) = Service::install() else {
        return;
    };
    service.edit_conf("[[port]]\nlisten = 99999\n");
    assert!(
        !service
            .0
            .run(&["systemctl", "start", UNIT])
            .status
            .success()
    );
    let state = || {
        (
            service.0.property(UNIT, "ActiveState"),
            service.0.property(UNIT, "ExecMainStatus"),
        )
    };
    let failed = |status: &str| ("failed".to_owned(), status.to_owned());
    assert_eq!(state(), failed("78"));
    service
        .0
        .wait_journal(UNIT, PATIENCE, &["trackport.toml:", "99999"]);
    service.edit_conf(&conf("", ""));
    service.0.root().write(
        "/etc/sysconfig/trackport",
        "TRACKPORT_OPTIONS=--no-such-option\n",
    );
    assert!(
        !service
            .0
            .run(&["systemctl", "start", UNIT])
            .status
            .success()
    );
    assert_eq!(state(), failed("64"));
    // Longer than RestartSec: nobody tries again.
    std::thread::sleep(secs(3));
    assert_eq!((state(), service.n_restarts()), (failed("64"), 0));
    // And with the mistake mended nothing keeps it from starting.
    service
        .0
        .root()
        .write("/etc/sysconfig/trackport", "RUST_LOG=trackport=debug\n");
    service.start();
    service.0.inside(|| drop(Device::login(PORT, imei(1))));
    service.0.wait_journal(UNIT, PATIENCE, &["connected port"]);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_files_and_little_that_the_service_may_do() {
    let Some(root) = Root::new() else {
        return;
    };
    root.install(BINARY, "/usr/bin/trackport", 0o755);
    let units = [
        "trackport.service",
        "trackport.socket",
        "trackport-restart.service",
        "trackport-restart.timer",
    ];
    for unit in units {
        root.install(
            conf_file(unit),
            &format!("/etc/systemd/system/{unit}"),
            0o644,
        );
    }
    let low_ports = "/etc/systemd/system/trackport.service.d/low-ports.conf";
    root.install(conf_file("trackport-low-ports.conf"), low_ports, 0o644);
    // Not whether the man page is there.
    let verify =
        |root: &Root| root.run(&[&["systemd-analyze", "verify", "--man=no"], &units[..]].concat());
    let verified = verify(&root);
    // A key that it does not know is only told, and ends well.
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{}",
        text(&verified.stderr)
    );
    let unit = root.read("/etc/systemd/system/trackport.service");
    root.write(
        "/etc/systemd/system/trackport.service",
        unit.replace("NoNewPrivileges", "NoNewPrivilege"),
    );
    let verified = text(&verify(&root).stderr);
    assert!(
        verified.contains("NoNewPrivilege"),
        "a misspelt key is seen: {verified}"
    );
    // At most 1.5 of 10, without the right to a low port.
    fs::remove_file(root.path(low_ports)).unwrap();
    root.write("/etc/systemd/system/trackport.service", &unit);
    let judge = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=15",
        "trackport.service",
    ];
    root.must(&judge);
}

#[test]
fn it_runs_with_no_more_rights_than_it_needs() {
    let Some(service) = Service::install() else {
        return;
    };
    service.start();
    let pid = service.pid();
    let status = service.0.shell(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim_start_matches(':').trim().to_owned())
            .unwrap_or_default()
    };
    let none = "0000000000000000";
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), none, "{set}");
    }
    assert_eq!(
        (field("Seccomp"), field("NoNewPrivs")),
        ("2".to_owned(), "1".to_owned())
    );
    let uid = service.0.shell("id -u trackport");
    assert_eq!(
        field("Uid").split_whitespace().next(),
        Some(uid.trim()),
        "a user of its own"
    );
    // No more than this machine itself may have.
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let files = hard.unwrap_or(u64::MAX).min(65_536).to_string();
    let limits = service.0.shell(&format!("cat /proc/{pid}/limits"));
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    assert_eq!(
        line.unwrap().split_whitespace().nth(3),
        Some(files.as_str())
    );
    let folders = service
        .0
        .shell("stat -c '%U %a' /var/lib/trackport /run/trackport");
    assert_eq!(folders, "trackport 750\ntrackport 750\n");
    // As systemd itself judges it.
    let judged = service
        .0
        .shell("systemd-analyze security --threshold=15 trackport.service");
    assert!(judged.contains("Overall exposure level"), "{judged}");
    // The journal has its lines, with the priorities that they were written with.
    let mut stranger = service.0.inside(|| Device::connect(PORT));
    stranger.send(b"GET / HTTP/1.1\r\n\r\n");
    stranger.expect_closed(secs(10));
    let warned = [
        "journalctl",
        "--unit",
        UNIT,
        "--priority=warning",
        "--output=cat",
    ];
    eventually(PATIENCE, "a warning", || {
        text(&service.0.run(&warned).stdout).contains("not the protocol")
    });
    let warned = service.0.must(&warned);
    assert!(!warned.contains("daemon ready"), "{warned}");
    service.0.must(&["systemctl", "stop", UNIT]);
}

#[test]
fn the_password_of_the_database_comes_from_a_credential() {
    let Some(service) = Service::install() else {
        return;
    };
    // Over TCP, Debian's PostgreSQL asks for a password, by scram.
    service.edit_conf(&conf(
        "[database]\nurl = \"postgresql://trackport@127.0.0.1/trackport\"",
        "",
    ));
    service
        .0
        .shell("cd /; su postgres -c \"psql -qc \\\"ALTER ROLE trackport PASSWORD 'se cret'\\\"\"");
    service.0.must(&["systemctl", "start", UNIT]);
    service.0.wait_journal(UNIT, PATIENCE, &["password"]);
    service
        .0
        .root()
        .write("/etc/credstore/trackport.database_password", "se cret\n");
    service
        .0
        .shell("chmod 700 /etc/credstore; chmod 600 /etc/credstore/*");
    service.0.must(&["systemctl", "restart", UNIT]);
    service.wait_all_well();
    let mut device = service.0.inside(|| Device::login(PORT, imei(1)));
    device.deliver(&packet(0, 1));
    // It is in no place that others can read.
    let pid = service.pid();
    let environment = fs::read(format!("/proc/{}/environ", service.pid_here(pid))).unwrap();
    assert!(!text(&environment).contains("se cret"));
    // Or from libpq's own file, which the service's user alone may read.
    service.0.shell(
        "rm /etc/credstore/*
         echo '127.0.0.1:*:*:trackport:se cret' >/etc/trackport/pgpass
         chown trackport: /etc/trackport/pgpass; chmod 600 /etc/trackport/pgpass
         mkdir -p /etc/sysconfig; echo PGPASSFILE=/etc/trackport/pgpass >/etc/sysconfig/trackport",
    );
    service.0.must(&["systemctl", "restart", UNIT]);
    service.wait_all_well();
}

#[test]
fn ports_below_1024_need_the_drop_in() {
    let Some(service) = Service::install() else {
        return;
    };
    service.edit_conf(&conf("", "[[port]]\nlisten = 502"));
    service.0.must(&["systemctl", "start", UNIT]);
    service.0.wait_journal(
        UNIT,
        PATIENCE,
        &["port not bound", "502", "CAP_NET_BIND_SERVICE"],
    );
    let drop_in = fs::read_to_string(conf_file("trackport-low-ports.conf")).unwrap();
    service.drop_in("low-ports", &drop_in);
    service.0.must(&["systemctl", "restart", UNIT]);
    service.0.inside(|| drop(Device::connect(502)));
}
