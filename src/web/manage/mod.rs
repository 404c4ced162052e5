//! Assets, fittings, groups and devices over the API, and what the server says of itself.
//!
//! `assets.rs`, `fittings.rs`, `groups.rs`, `devices.rs` change what `store` keeps; `import.rs` takes a sheet, `suggestions.rs` guesses models, `quarantine.rs` explains
//! packets that were kept aside, `server.rs` is for those who run the server. `rights.rs` says who may do what, and notes who did.
//!
//! Invariants: whatever is asked is refused before anything is changed, what is changed is noted in the same transaction, and what
//! somebody does not see is answered as if it were not there.

mod assets;
mod devices;
mod fittings;
mod groups;
mod import;
mod quarantine;
mod rights;
mod server;
mod suggestions;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, patch, post};

use super::shared::Shared;

/// Bytes of a sheet: some hundred thousand devices.
const SHEET_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a list of IMEIs to accept.
const IMEIS_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/assets", get(assets::list).post(assets::add))
        .route("/assets/{id}", get(assets::show).patch(assets::set))
        .route("/assets/{id}/fittings", post(fittings::fit))
        .route("/fittings/{id}", patch(fittings::end))
        .route("/groups", get(groups::list).post(groups::add))
        .route("/groups/{id}", patch(groups::set).delete(groups::remove))
        .route("/devices", get(devices::list).post(devices::add))
        .route(
            "/devices/accept",
            post(devices::accept).layer(DefaultBodyLimit::max(IMEIS_BYTES_MAX)),
        )
        .route(
            "/devices/import",
            post(import::import).layer(DefaultBodyLimit::max(SHEET_BYTES_MAX)),
        )
        .route("/devices/{imei}", get(devices::show).patch(devices::set))
        .route("/devices/{imei}/replace", post(devices::replace))
        .route("/devices/{imei}/quarantine", get(quarantine::list))
        .route("/devices/{imei}/recompute", get(devices::recomputed))
        .route("/login_attempts", get(server::login_attempts))
        .route("/status", get(server::status))
        .route("/thread_events", get(server::thread_events))
}
