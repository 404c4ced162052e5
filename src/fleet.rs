//! The devices in memory: who is known, in which state, on which session, and what each sent last.
//!
//! Ports look up here and never wait: the map is cut into shards whose locks are held for one look-up or
//! one insertion. The directory thread fills it from the database; this file speaks no SQL.
//!
//! A device may speak before the database has given it an id: one that is known from the copy of the list on disk, or a new one,
//! while the database is away. Its id comes later, to the same entry.
//!
//! Invariants: one IMEI per device id and one device id per IMEI, for as long as an entry is in the map. An id never changes.
//! An entry that leaves the map is in state `Removed` and without a session, and so it stays: a session that begins on it is closed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::clock::Millis;
use crate::imei::Imei;
use crate::mailbox::{CloseReason, SessionRef};
use crate::pace::Pace;
use crate::store::device::DeviceState;
use crate::store::directory::KnownDevice;
use crate::store::typed::TypedColumns;

/// How a login stands to the session that the device had.
#[derive(Debug)]
pub enum TakeOver {
    /// There was none.
    None,
    /// The old session is out and must be closed.
    From(SessionRef),
    /// Two connections push each other out: the new one shall wait before it is answered.
    Damped,
}

/// Take-overs within [`TAKE_OVER_WINDOW_MS`] until the next one is made to wait.
const TAKE_OVERS_MAX: u32 = 5;
const TAKE_OVER_WINDOW_MS: Millis = 60_000;

#[derive(Debug, Default)]
struct OnLine {
    session: Option<SessionRef>,
    take_overs: u32,
    window_from: Millis,
}

/// One known device.
#[derive(Debug)]
pub struct Device {
    /// Its IMEI.
    pub imei: Imei,
    is_new: bool,
    /// How often it has logged in.
    pub logins: Pace,
    /// How much of it was read.
    pub bytes: Pace,
    /// 0: the database has not given it one yet.
    id: AtomicI32,
    state: AtomicU8,
    last_packet: AtomicU64,
    kept_out_until: AtomicU64,
    is_odd_told: AtomicBool,
    typed: RwLock<Arc<TypedColumns>>,
    on_line: Mutex<OnLine>,
}

impl Device {
    fn new(imei: Imei, state: DeviceState, is_new: bool, typed: Arc<TypedColumns>) -> Device {
        Device {
            imei,
            is_new,
            logins: Pace::default(),
            bytes: Pace::default(),
            id: AtomicI32::new(0),
            state: AtomicU8::new(state as u8),
            last_packet: AtomicU64::new(0),
            kept_out_until: AtomicU64::new(0),
            is_odd_told: AtomicBool::new(false),
            typed: RwLock::new(typed),
            on_line: Mutex::default(),
        }
    }

    /// `device.id`, once the database has given it one. Then it never changes: where the IMEI gets another id, it gets another entry.
    pub fn id(&self) -> Option<i32> {
        Some(self.id.load(Ordering::Acquire)).filter(|&id| id != 0)
    }

    /// Whether it was let in as a new device and is not registered yet.
    pub fn is_new(&self) -> bool {
        self.is_new && self.id().is_none()
    }

    /// Whether it may log in.
    pub fn state(&self) -> DeviceState {
        const STATES: [DeviceState; 3] = [
            DeviceState::Accepted,
            DeviceState::Pending,
            DeviceState::Removed,
        ];
        let state = self.state.load(Ordering::Relaxed);
        STATES
            .into_iter()
            .find(|&known| known as u8 == state)
            .unwrap_or(DeviceState::Refused)
    }

    /// Which of its IO elements fill typed columns.
    pub fn typed(&self) -> Arc<TypedColumns> {
        Arc::clone(&self.typed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many hold this entry beside the map and the caller: sessions, packets on their way, rows that are being stored. 0 in an entry
    /// that may not log in: nothing more of it can come from this process.
    pub fn n_holders(self: &Arc<Device>) -> usize {
        Arc::strong_count(self).saturating_sub(2)
    }

    /// Remembers `digest` as that of the last packet and returns the one before; 0: none yet.
    pub fn swap_last_packet(&self, digest: u64) -> u64 {
        self.last_packet.swap(digest, Ordering::Relaxed)
    }

    /// Keeps the device out until `until`, because its session stopped a thread.
    pub fn keep_out(&self, until: Millis) {
        self.kept_out_until.store(until, Ordering::Relaxed);
    }

    /// Whether it is kept out now.
    pub fn is_kept_out(&self, now: Millis) -> bool {
        now < self.kept_out_until.load(Ordering::Relaxed)
    }

    /// Whether the IMEI's check digit is wrong and nobody was told yet.
    pub fn tell_odd(&self) -> bool {
        !self.imei.luhn_ok() && !self.is_odd_told.swap(true, Ordering::Relaxed)
    }

    /// Makes `session` the device's session: the newest login wins, unless two alternate.
    ///
    /// Where the device was shut out since it was looked up, the session is told at once to close.
    pub fn take_over(&self, session: &SessionRef, now: Millis) -> TakeOver {
        let mut on_line = self.on_line.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever shuts the device out changes the state first and looks for a session then.
        if matches!(self.state(), DeviceState::Refused | DeviceState::Removed) {
            session.close(CloseReason::Refused);
        }
        if on_line.session.is_none() {
            on_line.session = Some(session.clone());
            return TakeOver::None;
        }
        if now.saturating_sub(on_line.window_from) > TAKE_OVER_WINDOW_MS {
            on_line.window_from = now;
            on_line.take_overs = 0;
        }
        on_line.take_overs += 1;
        if on_line.take_overs > TAKE_OVERS_MAX {
            // The one that waits starts a new window when it comes again.
            on_line.window_from = 0;
            return TakeOver::Damped;
        }
        match on_line.session.replace(session.clone()) {
            Some(old) => TakeOver::From(old),
            None => TakeOver::None,
        }
    }

    /// The device's session is over, if it still is `session`; false when a newer one took over.
    pub fn leave(&self, session: &SessionRef) -> bool {
        let mut on_line = self.on_line.lock().unwrap_or_else(PoisonError::into_inner);
        let is_mine = on_line.session.as_ref() == Some(session);
        if is_mine {
            on_line.session = None;
        }
        is_mine
    }

    /// The session it has.
    pub fn session(&self) -> Option<SessionRef> {
        self.on_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .session
            .clone()
    }

    /// Takes over `state`, and closes the session that must not go on in it.
    fn set_state(&self, state: DeviceState) {
        let before = self.state();
        self.state.store(state as u8, Ordering::Relaxed);
        let is_shut_out = match state {
            DeviceState::Accepted => false,
            // A pinned device may speak while it is pending, so only the change ends its session.
            DeviceState::Pending => before == DeviceState::Accepted,
            DeviceState::Refused | DeviceState::Removed => true,
        };
        if is_shut_out && let Some(session) = self.session() {
            session.close(CloseReason::Refused);
        }
    }
}

/// Shards of the map; `Default` for arrays ends here.
const SHARDS: usize = 32;

/// Every known device.
#[derive(Default)]
pub struct Fleet {
    shards: [RwLock<HashMap<Imei, Arc<Device>>>; SHARDS],
    /// The IMEI of each device id; touched by whoever changes the map, never by a look-up.
    by_id: Mutex<HashMap<i32, Imei>>,
    loaded: AtomicBool,
}

impl Fleet {
    fn shard(&self, imei: Imei) -> &RwLock<HashMap<Imei, Arc<Device>>> {
        let place = imei.number() % SHARDS as u64;
        &self.shards[usize::try_from(place).expect("a remainder by 32 is small")]
    }

    /// The device with this IMEI.
    pub fn get(&self, imei: Imei) -> Option<Arc<Device>> {
        self.shard(imei)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&imei)
            .cloned()
    }

    /// Takes over what the database says of a device and returns it.
    ///
    /// An id or an IMEI that changed hands makes a new entry: the old one is dropped and its session closed, as is a session
    /// of a device that may not speak any more.
    pub fn put(&self, known: &KnownDevice) -> Arc<Device> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = by_id
            .insert(known.id, known.imei)
            .filter(|&before| before != known.imei)
            .and_then(|before| self.take_out(before, |device| device.id() == Some(known.id)));
        let replaced = self.take_out(known.imei, |device| {
            device.id().is_some_and(|id| id != known.id)
        });
        if let Some(id) = replaced.as_ref().and_then(|before| before.id())
            && by_id.get(&id) == Some(&known.imei)
        {
            by_id.remove(&id);
        }
        let typed = TypedColumns::for_model(known.model.as_deref());
        let mut shard = self
            .shard(known.imei)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let device = Arc::clone(shard.entry(known.imei).or_insert_with(|| {
            Arc::new(Device::new(
                known.imei,
                known.state,
                false,
                Arc::clone(&typed),
            ))
        }));
        drop(shard);
        *device.typed.write().unwrap_or_else(PoisonError::into_inner) = typed;
        // After the columns: whoever sees the id stores by them.
        device.id.store(known.id, Ordering::Release);
        device.set_state(known.state);
        // Last, so that whoever is closed and comes again finds what is true now.
        for before in elsewhere.iter().chain(&replaced) {
            before.set_state(DeviceState::Removed);
        }
        device
    }

    /// Lets a device in that the database has given no id yet, and returns the entry that there is. `is_new`: it is on no list.
    pub fn put_without_id(&self, imei: Imei, state: DeviceState, is_new: bool) -> Arc<Device> {
        let mut shard = self
            .shard(imei)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shard.entry(imei).or_insert_with(|| {
            // What its elements mean is asked when its packets are stored; by then its model is known.
            let typed = TypedColumns::for_model(None);
            Arc::new(Device::new(imei, state, is_new, typed))
        }))
    }

    /// The devices without an id.
    pub fn without_id(&self) -> Vec<Arc<Device>> {
        let mut without = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            without.extend(
                shard
                    .values()
                    .filter(|device| device.id().is_none())
                    .cloned(),
            );
        }
        without
    }

    /// Every device that has an id, with its state.
    pub fn list(&self) -> Vec<(Imei, DeviceState)> {
        let mut list = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let with_id = shard.values().filter(|device| device.id().is_some());
            list.extend(with_id.map(|device| (device.imei, device.state())));
        }
        list
    }

    /// Drops every device that is not in `known`, the whole list, and returns how many those were. New devices that wait for their id stay.
    pub fn keep_only(&self, known: &[KnownDevice]) -> usize {
        let known: HashSet<Imei> = known.iter().map(|one| one.imei).collect();
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let n_before = by_id.len();
        by_id.retain(|_, imei| {
            let is_known = known.contains(imei);
            if !is_known && let Some(device) = self.take_out(*imei, |_| true) {
                device.set_state(DeviceState::Removed);
            }
            is_known
        });
        let n_dropped = n_before - by_id.len();
        // The copy on disk had them, the database has not: it was restored to an earlier time.
        let forgotten: Vec<Arc<Device>> = self
            .without_id()
            .into_iter()
            .filter(|device| !device.is_new())
            .filter_map(|device| self.take_out(device.imei, |found| found.id().is_none()))
            .collect();
        for device in &forgotten {
            device.set_state(DeviceState::Removed);
        }
        n_dropped + forgotten.len()
    }

    /// Drops the device that the database does not have any more.
    pub fn forget(&self, imei: Imei) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(device) = self.take_out(imei, |device| device.id().is_some()) else {
            return;
        };
        if let Some(id) = device.id()
            && by_id.get(&id) == Some(&imei)
        {
            by_id.remove(&id);
        }
        device.set_state(DeviceState::Removed);
    }

    /// Takes the device with this IMEI out of the map if `is_meant`; its session is still to be ended.
    fn take_out(&self, imei: Imei, is_meant: impl Fn(&Device) -> bool) -> Option<Arc<Device>> {
        let mut shard = self
            .shard(imei)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard
            .get(&imei)
            .is_some_and(|device| is_meant(device))
            .then(|| shard.remove(&imei))?
    }

    /// Whether the device list was loaded: before that an unknown IMEI means nothing.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// The device list is complete.
    pub fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Release);
    }

    /// The ids of the devices that have a session.
    pub fn online(&self) -> HashSet<i32> {
        let mut online = HashSet::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let with_session = shard.values().filter(|device| device.session().is_some());
            online.extend(with_session.filter_map(|device| device.id()));
        }
        online
    }

    /// How many devices are known.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Whether no device is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::tests::inbox;
    use crate::mailbox::{PortMessage, SessionId};

    const ONE: &str = "356307042441013";
    const TWO: &str = "356307042441021";

    fn known(imei: &str, state: DeviceState) -> KnownDevice {
        known_as(7, imei, state)
    }

    fn known_as(id: i32, imei: &str, state: DeviceState) -> KnownDevice {
        let imei = imei.parse().unwrap();
        KnownDevice {
            id,
            imei,
            state,
            model: None,
            version: 1,
        }
    }

    #[test]
    fn what_the_database_says_of_a_device_is_taken_over_in_place() {
        let fleet = Fleet::default();
        let before = fleet.put(&known("356307042441013", DeviceState::Accepted));
        fleet.put(&known("356307042441013", DeviceState::Refused));
        assert_eq!(before.state(), DeviceState::Refused);
        assert_eq!(fleet.len(), 1);
    }

    #[test]
    fn the_newest_login_wins_and_the_old_one_cannot_end_it() {
        let fleet = Fleet::default();
        let device = fleet.put(&known("356307042441013", DeviceState::Accepted));
        let (_poll, inbox, _receiver) = inbox();
        let session = |serial| SessionRef {
            inbox: Arc::clone(&inbox),
            session: SessionId { slot: 0, serial },
        };
        assert!(matches!(device.take_over(&session(1), 0), TakeOver::None));
        let TakeOver::From(old) = device.take_over(&session(2), 0) else {
            panic!("no take-over");
        };
        assert_eq!(old, session(1));
        assert!(
            !device.leave(&session(1)),
            "the old session is not the device's any more"
        );
        assert_eq!(device.session(), Some(session(2)));
    }

    #[test]
    fn two_connections_that_push_each_other_out_are_slowed_down() {
        let fleet = Fleet::default();
        let device = fleet.put(&known("356307042441013", DeviceState::Accepted));
        let (_poll, inbox, _receiver) = inbox();
        let login = |serial, now| {
            let session = SessionId { slot: 0, serial };
            let session = SessionRef {
                inbox: Arc::clone(&inbox),
                session,
            };
            device.take_over(&session, now)
        };
        login(0, 100_000);
        let n_taken = (1..=20)
            .filter(|&serial| matches!(login(serial, 100_000), TakeOver::From(_)))
            .count();
        assert!(n_taken < 20, "some of them wait");
        assert!(
            matches!(
                login(21, 100_000 + 2 * TAKE_OVER_WINDOW_MS),
                TakeOver::From(_)
            ),
            "after a quiet minute the newest wins at once"
        );
    }

    /// A session on `device`, and the inbox that hears of its end.
    fn log_in(device: &Device) -> (mio::Poll, crossbeam_channel::Receiver<PortMessage>) {
        let (poll, inbox, receiver) = inbox();
        let session = SessionId { slot: 0, serial: 1 };
        device.take_over(&SessionRef { inbox, session }, 0);
        (poll, receiver)
    }

    fn is_closed(receiver: &crossbeam_channel::Receiver<PortMessage>) -> bool {
        receiver
            .try_iter()
            .any(|message| matches!(message, PortMessage::Close { .. }))
    }

    #[test]
    fn an_imei_that_its_device_gave_up_is_not_known_any_more() {
        let fleet = Fleet::default();
        let old = fleet.put(&known_as(7, ONE, DeviceState::Accepted));
        let (_poll, receiver) = log_in(&old);
        let new = fleet.put(&known_as(7, TWO, DeviceState::Accepted));
        assert!(fleet.get(ONE.parse().unwrap()).is_none());
        assert_eq!((new.id(), fleet.len()), (Some(7), 1));
        assert_eq!(old.state(), DeviceState::Removed);
        assert!(is_closed(&receiver), "the session of the old IMEI is over");
    }

    #[test]
    fn devices_that_exchange_their_imeis_are_both_there() {
        let fleet = Fleet::default();
        fleet.put(&known_as(1, ONE, DeviceState::Accepted));
        let two = fleet.put(&known_as(2, TWO, DeviceState::Accepted));
        let (_poll, receiver) = log_in(&two);
        fleet.put(&known_as(1, TWO, DeviceState::Accepted));
        fleet.put(&known_as(2, ONE, DeviceState::Accepted));
        let id = |imei: &str| {
            fleet
                .get(imei.parse().unwrap())
                .and_then(|device| device.id())
        };
        assert_eq!((id(ONE), id(TWO)), (Some(2), Some(1)));
        assert!(
            is_closed(&receiver),
            "nothing more is stored under the old id"
        );
        assert_eq!(fleet.keep_only(&[]), 2);
    }

    #[test]
    fn what_the_whole_list_lacks_is_dropped_and_its_session_closed() {
        let fleet = Fleet::default();
        let gone = fleet.put(&known_as(1, ONE, DeviceState::Accepted));
        let stays = known_as(2, TWO, DeviceState::Accepted);
        fleet.put(&stays);
        let (_poll, receiver) = log_in(&gone);
        assert_eq!(fleet.keep_only(&[stays]), 1);
        assert!(fleet.get(ONE.parse().unwrap()).is_none());
        assert!(fleet.get(TWO.parse().unwrap()).is_some());
        assert!(is_closed(&receiver));
        // A port that looked it up a moment ago.
        let (_poll, receiver) = log_in(&gone);
        assert!(is_closed(&receiver));
    }

    #[test]
    fn a_device_without_an_id_gets_it_later_and_keeps_its_session() {
        let fleet = Fleet::default();
        let new = fleet.put_without_id(ONE.parse().unwrap(), DeviceState::Accepted, true);
        let listed = fleet.put_without_id(TWO.parse().unwrap(), DeviceState::Accepted, false);
        let (_poll, receiver) = log_in(&new);
        assert_eq!((new.id(), fleet.without_id().len()), (None, 2));
        // The database knows neither of them: it was restored, and one of them is new.
        assert_eq!(fleet.keep_only(&[]), 1);
        assert_eq!(listed.state(), DeviceState::Removed);
        let put = fleet.put(&known_as(7, ONE, DeviceState::Accepted));
        assert!(Arc::ptr_eq(&new, &put));
        assert_eq!((new.id(), fleet.without_id().len()), (Some(7), 0));
        assert!(!is_closed(&receiver));
    }

    #[test]
    fn a_pending_device_keeps_the_session_that_a_pinned_port_gave_it() {
        let fleet = Fleet::default();
        let device = fleet.put(&known(ONE, DeviceState::Pending));
        let (_poll, receiver) = log_in(&device);
        fleet.put(&known(ONE, DeviceState::Pending));
        assert!(!is_closed(&receiver));
        fleet.put(&known(ONE, DeviceState::Accepted));
        fleet.put(&known(ONE, DeviceState::Pending));
        assert!(is_closed(&receiver), "it was accepted and is not any more");
    }

    #[test]
    fn whoever_holds_a_device_is_counted() {
        let fleet = Fleet::default();
        let device = fleet.put(&known(ONE, DeviceState::Accepted));
        assert_eq!(device.n_holders(), 0);
        let packet = Arc::clone(&device);
        assert_eq!(device.n_holders(), 1);
        drop(packet);
        assert_eq!(fleet.get(device.imei).unwrap().n_holders(), 1, "`device`");
    }

    #[test]
    fn a_forgotten_device_is_gone_and_its_session_closed() {
        let (_poll, inbox, receiver) = inbox();
        let fleet = Fleet::default();
        let device = fleet.put(&known(ONE, DeviceState::Accepted));
        let session = SessionRef {
            inbox,
            session: SessionId { slot: 1, serial: 1 },
        };
        device.take_over(&session, 0);
        fleet.forget(device.imei);
        assert!(fleet.get(device.imei).is_none() && fleet.is_empty());
        assert!(matches!(receiver.try_recv(), Ok(PortMessage::Close { .. })));
        // Its id and its IMEI may come again, each for another.
        fleet.put(&known_as(7, TWO, DeviceState::Accepted));
        fleet.put(&known_as(8, ONE, DeviceState::Accepted));
        assert_eq!(fleet.len(), 2);
        // One that waits for its id is none that the database could have erased.
        let new = fleet.put_without_id(
            "356307042441039".parse().unwrap(),
            DeviceState::Accepted,
            true,
        );
        fleet.forget(new.imei);
        assert!(fleet.get(new.imei).is_some());
    }
}
