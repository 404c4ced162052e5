//! Where the password of the database comes from when the URL has none.
//!
//! In this order: the file that TRACKPORT_DATABASE_PASSWORD_FILE names, the credential `database_password` in the directory that
//! systemd passes (a container's secrets lie in such a directory, too), PGPASSWORD, libpq's password file.
//! Read at each connection, so that a password that was changed is found. Knows libpq's rules for its file; logs where that
//! was not used, never what anything holds.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Names a file that holds the password and nothing else.
const PASSWORD_FILE: &str = "TRACKPORT_DATABASE_PASSWORD_FILE";

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
///
/// # Errors
/// When a place was named and cannot be read: to ask another one instead would end in a riddle.
pub(super) fn find(
    env: &dyn Fn(&str) -> Option<PathBuf>,
    whom: &Whom,
) -> Result<Option<Vec<u8>>, StoreError> {
    if let Some(file) = env(PASSWORD_FILE).filter(|file| !file.as_os_str().is_empty()) {
        return match read_line(&file) {
            Ok(password) => Ok(Some(password)),
            Err(reason) => Err(StoreError::PasswordFile { file, reason }),
        };
    }
    if let Some(directory) = env("CREDENTIALS_DIRECTORY") {
        let file = directory.join("database_password");
        match read_line(&file) {
            Ok(password) => return Ok(Some(password)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(reason) => return Err(StoreError::PasswordFile { file, reason }),
        }
    }
    Ok(find_as_psql(env, whom))
}

/// As `find`, in those places alone where psql and all others look.
pub(super) fn find_as_psql(env: &dyn Fn(&str) -> Option<PathBuf>, whom: &Whom) -> Option<Vec<u8>> {
    if let Some(password) = env("PGPASSWORD") {
        return Some(password.into_os_string().into_vec());
    }
    let file = env("PGPASSFILE").or_else(|| env("HOME").map(|home| home.join(".pgpass")));
    let text = file.and_then(|file| read_private(&file))?;
    text.lines()
        .find_map(|line| password_in(line, whom))
        .map(String::into_bytes)
}

/// A file that holds the password and perhaps the end of its line.
fn read_line(file: &Path) -> io::Result<Vec<u8>> {
    let mut password = fs::read(file)?;
    while password
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        password.pop();
    }
    Ok(password)
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
        assert_eq!(find(&env, &whom()).unwrap(), Some(b"from env".to_vec()));
        fs::write(folder.join("database_password"), "se cret\r\n").unwrap();
        assert_eq!(find(&env, &whom()).unwrap(), Some(b"se cret".to_vec()));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_environment_has_the_password_without_a_credential() {
        let env = |name: &str| (name == "PGPASSWORD").then(|| PathBuf::from("from env"));
        assert_eq!(find(&env, &whom()).unwrap(), Some(b"from env".to_vec()));
        // A directory of secrets that has none for the database.
        let env = |name: &str| match name {
            "PGPASSWORD" => Some(PathBuf::from("from env")),
            "CREDENTIALS_DIRECTORY" => Some(PathBuf::from("/nonexistent")),
            _ => None,
        };
        assert_eq!(find(&env, &whom()).unwrap(), Some(b"from env".to_vec()));
    }

    #[test]
    fn the_password_of_our_database_is_not_shown_to_another() {
        let folder = std::env::temp_dir().join(format!("trackport-ours-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("database_password"), "ours").unwrap();
        let ours = |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(folder.clone()),
            PASSWORD_FILE => Some(folder.join("database_password")),
            _ => None,
        };
        assert_eq!(find(&ours, &whom()).unwrap(), Some(b"ours".to_vec()));
        assert_eq!(find_as_psql(&ours, &whom()), None);
        let both = |name: &str| match name {
            "PGPASSWORD" => Some(PathBuf::from("theirs")),
            other => ours(other),
        };
        assert_eq!(find_as_psql(&both, &whom()), Some(b"theirs".to_vec()));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_was_named_and_cannot_be_read_is_told() {
        let env = |name: &str| match name {
            "PGPASSWORD" => Some(PathBuf::from("from env")),
            PASSWORD_FILE => Some(PathBuf::from("/nonexistent/password")),
            _ => None,
        };
        let told = find(&env, &whom()).unwrap_err().to_string();
        assert!(told.contains("/nonexistent/password"), "{told}");
        let env = |name: &str| (name == PASSWORD_FILE).then(PathBuf::new);
        assert_eq!(find(&env, &whom()).unwrap(), None, "empty is not set");
    }
}
