//! Who may see and do what.
//!
//! A request passes `gate.rs` (is the way private, is the host ours, did our own page ask?), which knows by `caller.rs` from where it
//! comes, and for the API `viewer.rs`: whoever asks, as every handler of the API takes it, known by a cookie (`cookie.rs`) or a token
//! that `known.rs` remembers. `login.rs` is the way in, `limits.rs` how often it may be tried, `me.rs` tells people who they are.
//! What is remembered between requests is `state.rs`, with `names.rs`.
//! `users.rs`, `members.rs`, `tokens.rs` and `deeds.rs` are what the API says of users, roles, tokens and who did what.

mod caller;
mod cookie;
mod deeds;
mod gate;
mod known;
mod limits;
mod login;
mod me;
mod members;
mod names;
pub(super) mod state;
mod tokens;
mod users;
mod viewer;

use axum::Router;
use axum::routing::{delete, get, patch, post, put};

use super::shared::Shared;

pub(super) use caller::{Peer, network};
pub(super) use gate::gate;
pub(super) use viewer::{Viewer, admit};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/login", post(login::login))
        .route("/logout", post(login::logout))
        .route("/me", get(me::me))
        .route("/users", get(users::list).post(users::add))
        .route("/users/{id}", patch(users::change).delete(users::remove))
        .route("/tokens", get(tokens::list).post(tokens::add))
        .route("/tokens/{id}", delete(tokens::revoke))
        .route("/groups/{id}/members", get(members::list))
        .route(
            "/groups/{id}/members/{user}",
            put(members::put).delete(members::remove),
        )
        .route("/audit", get(deeds::list))
}
