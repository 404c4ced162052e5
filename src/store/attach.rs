//! A new partition of `record` takes its rows out of the default one and becomes visible.
//!
//! Invariants: a row is in the default partition or in its own, never in none: both change in one transaction. Nobody waits
//! for the moving of rows, only for one reading of the default partition, which attaching costs. `record` itself is locked
//! before its default partition: a query that waited for the default one alone would have made its list of partitions before,
//! and would find the moved rows neither there nor in the new one.
//!
//! What this cannot give: a transaction that keeps one snapshot (repeatable read), taken before the move, and that reads
//! `record` for the first time after it, sees the moved rows only where its condition leads to the default partition.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use postgres::Transaction;
use postgres::error::SqlState;

use super::error::StoreError;

/// A partition of `record`: the days from `from` to before `to`, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The table's name, without its schema.
    pub name: String,
    /// First instant in it.
    pub from: SystemTime,
    /// First instant after it.
    pub to: SystemTime,
}

/// In this order, and without the other partitions.
const LOCK_TABLES: &str = "LOCK TABLE ONLY trackport.record IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE trackport.record_default IN ACCESS EXCLUSIVE MODE";

/// Blocks of the default partition, 8 KiB each, that are searched in one statement for rows to be moved.
const N_BLOCKS_AT_ONCE: i64 = 512;

/// What a statement that reads a few blocks takes at most, and what attaching takes for each block of the default partition,
/// which it reads in one go. A slow disk reads 8 MB in a second.
pub(super) const PIECE: Duration = Duration::from_secs(1);
const PER_BLOCK: Duration = Duration::from_millis(1);

/// Builds the partition aside, moves its rows out of the default one and attaches it.
pub(super) fn make(
    transaction: &mut Transaction<'_>,
    partition: &Partition,
    beat: &mut dyn FnMut(Duration),
) -> Result<(), StoreError> {
    let table = format!("trackport.{}", quoted(&partition.name));
    let (from, to) = (literal(partition.from)?, literal(partition.to)?);
    transaction.batch_execute(&format!(
        "CREATE TABLE {table} (LIKE trackport.record INCLUDING ALL EXCLUDING COMMENTS);
         -- With this check attaching need not read the new table.
         ALTER TABLE {table} ADD CONSTRAINT bound CHECK (time >= '{from}' AND time < '{to}');
         -- What is begun now would have to be done anew from the start.
         SET LOCAL statement_timeout = 0"
    ))?;
    let n_blocks = n_blocks(transaction)?;
    if n_blocks > N_BLOCKS_AT_ONCE {
        // A report that is in the way now would be found only after all the moving.
        let mut trial = transaction.savepoint("trial")?;
        trial.batch_execute(LOCK_TABLES)?;
        trial.rollback()?;
    }
    // Everybody sees the rows where they were until the end, and goes on inserting beside them.
    move_rows(transaction, &table, (&from, &to), beat)?;
    transaction.batch_execute(LOCK_TABLES)?;
    let reading = PIECE + PER_BLOCK * u32::try_from(n_blocks).unwrap_or(u32::MAX);
    let attach = format!(
        "ALTER TABLE trackport.record ATTACH PARTITION {table} FOR VALUES FROM ('{from}') TO ('{to}')"
    );
    beat(reading);
    let mut trial = transaction.savepoint("trial")?;
    match trial.batch_execute(&attach) {
        Ok(()) => trial.commit()?,
        // Rows of this span came during the moving; no more of them can come now.
        Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {
            trial.rollback()?;
            move_rows(transaction, &table, (&from, &to), beat)?;
            beat(reading);
            transaction.batch_execute(&attach)?;
        }
        Err(error) => return Err(error.into()),
    }
    transaction.batch_execute(&format!("ALTER TABLE {table} DROP CONSTRAINT bound"))?;
    let may_grant: bool = transaction
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'trackport_read')",
            &[],
        )?
        .get(0);
    if may_grant {
        transaction.batch_execute(&format!("GRANT SELECT ON {table} TO trackport_read"))?;
    }
    Ok(())
}

/// The size of the default partition.
fn n_blocks(transaction: &mut Transaction<'_>) -> Result<i64, StoreError> {
    let row = transaction.query_one(
        "SELECT pg_relation_size('trackport.record_default') / current_setting('block_size')::bigint",
        &[],
    )?;
    Ok(row.get(0))
}

/// Moves the rows of a span that this transaction sees in the default partition.
fn move_rows(
    transaction: &mut Transaction<'_>,
    table: &str,
    (from, to): (&str, &str),
    beat: &mut dyn FnMut(Duration),
) -> Result<(), StoreError> {
    let n_blocks = n_blocks(transaction)?;
    // By place in the table, because every piece by time would search all of it.
    let mut first = 0;
    while first < n_blocks {
        beat(PIECE);
        let next = first + N_BLOCKS_AT_ONCE;
        transaction.batch_execute(&format!(
            "WITH moved AS (
                 DELETE FROM trackport.record_default
                 WHERE ctid >= '({first},0)' AND ctid < '({next},0)' AND time >= '{from}' AND time < '{to}' RETURNING *
             )
             INSERT INTO {table} SELECT * FROM moved"
        ))?;
        first = next;
    }
    Ok(())
}

/// The time as PostgreSQL reads it whatever the session's settings are.
fn literal(time: SystemTime) -> Result<String, StoreError> {
    let time = Timestamp::try_from(time)
        .map_err(|error| StoreError::Refused(format!("no bound of a partition: {error}")))?;
    Ok(time.to_string())
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
