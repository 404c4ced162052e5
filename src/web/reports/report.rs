//! `GET /api/v1/reports/{name}`.
//!
//! An answer is made as a whole before it is sent, because only then is it known whether it has too many rows: so rows are bounded.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use postgres::Client;
use serde::Deserialize;
use serde_json::json;

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::{Asked, Named};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::ask::{file, file_name, missing, note, numbers, times};
use crate::clock::utc;
use crate::export::{About, CsvReport, ExportError, JsonReport, SheetReport};
use crate::store::report::choice::{self, Choice};
use crate::store::report::head::{self, head};
use crate::store::report::{self, REPORTS, Report, Span, rows, span};

/// What is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Question {
    from: Option<String>,
    to: Option<String>,
    asset: Option<String>,
    group: Option<String>,
    format: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Xlsx,
}

impl Format {
    fn of(text: Option<&str>) -> Result<Format, Refusal> {
        match text {
            None | Some("" | "json") => Ok(Format::Json),
            Some("csv") => Ok(Format::Csv),
            Some("xlsx") => Ok(Format::Xlsx),
            Some(other) => Err(Refusal::field(
                "format",
                format!("{other:?} is none of json, csv, xlsx"),
            )),
        }
    }

    /// Rows at most. A spreadsheet is held in memory with every cell of it.
    fn rows_max(self) -> i64 {
        match self {
            Format::Json | Format::Csv => 100_000,
            Format::Xlsx => 50_000,
        }
    }
}

pub(super) async fn report(
    State(shared): State<Shared>,
    viewer: Viewer,
    Named(name): Named<String>,
    Asked(asked): Asked<Question>,
) -> Result<Response, Refusal> {
    let report = report::named(&name).ok_or_else(|| {
        let names: Vec<&str> = REPORTS.iter().map(|report| report.name).collect();
        Refusal::not_found(format!(
            "there is no report {name:?}; there are {}",
            names.join(", ")
        ))
    })?;
    let format = Format::of(asked.format.as_deref())?;
    let choice = Choice {
        seen: viewer.group_ids(),
        groups: numbers("group", asked.group.as_deref())?,
        assets: numbers("asset", asked.asset.as_deref())?,
    };
    times(asked.from.as_deref(), asked.to.as_deref())?;
    let who = viewer.who();
    let work = move |client: &mut Client| -> Result<(Vec<u8>, Span), Refusal> {
        let assets = choice::assets(client, &choice)?.map_err(missing)?;
        let zone = head::time_zone(client, &assets)?;
        let (from, to) = times(asked.from.as_deref(), asked.to.as_deref())?;
        let span = span::resolve(client, &zone, from, to)?;
        let body = body(client, report, &assets, span, format)?;
        if format != Format::Json {
            note(
                client,
                &who,
                &json!({
                    "report": report.name, "assets": assets.len(), "groups": choice.groups, "format": asked.format,
                    "from": utc(span.from), "to": utc(span.to)
                }),
            )?;
        }
        Ok((body, span))
    };
    let (body, span) = shared.desk.ask(Pool::Slow, work).await?;
    let answer = match format {
        Format::Json => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Format::Csv => (
            file(
                "text/csv; charset=utf-8",
                &file_name(report.name, span, "csv"),
            ),
            body,
        )
            .into_response(),
        Format::Xlsx => {
            let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
            (file(kind, &file_name(report.name, span, "xlsx")), body).into_response()
        }
    };
    Ok(answer)
}

/// The file; a refusal where it would have too many rows.
fn body(
    client: &mut Client,
    report: &Report,
    assets: &[i32],
    span: Span,
    format: Format,
) -> Result<Vec<u8>, Refusal> {
    let head = head(client, assets, span)?;
    match made(
        client,
        About {
            report,
            head: &head,
        },
        assets,
        format,
    )? {
        Some(body) => Ok(body),
        None => Err(Refusal::invalid(format!(
            "this report has more than {} lines as {}; ask for a shorter time or fewer assets. `trackport report {} --format csv` on the \
             server has no such limit",
            format.rows_max(),
            match format {
                Format::Json => "json",
                Format::Csv => "csv",
                Format::Xlsx => "xlsx",
            },
            report.name
        ))),
    }
}

fn made(
    client: &mut Client,
    about: About<'_>,
    assets: &[i32],
    format: Format,
) -> Result<Option<Vec<u8>>, ExportError> {
    let mut rows = |each: &mut dyn FnMut(&[rows::Cell]) -> Result<(), ExportError>| {
        let (span, zone) = (about.head.span, &about.head.time_zone);
        rows::for_each(
            client,
            about.report,
            assets,
            span,
            zone,
            Some(format.rows_max()),
            each,
        )
    };
    let (is_whole, bytes) = match format {
        Format::Json => {
            let mut file = JsonReport::begin(about, Vec::new())?;
            (rows(&mut |cells| Ok(file.row(cells)?))?, file.finish()?)
        }
        Format::Csv => {
            let mut file = CsvReport::begin(about, Vec::new())?;
            (rows(&mut |cells| Ok(file.row(cells)?))?, file.finish()?)
        }
        Format::Xlsx => {
            let mut file = SheetReport::begin(about)?;
            (rows(&mut |cells| Ok(file.row(cells)?))?, file.finish()?)
        }
    };
    Ok(is_whole.then_some(bytes))
}
