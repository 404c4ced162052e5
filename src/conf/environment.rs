//! What the environment says in place of the conf file: containers are told by variables where their database is.
//!
//! Knows one variable and reads no other. A variable that is set and empty counts as not set, because that is what composing
//! tools make of one that nobody gave.

use std::ffi::OsString;

use super::load::connection_url;
use super::report::Complaint;
use super::{Conf, Database};

/// Takes the place of `[database] url`.
pub const DATABASE_URL: &str = "TRACKPORT_DATABASE_URL";

/// The URL that the environment names, if it names one. `env` reads a variable.
///
/// # Errors
/// When it is no connection URL. It is not repeated: it may hold a password.
pub(super) fn database_url(
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, Complaint> {
    let Some(found) = env(DATABASE_URL).filter(|found| !found.is_empty()) else {
        return Ok(None);
    };
    let refused = |text: String| Complaint {
        file: "environment".to_owned(),
        line: None,
        key: Some(DATABASE_URL.to_owned()),
        text,
    };
    let text = found
        .into_string()
        .map_err(|_| refused("this is no UTF-8 text".to_owned()))?;
    connection_url(&text).map_err(refused)?;
    Ok(Some(text))
}

/// Lets `url` of the environment take the place of the file's, and says so where the file has one of its own.
pub(super) fn replace_url(conf: &mut Conf, url: String, file: &str) {
    if conf.database.url != Database::default().url && conf.database.url != url {
        conf.warnings.push(Complaint {
            file: file.to_owned(),
            line: None,
            key: Some("[database].url".to_owned()),
            text: format!(
                "{DATABASE_URL} of the environment takes its place; remove one of the two"
            ),
        });
    }
    conf.database.url = url;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::parse;

    fn found(value: &str) -> Result<Option<String>, Complaint> {
        database_url(&|name| (name == DATABASE_URL).then(|| value.into()))
    }

    #[test]
    fn a_variable_that_is_empty_is_not_set() {
        assert_eq!(found(""), Ok(None));
        assert_eq!(database_url(&|_| None), Ok(None));
        let url = "postgresql://db/trackport";
        assert_eq!(found(url), Ok(Some(url.to_owned())));
    }

    #[test]
    fn a_wrong_url_is_told_by_the_name_of_the_variable_and_not_repeated() {
        let told = found("postgresql://anna:secret@db/x?colour=blue").unwrap_err();
        let told = told.to_string();
        assert!(
            told.starts_with("environment: TRACKPORT_DATABASE_URL: this is no connection URL"),
            "{told}"
        );
        assert!(
            told.contains("colour") && !told.contains("secret"),
            "{told}"
        );
    }

    #[test]
    fn a_url_of_the_file_that_is_not_used_is_told() {
        let ports = "[[port]]\nlisten = 1\n";
        let url = "postgresql://db/x";
        let mut conf = parse(ports, "t.toml").unwrap();
        replace_url(&mut conf, url.to_owned(), "t.toml");
        assert_eq!(conf.database.url, url);
        assert!(conf.warnings.is_empty());
        let text = format!("{ports}[database]\nurl = \"postgresql://other/x\"");
        let mut conf = parse(&text, "t.toml").unwrap();
        replace_url(&mut conf, url.to_owned(), "t.toml");
        assert_eq!(conf.database.url, url);
        assert_eq!(conf.warnings.len(), 1);
    }
}
