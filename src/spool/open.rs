//! What lies in a spool's folder: at a start, and for people who look.
//!
//! Invariants: of a finished segment only the seal is read, so a start takes the same time however much waits. Nothing
//! that is found keeps the program from starting; only a folder that cannot be listed or is another's does.

use std::io;
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskFile, Listed, Locking};
use super::format::{self, HEADER_BYTES, Header, SEAL_BYTES, Tally, scan};
use super::index::{Depth, Index, Segment, State};
use super::{Damage, DamageKind, Settings, Spool, SpoolError, UNSEALED_BYTES_MAX, disk_error};

/// The file that is flocked.
const LOCK: &str = "lock";
/// The end of a segment's name.
pub(super) const SEGMENT: &str = ".seg";
/// The beginning of the name of a segment from elsewhere.
pub(super) const INCOMING: &str = "incoming-";
/// The end of the name of a file that is set aside.
pub(super) const BAD: &str = ".bad";
/// The same of a tail.
pub(super) const TAIL_BAD: &str = ".tail.bad";

/// The largest number that a file is taken in under. One with a larger number is none of ours.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// What was found at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How much waits to be drained.
    pub depth: Depth,
    /// What could not be read, and what became of it.
    pub damaged: Vec<Damage>,
}

/// A file of a spool's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// What it is by its name.
    pub kind: FoundKind,
}

/// What a file is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoundKind {
    /// A segment that waits to be drained.
    Segment(u64),
    /// A segment that waits to be taken in.
    Incoming,
    /// A file that was set aside.
    SetAside,
}

/// What a file holds, as far as it can be told without reading more than needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Where its good bytes end.
    pub end: u64,
    /// What is in it.
    pub tally: Tally,
    /// Whether it was finished.
    pub is_sealed: bool,
    /// What is wrong with it.
    pub damage: Vec<DamageKind>,
}

impl Look {
    fn of(kind: DamageKind) -> Look {
        Look {
            damage: vec![kind],
            ..Look::default()
        }
    }

    /// Whether nothing in the file can be drained.
    pub(super) fn is_useless(&self) -> bool {
        self.damage.iter().any(|kind| {
            matches!(
                kind,
                DamageKind::Nothing { .. }
                    | DamageKind::Newer { .. }
                    | DamageKind::Unreadable { .. }
            )
        })
    }
}

/// The files of the folder that belong to a spool: segments by number, then the others by name.
///
/// # Errors
/// When the folder cannot be listed.
pub fn find(disk: &dyn Disk) -> io::Result<Vec<Found>> {
    let mut found: Vec<Found> = disk
        .list()?
        .into_iter()
        .filter_map(|Listed { name, bytes }| {
            let kind = kind(&name)?;
            Some(Found { name, bytes, kind })
        })
        .collect();
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(found)
}

fn kind(name: &str) -> Option<FoundKind> {
    if name.ends_with(BAD) && name.contains(SEGMENT) {
        return Some(FoundKind::SetAside);
    }
    let stem = name.strip_suffix(SEGMENT)?;
    if stem.starts_with(INCOMING) {
        return Some(FoundKind::Incoming);
    }
    let number = number(stem)?;
    Some(FoundKind::Segment(number))
}

/// The number that a name begins with.
fn number(name: &str) -> Option<u64> {
    let digits = name.split('.').next()?;
    let is_number = digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    // Behind the largest there must be room for all that are still to come.
    digits
        .parse()
        .ok()
        .filter(|number| is_number && *number <= NUMBER_MAX)
}

/// Looks into a segment: at its seal, and where it has none, at all of it. `None`: the file is gone.
pub fn look(disk: &dyn Disk, name: &str) -> Option<Look> {
    match try_look(disk, name) {
        Ok(look) => Some(look),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Look::of(DamageKind::Unreadable {
            reason: error.to_string(),
        })),
    }
}

fn try_look(disk: &dyn Disk, name: &str) -> io::Result<Look> {
    let file = disk.open(name)?;
    let size = file.size()?;
    if let Some(at) = size.checked_sub(SEAL_BYTES as u64)
        && at >= HEADER_BYTES as u64
    {
        let bytes = read_all(&*file, at, SEAL_BYTES as u64)?;
        if let Some(tally) = format::read_seal(&bytes, at) {
            return Ok(Look {
                end: at,
                tally,
                is_sealed: true,
                damage: Vec::new(),
            });
        }
    }
    let head = read_all(&*file, 0, size.min(HEADER_BYTES as u64))?;
    if let Header::Newer { version } = format::read_header(&head) {
        return Ok(Look::of(DamageKind::Newer { version }));
    }
    if size > UNSEALED_BYTES_MAX {
        let reason = format!("{size} bytes are more than any segment has");
        return Ok(Look::of(DamageKind::Unreadable { reason }));
    }
    Ok(examine(&read_all(&*file, 0, size)?))
}

/// What is in the bytes of a segment, all of them looked at.
pub fn examine(bytes: &[u8]) -> Look {
    let scan = scan(bytes);
    if let Header::Newer { version } = scan.header {
        return Look::of(DamageKind::Newer { version });
    }
    let tail = usize::try_from(scan.end).map_or(&[][..], |end| &bytes[end..]);
    let is_good = matches!(scan.header, Header::Good { .. });
    if scan.entries.is_empty() && scan.sealed.is_none() && !is_good {
        return Look::of(DamageKind::Nothing {
            bytes: bytes.len() as u64,
        });
    }
    let mut damage = Vec::new();
    if !is_good {
        damage.push(DamageKind::Header);
    }
    damage.extend(scan.damaged.iter().map(|range| DamageKind::Hole {
        offset: range.start,
        bytes: range.end - range.start,
    }));
    // A file system may leave zeros where it had made room for a write that never came.
    if tail.iter().any(|byte| *byte != 0) {
        damage.push(DamageKind::TornTail {
            bytes: tail.len() as u64,
        });
    }
    Look {
        end: scan.end,
        tally: scan.tally,
        is_sealed: scan.sealed.is_some(),
        damage,
    }
}

/// The bytes of a file from `offset` on, `n_bytes` of them or as many as there are.
pub(super) fn read_all(file: &dyn DiskFile, offset: u64, n_bytes: u64) -> io::Result<Vec<u8>> {
    let n_bytes = usize::try_from(n_bytes).map_err(io::Error::other)?;
    let mut bytes = vec![0; n_bytes];
    let n = file.read_at(&mut bytes, offset)?;
    bytes.truncate(n);
    Ok(bytes)
}

impl Spool {
    /// Opens the spool in a folder and takes it for this process.
    ///
    /// # Errors
    /// `InUse`, and a folder that cannot be locked or listed.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<(Spool, Opened), SpoolError> {
        let lock = match disk.lock(LOCK) {
            Ok(Locking::Held(lock)) => lock,
            Ok(Locking::InUse { pid }) => {
                let place = disk.place();
                return Err(SpoolError::InUse { place, pid });
            }
            Err(source) => return Err(disk_error(&*disk, "lock", LOCK, source)),
        };
        let found = find(&*disk).map_err(|source| disk_error(&*disk, "list", ".", source))?;
        let mut index = Index::default();
        let mut damaged = Vec::new();
        for file in &found {
            // A number that a file was set aside under is not given again.
            if let Some(number) = number(&file.name) {
                index.skip_to(number);
            }
            if file.kind == FoundKind::SetAside {
                index.set_aside(file.bytes);
            }
        }
        for file in &found {
            if let FoundKind::Segment(number) = file.kind
                && let Some(look) = look(&*disk, &file.name)
            {
                let told = take_in(&*disk, &found, &mut index, number, file, &look);
                damaged.extend(told);
            }
        }
        let spool = Spool {
            disk,
            settings,
            index: Mutex::new(index),
            space: Mutex::new(None),
            reading: Mutex::new(None),
            refused: Mutex::default(),
            _lock: lock,
        };
        // What cannot be adopted now is tried again later.
        if let Ok(adopted) = spool.adopt_incoming() {
            damaged.extend(adopted.damaged);
        }
        let depth = spool.depth();
        Ok((spool, Opened { depth, damaged }))
    }
}

/// A segment of the index for a file that was looked at.
pub(super) fn segment(look: &Look, bytes: u64, keep_tail: bool) -> Segment {
    let damaged_at = look.damage.iter().filter_map(|kind| match kind {
        DamageKind::Hole { offset, .. } => Some(*offset),
        DamageKind::TornTail { .. } => keep_tail.then_some(look.end),
        _ => Some(0),
    });
    Segment {
        end: look.end,
        bytes,
        tally: look.tally,
        state: State::Closed,
        damaged_at: damaged_at.collect(),
    }
}

/// Takes a segment that was found at the start into the index, or sets it aside. Says what is wrong with it.
fn take_in(
    disk: &dyn Disk,
    found: &[Found],
    index: &mut Index,
    number: u64,
    file: &Found,
    look: &Look,
) -> Vec<Damage> {
    if look.is_useless() {
        let aside = set_aside(disk, found, file, look);
        return aside
            .map(|(damage, bytes)| {
                index.set_aside(bytes);
                damage
            })
            .into_iter()
            .collect();
    }
    let tail_name = format!("{}{TAIL_BAD}", file.name);
    let mut damaged = Vec::new();
    let mut keep_tail = false;
    for kind in &look.damage {
        let mut kept_as = format!("{}{BAD}", file.name);
        if let DamageKind::TornTail { bytes } = kind {
            if found.iter().any(|other| other.name == tail_name) {
                // Told at an earlier start.
                continue;
            }
            match keep(disk, &file.name, &tail_name, look.end, *bytes) {
                Ok(()) => {
                    index.set_aside(*bytes);
                    kept_as.clone_from(&tail_name);
                }
                // No room for a copy: then the whole file stays.
                Err(_) => keep_tail = true,
            }
        }
        damaged.push(Damage {
            file: file.name.clone(),
            kind: kind.clone(),
            kept_as,
        });
    }
    let segment = segment(look, file.bytes, keep_tail);
    // A file that was begun and holds nothing: a crash between its first write and its first sync.
    // That nothing is in it is believed of the place where it ends, not of a count.
    let is_empty = segment.end <= HEADER_BYTES as u64
        && segment.tally.entries == 0
        && segment.damaged_at.is_empty();
    if !(is_empty && disk.remove(&file.name).is_ok()) {
        index.put(number, segment);
    }
    damaged
}

/// Copies the tail of a file into one of its own.
fn keep(disk: &dyn Disk, from: &str, to: &str, offset: u64, n_bytes: u64) -> io::Result<()> {
    let tail = read_all(&*disk.open(from)?, offset, n_bytes)?;
    let file = disk.create_new(to)?;
    let kept = file
        .append(&tail)
        .and_then(|()| file.sync_data())
        .and_then(|()| disk.sync_dir());
    if kept.is_err() {
        // Half a copy would be taken for a whole one.
        let _ = disk.remove(to);
    }
    kept
}

/// Gives a file of which nothing can be used another name, unless it is to be left alone. Says what is wrong, and the bytes.
pub(super) fn set_aside(
    disk: &dyn Disk,
    found: &[Found],
    file: &Found,
    look: &Look,
) -> Option<(Damage, u64)> {
    let kind = look.damage.first()?.clone();
    let mut kept_as = file.name.clone();
    if matches!(kind, DamageKind::Nothing { .. }) {
        let name = bad_name(&file.name, |name| {
            found.iter().any(|other| other.name == name)
        });
        // On a disk that cannot rename, it is left where it is.
        if disk.rename(&file.name, &name).is_ok() {
            kept_as = name;
        }
    }
    let damage = Damage {
        file: file.name.clone(),
        kind,
        kept_as,
    };
    Some((damage, file.bytes))
}

/// The name under which a file is set aside: one that is not taken.
pub(super) fn bad_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut bad = format!("{name}{BAD}");
    let mut n = 1;
    while is_taken(&bad) {
        n += 1;
        bad = format!("{name}.{n}{BAD}");
    }
    bad
}
