//! What those hear who watch the server over HTTP, and that nothing they do there touches a tracker.

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{Device, packet};
use crate::harness::http::{ask, get};
use crate::harness::metrics::Metrics;
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

/// A conf with the web on this port.
fn http(setup: Setup, port: u16) -> Setup {
    setup.more(&format!("[http]\nlisten = \"127.0.0.1:{port}\""))
}

/// A daemon with one tracker port and the web.
struct Scene {
    daemon: Daemon,
    port: u16,
    web: u16,
}

fn scene(change: impl FnOnce(Setup) -> Setup) -> Scene {
    let (database, _) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let setup = http(Setup::new(&database.url).port(port), web);
    Scene {
        daemon: change(setup).start(),
        port,
        web,
    }
}

#[test]
fn a_server_that_is_well_lives_and_is_ready() {
    let scene = scene(|setup| setup);
    let live = get(scene.web, "/healthz");
    assert_eq!((live.status, &live.json()["status"]), (200, &"live".into()));
    let ready = get(scene.web, "/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(
        ready.json(),
        serde_json::json!({"status": "ready", "reasons": []})
    );
    assert_eq!(ready.header("content-type"), Some("application/json"));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
    let page = get(scene.web, "/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
}

#[test]
fn only_reading_is_answered() {
    let scene = scene(|setup| setup);
    for path in ["/", "/healthz", "/readyz", "/metrics", "/elsewhere"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = ask(scene.web, method, path, "");
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    assert_eq!(get(scene.web, "/elsewhere").status, 404);
    let head = ask(scene.web, "HEAD", "/healthz", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn metrics_and_status_tell_the_same_numbers() {
    let scene = scene(|setup| setup);
    let mut devices: Vec<Device> = (1..4)
        .map(|number| Device::login(scene.port, imei(number)))
        .collect();
    for device in &mut devices {
        device.deliver(&packet(0, 3));
        device.deliver(&packet(10, 2));
    }
    let mut spoiled = packet(20, 2);
    *spoiled.last_mut().unwrap() ^= 1;
    devices[0].send(&spoiled);
    devices[0].expect_closed(secs(10));
    eventually(secs(15), "all is counted", || {
        let status = scene.daemon.status();
        status.quarantine_unacked == 1 && status.ports[0].sessions == 2
    });
    let status = scene.daemon.status();
    let metrics = Metrics::scrape(scene.web);
    let port = format!("127.0.0.1:{}", scene.port);
    let of_port = |name: &str| metrics.get(name, &[("port", &port)]);
    let shown = &status.ports[0];
    #[rustfmt::skip]
    let pairs = [
        (of_port("trackport_port_up"), 1),
        (of_port("trackport_sessions"), shown.sessions as u64),
        (of_port("trackport_connections_total"), shown.connections),
        (of_port("trackport_packets_acked_total"), shown.packets),
        (of_port("trackport_records_acked_total"), shown.records),
        (of_port("trackport_received_bytes_total"), shown.bytes),
        (metrics.sum("trackport_acks_total"), status.acks_database + status.acks_spool),
        (metrics.get("trackport_acks_total", &[("store", "database")]), 6),
        (metrics.sum("trackport_ack_latency_seconds_count"), 6),
        (metrics.get("trackport_writer_records_total", &[("writer", "writer-0")]), status.writers[0].records),
        (metrics.get("trackport_writer_batches_total", &[("writer", "writer-0")]), status.writers[0].batches),
        (metrics.sum("trackport_writer_database_up"), 1),
        (metrics.sum("trackport_database_up"), 1),
        (metrics.sum("trackport_queue_bytes"), status.queue_bytes as u64),
        (metrics.sum("trackport_queue_limit_bytes"), status.queue_limit as u64),
        (metrics.sum("trackport_receive_limit_bytes"), status.receive_limit as u64),
        (metrics.sum("trackport_sessions_limit"), status.sessions_limit as u64),
        (metrics.sum("trackport_devices"), status.n_devices as u64),
        (metrics.sum("trackport_devices_loaded"), 1),
        (metrics.get("trackport_spool_state", &[("state", &status.spool.state)]), 1),
        (metrics.sum("trackport_spool_state"), 1),
        (metrics.sum("trackport_spool_records"), status.spool.records),
        (metrics.get("trackport_quarantine_packets", &[("kind", "unacked")]), status.quarantine_unacked),
        (metrics.get("trackport_quarantine_packets", &[("kind", "acked")]), status.quarantine_acked),
        (metrics.sum("trackport_ready"), 1),
        (metrics.sum("trackport_troubles"), 0),
        (metrics.sum("trackport_thread_up"), status.threads.len() as u64),
        (metrics.sum("trackport_thread_failures_total"), 0),
    ];
    for (place, (value, told)) in pairs.into_iter().enumerate() {
        assert!(
            (value - told as f64).abs() < 0.5,
            "pair {place}: {value} {told}"
        );
    }
    for (fact, n) in &status.counts {
        let line = metrics
            .text
            .lines()
            .find(|line| line.starts_with(&format!("trackport_facts_total{{fact=\"{fact}\",")));
        let line = line.unwrap_or_else(|| panic!("no fact {fact}"));
        assert_eq!(line.rsplit(' ').next(), Some(n.to_string().as_str()));
    }
    let process = metrics.sum("process_resident_memory_bytes");
    assert!(process > 1e6 && process < 4e9, "{process}");
    assert!(metrics.sum("process_open_fds") >= 10.0);
}

#[test]
fn metrics_have_few_labels_and_never_a_device() {
    let scene = scene(|setup| setup);
    let before = Metrics::scrape(scene.web).n_lines();
    let devices: Vec<Device> = (1..201)
        .map(|number| {
            let mut device = Device::login(scene.port, imei(number));
            device.deliver(&packet(0, 1));
            device
        })
        .collect();
    let metrics = Metrics::scrape(scene.web);
    let sessions = metrics.sum("trackport_sessions");
    assert!((sessions - devices.len() as f64).abs() < 0.5, "{sessions}");
    // What a fleet adds is no line.
    assert_eq!(metrics.n_lines(), before);
    for path in ["/metrics", "/readyz", "/healthz", "/"] {
        let body = get(scene.web, path).body;
        for number in 1..201 {
            assert!(!body.contains(&imei(number).to_string()), "{path}");
        }
        for device in &devices {
            assert!(!body.contains(&device.address()), "{path}");
        }
    }
}

#[test]
fn whoever_asks_for_openmetrics_gets_it() {
    let scene = scene(|setup| setup);
    let accept =
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";
    let answer = ask(scene.web, "GET", "/metrics", accept);
    let kind = answer.header("content-type").unwrap();
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(
        answer
            .body
            .contains("# TYPE trackport_connections counter\ntrackport_connections_total{port=")
    );
}
