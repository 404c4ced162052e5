//! The spool: deliveries on disk, acked before the database has them. Files only; knows no thread, database or socket.
//!
//! # Who does what
//!
//! One `Appender` writes, one reader drains; both share the `Spool`, whose index of segments lies behind a lock
//! that is never held over file I/O. A new appender supersedes the one before it: whatever that one still does counts
//! for nothing, so an abandoned thread can neither be waited for nor get in the way.
//!
//! # Invariants
//!
//! * `append` says Ok only when every byte of the group is written and synced, and so is the name of a new file.
//! * After an error of a file it is never written, synced or trusted again beyond its last good sync.
//! * The reader sees synced bytes only. It passes on from a segment only when nothing can be added to it.
//! * What cannot be read is set aside under another name, counted and told; never deleted, never a reason not to start.
//! * Memory follows bytes read, never a length claimed.
//!
//! # The folder
//!
//! | name | what it is |
//! | --- | --- |
//! | `0000000000000001.seg` | a segment; drained in the order of the numbers |
//! | `incoming-….seg` | a segment from elsewhere, which gets the next number when it is found |
//! | `….seg.bad` | a file in which something could not be read, kept after all that is whole was drained |
//! | `….seg.tail.bad` | bytes after the last whole frame of a segment that was not finished: what a crash interrupted |
//! | `lock` | flocked by the process that owns the folder, with its pid in it |
//!
//! `incoming-….tmp` is being written by `trackport spool import`. Other names are left alone.
//!
//! # The format, version 1
//!
//! All numbers are little-endian. A segment is a header, frames, and, when it was finished, a seal:
//!
//! ```text
//! header   "TPSPOOL\n" | version u32 | number u64 | crc32 u32 of the 20 bytes before
//! frame    marker F5 54 50 A7 | crc32 u32 of all that follows | place u32 | length u32 | kind u8 | payload
//!          place: where the frame begins in its file (lower 32 bits); length: of the payload
//! kind 1   a packet:  imei u64 | received_at_us i64 | port u16 | records u8 | flags u8 | peer | frame
//! kind 2   a broken packet, acked for good:  the same, with  code | reason  before the frame
//!          flags: 1 may have been sent before, 2 let in as new; peer: 4 and 4 bytes, or 6 and 16 bytes
//!          code: length u8 and UTF-8; reason: length u16 and UTF-8; frame: from preamble to CRC, as received
//! kind 255 the seal: version u32 | entries u64 | records u64 | earliest and latest received_at_us i64, i64
//! ```
//!
//! crc32 is that of zip (ISO-HDLC). The place makes the search for the next good frame after damage cheap, and keeps a frame
//! that a device sends inside a packet from being taken for one of ours. The seal lets a start learn what is in a
//! segment by one read at its end. Later versions keep header and seal where they are, with the version first: a segment of a
//! later version is left alone and told.

mod append;
mod disk;
mod entry;
mod format;
mod incoming;
mod index;
mod open;
mod read;

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use append::Appender;
pub use disk::{Disk, DiskFile, Folder, Listed, Locking, Space};
pub use entry::{ContentRef, Entry, EntryContent, EntryRef};
pub use format::{Header, Scan, Tally, scan};
pub use incoming::{Adopted, write_incoming};
pub use index::Depth;
pub use open::{Found, FoundKind, Look, Opened, examine, find, look};
pub use read::{Chunk, Released};

use crate::clock::{self, Millis};
use crate::conf::KeepFree;
use index::Index;

/// Bytes of a segment from which on the next one is begun, unless said otherwise.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// Bytes of one group at most; a segment begins no group beyond so many either.
pub const GROUP_BYTES_MAX: usize = 512 << 20;

/// Bytes of a segment without seal at most: all of them are read at a start.
const UNSEALED_BYTES_MAX: u64 = 2 * GROUP_BYTES_MAX as u64 + (1 << 20);

/// How old the answer about free disk may be.
const SPACE_AGE_MAX: Millis = 1000;

/// How much the spool may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of all files of the spool at most, what is set aside included.
    pub max_size: u64,
    /// What stays free on its file system.
    pub keep_free: KeepFree,
    /// Bytes of a segment from which on the next one is begun.
    pub segment_size: u64,
}

/// A place in the spool. Whatever lies before it was appended earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    segment: u64,
    offset: u64,
}

#[cfg(test)]
impl Position {
    pub(crate) fn new(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", segment_name(self.segment), self.offset)
    }
}

/// Why the spool did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk refused.
    #[error("cannot {doing} {file} in the spool {place}: {source}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// In which folder.
        place: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Another process owns the folder.
    #[error(
        "the spool {place} is in use by {}: one process can have it; stop the other one, or set another [spool] directory",
        holder(*.pid)
    )]
    InUse {
        /// Which folder.
        place: String,
        /// Which process, where it could be read.
        pid: Option<u32>,
    },
    /// The group would go beyond the bounds. Nothing of it was written.
    #[error(
        "the spool is full: {needed} bytes are to be added and there is room for {room}; \
         raise [spool] max_size, or make room on its disk"
    )]
    Full {
        /// Bytes of the group.
        needed: u64,
        /// Bytes that may be added.
        room: u64,
    },
    /// Another appender has taken this one's place.
    #[error("another thread writes the spool by now")]
    Superseded,
    /// More than one group may have. Nothing of it was written.
    #[error("{bytes} bytes are too many for one write of the spool")]
    TooLarge {
        /// Bytes of the group so far.
        bytes: usize,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// Something that could not be read, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub kind: DamageKind,
    /// The file that keeps the bytes, or will when the rest is drained.
    pub kept_as: String,
}

/// How a file can be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A crash interrupted the last write. What was cut off was never acked.
    TornTail {
        /// Bytes cut off.
        bytes: u64,
    },
    /// Bytes between whole entries are damaged; they may have been acked.
    Hole {
        /// Where they begin in the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// The header is damaged; what follows it is read.
    Header,
    /// Nothing in the file can be read: it is empty, zeros, or something else.
    Nothing {
        /// Its bytes.
        bytes: u64,
    },
    /// A later trackport wrote it.
    Newer {
        /// Its format.
        version: u32,
    },
    /// Somebody took the file away.
    Missing,
    /// The disk cannot read it.
    Unreadable {
        /// What the disk said.
        reason: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            file,
            kind,
            kept_as,
        } = self;
        match kind {
            DamageKind::TornTail { bytes } => write!(
                f,
                "{file}: a write was interrupted; its {bytes} bytes at the end were not acknowledged and are kept in {kept_as}"
            ),
            DamageKind::Hole { offset, bytes } => write!(
                f,
                "{file}: {bytes} bytes from {offset} on are damaged, whatever was in them is missing; \
                 everything else is read, and the file is kept as {kept_as}"
            ),
            DamageKind::Header => write!(
                f,
                "{file}: the first bytes are damaged; all that follows is read, and the file is kept as {kept_as}"
            ),
            DamageKind::Nothing { bytes } => write!(
                f,
                "{file}: nothing in its {bytes} bytes can be read; it is kept as {kept_as}"
            ),
            DamageKind::Newer { version } => write!(
                f,
                "{file}: a later trackport wrote it (format {version}, this one knows {}); it is left alone: \
                 run that trackport to have it stored",
                format::VERSION
            ),
            DamageKind::Missing => write!(
                f,
                "{file}: somebody took the file away; what was left in it is missing"
            ),
            DamageKind::Unreadable { reason } => write!(
                f,
                "{file}: the disk cannot read it ({reason}); it is left alone and tried again at the next start"
            ),
        }
    }
}

/// Deliveries on disk, shared by who appends and who drains.
pub struct Spool {
    disk: Arc<dyn Disk>,
    settings: Settings,
    index: Mutex<Index>,
    /// What the disk said last about its free space, and when.
    space: Mutex<Option<(Millis, u64)>>,
    /// The segment that was read last, open.
    reading: Mutex<Option<(u64, Arc<dyn DiskFile>)>>,
    /// The segment of which the disk gave nothing the last time, and how often in a row.
    refused: Mutex<(u64, u32)>,
    _lock: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("disk", &self.disk)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}

impl Spool {
    /// What writes from now on. The appender before it is superseded: its next append, and one under way, fail.
    pub fn appender(self: &Arc<Self>) -> Appender {
        let generation = self.index().supersede();
        Appender::new(Arc::clone(self), generation)
    }

    /// Bytes that may still be appended, by `max_size` and by what is to stay free on the disk.
    ///
    /// # Errors
    /// When the disk does not say what is free.
    pub fn room(&self) -> Result<u64, SpoolError> {
        let by_size = self.settings.max_size.saturating_sub(self.index().bytes());
        let now = clock::now();
        let known = *self.space.lock().unwrap_or_else(PoisonError::into_inner);
        let by_disk = match known {
            Some((at, room)) if now.saturating_sub(at) < SPACE_AGE_MAX => room,
            _ => {
                let space = self
                    .disk
                    .space()
                    .map_err(|source| self.error("ask for the free space of", ".", source))?;
                let room = space
                    .free
                    .saturating_sub(self.settings.keep_free.bytes(space.total));
                *self.space.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, room));
                room
            }
        };
        Ok(by_size.min(by_disk))
    }

    /// Takes `bytes` off what the disk was said to have, until it is asked again.
    fn used(&self, bytes: u64) {
        if let Some((_, room)) = &mut *self.space.lock().unwrap_or_else(PoisonError::into_inner) {
            *room = room.saturating_sub(bytes);
        }
    }

    /// How much lies in the spool.
    pub fn depth(&self) -> Depth {
        self.index().depth()
    }

    /// The folder, as people find it.
    pub fn place(&self) -> String {
        self.disk.place()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, doing: &'static str, file: &str, source: io::Error) -> SpoolError {
        disk_error(&*self.disk, doing, file, source)
    }
}

fn disk_error(disk: &dyn Disk, doing: &'static str, file: &str, source: io::Error) -> SpoolError {
    SpoolError::Disk {
        doing,
        file: file.to_owned(),
        place: disk.place(),
        source,
    }
}

/// The file name of a segment.
fn segment_name(number: u64) -> String {
    format!("{number:016}.seg")
}

#[cfg(test)]
mod tests;
