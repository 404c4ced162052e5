//! The dashboard for Grafana on the tables: what it asks is asked of a real database, as Grafana would ask it.

use std::fs;

use postgres::Client;
use serde_json::Value;

use crate::harness::past::{Said, device, drive, record};
use crate::harness::postgres as pg;
use crate::harness::prometheus::project_file;

const DASHBOARD: &str = "conf/grafana-dashboard-fleet.json";

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(project_file(DASHBOARD)).unwrap()).unwrap()
}

/// Titles of panels with their statements.
fn statements(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap();
    panels
        .iter()
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap().to_owned();
            let targets = panel["targets"].as_array().unwrap().clone();
            targets
                .into_iter()
                .map(move |target| (title.clone(), target["rawSql"].as_str().unwrap().to_owned()))
        })
        .collect()
}

/// A macro with one argument, replaced by what `make` has of it.
fn replaced(sql: &str, name: &str, make: impl Fn(&str) -> String) -> String {
    let mut sql = sql.to_owned();
    while let Some(begin) = sql.find(name) {
        let end = begin + sql[begin..].find(')').unwrap();
        let argument = sql[begin + name.len()..end]
            .trim_start_matches('(')
            .to_owned();
        sql.replace_range(begin..=end, &make(&argument));
    }
    sql
}

/// The statement as Grafana's PostgreSQL data source makes it for two devices and a day.
fn as_sent(sql: &str, imeis: &str) -> String {
    let (from, to) = ("'2026-11-02T00:00:00Z'", "'2026-11-03T00:00:00Z'");
    let sql = sql.replace("$imei", imeis).replace("$__interval", "'10m'");
    let sql = replaced(&sql, "$__timeGroupAlias", |arguments| {
        let column = arguments.split(',').next().unwrap();
        format!("floor(extract(epoch from {column})/600)*600 AS \"time\"")
    });
    let sql = replaced(&sql, "$__timeFilter", |column| {
        format!("{column} BETWEEN {from} AND {to}")
    });
    let sql = sql
        .replace("$__timeFrom()", from)
        .replace("$__timeTo()", to);
    assert!(!sql.contains('$'), "nothing is known of this: {sql}");
    sql
}

fn n_rows(client: &mut Client, sql: &str) -> i64 {
    let counted = format!("SELECT count(*) FROM ({sql}) asked");
    let row = client.query_one(&counted, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

#[test]
fn every_panel_of_the_fleet_dashboard_shows_something_of_a_fleet_that_does_something() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    drive(&mut client, van.device, "2026-11-02 08", 0, 20, 0.0);
    let said = Said {
        temperature: Some(5.0),
        events: Some(8),
        faulty: true,
        ..Said::parked()
    };
    record(&mut client, van.device, "2026-11-02 09:00:00Z", &said);
    client
        .batch_execute(&format!(
            "UPDATE trackport.record SET external_voltage_mv = 13800, signal = 4;
             INSERT INTO trackport.latest (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
                 speed_kmh, priority, event_id, port)
             SELECT device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites, speed_kmh, priority,
                 event_id, port FROM trackport.record ORDER BY time DESC LIMIT 1;
             INSERT INTO trackport.device_state (device_id, last_contact_at) VALUES ({}, '2026-11-02 09:00Z')",
            van.device
        ))
        .unwrap();
    let imeis: String = client
        .query_one(
            "SELECT string_agg(quote_literal(imei), ',') FROM trackport.device",
            &[],
        )
        .unwrap()
        .get(0);
    let statements = statements(&dashboard());
    assert!(statements.len() >= 10, "{statements:?}");
    for (title, sql) in statements {
        let n_rows = n_rows(&mut client, &as_sent(&sql, &imeis));
        assert!(n_rows > 0, "{title}: {sql}");
    }
}

#[test]
fn the_devices_to_choose_from_are_those_that_may_log_in() {
    let (_database, mut client) = pg::shared().migrated();
    device(&mut client, 1);
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let devices = variables.iter().find(|one| one["name"] == "imei").unwrap();
    assert_eq!(n_rows(&mut client, devices["query"].as_str().unwrap()), 1);
}

#[test]
fn panels_lie_beside_each_other_and_have_one_data_source() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let place =
        |panel: &Value| ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_i64().unwrap());
    for (n, one) in panels.iter().enumerate() {
        assert_eq!(one["datasource"]["uid"], "${datasource}");
        let [x, y, w, h] = place(one);
        assert!(x + w <= 24, "{one}");
        for other in &panels[..n] {
            let [x2, y2, w2, h2] = place(other);
            let apart = x + w <= x2 || x2 + w2 <= x || y + h <= y2 || y2 + h2 <= y;
            assert!(
                apart && one["id"] != other["id"],
                "{} and {}",
                one["title"],
                other["title"]
            );
        }
    }
}
