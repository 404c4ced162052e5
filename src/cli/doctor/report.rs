//! What was found, as an operator reads it at night: worst first, each with what helps, then a line for each subject that is well.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::finding::{Finding, Grade};
use super::super::text::{count, printable};

/// Columns of a line.
const WIDTH: usize = 110;
/// The grade and the subject stand before the text.
const MARGIN: usize = 21;

/// A finding and what was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Examined {
    pub(super) subject: &'static str,
    pub(super) finding: Finding,
}

/// The word for a grade.
pub(super) fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Note => "note",
        Grade::Unseen => "not seen",
        Grade::Warning => "odd",
        Grade::Wrong => "WRONG",
    }
}

/// The grade that has this word, in small letters.
pub(super) fn grade(text: &str) -> Option<Grade> {
    [Grade::Ok, Grade::Unseen, Grade::Warning, Grade::Wrong]
        .into_iter()
        .find(|&grade| word(grade).to_lowercase() == text)
}

/// As text. Of subjects in which something is wrong or odd, what is well is left out.
pub(super) fn write(out: &mut impl Write, all: &[Examined]) -> io::Result<()> {
    for grade in [Grade::Wrong, Grade::Warning, Grade::Unseen] {
        for Examined { subject, finding } in all.iter().filter(|one| one.finding.grade == grade) {
            paragraph(out, word(grade), subject, "", &finding.text)?;
            if let Some(remedy) = &finding.remedy {
                paragraph(out, "", "", "-> ", remedy)?;
            }
        }
    }
    let is_ill = |subject: &str| {
        all.iter()
            .any(|one| one.subject == subject && one.finding.grade > Grade::Unseen)
    };
    if all.iter().any(|one| one.finding.grade > Grade::Ok) {
        writeln!(out)?;
    }
    let mut subjects: Vec<&str> = all.iter().map(|one| one.subject).collect();
    subjects.dedup();
    for subject in subjects.into_iter().filter(|subject| !is_ill(subject)) {
        let texts: Vec<&str> = all
            .iter()
            .filter(|one| one.subject == subject && one.finding.grade == Grade::Ok)
            .map(|one| one.finding.text.as_str())
            .collect();
        if !texts.is_empty() {
            paragraph(out, word(Grade::Ok), subject, "", &texts.join("; "))?;
        }
    }
    writeln!(out, "\n{}", summary(all))
}

/// In a sentence.
fn summary(all: &[Examined]) -> String {
    let of = |grade| all.iter().filter(|one| one.finding.grade == grade).count();
    let (wrong, odd, unseen) = (of(Grade::Wrong), of(Grade::Warning), of(Grade::Unseen));
    let mut text = match (wrong, odd) {
        (0, 0) => "Nothing is wrong".to_owned(),
        (0, odd) => format!("Nothing is wrong, {} odd", things(odd)),
        (wrong, 0) => format!("{} wrong", things(wrong)),
        (wrong, odd) => format!("{} wrong, {} odd", things(wrong), things(odd)),
    };
    if unseen > 0 {
        text.push_str(&format!(
            "; {} could not be looked at",
            count(unseen, "thing")
        ));
    }
    text.push('.');
    text
}

fn things(n: usize) -> String {
    match n {
        1 => "1 thing is".to_owned(),
        n => format!("{n} things are"),
    }
}

/// As one object.
pub(super) fn json(all: &[Examined]) -> Value {
    let of = |grade| all.iter().filter(|one| one.finding.grade == grade).count();
    let findings: Vec<Value> = all
        .iter()
        .map(|Examined { subject, finding }| {
            json!({
                "subject": subject,
                "grade": word(finding.grade).to_lowercase(),
                "text": finding.text,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({
        "wrong": of(Grade::Wrong),
        "odd": of(Grade::Warning),
        "not_seen": of(Grade::Unseen),
        "findings": findings,
    })
}

/// Text beside its grade and subject, broken between words.
fn paragraph(
    out: &mut impl Write,
    grade: &str,
    subject: &str,
    mark: &str,
    text: &str,
) -> io::Result<()> {
    let mut line = format!("{grade:<8} {subject:<12}{mark}");
    let (margin, mut is_empty) = (MARGIN + mark.len(), true);
    for word in printable(text).split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(margin);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(subject: &'static str, grade: Grade, text: &str) -> Examined {
        let finding = Finding::new(grade, text);
        let finding = if grade > Grade::Ok {
            finding.remedy("do this")
        } else {
            finding
        };
        Examined { subject, finding }
    }

    fn text(all: &[Examined]) -> String {
        let mut out = Vec::new();
        write(&mut out, all).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_wrong_stands_first_with_its_remedy() {
        let all = [
            examined("server", Grade::Ok, "up"),
            examined("ports", Grade::Warning, "slow"),
            examined("ports", Grade::Ok, "1 port"),
            examined("clock", Grade::Unseen, "the clock"),
            examined("database", Grade::Wrong, "away"),
            examined("spool", Grade::Ok, "room"),
            examined("spool", Grade::Ok, "empty"),
        ];
        assert_eq!(
            text(&all),
            "WRONG    database    away\n                     -> do this\n\
             odd      ports       slow\n                     -> do this\n\
             not seen clock       the clock\n                     -> do this\n\n\
             ok       server      up\nok       spool       room; empty\n\n\
             1 thing is wrong, 1 thing is odd; 1 thing could not be looked at.\n"
        );
        assert_eq!(json(&all)["wrong"], 1);
        assert_eq!(json(&all)["findings"][1]["grade"], "odd");
    }

    #[test]
    fn all_is_well_in_few_lines_and_long_ones_are_broken() {
        let all = [examined("server", Grade::Ok, "up")];
        assert_eq!(text(&all), "ok       server      up\n\nNothing is wrong.\n");
        let long = text(&[examined("server", Grade::Ok, &"word ".repeat(60))]);
        assert!(long.lines().all(|line| line.len() <= WIDTH), "{long}");
        assert!(
            long.lines()
                .nth(1)
                .unwrap()
                .starts_with(&" ".repeat(MARGIN))
        );
    }
}
