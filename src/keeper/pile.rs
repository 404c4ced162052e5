//! Notes that are not written yet, coalesced per device; what cannot be written stays for the next time.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::SystemTime;

use postgres::Client;
use twox_hash::XxHash3_64;

use crate::clock;
use crate::facts::{self, Fact};
use crate::imei::Imei;
use crate::notes::Note;
use crate::store::directory::{DeviceContact, store_contacts};
use crate::store::error::StoreError;
use crate::store::journal::{PortEvent, add_port_events};
use crate::store::latest::{Newest, notify_latest, update_latest};
use crate::store::quarantine::{self, QuarantineEntry};

/// Events and poisoned sessions kept while the database is away.
const EVENTS_MAX: usize = 10_000;
const POISON_MAX: usize = 100;

/// Notes that are not written yet.
#[derive(Default)]
pub(super) struct Pile {
    latest: Newest,
    /// Devices with a session.
    pub(super) online: HashSet<i32>,
    contacts: HashMap<i32, DeviceContact>,
    events: Vec<PortEvent>,
    poison: Vec<Poison>,
    /// Quarantine is to be counted anew.
    pub(super) quarantined: bool,
}

struct Poison {
    imei: Imei,
    at: SystemTime,
    port: u16,
    bytes: Vec<u8>,
    reason: String,
}

impl Pile {
    pub(super) fn add(&mut self, note: Note) {
        match note {
            Note::LoggedIn {
                device_id,
                at_us,
                address,
                port,
            } => {
                let at = clock::system_time(at_us);
                self.online.insert(device_id);
                let contact = self.contact(device_id);
                contact.last_login_at = Some(at);
                contact.last_contact_at = Some(at);
                contact.address = Some(canonical(address));
                contact.port = Some(i32::from(port));
                contact.connected = true;
            }
            Note::LoggedOut { device_id, at_us } => {
                self.online.remove(&device_id);
                let contact = self.contact(device_id);
                contact.last_contact_at = Some(clock::system_time(at_us));
                contact.connected = false;
            }
            Note::SendsBeforeAck { device_id, at_us } => {
                let contact = self.contact(device_id);
                contact.sends_before_ack_at = Some(clock::system_time(at_us));
            }
            Note::Latest(latest) => {
                let newest = latest.take();
                for (device_id, received_at) in newest.heard() {
                    let contact = self.contact(device_id);
                    contact.last_contact_at = contact.last_contact_at.max(Some(received_at));
                }
                self.latest.append(newest);
            }
            Note::PortEvent {
                at_us,
                thread,
                generation,
                event,
                reason,
            } => {
                if self.events.len() >= EVENTS_MAX {
                    facts::count(Fact::NotesDropped);
                    return;
                }
                self.events.push(PortEvent {
                    at: clock::system_time(at_us),
                    thread,
                    generation: i64::try_from(generation).unwrap_or(i64::MAX),
                    event: event.to_owned(),
                    reason: (!reason.is_empty()).then_some(reason),
                });
            }
            Note::Quarantined => self.quarantined = true,
            Note::Poison {
                imei,
                at_us,
                port,
                bytes,
                reason,
            } => {
                if self.poison.len() >= POISON_MAX {
                    facts::count(Fact::NotesDropped);
                    return;
                }
                let at = clock::system_time(at_us);
                self.poison.push(Poison {
                    imei,
                    at,
                    port,
                    bytes,
                    reason,
                });
            }
        }
    }

    fn contact(&mut self, device_id: i32) -> &mut DeviceContact {
        // A stored record may be noted after the session that sent it has ended.
        let connected = self.online.contains(&device_id);
        self.contacts
            .entry(device_id)
            .or_insert_with(|| DeviceContact {
                device_id,
                last_login_at: None,
                last_contact_at: None,
                address: None,
                port: None,
                connected,
                sends_before_ack_at: None,
            })
    }

    /// Writes everything; what fails stays for the next time.
    pub(super) fn flush(&mut self, client: &mut Client, now: SystemTime) -> Result<(), StoreError> {
        // Who listens and does not read fills the queue of notifications: nothing else waits for that.
        let mut told = Ok(());
        if !self.latest.is_empty() {
            let changed = update_latest(client, &self.latest, now)?;
            self.latest = Newest::default();
            told = notify_latest(client, &changed);
        }
        if !self.contacts.is_empty() {
            let contacts: Vec<DeviceContact> = self.contacts.values().cloned().collect();
            store_contacts(client, &contacts, now)?;
            self.contacts.clear();
        }
        if !self.events.is_empty() {
            add_port_events(client, &self.events)?;
            self.events.clear();
        }
        while let Some(poison) = self.poison.last() {
            let entry = QuarantineEntry {
                imei: Some(poison.imei),
                device_id: None,
                received_at: poison.at,
                port: Some(i32::from(poison.port)),
                address: None,
                reason: &poison.reason,
                code: "stopped_a_thread",
                bytes: &poison.bytes,
                digest: XxHash3_64::oneshot(&poison.bytes).cast_signed(),
                n_records: None,
            };
            quarantine::report(client, &entry)?;
            self.poison.pop();
            self.quarantined = true;
        }
        told
    }
}

fn canonical(address: SocketAddr) -> std::net::IpAddr {
    address.ip().to_canonical()
}
