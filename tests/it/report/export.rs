//! Tracks as files: nothing of a name becomes markup, gaps and fittings end a line, and what was no fix is on no map.

use serde_json::Value;

use crate::harness::daemon::{Daemon, Setup, text};
use crate::harness::past::{Fitted, Said, device, drive, record};
use crate::harness::{free_port, imei, postgres as pg};

const NAME: &str = "Van </name><script>alert(\"7\")</script> & 'Söhne'";

/// Two pieces of a track with a gap between them, one record of the first without a fix; and the asset's name.
fn place() -> (Daemon, postgres::Client, Fitted) {
    let (database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    drive(&mut client, van.device, "2026-11-02 08", 0, 10, 0.0);
    drive(&mut client, van.device, "2026-11-02 09", 0, 5, 10.0);
    let lost = Said {
        longitude: 0.0,
        latitude: 0.0,
        satellites: 0,
        ..Said::driving(0.0)
    };
    record(&mut client, van.device, "2026-11-02 08:05:30Z", &lost);
    client
        .execute("UPDATE trackport.asset SET name = $1", &[&NAME])
        .unwrap();
    let daemon = Setup::new(&database.url).port(free_port()).write();
    (daemon, client, van)
}

#[track_caller]
fn export(daemon: &Daemon, format: &str) -> String {
    let device = imei(1).to_string();
    daemon.must(&[
        "export",
        "track",
        "--device",
        &device,
        "--from",
        "2026-11-02",
        "--format",
        format,
    ])
}

/// Elements that are open at the end, or why it is no XML: every tag of these writers has its end.
fn unbalanced(xml: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    for tag in xml.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        if tag.starts_with('?') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{xml}");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap().to_owned());
        }
    }
    open
}

#[test]
fn gpx_and_kml_are_well_formed_whatever_an_asset_is_called() {
    let (daemon, _client, _van) = place();
    for (format, piece, place_of_track) in [
        ("gpx", "<trkseg>", "<trkpt "),
        ("kml", "<gx:Track>", "<gx:coord>"),
    ] {
        let xml = export(&daemon, format);
        assert_eq!(unbalanced(&xml), Vec::<String>::new(), "{format}");
        assert!(!xml.contains("<script>"), "{xml}");
        assert!(xml.contains("&lt;script&gt;alert(&quot;7&quot;)"), "{xml}");
        assert_eq!(xml.matches(piece).count(), 2, "{xml}");
        assert_eq!(xml.matches(place_of_track).count(), 11 + 6, "{xml}");
        assert!(xml.contains("2026-11-02T08:00:00Z"), "{xml}");
    }
}

#[test]
fn geojson_has_a_line_for_each_piece_with_its_times() {
    let (daemon, _client, _van) = place();
    let tracks: Value = serde_json::from_str(&export(&daemon, "geojson")).unwrap();
    let pieces = tracks["features"].as_array().unwrap();
    assert_eq!(pieces.len(), 2);
    for (piece, n) in pieces.iter().zip([11, 6]) {
        assert_eq!(piece["geometry"]["type"], "LineString");
        assert_eq!(
            piece["geometry"]["coordinates"].as_array().unwrap().len(),
            n
        );
        assert_eq!(
            piece["properties"]["coordTimes"].as_array().unwrap().len(),
            n
        );
        assert_eq!(piece["properties"]["name"], NAME);
    }
    assert_eq!(pieces[1]["geometry"]["coordinates"][0][1], 48.3);
}

#[test]
fn csv_has_every_record_and_says_which_have_a_fix() {
    let (daemon, _client, _van) = place();
    let csv = export(&daemon, "csv");
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    let fix = csv
        .headers()
        .unwrap()
        .iter()
        .position(|name| name == "fix")
        .unwrap();
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 11 + 6 + 1);
    assert_eq!(rows.iter().filter(|row| &row[fix] == "false").count(), 1);
}

#[test]
fn what_a_device_recorded_elsewhere_is_not_in_the_assets_track() {
    let (daemon, mut client, van) = place();
    client
        .execute(
            "UPDATE trackport.fitting SET removed_at = '2026-11-02 08:30Z' WHERE device_id = $1",
            &[&van.device],
        )
        .unwrap();
    assert_eq!(export(&daemon, "gpx").matches("<trkpt ").count(), 11);
}

#[test]
fn no_file_is_written_over() {
    let (daemon, _client, van) = place();
    let file = daemon.folder().file("van.gpx");
    let args = [
        "export",
        "track",
        "--asset",
        &van.asset.to_string(),
        "--from",
        "2026-11-02",
        "--output",
        file.to_str().unwrap(),
    ];
    let output = daemon.command(&args);
    assert!(
        text(&output.stderr).contains("17 records written"),
        "{}",
        text(&output.stderr)
    );
    let before = std::fs::read(&file).unwrap();
    let output = daemon.command(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("van.gpx"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
}
