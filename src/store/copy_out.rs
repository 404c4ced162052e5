//! Rows out of COPY … TO STDOUT in BINARY form: millions of them at the price of their bytes.
//!
//! Source: PostgreSQL manual, COPY, "Binary Format". Knows fields by their place and width; what they mean knows whoever wrote the
//! question. Nothing is allocated for a row.

use std::io::{self, BufRead};

use postgres::GenericClient;

use super::error::StoreError;

/// Signature, flags and the length of no extension.
const HEADER: usize = 19;
/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
pub(super) const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// The fields of one row, taken in their order. A field that is NULL, or not as wide as its type, is `None`.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field as it is.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        // NULL is a length of -1 and no bytes.
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(field)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    /// A `smallint`.
    pub fn int2(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// An `integer`.
    pub fn int4(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A `double precision`.
    pub fn float8(&mut self) -> Option<f64> {
        self.array().map(f64::from_be_bytes)
    }

    /// A `boolean`.
    pub fn boolean(&mut self) -> Option<bool> {
        self.array().map(|[byte]| byte != 0)
    }

    /// A `timestamptz` in microseconds since 1970.
    pub fn time_us(&mut self) -> Option<i64> {
        let since_2000: i64 = self.array().map(i64::from_be_bytes)?;
        Some(since_2000.saturating_add(EPOCH_2000_US))
    }
}

/// Hands each row of `select` to `each`; returns how many there were.
///
/// # Errors
/// When the database refuses, runs out of time or goes away: `each` has had some of the rows then.
pub fn copy_out(
    client: &mut impl GenericClient,
    select: &str,
    mut each: impl FnMut(Fields<'_>),
) -> Result<u64, StoreError> {
    let mut reader = client.copy_out(&format!("COPY ({select}) TO STDOUT (FORMAT BINARY)"))?;
    let mut n_rows = 0;
    // The server sends one message for each row, the header before the first and the end behind the last.
    let mut pending: Vec<u8> = Vec::new();
    let mut header = HEADER;
    loop {
        let message = reader.fill_buf().map_err(store_error)?;
        if message.is_empty() {
            return Ok(n_rows);
        }
        let n_bytes = message.len();
        pending.extend_from_slice(message);
        reader.consume(n_bytes);
        let mut rest = pending.as_slice();
        if header > 0 {
            let Some(behind) = rest.get(header..) else {
                continue;
            };
            (rest, header) = (behind, 0);
        }
        while let Some((row, behind)) = next_row(rest) {
            each(Fields { rest: row });
            n_rows += 1;
            rest = behind;
        }
        let n_taken = pending.len() - rest.len();
        pending.drain(..n_taken);
    }
}

/// Takes one whole row off the front; the -1 that ends the stream is none.
fn next_row(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (n_fields, fields) = bytes.split_first_chunk::<2>()?;
    let n_fields = u16::try_from(i16::from_be_bytes(*n_fields)).ok()?;
    let mut rest = fields;
    for _ in 0..n_fields {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        rest = behind.get(length..)?;
    }
    fields.split_at_checked(fields.len() - rest.len())
}

/// The reader wraps what the database said.
fn store_error(error: io::Error) -> StoreError {
    let text = error.to_string();
    let inner = error
        .into_inner()
        .and_then(|inner| inner.downcast::<postgres::Error>().ok());
    match inner {
        Some(refused) => StoreError::Database(*refused),
        None => StoreError::Unreachable {
            place: "the database".to_owned(),
            reason: text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_taken_whole_or_not_at_all() {
        let mut bytes = vec![0, 2];
        bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 2, 0, 7]);
        let row = bytes.clone();
        bytes.extend_from_slice(&[0xFF, 0xFF]);
        for cut in 0..row.len() {
            assert_eq!(next_row(&bytes[..cut]), None, "{cut}");
        }
        let (fields, rest) = next_row(&bytes).unwrap();
        let mut fields = Fields { rest: fields };
        assert_eq!((fields.int4(), fields.int2()), (None, Some(7)));
        assert_eq!(next_row(rest), None, "the end of the stream");
    }
}
