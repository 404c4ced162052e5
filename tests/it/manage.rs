//! What must hold where assets, devices and groups are changed over the API: nothing that was recorded loses its asset, what is wrong is
//! told, and what is let in comes in.

use std::io::Write;

use serde_json::{Value, json};

use trackport::protocol::teltonika::encode;

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Answer as Heard, Device, packet};
use crate::harness::http::{self, Answer};
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

/// A server whose web lets everybody of this machine in.
pub struct Scene {
    pub daemon: Daemon,
    pub client: postgres::Client,
    pub port: u16,
    pub web: u16,
}

pub fn scene(change: impl FnOnce(Setup) -> Setup) -> Scene {
    let (database, client) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let setup = Setup::new(&database.url).port(port).more(&format!(
        "[http]\nlisten = \"127.0.0.1:{web}\"\naccess = \"open\""
    ));
    Scene {
        daemon: change(setup).start(),
        client,
        port,
        web,
    }
}

/// Sends a body of this type.
#[track_caller]
pub fn send(web: u16, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
    let mut stream = http::connect(web);
    let head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a request");
    stream.write_all(body).expect("a body");
    http::parse(&http::read_all(&mut stream, ANSWER)).expect("an answer")
}

impl Scene {
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = http::get(self.web, &format!("/api/v1{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        send(
            self.web,
            method,
            path,
            "application/json",
            body.to_string().as_bytes(),
        )
    }

    /// Sends what has to be taken.
    #[track_caller]
    pub fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    /// Sends what has to be refused like this; returns the text.
    #[track_caller]
    pub fn refused(&self, method: &str, path: &str, body: &Value, status: u16) -> String {
        let answer = self.send(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        answer.json()["error"]["text"]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// The asset of a device.
    #[track_caller]
    fn asset_of(&self, number: u64) -> i64 {
        let device = self.get(&format!("/devices/{}", imei(number)));
        device["asset"]["id"]
            .as_i64()
            .unwrap_or_else(|| panic!("{device}"))
    }
}

#[test]
fn a_device_that_was_turned_away_comes_in_after_one_call() {
    let scene = scene(Setup::known_only);
    let mut stranger = Device::connect(scene.port);
    stranger.send(&encode::login(imei(7)));
    assert_eq!(stranger.answer(1, ANSWER), Heard::Bytes(vec![0]));
    eventually(secs(10), "its login is listed", || {
        let attempts = scene.get("/login_attempts");
        attempts["items"][0]["imei"] == imei(7).to_string()
    });
    let done = scene.must(
        "POST",
        "/devices/accept",
        &json!({"imeis": [imei(7).to_string()]}),
    );
    assert_eq!(done["accepted"], json!([imei(7).to_string()]));
    let mut let_in = None;
    eventually(secs(5), "it may log in", || {
        let_in = Device::try_login(scene.port, imei(7));
        let_in.is_some()
    });
    let_in.expect("a login").deliver(&packet(0, 3));
    assert_eq!(scene.get("/login_attempts")["total"], 0);
    assert_eq!(scene.get("/login_attempts?all=true")["total"], 1);
}

#[test]
fn accepting_all_lets_in_who_waits_and_nobody_who_was_refused() {
    let mut scene = scene(Setup::known_only);
    let (refused, pending) = (imei(1).to_string(), imei(2).to_string());
    scene.daemon.must(&["device", "refuse", &refused]);
    scene
        .client
        .execute(
            "INSERT INTO trackport.device (imei, state) VALUES ($1, 'pending')",
            &[&pending],
        )
        .unwrap();
    scene
        .client
        .execute(
            "INSERT INTO trackport.login_attempt (imei, port, n_attempts, first_at, last_at, reason)
             SELECT i, 'x', 1, now(), now(), 'unknown' FROM unnest($1::text[]) i",
            &[&vec![imei(3).to_string(), refused.clone(), "no imei".to_owned()]],
        )
        .unwrap();
    let done = scene.must("POST", "/devices/accept", &json!({"all": true}));
    let mut accepted: Vec<&str> = done["accepted"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    accepted.sort_unstable();
    let mut wanted = [pending, imei(3).to_string()];
    wanted.sort();
    assert_eq!(accepted, wanted);
    assert_eq!(
        scene.get(&format!("/devices/{refused}"))["state"],
        "refused"
    );
    for wrong in [
        json!({}),
        json!({"imeis": []}),
        json!({"imeis": ["1"]}),
        json!({"imeis": ["1"], "all": true}),
    ] {
        scene.refused("POST", "/devices/accept", &wrong, 422);
    }
}

#[test]
fn a_tracker_replaced_in_the_middle_of_sending_leaves_the_past_with_the_asset() {
    let mut scene = scene(|setup| setup);
    let mut old = Device::login(scene.port, imei(1));
    old.deliver(&packet(0, 5));
    let asset = scene.asset_of(1);
    scene.must(
        "PATCH",
        &format!("/assets/{asset}"),
        &json!({"name": "Truck 12"}),
    );
    // The new one has never sent anything.
    scene.must("POST", "/devices", &json!({"imei": imei(2).to_string()}));
    let spare = scene.asset_of(2);
    let at = "2026-01-01T00:01:00Z";
    let path = format!("/devices/{}/replace", imei(1));
    let done = scene.must(
        "POST",
        &path,
        &json!({"new": imei(2).to_string(), "at": at}),
    );
    assert_eq!(done["asset"]["id"], asset);
    assert_eq!(
        scene
            .send("GET", &format!("/assets/{spare}"), &json!({}))
            .status,
        404
    );
    // The old one delivers what it still holds from before, and what it sees after it was taken out.
    old.deliver(&packet(30, 2));
    old.deliver(&packet(120, 1));
    let mut new = Device::login(scene.port, imei(2));
    new.deliver(&packet(100, 3));
    let of_asset: i64 = scene
        .client
        .query_one(
            "SELECT count(*) FROM trackport.fitting f JOIN trackport.record r
                 ON r.device_id = f.device_id AND r.time >= f.fitted_at AND r.time < f.removed_at
             WHERE f.asset_id = $1",
            &[&i32::try_from(asset).unwrap()],
        )
        .unwrap()
        .get(0);
    assert_eq!(of_asset, 5 + 2 + 3);
    let shown = scene.get(&format!("/assets/{asset}"));
    assert_eq!(shown["imei"], imei(2).to_string());
    assert_eq!(shown["fittings"].as_array().unwrap().len(), 2);
    assert_eq!(shown["fittings"][1]["removed_at"], at);
    // Once more, the other way round: now the old one has recorded nothing since, but the new one has.
    let text = scene.refused("POST", &path, &json!({"new": imei(2).to_string()}), 409);
    assert!(
        text.contains("in no asset") && text.contains("asset fit"),
        "{text}"
    );
}

#[test]
fn a_device_that_has_recorded_elsewhere_is_not_taken_from_there_unasked() {
    let scene = scene(|setup| setup);
    for number in 1..3 {
        Device::login(scene.port, imei(number)).deliver(&packet(0, 1));
    }
    let (one, other) = (scene.asset_of(1), scene.asset_of(2));
    let text = scene.refused(
        "POST",
        &format!("/devices/{}/replace", imei(1)),
        &json!({"new": imei(2).to_string()}),
        409,
    );
    assert!(
        text.contains(&format!("asset {other}")) && text.contains(&imei(2).to_string()),
        "{text}"
    );
    let path = format!("/assets/{one}/fittings");
    scene.must(
        "PATCH",
        &format!("/assets/{other}"),
        &json!({"name": "Truck 2"}),
    );
    let text = scene.refused("POST", &path, &json!({"imei": imei(2).to_string()}), 409);
    assert!(text.contains(&format!("asset {other}")), "{text}");
    let moved = scene.must(
        "POST",
        &path,
        &json!({"imei": imei(2).to_string(), "move": true}),
    );
    assert_eq!(moved["imei_before"], imei(1).to_string());
    // What was only tried out, in the asset that it got by itself, is fitted without more words, and its past stays there.
    Device::login(scene.port, imei(3)).deliver(&packet(0, 1));
    let tried = scene.asset_of(3);
    let made = scene.must("POST", "/assets", &json!({"name": "Truck 3"}));
    let to = format!("/assets/{}/fittings", made["id"]);
    scene.must("POST", &to, &json!({"imei": imei(3).to_string()}));
    assert_eq!(
        scene.get(&format!("/assets/{tried}"))["fittings"][0]["imei"],
        imei(3).to_string()
    );
    assert_eq!(
        scene.get(&format!("/devices/{}", imei(3)))["fittings"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // Each device is where it was in its time, and the asset that it left is there without one.
    let left = scene.get(&format!("/assets/{other}"));
    assert_eq!(
        (&left["imei"], left["fittings"].as_array().unwrap().len()),
        (&Value::Null, 1)
    );
    // To reopen the ended fitting would put two devices into one asset.
    let ended = scene.get(&format!("/assets/{one}"))["fittings"][1]["id"].clone();
    let text = scene.refused(
        "PATCH",
        &format!("/fittings/{ended}"),
        &json!({"removed_at": null}),
        409,
    );
    assert!(text.contains(&imei(2).to_string()), "{text}");
    scene.refused(
        "POST",
        &path,
        &json!({"imei": imei(1).to_string(), "fitted_at": "2999-01-01T00:00:00Z"}),
        422,
    );
    scene.refused("POST", &path, &json!({"imei": imei(9).to_string()}), 404);
}

#[test]
fn two_who_fit_at_once_lose_no_fitting() {
    let scene = scene(|setup| setup);
    let assets: Vec<i64> = (0..2)
        .map(|_| {
            scene.must("POST", "/assets", &json!({"name": "Truck"}))["id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    let devices: Vec<String> = (1..9).map(|number| imei(number).to_string()).collect();
    for imei in &devices {
        scene.must("POST", "/devices", &json!({"imei": imei}));
    }
    std::thread::scope(|scope| {
        for (place, imei) in devices.iter().enumerate() {
            let (web, path) = (scene.web, format!("/assets/{}/fittings", assets[place % 2]));
            scope.spawn(move || {
                let body = json!({"imei": imei}).to_string();
                let answer = send(web, "POST", &path, "application/json", body.as_bytes());
                assert_eq!(answer.status, 201, "{answer:?}");
            });
        }
    });
    let mut n_fittings = 0;
    for asset in assets {
        let shown = scene.get(&format!("/assets/{asset}"));
        let fittings = shown["fittings"].as_array().unwrap();
        n_fittings += fittings.len();
        assert_eq!(
            fittings
                .iter()
                .filter(|one| one["removed_at"].is_null())
                .count(),
            1
        );
    }
    assert_eq!(n_fittings, devices.len());
}

#[test]
fn an_import_over_the_api_names_the_line_as_the_command_line_does() {
    let scene = scene(|setup| setup);
    let import = |sheet: &str| {
        send(
            scene.web,
            "POST",
            "/devices/import",
            "text/csv",
            sheet.as_bytes(),
        )
    };
    let (one, two) = (imei(1).to_string(), imei(2).to_string());
    scene.must("POST", "/groups", &json!({"name": "Dairy"}));
    let wrong = import(&format!(
        "imei,name,group\n{one},Van 1,Dairy\n12,Van 2,Dairy\n{two},Van 3,Nowhere\n"
    ));
    assert_eq!(wrong.status, 422, "{wrong:?}");
    let error = &wrong.json()["error"];
    assert_eq!(error["mistakes"][0]["line"], 3);
    assert_eq!(error["mistakes"][0]["column"], "imei");
    // What stands against the tables is told in the same way, once the sheet itself is right.
    let wrong = import(&format!(
        "imei,name,group\n\n{one},Van 1,Dairy\n{two},Van 3,Nowhere\n"
    ));
    let error = &wrong.json()["error"];
    assert_eq!(
        (&error["n_mistakes"], &error["mistakes"][0]["line"]),
        (&json!(1), &json!(4))
    );
    assert!(
        error["text"].as_str().unwrap().contains("Nowhere"),
        "{error}"
    );
    assert_eq!(scene.get("/devices")["total"], 0, "all or nothing");
    let right = import(&format!(
        "imei;name;asset;group\n{one};Van 1;Truck 1;Dairy\n{two};Van 2;;\n"
    ));
    assert_eq!(
        (right.status, right.json()),
        (200, json!({"added": 2, "changed": 0, "unchanged": 0}))
    );
    let placed = scene.get(&format!("/devices/{one}"));
    assert_eq!(
        (&placed["asset"]["name"], &placed["asset"]["group"]),
        (&json!("Truck 1"), &json!(2))
    );
    // What the command line writes is what it reads.
    let exported = scene.daemon.folder().file("devices.csv");
    scene
        .daemon
        .must(&["device", "export", exported.to_str().unwrap()]);
    let told = scene
        .daemon
        .must(&["device", "import", exported.to_str().unwrap()]);
    assert!(
        told.contains("0 devices added, 0 changed, 2 as they were"),
        "{told}"
    );
    let other = send(
        scene.web,
        "POST",
        "/devices/import",
        "text/plain",
        b"imei\n",
    );
    assert_eq!(other.status, 415);
}

#[test]
fn hostile_texts_come_back_unchanged_and_as_json() {
    let mut scene = scene(|setup| setup);
    let text = "<script>alert(1)</script>\u{202e}\"'\\\u{7}\u{1b}[2J😀";
    let imei = imei(1).to_string();
    scene.must("POST", "/devices", &json!({"imei": imei, "name": text}));
    let asset = scene.asset_of(1);
    scene.must(
        "PATCH",
        &format!("/assets/{asset}"),
        &json!({"name": text, "note": text}),
    );
    scene.must("POST", "/groups", &json!({"name": text}));
    let reason = text;
    scene
        .client
        .execute(
            "INSERT INTO trackport.quarantine (imei, received_at, last_at, reason, code, bytes, digest) VALUES ($1, now(), now(), $2, 'crc', '\\x00000000', 1)",
            &[&imei, &reason],
        )
        .unwrap();
    for (path, at) in [
        (format!("/devices/{imei}"), "/name"),
        (format!("/devices/{imei}/quarantine"), "/items/0/reason"),
        (format!("/assets/{asset}"), "/note"),
        ("/assets".to_owned(), "/items/0/name"),
        // Sorted by name: "<" is before "f".
        ("/groups".to_owned(), "/items/0/name"),
    ] {
        let answer = http::get(scene.web, &format!("/api/v1{path}"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            answer.json().pointer(at),
            Some(&json!(text)),
            "{path}: {}",
            answer.body
        );
    }
    scene.refused(
        "PATCH",
        &format!("/devices/{imei}"),
        &json!({"name": "a\0b"}),
        422,
    );
    scene.refused(
        "PATCH",
        &format!("/assets/{asset}"),
        &json!({"name": "a\0b"}),
        422,
    );
}

#[test]
fn pages_of_a_list_are_stable_and_complete() {
    let mut scene = scene(|setup| setup);
    // All have the same name and no time: only the number tells them apart.
    scene
        .client
        .execute(
            "INSERT INTO trackport.device (imei, name) SELECT lpad(i::text, 15, '0'), 'Van' FROM generate_series(1, 250) i",
            &[],
        )
        .unwrap();
    for path in [
        "/assets?sort=name",
        "/assets?sort=-time",
        "/devices?sort=-last_contact_at",
        "/devices?sort=model",
    ] {
        let mut seen = Vec::new();
        for page in 1..6 {
            let answer = scene.get(&format!("{path}&per_page=60&page={page}"));
            assert_eq!(answer["total"], 250, "{path}");
            seen.extend(
                answer["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one["id"].as_i64().unwrap()),
            );
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 250, "{path}");
    }
    assert_eq!(scene.get("/devices?search=000000000000017")["total"], 1);
    assert_eq!(scene.get("/devices?state=pending")["total"], 0);
    for wrong in [
        "page=0",
        "per_page=1001",
        "page=x",
        "sort=secret",
        "state=asleep",
        "page=-1",
    ] {
        let answer = http::get(scene.web, &format!("/api/v1/devices?{wrong}"));
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.body);
        assert!(answer.json()["error"]["text"].is_string());
    }
    assert_eq!(scene.get("/devices?page=4294967295")["items"], json!([]));
}

#[test]
fn values_that_cannot_be_are_refused_by_field_and_nothing_changes() {
    let scene = scene(|setup| setup);
    let group = "/groups/1";
    let wrong = json!({"time_zone": "Mars/Base", "trip_by": "wind", "stop_min": "1 s", "trip_speed_kmh": 0, "temperature_min": 8, "temperature_max": 2});
    let answer = scene.send("PATCH", group, &wrong);
    assert_eq!(answer.status, 422, "{answer:?}");
    let fields = answer.json()["error"]["fields"].clone();
    for field in [
        "time_zone",
        "trip_by",
        "stop_min",
        "trip_speed_kmh",
        "temperature_max",
    ] {
        assert!(fields[field].is_string(), "{field}: {fields}");
    }
    assert!(
        fields["stop_min"].as_str().unwrap().contains("10 s"),
        "{fields}"
    );
    let right = scene.must(
        "PATCH",
        group,
        &json!({"name": "Acme", "time_zone": "Europe/Vienna", "stop_min": "3 min"}),
    );
    assert_eq!(
        (&right["stop_min"], &right["time_zone"]),
        (&json!("3 min"), &json!("Europe/Vienna"))
    );
    let list = scene.daemon.must(&["group", "list", "--json"]);
    assert!(list.contains("\"stop_min\":\"3 min\""), "{list}");
    assert!(
        scene
            .refused("POST", "/groups", &json!({"name": "Acme"}), 409)
            .contains("group 1")
    );
    assert!(
        scene
            .refused("DELETE", group, &json!({}), 409)
            .contains("stays")
    );
    scene.must("POST", "/groups", &json!({"name": "Empty"}));
    assert_eq!(scene.send("DELETE", "/groups/2", &json!({})).status, 204);
    assert_eq!(
        scene
            .send("PATCH", "/groups/2", &json!({"name": "x"}))
            .status,
        404
    );
    assert_eq!(
        scene.send("PATCH", group, &json!({"nmae": "x"})).status,
        422
    );
    let text = send(
        scene.web,
        "PATCH",
        group,
        "application/json",
        b"{\"name\": ",
    )
    .json()["error"]["code"]
        .clone();
    assert_eq!(text, "bad_json");
    assert_eq!(
        send(
            scene.web,
            "POST",
            "/groups",
            "text/plain",
            b"{\"name\":\"x\"}"
        )
        .status,
        415
    );
}

#[test]
fn the_status_over_http_is_that_of_the_control_socket_and_says_on_what_it_runs() {
    let scene = scene(|setup| setup);
    let told = scene.get("/status");
    let status = scene.daemon.status();
    assert_eq!(told["pid"], status.pid);
    assert_eq!(
        told["threads"].as_array().unwrap().len(),
        status.threads.len()
    );
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(told["os"]["kernel"], release.trim());
    assert!(
        told["os"]["name"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    );
    assert!(
        told["postgresql"]
            .as_str()
            .is_some_and(|version| version.starts_with(char::is_numeric))
    );
    eventually(secs(10), "the starts of threads are listed", || {
        scene.get("/thread_events")["items"][0]["event"].is_string()
    });
}

#[test]
fn every_change_is_noted_with_what_it_was() {
    let mut scene = scene(|setup| setup);
    scene.must(
        "POST",
        "/devices",
        &json!({"imei": imei(1).to_string(), "name": "Van"}),
    );
    let asset = scene.asset_of(1);
    scene.must(
        "PATCH",
        &format!("/assets/{asset}"),
        &json!({"name": "Truck", "temperature_max": 7.5}),
    );
    scene.must(
        "PATCH",
        &format!("/devices/{}", imei(1)),
        &json!({"model": "fmb920"}),
    );
    scene.must(
        "PATCH",
        &format!("/assets/{asset}"),
        &json!({"retired": true}),
    );
    scene.refused(
        "PATCH",
        &format!("/assets/{asset}"),
        &json!({"kind": "boat"}),
        422,
    );
    let rows = scene
        .client
        .query("SELECT action, what FROM trackport.audit ORDER BY id", &[])
        .unwrap();
    let actions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        actions,
        [
            "device_added",
            "asset_changed",
            "device_changed",
            "asset_changed"
        ]
    );
    let what: Value = rows[1].get(1);
    assert_eq!(
        (&what["before"]["name"], &what["after"]["name"]),
        (&json!("Van"), &json!("Truck"))
    );
    assert_eq!(
        scene.get(&format!("/devices/{}", imei(1)))["model"],
        "FMB920"
    );
    let shown = scene.get(&format!("/assets/{asset}"));
    assert!(
        shown["retired_at"].is_string() && shown["imei"].is_null(),
        "{shown}"
    );
    assert_eq!(scene.get("/assets")["total"], 0);
    assert_eq!(scene.get("/assets?retired=true")["total"], 1);
}

#[test]
fn whatever_the_document_names_is_there() {
    let scene = scene(|setup| setup);
    let document = scene.get("/openapi.json");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 30);
    for (path, operations) in paths {
        let asked = path
            .replace("{imei}", &imei(1).to_string())
            .replace("{id}", "1000")
            .replace("{user}", "1000")
            .replace("{name}", "none");
        // The stream of positions has no end.
        for method in operations
            .as_object()
            .unwrap()
            .keys()
            .filter(|_| path != "/live")
        {
            let answer = scene.send(&method.to_uppercase(), &asked, &json!({}));
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(
                !answer.body.contains("nothing at this address"),
                "{method} {path}: {answer:?}"
            );
            assert!(answer.status < 500, "{method} {path}: {answer:?}");
        }
    }
}

#[test]
fn a_device_that_is_added_as_refused_has_no_asset_until_it_is_let_in() {
    let mut scene = scene(|setup| setup);
    let device = imei(71);
    let sheet = format!("imei,state\n{device},refused\n");
    let answer = send(
        scene.web,
        "POST",
        "/devices/import",
        "text/csv",
        sheet.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    let n_fittings = |client: &mut postgres::Client| -> i64 {
        let sql = "SELECT count(*) FROM trackport.fitted WHERE imei = $1";
        client
            .query_one(sql, &[&device.to_string()])
            .unwrap()
            .get(0)
    };
    assert_eq!(n_fittings(&mut scene.client), 0);
    let accepted = scene.send(
        "POST",
        "/devices/accept",
        &json!({"imeis": [device.to_string()]}),
    );
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    assert_eq!(n_fittings(&mut scene.client), 1);
}
