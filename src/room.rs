//! The bytes that deliveries may take on their way to the writers, shared fairly by the ports.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mailbox::{Inbox, PortMessage};

/// The bytes that deliveries may take on their way, shared fairly by the ports.
#[derive(Debug)]
pub struct Room {
    limit: usize,
    used: AtomicUsize,
    ports: AtomicUsize,
    waiting: Mutex<Vec<Arc<Inbox>>>,
    someone_waits: AtomicBool,
}

/// What one port has taken of the room.
#[derive(Debug, Default)]
pub struct Share {
    used: AtomicUsize,
}

/// A piece of the room, given back when dropped.
#[derive(Debug)]
pub struct Hold {
    room: Arc<Room>,
    share: Arc<Share>,
    bytes: usize,
}

/// What a delivery costs beside its bytes. With it the byte budget runs out before a queue of
/// [`Room::deliveries_max`] does, so that one bound governs both.
const DELIVERY_COST: usize = 4096;

impl Room {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Arc<Room> {
        Arc::new(Room {
            limit: limit.max(DELIVERY_COST * 4),
            used: AtomicUsize::new(0),
            ports: AtomicUsize::new(1),
            waiting: Mutex::default(),
            someone_waits: AtomicBool::new(false),
        })
    }

    /// Deliveries that the room holds at most, however small they are.
    pub fn deliveries_max(&self) -> usize {
        self.limit / DELIVERY_COST
    }

    /// Tells how many ports share the room.
    pub fn set_ports(&self, n_ports: usize) {
        self.ports.store(n_ports.max(1), Ordering::Relaxed);
    }

    /// How many ports share the room.
    pub fn n_ports(&self) -> usize {
        self.ports.load(Ordering::Relaxed)
    }

    /// Takes room for a delivery of `bytes`; an empty room takes one of any size. Below half of the limit anybody may; above it only who has less than
    /// an equal share, so that one loud port leaves room for the others.
    pub fn take(self: &Arc<Room>, share: &Arc<Share>, bytes: usize) -> Option<Hold> {
        let cost = bytes + DELIVERY_COST;
        let before = self.used.fetch_add(cost, Ordering::AcqRel);
        let mine = share.used.fetch_add(cost, Ordering::AcqRel);
        let hold = Hold {
            room: Arc::clone(self),
            share: Arc::clone(share),
            bytes: cost,
        };
        let fair = self.limit / self.n_ports();
        let fits = before + cost <= self.limit;
        // A port without anything in the room may always have one delivery, as long as there is room at all.
        let is_fair = before + cost <= self.limit / 2 || mine == 0 || mine + cost <= fair;
        // And an empty room takes any delivery: one that is larger than the room must not wait for ever.
        (before == 0 || (fits && is_fair)).then_some(hold)
    }

    /// Asks to be told by [`PortMessage::Room`] when there is room again. Try once more after asking.
    pub fn wait(&self, inbox: &Arc<Inbox>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| Arc::ptr_eq(other, inbox)) {
            waiting.push(Arc::clone(inbox));
        }
        self.someone_waits.store(true, Ordering::Release);
    }

    /// Tells those who wait that there is room.
    pub fn wake(&self) {
        if self.someone_waits.swap(false, Ordering::AcqRel) {
            let waiting =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for inbox in waiting {
                inbox.send(PortMessage::Room);
            }
        }
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes there are.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::tests::inbox;

    #[test]
    fn a_loud_port_leaves_room_for_a_quiet_one() {
        let room = Room::new(100 * DELIVERY_COST);
        room.set_ports(4);
        let (loud, quiet) = (Arc::new(Share::default()), Arc::new(Share::default()));
        let mut held = Vec::new();
        while let Some(hold) = room.take(&loud, 0) {
            held.push(hold);
        }
        assert_eq!(held.len(), 50, "a single port gets half of it");
        let mut others = Vec::new();
        while let Some(hold) = room.take(&quiet, 0) {
            others.push(hold);
        }
        assert_eq!(others.len(), 25, "a quiet one its equal share");
        drop(held);
        assert!(room.take(&loud, 0).is_some());
    }

    #[test]
    fn a_delivery_larger_than_the_room_fits_when_the_room_is_empty() {
        let room = Room::new(16 * DELIVERY_COST);
        room.set_ports(4);
        let share = Arc::new(Share::default());
        let small = room.take(&share, 1).unwrap();
        assert!(room.take(&share, 16 * DELIVERY_COST).is_none());
        drop(small);
        let large = room.take(&share, 16 * DELIVERY_COST);
        assert!(large.is_some());
        assert!(room.take(&share, 1).is_none(), "it has the room to itself");
    }

    #[test]
    fn who_waits_for_room_is_told_once() {
        let (_poll, inbox, receiver) = inbox();
        let room = Room::new(1 << 20);
        room.wait(&inbox);
        room.wait(&inbox);
        room.wake();
        room.wake();
        assert_eq!(receiver.try_iter().count(), 1);
    }
}
