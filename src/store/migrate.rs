//! Brings the schema to the version this program knows: plain numbered SQL, each in one transaction.
//!
//! Invariants: one process migrates at a time (an advisory lock, waited for with a bound); what is applied
//! is never applied again; an edited migration, or a schema newer than this program, changes nothing.

use std::time::Duration;

use postgres::Client;
use postgres::error::SqlState;

use super::avl_id;
use super::connect::{SERVER_VERSION_MIN, server_facts};
use super::digest::digest_of;
use super::error::StoreError;

/// One numbered file.
struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "tables",
        sql: include_str!("schema/0001_tables.sql"),
    },
    Migration {
        version: 2,
        name: "io_elements",
        sql: include_str!("schema/0002_io_elements.sql"),
    },
    Migration {
        version: 3,
        name: "views",
        sql: include_str!("schema/0003_views.sql"),
    },
    Migration {
        version: 4,
        name: "read_role",
        sql: include_str!("schema/0004_read_role.sql"),
    },
    Migration {
        version: 5,
        name: "quarantine_desk",
        sql: include_str!("schema/0005_quarantine_desk.sql"),
    },
    Migration {
        version: 6,
        name: "moving",
        sql: include_str!("schema/0006_moving.sql"),
    },
    Migration {
        version: 7,
        name: "assets",
        sql: include_str!("schema/0007_assets.sql"),
    },
    Migration {
        version: 8,
        name: "columns",
        sql: include_str!("schema/0008_columns.sql"),
    },
    Migration {
        version: 9,
        name: "reports",
        sql: include_str!("schema/0009_reports.sql"),
    },
    Migration {
        version: 10,
        name: "access",
        sql: include_str!("schema/0010_access.sql"),
    },
    Migration {
        version: 11,
        name: "live",
        sql: include_str!("schema/0011_live.sql"),
    },
];

/// The version of the schema that this program needs.
pub const SCHEMA_VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// How long another process that migrates is waited for.
pub const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How long a migration waits for a table that somebody uses.
const TABLE_LOCK_WAIT: Duration = Duration::from_secs(30);

/// The advisory lock of the migrations; any number that nobody else uses.
const LOCK: i64 = 8_386_109_000;

/// A migration that was applied just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i32,
    /// Its name.
    pub name: &'static str,
}

/// What `migrate_reporting` is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for the lock.
    Lock,
    /// Apply a migration.
    Apply {
        /// Its number.
        version: i32,
        /// Its name.
        name: &'static str,
    },
    /// Load the dictionary of AVL ids, where it has changed.
    Dictionary,
    /// Give `trackport_read` its rights.
    Rights,
}

/// Brings the schema to `SCHEMA_VERSION` and returns what was applied: nothing when it was there already.
///
/// Blocks for `LOCK_WAIT` and as long as the migrations take.
///
/// # Errors
/// When the lock is not free, the schema is newer or was made from other texts, or a migration fails.
pub fn migrate(client: &mut Client) -> Result<Vec<Applied>, StoreError> {
    migrate_reporting(client, &mut |_| {})
}

/// As `migrate`; calls `report` before each step, so that the caller can tell a watchdog that it lives.
///
/// # Errors
/// As `migrate`.
pub fn migrate_reporting(
    client: &mut Client,
    report: &mut dyn FnMut(Step),
) -> Result<Vec<Applied>, StoreError> {
    let server = server_facts(client)?;
    if server.version_num < SERVER_VERSION_MIN {
        return Err(StoreError::Refused(format!(
            "PostgreSQL {} is too old: trackport needs 15 or newer",
            server.version
        )));
    }
    report(Step::Lock);
    let row = client.query_one(
        "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), \
         current_setting('idle_in_transaction_session_timeout')",
        &[],
    )?;
    let before: [String; 3] = [row.get(0), row.get(1), row.get(2)];
    // A migration may rewrite a table; only its waits for locks are bounded.
    set_timeouts(
        client,
        [
            "0",
            &format!("{}s", LOCK_WAIT.as_secs()),
            before[2].as_str(),
        ],
    )?;
    let outcome = match client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]) {
        Ok(_) => {
            let outcome = migrate_locked(client, report);
            // Where the connection broke, the lock went with it.
            let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]);
            outcome.and_then(|applied| unlocked.map(|_| applied).map_err(StoreError::from))
        }
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(StoreError::MigrationLocked(LOCK_WAIT))
        }
        Err(error) => Err(error.into()),
    };
    let restored = set_timeouts(client, [&before[0], &before[1], &before[2]]);
    outcome.and_then(|applied| restored.map(|()| applied))
}

fn set_timeouts(client: &mut Client, [statement, lock, idle]: [&str; 3]) -> Result<(), StoreError> {
    client.execute(
        "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false), \
         set_config('idle_in_transaction_session_timeout', $3, false)",
        &[&statement, &lock, &idle],
    )?;
    Ok(())
}

fn migrate_locked(
    client: &mut Client,
    report: &mut dyn FnMut(Step),
) -> Result<Vec<Applied>, StoreError> {
    // Not IF NOT EXISTS: that asks for the right to create also where somebody made the schema already.
    let exists: bool = client
        .query_one("SELECT to_regnamespace('trackport') IS NOT NULL", &[])?
        .get(0);
    if !exists {
        client.batch_execute("CREATE SCHEMA trackport")?;
    }
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS trackport.migration (
             version integer PRIMARY KEY,
             name text NOT NULL,
             digest text NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now()
         )",
    )?;
    let found = check_applied(client)?;
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|one| one.version > found) {
        report(Step::Apply {
            version: migration.version,
            name: migration.name,
        });
        apply(client, migration).map_err(|reason| StoreError::Migration {
            version: migration.version,
            name: migration.name,
            reason,
        })?;
        applied.push(Applied {
            version: migration.version,
            name: migration.name,
        });
    }
    report(Step::Dictionary);
    avl_id::load(client)?;
    report(Step::Rights);
    let missing: Option<String> = client
        .query_one("SELECT trackport.grant_read()", &[])?
        .get(0);
    if let Some(missing) = missing {
        log::warn!("{missing}");
    }
    Ok(applied)
}

fn apply(client: &mut Client, migration: &Migration) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!(
        "SET LOCAL lock_timeout = '{}s'",
        TABLE_LOCK_WAIT.as_secs()
    ))?;
    transaction.batch_execute(migration.sql)?;
    transaction.execute(
        "INSERT INTO trackport.migration (version, name, digest) VALUES ($1, $2, $3)",
        &[
            &migration.version,
            &migration.name,
            &digest_of(migration.sql),
        ],
    )?;
    transaction.commit()
}

/// Compares what is applied with what this program has, and returns the version that is applied.
fn check_applied(client: &mut Client) -> Result<i32, StoreError> {
    let mut found = 0;
    for row in client.query(
        "SELECT version, digest, applied_at::text FROM trackport.migration ORDER BY version",
        &[],
    )? {
        let version: i32 = row.get(0);
        let digest: String = row.get(1);
        found = version;
        if let Some(migration) = MIGRATIONS.iter().find(|one| one.version == version)
            && digest != digest_of(migration.sql)
        {
            return Err(StoreError::Edited {
                version,
                name: migration.name,
                applied_at: row.get(2),
            });
        }
    }
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer {
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(found)
}

/// The version of the schema in the database; 0 where there is none.
///
/// # Errors
/// When the database does not answer.
pub fn schema_version(client: &mut Client) -> Result<i32, StoreError> {
    let exists: bool = client
        .query_one("SELECT to_regclass('trackport.migration') IS NOT NULL", &[])?
        .get(0);
    if !exists {
        return Ok(0);
    }
    let version: Option<i32> = client
        .query_one("SELECT max(version) FROM trackport.migration", &[])?
        .get(0);
    Ok(version.unwrap_or(0))
}

/// Makes sure that the schema is the one this program needs, without changing anything.
///
/// # Errors
/// When it is older, newer or made from other texts.
pub fn check_schema(client: &mut Client) -> Result<(), StoreError> {
    let found = schema_version(client)?;
    if found < SCHEMA_VERSION {
        return Err(StoreError::Older {
            found,
            known: SCHEMA_VERSION,
        });
    }
    check_applied(client).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (place, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, place, "{}", migration.name);
        }
    }
}
