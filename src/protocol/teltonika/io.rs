//! The IO section of a record: the total count, then groups of equal width, ids before values.
//!
//! Knows widths, not meanings: sign, scale and unit come from the dictionary of the device's model.
//! Invariant: an [`Io`] that came out of a checked packet holds whole groups; one made from other
//! bytes ends early where they do, without error.

use super::super::reader::{Reader, Short};
use super::codec::Codec;

/// The IO section of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io<'a> {
    /// How the bytes are laid out.
    pub codec: Codec,
    /// From the total count of elements to the end of the last group; event id and generation
    /// type are fields of the record.
    pub bytes: &'a [u8],
}

/// One IO element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoElement<'a> {
    /// The AVL id; what it means depends on the device's model.
    pub id: u16,
    /// Its value, not interpreted.
    pub value: IoValue<'a>,
}

/// The value of an IO element as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoValue<'a> {
    /// A number of 1, 2, 4 or 8 bytes.
    Fixed {
        /// Bytes on the wire.
        width: u8,
        /// The bytes as an unsigned big-endian number.
        raw: u64,
    },
    /// A value of any length (8 Extended only), possibly empty.
    Bytes(&'a [u8]),
}

/// Why an IO section cannot be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IoFault {
    Short(Short),
    Count { announced: u32, found: u32 },
}

impl From<Short> for IoFault {
    fn from(short: Short) -> IoFault {
        IoFault::Short(short)
    }
}

/// The group counts of the record walked last.
///
/// Records of one packet mostly have the same ones. To read a count, add up and read the next
/// count behind it is a chain of waits; to compare all counts with those expected is not, and
/// takes a third less time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Bytes of the whole section; 0 if nothing is expected.
    bytes: usize,
    /// Offset in the section and value of the total count, the group counts and, in 8 Extended,
    /// the count of the variable group, which is 0.
    counts: [(usize, u16); 6],
}

impl Shape {
    /// Whether `section` has the expected counts, all of them.
    #[inline]
    fn fits<const COUNT: usize, const VARIABLE: bool>(&self, section: &[u8]) -> bool {
        let n_counts = if VARIABLE { 6 } else { 5 };
        self.counts.iter().take(n_counts).all(|(offset, expected)| {
            let found = section
                .get(*offset..)
                .and_then(<[u8]>::first_chunk::<COUNT>);
            found.is_some_and(|found| {
                let found = found
                    .iter()
                    .fold(0, |found: u16, byte| (found << 8) | u16::from(*byte));
                found == *expected
            })
        })
    }
}

/// Moves `reader` over one IO section and checks that the group counts add up; `shape` is that of
/// the record before and becomes that of this one.
#[inline]
pub(super) fn skip(
    reader: &mut Reader<'_>,
    codec: Codec,
    shape: &mut Shape,
) -> Result<(), IoFault> {
    match codec {
        Codec::Codec8 => skip_as::<1, 1, false>(reader, shape),
        Codec::Codec8Extended => skip_as::<2, 2, true>(reader, shape),
        Codec::Codec16 => skip_as::<2, 1, false>(reader, shape),
    }
}

#[inline]
fn skip_as<const ID: usize, const COUNT: usize, const VARIABLE: bool>(
    reader: &mut Reader<'_>,
    shape: &mut Shape,
) -> Result<(), IoFault> {
    let expected = reader.rest().get(..shape.bytes).unwrap_or_default();
    if !expected.is_empty() && shape.fits::<COUNT, VARIABLE>(expected) {
        reader.take(shape.bytes)?;
        return Ok(());
    }
    walk::<ID, COUNT, VARIABLE>(reader, shape)
}

fn walk<const ID: usize, const COUNT: usize, const VARIABLE: bool>(
    reader: &mut Reader<'_>,
    shape: &mut Shape,
) -> Result<(), IoFault> {
    let start = reader.position();
    let mut counts = [(0, 0); 6];
    let [total_count, n1, n2, n4, n8, n_variable] = &mut counts;
    let announced = count::<COUNT>(reader)?;
    *total_count = (0, announced);
    let announced = u32::from(announced);
    let mut found: u32 = 0;
    for (place, width) in [(n1, 1), (n2, 2), (n4, 4), (n8, 8)] {
        let offset = reader.position().saturating_sub(start);
        let n = count::<COUNT>(reader)?;
        *place = (offset, n);
        found = found.saturating_add(u32::from(n));
        let size = ID.saturating_add(width);
        reader.take(usize::from(n).saturating_mul(size))?;
    }
    let mut same_size_expected = true;
    if VARIABLE {
        let offset = reader.position().saturating_sub(start);
        let n = count::<COUNT>(reader)?;
        *n_variable = (offset, n);
        same_size_expected = n == 0;
        found = found.saturating_add(u32::from(n));
        for _ in 0..n {
            variable(reader)?;
        }
    }
    if announced != found {
        return Err(IoFault::Count { announced, found });
    }
    let bytes = if same_size_expected {
        reader.position().saturating_sub(start)
    } else {
        0
    };
    *shape = Shape { bytes, counts };
    Ok(())
}

#[inline]
fn count<const COUNT: usize>(reader: &mut Reader<'_>) -> Result<u16, Short> {
    if COUNT == 1 {
        reader.u8().map(u16::from)
    } else {
        reader.u16()
    }
}

#[inline]
fn variable<'a>(reader: &mut Reader<'a>) -> Result<IoElement<'a>, Short> {
    let id = reader.u16()?;
    let length = reader.u16()?;
    let value = IoValue::Bytes(reader.take(usize::from(length))?);
    Ok(IoElement { id, value })
}

impl<'a> Io<'a> {
    /// How many elements the section announces.
    pub fn n_elements(&self) -> u16 {
        let mut reader = Reader::new(self.bytes);
        let announced = match self.codec {
            Codec::Codec8 | Codec::Codec16 => reader.u8().map(u16::from),
            Codec::Codec8Extended => reader.u16(),
        };
        announced.unwrap_or(0)
    }

    /// The elements in the order of the packet. Visiting them with `for_each` or another inner
    /// loop is several times as fast as calling `next`.
    #[inline]
    pub fn elements(&self) -> Elements<'a> {
        let mut reader = Reader::new(self.bytes);
        // The total was checked with the packet; the group counts say the same.
        let _announced = reader.take(usize::from(self.codec.count_width()));
        Elements {
            codec: self.codec,
            rest: reader,
            group: Reader::new(&[]),
            width: Width::BeforeFirst,
            n_variable: 0,
        }
    }
}

impl<'a> IntoIterator for Io<'a> {
    type Item = IoElement<'a>;
    type IntoIter = Elements<'a>;

    #[inline]
    fn into_iter(self) -> Elements<'a> {
        self.elements()
    }
}

/// Which group is being read.
#[derive(Clone, Copy, Debug)]
enum Width {
    BeforeFirst,
    One,
    Two,
    Four,
    Eight,
    Variable,
}

/// Iterator over the elements of an IO section; see [`Io::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    codec: Codec,
    /// Behind the current group; in the variable group, its next element.
    rest: Reader<'a>,
    /// What is left of the current group of fixed width.
    group: Reader<'a>,
    width: Width,
    n_variable: u16,
}

impl<'a> Elements<'a> {
    /// Goes to the group behind the current one; `None` at the end.
    #[inline]
    fn open_next_group(&mut self) -> Option<()> {
        let (width, value_bytes) = match self.width {
            Width::BeforeFirst => (Width::One, 1),
            Width::One => (Width::Two, 2),
            Width::Two => (Width::Four, 4),
            Width::Four => (Width::Eight, 8),
            Width::Eight if self.codec == Codec::Codec8Extended => (Width::Variable, 0),
            Width::Eight | Width::Variable => return None,
        };
        let n = match self.codec {
            Codec::Codec8 | Codec::Codec16 => u16::from(self.rest.u8().ok()?),
            Codec::Codec8Extended => self.rest.u16().ok()?,
        };
        self.width = width;
        if let Width::Variable = width {
            self.n_variable = n;
        } else {
            let size = usize::from(self.codec.id_width()).saturating_add(value_bytes);
            self.group = self.rest.sub(usize::from(n).saturating_mul(size)).ok()?;
        }
        Some(())
    }

    /// The next element of the current group.
    #[inline]
    fn next_in_group(&mut self) -> Option<IoElement<'a>> {
        let value_bytes = match self.width {
            Width::BeforeFirst => return None,
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
            Width::Variable => {
                self.n_variable = self.n_variable.checked_sub(1)?;
                return variable(&mut self.rest).ok();
            }
        };
        let id = match self.codec {
            Codec::Codec8 => u16::from(self.group.u8().ok()?),
            Codec::Codec8Extended | Codec::Codec16 => self.group.u16().ok()?,
        };
        let raw = match value_bytes {
            1 => u64::from(self.group.u8().ok()?),
            2 => u64::from(self.group.u16().ok()?),
            4 => u64::from(self.group.u32().ok()?),
            _ => self.group.u64().ok()?,
        };
        let width = value_bytes;
        let value = IoValue::Fixed { width, raw };
        Some(IoElement { id, value })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = IoElement<'a>;

    #[inline]
    fn next(&mut self) -> Option<IoElement<'a>> {
        loop {
            if let Some(element) = self.next_in_group() {
                return Some(element);
            }
            self.open_next_group()?;
        }
    }

    // Group by group instead of element by element: within a group there is nothing to decide, and
    // the layout is decided once.
    #[inline]
    fn fold<B, F>(mut self, init: B, mut f: F) -> B
    where
        F: FnMut(B, IoElement<'a>) -> B,
    {
        let mut folded = init;
        while let Some(element) = self.next_in_group() {
            folded = f(folded, element);
        }
        let Elements { rest, width, .. } = self;
        match (width, self.codec) {
            (Width::BeforeFirst, Codec::Codec8) => fold_all::<1, 2, 3, 5, 9, 1, B>(rest, folded, f),
            (Width::BeforeFirst, Codec::Codec8Extended) => {
                fold_all::<2, 3, 4, 6, 10, 2, B>(rest, folded, f)
            }
            (Width::BeforeFirst, Codec::Codec16) => {
                fold_all::<2, 3, 4, 6, 10, 1, B>(rest, folded, f)
            }
            // Somebody took elements one by one and asks for the others at once.
            _ => {
                for element in self {
                    folded = f(folded, element);
                }
                folded
            }
        }
    }
}

/// Folds every group: ids of `ID` bytes, counts of `COUNT`, elements of `S1` to `S8` bytes.
#[inline]
fn fold_all<
    'a,
    const ID: usize,
    const S1: usize,
    const S2: usize,
    const S4: usize,
    const S8: usize,
    const COUNT: usize,
    B,
>(
    mut rest: Reader<'a>,
    init: B,
    mut f: impl FnMut(B, IoElement<'a>) -> B,
) -> B {
    let reader = &mut rest;
    let folded = fold_fixed::<ID, S1, B>(group::<S1, COUNT>(reader), init, &mut f);
    let folded = fold_fixed::<ID, S2, B>(group::<S2, COUNT>(reader), folded, &mut f);
    let folded = fold_fixed::<ID, S4, B>(group::<S4, COUNT>(reader), folded, &mut f);
    let mut folded = fold_fixed::<ID, S8, B>(group::<S8, COUNT>(reader), folded, &mut f);
    // Only the layout with counts of two bytes has a variable group.
    if COUNT == 2 {
        for _ in 0..reader.u16().unwrap_or(0) {
            match variable(reader) {
                Ok(element) => folded = f(folded, element),
                Err(_) => break,
            }
        }
    }
    folded
}

/// The bytes of the next group; none if it is cut off.
#[inline]
fn group<'a, const SIZE: usize, const COUNT: usize>(reader: &mut Reader<'a>) -> &'a [u8] {
    count::<COUNT>(reader)
        .and_then(|n| reader.take(usize::from(n).saturating_mul(SIZE)))
        .unwrap_or_else(|_| {
            *reader = Reader::new(&[]);
            &[]
        })
}

/// Folds the elements of a group of fixed width: `SIZE` bytes each, `ID` of them the id.
#[inline]
fn fold_fixed<'a, const ID: usize, const SIZE: usize, B>(
    group: &'a [u8],
    init: B,
    f: &mut impl FnMut(B, IoElement<'a>) -> B,
) -> B {
    let (elements, _none) = group.as_chunks::<SIZE>();
    elements.iter().fold(init, |folded, element| {
        // Lengths are known here, so that none of this is checked when it runs.
        let (id, value) = element.split_at(ID);
        let id = id
            .iter()
            .fold(0, |id: u16, byte| (id << 8) | u16::from(*byte));
        let raw = value
            .iter()
            .fold(0, |raw: u64, byte| (raw << 8) | u64::from(*byte));
        let width = const { width_of(ID, SIZE) };
        let value = IoValue::Fixed { width, raw };
        f(folded, IoElement { id, value })
    })
}

/// Bytes of the value in an element of `size` bytes.
const fn width_of(id: usize, size: usize) -> u8 {
    match size.saturating_sub(id) {
        1 => 1,
        2 => 2,
        4 => 4,
        _ => 8,
    }
}
