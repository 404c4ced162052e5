//! Questions to the tables that many tests ask.

use postgres::Client;
use postgres::types::ToSql;
use trackport::imei::Imei;

/// A deferred check on all partitions: rows with speed 666 are taken without a word, and their commit fails.
pub const REFUSE_AT_COMMIT: &str = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'refused at the commit'; END $$;
             DO $$ DECLARE partition regclass; BEGIN
                 FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'trackport.record'::regclass LOOP
                     EXECUTE format('CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON %s DEFERRABLE INITIALLY DEFERRED
                         FOR EACH ROW WHEN (new.speed_kmh = 666) EXECUTE FUNCTION public.refuse()', partition);
                 END LOOP;
             END $$";

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

/// Writes a device into the table, as an operator does.
#[track_caller]
pub fn add(client: &mut Client, imei: Imei, model: Option<&str>) {
    let sql = "INSERT INTO trackport.device (imei, model) VALUES ($1, $2)";
    client
        .execute(sql, &[&imei.to_string(), &model])
        .expect(sql);
}

/// Changes a device's state.
#[track_caller]
pub fn set_state(client: &mut Client, imei: Imei, state: &str) {
    let sql = "UPDATE trackport.device SET state = $2 WHERE imei = $1";
    client
        .execute(sql, &[&imei.to_string(), &state])
        .expect(sql);
}

/// Holds a lock while `body` runs.
pub fn while_locked<T>(client: &mut Client, lock: &str, body: impl FnOnce() -> T) -> T {
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute(&format!(
            "SET LOCAL statement_timeout = 0; LOCK TABLE {lock}"
        ))
        .unwrap();
    let result = body();
    transaction.commit().unwrap();
    result
}
