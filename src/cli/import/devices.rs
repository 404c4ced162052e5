//! Devices of Traccar as devices here: what its `tc_devices` says, and what is made of it.
//!
//! Invariants: an import fills in and never overwrites: what somebody wrote here stays, and so does a state. What Traccar kept beside
//! is under the one key `traccar` of the attributes.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use postgres::Client;
use serde_json::{Map, Value, json};

use super::mistakes::Mistakes;
use super::table::{Row, Table};
use crate::imei::Imei;
use crate::models;
use crate::store::device::{self, Device, DeviceChange, DeviceState};

/// Devices changed in one transaction: whoever registers a new device meanwhile waits for no more.
const DEVICES_AT_ONCE: usize = 500;

/// The columns without which nothing can be done.
pub(super) const NEEDED: [&str; 2] = ["id", "uniqueid"];

/// One row of `tc_devices`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TraccarDevice {
    /// `tc_devices.id`
    pub(super) id: i64,
    /// `tc_devices.uniqueid`
    pub(super) imei: Imei,
    name: Option<String>,
    model: Option<String>,
    phone: Option<String>,
    is_disabled: bool,
    /// What has no field of its own here.
    rest: Value,
}

/// The devices that can be taken over; the others are told.
pub(super) fn read<R: BufRead>(
    mut table: Table<R>,
    groups: &HashMap<i64, String>,
    mistakes: &mut Mistakes,
) -> anyhow::Result<Vec<TraccarDevice>> {
    let mut devices: Vec<TraccarDevice> = Vec::new();
    let mut seen: HashMap<Imei, i64> = HashMap::new();
    let mut odd_models = BTreeSet::new();
    while let Some(row) = table.next()? {
        match device(&row, groups) {
            Ok(device) => {
                if let Some(other) = seen.insert(device.imei, device.id) {
                    seen.insert(device.imei, other);
                    let text = format!("{} is device {other} already", device.imei);
                    mistakes.tell(&row.label(), &text);
                    continue;
                }
                if let Some(model) = &device.model
                    && models::known(model).is_none()
                    && odd_models.insert(model.clone())
                {
                    eprintln!("warning: {}: {}", row.label(), models::unknown(model));
                }
                devices.push(device);
            }
            Err(text) => mistakes.tell(&row.label(), &text),
        }
    }
    Ok(devices)
}

fn device<R>(row: &Row<'_, R>, groups: &HashMap<i64, String>) -> Result<TraccarDevice, String> {
    if let Some(mistake) = row.mistake() {
        return Err(mistake);
    }
    let id = row
        .get("id")
        .and_then(|id| id.trim().parse().ok())
        .ok_or("no number in column id")?;
    let unique = row.get("uniqueid").unwrap_or_default();
    let imei: Imei = unique
        .trim()
        .parse()
        .map_err(|_| format!("{unique:?} is no IMEI of 15 digits"))?;
    let text = |column: &str| {
        let text = row.get(column)?;
        let text = text.replace('\0', "\u{fffd}").trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let mut rest = Map::new();
    rest.insert("id".to_owned(), json!(id));
    for column in ["category", "contact"] {
        if let Some(text) = text(column) {
            rest.insert(column.to_owned(), Value::String(text));
        }
    }
    if let Some(group) = row.get("groupid").and_then(|id| id.trim().parse().ok()) {
        let name = groups.get(&group).cloned();
        let name = name.unwrap_or_else(|| group.to_string());
        rest.insert("group".to_owned(), Value::String(name));
    }
    if let Some(attributes) = row.get("attributes") {
        let attributes = super::attributes::read(&attributes);
        if attributes != json!({}) {
            rest.insert("attributes".to_owned(), attributes);
        }
    }
    let model = text("model").map(|model| models::checked(&model).0);
    Ok(TraccarDevice {
        id,
        imei,
        name: text("name"),
        model,
        phone: text("phone"),
        is_disabled: row.get("disabled").is_some_and(|text| is_true(&text)),
        rest: Value::Object(rest),
    })
}

/// How PostgreSQL, H2 and MySQL write that something is true.
pub(super) fn is_true(text: &str) -> bool {
    ["t", "true", "1", "\u{1}", "y", "yes"]
        .iter()
        .any(|one| text.trim_matches(' ').eq_ignore_ascii_case(one))
}

/// What an import of devices did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) n_added: usize,
    pub(super) n_filled_in: usize,
    pub(super) n_same: usize,
}

/// Brings the devices into the table, or, where `dry_run`, says only what would be done.
pub(super) fn bring(
    client: &mut Client,
    devices: &[TraccarDevice],
    dry_run: bool,
) -> anyhow::Result<Done> {
    let there: HashMap<Imei, Device> = device::list(client, true)?
        .into_iter()
        .map(|device| (device.imei, device))
        .collect();
    let mut done = Done::default();
    let mut changes = Vec::new();
    for device in devices {
        match there.get(&device.imei) {
            None => {
                done.n_added += 1;
                changes.push((device.imei, device.as_new()));
            }
            Some(known) => match device.lacking(known) {
                Some(change) => {
                    done.n_filled_in += 1;
                    changes.push((device.imei, change));
                }
                None => done.n_same += 1,
            },
        }
    }
    if !dry_run {
        for some in changes.chunks(DEVICES_AT_ONCE) {
            device::import(client, some)?;
        }
    }
    Ok(done)
}

impl TraccarDevice {
    /// What a device that is not there yet becomes.
    fn as_new(&self) -> DeviceChange {
        DeviceChange {
            name: self.name.clone(),
            model: self.model.clone(),
            phone: self.phone.clone(),
            state: self.is_disabled.then_some(DeviceState::Refused),
            attributes: Some(json!({ "traccar": self.rest })),
            ..DeviceChange::default()
        }
    }

    /// What a device that is there lacks; `None`: nothing.
    fn lacking(&self, known: &Device) -> Option<DeviceChange> {
        let lacking = |there: &Option<String>, here: &Option<String>| {
            there.is_none().then(|| here.clone()).flatten()
        };
        let has_rest = known.attributes.get("traccar").is_some();
        let change = DeviceChange {
            name: lacking(&known.name, &self.name),
            model: lacking(&known.model, &self.model),
            phone: lacking(&known.phone, &self.phone),
            attributes: (!has_rest).then(|| json!({ "traccar": self.rest })),
            ..DeviceChange::default()
        };
        (change != DeviceChange::default()).then_some(change)
    }
}
