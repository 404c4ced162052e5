//! Whether `/readyz` says what devices would find: are packets acknowledged, and if not, or only just, why.

use std::net::TcpListener;
use std::thread::sleep;

use crate::harness::daemon::{Daemon, Folder, Setup};
use crate::harness::device::{Device, packet};
use crate::harness::http::{get, try_get};
use crate::harness::postgres::Cluster;
use crate::harness::{eventually, free_port, imei, ms, postgres as pg, secs};

fn with_web(setup: Setup) -> (Setup, u16) {
    let web = free_port();
    let setup = setup.more(&format!("[http]\nlisten = \"127.0.0.1:{web}\""));
    (setup, web)
}

/// Status code, word, and the kinds of its reasons with their effects.
fn ready(web: u16) -> (u16, String, Vec<(String, String)>) {
    let answer = get(web, "/readyz");
    let json = answer.json();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let reasons = json["reasons"].as_array().unwrap().iter().map(|reason| {
        assert!(word(&reason["text"]).len() > 10, "{reason}");
        (word(&reason["kind"]), word(&reason["effect"]))
    });
    (answer.status, word(&json["status"]), reasons.collect())
}

/// Waits until it says this, and these kinds of reasons are among those it gives.
#[track_caller]
fn wait_ready(web: u16, code: u16, word: &str, kinds: &[&str]) {
    eventually(secs(20), &format!("{code} {word} {kinds:?}"), || {
        let (found_code, found_word, reasons) = ready(web);
        let has = |kind: &&str| reasons.iter().any(|(other, _)| other == kind);
        found_code == code && found_word == word && kinds.iter().all(has)
    });
}

/// A daemon on a cluster of its own, with a device that has sent a packet.
fn on(cluster: &Cluster, change: impl FnOnce(Setup) -> Setup) -> (Daemon, Device, u16) {
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let (setup, web) = with_web(Setup::new(&database.url).port(port));
    let daemon = change(setup).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    (daemon, device, web)
}

#[test]
fn with_the_database_away_and_the_spool_taking_it_is_ready_and_degraded() {
    let cluster = Cluster::start();
    let (daemon, mut device, web) = on(&cluster, |setup| setup);
    wait_ready(web, 200, "ready", &[]);
    cluster.stop_server("fast");
    device.deliver(&packet(1, 1));
    wait_ready(web, 200, "degraded", &["database"]);
    let (_, _, reasons) = ready(web);
    assert!(
        reasons.iter().all(|(_, effect)| effect != "not_ready"),
        "{reasons:?}"
    );
    let text = get(web, "/readyz").body;
    assert!(text.contains("writer-0: database away"), "{text}");
    cluster.start_server();
    daemon.wait_drained(secs(30));
    wait_ready(web, 200, "ready", &[]);
}

#[test]
fn without_database_and_spool_it_is_not_ready_until_the_database_is_back() {
    let cluster = Cluster::start();
    let (_daemon, mut device, web) = on(&cluster, Setup::without_spool);
    // The spool alone is no reason while the database takes packets.
    wait_ready(web, 200, "degraded", &["spool"]);
    cluster.stop_server("fast");
    // A writer that has nothing to store finds out with its next packet.
    device.send(&packet(1, 1));
    wait_ready(
        web,
        503,
        "not_ready",
        &["nothing_takes", "database", "spool"],
    );
    // It lives all the same: a restart would mend nothing.
    assert_eq!(get(web, "/healthz").status, 200);
    cluster.start_server();
    wait_ready(web, 200, "degraded", &["spool"]);
}

#[test]
fn a_full_spool_makes_it_unready_only_while_the_database_is_away() {
    let cluster = Cluster::start();
    let folder = Folder::new();
    let (daemon, mut device, web) = on(&cluster, |setup| {
        setup.spool(&format!(
            "directory = \"{}\"\nmax_size = \"1 MiB\"\nkeep_free = \"1 GiB\"",
            folder.file("spool").display()
        ))
    });
    cluster.stop_server("fast");
    // Until one gets no ack.
    for n in 1.. {
        device.send(&packet(n * 300, 250));
        if device.ack(secs(5)).is_none() {
            break;
        }
        assert!(n < 1000, "1 MiB holds more than that");
    }
    wait_ready(web, 503, "not_ready", &["nothing_takes", "spool"]);
    cluster.start_server();
    daemon.wait_drained(secs(60));
    wait_ready(web, 200, "ready", &[]);
}

#[test]
fn a_server_that_never_saw_its_device_list_is_not_ready() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    cluster.stop_server("fast");
    let (setup, web) = with_web(Setup::new(&database.url).known_only().port(free_port()));
    let daemon = setup.launch();
    daemon.wait_serving();
    wait_ready(web, 503, "not_ready", &["device_list", "database"]);
    assert_eq!(get(web, "/healthz").status, 200);
    cluster.start_server();
    wait_ready(web, 200, "ready", &[]);
}

#[test]
fn one_port_of_two_that_is_not_bound_degrades_and_the_only_one_makes_unready() {
    let (database, _) = pg::shared().migrated();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let (setup, web) = with_web(Setup::new(&database.url).port(number).port(free_port()));
    let _two = setup.launch();
    eventually(secs(20), "the web answers", || {
        try_get(web, "/readyz").is_some()
    });
    wait_ready(web, 200, "degraded", &["not_bound"]);
    let (setup, alone) = with_web(Setup::new(&database.url).port(number));
    let _one = setup.launch();
    eventually(secs(20), "the web answers", || {
        try_get(alone, "/readyz").is_some()
    });
    wait_ready(alone, 503, "not_ready", &["no_port", "not_bound"]);
    drop(taken);
    // One of the two has it now.
    eventually(secs(40), "the port is bound by one of them", || {
        ready(web).1 == "ready" || ready(alone).1 == "ready"
    });
}

#[test]
fn what_waits_in_quarantine_for_a_person_never_makes_it_unready() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let (setup, web) = with_web(Setup::new(&database.url).port(port));
    let _daemon = setup.start();
    let mut spoiled = packet(0, 2);
    *spoiled.last_mut().unwrap() ^= 1;
    // The third time it is kept for good and acked.
    for _ in 0..3 {
        let mut device = Device::login(port, imei(1));
        device.send(&spoiled);
        device.answer(4, secs(10));
    }
    let acked = "SELECT count(*) FROM trackport.quarantine WHERE acked";
    eventually(secs(10), "an acked packet in quarantine", || {
        crate::harness::rows::number(&mut client, acked, &[]) == 1
    });
    wait_ready(web, 200, "ready", &["quarantined"]);
    let (_, _, reasons) = ready(web);
    assert_eq!(reasons, [("quarantined".to_owned(), "person".to_owned())]);
}

#[test]
fn while_it_stops_it_is_not_ready_and_still_answers() {
    let cluster = Cluster::start();
    let (mut daemon, mut device, web) = on(&cluster, Setup::without_spool);
    cluster.stop_server("fast");
    // A packet that cannot be stored keeps it from stopping at once.
    device.send(&packet(1, 1));
    sleep(ms(300));
    daemon.signal("TERM");
    wait_ready(web, 503, "not_ready", &["stopping"]);
    assert_eq!(daemon.wait_end(secs(20)).code(), Some(0));
    assert!(std::net::TcpStream::connect(("127.0.0.1", web)).is_err());
}
