//! The keeper thread: housekeeping in the database, never on the way of a record.
//!
//! At start it brings the schema up to date, which everybody else waits for; then it keeps partitions ahead of time, applies
//! retention, and writes what others left as notes: latest positions, contacts, the fates of threads, poisoned bytes.
//! Notes are coalesced per device and written once a second; what is lost with a crash is repaired from `record`. `pile.rs`
//! has the notes, `watch.rs` whether the clock can be believed, `alert.rs` counts what is in quarantine.

mod alert;
mod pile;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use postgres::Client;

use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::conf::{Database, Retention, Timeouts};
use crate::facts::{self, Fact, Reminder};
use crate::hub::Hub;
use crate::life::Life;
use crate::notes::Note;
use crate::store::connect::connect;
use crate::store::directory::disconnect_all;
use crate::store::error::{ErrorClass, StoreError};
use crate::store::journal::drop_old_port_events;
use crate::store::latest::repair_latest;
use crate::store::migrate::{Step, migrate_reporting};
use crate::store::partition::{Expired, drop_expired, ensure_partitions, expired_partitions};
use crate::store::witness::Witnesses;
use crate::store::{audit, session};

use alert::Alert;
use pile::Pile;
use watch::Watch;

const FLUSH_EVERY_MS: Millis = 1_000;
const PARTITIONS_EVERY_MS: Millis = 600_000;
const RETENTION_EVERY_MS: Millis = 3_600_000;
/// How often retention looks whether there are records, from whose times age counts.
const NO_RECORDS_EVERY_MS: Millis = 60_000;
/// When work on partitions that failed is tried again: soon, then not so often that readers feel it.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A migration may rightly take long; nothing is heard of the thread meanwhile.
const MIGRATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Devices whose `latest` is repaired in one statement.
const REPAIR_CHUNK: i64 = 1_000;

/// What the keeper needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Its queue.
    pub notes: Receiver<Note>,
    /// What it tells about the schema.
    pub hub: Arc<Hub>,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[retention]`
    pub retention: Retention,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
}

/// Keeps house until `life` says stop. Blocks in its queue and in the database.
pub fn run(life: &Life, around: &Surroundings) {
    let mut keeper = Keeper {
        life,
        around,
        client: None,
        due: Due::default(),
        partitions: Upkeep::new(),
        retention: Upkeep::new(),
        expired: Expired::default(),
        watch: Watch::default(),
        pile: Pile::default(),
        alert: Alert::default(),
    };
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let mut reminder = Reminder::default();
    loop {
        life.beat();
        let is_last = life.is_stopping();
        keeper.hear();
        match keeper.work(is_last) {
            Ok(()) => {
                backoff.reset();
                reminder.is_over();
            }
            Err(error) => {
                keeper.client = None;
                let is_first = !around.hub.schema_ready.load(Ordering::Acquire);
                let text = error.to_string();
                let fact = match error.class() {
                    // Until it has made the schema nobody else asks the database.
                    _ if is_first && error.is_away() => {
                        around.hub.set_database_away(Some(text.clone()));
                        Fact::DatabaseAway
                    }
                    ErrorClass::Person if is_first => Fact::SchemaBad,
                    ErrorClass::Person => Fact::DatabaseRefuses,
                    _ => Fact::KeeperFailed,
                };
                match reminder.is_due(&text, clock::now()) {
                    Some(lasting_s) => facts::say(
                        fact,
                        format_args!("error={text:?} lasting_s={lasting_s}: tried again"),
                    ),
                    None => facts::count(fact),
                }
                life.sleep(backoff.next());
            }
        }
        if is_last {
            return;
        }
    }
}

struct Keeper<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    client: Option<Client>,
    due: Due,
    partitions: Upkeep,
    retention: Upkeep,
    /// What retention has removed and not told yet.
    expired: Expired,
    watch: Watch,
    pile: Pile,
    alert: Alert,
}

/// When what is done next.
#[derive(Default)]
struct Due {
    flush: Millis,
    /// The device after which `latest` is still to be repaired; `None`: done.
    repair_after: Option<i32>,
    is_begun: bool,
}

impl Keeper<'_> {
    fn hear(&mut self) {
        let wait = self
            .life
            .patience()
            .min(Duration::from_millis(FLUSH_EVERY_MS / 2));
        if let Ok(note) = self.around.notes.recv_timeout(wait) {
            self.pile.add(note);
        }
        // No more than were there: whoever leaves notes without end shall not keep the others from being written.
        let n_more = self.around.notes.len();
        for note in self.around.notes.try_iter().take(n_more) {
            self.pile.add(note);
        }
    }

    fn work(&mut self, is_last: bool) -> Result<(), StoreError> {
        let now = clock::now();
        let wall_us = clock::wall_us();
        let wall = clock::system_time(wall_us);
        let step_us = self.watch.step(now, wall_us);
        if step_us != 0 {
            (self.partitions.due, self.retention.due) = (now, now);
        }
        if step_us > 0 && self.due.is_begun {
            // What lay ahead of the clock until now was passed over.
            self.due.repair_after = Some(0);
        }
        let mut client = match self.client.take() {
            Some(client) => client,
            None if is_last => return Ok(()),
            None => self.begin()?,
        };
        if now >= self.partitions.due && !is_last {
            let done = self.make_partitions(&mut client, wall);
            self.partitions.plan(done, &client)?;
        }
        if now >= self.due.flush || is_last {
            self.life.beat();
            self.due.flush = now + FLUSH_EVERY_MS;
            self.pile.flush(&mut client, wall)?;
        }
        if now >= self.retention.due && !is_last {
            self.life.beat();
            let done = self.retain(&mut client, wall);
            self.retention.plan(done, &client)?;
        }
        // Behind everything else, because these two pieces of work nobody misses for a while.
        if let Some(after) = self.due.repair_after.filter(|_| !is_last) {
            self.life.beat();
            self.due.repair_after = repair_latest(&mut client, after, REPAIR_CHUNK, wall)?;
        }
        if !is_last {
            let is_changed = std::mem::take(&mut self.pile.quarantined);
            self.alert
                .look(&mut client, &self.around.hub, now, is_changed)?;
        }
        self.client = Some(client);
        Ok(())
    }

    /// Connects and brings the schema up to date.
    fn begin(&mut self) -> Result<Client, StoreError> {
        let around = self.around;
        let name = format!("{}/{}", around.application, self.life.name());
        let mut client = connect(&around.database, &around.timeouts, &name)?;
        self.life.beat_ahead(MIGRATION_MAX);
        let applied = migrate_reporting(&mut client, &mut |step| {
            if let Step::Apply { version, name } = step {
                facts::say(
                    Fact::Migrated,
                    format_args!("version={version} name={name}"),
                );
            }
        });
        self.life.beat();
        applied?;
        // The default partition takes every record, so nobody need wait for the others.
        around.hub.schema_ready.store(true, Ordering::Release);
        if !self.due.is_begun {
            // Whoever was connected to an earlier process is not connected to this one. At the first start of this thread
            // nobody is; a successor finds those who logged in meanwhile.
            self.pile.online = around.hub.fleet.online();
            if self.pile.online.is_empty() {
                disconnect_all(&mut client)?;
            }
            self.due.is_begun = true;
            self.due.repair_after = Some(0);
        }
        Ok(client)
    }

    /// Makes the partitions that are missing; returns when to look again.
    fn make_partitions(
        &mut self,
        client: &mut Client,
        wall: SystemTime,
    ) -> Result<Millis, StoreError> {
        let witnesses = Witnesses::ask(client)?;
        let may_make = self.watch.may_make(&witnesses, wall);
        self.tell_doubt();
        if !may_make {
            return Ok(PARTITIONS_EVERY_MS);
        }
        let width = self.around.retention.partition;
        let made = ensure_partitions(client, width, wall, &mut |span| self.life.beat_ahead(span))?;
        if !made.is_empty() {
            let names: Vec<&str> = made.iter().map(|one| one.name.as_str()).collect();
            facts::say(
                Fact::PartitionsMade,
                format_args!("names={}", names.join(",")),
            );
        }
        Ok(PARTITIONS_EVERY_MS)
    }

    /// Removes one piece of what is too old; returns when to remove the next.
    fn retain(&mut self, client: &mut Client, wall: SystemTime) -> Result<Millis, StoreError> {
        // By the database's clock, which began them.
        session::drop_old(client)?;
        let witnesses = Witnesses::ask(client)?;
        let Some(present) = witnesses.present(wall) else {
            return Ok(NO_RECORDS_EVERY_MS);
        };
        drop_old_port_events(client, present)?;
        audit::drop_old(client, present)?;
        let Some(keep) = self.around.retention.keep else {
            return Ok(RETENTION_EVERY_MS);
        };
        let expired = drop_expired(client, keep, present)?;
        self.expired.dropped.extend(expired.dropped);
        self.expired.n_default_rows += expired.n_default_rows;
        self.expired.n_imported_rows += expired.n_imported_rows;
        if !expired.is_complete {
            return Ok(0);
        }
        let held = expired_partitions(client, keep, wall)?;
        self.watch.hold(&held, &witnesses, wall);
        self.tell_doubt();
        let expired = std::mem::take(&mut self.expired);
        if !expired.dropped.is_empty() || expired.n_default_rows + expired.n_imported_rows > 0 {
            facts::say(
                Fact::PartitionsDropped,
                format_args!(
                    "names={} default_rows={} imported_rows={}",
                    expired.dropped.join(","),
                    expired.n_default_rows,
                    expired.n_imported_rows
                ),
            );
        }
        // A doubt may be settled by the next record.
        Ok(if self.watch.is_doubted() {
            PARTITIONS_EVERY_MS
        } else {
            RETENTION_EVERY_MS
        })
    }

    fn tell_doubt(&self) {
        let is_doubted = self.watch.is_doubted();
        self.around
            .hub
            .clock_doubted
            .store(is_doubted, Ordering::Relaxed);
    }
}

/// Work on partitions: a long report may hold it up, and then all else goes on without it.
struct Upkeep {
    due: Millis,
    again: Backoff,
    reminder: Reminder,
}

impl Upkeep {
    fn new() -> Upkeep {
        Upkeep {
            due: 0,
            again: Backoff::new(AGAIN.0, AGAIN.1),
            reminder: Reminder::default(),
        }
    }

    /// Plans the next time from how it went; passes on an error only where the connection is of no use any more.
    fn plan(
        &mut self,
        done: Result<Millis, StoreError>,
        client: &Client,
    ) -> Result<(), StoreError> {
        let error = match done {
            Ok(pause) => {
                self.due = clock::now() + pause;
                self.again.reset();
                self.reminder.is_over();
                return Ok(());
            }
            Err(error) => error,
        };
        self.due = clock::now() + clock::millis(self.again.next());
        let is_broken =
            matches!(&error, StoreError::Database(error) if error.as_db_error().is_none());
        if is_broken || client.is_closed() {
            return Err(error);
        }
        let fact = match error.class() {
            ErrorClass::Person => Fact::DatabaseRefuses,
            _ => Fact::KeeperFailed,
        };
        let text = error.to_string();
        match self.reminder.is_due(&text, clock::now()) {
            Some(lasting_s) => facts::say(
                fact,
                format_args!(
                    "work=partitions error={text:?} lasting_s={lasting_s}: tried again, records are stored meanwhile"
                ),
            ),
            None => facts::count(fact),
        }
        Ok(())
    }
}
