//! What must hold for what records say beside where the device is: events, faulty sensors, and how often a device is heard.

use std::time::{Duration, SystemTime};

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{self, IoSpec, RecordSpec};
use trackport::store::latest::{LatestRow, update_latest};
use trackport::store::{Event, Typed};

use crate::harness::daemon::{started, started_known};
use crate::harness::device::{Device, TIME_MS, packet};
use crate::harness::rows::{add, number};
use crate::harness::{eventually, imei, postgres as pg, secs};

/// An element of fixed width.
fn element(id: u16, width: u8, raw: u64) -> (u16, IoSpec) {
    (id, IoSpec::Fixed { width, raw })
}

/// A packet of one record of this second, caused by `event_id`.
fn caused(second: u64, event_id: u16, io: Vec<(u16, IoSpec)>) -> Vec<u8> {
    let record = RecordSpec {
        time_ms: TIME_MS + second * 1000,
        satellites: 9,
        event_id,
        io,
        ..RecordSpec::default()
    };
    encode::packet(Codec::Codec8, &[record]).unwrap()
}

/// Logs the device in, once the server knows it.
fn let_in(port: u16) -> Device {
    let mut device = None;
    eventually(secs(30), "the device is let in", || {
        device = Device::try_login(port, imei(1));
        device.is_some()
    });
    device.unwrap()
}

/// The names of the events of a device's records, the oldest first.
fn events(client: &mut Client) -> Vec<Option<Vec<String>>> {
    let sql = "SELECT trackport.event_names(events) FROM trackport.position ORDER BY time";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_crash_is_an_event_of_its_record_and_is_seen_in_latest() {
    let (_daemon, mut client, port) = started_known();
    add(&mut client, imei(1), Some("FMB120"));
    let mut device = let_in(port);
    device.deliver(&caused(0, 239, vec![element(239, 1, 1)]));
    device.deliver(&caused(
        1,
        247,
        vec![element(239, 1, 1), element(247, 1, 6)],
    ));
    device.deliver(&caused(2, 247, vec![element(247, 1, 5)]));
    // Repeated in a record that has another cause.
    device.deliver(&caused(
        3,
        240,
        vec![element(240, 1, 1), element(247, 1, 6)],
    ));
    let name = |name: &str| Some(vec![name.to_owned()]);
    assert_eq!(
        events(&mut client),
        [None, name("crash"), name("crash_trace"), None]
    );
    let sql = "SELECT count(*) FROM trackport.latest WHERE events IS NULL AND event_mask = 4
                   AND event_time = '2026-01-01 00:00:02Z' AND shaken_time = '2026-01-01 00:00:01Z'";
    eventually(secs(30), "latest has the events", || {
        number(&mut client, sql, &[]) == 1
    });
}

#[test]
fn a_wired_probe_that_says_an_error_is_a_fault_and_no_temperature() {
    let (_daemon, mut client, port) = started_known();
    add(&mut client, imei(1), Some("FMB120"));
    let mut device = let_in(port);
    // Many at once, so that they go by COPY, and one alone.
    let records: Vec<RecordSpec> = (0..40)
        .map(|second| RecordSpec {
            time_ms: TIME_MS + second * 1000,
            io: vec![
                element(72, 4, 215),
                element(73, 4, if second < 20 { 30 } else { 3000 }),
            ],
            ..RecordSpec::default()
        })
        .collect();
    device.deliver(&encode::packet(Codec::Codec8, &records).unwrap());
    device.deliver(&caused(99, 0, vec![element(72, 4, 850)]));
    let sql = "SELECT count(*) FROM trackport.position
               WHERE temperature_1 = 21.5 AND temperature_2 IS NULL AND trackport.sensor_faults(sensor_fault) = '{temperature_2}'";
    assert_eq!(number(&mut client, sql, &[]), 20);
    let sql =
        "SELECT count(*) FROM trackport.position WHERE temperature_2 = 3 AND sensor_fault IS NULL";
    assert_eq!(number(&mut client, sql, &[]), 20);
    let sql = "SELECT count(*) FROM trackport.latest
               WHERE temperature_1 IS NULL AND trackport.sensor_faults(sensor_fault) = '{temperature_1}'";
    eventually(secs(30), "latest has the fault", || {
        number(&mut client, sql, &[]) == 1
    });
}

#[test]
fn whoever_listens_hears_which_devices_have_something_new() {
    let (_daemon, mut client, port) = started_known();
    add(&mut client, imei(1), None);
    client.batch_execute("LISTEN trackport_latest").unwrap();
    let_in(port).deliver(&packet(0, 3));
    let notification = client
        .notifications()
        .timeout_iter(secs(60))
        .next()
        .unwrap()
        .expect("a notification within a minute");
    assert_eq!(notification.channel(), "trackport_latest");
    assert_eq!(notification.payload(), "[1]");
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM trackport.latest", &[]),
        1
    );
}

/// A device's contacts as the keeper writes them, in seconds from a beginning.
struct Contacts {
    client: Client,
    _database: pg::Database,
}

impl Contacts {
    fn new() -> Contacts {
        let (database, mut client) = pg::shared().migrated();
        add(&mut client, imei(1), None);
        Contacts {
            client,
            _database: database,
        }
    }

    /// A packet received at `received_s` whose newest record is of `time_s`.
    fn heard(&mut self, received_s: u64, time_s: u64, moves: bool) {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + second);
        let mut typed = Typed::default();
        typed.movement = Some(moves);
        let row = LatestRow {
            device_id: 1,
            time: at(time_s),
            digest: 7,
            received_at: at(received_s),
            longitude: 25.25,
            latitude: 54.5,
            altitude_m: 0,
            angle_deg: 0,
            satellites: 9,
            speed_kmh: 0,
            priority: 0,
            event_id: 0,
            port: 5027,
            typed,
        };
        update_latest(
            &mut self.client,
            &[row].into_iter().collect(),
            at(received_s),
        )
        .unwrap();
    }

    /// `n` contacts every `every_s` from `from_s` on; returns when the last one was.
    fn every(&mut self, every_s: u64, n: u64, from_s: u64, moves: bool) -> u64 {
        for contact in 0..n {
            let second = from_s + contact * every_s;
            self.heard(second, second - 1, moves);
        }
        from_s + (n - 1) * every_s
    }

    fn usual(&mut self) -> (Option<f32>, Option<f32>) {
        let sql = "SELECT contact_moving_s, contact_parked_s FROM trackport.latest";
        let row = self.client.query_one(sql, &[]).unwrap();
        (row.get(0), row.get(1))
    }
}

#[test]
fn the_usual_interval_is_learned_apart_for_moving_and_parked() {
    let mut contacts = Contacts::new();
    let parked = contacts.every(600, 5, 100, false);
    assert_eq!(contacts.usual(), (None, Some(600.0)));
    // The silence that the journey ends is neither the one nor the other.
    let moving = contacts.every(20, 5, parked + 77, true);
    assert_eq!(contacts.usual(), (Some(20.0), Some(600.0)));
    contacts.every(600, 2, moving + 33, false);
    assert_eq!(contacts.usual(), (Some(20.0), Some(600.0)));
}

#[test]
fn an_outage_does_not_blow_the_usual_interval_up() {
    let mut contacts = Contacts::new();
    let before = contacts.every(60, 10, 100, true);
    // A day away, and then what was stored meanwhile, the oldest first, within seconds.
    let back = before + 86_400;
    for piece in 1..=24 {
        contacts.heard(back + piece / 5, before + piece * 3_600 - 1, true);
    }
    let after = contacts.usual().0.unwrap();
    assert!(after <= 120.0, "{after}");
    contacts.every(60, 5, back + 65, true);
    assert_eq!(contacts.usual().0, Some(60.0));
}

#[test]
fn a_backlog_newest_first_is_no_contact_each() {
    let mut contacts = Contacts::new();
    let before = contacts.every(60, 10, 100, true);
    for piece in 0..50 {
        contacts.heard(before + 60 + piece, before + 59 - piece, true);
    }
    assert_eq!(contacts.usual().0, Some(60.0));
}

#[test]
fn a_burst_of_packets_weighs_little() {
    let mut contacts = Contacts::new();
    for contact in 1..20 {
        for packet in 0..4 {
            let second = contact * 3_600 + packet * 6;
            contacts.heard(second, second - 1, false);
        }
    }
    let usual = contacts.usual().1.unwrap();
    assert!((3_200.0..=3_600.0).contains(&usual), "{usual}");
}

#[test]
fn a_changed_setting_is_learned_within_some_contacts() {
    let mut contacts = Contacts::new();
    let before = contacts.every(60, 10, 100, false);
    let longer = contacts.every(1_800, 7, before + 1_800, false);
    assert_eq!(contacts.usual().1, Some(1_800.0));
    contacts.every(300, 14, longer + 300, false);
    assert_eq!(contacts.usual().1, Some(300.0));
}

#[test]
fn a_device_whose_clock_is_behind_is_heard_as_often_as_it_is() {
    let mut contacts = Contacts::new();
    for contact in 0..10 {
        contacts.heard(10_000_000 + contact * 120, contact * 120, false);
    }
    assert_eq!(contacts.usual().1, Some(120.0));
}

#[test]
fn the_names_of_events_are_those_of_the_program() {
    let (_database, mut client) = pg::shared().migrated();
    let all = [
        (Event::Towing, "towing"),
        (Event::Crash, "crash"),
        (Event::CrashTrace, "crash_trace"),
        (Event::Shock, "shock"),
        (Event::Unplug, "unplug"),
        (Event::HarshAcceleration, "harsh_acceleration"),
        (Event::HarshBraking, "harsh_braking"),
        (Event::HarshCornering, "harsh_cornering"),
        (Event::Jamming, "jamming"),
        (Event::BatteryUnplug, "battery_unplug"),
        (Event::Fall, "fall"),
        (Event::Overspeed, "overspeed"),
        (Event::AlarmButton, "alarm_button"),
    ];
    let mask = all.iter().fold(0, |mask, (event, _)| mask | *event as i32);
    let row = client
        .query_one("SELECT trackport.event_names($1)", &[&mask])
        .unwrap();
    let names: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
    assert_eq!(row.get::<_, Vec<&str>>(0), names);
    for (event, name) in all {
        let row = client
            .query_one("SELECT trackport.event_names($1)", &[&(event as i32)])
            .unwrap();
        assert_eq!(row.get::<_, Vec<&str>>(0), [name]);
    }
}

/// A device with a wired probe, all of whose elements need its model, and what it has of them.
const PROBE_ONLY: &str =
    "SELECT count(*) FROM trackport.record WHERE battery_level = 80 AND odometer_m = 4242";

fn probe_packet(second: u64, n: u64) -> Vec<u8> {
    let records: Vec<RecordSpec> = (second..second + n)
        .map(|second| RecordSpec {
            time_ms: TIME_MS + second * 1000,
            satellites: 9,
            event_id: 252,
            io: vec![
                element(113, 1, 80),
                element(16, 4, 4242),
                element(252, 1, 1),
            ],
            ..RecordSpec::default()
        })
        .collect();
    encode::packet(Codec::Codec8, &records).unwrap()
}

fn set_model(client: &mut Client, model: &str) {
    let sql = "UPDATE trackport.device SET model = $1";
    client.execute(sql, &[&model]).unwrap();
}

fn is_recomputed(client: &mut Client) -> bool {
    let sql = "SELECT count(*) FROM trackport.recompute WHERE finished_at IS NOT NULL";
    number(client, sql, &[]) == 1
}

#[test]
fn a_changed_model_fills_all_records_also_those_that_come_in_meanwhile() {
    let (daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    for packet in 0..20 {
        device.deliver(&probe_packet(packet * 100, 100));
    }
    assert_eq!(number(&mut client, PROBE_ONLY, &[]), 0, "no model");
    set_model(&mut client, "FMB120");
    let mut n_packets = 20;
    eventually(secs(60), "the columns are filled", || {
        device.deliver(&probe_packet(n_packets * 100, 10));
        n_packets += 1;
        is_recomputed(&mut client)
    });
    let n_records = 2_000 + i64::try_from(n_packets - 20).unwrap() * 10;
    assert_eq!(number(&mut client, PROBE_ONLY, &[]), n_records);
    let sql =
        "SELECT count(*) FROM trackport.record WHERE trackport.event_names(events) = '{unplug}'";
    assert_eq!(number(&mut client, sql, &[]), n_records);
    let sql = "SELECT count(*) FROM trackport.latest WHERE battery_level = 80 AND event_mask = 16 AND event_time = time";
    eventually(secs(30), "latest has the values and the event", || {
        number(&mut client, sql, &[]) == 1
    });
    let shown = daemon.must(&["device", "show", &imei(1).to_string()]);
    assert!(shown.contains("by model FMB120, "), "{shown}");
    assert!(
        daemon
            .status()
            .threads
            .iter()
            .any(|thread| thread.name == "recompute")
    );
    // And back again: what the model before had filled goes.
    set_model(&mut client, "FMC640");
    eventually(secs(60), "the columns are emptied", || {
        is_recomputed(&mut client)
    });
    assert_eq!(number(&mut client, PROBE_ONLY, &[]), 0);
    let sql =
        "SELECT count(*) FROM trackport.latest WHERE battery_level IS NULL AND event_time IS NULL";
    assert_eq!(number(&mut client, sql, &[]), 1);
}

#[test]
fn a_record_whose_columns_are_right_is_not_written() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&probe_packet(0, 50));
    let sql = "SELECT count(DISTINCT xmin::text) FROM trackport.record";
    let before = number(&mut client, sql, &[]);
    set_model(&mut client, "no such model");
    eventually(secs(60), "it is done", || is_recomputed(&mut client));
    let sql_changed = "SELECT n_changed FROM trackport.recompute WHERE n_done = 50";
    assert_eq!(number(&mut client, sql_changed, &[]), 0);
    assert_eq!(number(&mut client, sql, &[]), before);
}

#[cfg(feature = "faults")]
#[test]
fn a_restart_goes_on_where_the_work_stood_and_a_second_change_begins_anew() {
    let (database, mut client) = pg::shared().migrated();
    let port = crate::harness::free_port();
    let mut daemon = crate::harness::daemon::Setup::new(&database.url)
        .port(port)
        .faults("recompute-step=sleep(300)")
        .start();
    let mut device = Device::login(port, imei(1));
    for packet in 0..20 {
        device.deliver(&probe_packet(packet * 100, 100));
    }
    set_model(&mut client, "FMB120");
    let half = "SELECT n_done FROM trackport.recompute WHERE n_done BETWEEN 50 AND 1500 AND finished_at IS NULL";
    eventually(secs(60), "it is half way", || {
        client.query_opt(half, &[]).unwrap().is_some()
    });
    daemon.kill();
    let n_done = number(&mut client, "SELECT n_done FROM trackport.recompute", &[]);
    assert!(n_done < 2_000, "{n_done}");
    daemon.forget_faults();
    daemon.launch();
    eventually(secs(60), "it is done", || is_recomputed(&mut client));
    assert_eq!(number(&mut client, PROBE_ONLY, &[]), 2_000);
    assert_eq!(
        number(&mut client, "SELECT n_done FROM trackport.recompute", &[]),
        2_000,
        "each record once"
    );
    // Two changes at once: the last one counts.
    set_model(&mut client, "FMC640");
    eventually(secs(60), "the first one is begun", || {
        let sql = "SELECT count(*) FROM trackport.recompute WHERE started_at IS NOT NULL OR finished_at IS NOT NULL";
        number(&mut client, sql, &[]) == 1
    });
    set_model(&mut client, "FMB920");
    eventually(secs(60), "the last one is done", || {
        is_recomputed(&mut client)
    });
    let sql = "SELECT count(*) FROM trackport.recompute WHERE model = 'FMB920' AND n_done = 2000";
    assert_eq!(number(&mut client, sql, &[]), 1);
    assert_eq!(number(&mut client, PROBE_ONLY, &[]), 2_000);
}

#[test]
fn a_model_is_suggested_and_nothing_is_set() {
    let (daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    let io = vec![
        element(239, 1, 1),
        element(240, 1, 1),
        element(113, 1, 80),
        element(80, 1, 1),
        element(16, 4, 5),
        element(17, 2, 5),
    ];
    device.deliver(&caused(0, 0, io));
    let suggested = daemon.must(&["device", "suggest", &imei(1).to_string()]);
    assert!(suggested.contains("fit equally"), "{suggested}");
    assert!(suggested.contains("FMB120"), "{suggested}");
    assert!(suggested.contains("trackport device set"), "{suggested}");
    assert!(daemon.must(&["device", "suggest"]).contains("fit equally"));
    let sql = "SELECT count(*) FROM trackport.device WHERE model IS NULL";
    assert_eq!(number(&mut client, sql, &[]), 1);
}

#[test]
fn a_whole_fleet_that_gets_its_models_at_once_is_done_in_one_go() {
    let (_daemon, mut client, _) = started();
    let sql = "INSERT INTO trackport.device (imei) SELECT (350000000000000 + n)::text FROM generate_series(1, 300) n";
    assert_eq!(client.execute(sql, &[]).unwrap(), 300);
    set_model(&mut client, "FMB120");
    let done =
        "SELECT count(*) FROM trackport.recompute WHERE finished_at IS NOT NULL AND n_done = 0";
    // Each by itself would wait for seconds until it may begin.
    eventually(secs(60), "all are done", || {
        number(&mut client, done, &[]) == 300
    });
}
