//! The directory thread: keeps the devices in memory in step with the database.
//!
//! It loads the list at start, follows changes by NOTIFY and, should one be missed, by version every ten seconds; it registers
//! devices for ports with `accept = "any"` and counts refused logins. Ports never wait for it: they ask and go on.
//!
//! `away.rs` is what it does while the database is away.

mod away;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Notification};

use crate::backoff::Backoff;
use crate::clock::{self, Millis};
use crate::conf::{Database, Timeouts};
use crate::facts::{self, Fact, Reminder};
use crate::hub::Hub;
use crate::imei::Imei;
use crate::intake::DirectoryMessage;
use crate::life::Life;
use crate::mailbox::{PortMessage, SessionRef};
use crate::store::connect::connect;
use crate::store::device::DeviceState;
use crate::store::directory::{self as table, DEVICE_CHANNEL, FORGOTTEN_CHANNEL, KnownDevice};
use crate::store::error::StoreError;
use crate::store::journal::{LoginAttempt, add_login_attempts};

/// Questions that wait at most.
pub const QUESTIONS_MAX: usize = 65_536;
/// How long a notification may lie unread.
const LISTEN_EVERY: Duration = Duration::from_millis(100);
/// How often the list is compared by version.
const REREAD_EVERY_MS: Millis = 10_000;
/// How often refused logins are written.
const ATTEMPTS_EVERY_MS: Millis = 1_000;
/// Refused (IMEI, port) pairs between two writes.
const ATTEMPTS_MAX: usize = 10_000;
const HOUR_MS: Millis = 3_600_000;
/// Devices taken over between two beats.
const DEVICES_PER_BEAT: usize = 1_000;
/// For so long after loading the ports are told again and again that the list is there.
const TELL_FOR_MS: Millis = 15_000;
const TELL_EVERY_MS: Millis = 1_000;

/// What the directory thread needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Its queue.
    pub questions: Receiver<DirectoryMessage>,
    /// Devices and ports.
    pub hub: Arc<Hub>,
    /// `[database]`
    pub database: Database,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// The file with the copy of the list.
    pub copy: PathBuf,
    /// The process's name in `pg_stat_activity`.
    pub application: String,
    /// `[devices] max_new_devices`
    pub max_new_devices: u32,
}

/// Answers questions until `life` says stop. Blocks in its queue and in the database.
pub fn run(life: &Life, around: &Surroundings) {
    let mut directory = Directory {
        life,
        around,
        client: None,
        version: 0,
        reread_at: 0,
        tell_at: 0,
        tell_until: 0,
        registrations: VecDeque::new(),
        unanswered: VecDeque::new(),
        attempts: HashMap::new(),
        attempts_at: 0,
        hour_from: clock::now(),
        n_new: 0,
        away_since: Some(clock::now()),
        is_copy_read: !around.hub.fleet.is_empty(),
        // A predecessor may have let some in.
        ids_are_missing: true,
        copied_version: 0,
        copy_at: 0,
    };
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut reminder = Reminder::default();
    let mut retry_at = 0;
    while !life.is_stopping() {
        life.beat();
        directory.hear();
        // Before the next try, which may take as long as a connection takes to be given up.
        directory.do_without();
        if clock::now() < retry_at || !around.hub.schema_ready.load(Ordering::Acquire) {
            continue;
        }
        match directory.work() {
            Ok(()) => {
                backoff.reset();
                reminder.is_over();
                directory.away_since = None;
                around.hub.set_database_away(None);
            }
            Err(error) => {
                directory.client = None;
                directory.away_since.get_or_insert(clock::now());
                retry_at = clock::now() + clock::millis(backoff.next());
                let text = error.to_string();
                let away = error.is_away().then(|| text.clone());
                around.hub.set_database_away(away);
                match reminder.is_due(&text, clock::now()) {
                    Some(lasting_s) => facts::say(
                        Fact::DatabaseAway,
                        format_args!("error={text:?} lasting_s={lasting_s}"),
                    ),
                    None => facts::count(Fact::DatabaseAway),
                }
            }
        }
    }
}

struct Directory<'a> {
    life: &'a Life,
    around: &'a Surroundings,
    client: Option<Client>,
    /// The newest change that is in memory.
    version: i64,
    reread_at: Millis,
    tell_at: Millis,
    tell_until: Millis,
    /// In the order of the questions: who asked first is let in first, so that of one device's logins the newest wins.
    registrations: VecDeque<(Imei, bool, SessionRef)>,
    /// Those for whom there was no place, and of whom nobody could say whether they are new.
    unanswered: VecDeque<(Imei, bool, SessionRef)>,
    attempts: HashMap<(Imei, String), LoginAttempt>,
    attempts_at: Millis,
    hour_from: Millis,
    n_new: u32,
    /// Since when the database has been away; `None`: it is there, as far as is known.
    away_since: Option<Millis>,
    /// The copy of the list need not be read any more.
    is_copy_read: bool,
    /// Devices may be in memory that have no id yet.
    ids_are_missing: bool,
    /// The newest change that is in the copy on disk.
    copied_version: i64,
    copy_at: Millis,
}

impl Directory<'_> {
    /// Takes what was asked, waiting a moment for the first question.
    fn hear(&mut self) {
        let wait = LISTEN_EVERY.min(self.life.patience());
        if self.registrations.len() >= QUESTIONS_MAX {
            // Whoever asks now finds the queue full sooner or later, and his port closes.
            return self.life.sleep(wait);
        }
        let mut next = self.around.questions.recv_timeout(wait).ok();
        while let Some(message) = next {
            match message {
                DirectoryMessage::Register { imei, pinned, asks } => {
                    self.registrations.push_back((imei, pinned, asks));
                }
                DirectoryMessage::Refused {
                    imei,
                    port,
                    peer,
                    reason,
                } => {
                    let now = clock::system_time(clock::wall_us());
                    if self.attempts.len() >= ATTEMPTS_MAX {
                        facts::count(Fact::NotesDropped);
                    } else {
                        let attempt =
                            self.attempts
                                .entry((imei, port.clone()))
                                .or_insert_with(|| LoginAttempt {
                                    imei: imei.to_string(),
                                    port,
                                    n_attempts: 0,
                                    first_at: now,
                                    last_at: now,
                                    last_address: None,
                                    reason: String::new(),
                                });
                        attempt.n_attempts += 1;
                        attempt.last_at = now;
                        attempt.last_address = Some(peer.ip().to_canonical());
                        reason.clone_into(&mut attempt.reason);
                    }
                }
            }
            if self.registrations.len() >= QUESTIONS_MAX {
                return;
            }
            next = self.around.questions.try_recv().ok();
        }
    }

    /// Brings memory and database together.
    fn work(&mut self) -> Result<(), StoreError> {
        let now = clock::now();
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.begin()?,
        };
        // With a time-out, however short: without one the client looks only at what it has read already.
        let heard: Vec<Notification> = client
            .notifications()
            .timeout_iter(Duration::from_millis(1))
            .collect()
            .map_err(StoreError::Database)?;
        let notified = !heard.is_empty();
        let forgotten = heard
            .iter()
            .filter(|heard| heard.channel() == FORGOTTEN_CHANNEL);
        for imei in forgotten.filter_map(|heard| heard.payload().parse().ok()) {
            self.forget(&mut client, imei)?;
        }
        if notified || now >= self.reread_at {
            self.reread_at = now + REREAD_EVERY_MS;
            let changed = table::changed_since(&mut client, self.version)?;
            self.take_over(&changed);
        }
        self.tell_loaded(now);
        self.give_ids(&mut client)?;
        self.register(&mut client)?;
        self.copy(now);
        if now >= self.attempts_at && !self.attempts.is_empty() {
            self.attempts_at = now + ATTEMPTS_EVERY_MS;
            let attempts: Vec<LoginAttempt> = self.attempts.values().cloned().collect();
            add_login_attempts(&mut client, &attempts)?;
            self.attempts.clear();
        }
        self.client = Some(client);
        Ok(())
    }

    /// Connects and loads the whole list: the database may have been restored to an earlier state meanwhile.
    fn begin(&mut self) -> Result<Client, StoreError> {
        let around = self.around;
        let name = format!("{}/{}", around.application, self.life.name());
        let mut client = connect(&around.database, &around.timeouts, &name)?;
        client.batch_execute(&format!(
            "LISTEN {DEVICE_CHANNEL}; LISTEN {FORGOTTEN_CHANNEL}"
        ))?;
        let devices = table::load_all(&mut client)?;
        self.version = 0;
        self.take_over(&devices);
        // A restored database has forgotten the devices that came after its backup.
        around.hub.fleet.keep_only(&devices);
        self.registrations.append(&mut self.unanswered);
        if !around.hub.fleet.is_loaded() {
            // Who was let in without the list was not new, most likely.
            self.n_new = 0;
            facts::say(
                Fact::DirectoryLoaded,
                format_args!("devices={}", devices.len()),
            );
            around.hub.fleet.set_loaded();
        }
        // Also those that asked while the connection was away.
        self.tell_until = clock::now() + TELL_FOR_MS;
        self.tell_at = 0;
        Ok(client)
    }

    fn take_over(&mut self, devices: &[KnownDevice]) {
        for some in devices.chunks(DEVICES_PER_BEAT) {
            self.life.beat();
            for known in some {
                self.version = self.version.max(known.version);
                self.around.hub.fleet.put(known);
            }
        }
    }

    /// A device was erased: nothing of it stays here, nor in the copy of the list. One that is on the list again is another entry of it.
    fn forget(&mut self, client: &mut Client, imei: Imei) -> Result<(), StoreError> {
        self.attempts.retain(|(other, _), _| *other != imei);
        if !table::is_there(client, imei)? {
            self.around.hub.fleet.forget(imei);
        }
        (self.copied_version, self.copy_at) = (0, 0);
        facts::say(Fact::DeviceForgotten, format_args!(""));
        Ok(())
    }

    /// Says that the list is there; more than once, because a port that is being started is not on the list of ports yet.
    fn tell_loaded(&mut self, now: Millis) {
        if now >= self.tell_at && now <= self.tell_until {
            self.tell_at = now + TELL_EVERY_MS;
            self.around.hub.tell_ports(|| PortMessage::DirectoryLoaded);
        }
    }

    fn register(&mut self, client: &mut Client) -> Result<(), StoreError> {
        while let Some((imei, pinned, asks)) = self.registrations.pop_front() {
            self.life.beat();
            if !pinned && !self.has_place(imei) {
                let session = asks.session;
                asks.inbox.send(PortMessage::Registered {
                    session,
                    is_registered: false,
                });
                continue;
            }
            let known = match table::register(client, imei, DeviceState::Accepted) {
                Ok(known) => known,
                Err(error) => {
                    self.registrations.push_front((imei, pinned, asks));
                    return Err(error);
                }
            };
            let is_new = self.around.hub.fleet.get(imei).is_none();
            self.around.hub.fleet.put(&known);
            if is_new {
                self.n_new += u32::from(!pinned);
                facts::say(
                    Fact::DeviceRegistered,
                    format_args!("imei={imei} id={}", known.id),
                );
            }
            let session = asks.session;
            asks.inbox.send(PortMessage::Registered {
                session,
                is_registered: true,
            });
        }
        Ok(())
    }

    /// Whether one more new device may be registered in this hour.
    fn has_place(&mut self, imei: Imei) -> bool {
        let now = clock::now();
        if now.saturating_sub(self.hour_from) >= HOUR_MS {
            self.hour_from = now;
            self.n_new = 0;
        }
        let max = self.around.max_new_devices;
        if self.n_new >= max && self.around.hub.fleet.get(imei).is_none() {
            facts::say(
                Fact::RegistrationLimit,
                format_args!(
                    "imei={imei} per_hour={max}: raise [devices] max_new_devices, or add the device"
                ),
            );
            return false;
        }
        true
    }
}
