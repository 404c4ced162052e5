//! Which values fill which columns, from elements as devices send them.

use super::*;

/// The columns that the elements (id, width, raw value) fill on `model`, in a record that nothing caused.
fn filled(model: Option<&str>, elements: &[(u16, u8, u64)]) -> Typed {
    caused(0, model, elements)
}

/// The same in a record that the element `event_id` caused.
fn caused(event_id: u16, model: Option<&str>, elements: &[(u16, u8, u64)]) -> Typed {
    let columns = TypedColumns::for_model(model);
    let mut typed = Typed::default();
    for (id, width, raw) in elements {
        columns.fill(event_id, *id, *width, *raw, &mut typed);
    }
    typed
}

/// What a record reports whose cause is the element `id` with `value`.
fn events(model: Option<&str>, id: u16, value: u64) -> Option<i32> {
    caused(id, model, &[(id, 1, value)]).events
}

#[test]
fn a_known_model_fills_all_its_columns() {
    let typed = filled(
        Some("FMB120"),
        &[
            (239, 1, 1),
            (240, 1, 0),
            (16, 4, 123_456_789),
            (66, 2, 12_345),
            (67, 2, 4_012),
            (113, 1, 87),
            (21, 1, 5),
            (72, 4, 235),
            (86, 2, 456),
        ],
    );
    assert_eq!(typed.ignition, Some(true));
    assert_eq!(typed.movement, Some(false));
    assert_eq!(typed.odometer_m, Some(123_456_789));
    assert_eq!(typed.external_voltage_mv, Some(12_345));
    assert_eq!(typed.battery_voltage_mv, Some(4_012));
    assert_eq!(typed.battery_level, Some(87));
    assert_eq!(typed.signal, Some(5));
    assert_eq!(typed.temperature, [Some(23.5), None, None, None]);
    assert_eq!(typed.humidity, [Some(45.6), None, None, None]);
}

#[test]
fn without_a_model_only_ids_that_mean_the_same_everywhere_fill() {
    let elements = [
        (239, 1, 1),
        (240, 1, 1),
        (21, 1, 3),
        (66, 2, 12_000),
        (67, 2, 4_000),
        (72, 2, 100),
        (16, 4, 5),
        (113, 1, 50),
        (75, 2, 100),
        (25, 2, 100),
        (86, 2, 100),
    ];
    let typed = filled(None, &elements);
    assert_eq!(typed.ignition, Some(true));
    assert_eq!(typed.movement, Some(true));
    assert_eq!(typed.signal, Some(3));
    assert_eq!(typed.external_voltage_mv, Some(12_000));
    assert_eq!(typed.battery_voltage_mv, Some(4_000));
    assert_eq!(typed.temperature, [Some(10.0), None, None, None]);
    assert_eq!(typed.odometer_m, None);
    assert_eq!(typed.battery_level, None);
    assert_eq!(typed.humidity, [None; 4]);
    assert_eq!(filled(Some("no such model"), &elements), typed);
}

#[test]
fn the_same_id_on_another_model_fills_nothing() {
    let typed = filled(
        Some("FMB640"),
        &[(113, 4, 5_000), (16, 4, 77), (25, 2, 300), (86, 4, 5)],
    );
    assert_eq!(typed, Typed::default());
    assert_eq!(filled(Some("FMB640"), &[(216, 4, 77)]).odometer_m, Some(77));
}

#[test]
fn negative_temperatures_take_their_sign_from_the_width_sent() {
    let minus_5_5 = [Some(-5.5), None, None, None];
    let model = Some("FMB120");
    assert_eq!(filled(model, &[(72, 2, 0xFFC9)]).temperature, minus_5_5);
    assert_eq!(
        filled(model, &[(72, 4, 0xFFFF_FFC9)]).temperature,
        minus_5_5
    );
    assert_eq!(
        filled(model, &[(28, 2, 0xFF38)]).temperature,
        [None, None, None, Some(-2.0)]
    );
}

#[test]
fn a_voltage_is_in_millivolts_whatever_the_table_says() {
    assert_eq!(
        filled(Some("FMB930"), &[(66, 2, 1_250)]).external_voltage_mv,
        Some(12_500)
    );
    assert_eq!(
        filled(Some("FM36M1"), &[(66, 2, 12_500)]).external_voltage_mv,
        Some(12_500)
    );
    assert_eq!(
        filled(Some("FTC880"), &[(67, 2, 4_000), (800, 4, 24_100)]),
        Typed {
            battery_voltage_mv: Some(4_000),
            external_voltage_mv: Some(24_100),
            ..Typed::default()
        }
    );
}

#[test]
fn what_a_sensor_says_instead_of_a_value_is_null() {
    for code in [850, 2000, 3000, 4000, 5000] {
        assert_eq!(
            filled(Some("FMB120"), &[(73, 2, code)]).temperature,
            [None; 4],
            "{code}"
        );
    }
    for code in [32767, 32766, 32765] {
        assert_eq!(
            filled(Some("FMB120"), &[(25, 2, code)]).temperature,
            [None; 4],
            "{code}"
        );
    }
    assert_eq!(
        filled(Some("FMB120"), &[(25, 2, 4000)]).temperature[0],
        Some(40.0)
    );
    assert_eq!(
        filled(Some("FTC305"), &[(25, 2, 4000)]).temperature[0],
        None
    );
    assert_eq!(filled(Some("FMB120"), &[(86, 2, 65534)]).humidity[0], None);
}

#[test]
fn the_wired_probe_wins_in_any_order() {
    let mut elements = [(10800, 2, 100), (25, 2, 200), (72, 4, 30)];
    for _ in 0..3 {
        elements.rotate_left(1);
        assert_eq!(
            filled(Some("FMB120"), &elements).temperature[0],
            Some(3.0),
            "{elements:?}"
        );
    }
    // A broken wired probe leaves the column to the next source.
    assert_eq!(
        filled(Some("FMB120"), &[(72, 4, 3000), (25, 2, 200)]).temperature[0],
        Some(2.0)
    );
}

#[test]
fn values_that_the_column_cannot_hold_are_null() {
    let typed = filled(
        Some("FMB120"),
        &[(239, 1, 7), (16, 8, u64::MAX), (21, 4, 70_000), (240, 3, 1)],
    );
    assert_eq!(typed, Typed::default());
}

#[test]
fn models_that_agree_share_one_mapping() {
    assert!(Arc::ptr_eq(
        &TypedColumns::for_model(Some("FMB120")),
        &TypedColumns::for_model(Some("FMB125"))
    ));
}

#[test]
fn an_event_counts_in_the_record_that_it_caused() {
    let towing = Some(Event::Towing as i32);
    assert_eq!(events(Some("FMB120"), 246, 1), towing);
    assert_eq!(events(None, 246, 1), towing);
    // Its end, and an element that is repeated in every record.
    assert_eq!(events(Some("FMB120"), 246, 0), None);
    assert_eq!(filled(Some("FMB120"), &[(246, 1, 1)]).events, None);
    let beside = caused(239, Some("FMB120"), &[(239, 1, 1), (246, 1, 1)]);
    assert_eq!((beside.ignition, beside.events), (Some(true), None));
}

#[test]
fn only_one_and_six_are_crashes_and_the_rest_are_traces() {
    for value in [1, 6] {
        assert_eq!(
            events(None, 247, value),
            Some(Event::Crash as i32),
            "{value}"
        );
    }
    for value in 2..=5 {
        assert_eq!(
            events(None, 247, value),
            Some(Event::CrashTrace as i32),
            "{value}"
        );
    }
    assert_eq!(events(None, 247, 0), None);
}

#[test]
fn the_bytes_of_a_crash_trace_are_a_trace() {
    // 8 Extended: no elements of fixed width, one of two bytes under id 257.
    let bytes = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 2, 7, 7];
    let io = Io {
        codec: crate::protocol::teltonika::Codec::Codec8Extended,
        bytes: &bytes,
    };
    let columns = TypedColumns::for_model(Some("FMB120"));
    assert_eq!(
        columns.read(257, &io).events,
        Some(Event::CrashTrace as i32)
    );
    assert_eq!(columns.read(0, &io).events, None);
}

#[test]
fn harsh_driving_has_its_kind_whichever_of_its_two_ids_names_the_record() {
    let kinds = [
        Event::HarshAcceleration,
        Event::HarshBraking,
        Event::HarshCornering,
    ];
    for (value, kind) in (1..).zip(kinds) {
        for event_id in [253, 254] {
            let elements = [(253, 1, value), (254, 1, 40)];
            let typed = caused(event_id, Some("FMC130"), &elements);
            assert_eq!(typed.events, Some(kind as i32), "{event_id} {value}");
        }
    }
}

#[test]
fn what_differs_from_model_to_model_is_an_event_only_where_it_is_one() {
    assert_eq!(events(Some("FMB120"), 252, 1), Some(Event::Unplug as i32));
    assert_eq!(events(Some("FMC640"), 252, 1), None, "authorised driving");
    assert_eq!(events(None, 252, 1), None);
    assert_eq!(
        events(Some("FMB120"), 236, 1),
        Some(Event::AlarmButton as i32)
    );
    assert_eq!(events(Some("FMC640"), 236, 1), None, "an axis");
    assert_eq!(events(Some("TMT250"), 242, 1), Some(Event::Fall as i32));
    assert_eq!(events(Some("FMC640"), 242, 1), None, "the data limit");
    assert_eq!(events(Some("FMB120"), 249, 1), Some(Event::Jamming as i32));
    assert_eq!(
        events(Some("FMB120"), 255, 97),
        Some(Event::Overspeed as i32)
    );
}

#[test]
fn a_vehicle_tells_its_own_mileage_apart_from_the_tracker() {
    let typed = filled(
        Some("FMB120"),
        &[
            (16, 4, 5_000),
            (87, 4, 123_456_789),
            (102, 4, 90),
            (84, 2, 415),
            (89, 1, 62),
        ],
    );
    assert_eq!(typed.odometer_m, Some(5_000));
    assert_eq!(typed.vehicle_odometer_m, Some(123_456_789));
    assert_eq!(typed.engine_seconds, Some(5_400));
    assert_eq!(typed.fuel_l, Some(41.5));
    assert_eq!(typed.fuel_percent, Some(62));
    let obd = filled(Some("FMB003"), &[(389, 4, 98_765), (390, 4, 305)]);
    assert_eq!(obd.vehicle_odometer_m, Some(98_765_000));
    assert_eq!(obd.fuel_l, Some(30.5));
    let truck = filled(
        Some("FMC640"),
        &[(36, 4, 7), (37, 1, 50), (14, 4, 2), (104, 4, 1)],
    );
    assert_eq!(truck.vehicle_odometer_m, Some(7));
    assert_eq!(truck.fuel_percent, Some(50));
    assert_eq!(
        truck.engine_seconds,
        Some(120),
        "the CAN bus is asked before FMS"
    );
    // Ids that mean something else where the model is not known.
    assert_eq!(
        filled(None, &[(87, 4, 5), (84, 2, 5), (90, 2, 0x100)]),
        Typed::default()
    );
}

#[test]
fn what_a_vehicle_does_not_know_is_null() {
    let typed = filled(
        Some("FMB120"),
        &[
            (87, 4, 0),
            (102, 4, 0xFFFF_FFFF),
            (84, 2, 0xFFFF),
            (89, 1, 0xFE),
        ],
    );
    assert_eq!(typed, Typed::default());
}

#[test]
fn a_door_is_open_when_one_of_them_is() {
    let door = |elements: &[(u16, u8, u64)]| filled(Some("FMB120"), elements).door;
    assert_eq!(door(&[(90, 2, 0)]), Some(false));
    assert_eq!(door(&[(90, 2, 0x0400)]), Some(true));
    assert_eq!(
        door(&[(90, 2, 0x1000)]),
        Some(false),
        "the bonnet is no door"
    );
    assert_eq!(door(&[(654, 1, 1), (655, 1, 0)]), Some(true));
    assert_eq!(door(&[]), None);
}

#[test]
fn a_sensor_is_faulty_where_its_error_code_left_the_column_empty() {
    let model = Some("FMB120");
    let faulty = filled(model, &[(72, 4, 3000), (74, 4, 850), (86, 2, 65535)]);
    assert_eq!(faulty.sensor_fault(), Some(1 | 4 | 16));
    assert_eq!(faulty.temperature, [None; 4]);
    // Another source stands in for the first.
    let mut elements = [(72, 4, 3000), (25, 2, 200), (73, 4, 3000)];
    for _ in 0..3 {
        elements.rotate_left(1);
        assert_eq!(
            filled(model, &elements).sensor_fault(),
            Some(2),
            "{elements:?}"
        );
    }
    assert_eq!(filled(model, &[(72, 4, 30)]).sensor_fault(), None);
}
