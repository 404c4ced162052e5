//! `/api/v1/me`: who asks, and what they may.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::ask::Pool;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::known::is_away;
use super::viewer::Viewer;
use crate::conf::WebAccess;
use crate::store::group::{self, GroupName};

/// The answer.
#[derive(Serialize)]
pub(super) struct Me {
    /// Of the user; null where nobody is logged in.
    id: Option<i32>,
    name: Option<String>,
    is_admin: bool,
    access: &'static str,
    groups: Vec<MyGroup>,
    version: &'static str,
    /// Where the map's background comes from; null: from the server alone.
    tiles: Option<MyTiles>,
}

#[derive(Serialize)]
struct MyTiles {
    url: String,
    attribution: String,
}

#[derive(Serialize)]
struct MyGroup {
    id: i32,
    name: String,
    time_zone: String,
    role: &'static str,
}

pub(super) async fn me(State(shared): State<Shared>, viewer: Viewer) -> Result<Json<Me>, Refusal> {
    let asked = shared.desk.ask(Pool::Quick, group::names).await;
    let all = match asked {
        Ok(names) => {
            shared.access().names.keep(&names);
            names
        }
        // Those who are known go on while the database is away, and see what they saw.
        Err(refusal) if is_away(&refusal) => shared.access().names.kept(),
        Err(refusal) => return Err(refusal),
    };
    let groups = all.into_iter().filter_map(|group: GroupName| {
        let role = viewer.role_in(group.id)?;
        Some(MyGroup {
            id: group.id,
            name: group.name,
            time_zone: group.time_zone,
            role: role.as_str(),
        })
    });
    Ok(Json(Me {
        groups: groups.collect(),
        id: viewer.user.as_ref().map(|user| user.id),
        name: viewer.user.map(|user| user.name),
        is_admin: viewer.is_admin,
        access: match shared.http.access {
            WebAccess::Login => "login",
            WebAccess::Open => "open",
        },
        version: env!("CARGO_PKG_VERSION"),
        tiles: shared.http.tiles.as_ref().map(|tiles| MyTiles {
            url: tiles.url.clone(),
            attribution: tiles.attribution.clone(),
        }),
    }))
}
