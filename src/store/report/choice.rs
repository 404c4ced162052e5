//! Which assets a report is about.

use postgres::Client;

use super::super::error::StoreError;
use crate::imei::Imei;

/// What is asked for, and what may be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// These groups are seen; `None`: all.
    pub seen: Option<Vec<i32>>,
    /// All assets of these groups.
    pub groups: Vec<i32>,
    /// These assets.
    pub assets: Vec<i32>,
}

/// What is not there, or not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An asset.
    Asset(i32),
    /// A group.
    Group(i32),
}

/// The assets that `choice` means: those named, those of the groups named, or, where nothing is named, all that are seen. Of groups
/// those that are not retired.
///
/// # Errors
/// When the database does not answer.
pub fn assets(
    client: &mut Client,
    choice: &Choice,
) -> Result<Result<Vec<i32>, Missing>, StoreError> {
    let rows = client.query(
        "SELECT id FROM trackport.group WHERE $1::integer[] IS NULL OR id = ANY ($1)",
        &[&choice.seen],
    )?;
    let seen: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    if let Some(group) = choice.groups.iter().find(|group| !seen.contains(group)) {
        return Ok(Err(Missing::Group(*group)));
    }
    let rows = client.query(
        "SELECT id FROM trackport.asset WHERE id = ANY ($1) AND group_id = ANY ($2)",
        &[&choice.assets, &seen],
    )?;
    let named: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    if let Some(asset) = choice.assets.iter().find(|asset| !named.contains(asset)) {
        return Ok(Err(Missing::Asset(*asset)));
    }
    let groups = match (&choice.groups[..], &choice.assets[..]) {
        ([], []) => seen.as_slice(),
        (groups, _) => groups,
    };
    let rows = client.query(
        "SELECT id FROM trackport.asset WHERE id = ANY ($1) OR group_id = ANY ($2) AND retired_at IS NULL ORDER BY id",
        &[&named, &groups],
    )?;
    Ok(Ok(rows.iter().map(|row| row.get(0)).collect()))
}

/// The group that `text` means: its name, or its number.
///
/// # Errors
/// `Refused` when there is none.
pub fn group(client: &mut Client, text: &str) -> Result<i32, StoreError> {
    let row = client.query_opt(
        "SELECT id FROM trackport.group WHERE name = $1 OR id::text = $1 ORDER BY name = $1 DESC LIMIT 1",
        &[&text],
    )?;
    row.map(|row| row.get(0)).ok_or_else(|| {
        StoreError::Refused(format!(
            "there is no group {text:?}: SELECT name FROM trackport.group lists them"
        ))
    })
}

/// The asset that `text` means: its name, or its number.
///
/// # Errors
/// `Refused` when there is none, or several have this name.
pub fn asset(client: &mut Client, text: &str) -> Result<i32, StoreError> {
    let rows = client.query(
        "SELECT id FROM trackport.asset WHERE name = $1 ORDER BY id LIMIT 20",
        &[&text],
    )?;
    let mut ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    if ids.is_empty() {
        let row = client.query_opt(
            "SELECT id FROM trackport.asset WHERE id::text = $1",
            &[&text],
        )?;
        ids.extend(row.map(|row| row.get::<_, i32>(0)));
    }
    match ids[..] {
        [one] => Ok(one),
        [] => Err(StoreError::Refused(format!("there is no asset {text:?}"))),
        _ => {
            let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
            Err(StoreError::Refused(format!(
                "several assets are called {text:?}: name one of the numbers {}",
                ids.join(", ")
            )))
        }
    }
}

/// The assets to which a device was fitted some time.
///
/// # Errors
/// `Refused` when there is none.
pub fn assets_of_device(client: &mut Client, imei: Imei) -> Result<Vec<i32>, StoreError> {
    let rows = client.query(
        "SELECT DISTINCT asset_id FROM trackport.fitted WHERE imei = $1 ORDER BY 1",
        &[&imei.to_string()],
    )?;
    if rows.is_empty() {
        return Err(StoreError::Refused(format!(
            "device {imei} was never fitted to an asset"
        )));
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
