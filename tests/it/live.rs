//! Whoever follows the positions sees what devices send, and only what they may see; and nobody who watches costs a tracker anything.

use std::time::{SystemTime, UNIX_EPOCH};

use postgres::Client;
use serde_json::Value;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{IoSpec, RecordSpec};

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{Device, TIME_MS, encode, record};
use crate::harness::http::get;
use crate::harness::person::Person;
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::sse::Events;
use crate::harness::{eventually, free_port, imei, secs};

/// A server whose web is open to this machine.
struct Scene {
    daemon: Daemon,
    sql: Client,
    port: u16,
    web: u16,
}

fn scene_on(cluster: &Cluster) -> Scene {
    let (database, sql) = cluster.migrated();
    let (port, web) = (free_port(), free_port());
    let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"\naccess = \"open\"");
    let daemon = Setup::new(&database.url).port(port).more(&http).start();
    eventually(secs(20), "positions are loaded", || {
        get(web, "/api/v1/positions").status == 200
    });
    Scene {
        daemon,
        sql,
        port,
        web,
    }
}

fn scene() -> Scene {
    scene_on(pg::shared())
}

/// The asset that a device got when it came.
#[track_caller]
fn asset_of(sql: &mut Client, number: u64) -> i32 {
    let question =
        "SELECT f.asset_id FROM trackport.fitting f JOIN trackport.device d ON d.id = f.device_id
                    WHERE d.imei = $1 AND f.removed_at = 'infinity'";
    let row = sql.query_one(question, &[&imei(number).to_string()]);
    row.expect("a fitting").get(0)
}

/// Seconds of the tests' time that are now.
fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    since.as_secs() - TIME_MS / 1000
}

/// A record with another place, and with so many satellites.
fn at(second: u64, longitude: i32, satellites: u8) -> RecordSpec {
    RecordSpec {
        longitude,
        satellites,
        ..record(second)
    }
}

fn send(device: &mut Device, record: RecordSpec) {
    device.deliver(&encode(Codec::Codec8, &[record]));
}

impl Scene {
    fn follow(&self) -> Events {
        let events = Events::open(self.web, "/api/v1/live", "");
        assert_eq!(events.status(), 200, "{}", events.head);
        assert!(
            events.head.contains("content-type: text/event-stream"),
            "{}",
            events.head
        );
        events
    }

    #[track_caller]
    fn asset(&mut self, number: u64) -> i32 {
        asset_of(&mut self.sql, number)
    }

    fn positions(&self) -> Value {
        let answer = get(self.web, "/api/v1/positions");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    fn position(&self, asset: i32) -> Option<Value> {
        let positions = self.positions();
        let all = positions["positions"].as_array().expect("an array");
        all.iter().find(|one| one["asset"] == asset).cloned()
    }
}

#[test]
fn a_page_sees_within_seconds_what_a_device_sends() {
    let mut scene = scene();
    let mut page = scene.follow();
    let mut device = Device::login(scene.port, imei(1));
    send(&mut device, at(now(), 252_797_340, 9));
    let asset = scene.asset(1);
    let seen = page.position(asset, "its place", |one| !one["longitude"].is_null());
    assert_eq!(seen["longitude"], 25.279_734);
    assert_eq!(seen["latitude"], 54.687_21);
    assert_eq!(seen["imei"], imei(1).to_string());
    assert_eq!(
        (&seen["group"], &seen["kind"]),
        (&1.into(), &"vehicle".into())
    );
    assert_eq!(
        (&seen["speed_kmh"], &seen["satellites"]),
        (&54.into(), &9.into())
    );
    assert_eq!(
        (&seen["ignition"], &seen["state"]),
        (&true.into(), &"moving".into())
    );
    assert_eq!(seen["time"], seen["fix_time"]);
    assert_eq!(scene.position(asset), Some(seen), "the map says the same");
}

#[test]
fn only_a_fix_moves_the_marker() {
    let mut scene = scene();
    let mut page = scene.follow();
    let mut device = Device::login(scene.port, imei(1));
    let second = now() - 100;
    send(&mut device, at(second, 252_797_340, 9));
    let asset = scene.asset(1);
    let there = page.position(asset, "a fix", |one| !one["fix_time"].is_null());
    send(&mut device, at(second + 50, 99_999_999, 0));
    let later = page.position(asset, "a record without satellites", |one| {
        one["satellites"] == 0
    });
    assert_ne!(later["time"], there["time"], "it was heard");
    for field in ["longitude", "latitude", "fix_time", "angle_deg"] {
        assert_eq!(later[field], there[field], "{field}");
    }
    assert!(
        later["speed_kmh"].is_null(),
        "nobody knows how fast: {later}"
    );
    send(&mut device, at(second + 60, 99_999_999, 4));
    page.position(asset, "the next fix", |one| one["longitude"] == 9.999_999_9);
}

#[test]
fn a_page_follows_what_people_change() {
    let mut scene = scene();
    let mut device = Device::login(scene.port, imei(1));
    send(&mut device, at(now(), 252_797_340, 9));
    let asset = scene.asset(1);
    let mut page = scene.follow();
    scene
        .sql
        .execute(
            "UPDATE trackport.asset SET name = 'Truck 12' WHERE id = $1",
            &[&asset],
        )
        .unwrap();
    page.position(asset, "its name", |one| one["name"] == "Truck 12");
    scene
        .sql
        .batch_execute("INSERT INTO trackport.group (name) VALUES ('another')")
        .unwrap();
    scene
        .sql
        .execute(
            "UPDATE trackport.asset SET group_id = (SELECT id FROM trackport.group WHERE name = 'another') WHERE id = $1",
            &[&asset],
        )
        .unwrap();
    page.position(asset, "its group", |one| one["group"] != 1);
    scene
        .sql
        .execute(
            "UPDATE trackport.asset SET retired_at = now() WHERE id = $1",
            &[&asset],
        )
        .unwrap();
    let removed = page.wait(secs(15), "that it is gone", |event| {
        event.name == "removed" && event.data == serde_json::json!([asset])
    });
    assert!(removed.id.is_some());
    assert_eq!(scene.position(asset), None);
}

#[test]
fn an_asset_stays_where_it_was_until_its_new_device_knows_better() {
    let mut scene = scene();
    let (mut old, mut new) = (
        Device::login(scene.port, imei(1)),
        Device::login(scene.port, imei(2)),
    );
    send(&mut old, at(now() - 60, 100_000_000, 9));
    // Where the new device was before it came into this asset concerns nobody.
    send(&mut new, at(now() - 50, 200_000_000, 9));
    let (asset, other) = (scene.asset(1), scene.asset(2));
    eventually(secs(15), "both are known", || {
        let fix = |asset| {
            scene
                .position(asset)
                .is_some_and(|one| !one["fix_time"].is_null())
        };
        fix(asset) && fix(other)
    });
    let mut page = scene.follow();
    let replace = format!(
        "UPDATE trackport.fitting SET removed_at = now() WHERE asset_id IN ({asset}, {other}) AND removed_at = 'infinity';
         INSERT INTO trackport.fitting (device_id, asset_id, fitted_at)
         SELECT id, {asset}, now() FROM trackport.device WHERE imei = '{}'",
        imei(2)
    );
    scene.sql.batch_execute(&replace).unwrap();
    let replaced = page.position(asset, "its new device", |one| {
        one["imei"] == imei(2).to_string()
    });
    assert_eq!(replaced["longitude"], 10.0, "{replaced}");
    assert!(replaced["time"].is_null(), "{replaced}");
    let without = scene.position(other).expect("it is still in use");
    assert_eq!(
        (&without["longitude"], &without["device"]),
        (&20.0.into(), &Value::Null)
    );
    send(&mut new, at(now() + 5, 300_000_000, 9));
    page.position(asset, "where the new device says", |one| {
        one["longitude"] == 30.0
    });
    assert_eq!(scene.position(other).expect("in use")["longitude"], 20.0);
}

#[test]
fn who_comes_back_is_told_what_was_missed() {
    let mut scene = scene();
    let mut device = Device::login(scene.port, imei(1));
    send(&mut device, at(now() - 100, 100_000_000, 9));
    let asset = scene.asset(1);
    eventually(secs(15), "it is known", || {
        scene
            .position(asset)
            .is_some_and(|one| one["longitude"] == 10.0)
    });
    let mark = scene.positions()["mark"]
        .as_str()
        .expect("a mark")
        .to_owned();
    send(&mut device, at(now() - 50, 200_000_000, 9));
    eventually(secs(15), "it has moved", || {
        scene
            .position(asset)
            .is_some_and(|one| one["longitude"] == 20.0)
    });
    let mut page = Events::open(scene.web, &format!("/api/v1/live?since={mark}"), "");
    page.position(asset, "what was missed", |one| one["longitude"] == 20.0);
    let mut again = Events::open(
        scene.web,
        "/api/v1/live",
        &format!("Last-Event-ID: {mark}\r\n"),
    );
    again.position(asset, "the same, as a browser asks", |one| {
        one["longitude"] == 20.0
    });
    let mut stranger = Events::open(scene.web, "/api/v1/live?since=12-3", "");
    stranger.wait(secs(10), "to load anew", |event| event.name == "reload");
}

#[test]
fn pages_that_read_nothing_are_dropped_and_cost_no_tracker_anything() {
    let mut scene = scene();
    let mut device = Device::login(scene.port, imei(1));
    let mut second = now();
    send(&mut device, at(second, 100_000_000, 9));
    // Enough to say that no buffer on the way holds it.
    scene
        .sql
        .batch_execute(
            "INSERT INTO trackport.asset (name) SELECT 'box ' || n FROM generate_series(1, 1500) n",
        )
        .unwrap();
    eventually(secs(20), "all are shown", || {
        let positions = scene.positions();
        positions["positions"].as_array().expect("an array").len() == 1501
    });
    let stalled: Vec<Events> = (0..48)
        .map(|_| {
            let small = Device::connect_with_window(4096, scene.web);
            let stream = small.stream().try_clone().expect("a second handle");
            Events::begin(stream, "/api/v1/live", "")
        })
        .collect();
    eventually(secs(10), "all places are taken", || {
        let page = Events::open(scene.web, "/api/v1/live", "");
        page.status() == 503 && page.head.contains("retry-after: 30")
    });
    for round in 0..3 {
        scene
            .sql
            .execute(
                "UPDATE trackport.asset SET name = left(name, 12) || $1",
                &[&format!(", round {round}, {}", "x".repeat(150))],
            )
            .unwrap();
        second += 1;
        send(&mut device, at(second, 100_000_000, 9));
        assert_eq!(get(scene.web, "/healthz").status, 200);
    }
    eventually(secs(40), "there are places again", || {
        second += 1;
        send(&mut device, at(second, 100_000_000, 9));
        Events::open(scene.web, "/api/v1/live", "").status() == 200
    });
    drop(stalled);
}

#[test]
fn a_database_that_is_away_leaves_the_map_as_it_was_and_says_so() {
    let cluster = Cluster::start();
    let mut scene = scene_on(&cluster);
    let mut device = Device::login(scene.port, imei(1));
    send(&mut device, at(now() - 100, 100_000_000, 9));
    let asset = scene.asset(1);
    let mut page = scene.follow();
    eventually(secs(15), "it is known", || {
        scene
            .position(asset)
            .is_some_and(|one| one["longitude"] == 10.0)
    });
    cluster.stop_server("immediate");
    let trouble = page.wait(secs(20), "that the database is away", |event| {
        event.name == "trouble"
    });
    assert!(trouble.data["text"].is_string(), "{trouble:?}");
    let positions = scene.positions();
    assert!(positions["trouble"].is_string(), "{positions}");
    assert_eq!(scene.position(asset).expect("as it was")["longitude"], 10.0);
    send(&mut device, at(now() - 50, 200_000_000, 9));
    cluster.start_server();
    page.wait(secs(40), "that it is back", |event| {
        event.name == "trouble" && event.data["text"].is_null()
    });
    page.position(asset, "what was sent meanwhile", |one| {
        one["longitude"] == 20.0
    });
    assert!(scene.positions()["trouble"].is_null());
    assert!(scene.daemon.is_alive());
}

#[test]
fn a_sensor_that_is_broken_is_said_and_a_limit_that_is_passed_too() {
    let mut scene = scene();
    scene
        .sql
        .batch_execute("UPDATE trackport.group SET temperature_max = 8 WHERE id = 1")
        .unwrap();
    let mut page = scene.follow();
    let mut device = Device::login(scene.port, imei(1));
    let probe = |second, raw| RecordSpec {
        io: vec![(72, IoSpec::Fixed { width: 4, raw })],
        ..record(second)
    };
    let second = now() - 100;
    send(&mut device, probe(second, 81));
    let asset = scene.asset(1);
    let warm = page.position(asset, "too warm", |one| one["flags"][0] == "too_warm");
    assert_eq!(
        warm["temperature"],
        serde_json::json!([8.1, null, null, null])
    );
    send(&mut device, probe(second + 10, 3000));
    let broken = page.position(asset, "a broken probe", |one| {
        one["flags"][0] == "sensor_fault"
    });
    assert!(broken["temperature"].is_null(), "{broken}");
    assert_eq!(
        broken["flags"].as_array().expect("flags").len(),
        1,
        "{broken}"
    );
}

#[test]
fn each_sees_its_groups_and_what_is_taken_away_is_gone_within_the_minute() {
    let (database, mut sql) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"");
    let daemon = Setup::new(&database.url).port(port).more(&http).start();
    let mut devices: Vec<Device> = (1..3)
        .map(|number| Device::login(port, imei(number)))
        .collect();
    for device in &mut devices {
        send(device, at(now() - 100, 100_000_000, 9));
    }
    daemon.must(&["group", "add", "north"]);
    let mine = asset_of(&mut sql, 1);
    let other = asset_of(&mut sql, 2);
    daemon.must(&["asset", "set", &mine.to_string(), "--group", "north"]);
    daemon.must(&[
        "user",
        "add",
        "v",
        "--no-password",
        "--group",
        "north",
        "--role",
        "viewer",
    ]);
    let token = daemon.must(&["user", "token", "v", "test"]);
    let viewer = Person::new(web).token(token.lines().last().expect("a token"));
    let assets = || -> Vec<i64> {
        let positions = viewer.get("/api/v1/positions");
        if positions.status == 503 {
            return Vec::new();
        }
        let positions = positions.json();
        let all = positions["positions"].as_array().expect("an array");
        all.iter().filter_map(|one| one["asset"].as_i64()).collect()
    };
    eventually(secs(20), "the own asset is seen", || {
        assets() == [i64::from(mine)]
    });
    assert_eq!(get(web, "/api/v1/live").status, 401);
    for path in ["track", "series", "elements", "events", "records"] {
        assert_eq!(
            viewer.status(&format!("/assets/{mine}/{path}")),
            200,
            "{path}"
        );
        assert_eq!(
            viewer.status(&format!("/assets/{other}/{path}")),
            404,
            "{path}"
        );
    }
    let records = format!("/devices/{}/records", imei(1));
    assert_eq!(
        viewer.status(&records),
        404,
        "who only looks keeps no devices"
    );
    let mut page = Events::open(web, "/api/v1/live", &viewer.headers);
    assert_eq!(page.status(), 200, "{}", page.head);
    // What the other's device says does not come before what the own one says later.
    send(&mut devices[1], at(now() - 50, 200_000_000, 9));
    send(&mut devices[0], at(now() - 40, 200_000_000, 9));
    let seen = page.wait(secs(15), "the own device", |event| {
        event.name == "positions"
    });
    let seen = seen.data["positions"]
        .as_array()
        .expect("positions")
        .clone();
    assert!(seen.iter().all(|one| one["asset"] == mine), "{seen:?}");
    daemon.must(&["asset", "set", &mine.to_string(), "--group", "fleet"]);
    page.wait(secs(15), "that it went to others", |event| {
        event.name == "removed" && event.data == serde_json::json!([mine])
    });
    assert_eq!(assets(), [0_i64; 0]);
    sql.execute("DELETE FROM trackport.member", &[]).unwrap();
    page.wait(secs(60), "that its rights have changed", |event| {
        event.name == "reload"
    });
    sql.execute("UPDATE trackport.api_token SET revoked_at = now()", &[])
        .unwrap();
    assert!(page.next(secs(60)).is_none(), "nothing more is told");
    assert_eq!(page.read_on(secs(5)), Some(0), "the stream has ended");
}
