//! `GET /api/v1/devices/{imei}/quarantine`: packets that could not be read or stored, field by field.

use axum::Json;
use axum::extract::State;
use postgres::Client;
use serde_json::{Value, json};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::{Asked, Named, Page, Paged};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::{time, time_or_null};
use super::devices;
use crate::models::meaning;
use crate::protocol::hex;
use crate::protocol::teltonika::explain::explain;
use crate::store::held::{self, Held};

/// Entries of a page: each has its bytes and a line for each field of them.
const PER_PAGE_MAX: u32 = 50;

pub(super) async fn list(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(imei): Named<String>,
    Asked(page): Asked<Page>,
) -> Result<Json<Paged<Value>>, Refusal> {
    let slice = page.slice_of(PER_PAGE_MAX)?;
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        let device = devices::seen(client, &viewer, &imei)?;
        // What came before was somebody else's, perhaps.
        let since = if viewer.is_admin {
            None
        } else {
            device.fitted_at
        };
        let (entries, total) =
            held::of_device(client, &device.imei, since, slice.offset(), slice.limit())?;
        let items = entries
            .iter()
            .map(|(entry, bytes)| shown(entry, bytes, viewer.is_admin));
        Ok::<_, Refusal>((items.collect(), total))
    });
    let (items, total) = found.await?;
    Ok(Json(slice.of(items, total)))
}

fn shown(entry: &Held, bytes: &[u8], is_admin: bool) -> Value {
    let explanation = explain(bytes, &|id| meaning(id, entry.model.as_deref()));
    let mut value = json!({
        "id": entry.id,
        "received_at": time(entry.received_at),
        "last_at": time(entry.last_at),
        "code": entry.code,
        "reason": entry.reason,
        "n_seen": entry.n_seen,
        "acked": entry.acked,
        "dismissed_at": time_or_null(entry.dismissed_at),
        "n_records": entry.n_records,
        "n_bytes": entry.n_bytes,
        "bytes": hex::encode(bytes),
        "explanation": explanation.lines,
    });
    if is_admin {
        value["port"] = entry.port.into();
        value["address"] = entry.address.map(|address| address.to_string()).into();
    }
    value
}
