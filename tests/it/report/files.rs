//! `trackport report`: the same figures as SQL has, as a table, CSV, JSON and spreadsheet.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Output;

use flate2::read::DeflateDecoder;
use serde_json::Value;

use super::sql::rows;
use crate::harness::daemon::{Daemon, Setup, text};
use crate::harness::past::{Fitted, Said, device, drive, record};
use crate::harness::{free_port, postgres as pg};

const DAY: &str = "'2026-11-02 Europe/Vienna', '2026-11-03 Europe/Vienna'";

struct Place {
    daemon: Daemon,
    client: postgres::Client,
    van: Fitted,
}

/// A trackport that does not run, and a van that did something on the second of November, in Vienna.
fn place() -> Place {
    let (database, mut client) = pg::shared().migrated();
    client
        .batch_execute(
            "UPDATE trackport.group SET time_zone = 'Europe/Vienna', temperature_max = 8",
        )
        .unwrap();
    let van = device(&mut client, 1);
    let north = drive(&mut client, van.device, "2026-11-02 08", 0, 20, 0.0);
    for minute in ["10", "20", "30"] {
        let said = Said {
            temperature: Some(9.5),
            events: (minute == "20").then_some(8),
            ..Said::parked().at(north)
        };
        record(
            &mut client,
            van.device,
            &format!("2026-11-02 09:{minute}:00Z"),
            &said,
        );
    }
    let daemon = Setup::new(&database.url).port(free_port()).write();
    Place {
        daemon,
        client,
        van,
    }
}

impl Place {
    fn report(&self, args: &[&str]) -> Output {
        self.daemon.command(&[&["report"], args].concat())
    }

    #[track_caller]
    fn must(&self, args: &[&str]) -> String {
        self.daemon.must(&[&["report"], args].concat())
    }
}

/// The files within a ZIP archive, by name: from its directory at the end, as every reader does.
pub(super) fn unzipped(bytes: &[u8]) -> BTreeMap<String, String> {
    let short = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    let long = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let end = bytes
        .windows(4)
        .rposition(|four| four == b"PK\x05\x06")
        .expect("a ZIP archive");
    let mut at = long(end + 16);
    let mut files = BTreeMap::new();
    for _ in 0..short(end + 10) {
        assert_eq!(&bytes[at..at + 4], b"PK\x01\x02");
        let (method, size, local) = (short(at + 10), long(at + 20), long(at + 42));
        let name = String::from_utf8(bytes[at + 46..at + 46 + short(at + 28)].to_vec()).unwrap();
        let begin = local + 30 + short(local + 26) + short(local + 28);
        let packed = &bytes[begin..begin + size];
        let mut text = String::new();
        match method {
            0 => text.push_str(std::str::from_utf8(packed).unwrap()),
            8 => {
                DeflateDecoder::new(packed)
                    .read_to_string(&mut text)
                    .unwrap();
            }
            other => panic!("method {other}"),
        }
        files.insert(name, text);
        at += 46 + short(at + 28) + short(at + 30) + short(at + 32);
    }
    files
}

/// The cells of a sheet by their places (`B2`), texts looked up.
pub(super) fn cells(files: &BTreeMap<String, String>, sheet: usize) -> BTreeMap<String, String> {
    let inside = |text: &str, begin: &str, end: &str| -> Option<String> {
        let text = &text[text.find(begin)? + begin.len()..];
        Some(text[..text.find(end)?].to_owned())
    };
    let shared: Vec<String> = files["xl/sharedStrings.xml"]
        .split("<si>")
        .skip(1)
        .map(|one| {
            let text = &one[one.find("<t").unwrap()..];
            inside(text, ">", "</t>").unwrap()
        })
        .collect();
    files[&format!("xl/worksheets/sheet{sheet}.xml")]
        .split("<c ")
        .skip(1)
        .filter_map(|cell| {
            let value = inside(cell, "<v>", "</v>")?;
            let place = inside(cell, "r=\"", "\"")?;
            let is_text = cell.split('>').next().unwrap().contains("t=\"s\"");
            let value = if is_text {
                shared[value.parse::<usize>().unwrap()].clone()
            } else {
                value
            };
            Some((place, value))
        })
        .collect()
}

#[test]
fn sql_csv_json_and_spreadsheet_have_the_same_figures() {
    let mut place = place();
    let columns =
        "day, asset, distance_m, engine_s, moving_s, parked_s, no_data_s, top_speed_kmh, n_records";
    let in_sql = rows(&mut place.client, "daily", &[place.van.asset], DAY, columns);
    let [in_sql] = &in_sql[..] else {
        panic!("{in_sql:?}");
    };
    let keys: Vec<&str> = columns.split(", ").collect();
    let asked = ["daily", "--from", "2026-11-02", "--to", "2026-11-02"];

    let json: Value =
        serde_json::from_str(&place.must(&[&asked[..], &["--format", "json"]].concat())).unwrap();
    assert_eq!(
        (&json["from"], &json["to"]),
        (
            &"2026-11-01T23:00:00Z".into(),
            &"2026-11-02T23:00:00Z".into()
        )
    );
    let places: Vec<usize> = keys
        .iter()
        .map(|key| {
            let columns = json["columns"].as_array().unwrap();
            columns
                .iter()
                .position(|column| column["key"] == *key)
                .unwrap()
        })
        .collect();
    let in_json: Vec<String> = places
        .iter()
        .map(|place| match &json["rows"][0][*place] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    assert_eq!(&in_json, in_sql);
    assert_eq!(json["summary"]["distance_m"].to_string(), in_sql[2]);
    assert_eq!(json["parameters"]["trip_by"], "ignition");
    assert_eq!(json["parameters"]["gap_max_s"], 900);

    let csv = place.must(&[&asked[..], &["--format", "csv"]].concat());
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    let header = csv.headers().unwrap().clone();
    let row = csv.records().next().unwrap().unwrap();
    let in_csv: Vec<String> = keys
        .iter()
        .map(|key| row[header.iter().position(|name| name == *key).unwrap()].to_owned())
        .collect();
    assert_eq!(&in_csv, in_sql);
    let first = &row[header.iter().position(|name| name == "first_time").unwrap()];
    assert_eq!(first, "2026-11-02T09:00:00+01:00");

    let output = place.report(&[&asked[..], &["--format", "xlsx"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = unzipped(&output.stdout);
    let sheet = cells(&files, 1);
    let letter = |place: &usize| char::from(b'A' + u8::try_from(*place).unwrap());
    for ((place, key), expected) in places.iter().zip(&keys).zip(in_sql) {
        let cell = &sheet[&format!("{}2", letter(place))];
        match *key {
            // Excel counts days from the end of 1899.
            "day" => assert_eq!(cell, "46328"),
            "asset" => assert_eq!(cell, expected),
            key if key.ends_with("_s") => {
                let seconds = cell.parse::<f64>().unwrap() * 86_400.0;
                assert!(
                    (seconds - expected.parse::<f64>().unwrap()).abs() < 0.001,
                    "{key}: {cell}"
                );
            }
            key => assert_eq!(
                cell.parse::<f64>().unwrap(),
                expected.parse::<f64>().unwrap(),
                "{key}"
            ),
        }
    }
    let rules = cells(&files, 2);
    assert!(
        rules.values().any(|text| text == "Europe/Vienna"),
        "{rules:?}"
    );
    assert!(files["xl/worksheets/sheet1.xml"].contains("state=\"frozen\""));
    assert!(files["xl/styles.xml"].contains("[h]:mm:ss"));
}

#[test]
fn a_table_says_by_which_rules_it_is_and_who_owes_data() {
    let mut place = place();
    place
        .client
        .execute(
            "INSERT INTO trackport.device_state (device_id, last_contact_at) VALUES ($1, '2026-11-02 09:30Z')",
            &[&place.van.device],
        )
        .unwrap();
    let table = place.must(&["trips", "--from", "2026-11-02"]);
    for said in [
        "times of Europe/Vienna",
        "trips by ignition",
        "a gap of 15 min splits",
        "Complete up to 2026-11-02T09:30:00Z",
        "1 device may still owe data",
        "2026-11-02 09:00:00",
        "22.2 km",
        "0:20:00",
        "1 line, together:",
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
    let output = place.report(&["trips", "--from", "2026-11-02", "--format", "csv"]);
    assert!(text(&output.stderr).contains("may still owe data"));
}

#[test]
fn every_report_can_be_had_in_every_form() {
    let place = place();
    for name in [
        "daily",
        "trips",
        "stops",
        "temperature",
        "events",
        "offline",
        "odometer",
    ] {
        for format in ["table", "csv", "json"] {
            let said = place.must(&[
                name,
                "--from",
                "2026-11-02",
                "--group",
                "fleet",
                "--format",
                format,
            ]);
            assert!(!said.is_empty(), "{name} {format}");
        }
        let listed = place.must(&["list"]);
        assert!(listed.contains(&format!("{name}: ")), "{listed}");
    }
    let events = place.must(&["events", "--from", "2026-11-02", "--format", "csv"]);
    assert!(events.contains(",shock,"), "{events}");
    let warm = place.must(&["temperature", "--from", "2026-11-02", "--format", "csv"]);
    assert!(warm.contains(",above,8,9.5,9.5,"), "{warm}");
}

#[test]
fn what_is_none_is_refused_in_words() {
    let place = place();
    for (args, code, said) in [
        (&["nothing"][..], 64, "there is no such report"),
        (&["daily", "--from", "soon"], 1, "is no time"),
        (
            &["daily", "--from", "2026-11-02", "--to", "2026-11-01"],
            1,
            "ends before it begins",
        ),
        (&["daily", "--asset", "Nobody"], 1, "there is no asset"),
        (&["daily", "--group", "Nobody"], 1, "there is no group"),
        (&["daily", "--device", "123"], 64, "IMEI"),
        (&["daily", "--device", "350000000000999"], 1, "never fitted"),
    ] {
        let output = place.report(args);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
}

#[test]
fn a_name_in_a_table_is_no_formula_and_does_not_steer_the_terminal() {
    let mut place = place();
    place
        .client
        .execute(
            "UPDATE trackport.asset SET name = $1",
            &[&"=HYPERLINK(\"http://a\")\u{1b}[2J"],
        )
        .unwrap();
    let csv = place.must(&["daily", "--from", "2026-11-02", "--format", "csv"]);
    assert!(csv.contains("\"'=HYPERLINK(\"\"http://a\"\")"), "{csv}");
    let table = place.must(&["daily", "--from", "2026-11-02"]);
    assert!(!table.contains('\u{1b}'), "{table}");
    let output = place.report(&["daily", "--from", "2026-11-02", "--format", "xlsx"]);
    let files = unzipped(&output.stdout);
    let sheet = &files["xl/worksheets/sheet1.xml"];
    assert!(!sheet.contains("<f>"), "{sheet}");
}
