//! Batches into `trackport.record`: COPY straight into the table, staging for what may be there already, and one
//! statement for a few rows (`few.rs`).
//!
//! Staging takes rows through a temporary table and `ON CONFLICT DO NOTHING`; both together are one transaction. After an
//! error nothing of the batch is in the table.
//!
//! The transaction is an explicit one also where COPY is all there is: a COPY that commits by itself is reported as complete
//! before its commit, so a commit that fails, or a server process that is ended between the two, would look like success.

use std::io::Write;

use postgres::{Client, Statement, Transaction};

use super::error::StoreError;
use super::few::{FEW, FewRows};
use super::rows::{COLUMNS, Rows, common_columns};

/// A connection that is ready to insert.
pub struct Inserter {
    client: Client,
    copy: Copy,
    stage: Copy,
    merge: Statement,
    few: FewRows,
}

/// The statements for one table: for wide rows and for the others.
struct Copy {
    common: Statement,
    wide: Statement,
}

impl Copy {
    fn prepare(client: &mut Client, table: &str) -> Result<Copy, StoreError> {
        let mut statement = |columns: &str| {
            client.prepare(&format!(
                "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
            ))
        };
        Ok(Copy {
            common: statement(common_columns())?,
            wide: statement(COLUMNS)?,
        })
    }

    /// Sends `rows` as part of `transaction`.
    fn send(&self, transaction: &mut Transaction<'_>, rows: &mut Rows) -> Result<(), StoreError> {
        let statement = if rows.is_wide() {
            &self.wide
        } else {
            &self.common
        };
        let mut copy = transaction.copy_in(statement)?;
        // It is only buffered here; errors of the database show when it is finished.
        copy.write_all(rows.finish()).map_err(|error| {
            match error.downcast::<postgres::Error>() {
                Ok(error) => StoreError::Database(error),
                Err(error) => StoreError::Refused(error.to_string()),
            }
        })?;
        copy.finish()?;
        Ok(())
    }
}

impl Inserter {
    /// Makes `client` ready: statements prepared, staging table made.
    ///
    /// # Errors
    /// Those of the database; the schema has to be there.
    pub fn new(mut client: Client) -> Result<Inserter, StoreError> {
        // The statements are planned once: no value in them makes another plan better.
        client.batch_execute("SET plan_cache_mode = force_generic_plan")?;
        // Of the columns that are written, in their order, whatever else somebody has added to the table.
        client.batch_execute(&format!(
            "CREATE TEMP TABLE record_stage ON COMMIT DELETE ROWS AS \
             SELECT {COLUMNS} FROM trackport.record WITH NO DATA"
        ))?;
        let copy = Copy::prepare(&mut client, "trackport.record")?;
        let stage = Copy::prepare(&mut client, "pg_temp.record_stage")?;
        let merge = client.prepare(&format!(
            "INSERT INTO trackport.record ({COLUMNS}) SELECT {COLUMNS} FROM pg_temp.record_stage \
             ON CONFLICT (device_id, time, digest) DO NOTHING"
        ))?;
        let few = FewRows::new(&mut client)?;
        Ok(Inserter {
            client,
            copy,
            stage,
            merge,
            few,
        })
    }

    /// The connection, for what is not a record.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Makes `direct` and `staged` durable, all or nothing. Returns how many rows were found to be new; those of a COPY are
    /// not counted.
    ///
    /// Blocks for `statement_timeout` per statement at most, as far as the server keeps time.
    ///
    /// # Errors
    /// Those of the database; after a lost connection the outcome is unknown and the batch has to go through staging.
    pub fn insert(&mut self, direct: &mut Rows, staged: &mut Rows) -> Result<u64, StoreError> {
        if direct.len() + staged.len() <= FEW {
            return self.few.insert(&mut self.client, direct, staged);
        }
        let mut transaction = self.client.transaction()?;
        if !direct.is_empty() {
            self.copy.send(&mut transaction, direct)?;
        }
        let mut n_new = 0;
        if !staged.is_empty() {
            self.stage.send(&mut transaction, staged)?;
            n_new = transaction.execute(&self.merge, &[])?;
        }
        transaction.commit()?;
        Ok(n_new)
    }

    /// Takes `rows` into the table, passing over those that are there, and does `along` in the same transaction, which is
    /// committed when `along` says so; else nothing of it stays. Returns how many rows were new.
    ///
    /// # Errors
    /// Those of the database and of `along`.
    pub fn merge_along(
        &mut self,
        rows: &mut Rows,
        along: impl FnOnce(&mut Transaction<'_>) -> Result<bool, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.client.transaction()?;
        self.stage.send(&mut transaction, rows)?;
        let n_new = transaction.execute(&self.merge, &[])?;
        if along(&mut transaction)? {
            transaction.commit()?;
        } else {
            transaction.rollback()?;
        }
        Ok(n_new)
    }
}
