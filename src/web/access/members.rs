//! `/api/v1/groups/{id}/members`: who may do what in a group. For administrators of the group.

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
use super::users::no_such_user;
use super::viewer::{GroupRole, Viewer};
use crate::store::audit;
use crate::store::user::{self, Member};

/// A member as the API shows them.
#[derive(Serialize)]
pub(super) struct Shown {
    user: i32,
    name: String,
    role: &'static str,
    disabled: bool,
}

impl From<Member> for Shown {
    fn from(member: Member) -> Shown {
        Shown {
            user: member.user_id,
            name: member.name,
            role: member.role.as_str(),
            disabled: member.is_disabled,
        }
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(group): Named<i32>,
    Asked(page): Asked<Page>,
) -> Result<Json<Paged<Shown>>, Refusal> {
    must_administer(&viewer, group)?;
    let slice = page.slice()?;
    let members = shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                user::group(client, &group.to_string())?.ok_or_else(no_such_group)?;
                Ok(user::members(client, group)?)
            },
        )
        .await?;
    Ok(Json(slice.part(members)))
}

/// What somebody is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    role: String,
}

/// `user` is a user's number or name.
pub(super) async fn put(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named((group, user)): Named<(i32, String)>,
    Sent(new): Sent<New>,
) -> Result<Json<Shown>, Refusal> {
    must_administer(&viewer, group)?;
    let role: GroupRole = new
        .role
        .parse()
        .map_err(|error: crate::store::StoreError| Refusal::field("role", error.to_string()))?;
    let who = viewer.who();
    let member = shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                let (_, name) =
                    user::group(client, &group.to_string())?.ok_or_else(no_such_group)?;
                let user = find(client, &user)?;
                let mut transaction = client.transaction()?;
                user::grant(&mut transaction, user.id, group, role)?;
                let what = json!({"user": user.name, "group": name, "role": role.as_str()});
                audit::note(&mut transaction, &who, "role_granted", &what)?;
                transaction.commit()?;
                Ok(Member {
                    user_id: user.id,
                    name: user.name,
                    role,
                    is_disabled: user.disabled_at.is_some(),
                })
            },
        )
        .await?;
    shared.access().faces.forget_user(member.user_id);
    Ok(Json(member.into()))
}

/// `user` is a user's number or name.
pub(super) async fn remove(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named((group, user)): Named<(i32, String)>,
) -> Result<StatusCode, Refusal> {
    must_administer(&viewer, group)?;
    let who = viewer.who();
    let user_id = shared
        .desk
        .ask(
            Pool::Quick,
            move |client: &mut Client| -> Result<_, Refusal> {
                let (_, name) =
                    user::group(client, &group.to_string())?.ok_or_else(no_such_group)?;
                let user = find(client, &user)?;
                let mut transaction = client.transaction()?;
                if !user::revoke(&mut transaction, user.id, group)? {
                    return Err(Refusal::not_found("they have no role in this group"));
                }
                let what = json!({"user": user.name, "group": name});
                audit::note(&mut transaction, &who, "role_revoked", &what)?;
                transaction.commit()?;
                Ok(user.id)
            },
        )
        .await?;
    shared.access().faces.forget_user(user_id);
    Ok(StatusCode::NO_CONTENT)
}

fn find(client: &mut Client, user: &str) -> Result<user::User, Refusal> {
    let found = match user.parse::<i32>() {
        Ok(id) => user::by_id(client, id)?,
        Err(_) => user::by_name(client, user)?,
    };
    found.ok_or_else(no_such_user)
}

fn must_administer(viewer: &Viewer, group: i32) -> Result<(), Refusal> {
    if viewer.administers(group) {
        return Ok(());
    }
    if viewer.sees(group) {
        return Err(Refusal::forbidden(
            "only administrators of the group may say who belongs to it",
        ));
    }
    Err(no_such_group())
}

fn no_such_group() -> Refusal {
    Refusal::not_found("there is no such group")
}
