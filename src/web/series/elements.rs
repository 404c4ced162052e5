//! `/api/v1/assets/{id}/elements`: what can be charted of a span: typed columns that have values, and every IO element.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use postgres::Client;
use serde::Serialize;

use super::super::access::Viewer;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::about_asset;
use super::question::{self, Asked};
use crate::protocol::teltonika::{Codec, Io, IoValue};
use crate::store::reading::{Sense, Senses};
use crate::store::series::{self, CODEC, IO, Subject, TYPED};

/// One of them.
#[derive(Serialize)]
struct Element {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    avl_id: Option<u16>,
    name: String,
    unit: Option<String>,
    n: u64,
    /// Whether it is a number, which a chart can show.
    number: bool,
}

pub(super) async fn elements(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let (id, span) = (question::id(&id)?, asked.span()?);
    about_asset(&shared, viewer, id, span, question::pool(span), read).await
}

/// An AVL id: how often it came as a number, how often as bytes, and what it is called.
#[derive(Default)]
struct Count {
    n_numbers: u64,
    n_bytes: u64,
    sense: Option<Sense<'static>>,
}

fn read(client: &mut Client, subject: &Subject) -> Result<Vec<Element>, Refusal> {
    let mut columns: Vec<_> = TYPED.iter().map(|typed| typed.column).collect();
    columns.extend([CODEC, IO]);
    let mut typed = vec![0_u64; TYPED.len()];
    let mut by_id: BTreeMap<u16, Count> = BTreeMap::new();
    for window in &subject.windows {
        let mut senses = Senses::new(window.model.as_deref());
        series::read(client, window, &columns, |_, mut fields| {
            for n in &mut typed {
                *n += u64::from(fields.float8().is_some());
            }
            let codec = fields
                .int2()
                .and_then(|id| u8::try_from(id).ok())
                .and_then(Codec::from_id);
            let Some((codec, bytes)) = codec.zip(fields.bytes()) else {
                return;
            };
            Io { codec, bytes }.elements().for_each(|element| {
                let count = by_id.entry(element.id).or_default();
                let width = match element.value {
                    IoValue::Fixed { width, .. } => {
                        count.n_numbers += 1;
                        width
                    }
                    IoValue::Bytes(_) => {
                        count.n_bytes += 1;
                        0
                    }
                };
                if count.sense.is_none() {
                    count.sense = senses.of(element.id, width);
                }
            });
        })?;
    }
    let typed = TYPED.iter().zip(typed).filter(|(_, n)| *n > 0);
    let mut elements: Vec<Element> = typed
        .map(|(typed, n)| Element {
            key: typed.key.to_owned(),
            avl_id: None,
            name: typed.name.to_owned(),
            unit: typed.unit.map(str::to_owned),
            n,
            number: true,
        })
        .collect();
    elements.extend(by_id.into_iter().map(|(id, count)| {
        Element {
            key: format!("io:{id}"),
            avl_id: Some(id),
            name: count
                .sense
                .map_or_else(|| format!("AVL id {id}"), |sense| sense.name.to_owned()),
            unit: count.sense.and_then(|sense| sense.unit).map(str::to_owned),
            n: count.n_numbers + count.n_bytes,
            number: count.n_numbers > 0,
        }
    }));
    Ok(elements)
}
