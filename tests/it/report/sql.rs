//! Trips, stops, days, offline times and odometers by the SQL functions.

use std::collections::BTreeMap;

use postgres::Client;
use trackport::store::report::{Kind, REPORTS};

use crate::harness::past::{Fitted, M_PER_CENTIDEGREE, Said, device, drive, record};
use crate::harness::{imei, postgres as pg};

const DAY: &str = "'2026-11-02Z', '2026-11-03Z'";

/// Rows of a report as texts: of each the columns named.
#[track_caller]
pub(super) fn rows(
    client: &mut Client,
    report: &str,
    assets: &[i32],
    span: &str,
    columns: &str,
) -> Vec<Vec<String>> {
    let sql = format!(
        "SELECT array_agg(coalesce(v, '-') ORDER BY n)
         FROM (SELECT row_number() OVER () AS row, r.* FROM
             (SELECT {columns} FROM trackport.report_{report}($1, {span}) ORDER BY asset_id, 1) r) r,
         LATERAL (SELECT j.v, j.n FROM json_each_text(row_to_json(r)) WITH ORDINALITY j (k, v, n) WHERE j.k <> 'row') cells
         GROUP BY row ORDER BY row"
    );
    let rows = client
        .query(&sql, &[&assets])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// One report's row, whose columns are whole numbers, by name.
#[track_caller]
fn numbers(
    client: &mut Client,
    report: &str,
    asset: Fitted,
    span: &str,
) -> Vec<BTreeMap<String, i64>> {
    let sql = format!(
        "SELECT array_agg(k), array_agg(v::float8::bigint)
         FROM (SELECT row_number() OVER () AS row, r.* FROM trackport.report_{report}($1, {span}) r) r,
         LATERAL (SELECT j.k, j.v FROM json_each_text(row_to_json(r)) j (k, v) WHERE j.v ~ '^-?[0-9.]+$') cells
         GROUP BY row ORDER BY row"
    );
    let rows = client.query(&sql, &[&vec![asset.asset]]).unwrap();
    rows.iter()
        .map(|row| {
            let (keys, values): (Vec<String>, Vec<i64>) = (row.get(0), row.get(1));
            keys.into_iter().zip(values).collect()
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "some kilometres")]
fn metres(centidegrees: f64) -> String {
    ((centidegrees * M_PER_CENTIDEGREE).round() as i64).to_string()
}

#[test]
fn every_report_has_the_columns_that_it_says() {
    let (_database, mut client) = pg::shared().migrated();
    for report in REPORTS {
        let sql = format!(
            "SELECT * FROM trackport.report_{}('{{}}', {DAY})",
            report.name
        );
        let statement = client.prepare(&sql).unwrap();
        let there: Vec<(&str, &str)> = statement
            .columns()
            .iter()
            .map(|column| (column.name(), column.type_().name()))
            .collect();
        let said: Vec<&str> = report.columns.iter().map(|column| column.key).collect();
        let names: Vec<&str> = there.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, said, "{}", report.name);
        for ((name, in_sql), column) in there.iter().zip(report.columns) {
            let right = match column.kind {
                Kind::Text => &["text"][..],
                Kind::Integer => &["int2", "int4", "int8"],
                Kind::Duration => &["int8"],
                Kind::Number => &["float4", "float8"],
                Kind::Boolean => &["bool"],
                Kind::Time => &["timestamptz"],
                Kind::Day => &["date"],
            };
            assert!(right.contains(in_sql), "{} {name}: {in_sql}", report.name);
        }
        let names: Vec<&str> = report.columns.iter().map(|column| column.key).collect();
        assert!(names.contains(&report.ordered_by));
    }
}

#[test]
fn a_short_stop_is_part_of_a_trip_and_a_longer_one_ends_it() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    let north = drive(&mut client, van.device, "2026-11-02 08", 0, 10, 0.0);
    // Three minutes, then six.
    let north = drive(&mut client, van.device, "2026-11-02 08", 13, 20, north);
    drive(&mut client, van.device, "2026-11-02 08", 26, 30, north);
    record(
        &mut client,
        van.device,
        "2026-11-02 08:40:00Z",
        &Said::parked().at(north + 4.0),
    );

    let columns = "start_time, end_time, duration_s, distance_m, moving_s, top_speed_kmh, begins_before, goes_on";
    let trips = rows(&mut client, "trips", &[van.asset], DAY, columns);
    let trip = |start: &str, end: &str, duration: &str, far: f64, moving: &str| {
        let at = |time: &str| format!("2026-11-02T08:{time}:00+00:00");
        vec![
            at(start),
            at(end),
            duration.to_owned(),
            metres(far),
            moving.to_owned(),
            "66".to_owned(),
            "false".to_owned(),
            "false".to_owned(),
        ]
    };
    assert_eq!(
        trips,
        [
            trip("00", "20", "1200", 17.0, "1020"),
            trip("26", "30", "240", 4.0, "240")
        ]
    );

    let stops = rows(
        &mut client,
        "stops",
        &[van.asset],
        DAY,
        "start_time, duration_s, idle_s, no_data_s, moved_m",
    );
    let stop = |start: &str, duration: &str| {
        let start = format!("2026-11-02T08:{start}:00+00:00");
        [start.as_str(), duration, "0", "0", "0"].map(str::to_owned)
    };
    assert_eq!(stops, [stop("20", "360"), stop("30", "600")]);

    let day = &numbers(&mut client, "daily", van, DAY)[0];
    let parked = 180 + 360 + 600;
    assert_eq!(day["moving_s"], 1260);
    assert_eq!(day["engine_s"], 1260);
    assert_eq!(day["parked_s"], parked);
    assert_eq!(day["idle_s"], 0);
    assert_eq!(day["no_data_s"], 86_400 - 1260 - parked);
    assert_eq!(day["distance_m"].to_string(), metres(21.0));
    assert_eq!(day["top_speed_kmh"], 66);
    assert_eq!(day["n_records"], 11 + 8 + 5 + 1);
}

#[test]
fn the_parameters_of_the_group_decide_what_a_trip_is() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    let north = drive(&mut client, van.device, "2026-11-02 08", 0, 10, 0.0);
    drive(&mut client, van.device, "2026-11-02 08", 13, 20, north);
    let mut n_trips = |change: &str| {
        client
            .batch_execute(&format!("UPDATE trackport.group SET {change}"))
            .unwrap();
        rows(&mut client, "trips", &[van.asset], DAY, "start_time").len()
    };
    assert_eq!(n_trips("stop_min = '5 min'"), 1);
    assert_eq!(n_trips("stop_min = '2 min'"), 2);
    assert_eq!(n_trips("trip_min_m = 10000"), 1);
    assert_eq!(n_trips("trip_min_m = 20000"), 0);
    assert_eq!(n_trips("trip_min_m = 0, trip_by = 'movement'"), 2);
    assert_eq!(n_trips("trip_by = 'speed', trip_speed_kmh = 60"), 2);
    assert_eq!(n_trips("trip_speed_kmh = 70"), 0);
}

#[test]
fn a_gap_splits_a_trip_and_has_no_distance() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    // The last record before the gap is driving.
    for minute in 0..=5 {
        let time = format!("2026-11-02 08:{minute:02}:00Z");
        record(
            &mut client,
            van.device,
            &time,
            &Said::driving(f64::from(minute)),
        );
    }
    drive(&mut client, van.device, "2026-11-02 08", 25, 30, 40.0);
    let trips = rows(
        &mut client,
        "trips",
        &[van.asset],
        DAY,
        "start_time, end_time, distance_m",
    );
    let trip = |start: &str, end: &str| {
        let at = |time: &str| format!("2026-11-02T08:{time}:00+00:00");
        vec![at(start), at(end), metres(5.0)]
    };
    assert_eq!(trips, [trip("00", "05"), trip("25", "30")]);
    // Somewhere in between it was elsewhere: that is no stop.
    let stops = rows(&mut client, "stops", &[van.asset], DAY, "start_time");
    assert_eq!(stops, Vec::<Vec<String>>::new());
    let offline = rows(
        &mut client,
        "offline",
        &[van.asset],
        DAY,
        "start_time, end_time, was_moving, goes_on",
    );
    let row = |start: &str, end: &str, moving: &str, goes_on: &str| {
        [start, end, moving, goes_on].map(str::to_owned).to_vec()
    };
    assert_eq!(
        offline,
        [
            row(
                "2026-11-02T08:05:00+00:00",
                "2026-11-02T08:25:00+00:00",
                "true",
                "false"
            ),
            row(
                "2026-11-02T08:30:00+00:00",
                "2026-11-03T00:00:00+00:00",
                "false",
                "true"
            ),
        ]
    );
}

#[test]
fn a_fix_far_off_between_its_neighbours_is_no_way() {
    let (_database, mut client) = pg::shared().migrated();
    let [plain, jumpy] = [1, 2].map(|number| device(&mut client, number));
    for van in [plain, jumpy] {
        drive(&mut client, van.device, "2026-11-02 08", 0, 20, 0.0);
    }
    client
        .execute(
            "UPDATE trackport.record SET latitude = 51.5, longitude = 0 WHERE device_id = $1 AND time = '2026-11-02 08:07Z'",
            &[&jumpy.device],
        )
        .unwrap();
    let far =
        |client: &mut Client, van: Fitted| rows(client, "trips", &[van.asset], DAY, "distance_m");
    assert_eq!(far(&mut client, plain), [[metres(20.0)]]);
    assert_eq!(far(&mut client, jumpy), [[metres(20.0)]]);
}

#[test]
fn a_tunnel_is_bridged_and_what_a_parked_receiver_drifts_is_no_way() {
    let (_database, mut client) = pg::shared().migrated();
    let [tunnel, parked] = [1, 2].map(|number| device(&mut client, number));
    drive(&mut client, tunnel.device, "2026-11-02 08", 0, 20, 0.0);
    // Without satellites the device says zeros.
    client
        .execute(
            "UPDATE trackport.record SET latitude = 0, longitude = 0, satellites = 0 WHERE time BETWEEN '2026-11-02 08:05Z' AND '2026-11-02 08:09Z'",
            &[],
        )
        .unwrap();
    for minute in 0..60 {
        let said = Said::parked().at(f64::from(minute % 3) * 0.03);
        record(
            &mut client,
            parked.device,
            &format!("2026-11-02 08:{minute:02}:00Z"),
            &said,
        );
    }
    assert_eq!(
        numbers(&mut client, "daily", tunnel, DAY)[0]["distance_m"].to_string(),
        metres(20.0)
    );
    assert_eq!(
        numbers(&mut client, "daily", parked, DAY)[0]["distance_m"],
        0
    );
}

#[test]
fn days_are_days_of_the_groups_zone_also_when_clocks_change() {
    let (_database, mut client) = pg::shared().migrated();
    client
        .batch_execute("UPDATE trackport.group SET time_zone = 'Europe/Vienna'")
        .unwrap();
    let van = device(&mut client, 1);
    for (day, from, to) in [
        ("2026-03-29", "2026-03-28 12:00Z", "2026-03-30 12:00Z"),
        ("2026-10-25", "2026-10-24 12:00Z", "2026-10-26 12:00Z"),
    ] {
        client
            .execute(
                "INSERT INTO trackport.record (device_id, time, digest, received_at, longitude, latitude, altitude_m, angle_deg,
                     satellites, speed_kmh, priority, event_id, codec, port, ignition, io)
                 SELECT $1, t, 1, t, 16.37, 48.2, 0, 0, 9, 0, 0, 0, 8, 5027, false, ''
                 FROM generate_series($2::text::timestamptz, $3::text::timestamptz, '10 min') t",
                &[&van.device, &from, &to],
            )
            .unwrap();
        let span = format!("'{day} Europe/Vienna', timestamptz '{day} Europe/Vienna' + '2 days'");
        let days = rows(
            &mut client,
            "daily",
            &[van.asset],
            &span,
            "day, parked_s, no_data_s, n_records",
        );
        let hours = if day.contains("-03-") { 23 } else { 25 };
        let expected = [
            day,
            &(hours * 3600).to_string(),
            "0",
            &(hours * 6).to_string(),
        ]
        .map(str::to_owned);
        assert_eq!(days[0], expected);
    }
}

#[test]
fn two_halves_of_a_span_have_together_what_the_whole_has() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    drive(&mut client, van.device, "2026-11-02 23", 40, 59, 0.0);
    // Across midnight, and not stopped at it.
    client
        .batch_execute("UPDATE trackport.record SET ignition = true, speed_kmh = 66")
        .unwrap();
    drive(&mut client, van.device, "2026-11-03 00", 0, 20, 20.0);
    let span = "'2026-11-02Z', '2026-11-04Z'";
    let whole = rows(
        &mut client,
        "daily",
        &[van.asset],
        span,
        "day, distance_m, moving_s, n_records",
    );
    let mut halves = rows(
        &mut client,
        "daily",
        &[van.asset],
        DAY,
        "day, distance_m, moving_s, n_records",
    );
    halves.extend(rows(
        &mut client,
        "daily",
        &[van.asset],
        "'2026-11-03Z', '2026-11-04Z'",
        "day, distance_m, moving_s, n_records",
    ));
    assert_eq!(whole, halves);
    let expected = |day: &str, far: f64, s: &str, n: &str| {
        vec![day.to_owned(), metres(far), s.to_owned(), n.to_owned()]
    };
    assert_eq!(
        whole,
        [
            expected("2026-11-02", 20.0, "1200", "20"),
            expected("2026-11-03", 20.0, "1200", "21")
        ]
    );
    // A trip that the end of the span cuts says so.
    let trips = rows(
        &mut client,
        "trips",
        &[van.asset],
        DAY,
        "end_time, begins_before, goes_on",
    );
    assert_eq!(
        trips,
        [["2026-11-03T00:00:00+00:00", "false", "true"].map(str::to_owned)]
    );
    let trips = rows(
        &mut client,
        "trips",
        &[van.asset],
        "'2026-11-03Z', '2026-11-04Z'",
        "start_time, begins_before, goes_on",
    );
    assert_eq!(
        trips,
        [["2026-11-03T00:00:00+00:00", "true", "false"].map(str::to_owned)]
    );
}

#[test]
fn a_report_is_about_the_asset_whatever_device_was_fitted() {
    let (_database, mut client) = pg::shared().migrated();
    let [old, new] = [1, 2].map(|number| device(&mut client, number));
    client
        .execute(
            "UPDATE trackport.fitting SET removed_at = '2026-11-02 12:00Z' WHERE device_id = $1",
            &[&old.device],
        )
        .unwrap();
    client
        .execute(
            "UPDATE trackport.fitting SET asset_id = $2, fitted_at = '2026-11-02 12:00Z' WHERE device_id = $1",
            &[&new.device, &old.asset],
        )
        .unwrap();
    drive(&mut client, old.device, "2026-11-02 09", 0, 10, 0.0);
    // On the bench, before it was fitted; and what the old one still sent in somebody's bag.
    drive(&mut client, new.device, "2026-11-02 10", 0, 30, 0.0);
    drive(&mut client, old.device, "2026-11-02 13", 0, 30, 0.0);
    drive(&mut client, new.device, "2026-11-02 14", 0, 20, 10.0);
    let trips = rows(
        &mut client,
        "trips",
        &[old.asset],
        DAY,
        "start_time, device_id, distance_m",
    );
    let trip = |start: &str, device: i32, far: f64| {
        vec![
            format!("2026-11-02T{start}:00:00+00:00"),
            device.to_string(),
            metres(far),
        ]
    };
    assert_eq!(
        trips,
        [trip("09", old.device, 10.0), trip("14", new.device, 20.0)]
    );
    let day = &numbers(&mut client, "daily", old, DAY)[0];
    assert_eq!(day["distance_m"].to_string(), metres(30.0));
    assert_eq!(day["n_records"], 11 + 21);
    assert_eq!(day["device_id"], i64::from(new.device));
    // The asset that the new one came with has nothing any more.
    assert_eq!(numbers(&mut client, "daily", new, DAY), []);
}

#[test]
fn imported_positions_count_until_the_first_record() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    client
        .batch_execute(&format!(
            "INSERT INTO trackport.imported_device VALUES ({0});
             INSERT INTO trackport.imported_position (device_id, time, source, source_id, fix, longitude, latitude, speed_kmh, ignition)
             SELECT {0}, timestamptz '2026-11-02 06:00Z' + n * interval '1 min', 'traccar', n, true, 16.37, 48.2 + n / 100.0, 66, n < 200
             FROM generate_series(0, 200) n",
            van.device
        ))
        .unwrap();
    let far = |client: &mut Client| numbers(client, "daily", van, DAY)[0]["distance_m"].to_string();
    assert_eq!(far(&mut client), metres(200.0));
    // From here on the server's own records are what happened.
    record(
        &mut client,
        van.device,
        "2026-11-02 06:10:00Z",
        &Said::driving(9.0),
    );
    assert_eq!(far(&mut client), metres(9.0));
}

#[test]
fn engine_hours_are_the_vehicles_own_where_it_says_them() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    for minute in 0..=20_i32 {
        let said = Said {
            engine_seconds: Some(5_000_000 + i64::from(minute) * 50),
            odometer_m: Some(70_000 + i64::from(minute) * 1000),
            ..Said::driving(f64::from(minute))
        };
        record(
            &mut client,
            van.device,
            &format!("2026-11-02 08:{minute:02}:00Z"),
            &said,
        );
    }
    let day = rows(
        &mut client,
        "daily",
        &[van.asset],
        DAY,
        "engine_s, engine_by, moving_s",
    );
    assert_eq!(day, [["1000", "vehicle", "1200"].map(str::to_owned)]);
    let columns = "distance_m, distance_by, odometer_start_m, odometer_end_m, engine_s, vehicle_odometer_start_m, fuel_end_l";
    let odometer = rows(&mut client, "odometer", &[van.asset], DAY, columns);
    assert_eq!(
        odometer,
        [["20000", "tracker", "70000", "90000", "1000", "-", "-"].map(str::to_owned)]
    );
}

#[test]
fn offline_is_three_times_what_is_usual() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    // Parked it is heard each hour: two hours are nothing, four are.
    for hour in [
        0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
    ] {
        record(
            &mut client,
            van.device,
            &format!("2026-11-02 {hour:02}:00:00Z"),
            &Said::parked(),
        );
    }
    let columns = "start_time, duration_s, usual_s";
    assert_eq!(
        rows(&mut client, "offline", &[van.asset], DAY, columns),
        [["2026-11-02T08:00:00+00:00", "14400", "3600"].map(str::to_owned)]
    );
}

#[test]
fn events_are_told_one_by_one() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    let said = |events, satellites| Said {
        events: Some(events),
        satellites,
        ..Said::driving(0.0)
    };
    // Towing and shock; a crash and its trace; without a fix.
    for (time, events, satellites) in [
        ("08:00", 1 | 8, 9),
        ("08:01", 2 | 4, 9),
        ("08:02", 4, 9),
        ("08:03", 16, 0),
    ] {
        record(
            &mut client,
            van.device,
            &format!("2026-11-02 {time}:00Z"),
            &said(events, satellites),
        );
    }
    let events = rows(
        &mut client,
        "events",
        &[van.asset],
        DAY,
        "\"time\", event, latitude",
    );
    let event = |time: &str, event: &str, latitude: &str| {
        [&format!("2026-11-02T{time}:00+00:00"), event, latitude]
            .map(str::to_owned)
            .to_vec()
    };
    let mut expected = vec![
        event("08:00", "shock", "48.2"),
        event("08:00", "towing", "48.2"),
        event("08:01", "crash", "48.2"),
        event("08:03", "unplug", "-"),
    ];
    let mut events = events;
    events.sort();
    expected.sort();
    assert_eq!(events, expected);
}

#[test]
fn who_was_not_heard_since_the_end_owes_data() {
    let (_database, mut client) = pg::shared().migrated();
    let [heard, silent, never, bad] = [1, 2, 3, 4].map(|number| device(&mut client, number));
    let contact = |client: &mut Client, van: Fitted, at: &str| {
        client
            .execute(
                "INSERT INTO trackport.device_state (device_id, last_contact_at) VALUES ($1, $2::text::timestamptz)",
                &[&van.device, &at],
            )
            .unwrap();
    };
    contact(&mut client, heard, "2026-11-03 00:10Z");
    contact(&mut client, silent, "2026-11-02 17:30Z");
    contact(&mut client, bad, "2026-11-03 00:10Z");
    client
        .execute(
            "INSERT INTO trackport.quarantine (imei, device_id, received_at, last_at, reason, code, bytes, digest, acked)
             VALUES ($1, $2, now(), now(), 'count', 'count', '', 1, true)",
            &[&imei(4).to_string(), &bad.device],
        )
        .unwrap();
    let all = [heard, silent, never, bad].map(|van| van.asset).to_vec();
    let owing = |client: &mut Client, assets: &Vec<i32>| -> (Vec<String>, String) {
        let row = client
            .query_one(
                "SELECT (SELECT coalesce(array_agg(imei ORDER BY imei), '{}') FROM trackport.report_owing($1, '2026-11-03Z')),
                     trackport.report_complete_up_to($1, '2026-11-03Z')::text",
                &[assets],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    let (names, up_to) = owing(&mut client, &all);
    assert_eq!(names, [imei(2), imei(4)].map(|imei| imei.to_string()));
    assert_eq!(up_to, "2026-11-02 17:30:00+00");
    let (names, up_to) = owing(&mut client, &vec![heard.asset]);
    assert_eq!((names.len(), up_to.as_str()), (0, "2026-11-03 00:00:00+00"));
}

#[test]
fn people_need_no_numbers_in_sql() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    drive(&mut client, van.device, "2026-11-02 08", 0, 10, 0.0);
    for assets in [
        "trackport.assets_of('fleet')".to_owned(),
        "trackport.asset_ids()".to_owned(),
        format!("trackport.asset_of('{}')", imei(1)),
    ] {
        let sql = format!("SELECT count(*) FROM trackport.report_trips({assets}, {DAY})");
        let n: i64 = client.query_one(&sql, &[]).unwrap().get(0);
        assert_eq!(n, 1, "{assets}");
    }
    let refused = client
        .query("SELECT trackport.assets_of('nobody')", &[])
        .unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(refused.message().contains("nobody"), "{refused}");
}

#[test]
fn whoever_may_read_may_ask_for_reports() {
    let (_database, mut client) = pg::shared().migrated();
    let van = device(&mut client, 1);
    drive(&mut client, van.device, "2026-11-02 08", 0, 10, 0.0);
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("CREATE ROLE report_reader LOGIN; GRANT trackport_read TO report_reader; SET LOCAL ROLE report_reader")
        .unwrap();
    for report in REPORTS {
        let sql = format!(
            "SELECT count(*) FROM trackport.report_{}(trackport.asset_ids(), {DAY})",
            report.name
        );
        transaction
            .query_one(&sql, &[])
            .unwrap_or_else(|error| panic!("{}: {error}", report.name));
    }
    transaction
        .query(
            "SELECT * FROM trackport.report_owing(trackport.asset_ids(), now())",
            &[],
        )
        .unwrap();
    transaction.rollback().unwrap();
}
