//! trackport.toml(5): made from the conf file of the package itself, so that the page cannot say anything else than the file.
//!
//! Reads the file's own form: comments above the table or key that they explain, `#key = value` for a default, `# key = value` for an
//! example of a key without one.

use roff::{Roff, bold, italic, roman};

use super::page::{section, see_also, title};
use super::text;

const FILE: &str = include_str!("../../../conf/trackport.toml");

pub(super) fn page(date: &str) -> Roff {
    let mut page = title("trackport.toml", "5", date);
    section(&mut page, "NAME");
    page.text([roman("trackport.toml - conf file of the trackport server")]);
    section(&mut page, "SYNOPSIS");
    page.text([bold("/etc/trackport/trackport.toml")]);
    section(&mut page, "DESCRIPTION");
    write(&mut page, FILE);
    let near = [
        ("trackport", "8"),
        ("trackport-check", "8"),
        ("systemctl", "1"),
    ];
    see_also(&mut page, &near);
    page
}

/// A line of the conf file.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Blank,
    Comment(&'a str),
    Table(&'a str),
    /// A key, its value, and what that value is.
    Key(&'a str, &'a str, Given),
}

/// What the value beside a key in the file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// What holds without the key.
    Default,
    /// There is no default; this is how one may look.
    Example,
    /// The file sets it.
    Set,
}

fn parse(line: &str) -> Line<'_> {
    let (comment, given) = match line.strip_prefix('#') {
        None if line.trim().is_empty() => return Line::Blank,
        None if line.starts_with('[') => return Line::Table(line.trim()),
        None => (line, Given::Set),
        Some(rest) => match rest.strip_prefix(' ') {
            Some(rest) => (rest, Given::Example),
            None => (rest, Given::Default),
        },
    };
    let key = comment.split_once(" = ").filter(|(key, _)| {
        !key.is_empty()
            && key
                .bytes()
                .all(|one| one.is_ascii_lowercase() || one == b'_')
    });
    match key {
        Some((key, value)) => Line::Key(key, value, given),
        None => Line::Comment(comment),
    }
}

fn write(out: &mut Roff, file: &str) {
    let mut comments: Vec<&str> = Vec::new();
    for line in file.lines() {
        match parse(line) {
            Line::Comment(words) => comments.push(words),
            // The comment at the top of the file belongs to no table.
            Line::Blank => text::body(out, &std::mem::take(&mut comments).join("\n")),
            Line::Table(table) => {
                section(out, table);
                text::body(out, &std::mem::take(&mut comments).join("\n"));
            }
            Line::Key(key, value, given) => {
                out.control("TP", []);
                let mut head = vec![bold(key), roman(" = "), italic(value)];
                match given {
                    Given::Default => head.push(roman(" (default)")),
                    Given::Example => head.push(roman(" (an example)")),
                    Given::Set => head.push(roman(" (as installed)")),
                }
                out.text(head);
                for words in comments.drain(..) {
                    out.text(text::words(words));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_file_are_told_apart() {
        assert_eq!(
            parse("#writers = 1"),
            Line::Key("writers", "1", Given::Default)
        );
        assert_eq!(
            parse("# keep = \"400 days\""),
            Line::Key("keep", "\"400 days\"", Given::Example)
        );
        assert_eq!(
            parse("listen = 5027"),
            Line::Key("listen", "5027", Given::Set)
        );
        assert_eq!(parse("[[port]]"), Line::Table("[[port]]"));
        assert_eq!(parse("#"), Line::Comment(""));
        let comment = "# At accept = \"any\" it is registered.";
        assert_eq!(parse(comment), Line::Comment(&comment[2..]));
    }

    #[test]
    fn every_key_of_the_file_is_explained_on_the_page() {
        let page = page("2026-01-02").render();
        let mut n_keys = 0;
        let mut explained = false;
        for line in FILE.lines() {
            match parse(line) {
                Line::Key(key, ..) => {
                    n_keys += 1;
                    assert!(page.contains(&format!(".TP\n\\fB{key}\\fR = ")), "{key}");
                    // Keys that are alone in their table are explained by the table's comment.
                    assert!(explained, "nothing explains {key}");
                }
                Line::Table(table) => assert!(page.contains(&format!(".SH {table}")), "{table}"),
                Line::Comment(_) => explained = true,
                Line::Blank => explained = false,
            }
        }
        assert!(n_keys > 30, "{n_keys} keys");
    }
}
