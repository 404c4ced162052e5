//! Who has shown which cookie or token: asked of the database, and remembered for a few seconds.
//!
//! A page asks for twenty things at once, and the database need not hear of each. What is taken away from somebody works on within
//! `FRESH`. While the database is away whoever was known goes on for `AWAY_MAX`, so that the live state can still be seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use postgres::Client;

use super::super::ask::{Desk, Pool};
use super::super::refusal::Refusal;
use crate::secret::TokenDigest;
use crate::store::StoreError;
use crate::store::session::{self, Identity};

/// What was heard so lately is not asked again.
const FRESH: Duration = Duration::from_secs(3);
/// So long somebody is believed of whom the database cannot be asked.
const AWAY_MAX: Duration = Duration::from_secs(900);
/// Remembered at a time; beyond, the one that was not asked for longest is forgotten.
const KNOWN_MAX: usize = 10_000;

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The cookie of a browser.
    Cookie,
    /// A program's token.
    Token,
}

#[derive(Clone)]
struct Known {
    identity: Arc<Identity>,
    /// When the database said so.
    said_at: Instant,
    /// Until when it is not asked again.
    ask_at: Instant,
}

/// Those who are known.
#[derive(Default)]
pub(super) struct Faces {
    known: Mutex<HashMap<TokenDigest, Known>>,
}

impl Faces {
    /// Who shows this; `None`: nobody, any more or ever.
    ///
    /// # Errors
    /// When the database cannot be asked, and it is no long acquaintance.
    pub(super) async fn find(
        &self,
        desk: &Desk,
        digest: TokenDigest,
        shown: Shown,
    ) -> Result<Option<Arc<Identity>>, Refusal> {
        let known = self.lock().get(&digest).cloned();
        if let Some(known) = &known
            && Instant::now() < known.ask_at
        {
            return Ok(Some(Arc::clone(&known.identity)));
        }
        let found = desk
            .ask(
                Pool::Quick,
                move |client: &mut Client| -> Result<_, StoreError> {
                    match shown {
                        Shown::Cookie => session::find(client, &digest),
                        Shown::Token => session::find_by_token(client, &digest),
                    }
                },
            )
            .await;
        let now = Instant::now();
        match (found, known) {
            (Ok(Some(identity)), _) => {
                let identity = Arc::new(identity);
                self.remember(digest, &identity, now);
                Ok(Some(identity))
            }
            (Ok(None), _) => {
                self.forget(&digest);
                Ok(None)
            }
            (Err(refusal), Some(mut known)) if is_away(&refusal) => {
                if now.saturating_duration_since(known.said_at) > AWAY_MAX {
                    return Err(refusal);
                }
                // Not each request shall wait for a database that does not answer.
                known.ask_at = now + FRESH;
                let identity = Arc::clone(&known.identity);
                // Somebody may have logged out meanwhile.
                if let Some(entry) = self.lock().get_mut(&digest) {
                    *entry = known;
                }
                Ok(Some(identity))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// Whoever shows this is nobody from now on.
    pub(super) fn forget(&self, digest: &TokenDigest) {
        self.lock().remove(digest);
    }

    /// What somebody may do has changed: it is asked anew.
    pub(super) fn forget_user(&self, user_id: i32) {
        self.lock()
            .retain(|_, known| known.identity.user_id != user_id);
    }

    fn remember(&self, digest: TokenDigest, identity: &Arc<Identity>, now: Instant) {
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX && !known.contains_key(&digest) {
            let oldest = known.iter().min_by_key(|(_, one)| one.said_at);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                known.remove(&oldest);
            }
        }
        let one = Known {
            identity: Arc::clone(identity),
            said_at: now,
            ask_at: now + FRESH,
        };
        known.insert(digest, one);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the database could not be asked, for whatever reason.
pub(super) fn is_away(refusal: &Refusal) -> bool {
    matches!(
        refusal.status,
        StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
    )
}
