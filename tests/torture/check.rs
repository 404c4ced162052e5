//! The comparison at the end: what devices sent and what was acked to them, against the tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use postgres::Client;

use crate::fleet::Seen;
use crate::values::{Row, Values};
use crate::verdict::{Verdict, compare};

/// Everything the comparison found.
#[derive(Default)]
pub struct Findings {
    pub verdict: Verdict,
    pub n_stored: u64,
    pub n_devices: u64,
    pub n_quarantined: u64,
    /// Entries about bytes that a thread died or hung of.
    pub n_suspected: u64,
    /// What is wrong, in words.
    pub complaints: Vec<String>,
}

/// Complaints of one kind that are written out.
const SAID_MAX: usize = 10;

impl Findings {
    fn complain(&mut self, text: String) {
        self.complaints.push(text);
    }
}

/// When the server may have received records, and by which ports.
pub struct Bounds {
    pub begun: SystemTime,
    pub ports: Vec<u16>,
}

/// Compares everything.
pub fn check(client: &mut Client, values: &Values, fleet: &[Seen], bounds: &Bounds) -> Findings {
    let mut findings = Findings {
        n_devices: fleet.len() as u64,
        ..Findings::default()
    };
    check_devices(client, fleet, &mut findings);
    for seen in fleet {
        check_records(client, values, seen, bounds, &mut findings);
    }
    let n_rows: i64 = client
        .query_one("SELECT count(*) FROM trackport.record", &[])
        .expect("the table can be read")
        .get(0);
    if n_rows.unsigned_abs() != findings.n_stored {
        findings.complain(format!(
            "{n_rows} rows in the table, {} of them belong to devices of this run",
            findings.n_stored
        ));
    }
    check_quarantine(client, fleet, values, &mut findings);
    findings
}

/// Only devices that there are, each of which has what it was promised.
fn check_devices(client: &mut Client, fleet: &[Seen], findings: &mut Findings) {
    let ours: BTreeSet<String> = fleet.iter().map(|seen| seen.imei.to_string()).collect();
    let rows = client
        .query("SELECT imei FROM trackport.device", &[])
        .expect("the table can be read");
    for row in rows {
        let imei: String = row.get(0);
        if !ours.contains(&imei) {
            findings.complain(format!("{imei} is no device of this run"));
        }
    }
    for seen in fleet {
        for wrong in &seen.wrong {
            findings.complain(format!("{}: {wrong}", seen.imei));
        }
        if seen.is_unfinished {
            findings.complain(format!(
                "{}: its last packet, from record {} on, was never acked",
                seen.imei, seen.acked
            ));
        }
    }
}

fn check_records(
    client: &mut Client,
    values: &Values,
    seen: &Seen,
    bounds: &Bounds,
    findings: &mut Findings,
) {
    let stored = client
        .query(
            "SELECT ((extract(epoch FROM r.time) - 946684800) * 1000000)::bigint, r.digest, r.longitude, r.latitude, r.altitude_m,
                 r.angle_deg, r.satellites, r.speed_kmh, r.priority, r.event_id, r.generation, r.codec, r.ignition,
                 r.movement, r.external_voltage_mv, r.signal,
                 num_nonnulls(r.odometer_m, r.battery_voltage_mv, r.battery_level, r.temperature_1, r.temperature_2,
                     r.temperature_3, r.temperature_4, r.humidity_1, r.humidity_2, r.humidity_3, r.humidity_4),
                 r.io, r.received_at, r.port
             FROM trackport.record r JOIN trackport.device d ON d.id = r.device_id WHERE d.imei = $1",
            &[&seen.imei.to_string()],
        )
        .expect("the table can be read");
    let latest = SystemTime::now() + Duration::from_secs(1);
    let mut rows = Vec::with_capacity(stored.len());
    for row in &stored {
        let received_at: SystemTime = row.get(18);
        if received_at < bounds.begun || received_at > latest {
            findings.complain(format!(
                "{}: a record received at {received_at:?}",
                seen.imei
            ));
        }
        let port: i32 = row.get(19);
        if !bounds.ports.iter().any(|ours| i32::from(*ours) == port) {
            findings.complain(format!("{}: a record received by port {port}", seen.imei));
        }
        rows.push(read(row));
    }
    findings.n_stored += rows.len() as u64;
    let sent: Vec<Row> = (0..seen.sent)
        .map(|index| values.row(seen.codec, seen.number, index))
        .collect();
    let verdict = compare(&sent, seen.acked, &rows);
    for (what, examples) in [
        ("acked and not in the table", &verdict.lost),
        ("more than once in the table", &verdict.doubled),
        ("in the table with other values", &verdict.wrong),
    ] {
        if !examples.is_empty() {
            let some = &examples[..examples.len().min(SAID_MAX)];
            let clocks: Vec<String> = some
                .iter()
                .map(|index| values.clock(seen.number, *index).to_string())
                .collect();
            findings.complain(format!(
                "{}: {} records {what}, such as {some:?} (clocks {clocks:?}; {} acked, {} sent)",
                seen.imei,
                examples.len(),
                seen.acked,
                seen.sent
            ));
        }
    }
    for row in verdict.foreign.iter().take(SAID_MAX) {
        findings.complain(format!("{}: never sent: {row:?}", seen.imei));
    }
    findings.verdict.add(verdict);
}

fn read(row: &postgres::Row) -> Row {
    Row {
        time_us: row.get(0),
        digest: row.get(1),
        longitude: row.get(2),
        latitude: row.get(3),
        altitude_m: row.get(4),
        angle_deg: row.get(5),
        satellites: row.get(6),
        speed_kmh: row.get(7),
        priority: row.get(8),
        event_id: row.get(9),
        generation: row.get(10),
        codec: row.get(11),
        ignition: row.get(12),
        movement: row.get(13),
        external_voltage_mv: row.get(14),
        signal: row.get(15),
        n_other: row.get(16),
        io: row.get(17),
    }
}

/// For each device and bytes, whether acked, its count and its reason.
type Poisoned = BTreeMap<(String, Vec<u8>), (bool, u32, &'static str)>;

/// What was poisoned is there, and nothing else. Bytes that a thread stopped at are there as well, un-acked.
fn check_quarantine(client: &mut Client, fleet: &[Seen], values: &Values, findings: &mut Findings) {
    let mut poisoned: Poisoned = BTreeMap::new();
    for seen in fleet {
        for poison in &seen.poison {
            poisoned.insert(
                (seen.imei.to_string(), poison.bytes.clone()),
                (poison.is_acked, poison.n_records, poison.code),
            );
        }
    }
    let by_imei: HashMap<String, &Seen> = fleet
        .iter()
        .map(|seen| (seen.imei.to_string(), seen))
        .collect();
    let rows = client
        .query(
            "SELECT imei, bytes, code, acked, n_records, reason FROM trackport.quarantine",
            &[],
        )
        .expect("the table can be read");
    for row in &rows {
        let imei: Option<String> = row.get(0);
        let imei = imei.unwrap_or_default();
        let (bytes, code): (Vec<u8>, String) = (row.get(1), row.get(2));
        let (is_acked, n_records): (bool, Option<i32>) = (row.get(3), row.get(4));
        let is_suspected = code == "stopped_a_thread";
        match poisoned.remove(&(imei.clone(), bytes.clone())) {
            Some((acked, n_sent, sent_code)) => {
                findings.n_quarantined += 1;
                if is_acked != acked
                    || acked && n_records.map(i32::unsigned_abs) != Some(n_sent)
                    || code != sent_code && !is_suspected
                {
                    findings.complain(format!(
                        "{imei}: quarantine says {code}, acked {is_acked}, {n_records:?} records of a packet that was {sent_code}, \
                         acked {acked}, {n_sent} records"
                    ));
                }
            }
            None if is_suspected && !is_acked && was_sent(&by_imei, values, &imei, &bytes) => {
                findings.n_suspected += 1;
            }
            None => {
                let reason: String = row.get(5);
                findings.complain(format!(
                    "{imei}: in quarantine and never poisoned: {code}, acked {is_acked}, {} bytes, {reason}",
                    bytes.len()
                ));
            }
        }
    }
    for ((imei, bytes), (is_acked, _, code)) in poisoned {
        if is_acked {
            findings.complain(format!(
                "{imei}: an unreadable packet ({code}, {} bytes) was acked and is not in quarantine",
                bytes.len()
            ));
        }
    }
}

/// Whether the bytes at which a thread stopped are a part of what the device sent: they begin like one of its items.
fn was_sent(fleet: &HashMap<String, &Seen>, values: &Values, imei: &str, bytes: &[u8]) -> bool {
    let Some(seen) = fleet.get(imei) else {
        return false;
    };
    // Pings may stand before a packet.
    let begin = bytes
        .iter()
        .position(|byte| *byte != 0xFF)
        .unwrap_or(bytes.len());
    let bytes = &bytes[begin..];
    let Some(&n) = bytes.get(9) else {
        // Less than the head of a packet.
        return true;
    };
    (0..seen.sent).any(|from| {
        values
            .packet(seen.codec, seen.number, from, u64::from(n).clamp(1, 30))
            .starts_with(bytes)
    }) || seen
        .poison
        .iter()
        .any(|poison| poison.bytes.starts_with(bytes))
}
