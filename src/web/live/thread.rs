//! The thread `live`: follows the database and keeps the board true.
//!
//! It loads all assets, hears by NOTIFY which devices said something new and which assets changed, and once a second reads those; all
//! of them again after a reconnect and every few minutes, should something have been missed. Each second it judges all assets anew,
//! because one that is silent changes too. While the database is away the board stays as it was and says so: that nothing is
//! heard of anybody then makes nobody offline.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;

use super::board::{Board, Entry};
use super::position;
use super::state::{Facts, Flag, State};
use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact};
use crate::hub::Hub;
use crate::life::Life;
use crate::store::connect::connect;
use crate::store::directory::DEVICE_CHANNEL;
use crate::store::error::StoreError;
use crate::store::latest;
use crate::store::live::{self, ASSET_CHANNEL, LiveAsset};

/// How long a notification may lie unread.
const LISTEN_EVERY: Duration = Duration::from_millis(100);
/// How often the board changes at most.
const TURN_MS: Millis = 1_000;
/// How often everything is read again.
const REREAD_EVERY_MS: Millis = 180_000;
/// Assets read at once; more are read as all.
const SOME_MAX: usize = 2_000;

/// What the thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// What it writes.
    pub board: Arc<Board>,
    /// Whether the schema is there.
    pub hub: Arc<Hub>,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
}

/// Keeps the board until `life` says stop. Blocks in the database.
pub fn run(life: &Life, around: &Surroundings) {
    let mut watch = Watch {
        life,
        around,
        client: None,
        assets: BTreeMap::new(),
        heard: Heard::default(),
        turn_at: 0,
        reread_at: 0,
    };
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut retry_at = 0;
    while !life.is_stopping() {
        life.beat();
        if clock::now() < retry_at || !around.hub.schema_ready.load(Ordering::Acquire) {
            life.sleep(LISTEN_EVERY.min(life.patience()));
            continue;
        }
        match watch.work() {
            Ok(()) => {
                backoff.reset();
                around.board.set_trouble(None);
            }
            Err(error) => {
                watch.client = None;
                retry_at = clock::now() + clock::millis(backoff.next());
                around.board.set_trouble(Some(
                    "the database does not answer; shown is what was known before",
                ));
                facts::say(
                    Fact::LiveAway,
                    format_args!("error={:?}", error.to_string()),
                );
            }
        }
    }
}

/// What was notified since the last reading.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    devices: HashSet<i32>,
    imeis: HashSet<String>,
    assets: HashSet<i32>,
    groups: HashSet<i32>,
}

impl Heard {
    fn take(&mut self, channel: &str, payload: &str) {
        match channel {
            latest::CHANNEL => {
                let ids: Vec<i32> = serde_json::from_str(payload).unwrap_or_default();
                self.devices.extend(ids);
            }
            DEVICE_CHANNEL => {
                self.imeis.insert(payload.to_owned());
            }
            ASSET_CHANNEL => match payload.strip_prefix("group ") {
                Some(group) => self.groups.extend(group.parse::<i32>()),
                None => self.assets.extend(payload.parse::<i32>()),
            },
            _ => {}
        }
    }

    fn is_about(&self, asset: &LiveAsset) -> bool {
        self.assets.contains(&asset.id)
            || self.groups.contains(&asset.group_id)
            || asset.device.as_ref().is_some_and(|device| {
                self.devices.contains(&device.id) || self.imeis.contains(&device.imei)
            })
    }
}

/// An asset as it is known.
struct Known {
    asset: LiveAsset,
    facts: Facts,
    state: State,
    flags: Vec<Flag>,
}

struct Watch<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    client: Option<Client>,
    assets: BTreeMap<i32, Known>,
    heard: Heard,
    turn_at: Millis,
    reread_at: Millis,
}

impl Watch<'_> {
    /// Hears for a moment, and once a second reads and judges.
    fn work(&mut self) -> Result<(), StoreError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.begin()?,
        };
        self.hear(&mut client)?;
        if client.is_closed() {
            // What is read next says why.
            self.turn_at = 0;
        }
        let now = clock::now();
        if now >= self.turn_at {
            self.turn_at = now + TURN_MS;
            self.turn(&mut client, now)?;
        }
        self.client = Some(client);
        Ok(())
    }

    fn hear(&mut self, client: &mut Client) -> Result<(), StoreError> {
        let until = clock::now() + clock::millis(LISTEN_EVERY);
        let mut notifications = client.notifications();
        let mut heard = notifications.timeout_iter(LISTEN_EVERY.min(self.life.patience()));
        while let Some(one) = heard.next()? {
            self.heard.take(one.channel(), one.payload());
            if clock::now() >= until {
                break;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Client, StoreError> {
        let around = self.around;
        let name = format!("{}/{}", around.application, self.life.name());
        let mut client = connect(&around.database, &around.timeouts, &name)?;
        client.batch_execute(&format!(
            "LISTEN {}; LISTEN {DEVICE_CHANNEL}; LISTEN {ASSET_CHANNEL}",
            latest::CHANNEL
        ))?;
        // Nobody notified while nobody listened.
        (self.turn_at, self.reread_at) = (0, 0);
        Ok(client)
    }

    fn turn(&mut self, client: &mut Client, now: Millis) -> Result<(), StoreError> {
        let heard = std::mem::take(&mut self.heard);
        let mut asked: Vec<i32> = heard.assets.iter().copied().collect();
        if heard != Heard::default() {
            let known = self.assets.values().map(|one| &one.asset);
            asked.extend(
                known
                    .filter(|asset| heard.is_about(asset))
                    .map(|one| one.id),
            );
            asked.sort_unstable();
            asked.dedup();
        }
        let is_all = now >= self.reread_at || asked.len() > SOME_MAX;
        let read = if is_all {
            live::all(client)
        } else if asked.is_empty() {
            // Also says whether the database is still there.
            client
                .simple_query("")
                .map(|_| Vec::new())
                .map_err(Into::into)
        } else {
            live::some(client, &asked)
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                self.heard = heard;
                return Err(error);
            }
        };
        self.life.beat();
        let there: HashSet<i32> = read.iter().map(|asset| asset.id).collect();
        let mut gone = if is_all {
            self.reread_at = now + REREAD_EVERY_MS;
            // Also what a predecessor of this thread hung up.
            let mut all = self.around.board.ids();
            all.extend(self.assets.keys());
            all
        } else {
            asked
        };
        gone.retain(|id| !there.contains(id));
        for id in &gone {
            self.assets.remove(id);
        }
        self.judge(read, &gone);
        Ok(())
    }

    /// Judges everything anew and hangs up what is different.
    fn judge(&mut self, read: Vec<LiveAsset>, gone: &[i32]) {
        let at_us = clock::wall_us();
        let mut new: Vec<(i32, Entry)> = Vec::new();
        for known in self.assets.values_mut() {
            let (state, flags) = (known.facts.state(at_us), known.facts.flags(at_us));
            if state != known.state || flags != known.flags {
                (known.state, known.flags) = (state, flags);
                new.push((known.asset.id, known.entry()));
            }
        }
        for asset in read {
            if self
                .assets
                .get(&asset.id)
                .is_some_and(|known| known.asset == asset)
            {
                continue;
            }
            let facts = position::facts(&asset);
            let known = Known {
                state: facts.state(at_us),
                flags: facts.flags(at_us),
                facts,
                asset,
            };
            new.push((known.asset.id, known.entry()));
            self.assets.insert(known.asset.id, known);
        }
        self.around.board.put(at_us, new, gone);
    }
}

impl Known {
    fn entry(&self) -> Entry {
        Entry {
            group: self.asset.group_id,
            json: position::json(&self.asset, &self.facts, self.state, &self.flags).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_notified_is_understood() {
        let mut heard = Heard::default();
        heard.take("trackport_latest", "[3,4]");
        heard.take("trackport_device", "356307042441013");
        heard.take("trackport_asset", "7");
        heard.take("trackport_asset", "group 2");
        heard.take("trackport_asset", "nonsense");
        heard.take("trackport_latest", "nonsense");
        assert_eq!(
            heard,
            Heard {
                devices: [3, 4].into(),
                imeis: ["356307042441013".to_owned()].into(),
                assets: [7].into(),
                groups: [2].into(),
            }
        );
    }
}
