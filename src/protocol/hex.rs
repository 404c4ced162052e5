//! Bytes as people paste them from logs, mails and manuals, and back.
//!
//! Tolerates what tools put between digits: blanks, line breaks, `:` `-` `,`, `0x` before a byte and
//! `#` before a comment. Invariant: a byte's two digits stand together; nothing is ever guessed.

use std::fmt::Write;

/// Where a text stops being hex. Lines and columns count characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A character that is neither a hex digit nor a separator.
    #[error("line {line}, column {column}: {found:?} is no hex digit")]
    NotHex {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// The character.
        found: char,
    },
    /// A digit without its second half.
    #[error("line {line}, column {column}: a byte has two hex digits, this has one")]
    HalfByte {
        /// Line.
        line: usize,
        /// Column of the lone digit.
        column: usize,
    },
}

/// The bytes that `text` spells.
///
/// # Errors
/// The first place that is not hex.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for (line, content) in (1..).zip(text.lines()) {
        decode_line(line, content, &mut bytes)?;
    }
    Ok(bytes)
}

fn decode_line(line: usize, content: &str, bytes: &mut Vec<u8>) -> Result<(), HexError> {
    let mut characters = (1..).zip(content.chars()).peekable();
    while let Some((column, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        match character {
            '#' => break,
            // A mark that some editors put at the front of a file.
            '\u{feff}' => {}
            ':' | '-' | ',' | ';' => {}
            _ if character.is_whitespace() => {}
            '0' if matches!(next, Some('x' | 'X')) => {
                characters.next();
            }
            _ => {
                let high = digit(character).ok_or(HexError::NotHex {
                    line,
                    column,
                    found: character,
                })?;
                let low = next
                    .and_then(digit)
                    .ok_or(HexError::HalfByte { line, column })?;
                characters.next();
                bytes.push((high << 4) | low);
            }
        }
    }
    Ok(())
}

fn digit(character: char) -> Option<u8> {
    u8::try_from(character.to_digit(16)?).ok()
}

/// `bytes` as upper-case hex without separators.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_is_read() {
        let text = "# login\n00 0F 0x33:35\r\n\t36-33  # digits\n0X30,37";
        assert_eq!(
            decode(text).unwrap(),
            [0x00, 0x0F, 0x33, 0x35, 0x36, 0x33, 0x30, 0x37]
        );
        assert_eq!(decode("  \n# nothing\n"), Ok(vec![]));
    }

    #[test]
    fn a_mistake_is_named_by_line_and_column() {
        assert_eq!(
            decode("00\n 0G"),
            Err(HexError::HalfByte { line: 2, column: 2 })
        );
        assert_eq!(
            decode("00 zz"),
            Err(HexError::NotHex {
                line: 1,
                column: 4,
                found: 'z'
            })
        );
        let lone = decode("00\n00 0\n11").unwrap_err();
        assert!(lone.to_string().starts_with("line 2, column 4:"), "{lone}");
    }

    #[test]
    fn bytes_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Ok(bytes));
    }
}
