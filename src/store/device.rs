//! Devices as an operator keeps them: add, change, accept, refuse, remove, import.
//!
//! What a running server needs of them is in `directory.rs`. Every change gives the row a new version and notifies
//! `trackport_device` (triggers), so that a running server follows within seconds, also after plain SQL.
//! Invariant: a device is never deleted and its id never used again; `removed` is a state.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::SystemTime;

use postgres::{Client, GenericClient, Row};

use super::error::StoreError;
use super::recompute::{self, Progress};
use crate::imei::Imei;

/// What a device may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// It logs in and sends.
    Accepted,
    /// Somebody refused it; this beats a pinned port.
    Refused,
    /// It waits for somebody's decision.
    Pending,
    /// Out of service; its records stay.
    Removed,
}

impl DeviceState {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceState::Accepted => "accepted",
            DeviceState::Refused => "refused",
            DeviceState::Pending => "pending",
            DeviceState::Removed => "removed",
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeviceState {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<DeviceState, StoreError> {
        match text {
            "accepted" => Ok(DeviceState::Accepted),
            "refused" => Ok(DeviceState::Refused),
            "pending" => Ok(DeviceState::Pending),
            "removed" => Ok(DeviceState::Removed),
            _ => Err(StoreError::Refused(format!(
                "{text:?} is no state of a device: accepted, refused, pending or removed is"
            ))),
        }
    }
}

/// One row of `device`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Key in every other table.
    pub id: i32,
    /// Its IMEI.
    pub imei: Imei,
    /// What people call it.
    pub name: Option<String>,
    /// The maker's model, which decides what AVL ids mean.
    pub model: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Number of its SIM card.
    pub phone: Option<String>,
    /// Serial number of its SIM card.
    pub iccid: Option<String>,
    /// Anything else.
    pub note: Option<String>,
    /// What it may do.
    pub state: DeviceState,
    /// Fields of the operator's own; an object.
    pub attributes: serde_json::Value,
    /// New on each change.
    pub version: i64,
    /// When it was added.
    pub created_at: SystemTime,
    /// When it was changed last.
    pub updated_at: SystemTime,
}

/// What `show` knows beyond the row.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceShown {
    /// The row.
    pub device: Device,
    /// When it logged in last.
    pub last_login_at: Option<SystemTime>,
    /// When it was heard last.
    pub last_contact_at: Option<SystemTime>,
    /// From where.
    pub address: Option<IpAddr>,
    /// On which port.
    pub port: Option<i32>,
    /// It has a session.
    pub connected: bool,
    /// When it last sent a packet before the ack of the one before (`ACK type TCP/IP`).
    pub sends_before_ack_at: Option<SystemTime>,
    /// Time of its newest record.
    pub latest_time: Option<SystemTime>,
    /// Time, longitude and latitude (degrees) of its newest fix.
    pub latest_fix: Option<(SystemTime, f64, f64)>,
    /// How far its typed columns are, where its model has changed.
    pub recompute: Option<Progress>,
}

/// Fields to change: `None` leaves a field, an empty text clears it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceChange {
    /// What people call it.
    pub name: Option<String>,
    /// The maker's model.
    pub model: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Number of its SIM card.
    pub phone: Option<String>,
    /// Serial number of its SIM card.
    pub iccid: Option<String>,
    /// Anything else.
    pub note: Option<String>,
    /// What it may do.
    pub state: Option<DeviceState>,
    /// Fields of the operator's own, added to those there; `null` as a value takes one away.
    pub attributes: Option<serde_json::Value>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Devices that were new.
    pub n_added: usize,
    /// Devices that were changed.
    pub n_changed: usize,
    /// Devices that were as the file says.
    pub n_same: usize,
}

const COLUMNS: &str = "d.id, d.imei, d.name, d.model, d.firmware, d.phone, d.iccid, d.note, d.state, d.attributes, \
     d.version, d.created_at, d.updated_at";

const N_COLUMNS: usize = 13;

fn device(row: &Row) -> Result<Device, StoreError> {
    Ok(Device {
        id: row.get(0),
        imei: imei(row.get(1))?,
        name: row.get(2),
        model: row.get(3),
        firmware: row.get(4),
        phone: row.get(5),
        iccid: row.get(6),
        note: row.get(7),
        state: row.get::<_, &str>(8).parse()?,
        attributes: row.get(9),
        version: row.get(10),
        created_at: row.get(11),
        updated_at: row.get(12),
    })
}

/// The IMEI in a row; the table's check makes it one.
pub(super) fn imei(text: &str) -> Result<Imei, StoreError> {
    text.parse()
        .map_err(|error| StoreError::Refused(format!("device {text:?}: {error}")))
}

/// All devices by IMEI; those removed only where `with_removed`.
///
/// # Errors
/// When the database does not answer.
pub fn list(client: &mut Client, with_removed: bool) -> Result<Vec<Device>, StoreError> {
    client
        .query(
            &format!(
                "SELECT {COLUMNS} FROM trackport.device d WHERE $1 OR d.state <> 'removed' ORDER BY d.imei"
            ),
            &[&with_removed],
        )?
        .iter()
        .map(device)
        .collect()
}

/// One device with its contact and newest position; `None` where there is none with this IMEI.
///
/// # Errors
/// When the database does not answer.
pub fn show(client: &mut Client, imei: Imei) -> Result<Option<DeviceShown>, StoreError> {
    let row = client.query_opt(
        &format!(
            "SELECT {COLUMNS}, s.last_login_at, s.last_contact_at, s.address, s.port, coalesce(s.connected, false),
                 s.sends_before_ack_at, l.time, l.fix_time, l.fix_longitude, l.fix_latitude
             FROM trackport.device d
             LEFT JOIN trackport.device_state s ON s.device_id = d.id
             LEFT JOIN trackport.latest l ON l.device_id = d.id
             WHERE d.imei = $1"
        ),
        &[&imei.to_string()],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    let fix_time: Option<SystemTime> = row.get(N_COLUMNS + 7);
    Ok(Some(DeviceShown {
        device: device(&row)?,
        last_login_at: row.get(N_COLUMNS),
        last_contact_at: row.get(N_COLUMNS + 1),
        address: row.get(N_COLUMNS + 2),
        port: row.get(N_COLUMNS + 3),
        connected: row.get(N_COLUMNS + 4),
        sends_before_ack_at: row.get(N_COLUMNS + 5),
        latest_time: row.get(N_COLUMNS + 6),
        latest_fix: fix_time.map(|time| (time, row.get(N_COLUMNS + 8), row.get(N_COLUMNS + 9))),
        recompute: recompute::progress(client, imei)?,
    }))
}

/// The row of one device.
///
/// # Errors
/// When the database does not answer.
pub fn row(client: &mut impl GenericClient, imei: Imei) -> Result<Option<Device>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM trackport.device d WHERE d.imei = $1");
    let row = client.query_opt(&sql, &[&imei.to_string()])?;
    row.as_ref().map(device).transpose()
}

/// Adds a device, accepted unless `change` says otherwise. One that was removed comes back with its old id.
///
/// # Errors
/// `Refused` when it is there already.
pub fn add(
    client: &mut impl GenericClient,
    imei: Imei,
    change: &DeviceChange,
) -> Result<Device, StoreError> {
    let mut transaction = client.transaction()?;
    // In the state that it shall have: only one that is let in gets an asset.
    let state = change.state.unwrap_or(DeviceState::Accepted);
    let n_added = transaction.execute(
        "INSERT INTO trackport.device AS d (imei, state) VALUES ($1, $2)
         ON CONFLICT (imei) DO UPDATE SET state = excluded.state WHERE d.state = 'removed'",
        &[&imei.to_string(), &state.as_str()],
    )?;
    if n_added == 0 {
        return Err(StoreError::Taken(format!(
            "device {imei} exists already: `device set` changes it"
        )));
    }
    let device = change_in(&mut transaction, imei, change)?.ok_or_else(|| missing(imei))?;
    transaction.commit()?;
    Ok(device)
}

/// Changes the fields that `change` has.
///
/// # Errors
/// `Refused` when there is no such device.
pub fn set(
    client: &mut impl GenericClient,
    imei: Imei,
    change: &DeviceChange,
) -> Result<Device, StoreError> {
    change_in(client, imei, change)?.ok_or_else(|| missing(imei))
}

/// Gives a device another name; an empty one takes its name away.
///
/// # Errors
/// `Refused` when there is no such device.
pub fn rename(client: &mut Client, imei: Imei, name: &str) -> Result<Device, StoreError> {
    let change = DeviceChange {
        name: Some(name.to_owned()),
        ..DeviceChange::default()
    };
    set(client, imei, &change)
}

/// Lets a device in; one that nobody has added is added.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn accept(client: &mut impl GenericClient, imei: Imei) -> Result<Device, StoreError> {
    decide(client, imei, DeviceState::Accepted)
}

/// Devices that one call lets in at most.
pub const ACCEPTED_AT_ONCE: i64 = 10_000;

/// Lets in whoever waits: pending devices, and IMEIs that were turned away because nobody had added them. Refused and removed devices
/// stay so. Returns who was let in, [`ACCEPTED_AT_ONCE`] at most.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn accept_waiting(client: &mut impl GenericClient) -> Result<Vec<String>, StoreError> {
    let rows = client.query(
        "INSERT INTO trackport.device AS d (imei)
         SELECT imei FROM (
             SELECT imei FROM trackport.device WHERE state = 'pending'
             UNION
             SELECT a.imei FROM trackport.login_attempt a WHERE a.imei ~ '^[0-9]{15}$'
                 AND NOT EXISTS (SELECT FROM trackport.device known WHERE known.imei = a.imei)
         ) waiting ORDER BY imei LIMIT $1
         ON CONFLICT (imei) DO UPDATE SET state = 'accepted' WHERE d.state = 'pending'
         RETURNING imei",
        &[&ACCEPTED_AT_ONCE],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Keeps a device out, also from ports that accept any; one that nobody has added is added as refused.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn refuse(client: &mut impl GenericClient, imei: Imei) -> Result<Device, StoreError> {
    decide(client, imei, DeviceState::Refused)
}

/// Takes a device out of service; its records stay.
///
/// # Errors
/// `Refused` when there is no such device.
pub fn remove(client: &mut impl GenericClient, imei: Imei) -> Result<Device, StoreError> {
    let change = DeviceChange {
        state: Some(DeviceState::Removed),
        ..DeviceChange::default()
    };
    set(client, imei, &change)
}

fn decide(
    client: &mut impl GenericClient,
    imei: Imei,
    state: DeviceState,
) -> Result<Device, StoreError> {
    let row = client.query_one(
        &format!(
            "INSERT INTO trackport.device AS d (imei, state) VALUES ($1, $2)
             ON CONFLICT (imei) DO UPDATE SET state = excluded.state RETURNING {COLUMNS}"
        ),
        &[&imei.to_string(), &state.as_str()],
    )?;
    device(&row)
}

fn missing(imei: Imei) -> StoreError {
    StoreError::Missing(format!("there is no device {imei}: `device add` makes one"))
}

fn change_in(
    client: &mut impl GenericClient,
    imei: Imei,
    change: &DeviceChange,
) -> Result<Option<Device>, StoreError> {
    if let Some(attributes) = &change.attributes
        && !attributes.is_object()
    {
        return Err(StoreError::Refused(format!(
            "attributes of device {imei}: a JSON object is needed, this is {attributes}"
        )));
    }
    client
        .query_opt(
            &format!(
                "UPDATE trackport.device d SET
                     name = CASE WHEN $2::text IS NULL THEN d.name ELSE nullif($2, '') END,
                     model = CASE WHEN $3::text IS NULL THEN d.model ELSE nullif($3, '') END,
                     firmware = CASE WHEN $4::text IS NULL THEN d.firmware ELSE nullif($4, '') END,
                     phone = CASE WHEN $5::text IS NULL THEN d.phone ELSE nullif($5, '') END,
                     iccid = CASE WHEN $6::text IS NULL THEN d.iccid ELSE nullif($6, '') END,
                     note = CASE WHEN $7::text IS NULL THEN d.note ELSE nullif($7, '') END,
                     state = coalesce($8, d.state),
                     attributes = CASE WHEN $9::jsonb IS NULL THEN d.attributes ELSE jsonb_strip_nulls(d.attributes || $9) END
                 WHERE d.imei = $1 RETURNING {COLUMNS}"
            ),
            &[
                &imei.to_string(),
                &change.name,
                &change.model,
                &change.firmware,
                &change.phone,
                &change.iccid,
                &change.note,
                &change.state.map(DeviceState::as_str),
                &change.attributes,
            ],
        )?
        .as_ref()
        .map(device)
        .transpose()
}

/// Adds or changes many devices in one transaction: all of them or none.
///
/// # Errors
/// When one row is refused; the text names its IMEI.
pub fn import(client: &mut Client, rows: &[(Imei, DeviceChange)]) -> Result<Imported, StoreError> {
    let mut transaction = client.transaction()?;
    let mut imported = Imported::default();
    for (imei, change) in rows {
        imported.count(import_one(&mut transaction, *imei, change)?);
    }
    transaction.commit()?;
    Ok(imported)
}

/// Adds or changes one device.
pub(super) fn import_one(
    client: &mut impl GenericClient,
    imei: Imei,
    change: &DeviceChange,
) -> Result<Outcome, StoreError> {
    let text = imei.to_string();
    let before: Option<i64> = client
        .query_opt(
            "SELECT version FROM trackport.device WHERE imei = $1",
            &[&text],
        )?
        .map(|row| row.get(0));
    if before.is_none() {
        // In the state that it shall have: only one that is let in gets an asset.
        let state = change.state.unwrap_or(DeviceState::Accepted);
        client.execute(
            "INSERT INTO trackport.device (imei, state) VALUES ($1, $2)",
            &[&text, &state.as_str()],
        )?;
    }
    let after = change_in(client, imei, change)?.ok_or_else(|| missing(imei))?;
    Ok(match before {
        None => Outcome::Added,
        Some(version) if version == after.version => Outcome::Same,
        Some(_) => Outcome::Changed,
    })
}

/// What became of one row of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is new.
    Added,
    /// Something of it is.
    Changed,
    /// It was so.
    Same,
}

impl Outcome {
    /// The same, when something beside the device changed as well.
    pub(super) fn or_changed(self, is_changed: bool) -> Outcome {
        match self {
            Outcome::Same if is_changed => Outcome::Changed,
            outcome => outcome,
        }
    }
}

impl Imported {
    pub(super) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Added => self.n_added += 1,
            Outcome::Changed => self.n_changed += 1,
            Outcome::Same => self.n_same += 1,
        }
    }
}

/// When and how a device was heard last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contact {
    /// The last byte that counted: a login, a stored packet, the end of a session.
    pub last_contact_at: Option<SystemTime>,
    /// Whether it has a session.
    pub connected: bool,
    /// Whether it was seen not to wait for acks.
    pub sends_before_ack: bool,
}

/// The contacts of all devices that ever had one, by device id: one query, so that a list of a hundred thousand devices
/// is not a hundred thousand questions.
///
/// # Errors
/// When the database does not answer.
pub fn contacts(client: &mut Client) -> Result<HashMap<i32, Contact>, StoreError> {
    let rows = client.query(
        "SELECT device_id, last_contact_at, connected, sends_before_ack_at IS NOT NULL FROM trackport.device_state",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| {
            let contact = Contact {
                last_contact_at: row.get(1),
                connected: row.get(2),
                sends_before_ack: row.get(3),
            };
            (row.get(0), contact)
        })
        .collect())
}
