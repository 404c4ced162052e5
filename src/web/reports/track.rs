//! `GET /api/v1/assets/{id}/export`: what was recorded of an asset, as a file that is sent while it is made.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use postgres::Client;
use serde::Deserialize;
use serde_json::json;

use super::super::access::Viewer;
use super::super::ask::{Pool, Sink};
use super::super::input::{Asked, Named};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::ask::{file, file_name, missing, note, times};
use crate::clock::utc;
use crate::export::track::{Format, write};
use crate::store::report::choice::Missing;
use crate::store::report::track::tracked;
use crate::store::report::{Span, head, span};

/// What is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Question {
    from: Option<String>,
    to: Option<String>,
    format: Option<String>,
}

fn format(text: Option<&str>) -> Result<Format, Refusal> {
    match text {
        None | Some("" | "gpx") => Ok(Format::Gpx),
        Some("geojson") => Ok(Format::GeoJson),
        Some("kml") => Ok(Format::Kml),
        Some("csv") => Ok(Format::Csv),
        Some(other) => Err(Refusal::field(
            "format",
            format!("{other:?} is none of gpx, geojson, kml, csv"),
        )),
    }
}

pub(super) async fn track(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(id): Named<i32>,
    Asked(asked): Asked<Question>,
) -> Result<Response, Refusal> {
    let format = format(asked.format.as_deref())?;
    times(asked.from.as_deref(), asked.to.as_deref())?;
    let who = viewer.who();
    // First whether it is there and when, so that this is refused as such; then what may take long.
    let before = move |client: &mut Client| -> Result<_, Refusal> {
        let asset = tracked(client, id)?
            .filter(|asset| viewer.sees(asset.group_id))
            .ok_or_else(|| missing(Missing::Asset(id)))?;
        let zone = head::time_zone(client, &[id])?;
        let (from, to) = times(asked.from.as_deref(), asked.to.as_deref())?;
        let span: Span = span::resolve(client, &zone, from, to)?;
        note(
            client,
            &who,
            &json!({
                "asset": id, "name": asset.name, "format": format.ending(), "from": utc(span.from), "to": utc(span.to)
            }),
        )?;
        Ok((asset, span))
    };
    let (asset, span) = shared.desk.ask(Pool::Quick, before).await?;
    let name = file_name(
        &format!("{}-{}", asset.id, asset.name),
        span,
        format.ending(),
    );
    let work = move |client: &mut Client, sink: &mut Sink<'_>| {
        write(client, &asset, span, format, sink).map(|_| ())
    };
    let body = shared.desk.stream(Pool::Slow, work).await?;
    Ok((file(format.content_type(), &name), body).into_response())
}
