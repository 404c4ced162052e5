//! `/api/v1/status`, `/thread_events`, `/login_attempts`: for those who run the server.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use postgres::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::access::Viewer;
use super::super::ask::Pool;
use super::super::input::{Asked, Page, Paged};
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::time;
use crate::control::messages::Status;
use crate::control::server;
use crate::store::{self, StoreError, journal};

/// What the server runs on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Os {
    /// `Rocky Linux 9.4 (Blue Onyx)`.
    name: String,
    /// `9.4`.
    version: Option<String>,
    /// `5.14.0-427.el9.x86_64`.
    kernel: String,
    /// `x86_64`.
    machine: &'static str,
}

/// Neither changes while the process runs.
static OS: LazyLock<Os> = LazyLock::new(|| {
    let release = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Os {
        name: value(&release, "PRETTY_NAME")
            .or_else(|| value(&release, "NAME"))
            .unwrap_or_else(|| std::env::consts::OS.to_owned()),
        version: value(&release, "VERSION_ID"),
        kernel: kernel.trim().to_owned(),
        machine: std::env::consts::ARCH,
    }
});

/// A value of os-release, without its quotes.
fn value(release: &str, key: &str) -> Option<String> {
    release.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name == key).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

/// The control socket's answer, and what is around the process.
#[derive(Serialize)]
pub(super) struct Told {
    #[serde(flatten)]
    status: Status,
    os: Os,
    /// `16.4`; null while the database is away.
    postgresql: Option<String>,
}

pub(super) async fn status(
    State(shared): State<Shared>,
    viewer: Viewer,
) -> Result<Json<Told>, Refusal> {
    viewer.must_be_admin()?;
    let version = shared
        .desk
        .ask(Pool::Quick, |client: &mut Client| {
            store::server_facts(client)
        })
        .await;
    Ok(Json(Told {
        status: server::status(&shared.hub),
        os: OS.clone(),
        postgresql: version.ok().map(|facts| facts.version),
    }))
}

pub(super) async fn thread_events(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(page): Asked<Page>,
) -> Result<Json<Paged<Value>>, Refusal> {
    viewer.must_be_admin()?;
    let slice = page.slice()?;
    let found = shared.desk.ask(Pool::Quick, move |client: &mut Client| {
        journal::port_events(client, slice.offset(), slice.limit())
    });
    let (events, total) = found.await?;
    let items = events.iter().map(|one| {
        json!({
            "at": time(one.at),
            "thread": one.thread,
            "generation": one.generation,
            "event": one.event,
            "reason": one.reason,
        })
    });
    Ok(Json(slice.of(items.collect(), total)))
}

#[derive(Deserialize)]
pub(super) struct Attempts {
    /// Those of devices that are let in by now as well.
    #[serde(default)]
    all: bool,
    #[serde(flatten)]
    page: Page,
}

pub(super) async fn login_attempts(
    State(shared): State<Shared>,
    viewer: Viewer,
    Asked(asked): Asked<Attempts>,
) -> Result<Json<Paged<Value>>, Refusal> {
    viewer.must_be_admin()?;
    let slice = asked.page.slice()?;
    let found = shared.desk.ask(
        Pool::Quick,
        move |client: &mut Client| -> Result<_, StoreError> {
            journal::login_attempts(client, asked.all, slice.offset(), slice.limit())
        },
    );
    let (attempts, total) = found.await?;
    let items = attempts.iter().map(|one| {
        json!({
            "imei": one.attempt.imei,
            "port": one.attempt.port,
            "n_attempts": one.attempt.n_attempts,
            "first_at": time(one.attempt.first_at),
            "last_at": time(one.attempt.last_at),
            "last_address": one.attempt.last_address.map(|address| address.to_string()),
            "reason": one.attempt.reason,
            "state": one.state,
        })
    });
    Ok(Json(slice.of(items.collect(), total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_system_is_read_without_its_quotes() {
        let release = "NAME=\"Rocky Linux\"\nVERSION_ID=9.4\nPRETTY_NAME='Rocky Linux 9.4'\n";
        assert_eq!(
            value(release, "PRETTY_NAME").as_deref(),
            Some("Rocky Linux 9.4")
        );
        assert_eq!(value(release, "VERSION_ID").as_deref(), Some("9.4"));
        assert_eq!(value(release, "VERSION"), None);
    }
}
