//! `/api/v1/assets/{id}/track`: the way that an asset took.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use postgres::Client;
use serde::Serialize;

use super::super::access::Viewer;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::rfc3339;
use super::gaps::Gaps;
use super::question::{self, Asked, limit_us};
use super::way::{Before, Fix, Way};
use super::{Epoch, GapShown, about_asset, shown};
use crate::store::series::{self, ANGLE, FIX, LATITUDE, LONGITUDE, MOVEMENT, SPEED, Span, Subject};

/// Without `points`.
const POINTS: usize = 2_000;

/// The answer.
#[derive(Serialize)]
struct Track {
    from: String,
    to: String,
    n_records: u64,
    thinned: bool,
    segments: Vec<Segment>,
    gaps: Vec<GapShown>,
}

/// Fixes that a line may join.
#[derive(Default, Serialize)]
struct Segment {
    time: Vec<Epoch>,
    longitude: Vec<f64>,
    latitude: Vec<f64>,
    speed_kmh: Vec<Option<i32>>,
    angle_deg: Vec<Option<i32>>,
}

pub(super) async fn track(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let (id, span, points) = (question::id(&id)?, asked.span()?, asked.points(POINTS)?);
    about_asset(
        &shared,
        viewer,
        id,
        span,
        question::pool(span),
        move |client, subject| read(client, subject, span, points),
    )
    .await
}

fn read(
    client: &mut Client,
    subject: &Subject,
    span: Span,
    points: usize,
) -> Result<Track, Refusal> {
    let mut way = Way::new(span.from_us, span.until_us, points);
    let limit = limit_us(subject, subject.windows.first(), false);
    let mut gaps = Gaps::new(span.from_us, span.until_us, points, limit);
    let columns = [MOVEMENT, FIX, LONGITUDE, LATITUDE, SPEED, ANGLE];
    let mut n_records = 0;
    for window in &subject.windows {
        let (moving_us, parked_us) = (
            limit_us(subject, Some(window), true),
            limit_us(subject, Some(window), false),
        );
        let mut is_first = true;
        n_records += series::read(client, window, &columns, |time_us, mut fields| {
            let movement = fields.boolean();
            let is_fix = fields.boolean() == Some(true);
            let place = fields.float8().zip(fields.float8());
            let (speed_kmh, angle_deg) = (fields.int4(), fields.int4());
            let Some((longitude, latitude)) = place.filter(|_| is_fix) else {
                return;
            };
            let moves = movement
                .unwrap_or_else(|| speed_kmh.is_some_and(|speed| speed >= subject.moves_from_kmh));
            let is_gap = gaps.mark(time_us, if moves { moving_us } else { parked_us });
            way.add(Fix {
                time_us,
                longitude,
                latitude,
                speed_kmh,
                angle_deg,
                before: match is_gap {
                    _ if std::mem::take(&mut is_first) => Before::Nothing,
                    true => Before::Gap,
                    false => Before::Fix,
                },
            });
        })?;
    }
    let (fixes, thinned) = way.finish();
    let mut segments: Vec<Segment> = Vec::new();
    for fix in fixes {
        if fix.before != Before::Fix || segments.is_empty() {
            segments.push(Segment::default());
        }
        if let Some(segment) = segments.last_mut() {
            segment.time.push(Epoch(fix.time_us));
            segment.longitude.push(fix.longitude);
            segment.latitude.push(fix.latitude);
            segment.speed_kmh.push(fix.speed_kmh);
            segment.angle_deg.push(fix.angle_deg);
        }
    }
    Ok(Track {
        from: rfc3339(span.from_us),
        to: rfc3339(span.until_us),
        n_records,
        thinned,
        segments,
        gaps: shown(&gaps.finish(question::known_until_us(span))),
    })
}
