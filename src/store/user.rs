//! People and programs that may use the web: their names, passwords and roles in groups.
//!
//! A password comes here as its hash. Names are told apart without regard to case. Whatever takes somebody's rights away ends
//! the logins that they have.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use postgres::error::SqlState;
use postgres::{Client, GenericClient, Row};

use super::error::StoreError;

/// What somebody may do within a group. Each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupRole {
    /// Sees and exports.
    Viewer,
    /// Changes assets, fittings and the devices in them.
    Manager,
    /// Says who else belongs to the group.
    Admin,
}

impl GroupRole {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            GroupRole::Viewer => "viewer",
            GroupRole::Manager => "manager",
            GroupRole::Admin => "admin",
        }
    }
}

impl fmt::Display for GroupRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GroupRole {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<GroupRole, StoreError> {
        match text {
            "viewer" => Ok(GroupRole::Viewer),
            "manager" => Ok(GroupRole::Manager),
            "admin" => Ok(GroupRole::Admin),
            _ => Err(StoreError::Refused(format!(
                "{text:?} is no role: viewer, manager or admin is"
            ))),
        }
    }
}

/// A group that somebody belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group's key.
    pub group_id: i32,
    /// The group's name.
    pub group: String,
    /// Its days are days of this zone.
    pub time_zone: String,
    /// What may be done there.
    pub role: GroupRole,
}

/// Somebody who may use the web, or might.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Key in every other table.
    pub id: i32,
    /// What they log in as.
    pub name: String,
    /// May everything, everywhere.
    pub is_admin: bool,
    /// Without a password only tokens work.
    pub has_password: bool,
    /// Since when they may do nothing.
    pub disabled_at: Option<SystemTime>,
    /// When they were added.
    pub created_at: SystemTime,
    /// When they logged in last by password.
    pub last_login_at: Option<SystemTime>,
    /// Logins of browsers that are open.
    pub n_sessions: i64,
    /// Where they may do what.
    pub groups: Vec<Membership>,
}

/// What a login is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The user's key.
    pub id: i32,
    /// The name as it was given to them.
    pub name: String,
    /// The hash, where there is one.
    pub password: Option<String>,
    /// They may do nothing.
    pub is_disabled: bool,
}

/// Fields to change; `None` leaves a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// Another name.
    pub name: Option<String>,
    /// May everything, or only what roles say.
    pub is_admin: Option<bool>,
    /// May do nothing, or again what they may.
    pub disabled: Option<bool>,
    /// Another password, as its hash; `Some(None)`: none any more.
    pub password: Option<Option<String>>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user's key.
    pub user_id: i32,
    /// The user's name.
    pub name: String,
    /// What they may do.
    pub role: GroupRole,
    /// They may do nothing at the moment.
    pub is_disabled: bool,
}

/// Adds a user, who may do nothing yet unless `is_admin`; returns the key.
///
/// # Errors
/// `Refused` when the name is taken or cannot be one.
pub fn add(
    client: &mut impl GenericClient,
    name: &str,
    is_admin: bool,
    password: Option<&str>,
) -> Result<i32, StoreError> {
    storable(name)?;
    let added = client.query_one(
        "INSERT INTO trackport.user (name, is_admin, password, password_changed_at)
         VALUES ($1, $2, $3::text, CASE WHEN $3::text IS NOT NULL THEN now() END) RETURNING id",
        &[&name, &is_admin, &password],
    );
    added
        .map(|row| row.get(0))
        .map_err(|error| refused(error, name))
}

/// Changes what `change` has; `false` when there is no such user. Another password, and being disabled, ends all logins.
///
/// # Errors
/// `Refused` when the name is taken or cannot be one.
pub fn change(
    client: &mut impl GenericClient,
    id: i32,
    change: &UserChange,
) -> Result<bool, StoreError> {
    change.name.as_deref().map_or(Ok(()), storable)?;
    let set_password = change.password.is_some();
    let password = change.password.clone().flatten();
    let n_changed = client
        .execute(
            "UPDATE trackport.user SET
                 name = coalesce($2, name),
                 is_admin = coalesce($3, is_admin),
                 disabled_at = CASE WHEN $4 THEN coalesce(disabled_at, now()) WHEN NOT $4 THEN NULL ELSE disabled_at END,
                 password = CASE WHEN $5 THEN $6 ELSE password END,
                 password_changed_at = CASE WHEN $5 THEN now() ELSE password_changed_at END
             WHERE id = $1",
            &[
                &id,
                &change.name,
                &change.is_admin,
                &change.disabled,
                &set_password,
                &password,
            ],
        )
        .map_err(|error| refused(error, change.name.as_deref().unwrap_or_default()))?;
    if set_password || change.disabled == Some(true) {
        client.execute(
            "DELETE FROM trackport.web_session WHERE user_id = $1",
            &[&id],
        )?;
    }
    Ok(n_changed > 0)
}

/// Removes a user with logins, tokens and roles; what they did stays in `audit`. `false` when there is none.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn remove(client: &mut impl GenericClient, id: i32) -> Result<bool, StoreError> {
    Ok(client.execute("DELETE FROM trackport.user WHERE id = $1", &[&id])? > 0)
}

/// Gives a user a role in a group, in place of the one they had there.
///
/// # Errors
/// `Refused` when there is no such user or group.
pub fn grant(
    client: &mut impl GenericClient,
    id: i32,
    group_id: i32,
    role: GroupRole,
) -> Result<(), StoreError> {
    let granted = client.execute(
        "INSERT INTO trackport.member (user_id, group_id, role) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, group_id) DO UPDATE SET role = excluded.role",
        &[&id, &group_id, &role.as_str()],
    );
    match granted {
        Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => Err(
            StoreError::Refused("there is no such user, or no such group".to_owned()),
        ),
        other => Ok(other.map(|_| ())?),
    }
}

/// Takes a user's role in a group away; `false` when there was none.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn revoke(client: &mut impl GenericClient, id: i32, group_id: i32) -> Result<bool, StoreError> {
    let sql = "DELETE FROM trackport.member WHERE user_id = $1 AND group_id = $2";
    Ok(client.execute(sql, &[&id, &group_id])? > 0)
}

/// All users by name.
///
/// # Errors
/// When the database does not answer.
pub fn list(client: &mut impl GenericClient) -> Result<Vec<User>, StoreError> {
    users(client, None)
}

/// One user by key.
///
/// # Errors
/// When the database does not answer.
pub fn by_id(client: &mut impl GenericClient, id: i32) -> Result<Option<User>, StoreError> {
    Ok(users(client, Some(id))?.pop())
}

/// One user by name, in upper or lower case.
///
/// # Errors
/// When the database does not answer.
pub fn by_name(client: &mut Client, name: &str) -> Result<Option<User>, StoreError> {
    match credential(client, name)? {
        Some(found) => by_id(client, found.id),
        None => Ok(None),
    }
}

/// What a login as `name` is checked against; `None` where there is no such user.
///
/// # Errors
/// When the database does not answer.
pub fn credential(client: &mut Client, name: &str) -> Result<Option<Credential>, StoreError> {
    // No text of PostgreSQL has a NUL, so nobody is called so.
    if name.contains('\0') {
        return Ok(None);
    }
    let row = client.query_opt(
        "SELECT id, name, password, disabled_at IS NOT NULL FROM trackport.user WHERE lower(name) = lower($1)",
        &[&name],
    )?;
    Ok(row.map(|row| Credential {
        id: row.get(0),
        name: row.get(1),
        password: row.get(2),
        is_disabled: row.get(3),
    }))
}

/// Whether this is the hash of the user's password at the moment, and they are not disabled. The row cannot change until the
/// transaction ends.
///
/// # Errors
/// When the database does not answer.
pub fn has_password(
    transaction: &mut postgres::Transaction<'_>,
    id: i32,
    hash: Option<&str>,
) -> Result<bool, StoreError> {
    let row = transaction.query_opt(
        "SELECT FROM trackport.user WHERE id = $1 AND password = $2 AND disabled_at IS NULL FOR NO KEY UPDATE",
        &[&id, &hash],
    )?;
    Ok(row.is_some())
}

/// Who belongs to a group, by name.
///
/// # Errors
/// When the database does not answer.
pub fn members(client: &mut Client, group_id: i32) -> Result<Vec<Member>, StoreError> {
    let rows = client.query(
        "SELECT u.id, u.name, m.role, u.disabled_at IS NOT NULL
         FROM trackport.member m JOIN trackport.user u ON u.id = m.user_id
         WHERE m.group_id = $1 ORDER BY lower(u.name)",
        &[&group_id],
    )?;
    rows.iter()
        .map(|row| {
            Ok(Member {
                user_id: row.get(0),
                name: row.get(1),
                role: row.get::<_, &str>(2).parse()?,
                is_disabled: row.get(3),
            })
        })
        .collect()
}

/// The key and the name of a group by either; `None` where there is none.
///
/// # Errors
/// When the database does not answer.
pub fn group(client: &mut Client, group: &str) -> Result<Option<(i32, String)>, StoreError> {
    let row = client.query_opt(
        "SELECT id, name FROM trackport.group WHERE name = $1 OR id::text = $1 ORDER BY name = $1 DESC LIMIT 1",
        &[&group],
    )?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// The groups of a user, by name.
///
/// # Errors
/// When the database does not answer.
pub fn groups_of(client: &mut impl GenericClient, id: i32) -> Result<Vec<Membership>, StoreError> {
    let rows = client.query(
        "SELECT g.id, g.name, g.time_zone, m.role
         FROM trackport.member m JOIN trackport.group g ON g.id = m.group_id
         WHERE m.user_id = $1 ORDER BY g.name",
        &[&id],
    )?;
    rows.iter().map(|row| membership(row, 0)).collect()
}

fn users(client: &mut impl GenericClient, id: Option<i32>) -> Result<Vec<User>, StoreError> {
    let rows = client.query(
        "SELECT u.id, u.name, u.is_admin, u.password IS NOT NULL, u.disabled_at, u.created_at, u.last_login_at,
             (SELECT count(*) FROM trackport.web_session s WHERE s.user_id = u.id AND s.expires_at > now())
         FROM trackport.user u WHERE $1::integer IS NULL OR u.id = $1 ORDER BY lower(u.name)",
        &[&id],
    )?;
    let mut users: Vec<User> = rows
        .iter()
        .map(|row| User {
            id: row.get(0),
            name: row.get(1),
            is_admin: row.get(2),
            has_password: row.get(3),
            disabled_at: row.get(4),
            created_at: row.get(5),
            last_login_at: row.get(6),
            n_sessions: row.get(7),
            groups: Vec::new(),
        })
        .collect();
    let rows = client.query(
        "SELECT m.user_id, g.id, g.name, g.time_zone, m.role
         FROM trackport.member m JOIN trackport.group g ON g.id = m.group_id
         WHERE $1::integer IS NULL OR m.user_id = $1 ORDER BY g.name",
        &[&id],
    )?;
    for row in &rows {
        let user_id: i32 = row.get(0);
        if let Some(user) = users.iter_mut().find(|user| user.id == user_id) {
            user.groups.push(membership(row, 1)?);
        }
    }
    Ok(users)
}

/// A membership in the columns of `row` from `first` on.
fn membership(row: &Row, first: usize) -> Result<Membership, StoreError> {
    Ok(Membership {
        group_id: row.get(first),
        group: row.get(first + 1),
        time_zone: row.get(first + 2),
        role: row.get::<_, &str>(first + 3).parse()?,
    })
}

fn refused(error: postgres::Error, name: &str) -> StoreError {
    match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => StoreError::Refused(format!(
            "there is a user {name} already; upper and lower case make no difference"
        )),
        Some(&SqlState::CHECK_VIOLATION) => unfit(name),
        _ => error.into(),
    }
}

/// No text of PostgreSQL has a NUL.
fn storable(name: &str) -> Result<(), StoreError> {
    if name.contains('\0') {
        return Err(unfit(name));
    }
    Ok(())
}

fn unfit(name: &str) -> StoreError {
    StoreError::Refused(format!(
        "{name:?} cannot be a user's name: 1 to 100 signs, no space at either end, no control characters"
    ))
}
