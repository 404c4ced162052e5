//! Who did what: logins, what was accepted, changed and exported.
//!
//! Whoever changes something for a person notes it in the same transaction, so that neither is without the other. Entries are
//! never changed; the keeper drops them after `AUDIT_KEPT`, and an erased device leaves them (`forget.rs`).

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use postgres::types::ToSql;
use postgres::{Client, GenericClient, Row};
use serde_json::Value;

use super::error::StoreError;

/// How long entries are kept: a year, and a month to look back at it.
pub const AUDIT_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// Who does something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The user's key; `None`: nobody logged in, or the command line.
    pub user_id: Option<i32>,
    /// The user's name, or what says as much.
    pub name: Option<String>,
    /// From where; `None`: on this machine.
    pub address: Option<IpAddr>,
}

impl Who {
    /// Whoever uses the command line, by the name that the system has for them.
    pub fn command_line() -> Who {
        let name = ["SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
        Who {
            user_id: None,
            name: Some(format!(
                "{} (command line)",
                name.as_deref().unwrap_or("somebody")
            )),
            address: None,
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When.
    pub at: SystemTime,
    /// The user's key.
    pub user_id: Option<i32>,
    /// The user's name as it was then.
    pub user_name: Option<String>,
    /// From where.
    pub address: Option<IpAddr>,
    /// What was done, in one word: `login`, `device_accepted`.
    pub action: String,
    /// To what, an object.
    pub what: Value,
}

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this user, by a part of the name.
    pub user: Option<String>,
    /// Of actions that begin so: `login` finds `login_failed` as well.
    pub action: Option<String>,
    /// Not older.
    pub from: Option<SystemTime>,
    /// Older.
    pub to: Option<SystemTime>,
}

/// Notes that `who` did `action`, one word with underscores, to `what`, an object. IMEIs in it are texts, never numbers. Give the
/// transaction that does it.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn note(
    client: &mut impl GenericClient,
    who: &Who,
    action: &str,
    what: &Value,
) -> Result<(), StoreError> {
    let name = who.name.as_ref().map(|name| cut(name));
    client.execute(
        "INSERT INTO trackport.audit (user_id, user_name, address, action, what) VALUES ($1, $2, $3, $4, $5)",
        &[&who.user_id, &name, &who.address, &action, &storable(what)],
    )?;
    Ok(())
}

/// Entries, the newest first, `limit` of them behind the first `offset`; and how many there are in all.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn list(
    client: &mut Client,
    filter: &AuditFilter,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Entry>, i64), StoreError> {
    const WHERE: &str =
        "WHERE ($1::text IS NULL OR strpos(lower(coalesce(user_name, '')), lower($1)) > 0)
         AND ($2::text IS NULL OR starts_with(action, $2))
         AND ($3::timestamptz IS NULL OR at >= $3)
         AND ($4::timestamptz IS NULL OR at < $4)";
    let user = filter.user.as_ref().map(|user| cut(user));
    let action = filter.action.as_ref().map(|action| cut(action));
    let filters: [&(dyn ToSql + Sync); 4] = [&user, &action, &filter.from, &filter.to];
    let total = client
        .query_one(
            &format!("SELECT count(*) FROM trackport.audit {WHERE}"),
            &filters,
        )?
        .get(0);
    let [user, action, from, to] = filters;
    let rows = client.query(
        &format!(
            "SELECT id, at, user_id, user_name, address, action, what FROM trackport.audit {WHERE}
             ORDER BY id DESC OFFSET $5 LIMIT $6"
        ),
        &[user, action, from, to, &offset, &limit],
    )?;
    Ok((rows.iter().map(entry).collect(), total))
}

/// Removes entries older than `AUDIT_KEPT` before `now`; returns how many.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn drop_old(client: &mut Client, now: SystemTime) -> Result<u64, StoreError> {
    let Some(oldest) = now.checked_sub(AUDIT_KEPT) else {
        return Ok(0);
    };
    Ok(client.execute("DELETE FROM trackport.audit WHERE at < $1", &[&oldest])?)
}

fn entry(row: &Row) -> Entry {
    Entry {
        id: row.get(0),
        at: row.get(1),
        user_id: row.get(2),
        user_name: row.get(3),
        address: row.get(4),
        action: row.get(5),
        what: row.get(6),
    }
}

/// Whatever was typed as a name, short enough to keep and without what PostgreSQL does not take.
fn cut(text: &str) -> String {
    text.chars()
        .take(100)
        .map(|sign| if sign == '\0' { '\u{fffd}' } else { sign })
        .collect()
}

/// `what` with no NUL in its texts: jsonb has no such sign.
fn storable(what: &Value) -> Value {
    match what {
        Value::String(text) => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.iter().map(storable).collect()),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.replace('\0', "\u{fffd}"), storable(value)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_type_can_be_kept() {
        assert_eq!(cut("a\0b"), "a\u{fffd}b");
        assert_eq!(cut(&"ä".repeat(500)).chars().count(), 100);
        let what = serde_json::json!({"a\0": ["b\0", {"c": 1}]});
        let kept = serde_json::json!({"a\u{fffd}": ["b\u{fffd}", {"c": 1}]});
        assert_eq!(storable(&what), kept);
    }
}
