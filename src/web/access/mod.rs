//! Who may see and do what.
//!
//! A request passes `gate.rs` (is the way private, is the host ours, did our own page ask?), which knows by `caller.rs` from where it
//! comes, and for the API `viewer.rs`: whoever asks, as every handler of the API takes it, known by a cookie (`cookie.rs`) or a token
//! that `known.rs` remembers. `login.rs` is the way in, `limits.rs` how often it may be tried, `me.rs` tells people who they are.
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
mod tokens;
mod users;
mod viewer;
mod wire;

use axum::Router;
use axum::routing::{delete, get, patch, post, put};

use super::input::{Paged, Slice};
use super::shared::Shared;

pub(super) use caller::{Peer, network};
pub(super) use gate::gate;
pub(super) use viewer::{Viewer, admit};

/// What is remembered of those who ask; it begins anew with the thread.
#[derive(Default)]
pub(super) struct Access {
    faces: known::Faces,
    limits: limits::Limits,
    names: me::Names,
}

/// A part of a list that is short enough to be read as a whole.
fn part<T, U: From<T>>(slice: Slice, all: Vec<T>) -> Paged<U> {
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let place = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let items = all.into_iter().skip(place(slice.offset()));
    slice.of(
        items.take(place(slice.limit())).map(U::from).collect(),
        total,
    )
}

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
