//! What must hold when a thread of the spool dies or hangs, or a writer does while the database is away: another takes its place,
//! nothing is acked that is not durable, nothing acked is lost or doubled, and no packet stops a thread for ever.

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::postgres::{self as pg, Cluster, Database};
use crate::harness::rows::{quarantine, records};
use crate::harness::{eventually, free_port, imei, secs};

/// Times with which a thread that hangs is replaced after three seconds.
fn quick(database: &Database, port: u16) -> Setup {
    Setup::new(&database.url)
        .port(port)
        .timeout("statement", "1 s")
        .timeout("ack_target", "500 ms")
}

/// Twenty devices that send again what is not acked within a few seconds.
fn fleet(port: u16) -> Load {
    Load::start(Plan {
        n_devices: 20,
        n_records: 3,
        patience: secs(10),
        ..Plan::one(port, 1)
    })
}

/// A fleet whose database goes away while these faults wait for the threads, until `n` threads failed and acks go on; then the
/// database comes back and everything must be there.
fn through_an_outage(faults: &str, failure: &str, n: u64) {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = quick(&database, port).faults(faults).start();
    let load = fleet(port);
    load.wait_acks(40, secs(20));
    cluster.stop_server("fast");
    eventually(secs(60), &format!("{failure}, {n} times"), || {
        daemon.count(failure) >= n
    });
    load.wait_acks(100, secs(30));
    cluster.start_server();
    load.wait_acks(100, secs(30));
    let report = load.finish();
    daemon.wait_drained(secs(30));
    assert_eq!(daemon.count(failure), n);
    report.check(&mut database.connect());
}

#[test]
fn a_spool_thread_that_panics_acks_nothing_that_is_not_safe_and_its_successor_goes_on() {
    // Before the disk was asked, and between the sync and the acks.
    let faults = "spool-append=3*off->1*panic->10*off->1*panic->off;spool-synced=6*off->1*panic->10*off->1*panic->off";
    through_an_outage(faults, "thread died", 4);
}

#[test]
fn a_spool_thread_that_hangs_is_replaced_and_what_it_says_later_is_ignored() {
    // Longer than a thread may be silent; the second one hangs with a group that is safe already.
    let faults = "spool-append=3*off->1*sleep(8000)->off;spool-synced=20*off->1*sleep(8000)->off";
    through_an_outage(faults, "thread silent", 2);
}

#[test]
fn a_writer_that_panics_while_the_database_is_away_loses_nothing() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = quick(&database, port)
        .faults("writer-batch=5*off->1*panic->off")
        .start();
    // Devices that the database knows: packets of others go past the writers.
    for number in 1..=20 {
        Device::login(port, imei(number));
    }
    // Five batches; the sixth is the first that the database does not take.
    let mut device = Device::login(port, imei(90));
    for second in 0..5 {
        device.deliver(&packet(second, 1));
    }
    cluster.stop_server("fast");
    let load = fleet(port);
    load.wait_acks(100, secs(30));
    cluster.start_server();
    load.wait_acks(100, secs(30));
    let report = load.finish();
    daemon.wait_drained(secs(30));
    daemon.wait_log(secs(1), &["thread died", "writer-0"]);
    report.check(&mut database.connect());
}

/// A daemon that lies down with packets of an outage in its spool, to be started with faults: of devices 1 to 3 by turns.
fn with_a_backlog(cluster: &Cluster) -> (Daemon, Database, u64) {
    const N: u64 = 20;
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let mut daemon = quick(&database, port).start();
    let mut devices: Vec<Device> = (1..=3).map(|n| Device::login(port, imei(n))).collect();
    for device in &mut devices {
        device.deliver(&packet(0, 1));
    }
    cluster.stop_server("fast");
    for second in 1..=N {
        for device in &mut devices {
            device.deliver(&packet(second, 1));
        }
    }
    daemon.kill();
    cluster.start_server();
    (daemon, database, N + 1)
}

#[test]
fn a_drain_that_dies_between_storing_and_letting_go_doubles_nothing() {
    let cluster = Cluster::start();
    let (mut daemon, database, n_sent) = with_a_backlog(&cluster);
    daemon.inject_faults("drain-stored=1*panic->5*off->1*panic->off");
    daemon.launch();
    daemon.wait_serving();
    daemon.wait_drained(secs(30));
    assert_eq!(daemon.count("thread died"), 2);
    let mut client = database.connect();
    for number in 1..=3 {
        assert_eq!(
            records(&mut client, imei(number)),
            i64::try_from(n_sent).unwrap()
        );
        assert!(quarantine(&mut client, imei(number)).is_empty());
    }
}

#[test]
fn a_packet_that_stops_the_drain_again_and_again_is_kept_in_quarantine_and_the_rest_goes_on() {
    let cluster = Cluster::start();
    let (mut daemon, database, n_sent) = with_a_backlog(&cluster);
    let port = free_port();
    // One packet of a device whose packets are poison, behind the others' backlog and before one more of them.
    cluster.stop_server("fast");
    daemon.edit_conf(|text| format!("{text}[[port]]\nlisten = \"127.0.0.1:{port}\"\n"));
    daemon.launch();
    daemon.wait_serving();
    let poison = packet(0, 2);
    Device::login(port, imei(9)).deliver(&poison);
    Device::login(port, imei(1)).deliver(&packet(n_sent, 1));
    daemon.kill();
    daemon.inject_faults(&format!("encode-packet=return({})", imei(9)));
    cluster.start_server();
    daemon.launch();
    daemon.wait_serving();
    daemon.wait_drained(secs(60));
    // In company once, alone twice.
    assert_eq!(daemon.count("thread died"), 3);
    let mut client = database.connect();
    let n_sent = i64::try_from(n_sent).unwrap();
    let counts = [1, 2, 3, 9].map(|number| records(&mut client, imei(number)));
    assert_eq!(counts, [n_sent + 1, n_sent, n_sent, 0]);
    let kept = quarantine(&mut client, imei(9));
    assert_eq!(kept.len(), 1);
    assert_eq!((&kept[0].bytes, kept[0].acked), (&poison, true));
    assert_eq!(
        (kept[0].code.as_str(), kept[0].n_records),
        ("stopped_a_thread", Some(2))
    );
    for number in 1..=3 {
        assert!(quarantine(&mut client, imei(number)).is_empty());
    }
}

#[test]
fn a_packet_that_stops_writers_ends_in_quarantine_and_other_devices_lose_nothing() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = quick(&database, port)
        .faults(&format!("encode-packet=return({})", imei(99)))
        .start();
    let load = fleet(port);
    load.wait_acks(40, secs(20));
    let poison = packet(0, 2);
    eventually(secs(90), "the device is rid of its packet", || {
        let Some(mut device) = Device::try_login(port, imei(99)) else {
            return false;
        };
        device.try_send(&poison).is_ok() && device.ack(secs(10)).is_some()
    });
    load.wait_acks(100, secs(60));
    let report = load.finish();
    eventually(secs(60), "the packet is in quarantine", || {
        !quarantine(&mut client, imei(99)).is_empty()
    });
    daemon.wait_drained(secs(60));
    let kept = &quarantine(&mut client, imei(99))[0];
    assert_eq!((&kept.bytes, kept.acked), (&poison, true));
    assert_eq!(kept.code, "stopped_a_thread");
    assert_eq!(records(&mut client, imei(99)), 0);
    report.check(&mut client);
    assert!(report.slowest() < secs(10), "{:?}", report.slowest());
}
