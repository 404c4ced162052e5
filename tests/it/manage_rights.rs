//! Who may change what over the API: viewers nothing, managers what is in their groups, and nobody learns of what is in others'.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::http::{self, Answer};
use crate::harness::{free_port, imei, postgres as pg};

/// Groups north (2) and south (3); device 1 is in asset 1 of north, device 2 in asset 2 of south, device 3 in asset 3 of the first group.
struct Scene {
    _daemon: Daemon,
    url: String,
    web: u16,
    viewer: String,
    manager: String,
    reader: String,
    admin: String,
}

fn scene() -> Scene {
    let (database, _) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let daemon = Setup::new(&database.url)
        .port(port)
        .more(&format!("[http]\nlisten = \"127.0.0.1:{web}\""))
        .start();
    for number in 1..4 {
        Device::login(port, imei(number)).deliver(&packet(0, 2));
    }
    daemon.must(&["group", "add", "north"]);
    daemon.must(&["group", "add", "south"]);
    let asset = |number: u64| {
        let shown = daemon.must(&["device", "show", &imei(number).to_string(), "--json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["asset"]["id"].to_string()
    };
    assert_eq!([asset(1), asset(2), asset(3)], ["1", "2", "3"]);
    daemon.must(&["asset", "set", "1", "--group", "north"]);
    daemon.must(&["asset", "set", "2", "--group", "south"]);
    let token = |name: &str, rights: &[&str], more: &[&str]| {
        daemon.must(&[&["user", "add", name, "--no-password"], rights].concat());
        let token = daemon.must(&[&["user", "token", name, "test"], more].concat());
        token.lines().last().expect("a token").trim().to_owned()
    };
    let north = |role| ["--group", "north", "--role", role];
    Scene {
        url: database.url.clone(),
        web,
        viewer: token("v", &north("viewer"), &["--write"]),
        manager: token("m", &north("manager"), &["--write"]),
        reader: token("r", &["--admin"], &[]),
        admin: token("a", &["--admin"], &["--write"]),
        _daemon: daemon,
    }
}

impl Scene {
    #[track_caller]
    fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let mut stream = http::connect(self.web);
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        http::parse(&http::read_all(&mut stream, ANSWER)).expect("an answer")
    }

    #[track_caller]
    fn status(&self, token: &str, method: &str, path: &str, body: &Value) -> u16 {
        self.ask(token, method, path, body).status
    }
}

/// Everything that changes something, right as it is.
fn changes() -> Vec<(&'static str, String, Value)> {
    let new = imei(9).to_string();
    let device = |number| format!("/devices/{}", imei(number));
    vec![
        (
            "POST",
            "/assets".to_owned(),
            json!({"name": "x", "group": 2}),
        ),
        ("PATCH", "/assets/1".to_owned(), json!({"name": "x"})),
        (
            "POST",
            "/assets/1/fittings".to_owned(),
            json!({"imei": imei(1).to_string()}),
        ),
        (
            "PATCH",
            "/fittings/1".to_owned(),
            json!({"removed_at": "2026-01-01T00:00:00Z"}),
        ),
        ("POST", "/groups".to_owned(), json!({"name": "x"})),
        (
            "PATCH",
            "/groups/2".to_owned(),
            json!({"stop_min": "1 min"}),
        ),
        ("DELETE", "/groups/3".to_owned(), json!({})),
        ("POST", "/devices".to_owned(), json!({"imei": new})),
        ("PATCH", device(1), json!({"name": "x"})),
        ("POST", "/devices/accept".to_owned(), json!({"all": true})),
        (
            "POST",
            format!("{}/replace", device(1)),
            json!({"new": new}),
        ),
    ]
}

#[test]
fn a_viewer_and_a_token_for_reading_change_nothing() {
    let scene = scene();
    for (method, path, body) in changes() {
        for token in [&scene.viewer, &scene.reader] {
            let answer = scene.ask(token, method, &path, &body);
            assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        }
        assert_eq!(
            scene.status("nobody", method, &path, &body),
            401,
            "{method} {path}"
        );
    }
    let asset = scene
        .ask(&scene.viewer, "GET", "/assets/1", &Value::Null)
        .json();
    assert_eq!(
        (&asset["name"], &asset["imei"]),
        (&json!(imei(1).to_string()), &json!(imei(1).to_string()))
    );
}

#[test]
fn a_manager_changes_what_is_in_the_group_and_learns_nothing_of_others() {
    let scene = scene();
    let ask =
        |method: &str, path: &str, body: &Value| scene.ask(&scene.manager, method, path, body);
    let status = |method: &str, path: &str, body: &Value| ask(method, path, body).status;
    assert_eq!(ask("GET", "/assets", &Value::Null).json()["total"], 1);
    assert_eq!(ask("GET", "/devices", &Value::Null).json()["total"], 1);
    assert_eq!(ask("GET", "/groups", &Value::Null).json()["total"], 1);
    let (own, others) = (imei(1).to_string(), imei(2).to_string());
    // What is another group's is not there, whatever is asked of it.
    for (method, path, body) in [
        ("GET", "/assets/2".to_owned(), json!({})),
        ("PATCH", "/assets/2".to_owned(), json!({"name": "x"})),
        ("PATCH", "/assets/1".to_owned(), json!({"group": 3})),
        (
            "POST",
            "/assets".to_owned(),
            json!({"name": "x", "group": 3}),
        ),
        (
            "POST",
            "/assets/2/fittings".to_owned(),
            json!({"imei": own}),
        ),
        (
            "POST",
            "/assets/1/fittings".to_owned(),
            json!({"imei": others}),
        ),
        (
            "PATCH",
            "/fittings/2".to_owned(),
            json!({"removed_at": "2026-01-01T00:00:00Z"}),
        ),
        ("PATCH", "/groups/3".to_owned(), json!({"name": "x"})),
        ("GET", format!("/devices/{others}"), json!({})),
        ("PATCH", format!("/devices/{others}"), json!({"name": "x"})),
        ("GET", format!("/devices/{others}/quarantine"), json!({})),
        ("GET", format!("/devices/{others}/recompute"), json!({})),
        (
            "POST",
            format!("/devices/{others}/replace"),
            json!({"new": own}),
        ),
        ("GET", "/assets?group=3".to_owned(), json!({})),
    ] {
        let answer = ask(method, &path, &body);
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
    }
    // A device of which nobody says that it is theirs is taken by nobody.
    for path in [
        format!("/devices/{own}/replace"),
        "/assets/1/fittings".to_owned(),
    ] {
        for new in [imei(2), imei(3), imei(9)] {
            let new = new.to_string();
            let body = if path.starts_with("/assets") {
                json!({"imei": new})
            } else {
                json!({"new": new})
            };
            assert!(
                matches!(status("POST", &path, &body), 403 | 404),
                "{path} {body}"
            );
        }
    }
    for path in ["/status", "/thread_events", "/login_attempts"] {
        assert_eq!(status("GET", path, &Value::Null), 403, "{path}");
    }
    assert_eq!(
        status(
            "PATCH",
            &format!("/devices/{own}"),
            &json!({"state": "refused"})
        ),
        403
    );
    // And what is theirs they change.
    assert_eq!(
        status(
            "PATCH",
            "/assets/1",
            &json!({"name": "Truck", "temperature_max": 7})
        ),
        200
    );
    assert_eq!(
        status(
            "PATCH",
            &format!("/devices/{own}"),
            &json!({"name": "Tracker", "note": "n"})
        ),
        200
    );
    assert_eq!(
        status("PATCH", "/groups/2", &json!({"stop_min": "4 min"})),
        200
    );
    let made = ask("POST", "/assets", &json!({"name": "Second"}));
    assert_eq!((made.status, &made.json()["group"]), (201, &json!(2)));
    let path = format!("/assets/{}/fittings", made.json()["id"]);
    assert_eq!(
        status("POST", &path, &json!({"imei": own, "move": true})),
        201
    );
    // A fitting that has ended is not made longer by somebody to whom the device might not belong any more.
    assert_eq!(
        status("PATCH", "/fittings/1", &json!({"removed_at": null})),
        403
    );
    let earlier = json!({"removed_at": "2026-01-01T00:00:02Z"});
    assert_eq!(status("PATCH", "/fittings/1", &earlier), 200);
}

#[test]
fn the_administrator_of_the_server_may_everything_and_is_named_in_the_audit() {
    let scene = scene();
    let ask = |method: &str, path: &str, body: &Value| scene.ask(&scene.admin, method, path, body);
    assert_eq!(ask("GET", "/assets", &Value::Null).json()["total"], 3);
    assert_eq!(
        ask("PATCH", "/assets/2", &json!({"name": "South 1"})).status,
        200
    );
    let replaced = ask(
        "POST",
        &format!("/devices/{}/replace", imei(2)),
        &json!({"new": imei(9).to_string()}),
    );
    assert_eq!(replaced.status, 200, "{replaced:?}");
    assert_eq!(replaced.json()["let_in"], true);
    let mut client = pg::connect(&scene.url);
    let rows = client
        .query("SELECT user_name, action FROM trackport.audit WHERE user_name = 'a' AND address IS NOT NULL ORDER BY id", &[])
        .unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(actions, ["asset_changed", "device_replaced"]);
}
