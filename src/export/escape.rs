//! Names as they may stand in XML and in cells of a table.

use std::borrow::Cow;
use std::fmt;

/// A text within XML 1.0: markup is spelled out, and what no document may hold becomes U+FFFD.
pub(super) struct Xml<'a>(pub(super) &'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in self.0.chars() {
            match one {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' | '\r' => write!(f, "&#{};", one as u32)?,
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                one => write!(f, "{one}")?,
            }
        }
        Ok(())
    }
}

/// A text in a cell of CSV: a program for tables takes what begins so for a formula, so an apostrophe says that it is a text.
pub(super) fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup() {
        let name = "</name><script>\"a\" & 'b'\u{0}\u{1b}";
        assert_eq!(
            Xml(name).to_string(),
            "&lt;/name&gt;&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}\u{fffd}"
        );
        assert_eq!(Xml("Lkw Süd\n7").to_string(), "Lkw Süd&#10;7");
    }

    #[test]
    fn a_name_is_no_formula() {
        for name in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(name), format!("'{name}"));
        }
        assert_eq!(cell("Van 7 = 8"), "Van 7 = 8");
    }
}
