//! Tracks, charts, events and records of an asset are what plain SQL says, whatever the span; and of nobody else.

use postgres::Client;
use serde_json::{Value, json};

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::http::get;
use crate::harness::{eventually, free_port, postgres as pg, secs};

/// A server whose web is open to this machine, and a device with an asset.
struct Scene {
    _daemon: Daemon,
    sql: Client,
    web: u16,
    device: i32,
    asset: i32,
}

const IMEI: &str = "356307042441013";

fn scene() -> Scene {
    let (database, mut sql) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"\naccess = \"open\"");
    let daemon = Setup::new(&database.url).port(port).more(&http).start();
    let device = device(&mut sql, IMEI);
    let asset = asset_of(&mut sql, device);
    eventually(secs(20), "the API answers", || {
        get(web, &format!("/api/v1/assets/{asset}/events")).status == 200
    });
    Scene {
        _daemon: daemon,
        sql,
        web,
        device,
        asset,
    }
}

fn device(sql: &mut Client, imei: &str) -> i32 {
    let row = sql.query_one(
        "INSERT INTO trackport.device (imei, model) VALUES ($1, 'FMB120') RETURNING id",
        &[&imei],
    );
    row.unwrap().get(0)
}

fn asset_of(sql: &mut Client, device: i32) -> i32 {
    let row = sql.query_one(
        "SELECT asset_id FROM trackport.fitting WHERE device_id = $1",
        &[&device],
    );
    row.unwrap().get(0)
}

impl Scene {
    /// Records of `times` (SQL that yields column `time`), with expressions over `n`, the record's number.
    fn insert(&mut self, device: i32, times: &str, columns: &[(&str, &str)]) {
        let usual = [
            ("longitude", "16 + n * 0.0001"),
            ("latitude", "48"),
            ("satellites", "9"),
            ("speed_kmh", "50"),
            ("codec", "8"),
            ("io", r"'\x0000000000'"),
        ];
        let mut all: Vec<(&str, &str)> = columns.to_vec();
        all.extend(
            usual
                .iter()
                .filter(|(name, _)| columns.iter().all(|(other, _)| other != name)),
        );
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = all.iter().map(|(_, value)| *value).collect();
        self.sql
            .batch_execute(&format!(
                "INSERT INTO trackport.record (device_id, time, digest, received_at, altitude_m, angle_deg, priority, event_id, port, {})
                 SELECT {device}, time, n, time, 100, 90, 0, 0, 5027, {}
                 FROM (SELECT time, row_number() OVER (ORDER BY time) AS n FROM ({times}) t) t",
                names.join(", "),
                values.join(", ")
            ))
            .unwrap();
    }

    #[track_caller]
    fn ask(&self, path: &str) -> Value {
        let answer = get(self.web, &format!("/api/v1/assets/{}/{path}", self.asset));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
}

const DAY: &str = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z";

#[test]
fn a_year_in_a_chart_is_what_sql_says() {
    let mut scene = scene();
    let device = scene.device;
    scene.insert(
        device,
        "SELECT generate_series(timestamptz '2025-01-01', '2025-12-31 23:55', '5 min') AS time",
        &[
            ("speed_kmh", "(n * 7919) % 131"),
            ("temperature_1", "((n * 104729) % 7001) / 100.0 - 30"),
        ],
    );
    let answer = scene.ask("series?from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&points=1000&what=speed_kmh,temperature_1");
    assert_eq!(answer["n_records"], 365 * 288);
    assert_eq!(answer["thinned"], true);
    assert_eq!(answer["gaps"], json!([]));
    for (place, column) in ["speed_kmh", "temperature_1"].into_iter().enumerate() {
        let line = &answer["series"][place];
        assert_eq!(line["key"], column);
        let rows = scene
            .sql
            .query(
                &format!(
                    "SELECT extract(epoch FROM max(time))::bigint, min({column})::float8, max({column})::float8,
                         (array_agg({column}::float8 ORDER BY time DESC))[1]
                     FROM trackport.record
                     GROUP BY floor(extract(epoch FROM time - timestamptz '2025-01-01') * 1000000
                         / (365 * 86400000000.0 / 1000 + 1)) ORDER BY 1"
                ),
                &[],
            )
            .unwrap();
        assert_eq!(line["time"].as_array().unwrap().len(), rows.len());
        for (place, row) in rows.iter().enumerate() {
            assert_eq!(line["time"][place].as_i64(), Some(row.get::<_, i64>(0)));
            for (key, column) in [("min", 1), ("max", 2), ("last", 3)] {
                let (said, meant) = (
                    line[key][place].as_f64().unwrap(),
                    row.get::<_, f64>(column),
                );
                assert!((said - meant).abs() < 1e-4, "{key} {place}: {said} {meant}");
            }
        }
    }
}

#[test]
fn an_io_element_is_what_the_view_reading_says() {
    let mut scene = scene();
    let device = scene.device;
    scene.insert(
        device,
        "SELECT generate_series(timestamptz '2026-03-01 08:00', '2026-03-01 11:00', '1 min') AS time",
        &[(
            "io",
            // One element of two bytes: 72, a signed temperature, now and then a code.
            r"'\x01000148'::bytea || substring(int4send(CASE WHEN n % 10 = 0 THEN 3000 ELSE (n % 400)::integer - 200 END) FROM 3) || '\x0000'::bytea",
        )],
    );
    let answer = scene.ask(&format!("series?{DAY}&what=io:72"));
    let line = &answer["series"][0];
    assert_eq!(
        (&line["name"], &line["unit"]),
        (&"Dallas Temperature 1".into(), &"°C".into())
    );
    let rows = scene
        .sql
        .query(
            "SELECT extract(epoch FROM time)::bigint, value::float8, error FROM trackport.reading WHERE avl_id = 72 ORDER BY time",
            &[],
        )
        .unwrap();
    let meant: Vec<(i64, f64)> = rows
        .iter()
        .filter_map(|row| Some((row.get(0), row.get::<_, Option<f64>>(1)?)))
        .collect();
    let said: Vec<(i64, f64)> = (0..line["time"].as_array().unwrap().len())
        .filter_map(|place| Some((line["time"][place].as_i64()?, line["last"][place].as_f64()?)))
        .collect();
    assert_eq!(said, meant);
    let n_faults = rows
        .iter()
        .filter(|row| row.get::<_, Option<&str>>(2) == Some("not connected"))
        .count();
    assert_eq!(line["faults"].as_array().unwrap().len(), n_faults);
    assert_eq!(line["faults"][0]["text"], "not connected");
    assert_eq!(line["faults"][0]["from"], "2026-03-01T08:09:00Z");
    assert_eq!(line["faults"][0]["to"], "2026-03-01T08:10:00Z");
    let elements = scene.ask(&format!("elements?{DAY}"));
    let probe = elements
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["key"] == "io:72");
    assert_eq!(
        probe,
        Some(
            &json!({"key": "io:72", "avl_id": 72, "name": "Dallas Temperature 1", "unit": "°C", "n": 181, "number": true})
        )
    );
    let typed: Vec<&str> = elements
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["key"].as_str())
        .collect();
    assert!(
        typed.contains(&"speed_kmh") && !typed.contains(&"temperature_1"),
        "{typed:?}"
    );
}

#[test]
fn a_broken_probe_is_a_fault_and_never_a_temperature() {
    let mut scene = scene();
    let device = scene.device;
    scene.insert(
        device,
        "SELECT generate_series(timestamptz '2026-03-01 08:00', '2026-03-01 08:59', '1 min') AS time",
        &[
            ("temperature_1", "CASE WHEN n BETWEEN 21 AND 40 THEN NULL ELSE 4.5 END"),
            ("sensor_fault", "CASE WHEN n BETWEEN 21 AND 40 THEN 1 END"),
            // 2000: read error.
            ("io", r"CASE WHEN n BETWEEN 21 AND 40 THEN '\x0100014807D00000'::bytea ELSE '\x01000148002D0000'::bytea END"),
        ],
    );
    let answer = scene.ask(&format!("series?{DAY}&what=temperature_1,speed_kmh"));
    let line = &answer["series"][0];
    assert_eq!(
        line["faults"],
        json!([{"from": "2026-03-01T08:20:00Z", "to": "2026-03-01T08:40:00Z", "text": "read error"}])
    );
    let values = line["last"].as_array().unwrap();
    assert_eq!(values.iter().filter(|one| **one == 4.5).count(), 40);
    assert_eq!(
        values.iter().filter(|one| one.is_null()).count(),
        1,
        "the line breaks once"
    );
    assert_eq!(values.len(), 41);
    assert!(
        answer["series"][1]["last"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| *one == 50)
    );
}

#[test]
fn a_gap_parts_the_track_and_the_line() {
    let mut scene = scene();
    let device = scene.device;
    scene.insert(
        device,
        "SELECT generate_series(timestamptz '2026-03-01 00:00', '2026-03-01 08:00', '1 min') AS time
         UNION ALL SELECT generate_series(timestamptz '2026-03-01 10:00', '2026-03-01 23:59', '1 min')",
        &[("satellites", "CASE WHEN n = 5 THEN 0 ELSE 9 END")],
    );
    let gap = json!([{"from": "2026-03-01T08:00:00Z", "to": "2026-03-01T10:00:00Z"}]);
    let track = scene.ask(&format!("track?{DAY}&points=20000"));
    assert_eq!(track["gaps"], gap);
    assert_eq!(
        (&track["n_records"], &track["thinned"]),
        (&1321.into(), &false.into())
    );
    let segments = track["segments"].as_array().unwrap();
    let lengths: Vec<usize> = segments
        .iter()
        .map(|one| one["time"].as_array().unwrap().len())
        .collect();
    assert_eq!(lengths, [480, 840], "without the one that had no fix");
    let thin = scene.ask(&format!("track?{DAY}&points=100"));
    assert_eq!(thin["thinned"], true);
    let thin = thin["segments"].as_array().unwrap();
    assert_eq!(thin.len(), 2);
    for (thin, whole) in thin.iter().zip(segments) {
        let ends = |one: &Value| {
            let all = one["time"].as_array().unwrap();
            (all.first().cloned(), all.last().cloned())
        };
        assert_eq!(ends(thin), ends(whole));
    }
    let n_thin: usize = thin
        .iter()
        .map(|one| one["time"].as_array().unwrap().len())
        .sum();
    assert!(n_thin <= 100, "{n_thin}");
    let chart = scene.ask(&format!("series?{DAY}&what=speed_kmh"));
    assert_eq!(chart["gaps"], gap);
    let breaks = chart["series"][0]["last"].as_array().unwrap();
    assert_eq!(breaks.iter().filter(|one| one.is_null()).count(), 1);
}

#[test]
fn of_a_device_an_asset_has_what_was_recorded_in_it_and_nothing_else() {
    let mut scene = scene();
    let (old, new) = (scene.device, device(&mut scene.sql, "356307042441021"));
    let other = asset_of(&mut scene.sql, new);
    let asset = scene.asset;
    scene
        .sql
        .batch_execute(&format!(
            "UPDATE trackport.fitting SET removed_at = '2026-03-01 12:00' WHERE device_id IN ({old}, {new});
             INSERT INTO trackport.fitting (device_id, asset_id, fitted_at) VALUES ({new}, {asset}, '2026-03-01 12:00')"
        ))
        .unwrap();
    let times = "SELECT generate_series(timestamptz '2026-03-01 11:00', '2026-03-01 12:59', '1 min') AS time";
    scene.insert(old, times, &[("speed_kmh", "10"), ("ignition", "n > 30")]);
    scene.insert(new, times, &[("speed_kmh", "20"), ("door", "n > 90")]);
    let chart = scene.ask(&format!("series?{DAY}&what=speed_kmh"));
    let speeds: Vec<i64> = chart["series"][0]["last"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert_eq!(speeds.len(), 120);
    assert_eq!(
        (&speeds[..60], &speeds[60..]),
        (&[10; 60][..], &[20; 60][..])
    );
    let track = scene.ask(&format!("track?{DAY}"));
    assert_eq!(
        track["segments"].as_array().unwrap().len(),
        2,
        "another device is another line"
    );
    let events = scene.ask(&format!("events?{DAY}"));
    let told: Vec<(&str, &str)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["time"].as_str().unwrap(), one["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("2026-03-01T11:30:00Z", "ignition_on"),
            ("2026-03-01T12:30:00Z", "door_open")
        ]
    );
    let records = scene.ask("records?limit=1000");
    assert_eq!(records["items"].as_array().unwrap().len(), 120);
    assert_eq!(records["before"], Value::Null);
    let before = get(
        scene.web,
        &format!("/api/v1/assets/{other}/records?limit=1000"),
    )
    .json();
    assert_eq!(before["items"].as_array().unwrap().len(), 60);
    let device = get(
        scene.web,
        "/api/v1/devices/356307042441021/records?limit=1000",
    )
    .json();
    assert_eq!(
        device["items"].as_array().unwrap().len(),
        120,
        "an administrator sees the device itself"
    );
}

#[test]
fn records_are_listed_to_the_last_with_everything_in_them() {
    let mut scene = scene();
    let device = scene.device;
    // Two at each time: a page must not end between them.
    scene.insert(
        device,
        "SELECT generate_series(timestamptz '2026-03-01 08:00', '2026-03-01 08:49', '1 min') AS time FROM generate_series(1, 2)",
        &[
            ("external_voltage_mv", "12000"),
            ("events", "CASE WHEN n = 100 THEN 2 | 64 END"),
            ("codec", "142"),
            // Ignition, a probe that is not connected, and a text of three bytes.
            ("io", r"'\x00030001 00EF01 0001 00480BB8 0000 0000 0001 01040003414243'".trim()),
        ],
    );
    let (mut n, mut before, mut oldest) = (0, String::new(), String::from("9"));
    loop {
        let page = scene.ask(&format!("records?limit=7{before}"));
        let items = page["items"].as_array().unwrap();
        for item in items {
            let time = item["time"].as_str().unwrap();
            assert!(time <= oldest.as_str(), "the newest first");
            time.clone_into(&mut oldest);
        }
        n += items.len();
        match page["before"].as_str() {
            Some(time) => before = format!("&before={time}"),
            None => break,
        }
    }
    assert_eq!(n, 100);
    let newest = &scene.ask("records?limit=2")["items"];
    let crash = newest
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["events"] != json!([]))
        .unwrap();
    assert_eq!(crash["events"], json!(["crash", "harsh_braking"]));
    assert_eq!(crash["typed"]["external_voltage_mv"], 12000);
    assert_eq!(
        crash["io"],
        json!([
            {"avl_id": 239, "name": "Ignition", "raw": 1, "value": 1},
            {"avl_id": 72, "name": "Dallas Temperature 1", "raw": 3000, "unit": "°C", "error": "not connected"},
            {"avl_id": 260, "name": crash["io"][2]["name"], "bytes": "414243"},
        ])
    );
}

#[test]
fn imported_positions_count_before_the_first_own_record() {
    let mut scene = scene();
    let device = scene.device;
    scene.insert(
        device,
        "SELECT generate_series(timestamptz '2026-03-01 12:00', '2026-03-01 12:09', '1 min') AS time",
        &[],
    );
    scene
        .sql
        .batch_execute(&format!(
            "INSERT INTO trackport.imported_device VALUES ({device});
             INSERT INTO trackport.imported_position (device_id, time, source, source_id, fix, longitude, latitude, speed_kmh)
             SELECT {device}, timestamptz '2026-03-01 11:51' + n * interval '1 min', 'traccar', n, true, 15, 47, 77
             FROM generate_series(0, 15) n"
        ))
        .unwrap();
    let chart = scene.ask(&format!("series?{DAY}&what=speed_kmh"));
    let speeds: Vec<i64> = chart["series"][0]["last"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert_eq!(speeds, [vec![77; 9], vec![50; 10]].concat());
    let view: i64 = scene
        .sql
        .query_one("SELECT count(*) FROM trackport.position", &[])
        .unwrap()
        .get(0);
    assert_eq!(chart["n_records"], view);
    let records = scene.ask("records?limit=15");
    let sources: Vec<bool> = records["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["source"] == "traccar")
        .collect();
    assert_eq!(sources, [vec![false; 10], vec![true; 5]].concat());
}

#[test]
fn what_makes_no_sense_is_told_with_what_would() {
    let scene = scene();
    for (path, status, word) in [
        ("track?from=yesterday", 422, "2026-11-24T15:30:00Z"),
        (
            "track?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
            422,
            "before",
        ),
        (
            "series?from=2000-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            422,
            "days",
        ),
        ("series?points=99", 422, "100"),
        ("series?what=colour", 422, "temperature_1"),
        ("records?limit=0", 422, "1000"),
        ("records?before=x", 422, "before"),
    ] {
        let answer = get(scene.web, &format!("/api/v1/assets/{}/{path}", scene.asset));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let text = answer.json()["error"]["text"].as_str().unwrap().to_owned();
        assert!(text.contains(word), "{path}: {text}");
    }
    for path in [
        "/api/v1/assets/999999/track",
        "/api/v1/assets/x/series",
        "/api/v1/devices/356307042441099/records",
    ] {
        assert_eq!(get(scene.web, path).status, 404, "{path}");
    }
}
