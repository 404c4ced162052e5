//! `/api/v1/tokens`: what programs show instead of a password. Everybody has their own; administrators see and make everybody's.

use std::time::SystemTime;

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
use super::super::times::{parse_time, time};
use super::users::no_such_user;
use super::viewer::Viewer;
use crate::secret;
use crate::store::session::{self, ApiToken};
use crate::store::{audit, user};

/// A token as the API shows it.
#[derive(Serialize)]
pub(super) struct Shown {
    id: i32,
    user: i32,
    user_name: String,
    name: String,
    scope: &'static str,
    created_at: String,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<ApiToken> for Shown {
    fn from(token: ApiToken) -> Shown {
        Shown {
            id: token.id,
            user: token.user_id,
            user_name: token.user,
            name: token.name,
            scope: if token.may_write { "write" } else { "read" },
            created_at: time(token.created_at),
            last_used_at: token.last_used_at.map(time),
            expires_at: token.expires_at.map(time),
            revoked_at: token.revoked_at.map(time),
        }
    }
}

/// Whose tokens.
#[derive(Deserialize)]
pub(super) struct Whose {
    /// Everybody's, for administrators.
    #[serde(default)]
    all: bool,
    #[serde(flatten)]
    page: Page,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(whose): Asked<Whose>,
) -> Result<Json<Paged<Shown>>, Refusal> {
    let slice = whose.page.slice()?;
    let own = viewer.user.as_ref().map(|user| user.id);
    let of = match own {
        Some(id) if !whose.all => Some(id),
        _ => {
            viewer.must_be_admin()?;
            None
        }
    };
    let tokens = shared
        .desk
        .ask(Pool::Quick, move |client: &mut Client| {
            session::tokens(client, of)
        })
        .await?;
    Ok(Json(slice.part(tokens)))
}

/// A token to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// What it is for.
    name: String,
    #[serde(default)]
    scope: Scope,
    expires_at: Option<String>,
    /// Whose; the asker's without it.
    user: Option<i32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    #[default]
    Read,
    Write,
}

/// What is shown once.
#[derive(Serialize)]
pub(super) struct Made {
    id: i32,
    token: String,
}

pub(super) async fn add(
    State(shared): State<Shared>,
    viewer: Viewer,
    Sent(new): Sent<New>,
) -> Result<(StatusCode, Json<Made>), Refusal> {
    let own = viewer.user.as_ref().map(|user| user.id);
    let user_id = new.user.or(own).ok_or_else(|| {
        Refusal::field(
            "user",
            "nobody is logged in whose token it could be: say the number of a user",
        )
    })?;
    if own != Some(user_id) {
        viewer.must_be_admin()?;
    }
    let expires_at = match &new.expires_at {
        Some(text) => Some(parse_time("expires_at", text)?),
        None => None,
    };
    if expires_at.is_some_and(|at| at <= SystemTime::now()) {
        return Err(Refusal::field("expires_at", "this time is over"));
    }
    let made = secret::new_api_token();
    let (who, digest, may_write) = (viewer.who(), made.digest, new.scope == Scope::Write);
    let id = shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                let mut transaction = client.transaction()?;
                let user = user::by_id(&mut transaction, user_id)?.ok_or_else(no_such_user)?;
                let id = session::add_token(
                    &mut transaction,
                    user_id,
                    &new.name,
                    &digest,
                    may_write,
                    expires_at,
                )?;
                let what = json!({"user": user.name, "token": id, "name": new.name, "may_write": may_write});
                audit::note(&mut transaction, &who, "token_added", &what)?;
                transaction.commit()?;
                Ok(id)
            },
        )
        .await?;
    let made = Made {
        id,
        token: made.text,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
) -> Result<StatusCode, Refusal> {
    let of = if viewer.is_admin {
        None
    } else {
        let user = viewer.user.as_ref().ok_or_else(Refusal::no_login)?;
        Some(user.id)
    };
    let who = viewer.who();
    let owner = shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                let mut transaction = client.transaction()?;
                let revoked = session::revoke_token(&mut transaction, id, of)?;
                let (owner, name) = revoked
                    .ok_or_else(|| Refusal::not_found("there is no such token, or no longer"))?;
                let what = json!({"token": id, "name": name});
                audit::note(&mut transaction, &who, "token_revoked", &what)?;
                transaction.commit()?;
                Ok(owner)
            },
        )
        .await?;
    shared.access().faces.forget_user(owner);
    Ok(StatusCode::NO_CONTENT)
}
