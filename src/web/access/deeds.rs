//! `/api/v1/audit`: who did what. For administrators of the server.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use postgres::Client;
use serde::{Deserialize, Serialize};

use super::super::ask::Pool;
use super::super::input::{Asked, Page, Paged};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::{parse_time, time};
use super::viewer::Viewer;
use crate::store::audit::{self, AuditFilter, Entry};

/// An entry as the API shows it.
#[derive(Serialize)]
pub(super) struct Shown {
    id: i64,
    at: String,
    user: Option<i32>,
    user_name: Option<String>,
    address: Option<IpAddr>,
    action: String,
    what: serde_json::Value,
}

impl From<Entry> for Shown {
    fn from(entry: Entry) -> Shown {
        Shown {
            id: entry.id,
            at: time(entry.at),
            user: entry.user_id,
            user_name: entry.user_name,
            address: entry.address,
            action: entry.action,
            what: entry.what,
        }
    }
}

/// Which entries.
#[derive(Deserialize)]
pub(super) struct Which {
    user: Option<String>,
    action: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(flatten)]
    page: Page,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(which): Asked<Which>,
) -> Result<Json<Paged<Shown>>, Refusal> {
    viewer.must_be_admin()?;
    let at = |name, text: &Option<String>| text.as_deref().map(|text| parse_time(name, text));
    let filter = AuditFilter {
        from: at("from", &which.from).transpose()?,
        to: at("to", &which.to).transpose()?,
        user: which.user,
        action: which.action,
    };
    let slice = which.page.slice()?;
    let (entries, total) = shared
        .desk
        .ask(Pool::Quick, move |client: &mut Client| {
            audit::list(client, &filter, slice.offset(), slice.limit())
        })
        .await?;
    let items = entries.into_iter().map(Shown::from).collect();
    Ok(Json(slice.of(items, total)))
}
