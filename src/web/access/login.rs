//! Logging in by name and password, and out again.
//!
//! The whole of it happens on a thread of its own (`Pool::Login`): a password takes some ten milliseconds of a processor, on
//! purpose, and nobody else shall wait behind it. An unknown name takes as long as a wrong password and is told the same.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::header::{HeaderMap, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use postgres::Client;
use serde::Deserialize;
use serde_json::json;

use super::super::ask::Pool;
use super::super::input::Sent;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::caller::Caller;
use super::cookie;
use super::viewer::Viewer;
use crate::facts::{self, Fact};
use crate::secret::{self, TokenDigest};
use crate::store::audit::{self, Who};
use crate::store::{StoreError, session, user};

/// What somebody types.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Typed {
    name: String,
    password: String,
}

pub(super) async fn login(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Sent(typed): Sent<Typed>,
) -> Result<Response, Refusal> {
    let name = typed.name.trim().to_owned();
    let (limits, network) = (&shared.access().limits, caller.network());
    if let Err(wait) = limits.attempt(&name, network, Instant::now()) {
        return Err(slowed(caller.address, wait));
    }
    let token = secret::new_token();
    let agent = headers.get(USER_AGENT).and_then(|line| line.to_str().ok());
    let agent = agent.map(str::to_owned);
    let (digest, asked) = (token.digest, name.clone());
    let known = shared
        .desk
        .ask(
            Pool::Login,
            move |client: &mut Client| -> Result<_, StoreError> {
                try_login(
                    client,
                    &asked,
                    &typed.password,
                    digest,
                    caller,
                    agent.as_deref(),
                )
            },
        )
        .await;
    match known {
        Ok(true) => {
            limits.succeeded(&name, network, Instant::now());
            with_cookie(&cookie::set(&token.text, caller))
        }
        Ok(false) => {
            facts::say(
                Fact::WebLoginFailed,
                format_args!("address={}", caller.address),
            );
            Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "wrong_login",
                "name or password is wrong",
            ))
        }
        Err(refusal) => {
            limits.not_made(&name, network, Instant::now());
            Err(refusal)
        }
    }
}

/// Whether name and password are right; notes it either way. The log has no name: people type passwords there by mistake.
fn try_login(
    client: &mut Client,
    name: &str,
    password: &str,
    digest: TokenDigest,
    caller: Caller,
    agent: Option<&str>,
) -> Result<bool, StoreError> {
    let found = user::credential(client, name)?;
    let hash = found.as_ref().and_then(|found| found.password.as_deref());
    let is_right = secret::is_password(password, hash);
    let mut transaction = client.transaction()?;
    let who = |user_id, name: &str| Who {
        user_id,
        name: Some(name.to_owned()),
        address: Some(caller.address),
    };
    let is_in = match found {
        Some(found) if is_right && !found.is_disabled => {
            // Not if the password was changed while this one was looked at.
            let is_same =
                user::has_password(&mut transaction, found.id, found.password.as_deref())?;
            if is_same {
                session::open(
                    &mut transaction,
                    found.id,
                    &digest,
                    Some(caller.address),
                    agent,
                )?;
                let who = who(Some(found.id), &found.name);
                audit::note(&mut transaction, &who, "login", &json!({}))?;
            }
            is_same
        }
        Some(found) => {
            let why = if is_right { "disabled" } else { "password" };
            let who = who(Some(found.id), &found.name);
            audit::note(&mut transaction, &who, "login_failed", &json!({"why": why}))?;
            false
        }
        None => {
            let what = json!({"why": "no such user"});
            audit::note(&mut transaction, &who(None, name), "login_failed", &what)?;
            false
        }
    };
    transaction.commit()?;
    Ok(is_in)
}

pub(super) async fn logout(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    viewer: Viewer,
) -> Result<Response, Refusal> {
    if let Some(digest) = viewer.cookie_digest() {
        shared.access().faces.forget(&digest);
        let who = viewer.who();
        shared
            .desk
            .ask(
                Pool::Quick,
                move |client: &mut Client| -> Result<_, StoreError> {
                    let mut transaction = client.transaction()?;
                    session::close(&mut transaction, &digest)?;
                    audit::note(&mut transaction, &who, "logout", &json!({}))?;
                    Ok(transaction.commit()?)
                },
            )
            .await?;
    }
    with_cookie(&cookie::clear(caller))
}

fn with_cookie(cookie: &str) -> Result<Response, Refusal> {
    let cookie = HeaderValue::from_str(cookie).map_err(|_| Refusal::broken())?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// 429: so many passwords were wrong that the next one has to wait.
pub(super) fn slowed(address: IpAddr, wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + 1;
    facts::say(
        Fact::WebLoginsSlowed,
        format_args!("address={address} seconds={seconds}"),
    );
    let mut refusal = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_logins",
        format!("too many logins that failed; try again in {seconds} s"),
    );
    refusal.retry_after_s = Some(seconds);
    refusal
}
