//! The fields of a fact's line: what stands in it as `key=value`.
//!
//! The form: the fact's fixed words, other words where there are any, then the pairs, then what helps, behind a colon. A value is one
//! word, or quoted as Rust quotes, or it is free text, which only the last pair may be: then its key is one of [`FREE_TEXT`].
//! What stands behind the pairs is never taken for one, whoever wrote it.

/// Keys whose value goes on to the end of the line unless it is quoted.
pub const FREE_TEXT: &[&str] = &["error", "reason", "why"];

/// Most pairs that a line is looked through for.
const PAIRS_MAX: usize = 32;

/// The pairs of `line` in their order, values without their quotes.
pub fn of(line: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && pairs.len() < PAIRS_MAX {
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let Some((key, _)) = word.split_once('=').filter(|(key, _)| is_key(key)) else {
            if !pairs.is_empty() {
                break;
            }
            rest = behind.trim_start();
            continue;
        };
        let value = &rest[key.len() + 1..];
        if let Some((text, behind)) = quoted(value) {
            pairs.push((key, text));
            let Some(behind) = behind.strip_prefix(' ') else {
                break;
            };
            rest = behind.trim_start();
        } else if FREE_TEXT.contains(&key) {
            pairs.push((key, value.to_owned()));
            break;
        } else {
            let value = &word[key.len() + 1..];
            let whole = value.trim_end_matches([':', ';', ',']);
            pairs.push((key, whole.to_owned()));
            if whole.len() < value.len() {
                break;
            }
            rest = behind.trim_start();
        }
    }
    pairs
}

fn is_key(word: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase())
        && word.bytes().all(is_inner)
}

/// A quoted text at the front of `value`, and what stands behind it.
fn quoted(value: &str) -> Option<(String, &str)> {
    let inner = value.strip_prefix('"')?;
    let mut text = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((text, &inner[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                '0' => text.push('\0'),
                'u' => {
                    let (code, _) = inner[at + 2..].strip_prefix('{')?.split_once('}')?;
                    text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                    letters.find(|(_, letter)| *letter == '}')?;
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    fn shown(line: &str) -> Vec<String> {
        let pairs = of(line).into_iter();
        pairs.map(|(key, value)| format!("{key}|{value}")).collect()
    }

    #[test]
    fn each_kind_of_value_is_understood() {
        for (line, wanted) in [
            ("ready 3 ports, 5 sessions", &[][..]),
            (
                "login refused port=[::]:5027 peer=10.0.0.9:4411 imei=- error=IMEI: 3 digits, of 15",
                &[
                    "port|[::]:5027",
                    "peer|10.0.0.9:4411",
                    "imei|-",
                    "error|IMEI: 3 digits, of 15",
                ],
            ),
            (
                "database away (and 4 more in 12 s) error=\"no \\\"route\\\"\\nto host\" lasting_s=61: what",
                &["error|no \"route\"\nto host", "lasting_s|61"],
            ),
            (
                "device kept out port=5027 imei=356307042441013: its last session a=b stopped",
                &["port|5027", "imei|356307042441013"],
            ),
            (
                "address not allowed peer=1.2.3.4:5: add its network port=1",
                &["peer|1.2.3.4:5"],
            ),
            ("queue bytes=5 limit=9 and x=1", &["bytes|5", "limit|9"]),
            ("x reason=\"not closed", &["reason|\"not closed"]),
            ("x Not=1 a-b=2 =3", &[]),
        ] {
            assert_eq!(shown(line), wanted, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_value_comes_back_whatever_is_in_it(text in any::<String>(), number in any::<u32>()) {
            let line = format!("spool damaged file={text:?} bytes={number}: kept");
            let wanted = vec![("file", text), ("bytes", number.to_string())];
            prop_assert_eq!(of(&line), wanted);
        }

        #[test]
        fn nothing_stops_the_reader(line in any::<String>()) {
            prop_assert!(of(&line).len() <= PAIRS_MAX);
        }
    }

    /// The texts of all facts in the source, as they are handed to `format_args!`.
    fn formats_in(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                formats_in(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for call in code.split("facts::say(").skip(1) {
                let Some((_, behind)) = call.split_once("format_args!(") else {
                    continue;
                };
                let literal = behind.trim_start();
                if let Some((format, _)) = quoted(literal) {
                    found.push((path.display().to_string(), format));
                }
            }
        }
    }

    #[test]
    fn every_fact_in_the_source_keeps_to_the_form() {
        let mut formats = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        formats_in(&root, &mut formats);
        assert!(formats.len() > 80, "{} facts found", formats.len());
        for (file, format) in formats {
            let mut words = format.split(' ').peekable();
            while let Some(word) = words.next() {
                let Some((key, value)) = word.split_once('=').filter(|(key, _)| is_key(key)) else {
                    continue;
                };
                let is_free = FREE_TEXT.contains(&key) && !value.contains(":?}");
                let next_is_pair = words.peek().is_some_and(|next| next.contains('='));
                assert!(
                    !(is_free && next_is_pair),
                    "{file}: {format:?}: {key} is free text, so quote it with {{:?}} or let it be the last pair"
                );
            }
        }
    }
}
