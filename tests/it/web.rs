//! What those hear who watch the server over HTTP, and that nothing they do there touches a tracker.

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::http::{ask, get};
use crate::harness::{free_port, postgres as pg};

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
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert!(page.body.contains(path), "{}", page.body);
    }
    assert!(page.body.contains("Nothing is wrong."), "{}", page.body);
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
