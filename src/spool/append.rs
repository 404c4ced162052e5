//! Adding groups of entries: one buffer, one write, one sync.
//!
//! Invariant: Ok means that the group is safe. After an error the file is closed without another word to it, because what
//! a failed write or sync left on the disk is unknown, and a second sync would answer Ok for pages that are lost.

use std::io;
use std::sync::Arc;

use super::disk::DiskFile;
use super::format::{self, Tally};
use super::index::Target;
use super::{EntryRef, GROUP_BYTES_MAX, Spool, SpoolError, segment_name};

/// Bytes of the buffer that are kept between groups at most.
const BUFFER_BYTES_MAX: usize = 16 << 20;

/// Writes to a spool. Belongs to one life of one thread; begins a segment of its own.
pub struct Appender {
    spool: Arc<Spool>,
    generation: u64,
    current: Option<Current>,
    buffer: Vec<u8>,
}

/// The segment that grows.
struct Current {
    number: u64,
    file: Box<dyn DiskFile>,
    end: u64,
    tally: Tally,
}

impl Appender {
    pub(super) fn new(spool: Arc<Spool>, generation: u64) -> Appender {
        Appender {
            spool,
            generation,
            current: None,
            buffer: Vec::new(),
        }
    }

    /// Makes a group of entries safe on disk: all of them, or none counts.
    ///
    /// Blocks for one write and one or two syncs. A group lies in one segment, however large it is.
    ///
    /// # Errors
    /// `Full` when the bounds do not allow it, and what the disk says. The next append begins a new segment after an
    /// error of the disk. `Superseded` for ever, once another appender was asked for.
    pub fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = EntryRef<'a>>,
    ) -> Result<(), SpoolError> {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_none() {
            return Ok(());
        }
        let current = self.current.as_ref().map(|current| current.number);
        let size = self.spool.settings.segment_size.min(GROUP_BYTES_MAX as u64);
        let target = self
            .spool
            .index()
            .begin(self.generation, current, size)
            .inspect_err(|_| self.current = None)?;
        if target.is_new {
            self.seal();
        }
        let tally = match self.prepare(target, entries) {
            Ok(tally) => tally,
            Err(error) => {
                self.spool.index().take_back(self.generation, target);
                return Err(error);
            }
        };
        let written = self.write(target);
        let published = written.and_then(|()| {
            let n_bytes = self.buffer.len() as u64;
            self.spool
                .index()
                .publish(self.generation, target.number, n_bytes, &tally)
        });
        match published {
            Ok(()) => {
                if let Some(current) = &mut self.current {
                    current.end += self.buffer.len() as u64;
                    current.tally.add(&tally);
                }
                self.spool.used(self.buffer.len() as u64);
                if self.buffer.capacity() > BUFFER_BYTES_MAX {
                    self.buffer = Vec::new();
                }
                Ok(())
            }
            Err(error) => {
                self.give_up(target);
                Err(error)
            }
        }
    }

    /// Encodes the group as it will lie in the file, and sees whether it may.
    fn prepare<'a>(
        &mut self,
        target: Target,
        entries: impl Iterator<Item = EntryRef<'a>>,
    ) -> Result<Tally, SpoolError> {
        self.buffer.clear();
        let begin = self.current.as_ref().map_or(0, |current| current.end);
        if target.is_new {
            self.buffer
                .extend_from_slice(&format::header(target.number));
        }
        let mut tally = Tally::default();
        for entry in entries {
            let offset = begin + self.buffer.len() as u64;
            format::write_entry(&mut self.buffer, offset, &entry)?;
            tally.count(&entry);
            if self.buffer.len() > GROUP_BYTES_MAX {
                let bytes = self.buffer.len();
                return Err(SpoolError::TooLarge { bytes });
            }
        }
        let needed = self.buffer.len() as u64;
        let room = self.spool.room()?;
        if needed > room {
            return Err(SpoolError::Full { needed, room });
        }
        Ok(tally)
    }

    /// Writes and syncs the buffer, and the name of a new file.
    fn write(&mut self, target: Target) -> Result<(), SpoolError> {
        let name = segment_name(target.number);
        let spool = &self.spool;
        let told = |doing| {
            let name = &name;
            move |source: io::Error| spool.error(doing, name, source)
        };
        if target.is_new {
            let file = spool.disk.create_new(&name).map_err(told("make"))?;
            self.current = Some(Current {
                number: target.number,
                file,
                end: 0,
                tally: Tally::default(),
            });
        }
        let Some(current) = &self.current else {
            return Err(SpoolError::Superseded);
        };
        let file = &current.file;
        file.append(&self.buffer).map_err(told("write"))?;
        file.sync_data().map_err(told("sync"))?;
        if target.is_new {
            spool.disk.sync_dir().map_err(told("sync the name of"))?;
        }
        Ok(())
    }

    /// Closes the file after an error. One in which nothing is safe is taken away, so that a full disk does not collect them.
    fn give_up(&mut self, target: Target) {
        let file = self.current.take().map(|current| current.file);
        let mut left = file.and_then(|file| file.size().ok()).unwrap_or(0);
        if target.is_new && self.spool.disk.remove(&segment_name(target.number)).is_ok() {
            left = 0;
        }
        self.spool.index().give_up(self.generation, target, left);
    }

    /// Finishes the segment, so that the next start knows what is in it by one read.
    fn seal(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        let mut bytes = Vec::with_capacity(format::SEAL_BYTES);
        let done = format::write_seal(&mut bytes, current.end, &current.tally).is_ok()
            && current.file.append(&bytes).is_ok()
            && current.file.sync_data().is_ok();
        // Without its seal the segment is read through at the next start; all that was said to be safe is.
        if done {
            self.spool.index().sealed(current.number);
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.seal();
    }
}
