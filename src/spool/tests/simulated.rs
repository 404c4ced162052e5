//! A disk in memory that loses power: it forgets what was not synced, by a seed; it fills up, fails and lies when told to.
//!
//! The model: of a file's bytes those up to its last sync survive, of those after it any prefix, zeros or garbage; of names made,
//! changed and taken away since the last sync of the folder any choice. After a sync that failed, later ones say Ok
//! and save nothing of what was lost: as Linux does.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::spool::disk::{Disk, DiskFile, Listed, Locking, Space};

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A sync that says Ok and does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    Data,
    Names,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    /// So much of it survives.
    synced: usize,
    /// A sync failed: nothing more becomes safe.
    is_lost: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Made(String, usize),
    Renamed(String, String),
    Removed(String),
}

#[derive(Debug)]
pub(super) struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
    /// Counts processes: handles of an earlier one are dead.
    life: u64,
    is_locked: bool,
    pub(super) random: Random,
    pub(super) lie: Lie,
    /// Operations that change something, so far.
    pub(super) n_changes: u64,
    /// Power goes at this one.
    pub(super) power_goes_at: Option<u64>,
    pub(super) is_dark: bool,
    /// One in so many writes and syncs fails; 0: none.
    pub(super) failures: usize,
    pub(super) space: Space,
    pub(super) bytes_read: u64,
    /// Ranges of a file that cannot be read.
    pub(super) bad_pages: Vec<(String, std::ops::Range<u64>)>,
}

/// One process's view of the disk.
#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk {
    world: Arc<Mutex<World>>,
    life: u64,
}

fn dark() -> io::Error {
    io::Error::other("no power")
}

impl World {
    /// One more change, unless power is gone; `Ok(true)`: it goes during this one.
    fn change(&mut self, life: u64) -> io::Result<bool> {
        if self.is_dark || life != self.life {
            return Err(dark());
        }
        self.n_changes += 1;
        self.is_dark = self.power_goes_at == Some(self.n_changes);
        Ok(self.is_dark)
    }

    fn fails(&mut self) -> bool {
        self.failures > 0 && self.random.one_in(self.failures)
    }

    /// What a disk holds when power is back.
    fn forget(&mut self) {
        let mut names = self.safe_names.clone();
        for change in std::mem::take(&mut self.changes) {
            if self.random.one_in(2) {
                continue;
            }
            match change {
                NameChange::Made(name, inode) => {
                    names.insert(name, inode);
                }
                NameChange::Renamed(from, to) => {
                    if let Some(inode) = names.remove(&from) {
                        names.insert(to, inode);
                    }
                }
                NameChange::Removed(name) => {
                    names.remove(&name);
                }
            }
        }
        self.names = names.clone();
        self.safe_names = names;
        let World { inodes, random, .. } = self;
        for inode in inodes {
            let unsynced = inode.content.split_off(inode.synced);
            let survives = random.below(unsynced.len() + 1);
            match random.below(4) {
                // A beginning of it.
                0 => inode.content.extend_from_slice(&unsynced[..survives]),
                // Its length, but none of its bytes.
                1 => inode.content.resize(inode.content.len() + survives, 0),
                // Whatever was there before.
                2 => inode
                    .content
                    .extend((0..survives).map(|_| u8::try_from(random.below(256)).unwrap())),
                // Its end, without its beginning.
                _ => {
                    inode.content.resize(inode.content.len() + survives, 0);
                    inode.content.extend_from_slice(&unsynced[survives..]);
                }
            }
            inode.synced = inode.content.len();
            inode.is_lost = false;
        }
    }
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk {
            world: Arc::new(Mutex::new(World {
                inodes: Vec::new(),
                names: BTreeMap::new(),
                safe_names: BTreeMap::new(),
                changes: Vec::new(),
                life: 0,
                is_locked: false,
                random: Random(seed),
                lie: Lie::None,
                n_changes: 0,
                power_goes_at: None,
                is_dark: false,
                failures: 0,
                space: Space {
                    total: 1 << 40,
                    free: 1 << 40,
                },
                bytes_read: 0,
                bad_pages: Vec::new(),
            })),
            life: 0,
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The next process. With power lost in between, what was not synced is forgotten.
    pub(super) fn restart(&self, power_was_lost: bool) -> SimulatedDisk {
        let mut world = self.world();
        if power_was_lost {
            world.forget();
        }
        world.life += 1;
        world.is_locked = false;
        world.is_dark = false;
        SimulatedDisk {
            world: Arc::clone(&self.world),
            life: world.life,
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.world().names.keys().cloned().collect()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        world.inodes[world.names[name]].content.clone()
    }

    pub(super) fn n_bytes(&self) -> usize {
        let world = self.world();
        let sizes = world
            .names
            .values()
            .map(|inode| world.inodes[*inode].content.len());
        sizes.sum()
    }

    /// Puts a file there as if it had always been there.
    pub(super) fn put(&self, name: &str, content: &[u8]) {
        let mut world = self.world();
        let inode = world.inodes.len();
        world.inodes.push(Inode {
            content: content.to_vec(),
            synced: content.len(),
            is_lost: false,
        });
        world.names.insert(name.to_owned(), inode);
        world.safe_names.insert(name.to_owned(), inode);
    }
}

struct Held {
    disk: SimulatedDisk,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.life == self.disk.life {
            world.is_locked = false;
        }
    }
}

impl Disk for SimulatedDisk {
    fn place(&self) -> String {
        "simulated".to_owned()
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let world = self.world();
        if world.is_dark || world.life != self.life {
            return Err(dark());
        }
        let listed = world.names.iter().map(|(name, inode)| Listed {
            name: name.clone(),
            bytes: world.inodes[*inode].content.len() as u64,
        });
        Ok(listed.collect())
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        world.change(self.life)?;
        if world.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.names.insert(name.to_owned(), inode);
        world.changes.push(NameChange::Made(name.to_owned(), inode));
        if world.is_dark {
            return Err(dark());
        }
        if world.fails() {
            return Err(ErrorKind::StorageFull.into());
        }
        drop(world);
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            inode,
            name: name.to_owned(),
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let world = self.world();
        if world.is_dark || world.life != self.life {
            return Err(dark());
        }
        let inode = *world.names.get(name).ok_or(ErrorKind::NotFound)?;
        drop(world);
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            inode,
            name: name.to_owned(),
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.change(self.life)?;
        assert!(!world.names.contains_key(to), "{to} would be overwritten");
        let inode = world.names.remove(from).ok_or(ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), inode);
        world
            .changes
            .push(NameChange::Renamed(from.to_owned(), to.to_owned()));
        if world.is_dark { Err(dark()) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.change(self.life)?;
        world.names.remove(name).ok_or(ErrorKind::NotFound)?;
        world.changes.push(NameChange::Removed(name.to_owned()));
        if world.is_dark { Err(dark()) } else { Ok(()) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world();
        if world.change(self.life)? {
            return Err(dark());
        }
        if world.fails() {
            return Err(io::Error::other("sync failed"));
        }
        if world.lie != Lie::Names {
            world.safe_names = world.names.clone();
            world.changes.clear();
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(self.world().space)
    }

    fn lock(&self, _name: &str) -> io::Result<Locking> {
        let mut world = self.world();
        if world.is_locked {
            return Ok(Locking::InUse { pid: Some(7) });
        }
        world.is_locked = true;
        Ok(Locking::Held(Box::new(Held { disk: self.clone() })))
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    name: String,
}

impl DiskFile for SimulatedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.disk.world();
        let power_goes = world.change(self.disk.life)?;
        let fails = world.fails();
        let n_written = if power_goes || fails {
            world.random.below(bytes.len() + 1)
        } else {
            bytes.len()
        };
        let inode = &mut world.inodes[self.inode];
        inode.content.extend_from_slice(&bytes[..n_written]);
        if power_goes {
            Err(dark())
        } else if fails {
            Err(ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.world();
        if world.is_dark || world.life != self.disk.life {
            return Err(dark());
        }
        let end = offset + buffer.len() as u64;
        let is_bad = world
            .bad_pages
            .iter()
            .any(|(name, range)| *name == self.name && range.start < end && offset < range.end);
        if is_bad {
            return Err(io::Error::other("bad sector"));
        }
        let content = &world.inodes[self.inode].content;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let n = buffer.len().min(content.len() - from);
        buffer[..n].copy_from_slice(&content[from..from + n]);
        world.bytes_read += n as u64;
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        if world.change(self.disk.life)? {
            return Err(dark());
        }
        if world.fails() {
            world.inodes[self.inode].is_lost = true;
            return Err(io::Error::other("sync failed"));
        }
        let is_lie = world.lie == Lie::Data;
        let inode = &mut world.inodes[self.inode];
        if !is_lie && !inode.is_lost {
            inode.synced = inode.content.len();
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[self.inode].content.len() as u64)
    }
}
