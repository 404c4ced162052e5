//! Whoever asks something of the API, and what they may see and do.
//!
//! `admit` stands before every address of the API, so that a handler that forgets to ask for its `Viewer` is closed all the same.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::caller::Caller;
use super::cookie;
use super::gate::is_change;
use super::known::Shown;
use crate::conf::WebAccess;
use crate::secret::{self, TokenDigest};
use crate::store::audit::Who;
use crate::store::session::Identity;

pub(in super::super) use crate::store::user::GroupRole;

/// Bytes of what could be a token or a cookie of ours.
const SHOWN_BYTES_MAX: usize = 100;

/// Somebody with a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct User {
    pub(in super::super) id: i32,
    pub(in super::super) name: String,
}

/// Whoever asks.
#[derive(Clone, Debug)]
pub(in super::super) struct Viewer {
    /// Who; `None` where everybody may come in.
    pub(in super::super) user: Option<User>,
    /// May everything, everywhere.
    pub(in super::super) is_admin: bool,
    /// Groups with what may be done there.
    pub(in super::super) groups: Vec<(i32, GroupRole)>,
    /// From where.
    pub(in super::super) address: Option<IpAddr>,
    /// What was shown, to be asked again while an answer goes on for long.
    shown: Option<(TokenDigest, Shown)>,
}

impl Viewer {
    /// Whoever reaches a server that is open to this machine alone.
    fn of_open_server(address: IpAddr) -> Viewer {
        Viewer {
            user: None,
            is_admin: true,
            groups: Vec::new(),
            address: Some(address),
            shown: None,
        }
    }

    fn of_identity(identity: &Identity, address: IpAddr, shown: (TokenDigest, Shown)) -> Viewer {
        Viewer {
            user: Some(User {
                id: identity.user_id,
                name: identity.name.clone(),
            }),
            is_admin: identity.is_admin,
            groups: identity
                .groups
                .iter()
                .map(|one| (one.group_id, one.role))
                .collect(),
            address: Some(address),
            shown: Some(shown),
        }
    }

    /// Who this is for [`crate::store::audit::note`].
    pub(in super::super) fn who(&self) -> Who {
        Who {
            user_id: self.user.as_ref().map(|user| user.id),
            name: match &self.user {
                Some(user) => Some(user.name.clone()),
                None => Some("this machine (open access)".to_owned()),
            },
            address: self.address,
        }
    }

    /// The same viewer as they are now: an answer that goes on for minutes asks now and then. Costs nothing within a few seconds.
    ///
    /// # Errors
    /// When they may not be here any more.
    pub(in super::super) async fn renewed(&self, shared: &Shared) -> Result<Viewer, Refusal> {
        let (Some((digest, shown)), Some(address)) = (self.shown, self.address) else {
            return Ok(self.clone());
        };
        let faces = &shared.access().faces;
        match faces.find(&shared.desk, digest, shown).await? {
            Some(identity) => Ok(Viewer::of_identity(&identity, address, (digest, shown))),
            None => Err(Refusal::no_login()),
        }
    }

    /// Whether assets of this group are shown.
    pub(in super::super) fn sees(&self, group: i32) -> bool {
        self.may(group, GroupRole::Viewer)
    }

    /// Whether assets of this group may be changed.
    pub(in super::super) fn manages(&self, group: i32) -> bool {
        self.may(group, GroupRole::Manager)
    }

    /// Whether members of this group may be changed.
    pub(in super::super) fn administers(&self, group: i32) -> bool {
        self.may(group, GroupRole::Admin)
    }

    /// What may be done in this group; `None`: it is not seen.
    pub(in super::super) fn role_in(&self, group: i32) -> Option<GroupRole> {
        if self.is_admin {
            return Some(GroupRole::Admin);
        }
        let role = self.groups.iter().find(|(id, _)| *id == group);
        role.map(|(_, role)| *role)
    }

    fn may(&self, group: i32, least: GroupRole) -> bool {
        self.role_in(group).is_some_and(|role| role >= least)
    }

    /// The groups that are shown; `None`: all.
    pub(in super::super) fn group_ids(&self) -> Option<Vec<i32>> {
        (!self.is_admin).then(|| self.groups.iter().map(|(id, _)| *id).collect())
    }

    /// Lets those pass who may everything.
    pub(in super::super) fn must_be_admin(&self) -> Result<(), Refusal> {
        if self.is_admin {
            return Ok(());
        }
        Err(Refusal::forbidden(
            "only administrators of the server may do this",
        ))
    }

    /// What their cookie is kept as, where they came with one.
    pub(super) fn cookie_digest(&self) -> Option<TokenDigest> {
        let cookie = self.shown.filter(|(_, shown)| *shown == Shown::Cookie);
        cookie.map(|(digest, _)| digest)
    }
}

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Viewer, Refusal> {
        let viewer = parts.extensions.get::<Arc<Viewer>>();
        viewer
            .map(|viewer| Viewer::clone(viewer))
            .ok_or_else(Refusal::no_login)
    }
}

/// Lets a question of the API pass with its `Viewer`; only the login is for everybody.
pub(in super::super) async fn admit(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.uri().path() == "/login" && request.method() == Method::POST {
        return next.run(request).await;
    }
    let Some(caller) = request.extensions().get::<Caller>().copied() else {
        return Refusal::broken().into_response();
    };
    let (headers, method) = (request.headers(), request.method());
    match recognised(&shared, headers, method, caller).await {
        Ok(viewer) => {
            request.extensions_mut().insert(Arc::new(viewer));
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn recognised(
    shared: &Shared,
    headers: &HeaderMap,
    method: &Method,
    caller: Caller,
) -> Result<Viewer, Refusal> {
    let (secret, shown) = if let Some(header) = headers.get(AUTHORIZATION) {
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        // Whoever shows a token that is none is not let in by a cookie beside it.
        let (_, token) = token.ok_or_else(Refusal::no_login)?;
        (token.trim().to_owned(), Shown::Token)
    } else if shared.http.access == WebAccess::Open {
        return Ok(Viewer::of_open_server(caller.address));
    } else {
        let cookies = headers.get_all(COOKIE).iter();
        let cookie = cookie::find(cookies.filter_map(|line| line.to_str().ok()), caller);
        (cookie.ok_or_else(Refusal::no_login)?, Shown::Cookie)
    };
    if secret.is_empty() || secret.len() > SHOWN_BYTES_MAX {
        return Err(Refusal::no_login());
    }
    let digest = secret::digest(&secret);
    let faces = &shared.access().faces;
    let found = faces.find(&shared.desk, digest, shown).await?;
    let identity = found.ok_or_else(Refusal::no_login)?;
    if !identity.may_write && is_change(method) {
        return Err(Refusal::forbidden(
            "this token is for reading; one made with scope \"write\" may change things",
        ));
    }
    Ok(Viewer::of_identity(
        &identity,
        caller.address,
        (digest, shown),
    ))
}
