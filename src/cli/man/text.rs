//! Help text as roff: paragraphs, and indented lines as they are.
//!
//! Knows no command. What the help sets apart by an indent are lines to be typed; they are not filled.

use roff::{Inline, Roff, bold, roman};

/// The part of `text` before the first line that is a heading, and then each heading with what follows it. A heading is a short line
/// that ends with a colon, or the words before a colon at the begin of a line: `Examples:`, `Exit codes: 0 done, …`.
pub(super) fn parts(text: &str) -> Vec<(Option<&str>, String)> {
    let mut parts = vec![(None, String::new())];
    for line in text.lines() {
        let heading = line.split_once(':').filter(|(words, _)| is_heading(words));
        if let Some((words, rest)) = heading {
            parts.push((Some(words), rest.trim_start().to_owned()));
        } else if let Some((_, body)) = parts.last_mut() {
            if !body.is_empty() {
                body.push('\n');
            }
            body.push_str(line);
        }
    }
    parts.retain(|(heading, body)| heading.is_some() || !body.trim().is_empty());
    parts
}

fn is_heading(words: &str) -> bool {
    words.len() <= 20
        && words.starts_with(|first: char| first.is_ascii_uppercase())
        && words
            .chars()
            .all(|one| one.is_ascii_alphabetic() || one == ' ')
}

/// Writes `text`: lines with an indent as they are, all others filled; a blank line begins a paragraph.
pub(super) fn body(out: &mut Roff, text: &str) {
    // The first paragraph stands right below its heading.
    let mut paragraph_due = false;
    let mut lines = text.trim_end().lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            paragraph_due = true;
            continue;
        }
        let was_due = std::mem::take(&mut paragraph_due);
        if line.starts_with("  ") {
            // Begins a paragraph by itself; another one would be empty.
            typed(out, line);
            while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                typed(out, more);
            }
            paragraph_due = lines.peek().is_some();
        } else {
            if was_due {
                out.control("PP", []);
            }
            out.text(words(line.trim()));
        }
    }
}

/// A line to be typed; what stands far behind it tells what it does.
fn typed(out: &mut Roff, line: &str) {
    match line.trim().split_once("   ") {
        Some((command, about)) => {
            out.control("TP", []);
            out.text([bold(command)]);
            out.text([roman(about.trim())]);
        }
        None => {
            out.control("IP", []);
            out.control("nf", []);
            out.text([bold(line.trim())]);
            out.control("fi", []);
        }
    }
}

/// `line` with what stands between backquotes in bold.
pub(super) fn words(line: &str) -> Vec<Inline> {
    line.split('`')
        .enumerate()
        .filter(|(_, piece)| !piece.is_empty())
        .map(|(place, piece)| {
            if place % 2 == 1 {
                bold(piece)
            } else {
                roman(piece)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_divide_the_help() {
        let text = "\nExamples:\n  a\n  b\n\nMore of it.\nExit codes: 0 done,\n1 failed.";
        let found = parts(text);
        let expected = [
            (Some("Examples"), "  a\n  b\n\nMore of it.".to_owned()),
            (Some("Exit codes"), "0 done,\n1 failed.".to_owned()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_typed_is_not_filled() {
        let mut roff = Roff::new();
        body(
            &mut roff,
            "Do `this`:\n  one --two\n  three    it is\n\nThen rest.",
        );
        let text = roff.to_roff();
        let expected = "Do \\fBthis\\fR:\n.IP\n.nf\n\\fBone \\-\\-two\\fR\n.fi\n\
                        .TP\n\\fBthree\\fR\nit is\n.PP\nThen rest.\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_blank_line_between_typed_ones_is_no_empty_paragraph() {
        let mut roff = Roff::new();
        body(&mut roff, "Do:\n  one\n\n  two\n");
        let text = roff.to_roff();
        let expected = "Do:\n.IP\n.nf\n\\fBone\\fR\n.fi\n.IP\n.nf\n\\fBtwo\\fR\n.fi\n";
        assert_eq!(text, expected);
    }
}
