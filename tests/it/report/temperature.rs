//! Temperatures beyond their limits, and what is not known of them.

use postgres::Client;

use super::sql::rows;
use crate::harness::past::{Fitted, Said, device, record};
use crate::harness::postgres as pg;

const DAY: &str = "'2026-11-02Z', '2026-11-03Z'";
const COLUMNS: &str = "start_time, end_time, duration_s, beyond, limit_c, max_c, min_c, no_data_s, fault_s, n_records, begins_before, goes_on";

enum Probe {
    Says(f32),
    Fails,
}

fn box_with(client: &mut Client, limits: &str, values: &[(&str, Probe)]) -> Fitted {
    let cold = device(client, 1);
    client
        .batch_execute(&format!(
            "UPDATE trackport.asset SET {limits} WHERE id = {}",
            cold.asset
        ))
        .unwrap();
    for (time, probe) in values {
        let said = match probe {
            Probe::Says(value) => Said {
                temperature: Some(*value),
                ..Said::parked()
            },
            Probe::Fails => Said {
                faulty: true,
                ..Said::parked()
            },
        };
        record(
            client,
            cold.device,
            &format!("2026-11-02 {time}:00Z"),
            &said,
        );
    }
    cold
}

fn texts(row: [&str; 12]) -> Vec<String> {
    row.map(str::to_owned).to_vec()
}

#[test]
fn an_excursion_goes_on_through_a_faulty_sensor_and_a_gap_and_tells_how_long_they_were() {
    use Probe::{Fails, Says};
    let (_database, mut client) = pg::shared().migrated();
    let cold = box_with(
        &mut client,
        "temperature_max = 8",
        &[
            ("10:00", Says(5.0)),
            ("10:05", Says(9.0)),
            ("10:10", Says(10.5)),
            ("10:15", Fails),
            ("10:20", Fails),
            ("10:25", Says(11.0)),
            // Nothing for longer than the group's gap.
            ("10:50", Says(9.0)),
            ("10:55", Says(7.0)),
            // Too short to count.
            ("11:00", Says(9.0)),
            ("11:05", Says(7.0)),
        ],
    );
    assert_eq!(
        rows(&mut client, "temperature", &[cold.asset], DAY, COLUMNS),
        [texts([
            "2026-11-02T10:05:00+00:00",
            "2026-11-02T10:55:00+00:00",
            "3000",
            "above",
            "8",
            "11",
            "9",
            "1500",
            "600",
            "4",
            "false",
            "false"
        ])]
    );
}

#[test]
fn too_cold_counts_like_too_warm_and_the_span_cuts() {
    use Probe::Says;
    let (_database, mut client) = pg::shared().migrated();
    client
        .batch_execute("UPDATE trackport.group SET temperature_min = 2, temperature_max = 8")
        .unwrap();
    // The asset's own lower limit goes before the group's; the upper one is the group's.
    let cold = box_with(
        &mut client,
        "temperature_min = -20",
        &[
            ("10:00", Says(-25.0)),
            ("10:10", Says(-24.0)),
            ("10:20", Says(9.0)),
            ("10:30", Says(9.5)),
            ("10:40", Says(-5.0)),
        ],
    );
    let span = "'2026-11-02 10:05Z', '2026-11-02 10:35Z'";
    assert_eq!(
        rows(&mut client, "temperature", &[cold.asset], span, COLUMNS),
        [
            texts([
                "2026-11-02T10:05:00+00:00",
                "2026-11-02T10:20:00+00:00",
                "900",
                "below",
                "-20",
                "-24",
                "-25",
                "0",
                "0",
                "1",
                "true",
                "false"
            ]),
            texts([
                "2026-11-02T10:20:00+00:00",
                "2026-11-02T10:35:00+00:00",
                "900",
                "above",
                "8",
                "9.5",
                "9",
                "0",
                "0",
                "2",
                "false",
                "true"
            ]),
        ]
    );
}

#[test]
fn without_limits_and_without_values_there_is_nothing_to_tell() {
    use Probe::Says;
    let (_database, mut client) = pg::shared().migrated();
    let cold = box_with(
        &mut client,
        "note = 'no limits'",
        &[("10:00", Says(99.0)), ("10:30", Says(99.0))],
    );
    assert_eq!(
        rows(&mut client, "temperature", &[cold.asset], DAY, COLUMNS),
        Vec::<Vec<String>>::new()
    );
    // A sensor that only ever failed says nothing about warmth.
    client
        .batch_execute(
            "DELETE FROM trackport.record; UPDATE trackport.asset SET temperature_max = 8",
        )
        .unwrap();
    for minute in ["00", "10", "20", "30"] {
        let said = Said {
            faulty: true,
            ..Said::parked()
        };
        record(
            &mut client,
            cold.device,
            &format!("2026-11-02 10:{minute}:00Z"),
            &said,
        );
    }
    assert_eq!(
        rows(&mut client, "temperature", &[cold.asset], DAY, COLUMNS),
        Vec::<Vec<String>>::new()
    );
}
