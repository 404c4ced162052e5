//! How often a device is usually heard, learned from its contacts: one estimate while it moves and one while it does not.
//!
//! A contact is a record newer than all before it. Those that follow within ten seconds are part of it, however many packets they are.
//! What a device had stored while it could not send is no contact: there the records lie far behind their receipt (unless they go
//! forward as time does: then it is the device's clock that is behind). Silence between two contacts of different modes says nothing.
//!
//! The estimate goes up to the silence heard, at most to twice of itself, and down by a fifth at most, by less the shorter the silence is.
//! So one outage doubles it for a few contacts, a longer setting is learned in as many contacts as it doubles, a burst of packets weighs
//! little, and three quarters of a device's silences are shorter than its estimate. Nothing is kept but the estimates: it goes on after a restart.

/// Contacts within so many seconds are one.
const BURST_S: f64 = 10.0;
/// So many seconds a record may lie behind its receipt without being old.
const FRESH_S: f64 = 30.0;
/// The first silence may have been an outage.
const FIRST_MAX_S: f64 = 3600.0;
/// Faster than this a device that does not say whether it moves is believed to.
const MOVING_KMH: i32 = 5;

/// The assignments for a newer record `excluded` in the place of `l`, where `newer` holds.
pub(super) fn assignments(newer: &str) -> String {
    let seconds = |interval: &str| format!("extract(epoch FROM {interval})::float8");
    let silence = seconds("excluded.received_at - coalesce(l.contact_at, l.received_at)");
    let behind = seconds("excluded.received_at - excluded.time");
    let received = seconds("excluded.received_at - l.received_at");
    let recorded = seconds("excluded.time - l.time");
    let is_contact = format!(
        "({newer} AND {silence} >= {BURST_S} AND ({behind} <= greatest({FRESH_S}, {silence} / 2)
             OR {received} >= {BURST_S} AND abs({recorded} - {received}) <= greatest({FRESH_S}, {received} / 2)))"
    );
    let moves = |row: &str| format!("coalesce({row}.movement, {row}.speed_kmh > {MOVING_KMH})");
    let (moved, moves) = (moves("l"), moves("excluded"));
    let learn = |usual: &str, mode: &str| {
        format!(
            "{usual} = CASE WHEN NOT ({mode}) OR NOT {is_contact} THEN l.{usual}
                 WHEN l.{usual} IS NULL THEN least({silence}, {FIRST_MAX_S})
                 WHEN {silence} > l.{usual} THEN least({silence}, 2 * l.{usual})
                 ELSE greatest({silence}, l.{usual} * power(0.8, sqrt({silence} / l.{usual}))) END"
        )
    };
    format!(
        "contact_at = CASE WHEN {is_contact} THEN excluded.received_at ELSE coalesce(l.contact_at, l.received_at) END, {}, {}",
        learn("contact_moving_s", &format!("{moved} AND {moves}")),
        learn("contact_parked_s", &format!("NOT {moved} AND NOT {moves}")),
    )
}
