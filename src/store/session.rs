//! Logins of browsers, and tokens of programs: who shows which digest.
//!
//! Knows digests only; what they are made from is with its owner (`secret.rs`). A login ends when nothing was asked for
//! `IDLE`, and after `LIFE` in any case.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use postgres::{Client, GenericClient};

use super::error::StoreError;
use super::user::{self, Membership};
use crate::secret::TokenDigest;

/// A login without a question for so long is over.
pub const IDLE: Duration = Duration::from_secs(12 * 3600);

/// A login is over after this.
pub const LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Logins of one user that are open; the oldest beyond are closed.
pub const SESSIONS_MAX: i64 = 50;

/// Tokens of one user, revoked ones not counted.
pub const TOKENS_MAX: i64 = 100;

/// Somebody who has shown that they are it, and what they may do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's key.
    pub user_id: i32,
    /// The user's name.
    pub name: String,
    /// May everything, everywhere.
    pub is_admin: bool,
    /// May change what they may change; a token may be for reading only.
    pub may_write: bool,
    /// Where they may do what.
    pub groups: Vec<Membership>,
}

/// A token as its owner sees it later.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiToken {
    /// Key.
    pub id: i32,
    /// Whose.
    pub user_id: i32,
    /// The user's name.
    pub user: String,
    /// What it is for.
    pub name: String,
    /// Whether it may change things.
    pub may_write: bool,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it was shown last, to a quarter of an hour.
    pub last_used_at: Option<SystemTime>,
    /// Until when it may be shown.
    pub expires_at: Option<SystemTime>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<SystemTime>,
}

/// Opens a login for `user_id`.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn open(
    client: &mut impl GenericClient,
    user_id: i32,
    digest: &TokenDigest,
    address: Option<IpAddr>,
    agent: Option<&str>,
) -> Result<(), StoreError> {
    let agent: Option<String> = agent.map(|agent| agent.chars().take(300).collect());
    client.execute(
        "INSERT INTO trackport.web_session (digest, user_id, expires_at, address, agent)
         VALUES ($1, $2, now() + $3::double precision * interval '1 s', $4, $5)",
        &[
            &digest.as_slice(),
            &user_id,
            &LIFE.as_secs_f64(),
            &address,
            &agent,
        ],
    )?;
    client.execute(
        "UPDATE trackport.user SET last_login_at = now() WHERE id = $1",
        &[&user_id],
    )?;
    client.execute(
        "DELETE FROM trackport.web_session WHERE user_id = $1 AND digest IN (
             SELECT digest FROM trackport.web_session WHERE user_id = $1 ORDER BY seen_at DESC OFFSET $2)",
        &[&user_id, &SESSIONS_MAX],
    )?;
    Ok(())
}

/// Who has this login, and notes that it is used; `None` where it is over or its user is disabled.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn find(client: &mut Client, digest: &TokenDigest) -> Result<Option<Identity>, StoreError> {
    let row = client.query_opt(
        "SELECT u.id, u.name, u.is_admin, s.seen_at < now() - interval '5 min'
         FROM trackport.web_session s JOIN trackport.user u ON u.id = s.user_id
         WHERE s.digest = $1 AND u.disabled_at IS NULL AND s.expires_at > now()
             AND s.seen_at > now() - $2::double precision * interval '1 s'",
        &[&digest.as_slice(), &IDLE.as_secs_f64()],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    if row.get(3) {
        client.execute(
            "UPDATE trackport.web_session SET seen_at = now() WHERE digest = $1",
            &[&digest.as_slice()],
        )?;
    }
    let user_id = row.get(0);
    Ok(Some(Identity {
        user_id,
        name: row.get(1),
        is_admin: row.get(2),
        may_write: true,
        groups: user::groups_of(client, user_id)?,
    }))
}

/// Ends a login.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn close(client: &mut impl GenericClient, digest: &TokenDigest) -> Result<(), StoreError> {
    client.execute(
        "DELETE FROM trackport.web_session WHERE digest = $1",
        &[&digest.as_slice()],
    )?;
    Ok(())
}

/// Removes logins that are over; returns how many.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn drop_old(client: &mut Client) -> Result<u64, StoreError> {
    Ok(client.execute(
        "DELETE FROM trackport.web_session
         WHERE expires_at < now() OR seen_at < now() - $1::double precision * interval '1 s'",
        &[&IDLE.as_secs_f64()],
    )?)
}

/// Adds a token and returns its key.
///
/// # Errors
/// `Refused` when there is no such user, the name cannot be one, or there are too many.
pub fn add_token(
    client: &mut impl GenericClient,
    user_id: i32,
    name: &str,
    digest: &TokenDigest,
    may_write: bool,
    expires_at: Option<SystemTime>,
) -> Result<i32, StoreError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return Err(StoreError::Refused(format!(
            "{name:?} cannot be a token's name: 1 to 100 signs that say what it is for"
        )));
    }
    let row = client.query_opt(
        "INSERT INTO trackport.api_token (user_id, name, digest, scope, expires_at)
         SELECT u.id, $2, $3, $4, $5 FROM trackport.user u
         WHERE u.id = $1 AND (SELECT count(*) FROM trackport.api_token t WHERE t.user_id = $1 AND t.revoked_at IS NULL) < $6
         RETURNING id",
        &[
            &user_id,
            &name,
            &digest.as_slice(),
            &scope(may_write),
            &expires_at,
            &TOKENS_MAX,
        ],
    )?;
    row.map(|row| row.get(0)).ok_or_else(|| {
        StoreError::Refused(format!(
            "there is no such user, or it has {TOKENS_MAX} tokens already: revoke those that nobody uses"
        ))
    })
}

/// Who has this token, and notes that it is used; `None` where it is worth nothing.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn find_by_token(
    client: &mut Client,
    digest: &TokenDigest,
) -> Result<Option<Identity>, StoreError> {
    let row = client.query_opt(
        "SELECT u.id, u.name, u.is_admin, t.scope = 'write', t.id,
             coalesce(t.last_used_at < now() - interval '15 min', true)
         FROM trackport.api_token t JOIN trackport.user u ON u.id = t.user_id
         WHERE t.digest = $1 AND u.disabled_at IS NULL AND t.revoked_at IS NULL
             AND (t.expires_at IS NULL OR t.expires_at > now())",
        &[&digest.as_slice()],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    if row.get(5) {
        client.execute(
            "UPDATE trackport.api_token SET last_used_at = now() WHERE id = $1",
            &[&row.get::<_, i32>(4)],
        )?;
    }
    let user_id = row.get(0);
    Ok(Some(Identity {
        user_id,
        name: row.get(1),
        is_admin: row.get(2),
        may_write: row.get(3),
        groups: user::groups_of(client, user_id)?,
    }))
}

/// Tokens of one user, or of all; the newest first.
///
/// # Errors
/// When the database does not answer.
pub fn tokens(client: &mut Client, user_id: Option<i32>) -> Result<Vec<ApiToken>, StoreError> {
    let rows = client.query(
        "SELECT t.id, t.user_id, u.name, t.name, t.scope = 'write', t.created_at, t.last_used_at, t.expires_at, t.revoked_at
         FROM trackport.api_token t JOIN trackport.user u ON u.id = t.user_id
         WHERE $1::integer IS NULL OR t.user_id = $1 ORDER BY t.id DESC",
        &[&user_id],
    )?;
    Ok(rows
        .iter()
        .map(|row| ApiToken {
            id: row.get(0),
            user_id: row.get(1),
            user: row.get(2),
            name: row.get(3),
            may_write: row.get(4),
            created_at: row.get(5),
            last_used_at: row.get(6),
            expires_at: row.get(7),
            revoked_at: row.get(8),
        })
        .collect())
}

/// Makes a token worthless, one of `user_id` where that is given; its user and name, or `None` where there is none that is worth
/// something.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn revoke_token(
    client: &mut impl GenericClient,
    id: i32,
    user_id: Option<i32>,
) -> Result<Option<(i32, String)>, StoreError> {
    let row = client.query_opt(
        "UPDATE trackport.api_token SET revoked_at = now()
         WHERE id = $1 AND revoked_at IS NULL AND ($2::integer IS NULL OR user_id = $2) RETURNING user_id, name",
        &[&id, &user_id],
    )?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// The word in the table.
fn scope(may_write: bool) -> &'static str {
    if may_write { "write" } else { "read" }
}
