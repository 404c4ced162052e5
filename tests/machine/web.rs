//! The web's socket from one process to the next: whoever scrapes is refused no more than a tracker is.

use crate::harness::eventually;
use crate::harness::http;
use crate::service::{PATIENCE, Service, UNIT, conf};
use crate::sockets::Prober;

const WEB: u16 = 8080;

#[test]
fn a_scrape_is_not_refused_by_a_restart_and_a_web_that_moves_leaves_the_store() {
    let Some(service) = Service::install() else {
        return;
    };
    let at = |port: u16| conf(&format!("[http]\nlisten = \"127.0.0.1:{port}\""), "");
    service.edit_conf(&at(WEB));
    service.start();
    let stored = |n: &str| {
        eventually(PATIENCE, &format!("{n} sockets in the store"), || {
            service.0.property(UNIT, "NFileDescriptorStore") == n
        });
    };
    stored("2");
    let prober = Prober::start(&service.0, WEB);
    let pid = service.pid();
    service.0.must(&["systemctl", "restart", UNIT]);
    service.wait_all_well();
    service.0.must(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=KILL",
        UNIT,
    ]);
    eventually(PATIENCE, "a third process", || {
        service.pid() != pid && service.pid() != 0 && service.n_restarts() == 1
    });
    service.wait_all_well();
    let (n_connected, n_refused) = prober.finish();
    assert!(
        n_connected > 100,
        "the prober connected {n_connected} times"
    );
    assert_eq!(n_refused, 0);

    let answer = |port| service.0.inside(|| http::try_get(port, "/readyz"));
    assert_eq!(answer(WEB).unwrap().json()["status"], "ready");
    service.edit_conf(&at(WEB + 1));
    service.0.must(&["systemctl", "reload", UNIT]);
    eventually(PATIENCE, "the web has moved", || {
        answer(WEB + 1).is_some() && answer(WEB).is_none()
    });
    stored("2");
    service.edit_conf(&conf("", ""));
    service.0.must(&["systemctl", "reload", UNIT]);
    stored("1");
}
