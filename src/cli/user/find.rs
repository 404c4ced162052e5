//! Users and groups as people name them.

use postgres::Client;

use crate::store::user::{self, User};

/// The user of this name.
pub(super) fn user(client: &mut Client, name: &str) -> anyhow::Result<User> {
    user::by_name(client, name)?.ok_or_else(|| {
        anyhow::anyhow!("there is no user {name}: `trackport user list` says who there is")
    })
}

/// Number and name of a group, by either.
pub(super) fn group(client: &mut Client, group: &str) -> anyhow::Result<(i32, String)> {
    user::group(client, group)?.ok_or_else(|| anyhow::anyhow!("there is no group {group}"))
}
