//! `trackport asset`: what is tracked, and which device is in it.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::text::{Table, ago, count, printable, time};
use super::{WrongUsage, database, moment};
use crate::imei::Imei;
use crate::store::asset::{self, Asset, Kind};
use crate::store::asset_change::{self, AssetChange};
use crate::store::fitting::{self, Elsewhere, Fitting};
use crate::store::group;

/// What to do with assets.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List assets, one line each
    #[command(
        after_help = "Examples:\n  trackport asset list\n  trackport asset list --group Dairy --json"
    )]
    List {
        /// Only those of this group, by number or name
        #[arg(long)]
        group: Option<String>,
        /// Those that went out of use as well
        #[arg(long)]
        retired: bool,
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show an asset and the devices that were in it
    Show {
        /// Its number, or its name where only one has it
        asset: String,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Make an asset
    ///
    /// A device that is let in gets an asset by itself; this is for what waits for its device.
    #[command(
        after_help = "Example:\n  trackport asset add \"Truck 12\" --group Dairy --temperature-max 7 --device 356307042441013"
    )]
    Add {
        /// What people call it
        name: String,
        /// The device that is in it from now on
        #[arg(long, value_name = "IMEI")]
        device: Option<Imei>,
        /// What is said about it.
        #[command(flatten)]
        about: About,
    },
    /// Change an asset; what is not named stays
    #[command(after_help = "Example:\n  trackport asset set 12 --name \"Truck 12\" --group Dairy")]
    Set {
        /// Its number, or its name where only one has it
        asset: String,
        /// Its new name
        #[arg(long)]
        name: Option<String>,
        /// What is to be changed.
        #[command(flatten)]
        about: About,
        /// Take it into use again after `retire`
        #[arg(long)]
        in_use: bool,
    },
    /// Fit a device to an asset; the one that is in it is taken out
    ///
    /// What a device recorded belongs to the asset in which it was at that time. `device replace` does the same for a device that
    /// breaks down, and lets the new one in.
    #[command(after_help = "\
Examples:
  trackport asset fit \"Truck 12\" 356307042441013
  trackport asset fit 12 356307042441013 --at 2026-11-24T08:30:00Z --move")]
    Fit {
        /// Its number, or its name where only one has it
        asset: String,
        /// The device
        imei: Imei,
        /// When that was, for example 2026-11-24T08:30:00Z; now without it
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        at: Option<SystemTime>,
        /// Take it out of the asset in which it is and has recorded
        #[arg(long = "move")]
        moved: bool,
    },
    /// Take assets out of use: shown no more, their past stays, their devices are taken out
    Retire {
        /// Their numbers, or names where only one has each
        #[arg(required = true)]
        assets: Vec<String>,
    },
}

/// What people say about an asset.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct About {
    /// What it is: vehicle, trailer, machine, box or other
    #[arg(long)]
    kind: Option<Kind>,
    /// Its group, by number or name
    #[arg(long)]
    group: Option<String>,
    /// Colder is an excursion, in °C; '' leaves it to the group
    #[arg(long, value_name = "DEGREES", allow_hyphen_values = true, value_parser = degrees)]
    temperature_min: Option<Degrees>,
    /// Warmer is an excursion, in °C; '' leaves it to the group
    #[arg(long, value_name = "DEGREES", allow_hyphen_values = true, value_parser = degrees)]
    temperature_max: Option<Degrees>,
    /// Anything else; '' takes it away
    #[arg(long)]
    note: Option<String>,
}

/// Degrees Celsius; none where the limit is to be taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Degrees(pub Option<f32>);

/// Reads degrees Celsius; nothing stands for no limit.
pub(super) fn degrees(text: &str) -> Result<Degrees, String> {
    if text.trim().is_empty() {
        return Ok(Degrees(None));
    }
    match text.trim().parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(Degrees(Some(value))),
        _ => Err(format!(
            "{text:?} are no degrees; write for example -18.5, or '' for no limit"
        )),
    }
}

/// Limits as a person reads them: `2 to 7 °C`.
pub(super) fn limits(limits: (Option<f32>, Option<f32>)) -> String {
    match limits {
        (None, None) => "-".to_owned(),
        (Some(min), None) => format!("from {min} °C"),
        (None, Some(max)) => format!("up to {max} °C"),
        (Some(min), Some(max)) => format!("{min} to {max} °C"),
    }
}

impl About {
    fn change(
        &self,
        client: &mut postgres::Client,
        name: Option<&str>,
    ) -> anyhow::Result<AssetChange> {
        let group = self.group.as_deref();
        Ok(AssetChange {
            name: name.map(str::to_owned),
            kind: self.kind,
            group_id: match group {
                Some(group) => Some(group::find(client, group)?.id),
                None => None,
            },
            temperature_min: self.temperature_min.map(|degrees| degrees.0),
            temperature_max: self.temperature_max.map(|degrees| degrees.0),
            note: self.note.clone(),
            is_retired: None,
        })
    }
}

/// Does what `command` says in the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; a name that fits several, which are told.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let mut out = io::stdout().lock();
    match command {
        Command::List {
            group,
            retired,
            json,
        } => {
            let mut assets = asset::list(&mut client, *retired)?;
            if let Some(group) = group {
                let id = group::find(&mut client, group)?.id;
                assets.retain(|asset| asset.group_id == id);
            }
            if *json {
                for asset in &assets {
                    writeln!(out, "{}", self::json(asset))?;
                }
            } else {
                list(&mut out, &assets)?;
            }
        }
        Command::Show { asset, json } => {
            let asset = asset::find(&mut client, asset)?;
            let fittings = fitting::of_asset(&mut client, asset.id)?;
            if *json {
                let mut value = self::json(&asset);
                value["fittings"] = fittings.iter().map(fitting_json).collect();
                writeln!(out, "{value}")?;
            } else {
                show(&mut out, &asset, &fittings, SystemTime::now())?;
            }
        }
        Command::Add {
            name,
            device,
            about,
        } => {
            let change = about.change(&mut client, Some(name))?;
            let mut transaction = client.transaction()?;
            let asset = asset_change::add(&mut transaction, &change)?;
            if let Some(imei) = device {
                fitting::fit(&mut transaction, asset.id, *imei, None, Elsewhere::FromOwn)?;
            }
            transaction.commit()?;
            writeln!(out, "asset {} is {}", asset.id, printable(&asset.name))?;
        }
        Command::Set {
            asset,
            name,
            about,
            in_use,
        } => {
            let mut change = about.change(&mut client, name.as_deref())?;
            change.is_retired = in_use.then_some(false);
            if change == AssetChange::default() {
                let text = "asset set: nothing to change; name a value, for example --group 2";
                return Err(WrongUsage(text.to_owned()).into());
            }
            let id = asset::find(&mut client, asset)?.id;
            let asset = asset_change::set(&mut client, id, &change)?;
            writeln!(
                out,
                "asset {} ({}) is changed",
                asset.id,
                printable(&asset.name)
            )?;
        }
        Command::Fit {
            asset,
            imei,
            at,
            moved,
        } => {
            let id = asset::find(&mut client, asset)?.id;
            let elsewhere = if *moved {
                Elsewhere::Move
            } else {
                Elsewhere::FromOwn
            };
            let done = fitting::fit(&mut client, id, *imei, *at, elsewhere)?;
            let since = done
                .fitting
                .fitted_at
                .map_or_else(|| "ever".to_owned(), time);
            writeln!(out, "{imei} is in asset {id} since {since}")?;
            if let Some(before) = done.before {
                writeln!(out, "{before} is in no asset any more")?;
            }
            if let Some(left) = done.left {
                writeln!(
                    out,
                    "asset {} ({}) has no device any more",
                    left.id,
                    printable(&left.name)
                )?;
            }
        }
        Command::Retire { assets } => {
            let change = AssetChange {
                is_retired: Some(true),
                ..AssetChange::default()
            };
            let mut transaction = client.transaction()?;
            let mut retired = Vec::new();
            for asset in assets {
                let before = asset::find(&mut transaction, asset)?;
                asset_change::set(&mut transaction, before.id, &change)?;
                retired.push(before);
            }
            transaction.commit()?;
            for asset in retired {
                let device = asset.device.map_or_else(String::new, |(_, imei)| {
                    format!("; {imei} is in no asset any more")
                });
                writeln!(
                    out,
                    "asset {} ({}) is out of use{device}",
                    asset.id,
                    printable(&asset.name)
                )?;
            }
        }
    }
    Ok(())
}

fn list(out: &mut impl Write, assets: &[Asset]) -> io::Result<()> {
    let mut table = Table::new([
        "ID", "NAME", "KIND", "GROUP", "DEVICE", "MODEL", "LIMITS", "REMARK",
    ]);
    for asset in assets {
        table.row(&[
            asset.id.to_string(),
            asset.name.clone(),
            asset.kind.to_string(),
            asset.group.clone(),
            asset
                .device
                .map_or_else(|| "-".to_owned(), |(_, imei)| imei.to_string()),
            asset.model.clone().unwrap_or_default(),
            limits(asset.limits),
            if asset.retired_at.is_some() {
                "out of use"
            } else {
                ""
            }
            .to_owned(),
        ]);
    }
    if table.is_empty() {
        return writeln!(out, "no assets");
    }
    table.write(out, "")?;
    writeln!(out, "{}", count(assets.len(), "asset"))
}

fn show(
    out: &mut impl Write,
    asset: &Asset,
    fittings: &[Fitting],
    now: SystemTime,
) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<14}{}", printable(value));
    line("asset", &asset.id.to_string())?;
    line("name", &asset.name)?;
    line("kind", asset.kind.as_str())?;
    line("group", &format!("{} ({})", asset.group, asset.group_id))?;
    line("limits", &limits(asset.limits))?;
    line("note", asset.note.as_deref().unwrap_or("-"))?;
    if let Some(at) = asset.retired_at {
        line("out of use", &format!("{} ({})", time(at), ago(at, now)))?;
    }
    line("made", &time(asset.created_at))?;
    if fittings.is_empty() {
        return line("devices", "none; `trackport asset fit` puts one in");
    }
    writeln!(out)?;
    let mut table = Table::new(["FITTING", "DEVICE", "FROM", "UNTIL"]);
    for fitting in fittings {
        table.row(&[
            fitting.id.to_string(),
            fitting.imei.to_string(),
            fitting.fitted_at.map_or_else(|| "ever".to_owned(), time),
            fitting.removed_at.map_or_else(|| "now".to_owned(), time),
        ]);
    }
    table.write(out, "")
}

fn json(asset: &Asset) -> Value {
    json!({
        "id": asset.id,
        "name": asset.name,
        "kind": asset.kind.as_str(),
        "group": {"id": asset.group_id, "name": asset.group},
        "imei": asset.device.map(|(_, imei)| imei.to_string()),
        "model": asset.model,
        "temperature_min": asset.temperature_min,
        "temperature_max": asset.temperature_max,
        "limits": {"temperature_min": asset.limits.0, "temperature_max": asset.limits.1},
        "note": asset.note,
        "retired_at": asset.retired_at.map(time),
        "created_at": time(asset.created_at),
    })
}

fn fitting_json(fitting: &Fitting) -> Value {
    json!({
        "id": fitting.id,
        "imei": fitting.imei.to_string(),
        "fitted_at": fitting.fitted_at.map(time),
        "removed_at": fitting.removed_at.map(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_numbers_and_nothing_takes_a_limit_away() {
        assert_eq!(degrees("-18.5"), Ok(Degrees(Some(-18.5))));
        assert_eq!(degrees(""), Ok(Degrees(None)));
        assert!(degrees("NaN").is_err() && degrees("warm").is_err());
    }
}
