//! Who may see and do what.
//!
//! `viewer.rs` is whoever asks, as every handler of the API takes it, `me.rs` tells them who they are.

mod me;
mod viewer;

use axum::Router;
use axum::routing::get;

use super::shared::Shared;

pub(super) use viewer::Viewer;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/me", get(me::me))
}
