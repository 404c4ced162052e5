//! Where the password of the database comes from when the URL has none.
//!
//! In this order: the credential `database_password` that systemd passes, PGPASSWORD, the password file.
//! Knows libpq's rules for the file; logs where it was not used, never what it holds.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// For whom a password is looked up.
pub(super) struct Whom {
    /// Host name as written; `localhost` for sockets.
    pub host: String,
    /// Port number.
    pub port: u16,
    /// Database name, where known.
    pub database: Option<String>,
    /// User name, where known.
    pub user: Option<String>,
}

/// The password for `whom`, if any place has one. `env` reads a variable.
pub(super) fn find(env: &dyn Fn(&str) -> Option<PathBuf>, whom: &Whom) -> Option<Vec<u8>> {
    if let Some(directory) = env("CREDENTIALS_DIRECTORY")
        && let Ok(mut password) = fs::read(directory.join("database_password"))
    {
        while password
            .last()
            .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
        {
            password.pop();
        }
        return Some(password);
    }
    if let Some(password) = env("PGPASSWORD") {
        return Some(password.into_os_string().into_vec());
    }
    let file = env("PGPASSFILE").or_else(|| env("HOME").map(|home| home.join(".pgpass")))?;
    let text = read_private(&file)?;
    text.lines()
        .find_map(|line| password_in(line, whom))
        .map(String::into_bytes)
}

fn read_private(file: &Path) -> Option<String> {
    let mode = fs::metadata(file).ok()?.permissions().mode();
    if mode & 0o077 != 0 {
        log::warn!(
            "{} is not used, because others can read it: chmod 600 it",
            file.display()
        );
        return None;
    }
    fs::read_to_string(file).ok()
}

/// The last field of `host:port:database:user:password`, when the others match.
fn password_in(line: &str, whom: &Whom) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        let n_fields = fields.len();
        let last = fields.last_mut().expect("begins with one field");
        match sign {
            '\\' => last.extend(signs.next()),
            ':' if n_fields < 5 => fields.push(String::new()),
            other => last.push(other),
        }
    }
    let [host, port, database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let matches = |field: &str, wanted: Option<&str>| field == "*" || Some(field) == wanted;
    (matches(&host, Some(&whom.host))
        && matches(&port, Some(&whom.port.to_string()))
        && matches(&database, whom.database.as_deref())
        && matches(&user, whom.user.as_deref()))
    .then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom() -> Whom {
        Whom {
            host: "db1".to_owned(),
            port: 5432,
            database: Some("trackport".to_owned()),
            user: Some("anna".to_owned()),
        }
    }

    #[test]
    fn a_line_of_the_password_file_matches_whole_fields() {
        for (line, expected) in [
            ("db1:5432:trackport:anna:secret", Some("secret")),
            (
                "*:*:*:anna:with\\:colon:and more",
                Some("with:colon:and more"),
            ),
            ("db2:5432:trackport:anna:secret", None),
            ("db1:5433:*:anna:secret", None),
            ("# db1:5432:trackport:anna:secret", None),
            ("db1:5432", None),
        ] {
            assert_eq!(password_in(line, &whom()).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_credential_of_systemd_comes_first_and_ends_before_its_line_does() {
        let folder =
            std::env::temp_dir().join(format!("trackport-password-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let env = |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(folder.clone()),
            "PGPASSWORD" => Some(PathBuf::from("from env")),
            _ => None,
        };
        // The unit names the credential; where the file is missing there is none.
        assert_eq!(find(&env, &whom()), Some(b"from env".to_vec()));
        fs::write(folder.join("database_password"), "se cret\r\n").unwrap();
        assert_eq!(find(&env, &whom()), Some(b"se cret".to_vec()));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_environment_has_the_password_without_a_credential() {
        let env = |name: &str| (name == "PGPASSWORD").then(|| PathBuf::from("from env"));
        assert_eq!(find(&env, &whom()), Some(b"from env".to_vec()));
    }
}
