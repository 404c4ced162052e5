//! `/api/v1/assets/{id}/series`: values over time, of typed columns and of any IO element.

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
use super::values::Values;
use super::{Epoch, GapShown, Number, about_asset, shown};
use crate::protocol::teltonika::{Codec, Io, IoValue};
use crate::store::reading::{Said, Sense, Senses};
use crate::store::series::{
    self, CODEC, Column, Fields, IO, IO_OF_FAULT, MOVEMENT, SENSOR_FAULT, SPEED, Span, Subject,
    TYPED, Typed, Window,
};

/// Without `points`.
const POINTS: usize = 1_500;
/// Keys in one question.
const KEYS_MAX: usize = 20;
/// What a faulty sensor says where its code is not there any more.
const FAULT: &str = "sensor fault";

/// The answer.
#[derive(Serialize)]
struct Series {
    from: String,
    to: String,
    n_records: u64,
    thinned: bool,
    series: Vec<Line>,
    gaps: Vec<GapShown>,
}

/// The values of one key.
#[derive(Serialize)]
struct Line {
    key: String,
    name: String,
    unit: Option<String>,
    time: Vec<Epoch>,
    min: Vec<Option<Number>>,
    max: Vec<Option<Number>>,
    last: Vec<Option<Number>>,
    faults: Vec<FaultShown>,
}

#[derive(Serialize)]
struct FaultShown {
    from: String,
    to: String,
    text: &'static str,
}

/// What is charted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Typed(&'static Typed),
    Io(u16),
}

impl Key {
    /// `speed_kmh` or `io:72`.
    fn parse(text: &str) -> Option<Key> {
        if let Some(id) = text.strip_prefix("io:") {
            return id.parse().ok().map(Key::Io);
        }
        TYPED.iter().find(|typed| typed.key == text).map(Key::Typed)
    }
}

fn keys(asked: &Asked) -> Result<Vec<Key>, Refusal> {
    let what = asked.what.as_deref().unwrap_or("speed_kmh");
    let mut keys = Vec::new();
    for text in what.split(',').map(str::trim) {
        let key = Key::parse(text).ok_or_else(|| {
            let known: Vec<&str> = TYPED.iter().map(|typed| typed.key).collect();
            let known = known.join(", ");
            Refusal::field(
                "what",
                format!("{text:?} is not known; known are {known}, and io:ID with an AVL id from 0 to 65535"),
            )
        })?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.len() > KEYS_MAX {
        return Err(Refusal::field(
            "what",
            format!("names {} keys; {KEYS_MAX} at most", keys.len()),
        ));
    }
    Ok(keys)
}

pub(super) async fn series(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let (id, span, points) = (question::id(&id)?, asked.span()?, asked.points(POINTS)?);
    let keys = keys(&asked)?;
    about_asset(
        &shared,
        viewer,
        id,
        span,
        question::pool(span),
        move |client, subject| read(client, subject, span, points, &keys),
    )
    .await
}

/// One line while it is read.
struct Reading {
    key: Key,
    values: Values,
    /// What an IO element was called last.
    sense: Option<Sense<'static>>,
}

/// Which columns are read, in their order.
struct Columns {
    typed: Vec<&'static Typed>,
    has_faults: bool,
    has_io: bool,
}

impl Columns {
    fn new(keys: &[Key]) -> Columns {
        let typed: Vec<&'static Typed> = keys
            .iter()
            .filter_map(|key| match key {
                Key::Typed(typed) => Some(*typed),
                Key::Io(_) => None,
            })
            .collect();
        Columns {
            has_faults: typed.iter().any(|typed| typed.fault_bit.is_some()),
            has_io: keys.iter().any(|key| matches!(key, Key::Io(_))),
            typed,
        }
    }

    fn list(&self) -> Vec<Column> {
        let mut list = vec![MOVEMENT, SPEED];
        list.extend(self.typed.iter().map(|typed| typed.column));
        if self.has_faults {
            list.push(SENSOR_FAULT);
        }
        if self.has_io || self.has_faults {
            list.push(CODEC);
            list.push(if self.has_io { IO } else { IO_OF_FAULT });
        }
        list
    }
}

fn read(
    client: &mut Client,
    subject: &Subject,
    span: Span,
    points: usize,
    keys: &[Key],
) -> Result<Series, Refusal> {
    let columns = Columns::new(keys);
    let list = columns.list();
    let mut lines: Vec<Reading> = keys
        .iter()
        .map(|key| Reading {
            key: *key,
            values: Values::new(span.from_us, span.until_us, points),
            sense: None,
        })
        .collect();
    let limit = limit_us(subject, subject.windows.first(), false);
    let mut gaps = Gaps::new(span.from_us, span.until_us, points, limit);
    let mut n_records = 0;
    for window in &subject.windows {
        n_records += read_window(
            client, subject, window, &columns, &list, &mut lines, &mut gaps,
        )?;
    }
    let gap_us = limit_us(subject, None, false);
    let thinned = lines.iter().any(|line| line.values.is_thinned());
    Ok(Series {
        from: rfc3339(span.from_us),
        to: rfc3339(span.until_us),
        n_records,
        thinned,
        series: lines.into_iter().map(|line| line.shown(gap_us)).collect(),
        gaps: shown(&gaps.finish(question::known_until_us(span))),
    })
}

fn read_window(
    client: &mut Client,
    subject: &Subject,
    window: &Window,
    columns: &Columns,
    list: &[Column],
    lines: &mut [Reading],
    gaps: &mut Gaps,
) -> Result<u64, Refusal> {
    let (moving_us, parked_us) = (
        limit_us(subject, Some(window), true),
        limit_us(subject, Some(window), false),
    );
    let mut senses = Senses::new(window.model.as_deref());
    let n_read = series::read(client, window, list, |time_us, mut fields| {
        let movement = fields.boolean();
        let speed_kmh = fields.int4();
        let moves = movement
            .unwrap_or_else(|| speed_kmh.is_some_and(|speed| speed >= subject.moves_from_kmh));
        gaps.mark(time_us, if moves { moving_us } else { parked_us });
        let faulty = add_typed(lines, columns, time_us, &mut fields);
        if !columns.has_io && faulty == 0 {
            return;
        }
        let (codec, io) = (fields.int2(), fields.bytes());
        let codec = codec
            .and_then(|id| u8::try_from(id).ok())
            .and_then(Codec::from_id);
        let io = codec.zip(io).map(|(codec, bytes)| Io { codec, bytes });
        if columns.has_io
            && let Some(io) = io
        {
            add_elements(lines, &mut senses, time_us, io);
        }
        if faulty != 0 {
            add_faults(lines, &mut senses, time_us, faulty, io);
        }
    })?;
    Ok(n_read)
}

/// Takes the values of typed columns; returns the bits of sensors that said an error in place of one.
fn add_typed(
    lines: &mut [Reading],
    columns: &Columns,
    time_us: i64,
    fields: &mut Fields<'_>,
) -> i16 {
    let mut missing = 0;
    for line in lines.iter_mut() {
        let Key::Typed(typed) = line.key else {
            continue;
        };
        match fields.float8() {
            // A sensor's few digits were widened from a `real`.
            Some(value) => line.values.add(time_us, (value * 1e4).round() / 1e4),
            None => missing |= typed.fault_bit.map_or(0, |bit| 1 << bit),
        }
    }
    if !columns.has_faults {
        return 0;
    }
    fields.int2().unwrap_or(0) & missing
}

fn add_elements(lines: &mut [Reading], senses: &mut Senses, time_us: i64, io: Io<'_>) {
    io.elements().for_each(|element| {
        let Some(line) = lines
            .iter_mut()
            .find(|line| line.key == Key::Io(element.id))
        else {
            return;
        };
        let IoValue::Fixed { width, raw } = element.value else {
            return;
        };
        let sense = senses.of(element.id, width);
        match sense {
            Some(sense) => match sense.say(width, raw) {
                Said::Value(value) => line.values.add(time_us, value),
                Said::Error(text) => line.values.add_fault(time_us, text),
            },
            #[expect(
                clippy::cast_precision_loss,
                reason = "a number that nobody has a name for"
            )]
            None => line.values.add(time_us, raw as f64),
        }
        line.sense = sense.or(line.sense);
    });
}

/// The sensors in `faulty` said an error: which one, the elements say.
fn add_faults(
    lines: &mut [Reading],
    senses: &mut Senses,
    time_us: i64,
    faulty: i16,
    io: Option<Io<'_>>,
) {
    let mut texts = [FAULT; 8];
    if let Some(io) = io {
        io.elements().for_each(|element| {
            let place = match element.id {
                id @ 72..=75 => usize::from(id - 72),
                id @ 25..=28 => usize::from(id - 25),
                86 => 4,
                104 => 5,
                106 => 6,
                108 => 7,
                _ => return,
            };
            if let IoValue::Fixed { width, raw } = element.value
                && let Some(Said::Error(text)) = senses
                    .of(element.id, width)
                    .map(|sense| sense.say(width, raw))
            {
                texts[place] = text;
            }
        });
    }
    for line in lines {
        if let Key::Typed(Typed {
            fault_bit: Some(bit),
            ..
        }) = line.key
            && faulty >> bit & 1 == 1
        {
            line.values.add_fault(time_us, texts[usize::from(*bit)]);
        }
    }
}

impl Reading {
    fn shown(self, gap_us: i64) -> Line {
        let (key, name, unit) = match self.key {
            Key::Typed(typed) => (
                typed.key.to_owned(),
                typed.name.to_owned(),
                typed.unit.map(str::to_owned),
            ),
            Key::Io(id) => (
                format!("io:{id}"),
                self.sense
                    .map_or_else(|| format!("AVL id {id}"), |sense| sense.name.to_owned()),
                self.sense.and_then(|sense| sense.unit).map(str::to_owned),
            ),
        };
        let broken = self.values.broken(gap_us);
        let each = |of: fn(&super::values::Point) -> f64| {
            broken
                .iter()
                .map(|(_, point)| point.as_ref().map(|point| Number(of(point))))
                .collect()
        };
        Line {
            key,
            name,
            unit,
            min: each(|point| point.min),
            max: each(|point| point.max),
            last: each(|point| point.last),
            time: broken.iter().map(|(time_us, _)| Epoch(*time_us)).collect(),
            faults: self
                .values
                .faults()
                .iter()
                .map(|fault| FaultShown {
                    from: rfc3339(fault.from_us),
                    to: rfc3339(fault.until_us),
                    text: fault.text,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(what: &str) -> Asked {
        Asked {
            what: Some(what.to_owned()),
            ..Asked::default()
        }
    }

    #[test]
    fn an_unknown_key_is_told_what_is_known() {
        let refusal = keys(&asked("speed_kmh,colour")).unwrap_err();
        assert_eq!(refusal.status, 422);
        for word in ["colour", "temperature_4", "io:ID"] {
            assert!(refusal.text.contains(word), "{}", refusal.text);
        }
        assert!(keys(&asked("io:70000")).is_err());
    }

    #[test]
    fn a_key_asked_for_twice_is_one_and_there_are_twenty_at_most() {
        assert_eq!(keys(&asked("io:72, io:72,speed_kmh")).unwrap().len(), 2);
        let many = |n: u16| {
            (0..n)
                .map(|id| format!("io:{id}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert!(keys(&asked(&many(20))).is_ok());
        assert!(keys(&asked(&many(21))).is_err());
    }
}
