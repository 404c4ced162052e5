//! What must hold when a thread dies or hangs: another takes its place within seconds, whoever speaks to other ports does not
//! notice, whoever connects meanwhile is answered, and no acked record is lost or doubled.
//!
//! The faults are injected: the count before each lets so many packets or batches pass first. The tests send these one after
//! the other, so that it is known whom a fault meets.

use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::Client;
use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::kill;
use crate::harness::load::{Load, Plan};
use crate::harness::rows::{number, quarantine, records};
use crate::harness::{eventually, free_port, free_ports, imei, ms, postgres as pg, secs};

/// What an ack or a login answer may take where nothing is replaced. Well below every time-out, and with room for a busy machine.
const UNDISTURBED: Duration = secs(3);

/// A daemon with two ports and three devices, each of which has sent one packet: the fault to come meets the fourth.
struct Scene {
    daemon: Daemon,
    client: Client,
    port: u16,
    other_port: u16,
    /// On the port.
    victim: Device,
    /// On the port as well.
    witness: Device,
    /// On the other port.
    bystander: Device,
}

const VICTIM: u64 = 1;
const WITNESS: u64 = 2;
const BYSTANDER: u64 = 3;

fn scene(fault: &str, change: impl FnOnce(Setup) -> Setup) -> Scene {
    let (database, client) = pg::shared().migrated();
    let (port, other_port) = (free_port(), free_port());
    let setup = Setup::new(&database.url)
        .port(port)
        .port(other_port)
        .faults(fault);
    let daemon = change(setup).start();
    let begin = |port, number| {
        let mut device = Device::login(port, imei(number));
        device.deliver(&packet(0, 1));
        device
    };
    Scene {
        victim: begin(port, VICTIM),
        witness: begin(port, WITNESS),
        bystander: begin(other_port, BYSTANDER),
        daemon,
        client,
        port,
        other_port,
    }
}

/// Sends a packet every few milliseconds, each of which must be acked on the connection that is there. Returns the longest wait.
#[track_caller]
fn goes_on(device: &mut Device, from: u64, during: Duration) -> (u64, Duration) {
    let begun = Instant::now();
    let (mut second, mut slowest) = (from, Duration::ZERO);
    while begun.elapsed() < during {
        let sent = Instant::now();
        device.deliver(&packet(second, 1));
        slowest = slowest.max(sent.elapsed());
        second += 1;
        sleep(ms(20));
    }
    (second, slowest)
}

/// Logs in and returns the connection and how long the answer took.
#[track_caller]
fn timed_login(port: u16, number: u64) -> (Device, Duration) {
    let begun = Instant::now();
    (Device::login(port, imei(number)), begun.elapsed())
}

/// Sends a packet as a device does: on a new connection whenever the one before was closed, until it is acked. Returns the
/// connection and how long that took.
#[track_caller]
fn until_acked(port: u16, number: u64, packet: &[u8]) -> (Device, Duration) {
    let begun = Instant::now();
    loop {
        let mut device = Device::login(port, imei(number));
        device.send(packet);
        if let Some(count) = device.ack(ANSWER) {
            assert_eq!(count, u32::from(packet[9]));
            return (device, begun.elapsed());
        }
        assert!(begun.elapsed() < ANSWER, "never acked");
    }
}

/// Waits for a row of `port_event`.
#[track_caller]
fn wait_event(client: &mut Client, event: &str, thread: &str, reason: &str) {
    let sql = "SELECT count(*) FROM trackport.port_event WHERE event = $1 AND thread LIKE $2 AND reason LIKE $3";
    let (thread, reason) = (format!("%{thread}%"), format!("%{reason}%"));
    eventually(
        secs(10),
        &format!("{event} of {thread} in port_event"),
        || number(client, sql, &[&event, &thread, &reason]) > 0,
    );
}

#[test]
fn a_port_thread_that_panics_is_replaced_and_the_other_port_does_not_notice() {
    let mut scene = scene("port-packet=3*off->1*panic(poisoned)->off", |setup| setup);
    let poison = packet(1, 2);
    scene.victim.send(&poison);
    scene.witness.expect_closed(secs(3));
    let (mut witness, took) = timed_login(scene.port, WITNESS);
    assert!(took < secs(2), "the login took {took:?}");
    let (_, slowest) = goes_on(&mut scene.bystander, 1, secs(2));
    assert!(
        slowest < UNDISTURBED,
        "an ack on the other port took {slowest:?}"
    );
    witness.deliver(&packet(1, 4));
    assert_eq!(records(&mut scene.client, imei(WITNESS)), 5);
    scene.victim.expect_closed(secs(3));
    assert_eq!(
        records(&mut scene.client, imei(VICTIM)),
        1,
        "what was not acked may not be there"
    );
    let port = scene.port.to_string();
    scene
        .daemon
        .wait_log(secs(1), &["thread died", &port, "poisoned"]);
    wait_event(&mut scene.client, "death", &port, "poisoned");
    // The device whose bytes were read then is kept out for a while, and the bytes are kept.
    let mut again = Device::connect(scene.port);
    again.send(&login(imei(VICTIM)));
    again.expect_closed(ANSWER);
    scene
        .daemon
        .wait_log(secs(1), &["device kept out", &imei(VICTIM).to_string()]);
    let client = &mut scene.client;
    eventually(secs(5), "the bytes are in quarantine", || {
        !quarantine(client, imei(VICTIM)).is_empty()
    });
    let entry = &quarantine(client, imei(VICTIM))[0];
    assert_eq!((&entry.bytes, entry.acked), (&poison, false));
    assert!(entry.reason.contains("poisoned"), "{}", entry.reason);
    let status = scene.daemon.status();
    let thread = status
        .threads
        .iter()
        .find(|thread| thread.name.ends_with(&port))
        .unwrap();
    assert_eq!((thread.failures, thread.state.as_str()), (1, "running"));
    assert_eq!(status.receive_bytes, 0);
}

#[test]
fn a_port_thread_that_hangs_is_replaced_and_what_it_says_later_is_ignored() {
    let mut scene = scene("port-packet=3*off->1*sleep(5000)->off", |setup| setup);
    scene.victim.send(&packet(1, 2));
    let hangs_since = Instant::now();
    // Made while nobody serves the port: it waits in the listening socket.
    let early = timed_login(scene.port, 10);
    assert!(early.1 < secs(4), "the login took {:?}", early.1);
    let (_, slowest) = goes_on(&mut scene.bystander, 1, secs(2));
    assert!(
        slowest < UNDISTURBED,
        "an ack on the other port took {slowest:?}"
    );
    scene.witness.expect_closed(secs(3));
    let mut witness = timed_login(scene.port, WITNESS).0;
    let mut early = early.0;
    assert!(
        hangs_since.elapsed() < secs(5),
        "the thread is still to be hanging"
    );
    witness.deliver(&packet(1, 3));
    early.deliver(&packet(0, 1));
    let port = scene.port.to_string();
    scene.daemon.wait_log(secs(1), &["thread silent", &port]);
    wait_event(&mut scene.client, "silent", &port, "no heartbeat");
    // It comes back to life: nothing of what it holds is answered, and its successor's sessions stay.
    scene
        .daemon
        .wait_log(secs(10), &["retired thread ended", &port]);
    assert!(matches!(scene.victim.answer(4, ms(500)), Answer::Closed(bytes) if bytes.is_empty()));
    witness.deliver(&packet(4, 1));
    early.deliver(&packet(1, 1));
    assert_eq!(records(&mut scene.client, imei(WITNESS)), 5);
    assert_eq!(records(&mut scene.client, imei(10)), 2);
    let mut kept_out = Device::connect(scene.port);
    kept_out.send(&login(imei(VICTIM)));
    kept_out.expect_closed(ANSWER);
    assert_eq!(scene.daemon.count("thread silent"), 1);
    let client = &mut scene.client;
    eventually(secs(5), "the bytes are in quarantine", || {
        !quarantine(client, imei(VICTIM)).is_empty()
    });
}

#[test]
fn a_port_that_panics_again_and_again_is_restarted_with_growing_pauses() {
    let (database, mut client) = pg::shared().migrated();
    let (port, other_port) = (free_port(), free_port());
    // The warm-up of the other port's device, then five panics.
    let setup = Setup::new(&database.url).port(port).port(other_port);
    let daemon = setup.faults("port-packet=1*off->5*panic->off").start();
    let mut bystander = Device::login(other_port, imei(50));
    bystander.deliver(&packet(0, 1));
    for number in 0..5 {
        let (mut device, took) = timed_login(port, number);
        assert!(took < secs(4), "login {number} took {took:?}");
        device.send(&packet(0, 1));
        device.expect_closed(ANSWER);
    }
    let (_, slowest) = goes_on(&mut bystander, 1, secs(2));
    assert!(
        slowest < UNDISTURBED,
        "an ack on the other port took {slowest:?}"
    );
    let (mut sixth, took) = timed_login(port, 6);
    assert!(took < secs(4), "the login took {took:?}");
    sixth.deliver(&packet(0, 1));
    let status = daemon.status();
    let thread = status
        .threads
        .iter()
        .find(|thread| thread.name.ends_with(&port.to_string()))
        .unwrap();
    assert_eq!(thread.failures, 5);
    assert_eq!(records(&mut client, imei(6)), 1);
}

#[test]
fn port_panics_under_load_lose_and_double_nothing() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let faults = "port-packet=200*off->1*panic->200*off->1*panic->200*off->1*panic->off";
    let daemon = Setup::new(&database.url).port(port).faults(faults).start();
    let load = Load::start(Plan {
        n_devices: 20,
        n_records: 4,
        pause: ms(1),
        patience: secs(2),
        ..Plan::one(port, 1)
    });
    load.wait_acks(1000, secs(60));
    let report = load.finish();
    // A device whose thread died with its packet in hand does not know whether it was stored.
    assert!(report.check(&mut client) <= 3 * report.plan.n_records);
    assert_eq!(daemon.count("thread died"), 3);
}

#[test]
fn a_writer_that_panics_is_replaced_and_idle_sessions_stay() {
    let mut scene = scene("writer-batch=3*off->1*panic(no ink)->off", |setup| setup);
    let lost = packet(1, 2);
    scene.victim.send(&lost);
    // Its delivery is gone with the writer, so it has to send again.
    scene.victim.expect_closed(secs(3));
    let (_again, took) = until_acked(scene.port, VICTIM, &lost);
    assert!(took < secs(3), "login and ack took {took:?}");
    // Who had nothing there has not noticed.
    scene.witness.deliver(&packet(1, 1));
    let (_, slowest) = goes_on(&mut scene.bystander, 1, secs(1));
    assert!(slowest < UNDISTURBED, "an ack took {slowest:?}");
    assert_eq!(records(&mut scene.client, imei(VICTIM)), 3);
    scene
        .daemon
        .wait_log(secs(1), &["thread died", "writer-0", "no ink"]);
    wait_event(&mut scene.client, "death", "writer-0", "no ink");
}

#[test]
fn writer_panics_under_load_lose_and_double_nothing() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    // Some inside the database work, some before it.
    let faults = "writer-batch=20*off->1*panic->20*off->1*panic->off;writer-insert=30*off->1*panic->20*off->1*panic->off";
    let daemon = Setup::new(&database.url).port(port).faults(faults).start();
    let load = Load::start(Plan {
        n_devices: 20,
        n_records: 4,
        pause: ms(5),
        patience: secs(5),
        ..Plan::one(port, 1)
    });
    eventually(secs(60), "all four faults happened", || {
        daemon.count("thread died") == 4
    });
    load.wait_acks(200, secs(20));
    let report = load.finish();
    assert_eq!(report.check(&mut client), 0);
    assert!(
        report.slowest() < secs(10),
        "an ack took {:?}",
        report.slowest()
    );
}

/// The times of a writer that is replaced after three seconds; no spool takes its packets over before.
fn impatient(setup: Setup) -> Setup {
    setup.timeout("statement", "1 s").without_spool()
}

#[test]
fn a_writer_that_hangs_inside_the_database_is_replaced_and_its_work_never_counts() {
    let mut scene = scene("writer-insert=3*off->1*sleep(7000)->off", impatient);
    let stuck = packet(1, 2);
    scene.victim.send(&stuck);
    sleep(ms(100));
    // Behind it in the queue; it comes through with the next writer or is sent again.
    let load = Load::start(Plan {
        patience: secs(10),
        ..Plan::one(scene.other_port, 20)
    });
    // Logins do not depend on the writer.
    let (idle, took) = timed_login(scene.port, 30);
    assert!(took < UNDISTURBED, "the login took {took:?}");
    scene.victim.expect_closed(secs(6));
    let (_again, took) = until_acked(scene.port, VICTIM, &stuck);
    assert!(took < secs(4), "login and ack took {took:?}");
    scene
        .daemon
        .wait_log(secs(1), &["thread silent", "writer-0"]);
    scene
        .daemon
        .wait_log(secs(1), &["old backend ended", "writer-0"]);
    wait_event(&mut scene.client, "silent", "writer-0", "no heartbeat");
    scene
        .daemon
        .wait_log(secs(10), &["retired thread ended", "writer-0"]);
    load.wait_acks(20, ANSWER);
    let report = load.finish();
    assert!(
        report.slowest() < secs(7),
        "an ack took {:?}",
        report.slowest()
    );
    assert_eq!(records(&mut scene.client, imei(VICTIM)), 3);
    let client = &mut scene.client;
    let sql = "SELECT count(*) FROM trackport.record r JOIN trackport.device d ON d.id = r.device_id WHERE d.imei = $1";
    assert_eq!(
        number(client, sql, &[&imei(20).to_string()]),
        i64::try_from(report.n_acked()).unwrap()
    );
    drop(idle);
}

/// A process that is stopped until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Stopped {
        kill(pid, "STOP");
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(self.0, "CONT");
    }
}

#[test]
fn a_writer_whose_backend_is_frozen_is_replaced_while_it_is_frozen() {
    let mut scene = scene("", impatient);
    let pid = number(
        &mut scene.client,
        "SELECT pid::bigint FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'trackport/%/writer-0'",
        &[],
    );
    let frozen = Stopped::new(u32::try_from(pid).unwrap());
    let stuck = packet(1, 2);
    scene.victim.send(&stuck);
    scene.victim.expect_closed(secs(6));
    scene
        .daemon
        .wait_log(secs(1), &["thread silent", "writer-0"]);
    // While the old backend is still frozen.
    let (mut again, took) = until_acked(scene.port, VICTIM, &stuck);
    assert!(took < secs(8), "login and ack took {took:?}");
    let (_, slowest) = goes_on(&mut scene.bystander, 1, secs(1));
    assert!(slowest < UNDISTURBED, "an ack took {slowest:?}");
    drop(frozen);
    // The old backend wakes and is ended; what it had is not stored a second time.
    scene
        .daemon
        .wait_log(secs(10), &["retired thread ended", "writer-0"]);
    assert_eq!(records(&mut scene.client, imei(VICTIM)), 3);
    again.deliver(&packet(3, 1));
}

#[test]
fn with_too_many_threads_that_hang_the_process_ends_with_1() {
    let (database, _client) = pg::shared().migrated();
    let first = free_ports(8);
    let range = format!("\"127.0.0.1:{first}-{}\"", first + 7);
    let setup = Setup::new(&database.url)
        .listen(&range, "")
        .faults("port-packet=sleep(60000)");
    let mut daemon = setup.start();
    let devices: Vec<Device> = (first..first + 8)
        .map(|port| {
            let mut device = Device::login(port, imei(u64::from(port)));
            device.send(&packet(0, 1));
            device
        })
        .collect();
    let status = daemon.wait_end(secs(10));
    assert_eq!(status.code(), Some(1), "{status}");
    daemon.wait_log(secs(1), &["too many retired threads"]);
    drop(devices);
    // Started anew, as systemd does it, all is well.
    daemon.forget_faults();
    daemon.launch();
    daemon.wait_ready();
    Device::login(first, imei(1)).deliver(&packet(0, 1));
}
