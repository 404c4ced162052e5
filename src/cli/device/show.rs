//! Devices as people and programs read them: the list, one device whole, and both as JSON.
//!
//! Knows no database and no clock.

use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::text::{Table, ago, count, printable, time};
use super::model::{progress_json, progress_text};
use crate::models;
use crate::store::asset::Asset;
use crate::store::device::Contact;
use crate::store::device::{Device, DeviceShown};

/// What helps a device that sends on before its packet is acknowledged.
const ACK_TYPE_REMEDY: &str = "it sends packets before the last one is acknowledged, and so loses records when the line breaks; \
     set \"ACK type\" (server settings in the configurator) to AVL";

/// One line per device, then how many there are.
pub(super) fn list<'a>(
    out: &mut impl Write,
    devices: impl Iterator<Item = (&'a Device, Contact)>,
    now: SystemTime,
) -> io::Result<()> {
    let mut table = Table::new([
        "IMEI",
        "STATE",
        "ONLINE",
        "LAST CONTACT",
        "MODEL",
        "NAME",
        "REMARK",
    ]);
    let (mut n_devices, mut n_connected) = (0, 0);
    for (device, contact) in devices {
        n_devices += 1;
        n_connected += usize::from(contact.connected);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let remark = match (&device.model, contact.sends_before_ack) {
            (_, true) => "ACK type is not AVL",
            (Some(model), _) if models::known(model).is_none() => "unknown model",
            _ => "",
        };
        table.row(&[
            device.imei.to_string(),
            device.state.to_string(),
            if contact.connected { "yes" } else { "no" }.to_owned(),
            contact
                .last_contact_at
                .map_or_else(|| "never".to_owned(), |at| ago(at, now)),
            text(&device.model),
            text(&device.name),
            remark.to_owned(),
        ]);
    }
    if table.is_empty() {
        return writeln!(out, "no devices");
    }
    table.write(out, "")?;
    writeln!(out, "{}, {n_connected} online", count(n_devices, "device"))
}

/// One device as a line of JSON.
pub(super) fn list_json(device: &Device, contact: Contact) -> Value {
    let mut value = device_json(device);
    value["connected"] = contact.connected.into();
    value["last_contact_at"] = contact.last_contact_at.map(time).into();
    value
}

fn device_json(device: &Device) -> Value {
    json!({
        "id": device.id,
        "imei": device.imei.to_string(),
        "name": device.name,
        "model": device.model,
        "firmware": device.firmware,
        "phone": device.phone,
        "iccid": device.iccid,
        "note": device.note,
        "state": device.state.as_str(),
        "attributes": device.attributes,
        "created_at": time(device.created_at),
        "updated_at": time(device.updated_at),
    })
}

/// Everything that is known of a device, as JSON.
pub(super) fn json(shown: &DeviceShown, asset: Option<&Asset>) -> Value {
    let mut value = device_json(&shown.device);
    value["asset"] = asset.map_or(
        Value::Null,
        |asset| json!({"id": asset.id, "name": asset.name, "group": asset.group}),
    );
    value["connected"] = shown.connected.into();
    value["last_login_at"] = shown.last_login_at.map(time).into();
    value["last_contact_at"] = shown.last_contact_at.map(time).into();
    value["address"] = shown.address.map(|address| address.to_string()).into();
    value["port"] = shown.port.into();
    value["sends_before_ack_at"] = shown.sends_before_ack_at.map(time).into();
    value["recompute"] = shown.recompute.as_ref().map_or(Value::Null, progress_json);
    value["latest_time"] = shown.latest_time.map(time).into();
    value["latest_fix"] = shown.latest_fix.map_or(Value::Null, |(at, longitude, latitude)| {
        json!({"time": time(at), "longitude": longitude, "latitude": latitude})
    });
    value
}

/// Everything that is known of a device, a line each, and what to do about it.
pub(super) fn write(
    out: &mut impl Write,
    shown: &DeviceShown,
    asset: Option<&Asset>,
    now: SystemTime,
) -> io::Result<()> {
    let device = &shown.device;
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<14}{}", printable(value));
    let at = |at: Option<SystemTime>| {
        at.map_or_else(
            || "never".to_owned(),
            |at| format!("{} ({})", time(at), ago(at, now)),
        )
    };
    line("imei", &device.imei.to_string())?;
    line("state", device.state.as_str())?;
    for (name, value) in [
        ("name", &device.name),
        ("model", &device.model),
        ("firmware", &device.firmware),
        ("phone", &device.phone),
        ("iccid", &device.iccid),
        ("note", &device.note),
    ] {
        line(name, value.as_deref().unwrap_or("-"))?;
    }
    for (name, value) in device.attributes.as_object().into_iter().flatten() {
        line(&format!("  {}", printable(name)), &value.to_string())?;
    }
    let placed = asset.map_or_else(
        || "none: what it records now is seen by nobody but server administrators".to_owned(),
        |asset| format!("{} ({}), group {}", asset.name, asset.id, asset.group),
    );
    line("asset", &placed)?;
    line("online", if shown.connected { "yes" } else { "no" })?;
    line("last login", &at(shown.last_login_at))?;
    line("last contact", &at(shown.last_contact_at))?;
    if let Some(address) = shown.address {
        let port = shown.port.map(|port| format!(" to port {port}"));
        line(
            "came from",
            &format!("{address}{}", port.unwrap_or_default()),
        )?;
    }
    line("newest record", &at(shown.latest_time))?;
    if let Some((time, longitude, latitude)) = shown.latest_fix {
        line(
            "newest fix",
            &format!("{latitude:.7} {longitude:.7}, {}", at(Some(time))),
        )?;
    }
    if let Some(progress) = &shown.recompute {
        line("columns", &progress_text(progress, now))?;
    }
    line("added", &at(Some(device.created_at)))?;
    line("changed", &at(Some(device.updated_at)))?;
    if !device.imei.luhn_ok() {
        line(
            "warning",
            "the check digit of the IMEI is wrong; is it typed as it stands on the device?",
        )?;
    }
    match &device.model {
        None => line(
            "warning",
            "no model is set: IO elements that depend on the model have no name; `device set --model` sets it",
        )?,
        Some(model) if models::known(model).is_none() => line("warning", &models::unknown(model))?,
        Some(_) => {}
    }
    if let Some(seen) = shown.sends_before_ack_at {
        line(
            "warning",
            &format!("{ACK_TYPE_REMEDY} (seen {})", ago(seen, now)),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::device::DeviceState;

    fn shown(sends_before_ack: bool) -> (DeviceShown, SystemTime) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let device = Device {
            id: 1,
            imei: "356307042441013".parse().unwrap(),
            name: Some("Van\n7".to_owned()),
            model: Some("FMB920".to_owned()),
            firmware: None,
            phone: None,
            iccid: None,
            note: None,
            state: DeviceState::Accepted,
            attributes: json!({"depot": "north"}),
            version: 1,
            created_at: SystemTime::UNIX_EPOCH,
            updated_at: SystemTime::UNIX_EPOCH,
        };
        let shown = DeviceShown {
            device,
            last_login_at: None,
            last_contact_at: Some(now - Duration::from_secs(300)),
            address: Some([192, 0, 2, 1].into()),
            port: Some(5027),
            connected: true,
            sends_before_ack_at: sends_before_ack.then_some(now),
            latest_time: None,
            latest_fix: Some((now, 25.5, -54.25)),
            recompute: None,
        };
        (shown, now)
    }

    #[test]
    fn a_device_that_does_not_wait_for_acks_shows_the_remedy() {
        let text = |sends_before_ack| {
            let (shown, now) = shown(sends_before_ack);
            let mut out = Vec::new();
            write(&mut out, &shown, None, now).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(text(true).contains("set \"ACK type\""));
        assert!(!text(false).contains("ACK type"));
        assert!(text(false).contains("last contact  1970-01-12T13:41:40Z (5 min ago)"));
        assert!(text(false).contains("name          Van\\n7"));
    }

    #[test]
    fn the_list_says_who_is_online() {
        let (shown, now) = shown(false);
        let contact = Contact {
            last_contact_at: shown.last_contact_at,
            connected: true,
            sends_before_ack: true,
        };
        let mut out = Vec::new();
        list(&mut out, [(&shown.device, contact)].into_iter(), now).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("356307042441013  accepted  yes     5 min ago     FMB920  Van\\n7  ACK type is not AVL"), "{text}");
        assert!(text.ends_with("1 device, 1 online\n"));
    }

    #[test]
    fn json_has_what_the_text_has() {
        let (shown, _) = shown(false);
        let value = json(&shown, None);
        assert_eq!(value["imei"], "356307042441013");
        assert_eq!(value["latest_fix"]["longitude"], 25.5);
        assert_eq!(value["last_login_at"], Value::Null);
    }
}
