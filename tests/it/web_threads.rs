//! The web thread under its supervisor: it dies, hangs, moves and cannot be bound, and no device notices.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use crate::harness::daemon::Setup;
use crate::harness::device::{Device, packet};
use crate::harness::http::{get, try_get};
use crate::harness::scene::Scene;
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

impl Scene {
    /// The conf with another address of the web, and HUP.
    fn reload(&self, from: &str, to: &str) {
        let before = self.daemon.count("conf reloaded");
        self.daemon.edit_conf(|text| text.replace(from, to));
        self.daemon.signal("HUP");
        eventually(secs(10), "the conf is read", || {
            self.daemon.count("conf reloaded") > before
        });
    }
}

#[cfg(feature = "faults")]
mod faults {
    use super::*;
    use crate::harness::metrics::Metrics;
    use crate::harness::{ms, spawn};
    use std::thread::sleep;

    #[test]
    fn a_web_thread_that_panics_is_replaced_and_nobody_is_refused() {
        let mut scene = Scene::new(|setup| setup.faults("web-turn=8*off->1*panic(broken)->off"));
        let begun = Instant::now();
        while begun.elapsed() < secs(5) {
            assert_eq!(
                try_get(scene.web, "/healthz").map(|it| it.status),
                Some(200)
            );
            scene.acks();
        }
        scene
            .daemon
            .wait_log(secs(5), &["thread died", "\"web\"", "broken"]);
        eventually(secs(3), "it is counted", || {
            let threads = scene.daemon.status().threads;
            threads.iter().any(|thread| thread.failures > 0)
        });
        let metrics = Metrics::scrape(scene.web);
        let failures = |thread: &str, reason: &str| {
            let labels = [("thread", thread), ("reason", reason)];
            metrics.get("trackport_thread_failures_total", &labels)
        };
        assert!((failures("web", "died") - 1.0).abs() < 0.5);
        assert!((failures("web", "silent")).abs() < 0.5);
        assert!((failures("keeper", "died")).abs() < 0.5);
    }

    #[test]
    fn a_request_that_hangs_costs_its_thread_and_nothing_else() {
        let mut scene = Scene::new(|setup| setup.faults("web-request=1*sleep(5000)->off"));
        let web = scene.web;
        let hanging = spawn(move || try_get(web, "/healthz"));
        scene
            .daemon
            .wait_log(secs(10), &["thread silent", "\"web\""]);
        scene.acks();
        assert_eq!(get(scene.web, "/healthz").status, 200);
        // The supervisor publishes such things once a second.
        eventually(secs(3), "it is counted", || {
            let metrics = Metrics::scrape(scene.web);
            let silent = [("thread", "web"), ("reason", "silent")];
            metrics.get("trackport_thread_failures_total", &silent) > 0.5
                && metrics.sum("trackport_threads_retired") > 0.5
        });
        scene
            .daemon
            .wait_log(secs(15), &["retired thread ended", "\"web\""]);
        drop(hanging);
        eventually(secs(3), "all is well again", || {
            get(scene.web, "/readyz").json()["status"] == "ready"
        });
    }

    #[test]
    fn a_request_that_panics_ends_its_connection_only() {
        let scene = Scene::new(|setup| setup.faults("web-request=1*panic(odd)->off"));
        assert!(try_get(scene.web, "/healthz").is_none());
        assert_eq!(get(scene.web, "/healthz").status, 200);
        let threads = scene.daemon.status().threads;
        let web = threads.iter().find(|thread| thread.name == "web").unwrap();
        assert_eq!(web.failures, 0);
    }

    #[test]
    fn requests_that_hang_for_ever_never_end_the_process() {
        let mut scene = Scene::new(|setup| setup.faults("web-request=sleep(600000)"));
        // More than there may be retired threads of other kinds.
        let web = scene.web;
        let mut asked = 0;
        eventually(secs(30), "two lives of the web hang", || {
            // A few for each life: the first takes all that there are.
            if asked < 40 {
                asked += 1;
                spawn(move || try_get(web, "/healthz"));
            }
            sleep(ms(200));
            scene.daemon.count("thread silent") >= 2
        });
        for _ in 0..10 {
            spawn(move || try_get(web, "/healthz"));
        }
        let begun = Instant::now();
        while begun.elapsed() < secs(5) {
            scene.acks();
        }
        assert!(scene.daemon.is_alive());
        assert_eq!(scene.daemon.count("too many retired threads"), 0);
        let troubles = scene.daemon.troubles();
        assert!(
            troubles.iter().any(|trouble| trouble.starts_with("web: ")),
            "{troubles:?}"
        );
    }
}

#[test]
fn usr1_restarts_the_web_too_and_refuses_nobody() {
    let scene = Scene::new(|setup| setup);
    let generation = || {
        let threads = scene.daemon.status().threads;
        let web = threads.into_iter().find(|thread| thread.name == "web");
        web.map_or(0, |web| web.generation)
    };
    let before = generation();
    scene.daemon.signal("USR1");
    eventually(secs(30), "a new web thread", || {
        assert_eq!(
            try_get(scene.web, "/healthz").map(|it| it.status),
            Some(200)
        );
        generation() > before
    });
}

#[test]
fn a_reload_moves_the_web_and_keeps_every_session() {
    let mut scene = Scene::new(|setup| setup);
    scene.acks();
    let (from, to) = (scene.web, free_port());
    let listen = |port: u16| format!("listen = \"127.0.0.1:{port}\"");
    scene.reload(&listen(from), &listen(to));
    eventually(secs(10), "the web answers elsewhere", || {
        try_get(to, "/healthz").is_some()
    });
    eventually(secs(10), "nobody listens at the old place", || {
        try_get(from, "/healthz").is_none()
    });
    scene.acks();
    // To an address that the old socket is in the way of.
    scene.reload(&listen(to), &format!("listen = \"0.0.0.0:{to}\""));
    scene
        .daemon
        .wait_log(secs(20), &["web bound", &format!("0.0.0.0:{to}")]);
    assert_eq!(get(to, "/healthz").status, 200);
    eventually(secs(10), "no trouble is left", || {
        scene.daemon.troubles().is_empty()
    });
    scene.reload(&format!("[http]\nlisten = \"0.0.0.0:{to}\""), "");
    eventually(secs(10), "the web is gone", || {
        try_get(to, "/healthz").is_none()
    });
    eventually(secs(10), "and its thread", || {
        let threads = scene.daemon.status().threads;
        threads.iter().all(|thread| thread.name != "web")
    });
    scene
        .daemon
        .edit_conf(|text| format!("{text}\n[http]\nlisten = \"127.0.0.1:{from}\"\n"));
    scene.daemon.signal("HUP");
    eventually(secs(10), "the web is back", || {
        try_get(from, "/healthz").is_some()
    });
    scene.acks();
}

#[test]
fn a_web_that_cannot_be_bound_is_told_and_tried_again_and_devices_do_not_notice() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let (database, _) = pg::shared().migrated();
    let port = free_port();
    let http = format!("[http]\nlisten = \"127.0.0.1:{number}\"");
    let daemon = Setup::new(&database.url).port(port).more(&http).launch();
    daemon.wait_serving();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    daemon.wait_log(secs(5), &["web not bound", "in use"]);
    let troubles = daemon.troubles();
    let told = format!("web 127.0.0.1:{number}: 127.0.0.1:{number} is in use");
    assert!(
        troubles.iter().any(|trouble| trouble.starts_with(&told)),
        "{troubles:?}"
    );
    assert!(daemon.status().ports.iter().all(|it| it.state == "running"));
    let checked = daemon.command(&["check"]);
    let said = crate::harness::daemon::text(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    assert!(
        said.contains(&format!("web 127.0.0.1:{number}: in use")),
        "{said}"
    );
    drop(taken);
    eventually(secs(40), "the web answers", || {
        try_get(number, "/readyz").is_some_and(|answer| answer.json()["status"] == "ready")
    });
    device.deliver(&packet(1, 1));
    // Told once, however often it was tried.
    assert_eq!(daemon.log_lines(&["web not bound"]).len(), 1);
}

#[test]
fn the_web_answers_over_ipv6_and_by_a_plain_number() {
    let (database, _) = pg::shared().migrated();
    let web = free_port();
    let setup = Setup::new(&database.url).port(free_port());
    let daemon = setup.more(&format!("[http]\nlisten = {web}")).start();
    assert_eq!(get(web, "/healthz").status, 200);
    if fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| text.contains(" lo")) {
        let mut stream = std::net::TcpStream::connect(("::1", web)).unwrap();
        std::io::Write::write_all(
            &mut stream,
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        let said = crate::harness::http::read_all(&mut stream, secs(10));
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    // Who can reach it can read it, so that is said.
    let odd = daemon.log_lines(&["conf odd", "[http].listen", "without a login"]);
    assert_eq!(odd.len(), 1);
}
