//! Which model a device without one may be, as lists and pages show it.
//!
//! To find out reads the newest records of the device, so what was found is remembered for a while, and a list asks for some devices
//! only: the others get theirs when it is looked at again.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::imei::Imei;
use crate::store::StoreError;
use crate::store::device_list::Listed;
use crate::store::suggest;

/// For so long a device is not looked at again.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Devices that are remembered.
const REMEMBERED_MAX: usize = 50_000;
/// What a list spends on looking.
const PATIENCE: Duration = Duration::from_millis(300);

type Found = HashMap<i32, (Instant, Option<&'static str>)>;
static FOUND: LazyLock<Mutex<Found>> = LazyLock::new(Mutex::default);

/// The model that fits each of these devices better than all others, by the device's number.
pub(super) fn of_list(
    client: &mut Client,
    devices: &[Listed],
) -> Result<HashMap<i32, &'static str>, StoreError> {
    let begun = Instant::now();
    let mut models = HashMap::new();
    let lacking = devices
        .iter()
        .filter(|one| one.model.is_none() && one.last_contact_at.is_some());
    for device in lacking {
        let remembered = FOUND
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&device.id)
            .filter(|(at, _)| at.elapsed() < REMEMBERED)
            .map(|(_, model)| *model);
        let model = match remembered {
            Some(model) => model,
            None if begun.elapsed() >= PATIENCE => continue,
            None => look(client, device)?,
        };
        models.extend(model.map(|model| (device.id, model)));
    }
    Ok(models)
}

fn look(client: &mut Client, device: &Listed) -> Result<Option<&'static str>, StoreError> {
    let Ok(imei) = device.imei.parse::<Imei>() else {
        return Ok(None);
    };
    let model = suggest::suggest(client, imei)?.and_then(|found| found.only());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if found.len() >= REMEMBERED_MAX {
        found.clear();
    }
    found.insert(device.id, (Instant::now(), model));
    Ok(model)
}

/// The models that fit a device best, equally well; none where its elements say too little.
pub(super) fn of_device(
    client: &mut Client,
    device: &Listed,
) -> Result<Vec<&'static str>, StoreError> {
    let Ok(imei) = device.imei.parse::<Imei>() else {
        return Ok(Vec::new());
    };
    let found = suggest::suggest(client, imei)?;
    let best = found.as_ref().and_then(|found| found.best());
    Ok(best.map(|best| best.models.clone()).unwrap_or_default())
}
