//! `/healthz`: does the process live? `/readyz`: are packets acknowledged, and if not, or only just, why?
//!
//! Live: this thread answers and the supervisor's loop turns. Ready: the database or the spool takes packets, the device list is
//! known, a port is served. With the database away and the spool taking it is ready, and degraded.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::router::Shared;
use crate::clock::{self, Millis};
use crate::hub::Hub;
use crate::trouble::{self, Effect, Trouble};

/// The supervisor's loop turns every 50 ms; one that took this long stands still.
const TURN_MAX_MS: Millis = 10_000;

/// The answer of `/healthz`.
#[derive(Serialize)]
pub(super) struct Live {
    status: &'static str,
    supervisor_turned_ms_ago: Millis,
}

/// The answer of `/readyz`.
#[derive(Serialize)]
pub(super) struct Ready {
    /// `ready`, `degraded`, `not_ready`.
    status: &'static str,
    reasons: Vec<Reason>,
}

/// One thing that is wrong.
#[derive(Serialize)]
struct Reason {
    kind: &'static str,
    effect: &'static str,
    text: String,
}

/// For how long the supervisor's loop has not turned.
pub(super) fn supervisor_age(hub: &Hub) -> Millis {
    clock::now().saturating_sub(hub.turned_at.load(Ordering::Relaxed))
}

pub(super) async fn live(State(shared): State<Shared>) -> (StatusCode, Json<Live>) {
    fail::fail_point!("web-request");
    let age = supervisor_age(&shared.hub);
    let (code, status) = judge_age(age);
    let live = Live {
        status,
        supervisor_turned_ms_ago: age,
    };
    (code, Json(live))
}

pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Ready>) {
    let troubles = trouble::troubles(&shared.hub);
    let (code, status) = judge(&troubles);
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
    if age <= TURN_MAX_MS {
        (StatusCode::OK, "live")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "supervisor_stands_still")
    }
}

fn judge(troubles: &[Trouble]) -> (StatusCode, &'static str) {
    match trouble::gravest(troubles) {
        Some(Effect::NotReady) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        Some(Effect::Degraded) => (StatusCode::OK, "degraded"),
        // What only a person can end keeps no packet from its ack.
        Some(Effect::Person) | None => (StatusCode::OK, "ready"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_stands_still_is_no_life() {
        assert_eq!(judge_age(50), (StatusCode::OK, "live"));
        assert_eq!(
            judge_age(TURN_MAX_MS + 1).0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[test]
    fn the_gravest_trouble_decides() {
        let mut troubles = vec![Trouble::Quarantined(3)];
        assert_eq!(judge(&troubles), (StatusCode::OK, "ready"));
        troubles.push(Trouble::Schema);
        assert_eq!(judge(&troubles), (StatusCode::OK, "degraded"));
        troubles.push(Trouble::NothingTakes);
        let unready = (StatusCode::SERVICE_UNAVAILABLE, "not_ready");
        assert_eq!(judge(&troubles), unready);
    }
}
