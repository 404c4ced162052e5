//! How the API says no: a status, a code for programs and a text for people.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use postgres::error::SqlState;
use serde_json::json;

use crate::facts::{self, Fact};
use crate::store::StoreError;

/// An answer that is none: `{"error":{"code":"not_found","text":"…"}}`.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Of HTTP.
    pub(super) status: StatusCode,
    /// For programs; never changes.
    pub(super) code: &'static str,
    /// What is wrong, where, and what would be right.
    pub(super) text: String,
    /// Which fields of what was sent are wrong, and why.
    pub(super) fields: Vec<(&'static str, String)>,
    /// After how many seconds the same may be asked again.
    pub(super) retry_after_s: Option<u64>,
}

impl Refusal {
    /// A refusal with this status, code and text.
    pub(super) fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Refusal {
        Refusal {
            status,
            code,
            text: text.into(),
            fields: Vec::new(),
            retry_after_s: None,
        }
    }

    /// 422: it was understood, and makes no sense.
    pub(super) fn invalid(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", text)
    }

    /// 422 for one field.
    pub(super) fn field(name: &'static str, text: impl Into<String>) -> Refusal {
        let text = text.into();
        let mut refusal = Refusal::invalid(format!("{name}: {text}"));
        refusal.fields.push((name, text));
        refusal
    }

    /// 404: there is none, or none that whoever asks may see.
    pub(super) fn not_found(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "not_found", text)
    }

    /// 403: who asks may see it, and may not do this.
    pub(super) fn forbidden(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", text)
    }

    /// 409: something else is in its way.
    pub(super) fn conflict(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, "conflict", text)
    }

    /// 401: nobody is logged in.
    pub(super) fn no_login() -> Refusal {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "login_needed",
            "log in at /login, or send a token: Authorization: Bearer …",
        )
    }

    /// 503: too many questions wait.
    pub(super) fn busy() -> Refusal {
        let text =
            "the server has too many questions to answer at the moment; ask again in a few seconds";
        let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
        refusal.retry_after_s = Some(5);
        refusal
    }

    /// 504: it took too long.
    pub(super) fn too_slow(after: Duration) -> Refusal {
        let text = format!(
            "no answer within {} s; ask for a shorter time or fewer assets",
            after.as_secs()
        );
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, "too_slow", text)
    }

    /// 500: what answers broke.
    pub(super) fn broken() -> Refusal {
        let text = "this question broke what answers it; the server's log says more";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", text)
    }

    /// What became of a question at the database.
    pub(super) fn of_store(error: &StoreError) -> Refusal {
        match error {
            StoreError::Refused(text) => return Refusal::invalid(text.clone()),
            StoreError::Missing(text) => return Refusal::not_found(text.clone()),
            StoreError::Taken(text) => return Refusal::conflict(text.clone()),
            StoreError::Invalid(mistakes) => {
                let mut refusal = Refusal::invalid(error.to_string());
                let fields = mistakes.iter().map(|one| (one.field, one.text.clone()));
                refusal.fields = fields.collect();
                return refusal;
            }
            _ => {}
        }
        if error.is_away() {
            let text = "the database does not answer at the moment; what devices send is kept";
            let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "database_away", text);
            refusal.retry_after_s = Some(5);
            return refusal;
        }
        let is_locked = matches!(error, StoreError::Database(one) if one.code() == Some(&SqlState::LOCK_NOT_AVAILABLE));
        if is_locked || error.is_collision() {
            let text =
                "somebody else is changing the same at the moment; ask again in a few seconds";
            let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
            refusal.retry_after_s = Some(2);
            return refusal;
        }
        if let StoreError::Database(error) = error
            && error.code() == Some(&SqlState::QUERY_CANCELED)
        {
            return Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "too_slow",
                "the database needed too long for this; ask for a shorter time or fewer assets",
            );
        }
        facts::say(Fact::WebQuestionFailed, format_args!("error={error}"));
        Refusal::broken()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::of_store(&error)
    }
}

impl From<postgres::Error> for Refusal {
    fn from(error: postgres::Error) -> Refusal {
        Refusal::of_store(&error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "text": self.text });
        if !self.fields.is_empty() {
            let fields = self.fields.into_iter();
            let fields: serde_json::Map<_, _> = fields
                .map(|(name, text)| (name.to_owned(), text.into()))
                .collect();
            error["fields"] = fields.into();
        }
        let answer = (self.status, Json(json!({ "error": error })));
        match self.retry_after_s {
            Some(seconds) => ([(RETRY_AFTER, seconds.to_string())], answer).into_response(),
            None => answer.into_response(),
        }
    }
}
