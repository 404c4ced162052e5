//! Erasing a device: every row that names it or carries its id, in all tables.
//!
//! Knows the tables only. That nothing more of the device comes while it is erased is the caller's business (`cli/device/forget.rs`);
//! what a transaction under way still brings is waited for with a `Fence`.
//! Invariants: no transaction deletes more than `ROWS_AT_ONCE` records, so none lasts long. The row of the device goes last and in one
//! transaction with everything small, and only when no record is left: whoever is interrupted finds the device and begins again.

use postgres::types::ToSql;
use postgres::{Client, Transaction};

use super::error::StoreError;
use super::fitting;
use super::partition::LOCK_WAIT;
use crate::imei::Imei;

/// Records deleted in one transaction.
const ROWS_AT_ONCE: i64 = 10_000;

/// Every table that has a column `device_id` or `imei`, its own included: all of them are emptied of the device. A test compares the list with
/// the catalog, so that a new table is not forgotten here.
pub const TABLES: [&str; 12] = [
    "command",
    "device",
    "device_state",
    "fitting",
    "imported_device",
    "imported_position",
    "latest",
    "login_attempt",
    "quarantine",
    "recompute",
    "record",
    "record_default",
];

/// Tables in which rows may appear that were under way when the device was shut out.
const WRITTEN_BEHIND: &str = "'trackport.record'::regclass, 'trackport.imported_position'::regclass, 'trackport.latest'::regclass, \
     'trackport.device_state'::regclass, 'trackport.quarantine'::regclass, 'trackport.login_attempt'::regclass";

/// What was erased from one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The table, as a person finds it.
    pub table: &'static str,
    /// Its rows.
    pub n_rows: u64,
}

/// What has been erased so far, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub Vec<Erased>);

impl Tally {
    fn add(&mut self, table: &'static str, n_rows: u64) {
        match self.0.iter_mut().find(|one| one.table == table) {
            Some(one) => one.n_rows += n_rows,
            None => self.0.push(Erased { table, n_rows }),
        }
    }
}

/// The transactions that were writing at one moment.
#[derive(Clone, Debug)]
pub struct Fence(Vec<String>);

impl Fence {
    /// Whoever writes now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn set(client: &mut Client) -> Result<Fence, StoreError> {
        writing(client).map(Fence)
    }

    /// How many of them have not ended yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn n_left(&self, client: &mut Client) -> Result<usize, StoreError> {
        let writing = writing(client)?;
        Ok(self.0.iter().filter(|one| writing.contains(one)).count())
    }
}

fn writing(client: &mut Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query(
        &format!(
            "SELECT DISTINCT virtualtransaction || '/' || pid FROM pg_locks
             WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND relation = ANY (ARRAY[{WRITTEN_BEHIND}])"
        ),
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Servers that are connected to this database, as they call themselves.
///
/// # Errors
/// When the database does not answer.
pub fn servers(client: &mut Client) -> Result<Vec<String>, StoreError> {
    // trackport/PID-STARTED/THREAD
    let rows = client.query(
        "SELECT DISTINCT application_name FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'trackport/%/%' ORDER BY 1",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Deletes every row of device `id`, which is `imei`; `kept_out`: a bare refused device stays in its place, with another id.
///
/// `report` hears after each transaction how many rows are gone so far.
///
/// # Errors
/// When the database refuses or does not answer: what is deleted is deleted, the device is still there; call again.
pub fn erase(
    client: &mut Client,
    imei: Imei,
    id: i32,
    kept_out: bool,
    report: &mut dyn FnMut(&Tally),
) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    loop {
        erase_many(client, id, &mut tally, report)?;
        // Rows of the default partition may have been on their way to a new one just then.
        if erase_rest(client, imei, id, kept_out, &mut tally)? {
            report(&tally);
            return Ok(tally);
        }
    }
}

/// The tables that may have many rows of a device.
fn erase_many(
    client: &mut Client,
    id: i32,
    tally: &mut Tally,
    report: &mut dyn FnMut(&Tally),
) -> Result<(), StoreError> {
    let partitions: Vec<String> = client
        .query(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'trackport.record'::regclass ORDER BY 1",
            &[],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let records = partitions.iter().map(|name| ("record", name.as_str()));
    let imported = ("imported_position", "trackport.imported_position");
    for (table, name) in records.chain([imported]) {
        let sql = format!(
            "DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name} WHERE device_id = $1 LIMIT $2))"
        );
        loop {
            let deleted = client.execute(&sql, &[&id, &ROWS_AT_ONCE]);
            let n_rows = match deleted {
                // Retention has dropped the partition meanwhile.
                Err(error) if error.code() == Some(&postgres::error::SqlState::UNDEFINED_TABLE) => {
                    break;
                }
                other => other?,
            };
            tally.add(table, n_rows);
            report(tally);
            if n_rows < ROWS_AT_ONCE.unsigned_abs() {
                break;
            }
        }
    }
    Ok(())
}

/// Everything else and the device itself; false, and nothing is done, when there are records again.
fn erase_rest(
    client: &mut Client,
    imei: Imei,
    id: i32,
    kept_out: bool,
    tally: &mut Tally,
) -> Result<bool, StoreError> {
    let text = imei.to_string();
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!(
        "SET LOCAL lock_timeout = '{}ms'",
        4 * LOCK_WAIT.as_millis()
    ))?;
    // In the order in which all who change devices take their locks. Whoever imports waits for the row.
    transaction.execute("SELECT pg_advisory_xact_lock(8386109, 1)", &[])?;
    // Whoever fits another device to the asset just now has done it or waits: an asset is not deleted under it.
    fitting::alone(&mut transaction)?;
    transaction.execute(
        "SELECT FROM trackport.device WHERE id = $1 FOR UPDATE",
        &[&id],
    )?;
    let has_records: bool = transaction
        .query_one(
            "SELECT EXISTS (SELECT FROM trackport.record WHERE device_id = $1)",
            &[&id],
        )?
        .get(0);
    if has_records {
        return Ok(false);
    }
    let mut gone = Tally::default();
    let mut delete = |transaction: &mut Transaction<'_>,
                      table: &'static str,
                      condition: &str,
                      parameters: &[&(dyn ToSql + Sync)]|
     -> Result<(), StoreError> {
        let sql = format!("DELETE FROM trackport.{table} WHERE {condition}");
        gone.add(table, transaction.execute(&sql, parameters)?);
        Ok(())
    };
    for table in [
        "imported_position",
        "imported_device",
        "latest",
        "device_state",
        "command",
        "recompute",
    ] {
        delete(&mut transaction, table, "device_id = $1", &[&id])?;
    }
    // What was its own goes with it, for that is called like the device; what people have made of it, or fitted others to, stays.
    delete(
        &mut transaction,
        "asset",
        "id IN (SELECT f.asset_id FROM trackport.fitting f WHERE f.device_id = $1)
             AND NOT EXISTS (SELECT FROM trackport.fitting f WHERE f.asset_id = asset.id AND f.device_id <> $1)
             AND name IN (SELECT unnest(ARRAY[d.imei, btrim(left(d.name, 200))]) FROM trackport.device d WHERE d.id = $1)",
        &[&id],
    )?;
    delete(&mut transaction, "fitting", "device_id = $1", &[&id])?;
    // An asset that nobody has named is called by the IMEI of its first device.
    transaction.execute(
        "UPDATE trackport.asset SET name = left(replace(name, $1, 'asset ' || id), 200), note = replace(note, $1, '…')
         WHERE position($1 IN name) > 0 OR position($1 IN note) > 0",
        &[&text],
    )?;
    delete(&mut transaction, "login_attempt", "imei = $1", &[&text])?;
    // Also bytes of sessions that never said who they were, where the IMEI stands in them.
    delete(
        &mut transaction,
        "quarantine",
        "imei = $1 OR device_id = $2 OR imei IS NULL AND position(convert_to($1, 'UTF8') IN bytes) > 0",
        &[&text, &id],
    )?;
    delete(
        &mut transaction,
        "port_event",
        "position($1 IN thread) > 0 OR position($1 IN coalesce(reason, '')) > 0",
        &[&text],
    )?;
    // That somebody did something stays; to which device does not.
    transaction.execute(
        "UPDATE trackport.audit SET what = replace(what::text, $1, 'forgotten')::jsonb WHERE position($1 IN what::text) > 0",
        &[&text],
    )?;
    transaction.execute("SELECT set_config('trackport.forget', $1, true)", &[&text])?;
    delete(&mut transaction, "device", "id = $1", &[&id])?;
    if kept_out {
        transaction.execute(
            "INSERT INTO trackport.device (imei, state) VALUES ($1, 'refused')",
            &[&text],
        )?;
    }
    transaction.commit()?;
    for one in gone.0 {
        tally.add(one.table, one.n_rows);
    }
    Ok(true)
}

/// Deletes what a running server has written behind the device since `erase` began: its notes are written once a second. Rows of a
/// device that came back under another id stay.
///
/// # Errors
/// When the database refuses or does not answer; call again.
pub fn sweep(
    client: &mut Client,
    imei: Imei,
    id: i32,
    kept_out: bool,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    for table in ["record", "imported_position", "latest"] {
        let sql = format!("DELETE FROM trackport.{table} WHERE device_id = $1");
        tally.add(table, client.execute(&sql, &[&id])?);
    }
    let n_rows = client.execute(
        "DELETE FROM trackport.quarantine q WHERE device_id = $2
             OR imei = $1 AND device_id IS NULL AND ($3 OR NOT EXISTS (SELECT FROM trackport.device d WHERE d.imei = $1))",
        &[&imei.to_string(), &id, &kept_out],
    )?;
    tally.add("quarantine", n_rows);
    Ok(())
}
