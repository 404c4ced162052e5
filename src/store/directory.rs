//! What a running server keeps of its devices in memory, and what it writes back about them.
//!
//! Knows no memory and no thread: it reads all devices, those changed since, and stores contacts.
//! Invariant: changes are committed in the order of their versions (a trigger sees to it), so that
//! `changed_since(the largest version seen)` misses none. After a reconnect `load_all` is the right call: the database
//! may have been restored to an earlier time.

use std::net::IpAddr;
use std::time::SystemTime;

use postgres::{Client, Row};

use super::device::{DeviceState, imei};
use super::error::StoreError;
use crate::imei::Imei;

/// The channel on which each change of a device is notified, with its IMEI.
pub const DEVICE_CHANNEL: &str = "trackport_device";

/// The channel on which it is notified that a device was erased, with its IMEI.
pub const FORGOTTEN_CHANNEL: &str = "trackport_forgotten";

/// What the server needs to know of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Key in every other table.
    pub id: i32,
    /// Its IMEI. A person may give a device another: the id stays.
    pub imei: Imei,
    /// What it may do.
    pub state: DeviceState,
    /// The maker's model, which decides what AVL ids mean.
    pub model: Option<String>,
    /// New on each change.
    pub version: i64,
}

/// What is new about a device's connection; `None` leaves what is there.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceContact {
    /// Key of the device.
    pub device_id: i32,
    /// When it logged in.
    pub last_login_at: Option<SystemTime>,
    /// When it was heard.
    pub last_contact_at: Option<SystemTime>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Number of the port.
    pub port: Option<i32>,
    /// It has a session.
    pub connected: bool,
    /// When it sent a packet before the ack of the one before.
    pub sends_before_ack_at: Option<SystemTime>,
}

const COLUMNS: &str = "id, imei, state, model, version";

fn known(row: &Row) -> Result<KnownDevice, StoreError> {
    Ok(KnownDevice {
        id: row.get(0),
        imei: imei(row.get(1))?,
        state: row.get::<_, &str>(2).parse()?,
        model: row.get(3),
        version: row.get(4),
    })
}

/// All devices, those removed and refused as well.
///
/// # Errors
/// When the database does not answer.
pub fn load_all(client: &mut Client) -> Result<Vec<KnownDevice>, StoreError> {
    client
        .query(
            &format!("SELECT {COLUMNS} FROM trackport.device ORDER BY version"),
            &[],
        )?
        .iter()
        .map(known)
        .collect()
}

/// The devices whose version is larger than `version`, in the order of their changes.
///
/// # Errors
/// When the database does not answer.
pub fn changed_since(client: &mut Client, version: i64) -> Result<Vec<KnownDevice>, StoreError> {
    client
        .query(
            &format!("SELECT {COLUMNS} FROM trackport.device WHERE version > $1 ORDER BY version"),
            &[&version],
        )?
        .iter()
        .map(known)
        .collect()
}

/// Whether there is a device with this IMEI.
///
/// # Errors
/// When the database does not answer.
pub fn is_there(client: &mut Client, imei: Imei) -> Result<bool, StoreError> {
    let row = client.query_one(
        "SELECT EXISTS (SELECT FROM trackport.device WHERE imei = $1)",
        &[&imei.to_string()],
    )?;
    Ok(row.get(0))
}

/// Makes a device with this state where there is none yet, and returns the one there is: also its state is the
/// one it has, so that a device somebody refused or removed stays so.
///
/// # Errors
/// When the database refuses or does not answer; asking again is harmless.
pub fn register(
    client: &mut Client,
    imei: Imei,
    state: DeviceState,
) -> Result<KnownDevice, StoreError> {
    let text = imei.to_string();
    client.execute(
        "INSERT INTO trackport.device (imei, state) VALUES ($1, $2) ON CONFLICT (imei) DO NOTHING",
        &[&text, &state.as_str()],
    )?;
    known(&client.query_one(
        &format!("SELECT {COLUMNS} FROM trackport.device WHERE imei = $1"),
        &[&text],
    )?)
}

/// Stores contacts, at most one per device; ids that no device has are passed over.
///
/// What is there and lies after `now` was written while this machine's clock was ahead, and gives way.
///
/// # Errors
/// When the database refuses or does not answer; nothing is stored then.
pub fn store_contacts(
    client: &mut Client,
    contacts: &[DeviceContact],
    now: SystemTime,
) -> Result<(), StoreError> {
    if contacts.is_empty() {
        return Ok(());
    }
    let mut contacts: Vec<&DeviceContact> = contacts.iter().collect();
    contacts.sort_by_key(|one| one.device_id);
    let ids: Vec<i32> = contacts.iter().map(|one| one.device_id).collect();
    let logins: Vec<Option<SystemTime>> = contacts.iter().map(|one| one.last_login_at).collect();
    let heard: Vec<Option<SystemTime>> = contacts.iter().map(|one| one.last_contact_at).collect();
    let addresses: Vec<Option<IpAddr>> = contacts.iter().map(|one| one.address).collect();
    let ports: Vec<Option<i32>> = contacts.iter().map(|one| one.port).collect();
    let connected: Vec<bool> = contacts.iter().map(|one| one.connected).collect();
    let early: Vec<Option<SystemTime>> =
        contacts.iter().map(|one| one.sends_before_ack_at).collect();
    client.execute(
        "INSERT INTO trackport.device_state AS s
             (device_id, last_login_at, last_contact_at, address, port, connected, sends_before_ack_at)
         SELECT c.* FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::inet[], $5::integer[], $6::boolean[],
             $7::timestamptz[]) AS c (device_id, last_login_at, last_contact_at, address, port, connected, sends_before_ack_at)
         WHERE EXISTS (SELECT FROM trackport.device d WHERE d.id = c.device_id)
         ORDER BY c.device_id
         ON CONFLICT (device_id) DO UPDATE SET
             last_login_at = coalesce(greatest(CASE WHEN s.last_login_at <= $8 THEN s.last_login_at END, excluded.last_login_at), s.last_login_at),
             last_contact_at = coalesce(greatest(CASE WHEN s.last_contact_at <= $8 THEN s.last_contact_at END, excluded.last_contact_at), s.last_contact_at),
             address = coalesce(excluded.address, s.address),
             port = coalesce(excluded.port, s.port),
             connected = excluded.connected,
             sends_before_ack_at = coalesce(greatest(CASE WHEN s.sends_before_ack_at <= $8 THEN s.sends_before_ack_at END, excluded.sends_before_ack_at), s.sends_before_ack_at)",
        &[
            &ids,
            &logins,
            &heard,
            &addresses,
            &ports,
            &connected,
            &early,
            &now,
        ],
    )?;
    Ok(())
}

/// Marks every device as not connected: right at the start of a server, which has no sessions yet.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn disconnect_all(client: &mut Client) -> Result<u64, StoreError> {
    Ok(client.execute(
        "UPDATE trackport.device_state SET connected = false WHERE connected",
        &[],
    )?)
}
