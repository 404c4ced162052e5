//! Devices as a page lists them: searched, filtered, sorted and cut into pages by the database.
//!
//! What needs a look into other tables for each device (refused logins, what is in quarantine) is looked up for the page alone.

use std::net::IpAddr;
use std::time::SystemTime;

use postgres::{Client, Row};

use super::device::DeviceState;
use super::error::StoreError;
use super::listing;

/// What is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its number.
    pub id: i32,
    /// Its IMEI.
    pub imei: String,
    /// What people call it.
    pub name: Option<String>,
    /// The maker's model.
    pub model: Option<String>,
    /// Version of its firmware.
    pub firmware: Option<String>,
    /// Number of its SIM card.
    pub phone: Option<String>,
    /// Serial number of its SIM card.
    pub iccid: Option<String>,
    /// Anything else.
    pub note: Option<String>,
    /// What it may do.
    pub state: String,
    /// Fields of the operator's own.
    pub attributes: serde_json::Value,
    /// When it was added.
    pub created_at: SystemTime,
    /// Number, name and group of the asset that it is in.
    pub asset: Option<(i32, String, i32)>,
    /// It has a session.
    pub connected: bool,
    /// When it logged in last.
    pub last_login_at: Option<SystemTime>,
    /// When it was heard last.
    pub last_contact_at: Option<SystemTime>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Number of the port.
    pub port: Option<i32>,
    /// When it sent a packet before the ack of the one before.
    pub sends_before_ack_at: Option<SystemTime>,
    /// Refused logins of it that are known.
    pub login_attempts: i64,
    /// Why its last refused login was refused, or its last packet kept aside; `None`: nothing since its last login.
    pub last_error: Option<String>,
    /// Since when it is in the asset; `None`: always was, or in none.
    pub fitted_at: Option<SystemTime>,
}

/// Orders of the list; each with a minus in front is the reverse.
pub const SORTS: [&str; 8] = [
    "name",
    "imei",
    "state",
    "model",
    "firmware",
    "asset",
    "last_contact_at",
    "last_login_at",
];

/// Which devices, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those in assets of these groups; `None`: all.
    pub groups: Option<Vec<i32>>,
    /// Name, IMEI, model, phone number, note or the asset's name contain it.
    pub search: Option<String>,
    /// In this state; `None`: in any but removed.
    pub state: Option<DeviceState>,
    /// With a session, or without.
    pub connected: Option<bool>,
    /// This one alone, in whatever state.
    pub imei: Option<String>,
    /// One of [`SORTS`], perhaps behind a minus.
    pub sort: String,
}

const FROM: &str = "FROM trackport.device d
     LEFT JOIN trackport.fitting f ON f.device_id = d.id AND f.removed_at = 'infinity'
     LEFT JOIN trackport.asset a ON a.id = f.asset_id
     LEFT JOIN trackport.device_state s ON s.device_id = d.id
     WHERE ($1::integer[] IS NULL OR a.group_id = ANY($1))
         AND ($2::text IS NULL OR strpos(d.imei, $2) > 0 OR strpos(lower(d.name), lower($2)) > 0 OR strpos(lower(d.model), lower($2)) > 0
             OR strpos(d.phone, $2) > 0 OR strpos(lower(d.note), lower($2)) > 0 OR strpos(lower(a.name), lower($2)) > 0)
         AND CASE WHEN $5::text IS NOT NULL THEN d.imei = $5 WHEN $3::text IS NULL THEN d.state <> 'removed' ELSE d.state = $3 END
         AND ($4::boolean IS NULL OR coalesce(s.connected, false) = $4)";

fn listed(row: &Row) -> Listed {
    let asset: Option<i32> = row.get(11);
    Listed {
        id: row.get(0),
        imei: row.get(1),
        name: row.get(2),
        model: row.get(3),
        firmware: row.get(4),
        phone: row.get(5),
        iccid: row.get(6),
        note: row.get(7),
        state: row.get(8),
        attributes: row.get(9),
        created_at: row.get(10),
        asset: asset.map(|id| (id, row.get(12), row.get(13))),
        connected: row.get(14),
        last_login_at: row.get(15),
        last_contact_at: row.get(16),
        address: row.get(17),
        port: row.get(18),
        sends_before_ack_at: row.get(19),
        fitted_at: row.get(20),
        login_attempts: row.get(21),
        last_error: row.get(22),
    }
}

/// `limit` devices behind the first `offset`, and how many there are in all.
///
/// # Errors
/// `Refused` where the order is none; when the database does not answer.
pub fn list(
    client: &mut Client,
    wanted: &Wanted,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Listed>, i64), StoreError> {
    let (key, direction) = listing::order(&wanted.sort);
    let key = match key {
        "name" => "lower(coalesce(d.name, d.imei))",
        "imei" => "d.imei",
        "state" => "d.state",
        "model" => "d.model",
        "firmware" => "d.firmware",
        "asset" => "lower(a.name)",
        "last_contact_at" => "s.last_contact_at",
        "last_login_at" => "s.last_login_at",
        other => return Err(listing::no_order(other, &SORTS)),
    };
    let search = listing::needle(wanted.search.as_deref());
    let state = wanted.state.map(DeviceState::as_str);
    let filter: [&(dyn postgres::types::ToSql + Sync); 5] = [
        &wanted.groups,
        &search,
        &state,
        &wanted.connected,
        &wanted.imei,
    ];
    let total = client
        .query_one(&format!("SELECT count(*) {FROM}"), &filter)?
        .get(0);
    let [groups, search, state, connected, imei] = filter;
    let rows = client.query(
        &format!(
            "SELECT p.id, p.imei, p.name, p.model, p.firmware, p.phone, p.iccid, p.note, p.state, p.attributes, p.created_at, p.asset_id, p.asset,
                 p.group_id, p.connected, p.last_login_at, p.last_contact_at, p.address, p.port, p.sends_before_ack_at, p.fitted_at,
                 coalesce(r.n, 0)::bigint, e.reason FROM (
                 SELECT d.id, d.imei, d.name, d.model, d.firmware, d.phone, d.iccid, d.note, d.state, d.attributes, d.created_at,
                     a.id AS asset_id, a.name AS asset, a.group_id, coalesce(s.connected, false), s.last_login_at, s.last_contact_at, s.address,
                     s.port, s.sends_before_ack_at, nullif(f.fitted_at, '-infinity'),
                     row_number() OVER (ORDER BY {key} {direction} NULLS LAST, d.id {direction}) AS place
                 {FROM} ORDER BY place OFFSET $6 LIMIT $7
             ) p (id, imei, name, model, firmware, phone, iccid, note, state, attributes, created_at, asset_id, asset, group_id, connected,
                 last_login_at, last_contact_at, address, port, sends_before_ack_at, fitted_at, place)
             LEFT JOIN LATERAL (
                 SELECT sum(t.n_attempts) AS n FROM trackport.login_attempt t WHERE t.imei = p.imei
             ) r ON true
             LEFT JOIN LATERAL (
                 SELECT reason FROM (
                     SELECT t.reason, t.last_at FROM trackport.login_attempt t WHERE t.imei = p.imei
                     UNION ALL
                     SELECT q.reason, q.last_at FROM trackport.quarantine q WHERE q.imei = p.imei AND q.dismissed_at IS NULL
                 ) t WHERE p.last_login_at IS NULL OR t.last_at >= p.last_login_at ORDER BY t.last_at DESC LIMIT 1
             ) e ON true
             ORDER BY p.place"
        ),
        &[groups, search, state, connected, imei, &offset, &limit],
    )?;
    Ok((rows.iter().map(listed).collect(), total))
}
