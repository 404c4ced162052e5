//! What must hold for whoever moves in from Traccar: its devices and positions come over whole, once, however often it is tried and wherever it
//! was interrupted; what cannot be taken is named by row and costs nothing else; the views show each time once.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use postgres::Client;
use serde_json::{Value, json};

use crate::harness::daemon::{BINARY, Daemon, Setup, text};
use crate::harness::device::{Device, encode, record};
use crate::harness::postgres::{self as pg, Database};
use crate::harness::rows::{add, number};
use crate::harness::{eventually, free_port, imei, kill, secs};
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::RecordSpec;
use trackport::store::imported::drop_imported;

/// A trackport that does not run, its database, and a database of Traccar.
struct Place {
    daemon: Daemon,
    here: Client,
    traccar: Database,
    there: Client,
}

impl Place {
    fn new() -> Place {
        let (database, here) = pg::shared().migrated();
        let daemon = Setup::new(&database.url).port(free_port()).write();
        let traccar = pg::shared().database();
        let mut there = traccar.connect();
        there
            .batch_execute("RESET search_path; SET statement_timeout = 0")
            .unwrap();
        there.batch_execute(include_str!("schema.sql")).unwrap();
        Place {
            daemon,
            here,
            traccar,
            there,
        }
    }

    /// Adds a device of the usual kind to Traccar.
    fn device(&mut self, id: i32, n: u64) {
        let sql =
            "INSERT INTO tc_devices (id, name, uniqueid, attributes) VALUES ($1, $2, $3, '{}')";
        let (name, unique) = (format!("Van {n}"), imei(n).to_string());
        self.there.execute(sql, &[&id, &name, &unique]).unwrap();
    }

    /// Adds `n` positions of a device to Traccar, one a minute, the first at `from`.
    fn positions(&mut self, device: i32, from: &str, n: i32) {
        let sql = format!(
            "INSERT INTO tc_positions (protocol, deviceid, servertime, devicetime, fixtime, valid, latitude, longitude, altitude, speed,
                 course, attributes)
             SELECT 'teltonika', {device}, t, t, t, true, 54.5 + n * 1e-6, 25.25, 100, 29.15766738660907, 90,
                 '{{\"priority\":0,\"sat\":9,\"ignition\":true,\"totalDistance\":' || n || '}}'
             FROM generate_series(0, {n} - 1) n, LATERAL (SELECT timestamp '{from}' + n * interval '1 min' AS t) t"
        );
        self.there.batch_execute(&sql).unwrap();
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [
            &["import", "traccar", "--from", self.traccar.url.as_str()],
            more,
        ]
        .concat()
    }

    /// Imports from the database, which must work, and returns what it said.
    #[track_caller]
    fn import(&self, more: &[&str]) -> (String, String) {
        self.run(&self.args(more))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> (String, String) {
        let output = self.daemon.command(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        (out, err)
    }

    fn n_imported(&mut self) -> i64 {
        let sql = "SELECT count(*) FROM trackport.imported_position";
        number(&mut self.here, sql, &[])
    }
}

/// A device as a list of its fields.
fn known(
    client: &mut Client,
    n: u64,
) -> (
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Value,
) {
    let sql = "SELECT name, model, phone, state, attributes FROM trackport.device WHERE imei = $1";
    let row = client.query_one(sql, &[&imei(n).to_string()]).unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn devices_come_with_what_was_known_of_them_and_disabled_ones_are_refused() {
    let mut place = Place::new();
    let insert = "INSERT INTO tc_devices (id, name, uniqueid, groupid, attributes, phone, model, contact, category, disabled)
                  VALUES ($1, $2, $3, 4, $4, $5, $6, 'Ann', 'van', $7)";
    place
        .there
        .batch_execute("INSERT INTO tc_groups (id, name) VALUES (4, 'North')")
        .unwrap();
    let odd = "Van \"7\", \\ ü\n;\t'x'";
    let settings = r#"{"speedLimit":48.5,"note":"a \"b\"\u0000"}"#;
    place
        .there
        .execute(
            insert,
            &[
                &1,
                &odd,
                &imei(1).to_string(),
                &settings,
                &"+370 600 00001",
                &"fmb920",
                &false,
            ],
        )
        .unwrap();
    place
        .there
        .execute(
            insert,
            &[&2, &"Gone", &imei(2).to_string(), &"{oops", &"", &"", &true],
        )
        .unwrap();
    place
        .there
        .execute(
            insert,
            &[&3, &"Phone", &"osmand-phone-7", &"{}", &"", &"", &false],
        )
        .unwrap();
    let (out, err) = place.import(&["--devices-only", "--dry-run"]);
    assert!(
        out.contains("2 devices to be added") && out.contains("nothing is changed"),
        "{out}"
    );
    assert_eq!(
        number(
            &mut place.here,
            "SELECT count(*) FROM trackport.device",
            &[]
        ),
        0
    );
    assert!(
        err.contains("tc_devices: id 3: \"osmand-phone-7\" is no IMEI of 15 digits"),
        "{err}"
    );

    let (out, _) = place.import(&["--devices-only"]);
    assert!(
        out.contains("2 devices added, 0 filled in, 0 as they were, 1 left out"),
        "{out}"
    );
    let (name, model, phone, state, attributes) = known(&mut place.here, 1);
    assert_eq!(name.as_deref(), Some(odd));
    assert_eq!(
        model.as_deref(),
        Some("FMB920"),
        "as the dictionary writes it"
    );
    assert_eq!(
        (phone.as_deref(), state.as_str()),
        (Some("+370 600 00001"), "accepted")
    );
    let wanted = json!({"traccar": {"id": 1, "category": "van", "contact": "Ann", "group": "North",
        "attributes": {"speedLimit": 48.5, "note": "a \"b\"\u{fffd}"}}});
    assert_eq!(attributes, wanted);
    let (_, model, phone, state, attributes) = known(&mut place.here, 2);
    assert_eq!((model, phone, state.as_str()), (None, None, "refused"));
    assert_eq!(
        attributes["traccar"]["attributes"],
        json!({"text": "{oops"})
    );
}

#[test]
fn what_somebody_wrote_here_stays_and_the_same_again_changes_nothing() {
    let mut place = Place::new();
    for n in 1..=3_u64 {
        place.device(i32::try_from(n).unwrap(), n);
    }
    place
        .there
        .batch_execute("UPDATE tc_devices SET phone = '123', disabled = true")
        .unwrap();
    add(&mut place.here, imei(1), None);
    place
        .here
        .batch_execute("UPDATE trackport.device SET name = 'Mine', attributes = '{\"a\": 1}'")
        .unwrap();
    let (out, _) = place.import(&["--devices-only"]);
    assert!(
        out.contains("2 devices added, 1 filled in, 0 as they were"),
        "{out}"
    );
    let (name, _, phone, state, attributes) = known(&mut place.here, 1);
    assert_eq!(
        (name.as_deref(), phone.as_deref()),
        (Some("Mine"), Some("123"))
    );
    assert_eq!(state, "accepted", "a state is nobody else's business");
    assert_eq!(
        (&attributes["a"], &attributes["traccar"]["id"]),
        (&json!(1), &json!(1))
    );
    let version = "SELECT max(version) FROM trackport.device";
    let before = number(&mut place.here, version, &[]);
    let (out, _) = place.import(&["--devices-only"]);
    assert!(
        out.contains("0 devices added, 0 filled in, 3 as they were"),
        "{out}"
    );
    assert_eq!(number(&mut place.here, version, &[]), before);
}

#[test]
fn positions_come_in_our_units_with_what_has_a_column_in_it_and_the_rest_as_json() {
    let mut place = Place::new();
    place.device(7, 1);
    place
        .there
        .batch_execute(
            r#"INSERT INTO tc_positions (id, protocol, deviceid, servertime, devicetime, fixtime, valid, latitude, longitude, altitude, speed,
                 course, address, attributes)
             VALUES (9, 'teltonika', 7, '2026-01-31 12:00:02', '2026-01-31 12:00:01.5', '2026-01-31 12:00:01.5', true, 54.6872, -25.25,
                 111.7, 29.15766738660907, 271, E'Main \\ street\t1', '{"priority":1,"sat":9,"event":239,"ignition":true,"motion":false,
                 "rssi":4,"power":12.6,"battery":4.1,"odometer":123456,"temp1":21.5,"io66":5,"alarm":"sos"}')"#,
        )
        .unwrap();
    let (out, _) = place.import(&[]);
    assert!(
        out.contains("1 positions read, 1 stored, 0 there already"),
        "{out}"
    );
    let sql = "SELECT to_jsonb(p) - 'device_id' FROM trackport.position p WHERE imei = $1 AND source = 'traccar'";
    let found: Value = place
        .here
        .query_one(sql, &[&imei(1).to_string()])
        .unwrap()
        .get(0);
    for (column, value) in [
        ("time", json!("2026-01-31T12:00:01.5+00:00")),
        ("received_at", json!("2026-01-31T12:00:02+00:00")),
        ("fix", json!(true)),
        ("latitude", json!(54.6872)),
        ("longitude", json!(-25.25)),
        ("altitude_m", json!(112)),
        ("speed_kmh", json!(54)),
        ("angle_deg", json!(271)),
        ("satellites", json!(9)),
        ("priority", json!(1)),
        ("event_id", json!(239)),
        ("ignition", json!(true)),
        ("movement", json!(false)),
        ("signal", json!(4)),
        ("external_voltage_mv", json!(12600)),
        ("battery_voltage_mv", json!(4100)),
        ("odometer_m", json!(123_456)),
        ("temperature_1", json!(21.5)),
        ("events", json!(4096)),
        ("digest", Value::Null),
    ] {
        assert_eq!(found[column], value, "{column}");
    }
    let sql = "SELECT attributes, address, source_id FROM trackport.imported_position";
    let row = place.here.query_one(sql, &[]).unwrap();
    assert_eq!(row.get::<_, Value>(0), json!({"io66": 5}));
    assert_eq!(row.get::<_, String>(1), "Main \\ street\t1");
    assert_eq!(row.get::<_, i64>(2), 9);
    let latest = "SELECT count(*) FROM trackport.latest";
    assert_eq!(
        number(&mut place.here, latest, &[]),
        0,
        "positions are no news"
    );
}

#[test]
fn the_same_again_doubles_nothing_and_takes_what_came_meanwhile() {
    let mut place = Place::new();
    place.device(1, 1);
    place.positions(1, "2026-01-01", 500);
    place.positions(77, "2026-01-01", 3);
    let (out, err) = place.import(&[]);
    assert!(out.contains("503 positions read, 500 stored"), "{out}");
    assert!(err.contains("3 positions of device 77"), "{err}");
    place.positions(1, "2026-02-01", 20);
    let (out, err) = place.import(&[]);
    assert!(out.contains(" 20 stored, 500 there already"), "{out}");
    assert!(err.contains("going on"), "{err}");
    assert_eq!(place.n_imported(), 520);
    // A device that comes later brings the positions that were left out.
    place.device(77, 2);
    let (out, _) = place.import(&[]);
    assert!(out.contains(" 3 stored, 520 there already"), "{out}");
    assert_eq!(place.n_imported(), 523);
}

#[test]
fn killed_half_way_it_goes_on_and_nothing_is_doubled_or_missing() {
    let mut place = Place::new();
    place.device(1, 1);
    place.device(2, 2);
    place.positions(1, "2020-01-01", 150_000);
    place.positions(2, "2020-01-01", 150_000);
    let args = ["import", "traccar", "--from", &place.traccar.url, "--conf"];
    let mut child = Command::new(BINARY)
        .args(args)
        .arg(place.daemon.conf())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut here, sql) = (
        place.here,
        "SELECT count(*) FROM trackport.imported_position",
    );
    eventually(secs(60), "some are stored", || {
        number(&mut here, sql, &[]) > 0
    });
    kill(child.id(), "KILL");
    child.wait().unwrap();
    let stored = number(&mut here, sql, &[]);
    assert!(stored < 300_000, "it was not half way any more");
    place.here = here;
    let (out, err) = place.import(&[]);
    assert!(err.contains("going on") || stored <= 100_000, "{err}");
    assert!(out.contains("stored, "), "{out}");
    assert_eq!(place.n_imported(), 300_000);
    let distinct = "SELECT count(DISTINCT source_id) FROM trackport.imported_position";
    assert_eq!(number(&mut place.here, distinct, &[]), 300_000);
}

const DEVICES_CSV: &str = "ID,NAME,UNIQUEID,DISABLED,ATTRIBUTES,GROUPID\r\n";
const POSITIONS_CSV: &str = "ID,PROTOCOL,DEVICEID,SERVERTIME,DEVICETIME,FIXTIME,VALID,LATITUDE,LONGITUDE,ALTITUDE,SPEED,COURSE,ADDRESS,ATTRIBUTES\r\n";

#[test]
fn of_exported_files_every_row_that_can_be_read_is_taken_and_the_others_are_named() {
    let mut place = Place::new();
    let folder = place.daemon.folder();
    let (devices, positions) = (folder.file("devices.csv"), folder.file("positions.csv"));
    let one = imei(1).to_string();
    fs::write(
        &devices,
        format!(
            "\u{feff}{DEVICES_CSV}1,\"A \"\"quoted\"\", name\",{one},FALSE,\"{{\"\"a\"\": 1}}\",3\r\n\
             2,short\r\n3,Again,{one},FALSE,,\r\n4,No IMEI,12345,FALSE,,\r\n"
        ),
    )
    .unwrap();
    let huge = "x".repeat(300_000);
    let position = |id: &str, device: &str, time: &str, attributes: &str| {
        let attributes = attributes.replace('"', "\"\"");
        format!(
            "{id},teltonika,{device},{time},{time},{time},TRUE,54.5,25.25,100,10.0,90,\"Street\n2\",\"{attributes}\"\r\n"
        )
    };
    let rows = [
        position("10", "1", "2026-01-02 00:00:00", "{}"),
        // Out of order, twice, with a time of many digits.
        position("9", "1", "2026-01-01 00:00:00.123", r#"{"sat":5}"#),
        position("9", "1", "2026-01-01 00:00:00.123", r#"{"sat":5}"#),
        position("11", "99", "2026-01-02 00:00:01", "{}"),
        position("12", "1", "not a time", "{}"),
        position("13", "1", "2026-01-02 00:00:03", "{\"broken\": "),
        position(
            "14",
            "1",
            "2026-01-02 00:00:04",
            &format!(r#"{{"huge":"{huge}"}}"#),
        ),
        position("15", "1", "2026-01-02 00:00:05", "{\"zero\":\"a\\u0000b\"}"),
        position("16", "1", "2026-01-02 00:00:06", "raw \0 zero"),
        "17,teltonika,1\r\n".to_owned(),
        position("", "1", "2026-01-02 00:00:08", "{}"),
        position("18", "1", "2026-01-02 00:00:09", "{}").replace("54.5", "1e400"),
    ];
    let mut bytes = format!("{POSITIONS_CSV}{}", rows.concat()).into_bytes();
    // Not UTF-8, in the last row, in a text.
    bytes.extend_from_slice(
        b"19,teltonika,1,,2026-01-02 00:00:10,,TRUE,54.5,25.25,,,,\"Stra\xdfe\",\r\n",
    );
    fs::write(&positions, bytes).unwrap();
    let args = [
        "import",
        "traccar",
        "--devices",
        path(&devices),
        "--positions",
        path(&positions),
    ];
    let (out, err) = place.run(&args);
    for told in [
        "devices.csv:3: id 2: 2 cells where the first line names 6 columns",
        &format!("devices.csv:4: id 3: {one} is device 1 already"),
        "devices.csv:5: id 4: \"12345\" is no IMEI",
        "positions.csv:10: id 12: fixtime \"not a time\" is no time",
        "id 13: its attributes are no JSON object",
        "id 16: its attributes are no JSON object",
        "id 17: 3 cells",
        "id ?: no id",
        "id 18: latitude inf is beyond 90 degrees",
        "1 positions of device 99",
    ] {
        assert!(err.contains(told), "{told:?} is not in\n{err}");
    }
    assert!(
        out.contains("13 positions read, 7 stored, 1 there already, 0 too old, 1 of devices that are not taken over, 4 left out"),
        "{out}"
    );
    let sql =
        "SELECT source_id, attributes, address FROM trackport.imported_position ORDER BY source_id";
    let found = place.here.query(sql, &[]).unwrap();
    let ids: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [9, 10, 13, 14, 15, 16, 19]);
    let attributes: Vec<Value> = found.iter().map(|row| row.get(1)).collect();
    assert_eq!(attributes[2], json!({"text": "{\"broken\": "}));
    assert_eq!(attributes[3]["huge"].as_str().unwrap().len(), huge.len());
    assert_eq!(attributes[4], json!({"zero": "a\u{fffd}b"}));
    assert_eq!(attributes[5], json!({"text": "raw \u{fffd} zero"}));
    assert_eq!(found[0].get::<_, String>(2), "Street\n2");
    assert_eq!(found[6].get::<_, String>(2), "Stra\u{fffd}e");
    let (out, _) = place.run(&args);
    assert!(out.contains(" 0 stored, 8 there already"), "{out}");
}

/// What MariaDB 10.11 (`mariadb --batch --quick`) and H2 2.1 (`CSVWRITE`) wrote of the same two devices and positions.
const EXPORTS: [(&str, &str, &str); 2] = [
    (
        "mariadb",
        include_str!("mariadb_devices.tsv"),
        include_str!("mariadb_positions.tsv"),
    ),
    (
        "h2",
        include_str!("h2_devices.csv"),
        include_str!("h2_positions.csv"),
    ),
];

#[test]
fn what_mysql_and_h2_write_out_is_read_as_it_was() {
    let mut all = Vec::new();
    for (source, devices, positions) in EXPORTS {
        let mut place = Place::new();
        let folder = place.daemon.folder();
        let (devices_file, positions_file) = (folder.file("d"), folder.file("p"));
        fs::write(&devices_file, devices).unwrap();
        fs::write(&positions_file, positions).unwrap();
        let (out, err) = place.run(&[
            "import",
            "traccar",
            "--devices",
            path(&devices_file),
            "--positions",
            path(&positions_file),
        ]);
        assert!(out.contains("2 devices added"), "{source}: {out}{err}");
        assert!(
            out.contains("2 positions read, 2 stored"),
            "{source}: {out}{err}"
        );
        assert_eq!(err, "", "{source}");
        let (name, _, phone, state, attributes) = known(&mut place.here, 1);
        assert_eq!(name.as_deref(), Some("Van \"7\"\ttab"), "{source}");
        assert_eq!((phone, state.as_str()), (None, "refused"), "{source}");
        assert_eq!(
            attributes["traccar"]["attributes"],
            json!({"a": "x\\y"}),
            "{source}"
        );
        let (name, _, _, state, _) = known(&mut place.here, 2);
        assert_eq!(
            (name.as_deref(), state.as_str()),
            (Some("ü"), "accepted"),
            "{source}"
        );
        let sql = "SELECT to_jsonb(p) FROM trackport.imported_position p ORDER BY source_id";
        let rows = place.here.query(sql, &[]).unwrap();
        all.push(rows.iter().map(|row| row.get(0)).collect::<Vec<Value>>());
    }
    assert_eq!(all[0], all[1]);
    let first = &all[0][0];
    assert_eq!(first["address"], "Line 1\nLine 2");
    assert_eq!(
        (&first["fix"], &first["speed_kmh"]),
        (&json!(true), &json!(54))
    );
    assert_eq!(first["attributes"], json!({"alarm": "a \"q\""}));
    assert_eq!(
        (&all[0][1]["fix"], &all[0][1]["attributes"]),
        (&json!(false), &json!({}))
    );
}

#[test]
fn times_are_read_in_the_zone_that_is_named_and_never_in_two() {
    let mut place = Place::new();
    place.device(1, 1);
    place.positions(1, "2026-07-01 12:00:00", 1);
    place.positions(1, "2026-01-01 12:00:00", 1);
    let output = place
        .daemon
        .command(&place.args(&["--time-zone", "Europe/Nowhere"]));
    assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
    let zone = ["--time-zone", "Europe/Vilnius"];
    place.import(&[&zone[..], &["--since", "2026-01-01T10:00:01Z"]].concat());
    let times = |client: &mut Client| -> Vec<String> {
        let sql = "SELECT time::text FROM trackport.imported_position ORDER BY time";
        client
            .query(sql, &[])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    assert_eq!(times(&mut place.here), ["2026-07-01 09:00:00+00"]);
    place.import(&zone);
    assert_eq!(
        times(&mut place.here),
        ["2026-01-01 10:00:00+00", "2026-07-01 09:00:00+00"],
        "without --since what was too old comes too"
    );
    let output = place.daemon.command(&place.args(&[]));
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("--time-zone Europe/Vilnius before") && told.contains("--source"),
        "{told}"
    );
    assert_eq!(place.n_imported(), 2);
}

#[test]
fn files_too_are_never_read_in_two_zones() {
    let mut place = Place::new();
    let (devices, positions) = (
        place.daemon.folder().file("d.csv"),
        place.daemon.folder().file("p.csv"),
    );
    let device = format!("id,name,uniqueid\n5,Van,{}\n", imei(1));
    fs::write(&devices, device).unwrap();
    let position = "id,deviceid,fixtime,latitude,longitude\n1,5,2026-07-01 12:00:00,54,25\n";
    fs::write(&positions, position).unwrap();
    let in_zone = |zone| {
        let (devices, positions) = (path(&devices), path(&positions));
        let args = [
            "import",
            "traccar",
            "--devices",
            devices,
            "--positions",
            positions,
            "--time-zone",
            zone,
        ];
        place.daemon.command(&args)
    };
    assert!(in_zone("Europe/Vilnius").status.success());
    let output = in_zone("UTC");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--time-zone Europe/Vilnius before"), "{told}");
    assert!(in_zone("Europe/Vilnius").status.success());
    assert_eq!(place.n_imported(), 1);
}

/// A record so many minutes before now.
fn ago(minutes: u64) -> RecordSpec {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    RecordSpec {
        time_ms: u64::try_from(now.as_millis()).unwrap() - minutes * 60_000,
        ..record(0)
    }
}

#[test]
fn the_view_shows_imported_positions_up_to_the_first_own_record_and_each_time_once() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    add(&mut client, imei(1), None);
    // An hour of positions, one a minute, as the other server had them.
    client
        .batch_execute(
            "INSERT INTO trackport.imported_device SELECT id FROM trackport.device;
             INSERT INTO trackport.imported_position (device_id, time, source, source_id, longitude, latitude)
             SELECT d.id, now() - n * interval '1 min' - interval '30 s', 'traccar', n, 25, 54
             FROM trackport.device d, generate_series(1, 60) n",
        )
        .unwrap();
    let mut shown = || {
        let sql = "SELECT count(*) FILTER (WHERE source IS NOT NULL), count(*) FILTER (WHERE source IS NULL)
                   FROM trackport.position WHERE imei = $1";
        let row = client.query_one(sql, &[&imei(1).to_string()]).unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    assert_eq!(shown(), (60, 0));
    let mut device = Device::login(port, imei(1));
    device.deliver(&encode(Codec::Codec8, &[ago(10), ago(9)]));
    assert_eq!(
        shown(),
        (51, 2),
        "the nine newest are there twice, and shown once"
    );
    device.deliver(&encode(Codec::Codec8, &[ago(25)]));
    assert_eq!(shown(), (36, 3), "a backlog moves the border");
    device.deliver(&encode(
        Codec::Codec8,
        &[RecordSpec {
            time_ms: 1_000_000,
            ..record(0)
        }],
    ));
    assert_eq!(shown(), (36, 4), "a tracker without a clock does not");
    drop(daemon);
}

#[test]
fn a_device_without_imported_positions_pays_next_to_nothing_for_those_of_others() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let _daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&encode(Codec::Codec8, &[ago(10)]));
    let mut device = Device::login(port, imei(2));
    device.deliver(&encode(Codec::Codec8, &[ago(10)]));
    client
        .batch_execute(
            "INSERT INTO trackport.record SELECT (jsonb_populate_record(r.o, jsonb_build_object('digest', n,
                     'device_id', CASE n % 50 WHEN 0 THEN 1 ELSE n % 50 + 2 END, 'time', now() - n * interval '1 min'))).*
                 FROM (SELECT o FROM trackport.record o LIMIT 1) r, generate_series(1, 20000) n;
             INSERT INTO trackport.imported_device SELECT id FROM trackport.device WHERE imei <> (SELECT min(imei) FROM trackport.device);
             INSERT INTO trackport.imported_position (device_id, time, source, source_id, longitude, latitude)
                 SELECT d.device_id, now() - n * interval '1 min', 'traccar', n, 25, 54
                 FROM trackport.imported_device d, generate_series(20, 50000) n;
             ANALYZE",
        )
        .unwrap();
    let mut plan = |n: u64| -> String {
        let sql = format!(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM trackport.position
             WHERE imei = '{}' AND time >= now() - interval '1 hour' AND time < now()",
            imei(n)
        );
        let rows = client.query(&sql, &[]).unwrap();
        rows.iter()
            .map(|row| row.get::<_, String>(0))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let without = plan(1);
    let used = without
        .lines()
        .find(|line| line.contains("record_") && line.contains("Scan"))
        .unwrap();
    assert!(used.contains("Index Scan using record_"), "{without}");
    assert!(without.contains("Subplans Removed"), "{without}");
    assert!(!without.contains("Seq Scan on record"), "{without}");
    let imported = without
        .lines()
        .find(|line| line.contains("imported_position_key"));
    assert!(
        imported.unwrap_or(&without).contains("never executed"),
        "{without}"
    );
    assert!(
        !without.contains("Seq Scan on imported_position"),
        "{without}"
    );
    let with = plan(2);
    let imported = with
        .lines()
        .find(|line| line.contains("imported_position_key"));
    assert!(
        imported.is_some_and(|line| line.contains("rows=4")),
        "{with}"
    );
}

#[test]
fn retention_removes_imported_positions_as_well() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    add(&mut client, imei(1), None);
    client
        .batch_execute(
            "INSERT INTO trackport.imported_device SELECT id FROM trackport.device;
             INSERT INTO trackport.imported_position (device_id, time, source, source_id, longitude, latitude)
             SELECT d.id, now() - n * interval '1 day', 'traccar', n, 25, 54
             FROM trackport.device d, generate_series(1, 25000) n",
        )
        .unwrap();
    let mut daemon = Setup::new(&database.url).port(port).start();
    // Age counts from the newest record.
    Device::login(port, imei(1)).deliver(&encode(Codec::Codec8, &[ago(0)]));
    daemon.stop();
    daemon
        .edit_conf(|text| text.replace("[control]", "[retention]\nkeep = \"30 days\"\n[control]"));
    daemon.launch();
    let sql = "SELECT count(*) FROM trackport.imported_position";
    eventually(secs(30), "the old ones are gone", || {
        number(&mut client, sql, &[]) <= 30
    });
    assert!(number(&mut client, sql, &[]) >= 29);
    daemon.wait_log(secs(10), &["partitions dropped", "imported_rows=249"]);
}

#[test]
fn retention_reads_no_pages_whose_imported_rows_are_gone() {
    let (_database, mut client) = pg::shared().migrated();
    add(&mut client, imei(1), None);
    client
        .batch_execute(
            "INSERT INTO trackport.imported_device SELECT id FROM trackport.device;
             INSERT INTO trackport.imported_position (device_id, time, source, source_id, longitude, latitude)
             SELECT d.id, now() - interval '900 days' + n * interval '10 min', 'traccar', n, 25, 54
             FROM trackport.device d, generate_series(1, 100000) n;
             SELECT brin_summarize_new_values('trackport.imported_position_time')",
        )
        .unwrap();
    let oldest = SystemTime::now() - secs(400 * 86_400);
    while !drop_imported(&mut client, oldest).unwrap().1 {}
    // What may be cleared away is, as autovacuum does it.
    client
        .batch_execute("VACUUM ANALYZE trackport.imported_position")
        .unwrap();
    let n_read = |client: &mut Client| -> i64 {
        let sql = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables
                   WHERE relid = 'trackport.imported_position'::regclass";
        client
            .query_one("SELECT pg_stat_force_next_flush()", &[])
            .unwrap();
        client.query_one(sql, &[]).unwrap().get(0)
    };
    let before = n_read(&mut client);
    let (n_rows, is_complete) = drop_imported(&mut client, oldest).unwrap();
    assert_eq!((n_rows, is_complete), (0, true));
    let read = n_read(&mut client) - before;
    assert!(read < 50, "{read} pages were read to find nothing");
}
