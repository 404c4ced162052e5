//! What must hold when something is scarce: locks in the database, room in the queue, descriptors, places for sessions. Who has
//! to wait waits, nothing is dropped, the others go on, and the log names the limit.

use std::process::Command;
use std::time::{Duration, Instant};

use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{Setup, started};
use crate::harness::device::{ANSWER, Answer, Device, encode, packet, record};
use crate::harness::load::{Load, Plan};
use crate::harness::rows::{all_records, number, records, while_locked};
use crate::harness::{
    cpu_ms, eventually, free_port, imei, join, kill, ms, postgres as pg, secs, spawn,
};

/// What an ack may take where nothing is scarce. Well below every time-out, and with room for a busy machine.
const UNDISTURBED: Duration = secs(3);

#[test]
fn a_lock_held_longer_than_a_statement_may_take_costs_time_and_nothing_else() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).without_spool().port(port).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
        device.send(&packet(1, 3));
        // The statement time-out is 3 s: the batch is given up and tried again meanwhile.
        device.expect_silence(secs(7));
    });
    assert_eq!(device.ack(secs(8)), Some(3), "on the same connection");
    assert_eq!(records(&mut client, imei(1)), 4);
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
}

#[test]
fn a_packet_resent_while_the_first_is_on_its_way_is_stored_once() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(100, 1));
    let mut last = while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
        // The device loses patience twice, and the last time it groups its records anew.
        device.send(&packet(0, 4));
        device.expect_silence(ms(200));
        drop(device);
        let mut second = Device::login(port, imei(1));
        second.send(&packet(0, 4));
        second.expect_silence(ms(200));
        let mut third = Device::login(port, imei(1));
        third.send(&packet(2, 4));
        third.expect_silence(ms(200));
        third
    });
    assert_eq!(last.ack(ANSWER), Some(4));
    last.deliver(&packet(0, 4));
    assert_eq!(records(&mut client, imei(1)), 7);
}

#[test]
fn a_full_queue_lets_devices_wait_drops_nothing_and_is_shared_by_the_ports() {
    let (database, mut client) = pg::shared().migrated();
    let (loud, quiet) = (free_port(), free_port());
    let daemon = Setup::new(&database.url)
        .port(loud)
        .port(quiet)
        .more("[limits]\nqueue = \"128 KiB\"")
        .start();
    let mut devices: Vec<Device> = (0..60)
        .map(|number| Device::login(loud, imei(number)))
        .collect();
    let mut late = Device::login(quiet, imei(99));
    late.deliver(&packet(0, 1));
    while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
        for device in &mut devices {
            device.send(&packet(0, 20));
        }
        daemon.wait_log(secs(3), &["queue full", &loud.to_string()]);
        late.send(&packet(1, 1));
        devices[59].expect_silence(ms(500));
        let status = daemon.status();
        assert!(
            status.queue_bytes <= status.queue_limit,
            "{} of {}",
            status.queue_bytes,
            status.queue_limit
        );
        // The quiet port has found room all the same.
        let waits = daemon.log_lines(&["queue full", &quiet.to_string()]);
        assert!(waits.is_empty(), "{waits:?}");
    });
    for device in &mut devices {
        assert_eq!(device.ack(ANSWER), Some(20));
    }
    assert_eq!(late.ack(ANSWER), Some(1));
    assert_eq!(all_records(&mut client), 60 * 20 + 2);
    eventually(secs(3), "all room is given back", || {
        daemon.status().queue_bytes == 0
    });
}

#[test]
fn housekeeping_that_waits_for_locks_delays_no_ack() {
    let (daemon, mut client, port) = started();
    let load = Load::start(Plan {
        n_devices: 5,
        ..Plan::one(port, 1)
    });
    load.wait_acks(20, ANSWER);
    let tables = "trackport.latest, trackport.device_state, trackport.port_event, trackport.login_attempt, trackport.avl_id
                  IN ACCESS EXCLUSIVE MODE";
    while_locked(&mut client, tables, || load.wait_acks(200, secs(20)));
    let report = load.finish();
    assert!(
        report.slowest() < UNDISTURBED,
        "an ack took {:?}",
        report.slowest()
    );
    assert_eq!(report.n_reconnects(), 0);
    assert_eq!(report.check(&mut client), 0);
    // Afterwards it catches up.
    let behind = "SELECT count(*) FROM trackport.latest l JOIN (SELECT device_id, max(time) AS time FROM trackport.record GROUP BY 1) r
                  USING (device_id) WHERE l.time = r.time";
    eventually(secs(15), "the latest positions are the newest", || {
        number(&mut client, behind, &[]) == 5
    });
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
}

#[test]
fn a_device_list_that_is_locked_keeps_no_known_device_waiting() {
    let (_daemon, mut client, port) = started();
    Device::login(port, imei(1)).deliver(&packet(0, 1));
    while_locked(
        &mut client,
        "trackport.device IN ACCESS EXCLUSIVE MODE",
        || {
            for second in 1..10 {
                let begun = Instant::now();
                Device::login(port, imei(1)).deliver(&packet(second, 1));
                assert!(begun.elapsed() < UNDISTURBED, "took {:?}", begun.elapsed());
            }
            let mut stranger = Device::connect(port);
            stranger.send(&login(imei(2)));
            stranger.expect_silence(secs(1));
        },
    );
    // Let in once it can be registered.
    eventually(secs(15), "a new device is let in", || {
        Device::try_login(port, imei(3)).is_some()
    });
    assert_eq!(records(&mut client, imei(1)), 10);
}

#[test]
fn a_whole_fleet_that_connects_at_once_is_let_in_and_served() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    // Who waits longer than this for his turn is not let in; a busy machine takes its time.
    let setup = Setup::new(&database.url).timeout("login", "15 s");
    let daemon = setup.port(port).start();
    let good = {
        Device::login(port, imei(5000)).deliver(&packet(0, 1));
        Load::start(Plan::one(port, 5000))
    };
    // All of them new, so each has to be registered; all connections are made before any answer is read.
    let mut devices: Vec<Device> = (0..600)
        .map(|number| {
            let mut device = Device::connect(port);
            device.send(&[login(imei(number)), packet(0, 1)].concat());
            device
        })
        .collect();
    for (number, device) in devices.iter_mut().enumerate() {
        assert_eq!(
            device.answer(5, secs(15)),
            Answer::Bytes(vec![1, 0, 0, 0, 1]),
            "device {number}"
        );
    }
    let report = good.finish();
    assert!(
        report.slowest() < secs(3),
        "an ack of the one that was there took {:?}",
        report.slowest()
    );
    assert_eq!(
        all_records(&mut client),
        600 + i64::try_from(report.n_acked()).unwrap()
    );
    assert_eq!(daemon.status().ports[0].sessions, 600);
    drop(devices);
    eventually(secs(5), "all have left", || {
        daemon.status().ports[0].sessions == 0
    });
}

#[test]
fn without_descriptors_those_who_are_there_go_on_and_others_come_in_later() {
    let (daemon, mut client, port) = started();
    let mut inside = Device::login(port, imei(1));
    inside.deliver(&packet(0, 1));
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .count();
    let limit = |n: usize| {
        let status = Command::new("prlimit")
            .args([
                format!("--pid={}", daemon.pid()),
                format!("--nofile={n}:4096"),
            ])
            .status()
            .unwrap();
        assert!(status.success());
    };
    limit(open + 5);
    let mut others: Vec<Device> = (10..30).map(|_| Device::connect(port)).collect();
    daemon.wait_log(secs(5), &["no descriptors left"]);
    let begun = Instant::now();
    for second in 1..20 {
        inside.deliver(&packet(second, 1));
    }
    assert!(begun.elapsed() < secs(3), "took {:?}", begun.elapsed());
    // It waits for descriptors without spinning.
    let busy = cpu_ms(daemon.pid());
    std::thread::sleep(secs(1));
    let busy = cpu_ms(daemon.pid()) - busy;
    assert!(
        busy < 500,
        "{busy} ms of a second spent waiting for descriptors"
    );
    limit(4096);
    for (number, device) in (10..).zip(&mut others) {
        device.send(&login(imei(number)));
        assert_eq!(
            device.answer(1, ANSWER),
            Answer::Bytes(vec![1]),
            "device {number}"
        );
    }
    assert_eq!(records(&mut client, imei(1)), 20);
    assert_eq!(daemon.count("thread died"), 0);
}

#[test]
fn a_port_has_so_many_sessions_and_no_more() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .more("[limits]\nsessions_per_port = 3")
        .start();
    let mut inside: Vec<Device> = (0..3)
        .map(|number| Device::login(port, imei(number)))
        .collect();
    let mut fourth = Device::connect(port);
    fourth.expect_closed(ANSWER);
    daemon.wait_log(secs(1), &["port full", "sessions_per_port"]);
    inside[2].deliver(&packet(0, 1));
    inside.remove(0);
    eventually(secs(5), "there is a place again", || {
        Device::try_login(port, imei(4)).is_some()
    });
}

#[test]
fn two_writers_share_the_devices_and_double_nothing() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).write();
    daemon
        .edit_conf(|text| text.replace("[devices]", "writers = 2\nbatch_records = 255\n[devices]"));
    daemon.launch();
    daemon.wait_ready();
    let load = Load::start(Plan {
        n_devices: 20,
        n_records: 20,
        pause: ms(0),
        ..Plan::one(port, 1)
    });
    load.wait_acks(400, secs(30));
    let report = load.finish();
    assert_eq!(report.check(&mut client), 0);
    let status = daemon.status();
    assert_eq!(status.writers.len(), 2);
    assert!(
        status.writers.iter().all(|writer| writer.records > 0),
        "{:?}",
        status.writers
    );
}

#[test]
fn an_idle_server_costs_no_processor_time() {
    let (daemon, _client, port) = started();
    let idle: Vec<Device> = (0..50)
        .map(|number| Device::login(port, imei(number)))
        .collect();
    std::thread::sleep(secs(1));
    let before = cpu_ms(daemon.pid());
    std::thread::sleep(secs(3));
    let used = cpu_ms(daemon.pid()) - before;
    assert!(
        used <= 300,
        "{used} ms in 3 s with {} idle devices",
        idle.len()
    );
}

#[test]
fn a_port_that_stops_waits_for_its_receipts_without_spinning() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    let mut other = Device::login(port, imei(2));
    while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
        device.send(&packet(0, 1));
        device.expect_silence(ms(300));
        daemon.signal("TERM");
        daemon.wait_log(secs(3), &["stopping within"]);
        // What nobody reads any more, and who nobody lets in any more.
        other.send(&[0xFF; 8]);
        let _waiting = Device::try_connect(port);
        let before = cpu_ms(daemon.pid());
        std::thread::sleep(secs(1));
        let used = cpu_ms(daemon.pid()) - before;
        assert!(used <= 300, "{used} ms of a second spent waiting");
    });
    assert_eq!(device.ack(ANSWER), Some(1));
}

#[test]
fn everything_at_once_loses_and_doubles_nothing() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let load = Load::start(Plan {
        n_devices: 16,
        n_records: 3,
        pause: ms(2),
        patience: secs(15),
        ..Plan::one(port, 1)
    });
    for round in 0..4 {
        load.wait_acks(100, secs(30));
        daemon.signal("USR1");
        let url = database.url.clone();
        let chaos = spawn(move || {
            let mut client = pg::connect(&url);
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name LIKE 'trackport/%'";
            number(&mut client, end, &[]);
            while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
                std::thread::sleep(ms(500));
            });
            number(&mut client, end, &[]);
        });
        for _ in 0..5 {
            daemon.signal("HUP");
            std::thread::sleep(ms(100));
        }
        if round % 2 == 1 {
            daemon.kill();
            daemon.launch();
        }
        join(chaos);
    }
    load.wait_acks(100, secs(30));
    let report = load.finish();
    assert_eq!(report.check(&mut client), 0);
    assert!(report.seen.iter().all(|seen| seen.acked > 0));
    // A frozen program goes on where it was.
    daemon.wait_ready();
    kill(daemon.pid(), "STOP");
    std::thread::sleep(secs(3));
    kill(daemon.pid(), "CONT");
    Device::login(port, imei(1)).deliver(&packet(50_000, 1));
    std::thread::sleep(ms(500));
    assert_eq!(
        daemon.count("thread silent"),
        0,
        "everybody stood still, nobody hangs"
    );
}

#[test]
fn both_address_families_reach_a_port_that_is_a_number() {
    let (database, mut client) = pg::shared().migrated();
    let (any, local) = (free_port(), free_port());
    let daemon = Setup::new(&database.url)
        .listen(&any.to_string(), "")
        .listen(&format!("\"localhost:{local}\""), "")
        .start();
    Device::login(any, imei(1)).deliver(&packet(0, 1));
    Device::login(local, imei(2)).deliver(&packet(0, 1));
    let six = |port: u16| std::net::TcpStream::connect((std::net::Ipv6Addr::LOCALHOST, port));
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        assert!(
            six(any).is_ok() && six(local).is_ok(),
            "IPv6 is here and not served"
        );
        let labels: Vec<String> = daemon
            .status()
            .ports
            .into_iter()
            .map(|port| port.label)
            .collect();
        assert!(
            labels.contains(&format!("[::]:{any}")) && labels.contains(&format!("[::1]:{local}")),
            "{labels:?}"
        );
    } else {
        assert!(six(any).is_err());
        assert!(
            !daemon.log_lines(&["port bound in part"]).is_empty(),
            "one family is missing, and nothing is said"
        );
    }
    // An address is shown as what it is, whichever family the socket is of.
    let extended = encode(Codec::Codec8Extended, &[record(5)]);
    Device::login(any, imei(1)).deliver(&extended);
    let sql = "SELECT count(*) FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
               WHERE d.imei = $1 AND host(address) = '127.0.0.1'";
    eventually(secs(5), "the address", || {
        number(&mut client, sql, &[&imei(1).to_string()]) == 1
    });
}
