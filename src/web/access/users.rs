//! `/api/v1/users`: who may use the web. For administrators of the server; and everybody may change their own password.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postgres::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::ask::Pool;
use super::super::input::{Asked, Named, Page, Paged, Sent};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::time;
use super::caller::network;
use super::login::slowed;
use super::viewer::Viewer;
use crate::secret::{check_password, hash_password, is_password};
use crate::store::audit;
use crate::store::user::{self, User, UserChange};

/// A user as the API shows them.
#[derive(Serialize)]
pub(super) struct Shown {
    id: i32,
    name: String,
    is_admin: bool,
    disabled: bool,
    has_password: bool,
    created_at: String,
    last_login_at: Option<String>,
    sessions: i64,
    groups: Vec<ShownRole>,
}

#[derive(Serialize)]
struct ShownRole {
    id: i32,
    name: String,
    role: &'static str,
}

impl From<User> for Shown {
    fn from(user: User) -> Shown {
        let groups = user.groups.into_iter().map(|one| ShownRole {
            id: one.group_id,
            name: one.group,
            role: one.role.as_str(),
        });
        Shown {
            id: user.id,
            name: user.name,
            is_admin: user.is_admin,
            disabled: user.disabled_at.is_some(),
            has_password: user.has_password,
            created_at: time(user.created_at),
            last_login_at: user.last_login_at.map(time),
            sessions: user.n_sessions,
            groups: groups.collect(),
        }
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(page): Asked<Page>,
) -> Result<Json<Paged<Shown>>, Refusal> {
    viewer.must_be_admin()?;
    let slice = page.slice()?;
    let users = shared.desk.ask(Pool::Quick, user::list).await?;
    Ok(Json(slice.part(users)))
}

/// A user to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    name: String,
    password: Option<String>,
    #[serde(default)]
    is_admin: bool,
}

pub(super) async fn add(
    State(shared): State<Shared>,
    viewer: Viewer,
    Sent(new): Sent<New>,
) -> Result<(StatusCode, Json<Shown>), Refusal> {
    viewer.must_be_admin()?;
    if let Some(password) = &new.password {
        fits(password, &new.name)?;
    }
    let who = viewer.who();
    let added = shared
        .desk
        .ask(Pool::Login, move |client: &mut Client| {
            if user::credential(client, &new.name)?.is_some() {
                return Err(taken(&new.name));
            }
            let hash = new.password.as_deref().map(hash_password);
            let mut transaction = client.transaction()?;
            let id = user::add(&mut transaction, &new.name, new.is_admin, hash.as_deref())?;
            let what =
                json!({"user": new.name, "is_admin": new.is_admin, "has_password": hash.is_some()});
            audit::note(&mut transaction, &who, "user_added", &what)?;
            let added = user::by_id(&mut transaction, id)?;
            transaction.commit()?;
            added.ok_or_else(no_such_user)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// What is to be different.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    is_admin: Option<bool>,
    disabled: Option<bool>,
    password: Option<String>,
    /// The one until now, of whoever changes their own.
    current_password: Option<String>,
}

pub(super) async fn change(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
    Sent(change): Sent<Change>,
) -> Result<Json<Shown>, Refusal> {
    let is_self = viewer.user.as_ref().is_some_and(|user| user.id == id);
    let only_password =
        change.name.is_none() && change.is_admin.is_none() && change.disabled.is_none();
    if !(is_self && only_password) {
        viewer.must_be_admin()?;
    }
    if is_self && (change.is_admin == Some(false) || change.disabled == Some(true)) {
        return Err(own_rights());
    }
    // A cookie that somebody found open shall not be enough to lock its owner out.
    if is_self && change.password.is_some() && change.current_password.is_none() {
        return Err(Refusal::field(
            "current_password",
            "say your present password to change it",
        ));
    }
    // Nor shall it be a place to guess at the password.
    let guess = (viewer.user.as_ref())
        .filter(|_| is_self && change.password.is_some())
        .map(|user| user.name.clone());
    let limits = &shared.access().limits;
    let network = network(viewer.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    if let Some(name) = &guess
        && let Err(wait) = limits.attempt(name, network, Instant::now())
    {
        return Err(slowed(network, wait));
    }
    let who = viewer.who();
    let changed = shared
        .desk
        .ask(Pool::Login, move |client: &mut Client| {
            let before = user::by_id(client, id)?.ok_or_else(no_such_user)?;
            let name = change.name.as_deref().unwrap_or(&before.name);
            if let Some(password) = &change.password {
                fits(password, name)?;
                if is_self {
                    let present = user::credential(client, &before.name)?;
                    let hash = present.as_ref().and_then(|one| one.password.as_deref());
                    let said = change.current_password.as_deref().unwrap_or_default();
                    if !is_password(said, hash) {
                        return Err(Refusal::field("current_password", "it is another one"));
                    }
                }
            }
            if let Some(name) = &change.name
                && user::credential(client, name)?.is_some_and(|other| other.id != id)
            {
                return Err(taken(name));
            }
            let to = UserChange {
                name: change.name.clone(),
                is_admin: change.is_admin,
                disabled: change.disabled,
                password: change.password.as_deref().map(|new| Some(hash_password(new))),
            };
            let mut transaction = client.transaction()?;
            user::change(&mut transaction, id, &to)?;
            if change.password.is_some() {
                let what = json!({"user": before.name});
                audit::note(&mut transaction, &who, "password_changed", &what)?;
            }
            if !only_password {
                let to = json!({"name": change.name, "is_admin": change.is_admin, "disabled": change.disabled});
                let what = json!({"user": before.name, "to": to});
                audit::note(&mut transaction, &who, "user_changed", &what)?;
            }
            let changed = user::by_id(&mut transaction, id)?;
            transaction.commit()?;
            changed.ok_or_else(no_such_user)
        })
        .await?;
    if let Some(name) = &guess {
        limits.succeeded(name, network, Instant::now());
    }
    shared.access().faces.forget_user(id);
    Ok(Json(changed.into()))
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
) -> Result<StatusCode, Refusal> {
    viewer.must_be_admin()?;
    if viewer.user.as_ref().is_some_and(|user| user.id == id) {
        return Err(own_rights());
    }
    let who = viewer.who();
    shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                let mut transaction = client.transaction()?;
                let user = user::by_id(&mut transaction, id)?.ok_or_else(no_such_user)?;
                user::remove(&mut transaction, id)?;
                let what = json!({"user": user.name});
                audit::note(&mut transaction, &who, "user_removed", &what)?;
                Ok(transaction.commit()?)
            },
        )
        .await?;
    shared.access().faces.forget_user(id);
    Ok(StatusCode::NO_CONTENT)
}

fn fits(password: &str, name: &str) -> Result<(), Refusal> {
    check_password(password, name).map_err(|error| Refusal::field("password", error.to_string()))
}

fn taken(name: &str) -> Refusal {
    Refusal::conflict(format!(
        "there is a user {name} already; upper and lower case make no difference"
    ))
}

pub(super) fn no_such_user() -> Refusal {
    Refusal::not_found("there is no such user")
}

fn own_rights() -> Refusal {
    Refusal::conflict(
        "nobody takes their own rights away; another administrator can, or `trackport user` on the server",
    )
}
