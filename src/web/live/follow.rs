//! `/api/v1/live`: changes as server-sent events, to each follower those of the groups that it sees.
//!
//! Events: `positions` (what changed, at most once a second), `removed` (ids of assets that are not seen any more), `trouble` (the
//! database is away, or back), `reload` (so much was missed that everything has to be loaded anew). Each has the mark of the last
//! change as its id; whoever comes back with it is told what changed since.
//!
//! A follower that reads nothing costs a connection and what the kernel keeps for it: the next event waits in front of its socket until
//! the connection's time-out ends both, and changes that pile up meanwhile end the stream. Time-outs in here would not
//! notice: the stream is asked for an event only when the socket takes bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, timeout_at};

use super::super::access::Viewer;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::rfc3339;
use super::answer::not_yet;
use super::board::{Assets, Board, Change, FOLLOWERS_MAX, View, sees};

/// A comment in between, so that who waits knows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is asked whether the follower still may see what it sees.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Whoever could not be asked about for so long is let go.
const UNASKED_MAX: Duration = Duration::from_secs(60);
/// After this a browser that lost the stream comes back.
const RETRY_MS: u64 = 3_000;
/// What is told of a change to a browser that lost the stream.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What may be asked for.
#[derive(Deserialize)]
pub(in super::super) struct Since {
    /// The mark of `/positions`: what changed between that answer and this stream comes first.
    since: Option<String>,
}

pub(in super::super) async fn live(
    State(shared): State<Shared>,
    viewer: Viewer,
    Query(since): Query<Since>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let board = Arc::clone(&shared.board);
    let Ok(place) = Arc::clone(&board.places).try_acquire_owned() else {
        let mut refusal = Refusal::busy();
        refusal.text = format!(
            "{FOLLOWERS_MAX} pages follow the positions already; ask again, or ask /positions now and then"
        );
        refusal.retry_after_s = Some(30);
        return Err(refusal);
    };
    let groups = viewer.group_ids();
    // Before the view, so that nothing falls between them; what is in both is told twice.
    let changes = board.follow();
    let mark = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
        .or(since.since);
    let now = board
        .view(groups.as_deref(), u64::MAX)
        .ok_or_else(not_yet)?;
    let mut begin = format!("retry: {RETRY_MS}\n\n");
    match mark.map(|mark| board.number(&mark)) {
        // Of another process: what it saw there may be gone.
        Some(0) => begin.push_str(&reload(&board, now.number)),
        Some(number) => {
            let view = board.view(groups.as_deref(), number).ok_or_else(not_yet)?;
            begin.push_str(&missed(&board, &view));
        }
        None => {}
    }
    if let Some(trouble) = &now.trouble {
        begin.push_str(&trouble_event(Some(trouble)));
    }
    let begun = Instant::now();
    let follower = Follower {
        board,
        shared,
        viewer,
        groups,
        changes,
        first: Some(begin),
        heartbeat_at: begun + HEARTBEAT,
        ask_again_at: begun + ASK_AGAIN,
        unasked_since: None,
        _place: place,
    };
    let events = stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), follower))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // A proxy that collects answers would keep events back.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// One stream.
struct Follower {
    board: Arc<Board>,
    shared: Shared,
    /// Whoever follows, to be asked again.
    viewer: Viewer,
    groups: Option<Vec<i32>>,
    changes: broadcast::Receiver<Change>,
    first: Option<String>,
    heartbeat_at: Instant,
    ask_again_at: Instant,
    /// Since when nobody could be asked.
    unasked_since: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let until = self.heartbeat_at.min(self.ask_again_at);
            let event = match timeout_at(until, self.changes.recv()).await {
                Ok(Ok(Change::Assets(assets))) => self.event(&assets),
                Ok(Ok(Change::Trouble(trouble))) => Some(trouble_event(trouble.as_deref())),
                // It read too slowly: it comes back and is told what it missed.
                Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return None,
                Err(_) => None,
            };
            let now = Instant::now();
            if now >= self.ask_again_at {
                self.ask_again_at = now + ASK_AGAIN;
                if let Some(reload) = self.ask_again().await? {
                    return Some(reload);
                }
            }
            if event.is_some() {
                self.heartbeat_at = now + HEARTBEAT;
                return event;
            }
            if now >= self.heartbeat_at {
                self.heartbeat_at = now + HEARTBEAT;
                return Some(":\n\n".to_owned());
            }
        }
    }

    /// Whether the follower still may see what it sees. `None`: nothing any more; an event where it would be shown something else.
    async fn ask_again(&mut self) -> Option<Option<String>> {
        let viewer = match self.viewer.renewed(&self.shared).await {
            Ok(viewer) => viewer,
            // It could not be asked just now; a later time tells, but not for ever.
            Err(refusal) if matches!(refusal.code, "busy" | "too_slow") => {
                let since = *self.unasked_since.get_or_insert_with(Instant::now);
                return (since.elapsed() < UNASKED_MAX).then_some(None);
            }
            Err(_) => return None,
        };
        self.unasked_since = None;
        let groups = viewer.group_ids();
        if groups == self.groups {
            return Some(None);
        }
        self.groups = groups;
        self.viewer = viewer;
        let number = self
            .board
            .view(Some(&[]), u64::MAX)
            .map_or(0, |view| view.number);
        Some(Some(reload(&self.board, number)))
    }

    fn event(&self, assets: &Assets) -> Option<String> {
        let groups = self.groups.as_deref();
        let shown: Vec<&str> = assets
            .shown
            .iter()
            .filter(|(group, _)| sees(groups, *group))
            .map(|(_, json)| &**json)
            .collect();
        // One that went from a group to another that is seen as well has not gone.
        let gone: Vec<i32> = assets
            .gone
            .iter()
            .filter(|(group, _)| sees(groups, *group))
            .map(|(_, id)| *id)
            .collect();
        let mark = self.board.mark(assets.number);
        let mut event = String::new();
        if !gone.is_empty() {
            event.push_str(&removed(&mark, &gone));
        }
        if !shown.is_empty() {
            event.push_str(&positions(&mark, assets.at_us, &shown));
        }
        (!event.is_empty()).then_some(event)
    }
}

fn missed(board: &Board, view: &View) -> String {
    let Some(gone) = &view.gone else {
        return reload(board, view.number);
    };
    let mark = board.mark(view.number);
    let mut events = String::new();
    if !gone.is_empty() {
        events.push_str(&removed(&mark, gone));
    }
    if !view.shown.is_empty() {
        let shown: Vec<&str> = view.shown.iter().map(|json| &**json).collect();
        events.push_str(&positions(&mark, view.at_us, &shown));
    }
    events
}

fn positions(mark: &str, at_us: i64, shown: &[&str]) -> String {
    let at = rfc3339(at_us);
    let shown = shown.join(",");
    format!("id: {mark}\nevent: positions\ndata: {{\"at\":\"{at}\",\"positions\":[{shown}]}}\n\n")
}

fn removed(mark: &str, gone: &[i32]) -> String {
    let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
    format!("id: {mark}\nevent: removed\ndata: [{}]\n\n", gone.join(","))
}

fn reload(board: &Board, number: u64) -> String {
    format!("id: {}\nevent: reload\ndata: {{}}\n\n", board.mark(number))
}

fn trouble_event(trouble: Option<&str>) -> String {
    let text = serde_json::json!({ "text": trouble });
    format!("event: trouble\ndata: {text}\n\n")
}
