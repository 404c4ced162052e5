//! The recompute thread: where a device's model has changed, the typed columns of its records are filled anew, in the background.
//!
//! Requests are rows of `trackport.recompute`, which a trigger makes whoever changes a model. A request is begun when no record can come
//! in any more that was read by the model before: this process's device list has the new one, every writer stores, the transactions
//! that were writing then have ended, and other servers of this database have had their time to hear of it. Then its records are done in small chunks
//! from the newest back (`store/recompute.rs`), with pauses twice as long as the work, so that whoever stores does not notice. Several requests
//! take turns. A restart goes on where it stood; a change of the model in between begins anew.
//!
//! Invariant: nobody waits for this thread, and whatever becomes of it, no record is touched but in its typed columns.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::batch::Link;
use crate::clock;
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact, Reminder};
use crate::hub::Hub;
use crate::life::Life;
use crate::store::connect::connect;
use crate::store::error::StoreError;
use crate::store::forget::{Fence, servers};
use crate::store::latest::notify_latest;
use crate::store::recompute::{Chunk, Job, Recomputer};
use crate::store::typed::TypedColumns;

/// How often requests are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often another server is asked whether it still does this work.
const ALONE_EVERY: Duration = Duration::from_secs(5);
/// A request is at least so old before it is begun, so that packets that were being decoded are on their way.
const SETTLE_S: f64 = 2.0;
/// The same where other servers store as well: they read their device lists anew every ten seconds.
const SETTLE_ELSEWHERE_S: f64 = 15.0;
/// What a transaction may take that was writing; then the request waits for its next turn.
const FENCE_MAX: Duration = Duration::from_secs(60);
/// The keeper writes within this time what is newest of records that are stored.
const KEEPER: Duration = Duration::from_millis(1_500);
/// So many requests are looked at together before they are begun.
const SETTLED_MAX: i64 = 50_000;
/// So many of them are asked at once whether there is anything to do.
const EMPTY_CHUNK: usize = 500;
/// One request works for so long, then the next one has its turn.
const TURN: Duration = Duration::from_secs(2);
/// What a chunk shall take, and how many records it may have.
const CHUNK_TARGET: Duration = Duration::from_millis(50);
const CHUNK_RECORDS: (i64, i64) = (50, 2_000);
/// Of three parts of the time, two are everybody else's.
const REST: u32 = 2;

/// What the thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// The devices and the writers.
    pub hub: Arc<Hub>,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
}

/// Does what is requested until `life` says stop. Blocks in the database.
pub fn run(life: &Life, around: &Surroundings) {
    let mut work = Work {
        life,
        around,
        recomputer: None,
        after: 0,
        n_records: CHUNK_RECORDS.0,
        settled: HashSet::new(),
    };
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
    let mut reminder = Reminder::default();
    while !life.is_stopping() {
        life.beat();
        match work.turn() {
            Ok(pause) => {
                backoff.reset();
                reminder.is_over();
                life.sleep(pause);
            }
            Err(error) => {
                work.recomputer = None;
                // A database that is away is others' to tell.
                let is_away = error.is_away();
                let text = error.to_string();
                match reminder.is_due(&text, clock::now()) {
                    Some(lasting_s) if !is_away => facts::say(
                        Fact::RecomputeFailed,
                        format_args!("error={text:?} lasting_s={lasting_s}: tried again"),
                    ),
                    _ => facts::count(Fact::RecomputeFailed),
                }
                life.sleep(backoff.next());
            }
        }
    }
}

struct Work<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    recomputer: Option<Recomputer>,
    /// The device whose request had its turn last.
    after: i32,
    /// Records of the next chunk.
    n_records: i64,
    /// Requests with which may be begun.
    settled: HashSet<i64>,
}

impl Work<'_> {
    /// One request's turn; returns the pause before the next.
    fn turn(&mut self) -> Result<Duration, StoreError> {
        if !self.around.hub.schema_ready.load(Ordering::Acquire) {
            return Ok(LOOK_EVERY);
        }
        let mut recomputer = match self.recomputer.take() {
            Some(recomputer) => recomputer,
            None => match self.begin()? {
                Some(recomputer) => recomputer,
                None => return Ok(ALONE_EVERY),
            },
        };
        let pause = match recomputer.next_job(self.after)? {
            // Also when the error of one request ends its turn, the others have theirs.
            Some(job) => {
                self.after = job.device_id;
                self.work(&mut recomputer, job)?
            }
            None if self.after > 0 => {
                self.after = 0;
                Duration::ZERO
            }
            None => LOOK_EVERY,
        };
        self.recomputer = Some(recomputer);
        Ok(pause)
    }

    fn begin(&self) -> Result<Option<Recomputer>, StoreError> {
        let around = self.around;
        let name = format!("{}/{}", around.application, self.life.name());
        let client = connect(&around.database, &around.timeouts, &name)?;
        self.life.beat();
        Recomputer::new(client)
    }

    fn work(&mut self, recomputer: &mut Recomputer, mut job: Job) -> Result<Duration, StoreError> {
        if !job.is_begun {
            if !self.is_settled(recomputer, &job)? {
                return Ok(LOOK_EVERY / 5);
            }
            if !recomputer.begin(&mut job)? {
                return Ok(Duration::ZERO);
            }
        }
        let begun = Instant::now();
        while begun.elapsed() < TURN && !self.life.is_stopping() {
            self.life.beat();
            fail::fail_point!("recompute-step");
            let started = Instant::now();
            let is_first = job.is_at_beginning();
            let chunk = recomputer.step(&mut job, self.n_records)?;
            let took = started.elapsed();
            self.pace(took);
            if is_first || matches!(chunk, Chunk::Last { .. }) {
                notify_latest(recomputer.client(), &[job.device_id])?;
            }
            match chunk {
                Chunk::Done | Chunk::Again => self.life.sleep(took * REST),
                Chunk::Replaced => return Ok(Duration::ZERO),
                Chunk::Last { n_done, n_changed } => {
                    let model = job.model.as_deref().unwrap_or("-");
                    facts::say(
                        Fact::Recomputed,
                        format_args!(
                            "imei={} model={model} records={n_done} changed={n_changed}",
                            job.imei
                        ),
                    );
                    return Ok(took * REST);
                }
            }
        }
        Ok(Duration::ZERO)
    }

    fn pace(&mut self, took: Duration) {
        let n_records = if took > CHUNK_TARGET {
            self.n_records / 2
        } else if took < CHUNK_TARGET / 2 {
            self.n_records * 2
        } else {
            self.n_records
        };
        self.n_records = n_records.clamp(CHUNK_RECORDS.0, CHUNK_RECORDS.1);
    }

    /// Whether every record that comes in from now on is read by the model of `job`, and every one before is there to be found. Asked
    /// of all requests that wait at once: there may be as many as devices.
    fn is_settled(&mut self, recomputer: &mut Recomputer, job: &Job) -> Result<bool, StoreError> {
        if self.settled.contains(&job.request) {
            return Ok(true);
        }
        let own = format!("{}/", self.around.application);
        let is_alone = servers(recomputer.client())?
            .iter()
            .all(|name| name.starts_with(&own));
        let age_s = if is_alone {
            SETTLE_S
        } else {
            SETTLE_ELSEWHERE_S
        };
        let may_settle = |job: &Job| job.age_s >= age_s && self.is_heard(job);
        if !may_settle(job) || !self.is_storing() {
            return Ok(false);
        }
        let mut waiting = recomputer.waiting(SETTLED_MAX)?;
        waiting.retain(may_settle);
        let client = recomputer.client();
        let fence = Fence::set(client)?;
        let begun = Instant::now();
        while fence.n_left(client)? > 0 {
            if begun.elapsed() > FENCE_MAX || self.life.is_stopping() {
                return Ok(false);
            }
            self.life.sleep(Duration::from_millis(50));
        }
        self.life.sleep(KEEPER);
        if !self.is_storing() || self.life.is_stopping() {
            return Ok(false);
        }
        let mut requests: Vec<i64> = waiting.iter().map(|job| job.request).collect();
        requests.push(job.request);
        for some in requests.chunks(EMPTY_CHUNK) {
            recomputer.end_empty(some)?;
            self.life.beat();
        }
        self.settled = requests.into_iter().collect();
        Ok(true)
    }

    /// Whether this process's device list has the model already.
    fn is_heard(&self, job: &Job) -> bool {
        let device = self.around.hub.fleet.get(job.imei);
        device.is_none_or(|device| {
            let wanted = TypedColumns::for_model(job.model.as_deref());
            Arc::ptr_eq(&device.typed(), &wanted)
        })
    }

    /// Whether no writer holds rows until its database comes back: they may have been made long before.
    fn is_storing(&self) -> bool {
        let mut links = self.around.hub.writers.iter().map(|seat| seat.state.link());
        links.all(|link| matches!(link, Link::Up | Link::Starting))
    }
}
