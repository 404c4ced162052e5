//! Reading the spool oldest first, and letting go of what is safe elsewhere.
//!
//! Invariants: only bytes that were synced are read; what cannot be read is passed over and told once, and its file
//! is kept. Memory: what was asked for, and one piece of a segment, as large as one entry needs.

use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use super::disk::DiskFile;
use super::format::{Cut, Cutter, HEADER_BYTES};
use super::index::{Segment, State};
use super::open::bad_name;
use super::{Damage, DamageKind, Entry, Position, Spool, SpoolError, segment_name};

/// Bytes read at once, unless one entry needs more. A few entries shall not cost much more than they are.
const PIECE_BYTES: u64 = 64 << 10;
/// Bytes that a disk fails to read together: a page.
const PAGE_BYTES: usize = 4096;
/// How often a segment is tried of which the disk gives nothing, while others wait behind it.
const TRIES: u32 = 3;

/// What was read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Entries in the order in which they were appended. Empty: there is nothing more now.
    pub entries: Vec<Entry>,
    /// Where to read on; and what to release up to, once all of this is safe elsewhere.
    pub next: Position,
    /// What could not be read, told once.
    pub damaged: Vec<Damage>,
}

/// What was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Segments taken away.
    pub segments: u64,
    /// Segments kept, because something in them could not be read.
    pub set_aside: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// Why a chunk was not filled on.
enum Stop {
    /// It is full, or nothing more belongs to it.
    Done,
    /// The next entry needs a piece of so many bytes.
    Short(usize),
    /// The piece ends.
    End,
}

/// What a chunk may still take.
struct Room {
    records: usize,
    bytes: usize,
}

/// Where reading goes on, and how far the segment reaches.
struct Place {
    at: Position,
    end: u64,
}

impl Spool {
    /// Reads entries from `from` on, or from the oldest: until there are `max_records` records or `max_bytes` bytes of
    /// packets, but one entry at least. A chunk ends with its segment.
    ///
    /// # Errors
    /// What the disk says, when it gives nothing of a segment. The same place may be read again; a segment that gives nothing
    /// again and again is left behind, for this process, when one behind it can be read.
    pub fn read(
        &self,
        from: Option<Position>,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Chunk, SpoolError> {
        let mut chunk = Chunk {
            entries: Vec::new(),
            next: from.unwrap_or(Position {
                segment: 0,
                offset: HEADER_BYTES as u64,
            }),
            damaged: Vec::new(),
        };
        let mut room = Room {
            records: max_records,
            bytes: max_bytes,
        };
        let mut piece_bytes = PIECE_BYTES;
        loop {
            let begun = chunk.next;
            match self.add_piece(&mut chunk, &mut room, piece_bytes) {
                Ok(Stop::Short(n_bytes)) if chunk.next == begun => {
                    piece_bytes = piece_bytes.saturating_mul(2).max(n_bytes as u64);
                }
                Ok(Stop::Short(_) | Stop::End) => {}
                Ok(Stop::Done) => return Ok(chunk),
                // It comes again when the chunk begins here.
                Err(_) if !chunk.entries.is_empty() => return Ok(chunk),
                Err(error) => self.refused(chunk.next.segment, error, &mut chunk)?,
            }
        }
    }

    /// Adds what a piece of `piece_bytes` holds.
    fn add_piece(
        &self,
        chunk: &mut Chunk,
        room: &mut Room,
        piece_bytes: u64,
    ) -> Result<Stop, SpoolError> {
        let Some(Place { at, end }) = self.place_from(&mut chunk.next) else {
            return Ok(Stop::Done);
        };
        let n_wanted = piece_bytes.min(end - at.offset);
        let Some(piece) = self.piece(at, n_wanted, &mut chunk.damaged)? else {
            return Ok(Stop::End);
        };
        // The file has become shorter than it was.
        let is_cut_off = (piece.len() as u64) < n_wanted;
        let is_last = is_cut_off || at.offset + n_wanted == end;
        let mut cutter = Cutter::new(&piece, at.offset, is_last);
        let stop = fill(&mut cutter, chunk, room, |range| {
            self.hole(at.segment, range)
        });
        match stop {
            Stop::End if is_last && !chunk.entries.is_empty() => return Ok(Stop::Done),
            Stop::End if is_cut_off => {
                chunk
                    .damaged
                    .extend(self.hole(at.segment, cutter.offset()..end));
                chunk.next.offset = end;
            }
            _ => {}
        }
        Ok(stop)
    }

    /// Where there is something to read from `next` on; moves `next` there, or as far as it may go.
    fn place_from(&self, next: &mut Position) -> Option<Place> {
        let index = self.index();
        loop {
            let (number, segment) = index.first_from(next.segment)?;
            if number > next.segment {
                *next = Position {
                    segment: number,
                    offset: HEADER_BYTES as u64,
                };
            }
            if next.offset < segment.end {
                return Some(Place {
                    at: *next,
                    end: segment.end,
                });
            }
            // While something can still be added here, what comes after it has to wait.
            if segment.state != State::Closed {
                return None;
            }
            index.first_from(number + 1)?;
            next.segment = number + 1;
            next.offset = HEADER_BYTES as u64;
        }
    }

    /// Bytes of a segment. `None`: somebody took the file away.
    fn piece(
        &self,
        at: Position,
        n_bytes: u64,
        damaged: &mut Vec<Damage>,
    ) -> Result<Option<Vec<u8>>, SpoolError> {
        let Some(file) = self.file(at.segment, damaged)? else {
            return Ok(None);
        };
        let piece = read_around(&*file, at.offset, n_bytes)
            .map_err(|source| self.error("read", &segment_name(at.segment), source))?;
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = (0, 0);
        Ok(Some(piece))
    }

    /// The disk gave nothing of a segment. Leaves it behind when that was not the first time and the disk gives others: what waits
    /// behind it is not to wait for a person. Its file stays as it is for the next start.
    fn refused(&self, number: u64, error: SpoolError, chunk: &mut Chunk) -> Result<(), SpoolError> {
        let n_tries = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let (of, n) = *refused;
            *refused = (number, if of == number { n + 1 } else { 1 });
            refused.1
        };
        let behind = self.index().behind(number);
        if n_tries < TRIES || !behind.into_iter().any(|number| self.is_readable(number)) {
            return Err(error);
        }
        let Some(segment) = self.index().remove(number) else {
            return Ok(());
        };
        self.index().set_aside(segment.bytes);
        let name = segment_name(number);
        let reason = match error {
            SpoolError::Disk { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        chunk.damaged.push(Damage {
            file: name.clone(),
            kind: DamageKind::Unreadable { reason },
            kept_as: name,
        });
        Ok(())
    }

    /// Whether the disk gives the first bytes of a segment.
    fn is_readable(&self, number: u64) -> bool {
        let file = self.disk.open(&segment_name(number));
        file.is_ok_and(|file| matches!(file.read_at(&mut [0; HEADER_BYTES], 0), Ok(HEADER_BYTES)))
    }

    /// The open file of a segment. `None`: somebody took it away.
    fn file(
        &self,
        number: u64,
        damaged: &mut Vec<Damage>,
    ) -> Result<Option<Arc<dyn DiskFile>>, SpoolError> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((open, file)) = &*reading
            && *open == number
        {
            return Ok(Some(Arc::clone(file)));
        }
        let name = segment_name(number);
        match self.disk.open(&name) {
            Ok(file) => {
                let file: Arc<dyn DiskFile> = Arc::from(file);
                *reading = Some((number, Arc::clone(&file)));
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Unless it was let go in this moment.
                if self.index().remove(number).is_some() {
                    damaged.push(Damage {
                        kept_as: name.clone(),
                        file: name,
                        kind: DamageKind::Missing,
                    });
                }
                Ok(None)
            }
            Err(source) => Err(self.error("open", &name, source)),
        }
    }

    /// Remembers a hole in a segment, and says so the first time.
    fn hole(&self, number: u64, range: Range<u64>) -> Option<Damage> {
        let name = segment_name(number);
        let is_news = self.index().damaged(number, range.start);
        is_news.then(|| Damage {
            kept_as: format!("{name}.bad"),
            file: name,
            kind: DamageKind::Hole {
                offset: range.start,
                bytes: range.end - range.start,
            },
        })
    }

    /// Lets go of everything before `up_to`, which is safe elsewhere: segments of which nothing is left are taken away, a
    /// damaged one is set aside. The segment that grows goes too, when all of it is drained and nothing is being added.
    ///
    /// A crash may bring back what was let go; that it comes twice is harmless.
    ///
    /// # Errors
    /// What the disk says. The segment stays and is let go the next time.
    pub fn release(&self, up_to: Position) -> Result<Released, SpoolError> {
        let mut released = Released::default();
        loop {
            let drained = self.index().take_drained(up_to);
            let Some((number, segment)) = drained else {
                return Ok(released);
            };
            {
                let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
                reading.take_if(|(open, _)| *open == number);
            }
            let gone = if segment.damaged_at.is_empty() {
                let name = segment_name(number);
                gone_is_fine(self.disk.remove(&name))
                    .map_err(|source| self.error("take away", &name, source))
            } else {
                self.keep_bad(number, &segment)
            };
            if let Err(error) = gone {
                self.index().put(number, segment);
                return Err(error);
            }
            if segment.damaged_at.is_empty() {
                released.segments += 1;
            } else {
                released.set_aside += 1;
            }
            released.bytes += segment.bytes;
        }
    }

    fn keep_bad(&self, number: u64, segment: &Segment) -> Result<(), SpoolError> {
        let name = segment_name(number);
        let told = |source| self.error("set aside", &name, source);
        let listed = self.disk.list().map_err(told)?;
        let bad = bad_name(&name, |bad| listed.iter().any(|file| file.name == bad));
        gone_is_fine(self.disk.rename(&name, &bad)).map_err(told)?;
        self.index().set_aside(segment.bytes);
        Ok(())
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Takes entries from the cutter until the chunk is full or the piece ends, and moves the chunk's end there.
fn fill(
    cutter: &mut Cutter<'_>,
    chunk: &mut Chunk,
    room: &mut Room,
    mut hole: impl FnMut(Range<u64>) -> Option<Damage>,
) -> Stop {
    loop {
        chunk.next.offset = cutter.offset();
        match cutter.next() {
            Cut::Entry(entry) => {
                let (n_records, n_bytes) = (usize::from(entry.n_records), entry.frame.len());
                let is_full = n_records > room.records || n_bytes > room.bytes;
                if is_full && !chunk.entries.is_empty() {
                    return Stop::Done;
                }
                room.records = room.records.saturating_sub(n_records);
                room.bytes = room.bytes.saturating_sub(n_bytes);
                chunk.entries.push(entry.to_entry());
            }
            Cut::Damage(range) => chunk.damaged.extend(hole(range)),
            Cut::Seal(_) => {}
            Cut::Short(n_bytes) => return Stop::Short(n_bytes),
            Cut::End => return Stop::End,
        }
    }
}

/// Reads a piece of a file; where the disk fails, page by page, with zeros in place of pages that it does not give.
///
/// Zeros are no frame: so what lies around a bad page is still found.
fn read_around(file: &dyn DiskFile, offset: u64, n_bytes: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(n_bytes).map_err(io::Error::other)?];
    let whole = file.read_at(&mut piece, offset);
    let error = match whole {
        Ok(n) => {
            piece.truncate(n);
            return Ok(piece);
        }
        Err(error) => error,
    };
    // A disk that gives neither the first byte nor one in the middle nor the last is away as a whole; no page is given up for that.
    let spots = [
        0,
        offset + n_bytes / 2,
        (offset + n_bytes).saturating_sub(1),
    ];
    if spots.iter().all(|at| file.read_at(&mut [0], *at).is_err()) {
        return Err(error);
    }
    let mut at = offset;
    let mut rest = piece.as_mut_slice();
    while !rest.is_empty() {
        let to_boundary = PAGE_BYTES - usize::try_from(at % PAGE_BYTES as u64).unwrap_or(0);
        let (page, after) = rest.split_at_mut(to_boundary.min(rest.len()));
        if file.read_at(page, at).is_err() {
            page.fill(0);
        }
        at += page.len() as u64;
        rest = after;
    }
    Ok(piece)
}
