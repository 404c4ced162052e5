//! The device list while the database is away: known devices by a copy on disk, new ones let in without an id.
//!
//! Only where there is a spool that keeps what they send. They get their ids when the database is there; of whom the copy does not
//! speak, and for whom there is no place as a new one, nobody can say anything, and nothing is answered.

use std::sync::Arc;

use postgres::Client;

use super::{Directory, QUESTIONS_MAX, TELL_FOR_MS};
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use crate::mailbox::PortMessage;
use crate::roster;
use crate::store::device::DeviceState;
use crate::store::directory as table;
use crate::store::error::StoreError;

/// How often the copy of the list is written at most.
const COPY_EVERY_MS: Millis = 10_000;

impl Directory<'_> {
    /// What can be done while the database is away.
    pub(super) fn do_without(&mut self) {
        let now = clock::now();
        let hub = Arc::clone(&self.around.hub);
        let target = clock::millis(self.around.timeouts.ack_target);
        let is_away = self
            .away_since
            .is_some_and(|since| now.saturating_sub(since) > target);
        if !is_away || !hub.spool.is_usable() {
            return;
        }
        if !hub.fleet.is_loaded() && !std::mem::replace(&mut self.is_copy_read, true) {
            self.load_copy();
        }
        self.tell_loaded(now);
        for (imei, pinned, asks) in std::mem::take(&mut self.registrations) {
            let session = asks.session;
            let is_registered = pinned || self.has_place(imei);
            if !is_registered && !hub.fleet.is_loaded() {
                // It may be on the list that nobody could load: no answer is better than a wrong one.
                if self.unanswered.len() < QUESTIONS_MAX {
                    self.unanswered.push_back((imei, pinned, asks));
                }
                continue;
            }
            if is_registered && hub.fleet.get(imei).is_none() {
                self.n_new += u32::from(!pinned);
                hub.fleet.put_without_id(imei, DeviceState::Accepted, true);
                self.ids_are_missing = true;
                facts::say(Fact::DeviceLetIn, format_args!("imei={imei}"));
            }
            asks.inbox.send(PortMessage::Registered {
                session,
                is_registered,
            });
        }
    }

    /// Loads the copy of the list: known devices may speak, about strangers nobody can say anything.
    fn load_copy(&mut self) {
        let path = &self.around.copy;
        match roster::read(path) {
            Ok(None) => {}
            Ok(Some(devices)) => {
                for &(imei, state) in &devices {
                    self.around.hub.fleet.put_without_id(imei, state, false);
                }
                self.ids_are_missing = true;
                facts::say(
                    Fact::RosterLoaded,
                    format_args!("devices={} file={}", devices.len(), path.display()),
                );
                self.tell_until = clock::now() + TELL_FOR_MS;
                self.tell_at = 0;
            }
            Err(error) => {
                let file = path.display();
                facts::say(
                    Fact::RosterFailed,
                    format_args!("file={file} error={error}"),
                );
            }
        }
    }

    /// Gives their ids to the devices that were let in while the database was away.
    pub(super) fn give_ids(&mut self, client: &mut Client) -> Result<(), StoreError> {
        if !self.ids_are_missing {
            return Ok(());
        }
        for device in self.around.hub.fleet.without_id() {
            self.life.beat();
            let imei = device.imei;
            let known = table::register(client, imei, DeviceState::Accepted)?;
            self.around.hub.fleet.put(&known);
            facts::say(
                Fact::DeviceRegistered,
                format_args!("imei={imei} id={}: let in before", known.id),
            );
        }
        self.ids_are_missing = false;
        Ok(())
    }

    /// Writes the copy of the list when it has changed.
    pub(super) fn copy(&mut self, now: Millis) {
        // Where there is no spool the copy would be of no use.
        if now < self.copy_at
            || self.copied_version == self.version
            || self.around.hub.spool.spool().is_none()
        {
            return;
        }
        self.copy_at = now + COPY_EVERY_MS;
        match roster::write(&self.around.copy, &self.around.hub.fleet.list()) {
            Ok(()) => self.copied_version = self.version,
            Err(error) => facts::say(
                Fact::RosterFailed,
                format_args!("file={} error={error}", self.around.copy.display()),
            ),
        }
    }
}
