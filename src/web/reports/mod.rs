//! Reports and exports: which reports there are, one of them as JSON, CSV or spreadsheet, the track of an asset as a file.
//!
//! Nobody gets more than they see: assets of other groups are not there for them. What is exported as a file is noted in the audit.

mod ask;
mod report;
mod track;

use axum::Json;
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

use super::access::Viewer;
use super::shared::Shared;
use crate::export::columns_json;
use crate::store::report::REPORTS;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/reports", get(list))
        .route("/reports/{name}", get(report::report))
        .route("/assets/{id}/export", get(track::track))
}

/// Which reports there are.
async fn list(_viewer: Viewer) -> Json<Value> {
    let reports = REPORTS.iter().map(|report| {
        json!({
            "name": report.name, "title": report.title, "description": report.description, "columns": columns_json(report)
        })
    });
    Json(reports.collect())
}
