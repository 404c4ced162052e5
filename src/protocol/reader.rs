//! A cursor over received bytes: every read is checked, every failure says where and how much.
//!
//! The only code that takes received bytes apart by position. Invariant: `end` is the position
//! just behind `rest`, so the position of the next byte is `end - rest.len()`.

/// The input ended before the value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes wanted at offset {offset}, {left} are left")]
pub struct Short {
    /// Where the value begins, counted from the start of the outermost input.
    pub offset: usize,
    /// Bytes the value takes.
    pub wanted: usize,
    /// Bytes that were left.
    pub left: usize,
}

/// Reads big-endian values from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            rest: bytes,
            end: bytes.len(),
        }
    }

    #[cold]
    fn short(&self, wanted: usize) -> Short {
        Short {
            offset: self.position(),
            wanted,
            left: self.rest.len(),
        }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Short`] when fewer are left; the reader then stays where it was. So for every read below.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Short> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.short(N));
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            return Err(self.short(n));
        };
        self.rest = rest;
        Ok(head)
    }

    /// A reader of the next `n` bytes alone, which counts positions as this one does.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn sub(&mut self, n: usize) -> Result<Reader<'a>, Short> {
        let rest = self.take(n)?;
        Ok(Reader {
            rest,
            end: self.position(),
        })
    }

    /// An unsigned byte.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Short> {
        let [byte] = *self.array()?;
        Ok(byte)
    }

    /// Two bytes, unsigned.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_be_bytes(*self.array()?))
    }

    /// Four bytes, unsigned.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_be_bytes(*self.array()?))
    }

    /// Eight bytes, unsigned.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_be_bytes(*self.array()?))
    }

    /// Two bytes, two's complement.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn i16(&mut self) -> Result<i16, Short> {
        Ok(i16::from_be_bytes(*self.array()?))
    }

    /// Four bytes, two's complement.
    ///
    /// # Errors
    /// [`Short`].
    #[inline]
    pub fn i32(&mut self) -> Result<i32, Short> {
        Ok(i32::from_be_bytes(*self.array()?))
    }

    /// What has not been read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Offset of the next byte from the start of the outermost input.
    #[inline]
    pub fn position(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_big_endian_and_signed_where_they_say_so() {
        let bytes = [1, 0, 2, 0xFF, 0xFE, 0, 0, 0, 3, 0xFF, 0xFF, 0xFF, 0xFC];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.i16(), Ok(-2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.i32(), Ok(-4));
        assert!(reader.is_empty());
        assert_eq!(Reader::new(&[0, 0, 0, 0, 0, 0, 1, 0]).u64(), Ok(256));
    }

    #[test]
    fn a_short_read_says_where_and_leaves_the_reader_there() {
        let mut reader = Reader::new(&[9, 9, 1, 2]);
        reader.take(2).unwrap();
        let mut inner = reader.sub(2).unwrap();
        assert_eq!(inner.position(), 2);
        assert_eq!(
            inner.u32(),
            Err(Short {
                offset: 2,
                wanted: 4,
                left: 2
            })
        );
        assert_eq!(inner.rest(), [1, 2]);
        assert_eq!(reader.u8().unwrap_err().offset, 4);
    }
}
