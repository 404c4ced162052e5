//! `POST /api/v1/devices/import`: many devices from a sheet, as `trackport device import` takes it.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use postgres::Client;
use serde_json::{Value, json};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::body;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::rights;
use crate::sheet::{self, ImportError, Mistake};
use crate::store::StoreError;

/// Mistakes that are told one by one.
const MISTAKES_MAX: usize = 1000;

pub(super) async fn import(
    State(shared): State<Shared>,
    viewer: Viewer,
    request: Request,
) -> Result<Response, Refusal> {
    viewer.must_be_admin()?;
    let kind = request.headers().get(axum::http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // What a form of another site can send is none of these.
    let is_sheet = kind
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"));
    if !is_sheet {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_csv",
            "the body must be the sheet: Content-Type: text/csv",
        ));
    }
    let bytes = body(request).await?;
    let rows = match sheet::read(&bytes) {
        Ok(rows) => rows,
        Err(mistakes) => return Ok(told(&mistakes)),
    };
    let imported = shared.desk.ask(Pool::Slow, move |client: &mut Client| {
        let mut transaction = client.transaction()?;
        match sheet::import(&mut transaction, &rows) {
            Err(ImportError::Mistakes(mistakes)) => Ok(Err(mistakes)),
            Err(ImportError::Store(error)) => Err(error),
            Ok(imported) => {
                let what = json!({
                    "added": imported.n_added,
                    "changed": imported.n_changed,
                    "unchanged": imported.n_same,
                });
                rights::note(&mut transaction, &viewer, "devices_imported", &what)?;
                transaction.commit()?;
                Ok::<_, StoreError>(Ok(what))
            }
        }
    });
    Ok(match imported.await? {
        Ok(done) => Json(done).into_response(),
        Err(mistakes) => told(&mistakes),
    })
}

/// 422 with each mistake, as the command line tells it.
fn told(mistakes: &[Mistake]) -> Response {
    let listed: Vec<Value> = mistakes
        .iter()
        .take(MISTAKES_MAX)
        .map(|one| json!({"line": one.line, "column": one.column, "text": one.text}))
        .collect();
    let first = mistakes
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let error = json!({
        "code": "invalid",
        "text": format!("{} mistakes in the sheet; nothing is imported. The first, in line {first}", mistakes.len()),
        "n_mistakes": mistakes.len(),
        "mistakes": listed,
    });
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        Json(json!({"error": error})),
    )
        .into_response()
}
