//! Where every asset is now, and what changes: `/api/v1/positions` and `/api/v1/live`.
//!
//! `thread.rs` is the thread `live`, which follows the database and judges (`state.rs`) what each asset does; `board.rs` is where it
//! hangs that up in memory, as the JSON of `position.rs`; `answer.rs` shows it to those who ask, and `follow.rs` to those who stay.
//!
//! Nothing here asks the database on behalf of a page, and the database is only read: a thousand pages cost it what none costs.

mod answer;
pub(super) mod board;
mod follow;
mod position;
mod state;
pub mod thread;

use axum::Router;
use axum::routing::get;

use super::shared::Shared;

pub use board::Board;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/positions", get(answer::positions))
        .route("/live", get(follow::live))
}
