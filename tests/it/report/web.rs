//! Reports and exports over HTTP: whoever asks gets what they see and nothing else.

use std::io::{Read as _, Write as _};

use serde_json::Value;

use super::files::{cells, unzipped};
use crate::harness::daemon::{Daemon, Setup};
use crate::harness::http::{Answer, ask, connect, get};
use crate::harness::past::{Fitted, M_PER_CENTIDEGREE, device, drive};
use crate::harness::{free_port, imei, postgres as pg};

const SPAN: &str = "from=2026-11-02T00:00:00Z&to=2026-11-03T00:00:00Z";

struct Place {
    daemon: Daemon,
    client: postgres::Client,
    web: u16,
    /// In the first group.
    van: Fitted,
    /// In group `depot`.
    lorry: Fitted,
    depot: i32,
}

/// Two assets in two groups, each with a trip, and a server; `access` is who may come in.
fn place(access: &str) -> Place {
    let (database, mut client) = pg::shared().migrated();
    let [van, lorry] = [1, 2].map(|number| device(&mut client, number));
    let depot: i32 = client
        .query_one(
            "INSERT INTO trackport.group (name) VALUES ('depot') RETURNING id",
            &[],
        )
        .unwrap()
        .get(0);
    client
        .execute(
            "UPDATE trackport.asset SET group_id = $1 WHERE id = $2",
            &[&depot, &lorry.asset],
        )
        .unwrap();
    drive(&mut client, van.device, "2026-11-02 08", 0, 20, 0.0);
    drive(&mut client, lorry.device, "2026-11-02 09", 0, 10, 0.0);
    let web = free_port();
    let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"\naccess = \"{access}\"");
    let daemon = Setup::new(&database.url)
        .port(free_port())
        .more(&http)
        .start();
    daemon.wait_ready();
    Place {
        daemon,
        client,
        web,
        van,
        lorry,
        depot,
    }
}

impl Place {
    #[track_caller]
    fn report(&self, question: &str) -> Value {
        let answer = get(self.web, &format!("/api/v1/reports/{question}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

/// The body as bytes, its chunks put together.
fn bytes_of(port: u16, path: &str) -> (String, Vec<u8>) {
    let mut stream = connect(port);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let mut rest = &all[end + 4..];
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return (head, rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let length =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return (head, body);
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
}

fn names(report: &Value) -> Vec<i64> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
}

#[test]
fn a_report_over_the_api_is_the_one_of_sql() {
    let place = place("open");
    let list = get(place.web, "/api/v1/reports").json();
    assert_eq!(list.as_array().unwrap().len(), 7);
    let report = place.report(&format!("trips?{SPAN}"));
    assert_eq!(report["report"], "trips");
    assert_eq!(report["time_zone"], "UTC");
    assert_eq!(
        names(&report),
        [place.van.asset, place.lorry.asset].map(i64::from)
    );
    let keys: Vec<&str> = report["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["key"].as_str().unwrap())
        .collect();
    let distance = keys.iter().position(|key| *key == "distance_m").unwrap();
    let metres = report["rows"][0][distance].as_f64().unwrap();
    assert!((metres - 20.0 * M_PER_CENTIDEGREE).abs() < 1.0, "{report}");
    assert_eq!(report["summary"]["n_rows"], 2);
    assert_eq!(report["summary"]["duration_s"], 1800);
    // Assets and groups choose.
    let (van, depot) = (place.van.asset, place.depot);
    assert_eq!(
        names(&place.report(&format!("trips?{SPAN}&asset={van}"))),
        [i64::from(van)]
    );
    assert_eq!(
        names(&place.report(&format!("trips?{SPAN}&group={depot}"))),
        [i64::from(place.lorry.asset)]
    );
    // So do words.
    assert_eq!(
        place.report("daily?from=2026-11-02")["to"],
        "2026-11-03T00:00:00Z"
    );
}

#[test]
fn a_spreadsheet_and_a_table_are_files_with_names() {
    let mut place = place("open");
    let (head, body) = bytes_of(
        place.web,
        &format!("/api/v1/reports/trips?{SPAN}&format=xlsx"),
    );
    assert!(
        head.contains("filename=\"trackport-trips-2026-11-02-2026-11-02.xlsx\""),
        "{head}"
    );
    let sheet = cells(&unzipped(&body), 1);
    assert_eq!(sheet["B2"], imei(1).to_string());
    assert_eq!(sheet["B3"], imei(2).to_string());
    let csv = get(
        place.web,
        &format!("/api/v1/reports/trips?{SPAN}&format=csv"),
    );
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert_eq!(csv.body.lines().count(), 3, "{}", csv.body);
    // Who took data away is noted.
    let n_noted: i64 = place
        .client
        .query_one("SELECT count(*) FROM trackport.audit WHERE action = 'exported' AND what->>'report' = 'trips'", &[])
        .unwrap()
        .get(0);
    assert_eq!(n_noted, 2);
}

#[test]
fn a_track_is_sent_as_a_file_with_a_name_that_is_none_of_a_header() {
    let mut place = place("open");
    place
        .client
        .execute(
            "UPDATE trackport.asset SET name = $1 WHERE id = $2",
            &[&"a\"\r\nX-Evil: 1", &place.van.asset],
        )
        .unwrap();
    let path = format!("/api/v1/assets/{}/export?{SPAN}&format=", place.van.asset);
    for (format, kind, begin) in [
        ("gpx", "application/gpx+xml", "<?xml"),
        ("kml", "application/vnd.google-earth.kml+xml", "<?xml"),
        (
            "geojson",
            "application/geo+json",
            "{\"type\":\"FeatureCollection\"",
        ),
        ("csv", "text/csv", "asset,imei,time"),
    ] {
        let (head, body) = bytes_of(place.web, &format!("{path}{format}"));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.contains(kind) && !head.to_lowercase().contains("x-evil:"),
            "{head}"
        );
        assert!(
            head.contains(&format!("a___X-Evil__1-2026-11-02-2026-11-02.{format}\"")),
            "{head}"
        );
        assert!(body.starts_with(begin.as_bytes()), "{format}");
    }
}

#[test]
fn what_is_none_is_refused_in_the_words_of_the_api() {
    let place = place("open");
    for (path, status, said) in [
        ("reports/nothing?from=today".to_owned(), 404, "daily, trips"),
        ("reports/daily".to_owned(), 422, "from"),
        ("reports/daily?from=soon".to_owned(), 422, "is no time"),
        (
            "reports/daily?from=today&format=pdf".to_owned(),
            422,
            "xlsx",
        ),
        ("reports/daily?from=today&asset=x".to_owned(), 422, "asset"),
        (
            "reports/daily?from=today&asset=999999".to_owned(),
            404,
            "999999",
        ),
        (
            "reports/daily?from=today&group=999999".to_owned(),
            404,
            "999999",
        ),
        (format!("assets/999999/export?{SPAN}"), 404, "999999"),
        (
            format!("assets/{}/export?{SPAN}&format=doc", place.van.asset),
            422,
            "geojson",
        ),
    ] {
        let answer = get(place.web, &format!("/api/v1/{path}"));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let text = answer.json()["error"]["text"].as_str().unwrap().to_owned();
        assert!(text.contains(said), "{path}: {text}");
    }
}

#[test]
fn too_many_lines_are_refused_with_what_helps() {
    let mut place = place("open");
    place
        .client
        .execute(
            "INSERT INTO trackport.record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
                 speed_kmh, priority, event_id, codec, port, events, io)
             SELECT $1, timestamptz '2026-11-02' + n * interval '0.5 s', n, now(), 16, 48, 0, 0, 9, 0, 0, 0, 8, 5027, 8, ''
             FROM generate_series(1, 100001) n",
            &[&place.van.device],
        )
        .unwrap();
    let (head, body) = bytes_of(place.web, &format!("/api/v1/reports/events?{SPAN}"));
    assert!(head.starts_with("HTTP/1.1 422"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = body["error"]["text"].as_str().unwrap();
    assert!(
        text.contains("100000") && text.contains("trackport report events"),
        "{text}"
    );
}

#[test]
fn nobody_reports_about_what_they_do_not_see() {
    let place = place("login");
    place.daemon.must(&[
        "user",
        "add",
        "berger",
        "--group",
        "depot",
        "--role",
        "viewer",
        "--no-password",
    ]);
    let token = place.daemon.must(&["user", "token", "berger", "test"]);
    let token = token
        .split_whitespace()
        .find(|word| word.len() > 30)
        .unwrap();
    let asked = |path: &str| -> Answer {
        ask(
            place.web,
            "GET",
            &format!("/api/v1/{path}"),
            &format!("Authorization: Bearer {token}\r\n"),
        )
    };
    let stranger = get(place.web, &format!("/api/v1/reports/daily?{SPAN}"));
    assert_eq!(stranger.status, 401, "{stranger:?}");
    let export = |asset: i32| asked(&format!("assets/{asset}/export?{SPAN}"));
    let mine = asked(&format!("reports/daily?{SPAN}"));
    assert_eq!(mine.status, 200, "{mine:?}");
    assert_eq!(names(&mine.json()), [i64::from(place.lorry.asset)]);
    assert_eq!(mine.json()["parameters"]["groups"], "depot");
    assert_eq!(
        asked(&format!("reports/daily?{SPAN}&asset={}", place.van.asset)).status,
        404
    );
    assert_eq!(asked(&format!("reports/daily?{SPAN}&group=1")).status, 404);
    assert_eq!(export(place.van.asset).status, 404);
    assert_eq!(export(place.lorry.asset).status, 200);
}
