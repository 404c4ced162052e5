//! A writer's line to the database: connected when needed, its errors sorted by what is to be done about them.

use std::time::Duration;

use super::Writer;
use super::state::Link;
use crate::clock;
use crate::facts::{self, Fact};
use crate::store::connect::{backend_pid, connect, end_backend};
use crate::store::error::{ErrorClass, StoreError};
use crate::store::insert::Inserter;

/// How long the first and the longest pause between two tries is.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The same when a person is needed.
pub(super) const RETRY_SLOWLY: (Duration, Duration) =
    (Duration::from_secs(2), Duration::from_secs(30));
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

impl Writer<'_> {
    /// Does `work` in the database, waiting for one that is away as long as the thread may go on.
    pub(super) fn with_database<T>(
        &mut self,
        mut work: impl FnMut(&mut Inserter) -> Result<T, StoreError>,
    ) -> Result<T, Failed> {
        loop {
            self.life.beat();
            if self.life.is_retired() || (self.life.is_stopping() && !self.life.may_finish()) {
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
                        self.around.state.set_error(&error.to_string());
                        return Err(Failed::Known);
                    }
                    ErrorClass::Split => {
                        self.around.state.set_error(&error.to_string());
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

    /// Connects if that is needed and sleeps after a failure.
    pub(super) fn try_connect(&mut self) {
        if self.inserter.is_some() {
            return;
        }
        if !self.around.state.schema_is_ready() {
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
        let around = self.around;
        let name = format!("{}/{}", around.application, self.life.name());
        let mut client = connect(&around.database, &around.timeouts, &name)?;
        self.life.beat();
        // Whatever an earlier generation still does in the database has to end first.
        for pid in around.state.old_backends() {
            // The wait is a statement as well: longer than its time-out it would be cancelled, time and again.
            let wait = BACKEND_END.min(around.timeouts.statement / 2);
            let ended = end_backend(&mut client, pid, wait)?;
            facts::say(Fact::BackendEnded, format_args!("pid={pid} gone={ended}"));
            around.state.forget_backend(pid);
            self.life.beat();
        }
        let pid = backend_pid(&mut client)?;
        around.state.add_backend(pid);
        self.backend = Some(pid);
        Inserter::new(client)
    }

    fn link_up(&mut self) {
        self.around.state.set_link(Link::Up);
        self.around.state.set_error("");
        self.retry.reset();
        self.retry_slowly.reset();
        self.reminder.is_over();
    }

    fn link_lost(&mut self, error: &StoreError) {
        let pause = self.retry.next();
        self.trouble(Fact::DatabaseAway, Link::Away, error, pause);
    }

    pub(super) fn person_needed(&mut self, error: &StoreError) {
        let pause = self.retry_slowly.next();
        self.trouble(Fact::DatabaseRefuses, Link::Refuses, error, pause);
    }

    fn trouble(&mut self, fact: Fact, link: Link, error: &StoreError, pause: Duration) {
        self.disconnect();
        let text = error.to_string();
        self.around.state.set_error(&text);
        self.around.state.set_link(link);
        match self.reminder.is_due(&text, clock::now()) {
            Some(lasting_s) => facts::say(
                fact,
                format_args!("error={text:?} lasting_s={lasting_s}: no acks until it is over"),
            ),
            None => facts::count(fact),
        }
        self.life.pause(pause);
    }

    pub(super) fn disconnect(&mut self) {
        self.inserter = None;
        if let Some(pid) = self.backend.take() {
            self.around.state.forget_backend(pid);
        }
    }
}
