//! A thread that answers questions of the web with a connection of its own.
//!
//! Blocks in its queue and in the database. The connection is made for the first question, with a time-out for each statement; a
//! question that panics ends with its connection, not with the thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use postgres::Client;

use super::ask::{Pool, Question};
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact};
use crate::hub::Hub;
use crate::life::Life;
use crate::store::StoreError;
use crate::store::connect::connect;

/// Between two looks at whether the thread shall end.
const TURN: Duration = Duration::from_millis(250);
/// A connection that lay still for so long is asked whether it lives, because a question can be put only once.
const STILL: Duration = Duration::from_secs(1);
/// What its answer may take.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// What a query thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Whose questions.
    pub pool: Pool,
    /// Where they come from.
    pub questions: Receiver<Question>,
    /// Whether the schema is there.
    pub hub: Arc<Hub>,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
}

/// Answers until `life` says stop.
pub fn run(life: &Life, around: &Surroundings) {
    let mut client: Option<Client> = None;
    let mut used = Instant::now();
    while !life.is_stopping() {
        life.beat();
        let Ok(question) = around.questions.recv_timeout(life.patience().min(TURN)) else {
            continue;
        };
        fail::fail_point!("web-question");
        if used.elapsed() > STILL
            && client
                .as_mut()
                .is_some_and(|one| one.is_valid(ALIVE_WITHIN).is_err())
        {
            client = None;
        }
        if client.is_none() {
            match open(around) {
                Ok(new) => client = Some(new),
                Err(error) => {
                    question(Err(&error), life);
                    continue;
                }
            }
        }
        let Some(open) = client.as_mut() else {
            continue;
        };
        let done = catch_unwind(AssertUnwindSafe(|| question(Ok(open), life)));
        used = Instant::now();
        if done.is_err() {
            facts::say(
                Fact::WebQuestionFailed,
                format_args!("error=panicked: what asked was told; the thread goes on"),
            );
        }
        // After a panic nobody knows in which state it was left.
        if done.is_err() || client.as_ref().is_some_and(Client::is_closed) {
            client = None;
        }
    }
}

fn open(around: &Surroundings) -> Result<Client, StoreError> {
    if !around.hub.schema_ready.load(Ordering::Acquire) {
        return Err(StoreError::Unreachable {
            place: "the schema".to_owned(),
            reason: "it is not ready".to_owned(),
        });
    }
    let name = format!("{}/{}", around.application, around.pool.name());
    let mut client = connect(&around.database, &around.timeouts, &name)?;
    client.batch_execute(&format!(
        "SET statement_timeout = {}; SET lock_timeout = '5s'",
        around.pool.statement().as_millis()
    ))?;
    Ok(client)
}
