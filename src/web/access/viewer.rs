//! Whoever asks something of the API, and what they may see and do.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::super::refusal::Refusal;
use super::super::shared::Shared;
use crate::conf::WebAccess;

/// What somebody may do within a group. Each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum GroupRole {
    /// Sees and exports.
    Viewer,
    /// Changes assets, fittings and the devices in them.
    Manager,
    /// Says who else belongs to the group.
    Admin,
}

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
}

impl Viewer {
    /// Whoever reaches a server that is open to this machine alone.
    fn of_open_server() -> Viewer {
        Viewer {
            user: None,
            is_admin: true,
            groups: Vec::new(),
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
}

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Refusal;

    async fn from_request_parts(_parts: &mut Parts, shared: &Shared) -> Result<Viewer, Refusal> {
        match shared.http.access {
            WebAccess::Open => Ok(Viewer::of_open_server()),
            WebAccess::Login => Err(Refusal::no_login()),
        }
    }
}
