//! A line to the database: connected when needed, its errors sorted by what is to be done about them.

use std::time::Duration;

use postgres::Client;

use super::GivenUp;
use super::state::{LineState, Link};
use crate::backoff::Backoff;
use crate::clock;
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact, Reminder};
use crate::life::Life;
use crate::store::connect::{backend_pid, connect, end_backend};
use crate::store::error::{ErrorClass, StoreError};
use crate::store::insert::Inserter;

/// How long the first and the longest pause between two tries is.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The same when a person is needed.
const RETRY_SLOWLY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// How long the end of a predecessor's backend is waited for.
const BACKEND_END: Duration = Duration::from_secs(5);

/// How a try ended that was no success.
pub(super) enum Failed {
    /// The parts of the batch are to be tried one by one.
    Split,
    /// Some rows are there already.
    Known,
    /// The connection was lost; what came through is not known.
    Again,
    /// The thread ends; what is left is given back un-acked.
    GivenUp,
}

/// One thread's line to the database.
pub struct Line<'a> {
    life: &'a Life,
    state: &'a LineState,
    database: &'a Database,
    timeouts: &'a Timeouts,
    application: &'a str,
    inserter: Option<Inserter>,
    /// The server's side of the connection.
    backend: Option<i32>,
    retry: Backoff,
    retry_slowly: Backoff,
    reminder: Reminder,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        life: &'a Life,
        state: &'a LineState,
        database: &'a Database,
        timeouts: &'a Timeouts,
        application: &'a str,
    ) -> Line<'a> {
        Line {
            life,
            state,
            database,
            timeouts,
            application,
            inserter: None,
            backend: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
            retry_slowly: Backoff::new(RETRY_SLOWLY.0, RETRY_SLOWLY.1),
            reminder: Reminder::default(),
        }
    }

    pub(super) fn life(&self) -> &'a Life {
        self.life
    }

    pub(super) fn state(&self) -> &'a LineState {
        self.state
    }

    /// Whether a connection is there, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.inserter.is_some()
    }

    /// Does `work` in the database, waiting for one that is away as long as the thread may go on. A thread that shall end goes on
    /// only while somebody waits for it: `is_awaited`.
    pub(super) fn with_database<T>(
        &mut self,
        is_awaited: &dyn Fn() -> bool,
        mut work: impl FnMut(&mut Inserter) -> Result<T, StoreError>,
    ) -> Result<T, Failed> {
        loop {
            self.life.beat();
            let may_go_on = !self.life.is_stopping() || (self.life.may_finish() && is_awaited());
            if self.life.is_retired() || !may_go_on {
                return Err(Failed::GivenUp);
            }
            self.try_connect();
            let Some(inserter) = self.inserter.as_mut() else {
                continue;
            };
            match work(inserter) {
                Ok(done) => {
                    self.link_up();
                    return Ok(done);
                }
                Err(error) => match error.class() {
                    ErrorClass::Staging => {
                        facts::say(Fact::BatchRestaged, format_args!(""));
                        self.state.set_error(&error.to_string());
                        return Err(Failed::Known);
                    }
                    ErrorClass::Split => {
                        self.state.set_error(&error.to_string());
                        return Err(Failed::Split);
                    }
                    ErrorClass::Retry => {
                        self.link_lost(&error);
                        // The commit may have come through before the line broke.
                        return Err(Failed::Again);
                    }
                    ErrorClass::Person => self.person_needed(&error),
                },
            }
        }
    }

    /// Asks the database something that it has no reason to refuse, and waits for the answer as long as the thread may go on:
    /// while it shall end only if `is_awaited`.
    ///
    /// # Errors
    /// When the thread has to end.
    pub fn ask<T>(
        &mut self,
        is_awaited: &dyn Fn() -> bool,
        mut question: impl FnMut(&mut Client) -> Result<T, StoreError>,
    ) -> Result<T, GivenUp> {
        loop {
            match self.with_database(is_awaited, |inserter| question(inserter.client())) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Again) => {}
                // When it is refused all the same, somebody has changed the table.
                Err(Failed::Known | Failed::Split) => self.needs_a_person(),
                Err(Failed::GivenUp) => return Err(GivenUp),
            }
        }
    }

    /// What the database refused last needs a person.
    fn needs_a_person(&mut self) {
        let error = StoreError::Refused(self.state.last_error());
        self.person_needed(&error);
    }

    /// Connects if that is needed and sleeps after a failure.
    pub fn try_connect(&mut self) {
        if self.inserter.is_some() {
            return;
        }
        if !self.state.schema_is_ready() {
            return self.life.pause(RETRY.0);
        }
        match self.connect() {
            Ok(inserter) => {
                facts::say(Fact::DatabaseUp, format_args!(""));
                self.inserter = Some(inserter);
                self.link_up();
            }
            Err(error) if error.class() == ErrorClass::Person => self.person_needed(&error),
            Err(error) => self.link_lost(&error),
        }
    }

    fn connect(&mut self) -> Result<Inserter, StoreError> {
        let name = format!("{}/{}", self.application, self.life.name());
        let mut client = connect(self.database, self.timeouts, &name)?;
        self.life.beat();
        // Whatever an earlier generation still does in the database has to end first.
        for pid in self.state.old_backends() {
            // The wait is a statement as well: longer than its time-out it would be cancelled, time and again.
            let wait = BACKEND_END.min(self.timeouts.statement / 2);
            let ended = end_backend(&mut client, pid, wait)?;
            facts::say(Fact::BackendEnded, format_args!("pid={pid} gone={ended}"));
            self.state.forget_backend(pid);
            self.life.beat();
        }
        let pid = backend_pid(&mut client)?;
        self.state.add_backend(pid);
        self.backend = Some(pid);
        Inserter::new(client)
    }

    fn link_up(&mut self) {
        self.state.set_link(Link::Up);
        self.state.set_error("");
        self.retry.reset();
        self.retry_slowly.reset();
        self.reminder.is_over();
    }

    fn link_lost(&mut self, error: &StoreError) {
        let pause = self.retry.next();
        self.trouble(Fact::DatabaseAway, Link::Away, error, pause);
    }

    fn person_needed(&mut self, error: &StoreError) {
        let pause = self.retry_slowly.next();
        self.trouble(Fact::DatabaseRefuses, Link::Refuses, error, pause);
    }

    fn trouble(&mut self, fact: Fact, link: Link, error: &StoreError, pause: Duration) {
        self.disconnect();
        let text = error.to_string();
        self.state.set_error(&text);
        self.state.set_link(link);
        match self.reminder.is_due(&text, clock::now()) {
            Some(lasting_s) => facts::say(
                fact,
                format_args!("error={text:?} lasting_s={lasting_s}: tried again"),
            ),
            None => facts::count(fact),
        }
        self.life.pause(pause);
    }

    /// Lets the connection go.
    pub fn disconnect(&mut self) {
        self.inserter = None;
        if let Some(pid) = self.backend.take() {
            self.state.forget_backend(pid);
        }
    }
}
