//! Questions to the tables that many tests ask.

use postgres::Client;
use postgres::types::ToSql;
use trackport::imei::Imei;

/// A single number.
#[track_caller]
pub fn number(client: &mut Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> i64 {
    client.query_one(sql, params).expect(sql).get(0)
}

/// Records of a device.
#[track_caller]
pub fn records(client: &mut Client, imei: Imei) -> i64 {
    let sql = "SELECT count(*) FROM trackport.position WHERE imei = $1";
    number(client, sql, &[&imei.to_string()])
}

/// Records of all devices.
#[track_caller]
pub fn all_records(client: &mut Client) -> i64 {
    number(client, "SELECT count(*) FROM trackport.record", &[])
}

/// One entry of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub code: String,
    pub reason: String,
    pub bytes: Vec<u8>,
    pub n_seen: i32,
    pub acked: bool,
    pub n_records: Option<i32>,
}

/// A device's entries in quarantine, the oldest first.
#[track_caller]
pub fn quarantine(client: &mut Client, imei: Imei) -> Vec<Entry> {
    let sql = "SELECT code, reason, bytes, n_seen, acked, n_records FROM trackport.quarantine
               WHERE imei = $1 ORDER BY id";
    let rows = client.query(sql, &[&imei.to_string()]).expect(sql);
    rows.iter()
        .map(|row| Entry {
            code: row.get(0),
            reason: row.get(1),
            bytes: row.get(2),
            n_seen: row.get(3),
            acked: row.get(4),
            n_records: row.get(5),
        })
        .collect()
}
