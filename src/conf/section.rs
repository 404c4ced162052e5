//! One table of the conf file and how its values are read: with their lines, and never stopping at a mistake.
//!
//! Knows no key by name. A value that is wrong is reported and replaced by its default, marked
//! as not good, so that no second complaint follows from the first.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Report;
use super::units::{parse_duration, parse_size, show_duration, show_size};

const URL_EXAMPLE: &str = "write for example \"postgresql:///trackport?host=/run/postgresql\"";

/// A value of the conf and where it came from.
pub(super) struct Setting<T> {
    pub(super) value: T,
    /// The line that says so; `None`: the default.
    pub(super) line: Option<usize>,
    /// False when the file says something that could not be understood.
    pub(super) good: bool,
}

/// A table of the conf file, for example `[database]`.
pub(super) struct Section<'a, 'i> {
    name: &'static str,
    table: Option<&'a DeTable<'i>>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// The table `name` of the file, which may be absent. Its unknown keys are reported.
    pub(super) fn of(
        root: &'a DeTable<'i>,
        name: &'static str,
        keys: &[&str],
        report: &mut Report<'_>,
    ) -> Section<'a, 'i> {
        let Some(value) = root.get(name) else {
            return Section { name, table: None };
        };
        match value.get_ref() {
            DeValue::Table(table) => Section::from_table(name, table, keys, report),
            other => {
                let line = report.line_at(value.span().start);
                let text = match other {
                    DeValue::Array(_) => {
                        format!("there is one of it only: write [{name}] with single brackets")
                    }
                    _ => format!(
                        "this is a table: write [{name}] on a line of its own, its keys below"
                    ),
                };
                report.error(Some(line), Some(format!("[{name}]")), text);
                Section { name, table: None }
            }
        }
    }

    /// A table that was found already. Its unknown keys are reported.
    pub(super) fn from_table(
        name: &'static str,
        table: &'a DeTable<'i>,
        keys: &[&str],
        report: &mut Report<'_>,
    ) -> Section<'a, 'i> {
        let section = Section {
            name,
            table: Some(table),
        };
        for key in table.keys() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let line = report.line_at(key.span().start);
                let text = format!("unknown key; {}", suggest(key.get_ref(), keys));
                report.error(Some(line), Some(section.key(key.get_ref())), text);
            }
        }
        section
    }

    /// How a key of this table is named to people.
    pub(super) fn key(&self, key: &str) -> String {
        format!("[{}].{key}", self.name)
    }

    /// The value as it stands in the file.
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.and_then(|table| table.get(key))
    }

    /// The value of `key` as `convert` understands it, else a complaint and the default.
    pub(super) fn read<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        default: T,
        convert: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Setting<T> {
        let Some(value) = self.get(key) else {
            return Setting {
                value: default,
                line: None,
                good: true,
            };
        };
        let line = Some(report.line_at(value.span().start));
        match convert(value.get_ref()) {
            Ok(value) => Setting {
                value,
                line,
                good: true,
            },
            Err(text) => {
                report.error(line, Some(self.key(key)), text);
                Setting {
                    value: default,
                    line,
                    good: false,
                }
            }
        }
    }
}

/// What the writer of an unknown word may have meant.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + candidate.len() / 3 => {
            format!("did you mean \"{candidate}\"?")
        }
        _ => format!("known are {}", known.join(", ")),
    }
}

/// Letters to change, add or drop until `a` is `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The value as people wrote it, for complaints.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(word) => word.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A whole number within bounds.
pub(super) fn number(value: &DeValue<'_>, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let (least, most) = (bounds.start(), bounds.end());
    let wanted = format!("write a whole number from {least} to {most}, without quotes");
    let DeValue::Integer(integer) = value else {
        return Err(format!("{} is no whole number; {wanted}", shown(value)));
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!("{integer} is out of bounds; {wanted}")),
    }
}

/// A duration within bounds.
pub(super) fn duration(
    value: &DeValue<'_>,
    bounds: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let text = match value {
        DeValue::String(text) => text,
        DeValue::Integer(number) => {
            return Err(format!(
                "{number} has no unit; write it with one and in quotes, for example \"{number} s\""
            ));
        }
        _ => {
            return Err(format!(
                "{} is no duration; write for example \"15 s\"",
                shown(value)
            ));
        }
    };
    let duration =
        parse_duration(text).map_err(|error| format!("\"{text}\" is no duration: {error}"))?;
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "\"{text}\" is out of bounds; write a duration from \"{}\" to \"{}\"",
        show_duration(*bounds.start()),
        show_duration(*bounds.end())
    ))
}

/// A size in bytes within bounds; a plain number means bytes.
pub(super) fn size(value: &DeValue<'_>, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = match value {
        DeValue::String(text) => {
            parse_size(text).map_err(|error| format!("\"{text}\" is no size: {error}"))?
        }
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| format!("{number} is no size; write for example \"64 KiB\""))?,
        _ => {
            return Err(format!(
                "{} is no size; write for example \"64 KiB\"",
                shown(value)
            ));
        }
    };
    if bounds.contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "{} is out of bounds; write a size from \"{}\" to \"{}\"",
        shown(value),
        show_size(*bounds.start()),
        show_size(*bounds.end())
    ))
}

/// One word of a fixed set.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    if let DeValue::String(text) = value
        && let Some((_, meaning)) = words.iter().find(|(word, _)| word == text)
    {
        return Ok(*meaning);
    }
    let right: Vec<String> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    Err(format!(
        "{} is not understood here; write {}",
        shown(value),
        right.join(" or ")
    ))
}

/// An absolute path.
pub(super) fn path(value: &DeValue<'_>, example: &str) -> Result<PathBuf, String> {
    match value {
        DeValue::String(text) if text.starts_with('/') => Ok(PathBuf::from(text.as_ref())),
        DeValue::String(text) => Err(format!(
            "\"{text}\" is no absolute path, and a service has no folder of its own to start from; \
             write for example \"{example}\""
        )),
        _ => Err(format!(
            "{} is no path; write for example \"{example}\"",
            shown(value)
        )),
    }
}

/// A connection URL. The text is not repeated in the complaint: it may hold a password, and complaints go to the log.
pub(super) fn url(value: &DeValue<'_>) -> Result<String, String> {
    let DeValue::String(text) = value else {
        return Err(format!(
            "{} is no connection URL; {URL_EXAMPLE}",
            shown(value)
        ));
    };
    connection_url(text)?;
    Ok(text.to_string())
}

/// Whether the client library understands `text`; the complaint does not repeat it.
pub(super) fn connection_url(text: &str) -> Result<(), String> {
    let Err(error) = text.parse::<postgres::Config>() else {
        return Ok(());
    };
    let cause =
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    Err(format!(
        "this is no connection URL ({cause}); {URL_EXAMPLE}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested() {
        let keys = ["url", "writers", "batch_records"];
        assert_eq!(suggest("writer", &keys), "did you mean \"writers\"?");
        assert_eq!(
            suggest("batch-record", &keys),
            "did you mean \"batch_records\"?"
        );
        assert_eq!(suggest("URL", &keys), "did you mean \"url\"?");
        assert_eq!(
            suggest("password", &keys),
            "known are url, writers, batch_records"
        );
    }
}
