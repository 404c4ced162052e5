//! `/healthz`: does the process live? `/readyz`: are packets acknowledged, and if not, or only just, why?
//!
//! Live: this thread answers and the supervisor's loop turns. Ready: the database or the spool takes packets, the device list is
//! known, a port is served. With the database away and the spool taking it is ready, and degraded.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::shared::Shared;
use crate::clock::Millis;
use crate::hub::SUPERVISOR_TURN_MAX_MS;
use crate::trouble::{self, Readiness};

/// The answer of `/healthz`.
#[derive(Serialize)]
pub(super) struct Live {
    status: &'static str,
    supervisor_turned_ms_ago: Millis,
}

/// The answer of `/readyz`.
#[derive(Serialize)]
pub(super) struct Ready {
    status: Readiness,
    reasons: Vec<Reason>,
}

/// One thing that is wrong.
#[derive(Serialize)]
struct Reason {
    kind: &'static str,
    effect: &'static str,
    text: String,
}

pub(super) async fn live(State(shared): State<Shared>) -> (StatusCode, Json<Live>) {
    fail::fail_point!("web-request");
    let age = shared.hub.supervisor_age();
    let (code, status) = judge_age(age);
    let live = Live {
        status,
        supervisor_turned_ms_ago: age,
    };
    (code, Json(live))
}

pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Ready>) {
    let troubles = trouble::troubles(&shared.hub);
    let status = trouble::readiness(&troubles);
    let code = match status {
        Readiness::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        Readiness::Ready | Readiness::Degraded => StatusCode::OK,
    };
    let reasons = troubles.iter().map(|trouble| Reason {
        kind: trouble.kind(),
        effect: trouble.effect().name(),
        text: trouble.to_string(),
    });
    let ready = Ready {
        status,
        reasons: reasons.collect(),
    };
    (code, Json(ready))
}

fn judge_age(age: Millis) -> (StatusCode, &'static str) {
    if age <= SUPERVISOR_TURN_MAX_MS {
        (StatusCode::OK, "live")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "supervisor_stands_still")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_stands_still_is_no_life() {
        assert_eq!(judge_age(50), (StatusCode::OK, "live"));
        assert_eq!(
            judge_age(SUPERVISOR_TURN_MAX_MS + 1).0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
