//! The part of `trackport check` that looks at the database: is it there, safe, and does it have our tables?
//!
//! Reads only. The whole look has one deadline, whatever the server or the network does.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use postgres::Client;

use super::database::APPLICATION_NAME;
use super::finding::{Finding, Grade};
use crate::conf::Conf;
use crate::store::{self, StoreError};

/// The whole look at the database. A server that is frozen answers neither connect nor close.
const DEADLINE: Duration = Duration::from_secs(10);

/// The oldest server whose COPY, partitions and functions are used.
const OLDEST_MAJOR: i32 = 15;

/// What is found at `[database].url`.
pub(super) fn findings(conf: &Conf) -> Vec<Finding> {
    asked(conf, look).unwrap_or_else(|why| vec![why.finding()])
}

/// Why a database gave no answer.
#[derive(Debug)]
pub(super) enum Unasked {
    /// What it said, or the way there.
    Store(StoreError),
    /// There was no end of waiting.
    Late,
    /// This machine is out of threads.
    NoThread(std::io::Error),
}

impl Unasked {
    pub(super) fn finding(&self) -> Finding {
        let text = match self {
            Unasked::Store(error) => return refused(error),
            Unasked::Late => format!(
                "database: no answer within {} s; is the server overloaded or stopped?",
                DEADLINE.as_secs()
            ),
            Unasked::NoThread(error) => {
                format!("database: no thread could be started to look at it: {error}")
            }
        };
        Finding::new(Grade::Wrong, text)
    }
}

/// What `ask` learns from the database of `conf`, before the deadline.
pub(super) fn asked<T: Send + 'static>(
    conf: &Conf,
    ask: impl FnOnce(&mut Client) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Unasked> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let database = conf.database.clone();
    let mut timeouts = conf.timeouts.clone();
    // Connecting takes a few of these; a server that is silent is to be called silent within the deadline.
    timeouts.tcp = timeouts.tcp.min(DEADLINE / 4);
    // On a thread of its own, because the library cannot give up a handshake; a thread that is stuck ends with the process.
    let started = thread::Builder::new()
        .name("check database".to_owned())
        .spawn(move || {
            let answer = store::connect(&database, &timeouts, APPLICATION_NAME)
                .and_then(|mut client| ask(&mut client));
            // Nobody listens after the deadline, and then nobody needs to.
            let _ = sender.send(answer);
        });
    if let Err(error) = started {
        return Err(Unasked::NoThread(error));
    }
    match receiver.recv_timeout(DEADLINE) {
        Ok(answer) => answer.map_err(Unasked::Store),
        Err(_) => Err(Unasked::Late),
    }
}

/// Is it what trackport needs?
pub(super) fn look(client: &mut Client) -> Result<Vec<Finding>, StoreError> {
    let mut findings = vec![version_finding(&setting(client, "server_version_num")?)];
    findings.extend(durability_findings(
        &setting(client, "fsync")?,
        &setting(client, "full_page_writes")?,
    ));
    findings.push(schema_finding(client)?);
    Ok(findings)
}

fn setting(client: &mut Client, name: &str) -> Result<String, StoreError> {
    let row = client.query_one("SELECT current_setting($1)", &[&name])?;
    Ok(row.try_get(0)?)
}

fn version_finding(number: &str) -> Finding {
    let major = number.parse::<i32>().unwrap_or_default() / 10_000;
    let text = format!("database: PostgreSQL {major}");
    if major >= OLDEST_MAJOR {
        Finding::new(Grade::Ok, text)
    } else {
        Finding::new(
            Grade::Wrong,
            format!("{text} is too old; {OLDEST_MAJOR} or newer is needed"),
        )
    }
}

fn durability_findings(fsync: &str, full_page_writes: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if fsync != "on" {
        let text = "database: fsync is off, so what was acknowledged can be lost with the power; \
                    set fsync = on in postgresql.conf and reload the server";
        findings.push(Finding::new(Grade::Wrong, text));
    }
    if full_page_writes != "on" {
        let text = "database: full_page_writes is off; unless the file system never tears a page, \
                    a power loss can damage tables: set it to on";
        findings.push(Finding::new(Grade::Warning, text));
    }
    findings
}

fn schema_finding(client: &mut Client) -> Result<Finding, StoreError> {
    let version = store::schema_version(client)?;
    if version == 0 {
        let text = "database: the tables are not there; run `trackport migrate`";
        return Ok(Finding::new(Grade::Wrong, text));
    }
    Ok(match store::check_schema(client) {
        Ok(()) => Finding::new(
            Grade::Ok,
            format!("database: the tables are there, schema version {version}"),
        ),
        Err(error) => Finding::new(Grade::Wrong, format!("database: {error}")),
    })
}

fn refused(error: &StoreError) -> Finding {
    let hint = match error {
        StoreError::Unreachable { .. } => {
            "; is PostgreSQL running, and does [database].url say where?"
        }
        _ => "",
    };
    Finding::new(Grade::Wrong, format!("database: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_refused() {
        assert_eq!(version_finding("140011").grade, Grade::Wrong);
        let right = version_finding("150004");
        assert_eq!(right.grade, Grade::Ok);
        assert_eq!(right.text, "database: PostgreSQL 15");
    }

    #[test]
    fn a_server_that_may_lose_commits_is_refused() {
        assert!(durability_findings("on", "on").is_empty());
        assert_eq!(durability_findings("off", "on")[0].grade, Grade::Wrong);
        assert_eq!(durability_findings("on", "off")[0].grade, Grade::Warning);
    }

    #[test]
    fn a_database_that_is_not_there_is_said() {
        let text = "[[port]]\nlisten = 1\n[database]\nurl = \"postgresql:///x?host=/nonexistent\"";
        let conf = crate::conf::parse(text, "t.toml").unwrap();
        let findings = findings(&conf);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].grade, Grade::Wrong);
        assert!(
            findings[0]
                .text
                .starts_with("database: no PostgreSQL at /nonexistent"),
            "{findings:?}"
        );
    }
}
