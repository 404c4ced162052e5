//! `trackport group`: the groups of assets, and the parameters of their reports.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::text::{Table, printable, time};
use super::{WrongUsage, asset, database};
use crate::conf::{parse_duration, show_duration};
use crate::store::group::{self, Group, GroupChange};

/// What to do with groups.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List groups with the parameters of their reports
    List {
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Make a group
    #[command(
        after_help = "Example:\n  trackport group add Dairy --time-zone Europe/Vienna --temperature-min 2 --temperature-max 7"
    )]
    Add {
        /// What people call it; no two groups have the same name
        name: String,
        /// What is said about it.
        #[command(flatten)]
        about: About,
    },
    /// Change a group; what is not named stays
    #[command(
        after_help = "Example:\n  trackport group set fleet --name Acme --trip-by movement --stop-min '3 min'"
    )]
    Set {
        /// Its number or name
        group: String,
        /// Its new name
        #[arg(long)]
        name: Option<String>,
        /// What is to be changed.
        #[command(flatten)]
        about: About,
    },
    /// Remove a group that has no assets
    Remove {
        /// Its number or name
        group: String,
    },
}

/// The parameters of a group.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct About {
    /// The days of its reports are days of this zone, for example Europe/Vienna
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What begins and ends a trip: ignition, movement or speed
    #[arg(long)]
    trip_by: Option<String>,
    /// Where trips go by speed: from here on it moves
    #[arg(long, value_name = "KM/H")]
    trip_speed_kmh: Option<i32>,
    /// Shorter stops do not end a trip, for example '5 min'
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    stop_min: Option<Duration>,
    /// Shorter trips are none
    #[arg(long, value_name = "METRES")]
    trip_min_m: Option<i32>,
    /// Where so long nothing was recorded a trip ends
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    gap_max: Option<Duration>,
    /// Between two fixes that would need a higher speed no distance is counted
    #[arg(long, value_name = "KM/H")]
    believable_kmh: Option<i32>,
    /// Colder is an excursion, in °C; '' takes the limit away
    #[arg(long, value_name = "DEGREES", allow_hyphen_values = true, value_parser = asset::degrees)]
    temperature_min: Option<asset::Degrees>,
    /// Warmer is an excursion, in °C; '' takes the limit away
    #[arg(long, value_name = "DEGREES", allow_hyphen_values = true, value_parser = asset::degrees)]
    temperature_max: Option<asset::Degrees>,
    /// A temperature beyond its limits for a shorter time is no excursion
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    excursion_min: Option<Duration>,
    /// Anything else; '' takes it away
    #[arg(long)]
    note: Option<String>,
}

impl About {
    fn change(&self, name: Option<&str>) -> GroupChange {
        GroupChange {
            name: name.map(str::to_owned),
            time_zone: self.time_zone.clone(),
            trip_by: self.trip_by.clone(),
            trip_speed_kmh: self.trip_speed_kmh,
            stop_min: self.stop_min,
            trip_min_m: self.trip_min_m,
            gap_max: self.gap_max,
            believable_kmh: self.believable_kmh,
            temperature_min: self.temperature_min.map(|degrees| degrees.0),
            temperature_max: self.temperature_max.map(|degrees| degrees.0),
            excursion_min: self.excursion_min,
            note: self.note.clone(),
        }
    }
}

/// Does what `command` says in the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; values that cannot be taken.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        Command::List { json } => {
            let groups = group::list(&mut database::connect(path)?, None)?;
            if *json {
                for group in &groups {
                    writeln!(out, "{}", self::json(group))?;
                }
            } else {
                list(&mut out, &groups)?;
            }
        }
        Command::Add { name, about } => {
            let change = about.change(Some(name));
            let group = group::add(&mut database::connect(path)?, &change)?;
            writeln!(out, "group {} is {}", group.id, printable(&group.name))?;
        }
        Command::Set { group, name, about } => {
            let change = about.change(name.as_deref());
            if change == GroupChange::default() {
                let text = "group set: nothing to change; name a value, for example --time-zone Europe/Vienna";
                return Err(WrongUsage(text.to_owned()).into());
            }
            let mut client = database::connect(path)?;
            let id = group::find(&mut client, group)?.id;
            let group = group::set(&mut client, id, &change)?;
            writeln!(
                out,
                "group {} ({}) is changed",
                group.id,
                printable(&group.name)
            )?;
        }
        Command::Remove { group } => {
            let mut client = database::connect(path)?;
            let id = group::find(&mut client, group)?.id;
            let group = group::remove(&mut client, id)?;
            writeln!(
                out,
                "group {} ({}) is removed",
                group.id,
                printable(&group.name)
            )?;
        }
    }
    Ok(())
}

fn list(out: &mut impl Write, groups: &[Group]) -> io::Result<()> {
    let mut table = Table::new([
        "ID",
        "NAME",
        "ASSETS",
        "ZONE",
        "TRIP BY",
        "STOP",
        "TRIP",
        "GAP",
        "BELIEVABLE",
        "TEMPERATURE",
        "EXCURSION",
    ]);
    for group in groups {
        let trip_by = match group.trip_by.as_str() {
            "speed" => format!("speed from {} km/h", group.trip_speed_kmh),
            other => other.to_owned(),
        };
        table.row(&[
            group.id.to_string(),
            group.name.clone(),
            group.n_assets.to_string(),
            group.time_zone.clone(),
            trip_by,
            show_duration(group.stop_min),
            format!("{} m", group.trip_min_m),
            show_duration(group.gap_max),
            format!("{} km/h", group.believable_kmh),
            asset::limits((group.temperature_min, group.temperature_max)),
            show_duration(group.excursion_min),
        ]);
    }
    table.write(out, "")
}

fn json(group: &Group) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "n_assets": group.n_assets,
        "time_zone": group.time_zone,
        "trip_by": group.trip_by,
        "trip_speed_kmh": group.trip_speed_kmh,
        "stop_min": show_duration(group.stop_min),
        "trip_min_m": group.trip_min_m,
        "gap_max": show_duration(group.gap_max),
        "believable_kmh": group.believable_kmh,
        "temperature_min": group.temperature_min,
        "temperature_max": group.temperature_max,
        "excursion_min": show_duration(group.excursion_min),
        "note": group.note,
        "created_at": time(group.created_at),
    })
}
