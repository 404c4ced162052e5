//! What goes wrong with the database, and what is to be done about it.
//!
//! Knows SQLSTATEs; does not know batches or threads: who asks `class` decides how to retry or split.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use postgres::error::SqlState;

/// Why something asked of the database was not done. The text of each says all; none has a source, which would be printed behind it once more.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server, or the way to it, refused a statement.
    #[error("{}", describe(.0))]
    Database(postgres::Error),
    /// The connection URL cannot be used.
    #[error("[database] url: {0}")]
    Url(String),
    /// The password lies in a file that cannot be read.
    #[error(
        "the password's file {} cannot be read: {reason}; it must be there and readable by the user that trackport runs as",
        file.display()
    )]
    PasswordFile {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// No server answered within the time-out.
    #[error("no PostgreSQL at {place}: {reason}")]
    Unreachable {
        /// Host and port, or the socket's path.
        place: String,
        /// What was tried and what came of it.
        reason: String,
    },
    /// Another trackport is migrating.
    #[error(
        "another process holds the lock of the migrations for more than {} s; when it has finished, try again",
        .0.as_secs()
    )]
    MigrationLocked(Duration),
    /// A migration failed; nothing of it stays.
    #[error("migration {version:04}_{name} failed: {}", describe(.reason))]
    Migration {
        /// Its number.
        version: i32,
        /// Its name.
        name: &'static str,
        /// What the server said.
        reason: postgres::Error,
    },
    /// A migration that is applied is not the one in this program.
    #[error(
        "migration {version:04}_{name} of this program is not the one applied on {applied_at}: it was edited after its release; \
         run the trackport that made this schema, or restore the file"
    )]
    Edited {
        /// Its number.
        version: i32,
        /// Its name here.
        name: &'static str,
        /// When the other text was applied.
        applied_at: String,
    },
    /// The schema was made by a later trackport.
    #[error(
        "the schema is at version {found}, this program knows {known}: install the trackport that made it, or a newer one"
    )]
    Newer {
        /// Version in the database.
        found: i32,
        /// Last version in this program.
        known: i32,
    },
    /// The schema is older than this program, or missing.
    #[error(
        "the schema is at version {found}, this program needs {known}: run `trackport migrate`"
    )]
    Older {
        /// Version in the database; 0: no schema.
        found: i32,
        /// Last version in this program.
        known: i32,
    },
    /// What was asked for makes no sense to the tables.
    #[error("{0}")]
    Refused(String),
    /// There is nothing by this name or number.
    #[error("{0}")]
    Missing(String),
    /// It stands against what is there already, which the text names.
    #[error("{0}")]
    Taken(String),
    /// Values that cannot be taken.
    #[error("{}", listed(.0))]
    Invalid(Vec<FieldMistake>),
}

/// A value that cannot be taken, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMistake {
    /// The field, as the API calls it.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub text: String,
}

impl FieldMistake {
    /// A mistake in this field.
    pub fn new(field: &'static str, text: impl Into<String>) -> FieldMistake {
        FieldMistake {
            field,
            text: text.into(),
        }
    }
}

fn listed(mistakes: &[FieldMistake]) -> String {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("{}: {}", mistake.field.replace('_', " "), mistake.text))
        .collect();
    lines.join("; ")
}

impl From<postgres::Error> for StoreError {
    fn from(error: postgres::Error) -> StoreError {
        StoreError::Database(error)
    }
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            StoreError::Database(error) => class(error),
            StoreError::Migration { reason, .. } => class(reason),
            StoreError::Unreachable { .. } | StoreError::MigrationLocked(_) => ErrorClass::Retry,
            StoreError::Url(_)
            | StoreError::PasswordFile { .. }
            | StoreError::Edited { .. }
            | StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::Refused(_)
            | StoreError::Missing(_)
            | StoreError::Taken(_)
            | StoreError::Invalid(_) => ErrorClass::Person,
        }
    }

    /// Whether the server turned this user away, or does not let it do this.
    pub fn is_turned_away(&self) -> bool {
        let StoreError::Database(error) = self else {
            return false;
        };
        error.code().is_some_and(|state| {
            state.code().starts_with("28") || *state == SqlState::INSUFFICIENT_PRIVILEGE
        })
    }

    /// Whether the server is away: not there, gone in the middle, or going or coming just now (57P…).
    pub fn is_away(&self) -> bool {
        match self {
            StoreError::Unreachable { .. } => true,
            StoreError::Database(error) => error
                .as_db_error()
                .is_none_or(|refused| refused.code().code().starts_with("57P")),
            _ => false,
        }
    }

    /// The constraint that the server names, where one kept a statement out.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            StoreError::Database(error) => error.as_db_error()?.constraint(),
            _ => None,
        }
    }

    /// Whether two transactions were in each other's way: the same again, on the same connection.
    pub fn is_collision(&self) -> bool {
        match self {
            StoreError::Database(error) => error.code().is_some_and(is_collision),
            _ => false,
        }
    }
}

/// Rolled back because of another transaction (class 40: deadlock, serialization).
fn is_collision(state: &SqlState) -> bool {
    state.code().starts_with("40")
}

/// What to do about an error of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Nothing is wrong with the rows: the same again, on a new connection if this one is closed.
    Retry,
    /// A row is there already: the same rows again, through staging.
    Staging,
    /// A row is at fault: halve the batch until the guilty packet is alone.
    Split,
    /// Somebody must change something: retry slowly, say it loudly.
    Person,
}

/// The class of `error`.
pub fn class(error: &postgres::Error) -> ErrorClass {
    match error.as_db_error() {
        Some(refused) => class_of(refused.code(), refused.constraint().is_some()),
        // Without an answer of the server the connection broke or the time ran out. Values that
        // cannot be encoded never come to this: rows are encoded before they reach the client.
        None => ErrorClass::Retry,
    }
}

fn class_of(state: &SqlState, names_constraint: bool) -> ErrorClass {
    // Disk full is the one resource that does not come back by waiting.
    if *state == SqlState::DISK_FULL {
        return ErrorClass::Person;
    }
    // The server became a standby; the connect finds the primary.
    if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
        return ErrorClass::Retry;
    }
    if *state == SqlState::UNIQUE_VIOLATION {
        return ErrorClass::Staging;
    }
    // A partition's bound has no constraint name: the partition was attached or dropped while the
    // row was on its way, and the next try finds the right one.
    if *state == SqlState::CHECK_VIOLATION && !names_constraint {
        return ErrorClass::Retry;
    }
    match state.code().get(..2) {
        // Connection; rollback (deadlock, serialization); resources; object in use or locked;
        // operator intervention (shutdown, cancel, statement time-out); I/O; internal.
        Some("08" | "40" | "53" | "55" | "57" | "58" | "XX") => ErrorClass::Retry,
        // A value the type refuses; a constraint; a trigger's exception; a limit exceeded.
        Some("22" | "23" | "P0" | "54") => ErrorClass::Split,
        // Password and rights (28, 42), database missing (3D), schema missing (42), and all that
        // nobody has thought of: waiting is safe, dropping is not.
        _ => ErrorClass::Person,
    }
}

/// One line that says what the server, or the way to it, said.
pub fn describe(error: &postgres::Error) -> String {
    let Some(refused) = error.as_db_error() else {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let text = deeper.to_string();
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = deeper.source();
        }
        return one_line(&line);
    };
    let mut line = format!("{}: {}", refused.severity(), refused.message());
    if let Some(detail) = refused.detail() {
        line.push_str(" (");
        line.push_str(detail);
        line.push(')');
    }
    if let Some(hint) = refused.hint() {
        line.push_str(" hint: ");
        line.push_str(hint);
    }
    line.push_str(" [SQLSTATE ");
    line.push_str(refused.code().code());
    line.push(']');
    one_line(&line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_sqlstate_has_its_reaction() {
        use ErrorClass::{Person, Retry, Split, Staging};
        for (code, expected) in [
            ("08006", Retry),
            ("08P01", Retry),
            ("40001", Retry),
            ("40P01", Retry),
            ("53300", Retry),
            ("53200", Retry),
            ("53100", Person),
            ("55P03", Retry),
            ("57014", Retry),
            ("57P01", Retry),
            ("57P03", Retry),
            ("58030", Retry),
            ("XX001", Retry),
            ("25006", Retry),
            ("25P02", Person),
            ("23505", Staging),
            ("23502", Split),
            ("23503", Split),
            ("22003", Split),
            ("22021", Split),
            ("P0001", Split),
            ("54000", Split),
            ("28P01", Person),
            ("28000", Person),
            ("3D000", Person),
            ("42P01", Person),
            ("42501", Person),
            ("0A000", Person),
        ] {
            assert_eq!(
                class_of(&SqlState::from_code(code), false),
                expected,
                "{code}"
            );
        }
    }

    #[test]
    fn what_is_said_of_an_error_is_said_once() {
        let database = || {
            let refused = "host=localhost port=none".parse::<postgres::Config>();
            refused.unwrap_err()
        };
        let migration = StoreError::Migration {
            version: 1,
            name: "tables",
            reason: database(),
        };
        let file = StoreError::PasswordFile {
            file: PathBuf::from("/nonexistent"),
            reason: io::Error::other("no such file"),
        };
        for error in [StoreError::from(database()), migration, file] {
            // Printed as `{:#}` by the command line: each cause behind the other.
            assert!(error.source().is_none(), "{error}");
        }
    }

    #[test]
    fn a_bound_of_a_partition_is_retried_and_a_named_check_is_split() {
        assert_eq!(
            class_of(&SqlState::CHECK_VIOLATION, false),
            ErrorClass::Retry
        );
        assert_eq!(
            class_of(&SqlState::CHECK_VIOLATION, true),
            ErrorClass::Split
        );
    }
}
