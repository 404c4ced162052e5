//! Vehicles, trailers, machines, boxes: what is tracked, whatever device does it.
//!
//! Which device is in which of them is `fitting.rs`; their groups are `group.rs`, how they change is `asset_change.rs`. Names need not be unique, so that an asset is found by
//! its number or by a name that only one has.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use postgres::{Client, GenericClient, Row};

use super::device::imei;
use super::error::StoreError;
use crate::imei::Imei;

/// Assets that are named where a name fits several.
const CANDIDATES_MAX: i64 = 10;

/// What an asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// Moves by itself.
    #[default]
    Vehicle,
    /// Is moved by a vehicle.
    Trailer,
    /// Works where it stands.
    Machine,
    /// A box, a container, a parcel.
    Box,
    /// Anything else.
    Other,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 5] = [
        Kind::Vehicle,
        Kind::Trailer,
        Kind::Machine,
        Kind::Box,
        Kind::Other,
    ];

    /// As the table writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Vehicle => "vehicle",
            Kind::Trailer => "trailer",
            Kind::Machine => "machine",
            Kind::Box => "box",
            Kind::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                format!("{text:?} is no kind of asset; there are {kinds}")
            })
    }
}

/// One row of `asset`, and the device that is in it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    /// Its number.
    pub id: i32,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Number of its group.
    pub group_id: i32,
    /// Name of its group.
    pub group: String,
    /// Degrees Celsius; `None`: what its group says.
    pub temperature_min: Option<f32>,
    /// Likewise.
    pub temperature_max: Option<f32>,
    /// Degrees Celsius: its own limit, else its group's.
    pub limits: (Option<f32>, Option<f32>),
    /// Anything else.
    pub note: Option<String>,
    /// When it went out of use.
    pub retired_at: Option<SystemTime>,
    /// When it was made.
    pub created_at: SystemTime,
    /// The device that is fitted to it now.
    pub device: Option<(i32, Imei)>,
    /// Model of that device.
    pub model: Option<String>,
}

const SELECT: &str = "SELECT a.id, a.name, a.kind, a.group_id, g.name, a.temperature_min, a.temperature_max, \
     coalesce(a.temperature_min, g.temperature_min), coalesce(a.temperature_max, g.temperature_max), \
     a.note, a.retired_at, a.created_at, d.id, d.imei, d.model
     FROM trackport.asset a JOIN trackport.group g ON g.id = a.group_id
     LEFT JOIN trackport.fitting f ON f.asset_id = a.id AND f.removed_at = 'infinity'
     LEFT JOIN trackport.device d ON d.id = f.device_id";

fn asset(row: &Row) -> Result<Asset, StoreError> {
    let device: Option<i32> = row.get(12);
    Ok(Asset {
        id: row.get(0),
        name: row.get(1),
        kind: row.get::<_, &str>(2).parse().map_err(StoreError::Refused)?,
        group_id: row.get(3),
        group: row.get(4),
        temperature_min: row.get(5),
        temperature_max: row.get(6),
        limits: (row.get(7), row.get(8)),
        note: row.get(9),
        retired_at: row.get(10),
        created_at: row.get(11),
        device: match device {
            Some(id) => Some((id, imei(row.get(13))?)),
            None => None,
        },
        model: row.get(14),
    })
}

/// All assets by name; retired ones only where `with_retired`.
///
/// # Errors
/// When the database does not answer.
pub fn list(client: &mut Client, with_retired: bool) -> Result<Vec<Asset>, StoreError> {
    let sql = format!("{SELECT} WHERE $1 OR a.retired_at IS NULL ORDER BY lower(a.name), a.id");
    client
        .query(&sql, &[&with_retired])?
        .iter()
        .map(asset)
        .collect()
}

/// The asset of this number.
///
/// # Errors
/// `Missing`.
pub fn by_id(client: &mut impl GenericClient, id: i32) -> Result<Asset, StoreError> {
    let row = client.query_opt(&format!("{SELECT} WHERE a.id = $1"), &[&id])?;
    row.as_ref().map(asset).transpose()?.ok_or_else(|| {
        StoreError::Missing(format!(
            "there is no asset {id}: `trackport asset list` shows them"
        ))
    })
}

/// The asset to which a device is fitted now.
///
/// # Errors
/// When the database does not answer.
pub fn of_device(
    client: &mut impl GenericClient,
    device: i32,
) -> Result<Option<Asset>, StoreError> {
    let row = client.query_opt(&format!("{SELECT} WHERE f.device_id = $1"), &[&device])?;
    row.as_ref().map(asset).transpose()
}

/// Names of the asset and of the group in which each device is now, by the device's number.
///
/// # Errors
/// When the database does not answer.
pub fn of_devices(client: &mut Client) -> Result<HashMap<i32, (String, String)>, StoreError> {
    let rows = client.query(
        "SELECT f.device_id, a.name, g.name FROM trackport.fitting f
         JOIN trackport.asset a ON a.id = f.asset_id JOIN trackport.group g ON g.id = a.group_id
         WHERE f.removed_at = 'infinity'",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect())
}

/// The asset of this number or of this name; a number goes first, and an asset in use before a retired one.
///
/// # Errors
/// `Missing`; `Taken` where the name fits several, which are named.
pub fn find(client: &mut impl GenericClient, text: &str) -> Result<Asset, StoreError> {
    if let Ok(id) = text.trim().parse::<i32>()
        && let Some(row) = client.query_opt(&format!("{SELECT} WHERE a.id = $1"), &[&id])?
    {
        return asset(&row);
    }
    let sql = format!(
        "{SELECT} WHERE a.name = $1 ORDER BY a.retired_at NULLS FIRST, a.id LIMIT {CANDIDATES_MAX}"
    );
    let mut found: Vec<Asset> = client
        .query(&sql, &[&text.replace('\0', "")])?
        .iter()
        .map(asset)
        .collect::<Result<_, _>>()?;
    let n_in_use = found.iter().filter(|one| one.retired_at.is_none()).count();
    if n_in_use > 0 {
        found.truncate(n_in_use);
    }
    match found.len() {
        0 => Err(StoreError::Missing(format!(
            "there is no asset {text:?}: `trackport asset list` shows them, and a number names one as well"
        ))),
        1 => Ok(found.swap_remove(0)),
        _ => Err(StoreError::Taken(format!(
            "{text:?} is the name of several assets; name one by its number: {}",
            found.iter().map(candidate).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn candidate(asset: &Asset) -> String {
    let device = asset.device.map_or_else(
        || "no device".to_owned(),
        |(_, imei)| format!("device {imei}"),
    );
    format!("{} (group {:?}, {device})", asset.id, asset.group)
}
