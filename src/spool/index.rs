//! Which segments there are and what each may be used for. Counts only; touches no file.
//!
//! Invariant: a segment is in here before its file can be written, so numbers are read in the order in which they were given, and
//! none appears behind the reader. At most one segment can be added to.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{HEADER_BYTES, SEAL_BYTES, Tally};
use super::{Position, SpoolError};

/// What may happen to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It only waits to be drained.
    Closed,
    /// The appender may add to it.
    Open,
    /// The appender adds to it right now.
    Appending,
    /// Its file is being taken in.
    Arriving,
}

/// One segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Where its good bytes end.
    pub(super) end: u64,
    /// Bytes of its file.
    pub(super) bytes: u64,
    pub(super) tally: Tally,
    pub(super) state: State,
    /// Where it is damaged, as far as was told. Such a file is kept after draining.
    pub(super) damaged_at: Vec<u64>,
}

impl Segment {
    pub(super) fn empty(state: State) -> Segment {
        Segment {
            end: HEADER_BYTES as u64,
            bytes: 0,
            tally: Tally::default(),
            state,
            damaged_at: Vec::new(),
        }
    }
}

/// How much lies in the spool. A segment counts until all of it is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries in them.
    pub entries: u64,
    /// Records in them.
    pub records: u64,
    /// When the oldest entry arrived.
    pub oldest_received_at_us: Option<i64>,
    /// Files that were set aside or left alone: a person may look at them.
    pub set_aside_files: u64,
    /// Their bytes.
    pub set_aside_bytes: u64,
}

/// Where a group is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) number: u64,
    pub(super) is_new: bool,
}

/// All segments of a spool.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: BTreeMap<u64, Segment>,
    last_number: u64,
    generation: u64,
    /// Segments up to this number are not added to once more.
    closed_up_to: u64,
    set_aside_files: u64,
    set_aside_bytes: u64,
    /// Files that arrived and are left where they are; told once.
    left_alone: BTreeSet<String>,
}

impl Index {
    /// Whether the file was told to be left alone before; from now on it was.
    pub(super) fn is_told(&mut self, name: &str) -> bool {
        !self.left_alone.insert(name.to_owned())
    }

    /// Makes all appenders before it strangers, and says the number of the new one.
    pub(super) fn supersede(&mut self) -> u64 {
        self.generation += 1;
        for segment in self.segments.values_mut() {
            if segment.state != State::Arriving {
                segment.state = State::Closed;
            }
        }
        self.generation
    }

    /// Begins a group: in the segment `current` where it may still grow, else in a new one.
    pub(super) fn begin(
        &mut self,
        generation: u64,
        current: Option<u64>,
        segment_size: u64,
    ) -> Result<Target, SpoolError> {
        if generation != self.generation {
            return Err(SpoolError::Superseded);
        }
        if let Some((number, segment)) =
            current.and_then(|number| Some((number, self.segments.get_mut(&number)?)))
        {
            if segment.state == State::Open && segment.bytes < segment_size {
                segment.state = State::Appending;
                return Ok(Target {
                    number,
                    is_new: false,
                });
            }
            segment.state = State::Closed;
        }
        let number = self.insert_next(Segment::empty(State::Appending));
        Ok(Target {
            number,
            is_new: true,
        })
    }

    /// The group is safe: `n_bytes` more in segment `number`.
    pub(super) fn publish(
        &mut self,
        generation: u64,
        number: u64,
        n_bytes: u64,
        tally: &Tally,
    ) -> Result<(), SpoolError> {
        let closed = number <= self.closed_up_to;
        match self.segments.get_mut(&number) {
            Some(segment) if generation == self.generation => {
                segment.bytes += n_bytes;
                segment.end = segment.bytes;
                segment.tally.add(tally);
                segment.state = if closed { State::Closed } else { State::Open };
                Ok(())
            }
            _ => Err(SpoolError::Superseded),
        }
    }

    /// Nothing of the group was written.
    pub(super) fn take_back(&mut self, generation: u64, target: Target) {
        if generation != self.generation {
            return;
        }
        if target.is_new {
            self.segments.remove(&target.number);
        } else if let Some(segment) = self.segments.get_mut(&target.number) {
            segment.state = State::Open;
        }
    }

    /// The group failed, nobody knows how much of it is on disk: the file, now of `bytes`, is not added to again.
    pub(super) fn give_up(&mut self, generation: u64, target: Target, bytes: u64) {
        if generation != self.generation {
            return;
        }
        if target.is_new && bytes == 0 {
            self.segments.remove(&target.number);
        } else if let Some(segment) = self.segments.get_mut(&target.number) {
            segment.bytes = segment.bytes.max(bytes);
            segment.state = State::Closed;
        }
    }

    /// The segment got its seal.
    pub(super) fn sealed(&mut self, number: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.bytes += SEAL_BYTES as u64;
            segment.state = State::Closed;
        }
    }

    /// A number for a file that arrives. What could grow before it is closed, so that the reader gets past.
    pub(super) fn arrive(&mut self) -> u64 {
        for segment in self.segments.values_mut() {
            if segment.state == State::Open {
                segment.state = State::Closed;
            }
        }
        self.closed_up_to = self.last_number;
        self.insert_next(Segment::empty(State::Arriving))
    }

    fn insert_next(&mut self, segment: Segment) -> u64 {
        self.last_number += 1;
        self.segments.insert(self.last_number, segment);
        self.last_number
    }

    /// Numbers up to this one are taken.
    pub(super) fn skip_to(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    pub(super) fn put(&mut self, number: u64, segment: Segment) {
        self.skip_to(number);
        self.segments.insert(number, segment);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Segment> {
        self.segments.remove(&number)
    }

    /// The first segment that is not before `number`.
    pub(super) fn first_from(&self, number: u64) -> Option<(u64, &Segment)> {
        let (number, segment) = self.segments.range(number..).next()?;
        Some((*number, segment))
    }

    /// The segments behind this one, if nothing can be added to it any more.
    pub(super) fn behind(&self, number: u64) -> Vec<u64> {
        match self.segments.get(&number) {
            Some(segment) if segment.state == State::Closed => {
                self.segments.range(number + 1..).map(|(n, _)| *n).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Remembers that the segment is damaged there; whether that is news.
    pub(super) fn damaged(&mut self, number: u64, offset: u64) -> bool {
        let Some(segment) = self.segments.get_mut(&number) else {
            return false;
        };
        let is_news = !segment.damaged_at.contains(&offset);
        if is_news {
            segment.damaged_at.push(offset);
        }
        is_news
    }

    /// Takes out the oldest segment, when all of it lies before `up_to` and nothing is added to it. What grows is closed.
    pub(super) fn take_drained(&mut self, up_to: Position) -> Option<(u64, Segment)> {
        let oldest = self.segments.first_entry()?;
        let number = *oldest.key();
        let segment = oldest.get();
        let is_before =
            number < up_to.segment || (number == up_to.segment && segment.end <= up_to.offset);
        if !is_before || !matches!(segment.state, State::Open | State::Closed) {
            return None;
        }
        let mut segment = oldest.remove();
        segment.state = State::Closed;
        Some((number, segment))
    }

    /// Counts a file that waits for a person.
    pub(super) fn set_aside(&mut self, bytes: u64) {
        self.set_aside_files += 1;
        self.set_aside_bytes += bytes;
    }

    /// Bytes of all files, with the seal that the one that grows will get.
    pub(super) fn bytes(&self) -> u64 {
        let with_seal = |segment: &Segment| match segment.state {
            State::Open | State::Appending => segment.bytes + SEAL_BYTES as u64,
            State::Closed | State::Arriving => segment.bytes,
        };
        let segments: u64 = self.segments.values().map(with_seal).sum();
        segments + self.set_aside_bytes
    }

    pub(super) fn depth(&self) -> Depth {
        let mut all = Tally::default();
        let mut bytes = 0;
        for segment in self.segments.values() {
            all.add(&segment.tally);
            bytes += segment.bytes;
        }
        Depth {
            segments: self.segments.len() as u64,
            bytes,
            entries: all.entries,
            records: all.records,
            oldest_received_at_us: all.received_us.map(|(first, _)| first),
            set_aside_files: self.set_aside_files,
            set_aside_bytes: self.set_aside_bytes,
        }
    }
}
