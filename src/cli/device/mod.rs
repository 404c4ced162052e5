//! `trackport device`: says which devices may log in, and shows what is known of them.
//!
//! Works on the database alone; a running server hears of each change by itself. `show.rs` is the text and JSON for people and
//! programs, `model.rs` is about models, `replace.rs` puts one device in the place of another. Only `forget.rs`, which erases a device,
//! speaks to the server as well.

mod forget;
mod model;
mod replace;
mod show;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use postgres::Client;

use super::{Failed, WrongUsage, database, text};
use crate::imei::Imei;
use crate::models;
use crate::sheet::{self, ImportError, Mistake, Row};
use crate::store::asset;
use crate::store::device::{self, Device, DeviceChange, DeviceState};

/// What to do with devices.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Add a device, so that it may log in
    ///
    /// A device that was removed comes back with its records.
    #[command(
        after_help = "Example:\n  trackport device add 356307042441013 --name \"Van 7\" --model FMB920"
    )]
    Add {
        /// The 15 digits on the device
        imei: Imei,
        /// What else is known of it.
        #[command(flatten)]
        about: About,
    },
    /// Add and change many devices from a CSV file
    ///
    /// The first line names the columns; `imei` is the only one that must be there, the others are those of `export`.
    /// A column that is not there leaves what is known, an empty cell takes it away. Commas, semicolons and tabs
    /// are understood. Either all lines are taken or none: every mistake is told with its line.
    ///
    /// `asset` names the asset in which the device is, `group` that asset's group, each by name or number. An asset that is not
    /// there yet comes into being; a group has to be there. Empty cells of these two leave the device where it is.
    #[command(after_help = "Example:\n  trackport device import fleet.csv --dry-run")]
    Import {
        /// The CSV file; - reads standard input
        file: PathBuf,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Write all devices as CSV, in the form that `import` reads
    #[command(after_help = "Example:\n  trackport device export fleet.csv")]
    Export {
        /// The file to write; standard output without it or with -
        file: Option<PathBuf>,
    },
    /// List devices, one line each
    #[command(
        after_help = "Examples:\n  trackport device list\n  trackport device list --state pending"
    )]
    List {
        /// Only devices in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is known of a device
    Show {
        /// The device
        imei: Imei,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Change what is known of a device; what is not named stays
    ///
    /// The model decides what the IO elements of the device mean. When it changes, the running server fills the columns of all records
    /// that are there anew, in the background; `device show` says how far it is.
    #[command(
        after_help = "Example:\n  trackport device set 356307042441013 --model FMB920 --note \"new antenna\""
    )]
    Set {
        /// The device
        imei: Imei,
        /// What is to be changed.
        #[command(flatten)]
        about: About,
    },
    /// Say which models fit what a device sends, or every device that has no model
    ///
    /// Compares the IO elements of its newest records, ids and widths, with the maker's tables. Nothing is changed: `device set --model` sets
    /// the model. Models that cannot be told apart by what is sent are named together.
    #[command(after_help = "Example:\n  trackport device suggest 356307042441013")]
    Suggest {
        /// The device; without it every accepted device that has no model
        imei: Option<Imei>,
    },
    /// Have the running server fill the columns of a device's records anew from what was sent
    ///
    /// Happens by itself when the model changes. By hand it is of use after an upgrade that knows more elements.
    #[command(after_help = "Example:\n  trackport device recompute --all")]
    Recompute {
        /// The devices
        imeis: Vec<Imei>,
        /// Every device
        #[arg(long)]
        all: bool,
    },
    /// Let devices in, for example such as were refused
    Accept {
        /// The devices
        #[arg(required = true)]
        imeis: Vec<Imei>,
    },
    /// Keep devices out, also where every IMEI is accepted; their sessions are closed
    Refuse {
        /// The devices
        #[arg(required = true)]
        imeis: Vec<Imei>,
    },
    /// Give a device another name
    #[command(after_help = "Example:\n  trackport device rename 356307042441013 \"Van 8\"")]
    Rename {
        /// The device
        imei: Imei,
        /// Its new name
        name: String,
    },
    /// Put a new device in the place of another: the asset and its past stay
    #[command(after_help = "\
Examples:
  trackport device replace 356307042441013 356307042441021
  trackport device replace 356307042441013 356307042441021 --at 2026-11-24T08:30:00Z")]
    Replace(replace::Args),
    /// Take devices out of the fleet; their records stay and their sessions are closed
    ///
    /// Removing is a state and can be taken back: `device add` brings a device back with its records. What erases a device for
    /// ever, with all its records, is `device forget`.
    Remove {
        /// The devices
        #[arg(required = true)]
        imeis: Vec<Imei>,
    },
    /// Erase a device for ever: its records and everything else that is known of it
    ///
    /// Keeps the device out, waits until the running server and its spool hold nothing of it any more, and deletes all rows of it from all
    /// tables: records, imported positions, latest position, quarantine, refused logins, commands, events, the device itself. Needs the
    /// database; beside a running server it needs its control socket and the right to read its spool, so run it as root or as the server's
    /// user. Interrupted, it leaves a refused device: run it again.
    ///
    /// Backups, exported files and logs are not within its reach. `device remove` only takes a device out of service.
    #[command(after_help = "\
Examples:
  trackport device forget 356307042441013
  trackport device forget 356307042441013 --refuse --yes")]
    Forget(forget::Args),
}

/// What people know of a device. An empty text takes a value away.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct About {
    /// What people call it
    #[arg(long)]
    pub name: Option<String>,
    /// The maker's model, for example FMB920
    #[arg(long)]
    pub model: Option<String>,
    /// Version of its firmware
    #[arg(long)]
    pub firmware: Option<String>,
    /// Number of its SIM card
    #[arg(long)]
    pub phone: Option<String>,
    /// ICCID of its SIM card
    #[arg(long)]
    pub iccid: Option<String>,
    /// Anything else
    #[arg(long)]
    pub note: Option<String>,
}

/// Whether a device may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum State {
    /// It may.
    Accepted,
    /// It may not.
    Refused,
    /// Nobody has decided yet.
    Pending,
    /// It was taken out of the fleet.
    Removed,
}

impl From<State> for DeviceState {
    fn from(state: State) -> DeviceState {
        match state {
            State::Accepted => DeviceState::Accepted,
            State::Refused => DeviceState::Refused,
            State::Pending => DeviceState::Pending,
            State::Removed => DeviceState::Removed,
        }
    }
}

impl About {
    /// The change that this asks for; says on standard error what is odd about it.
    fn change(&self) -> DeviceChange {
        let model = self.model.as_deref().map(|model| {
            let (model, warning) = models::checked(model);
            if let Some(warning) = warning {
                eprintln!("warning: {warning}");
            }
            model
        });
        DeviceChange {
            name: self.name.clone(),
            model,
            firmware: self.firmware.clone(),
            phone: self.phone.clone(),
            iccid: self.iccid.clone(),
            note: self.note.clone(),
            ..DeviceChange::default()
        }
    }
}

/// Does what `command` says in the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; `Failed` when mistakes were told already.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        Command::Add { imei, about } => {
            let change = about.change();
            warn_of_check_digit(*imei);
            device::add(&mut database::connect(path)?, *imei, &change)?;
            writeln!(out, "{imei} is added and may log in")?;
        }
        Command::Import { file, dry_run } => return import(path, file, *dry_run),
        Command::Export { file } => return export(path, file.as_deref()),
        Command::List { state, json } => return list(path, state.map(DeviceState::from), *json),
        Command::Show { imei, json } => {
            let mut client = database::connect(path)?;
            let shown = device::show(&mut client, *imei)?;
            let Some(shown) = shown else {
                anyhow::bail!("there is no device {imei}: `device add` makes one");
            };
            let asset = asset::of_device(&mut client, shown.device.id)?;
            if *json {
                writeln!(out, "{}", show::json(&shown, asset.as_ref()))?;
            } else {
                show::write(&mut out, &shown, asset.as_ref(), SystemTime::now())?;
            }
        }
        Command::Set { imei, about } => {
            let change = about.change();
            if change == DeviceChange::default() {
                let text =
                    "device set: nothing to change; name a field, for example --model FMB920";
                return Err(WrongUsage(text.to_owned()).into());
            }
            device::set(&mut database::connect(path)?, *imei, &change)?;
            writeln!(out, "{imei} is changed")?;
        }
        Command::Suggest { imei } => {
            drop(out);
            return model::suggest_models(path, *imei);
        }
        Command::Recompute { imeis, all } => {
            drop(out);
            return model::recompute(path, imeis, *all);
        }
        Command::Accept { imeis } => return decide(path, imeis, device::accept),
        Command::Refuse { imeis } => return decide(path, imeis, device::refuse),
        Command::Rename { imei, name } => {
            device::rename(&mut database::connect(path)?, *imei, name)?;
            if name.is_empty() {
                writeln!(out, "{imei} has no name any more")?;
            } else {
                writeln!(out, "{imei} is {}", text::printable(name))?;
            }
        }
        Command::Remove { imeis } => return decide(path, imeis, device::remove),
        Command::Replace(args) => return replace::run(args, path, &mut out),
        Command::Forget(args) => {
            // It asks and waits; nobody else shall wait for standard output meanwhile.
            drop(out);
            return forget::run(args, path);
        }
    }
    Ok(())
}

/// A wrong check digit is often a slip of the pen, and never a reason to refuse: test units have one.
fn warn_of_check_digit(imei: Imei) {
    if !imei.luhn_ok() {
        eprintln!(
            "warning: the check digit of {imei} is wrong; is it typed as it stands on the device?"
        );
    }
}

/// What is done to one device after the other.
type Decision = fn(&mut Client, Imei) -> Result<Device, crate::store::StoreError>;

/// Decides about each device; one that cannot be changed does not keep the others from it.
fn decide(path: &Path, imeis: &[Imei], decision: Decision) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let mut out = io::stdout().lock();
    let mut failed = false;
    for imei in imeis {
        match decision(&mut client, *imei) {
            Ok(device) => writeln!(out, "{imei} is {}", device.state)?,
            Err(error) => {
                eprintln!("trackport: {error}");
                failed = true;
            }
        }
    }
    if failed { Err(Failed.into()) } else { Ok(()) }
}

fn list(path: &Path, state: Option<DeviceState>, json: bool) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let mut devices = device::list(&mut client, state == Some(DeviceState::Removed))?;
    devices.retain(|device| state.is_none_or(|state| device.state == state));
    let contacts = device::contacts(&mut client)?;
    let contact = |device: &Device| contacts.get(&device.id).copied().unwrap_or_default();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        for device in &devices {
            writeln!(out, "{}", show::list_json(device, contact(device)))?;
        }
    } else {
        let rows = devices.iter().map(|device| (device, contact(device)));
        show::list(&mut out, rows, SystemTime::now())?;
    }
    out.flush()?;
    Ok(())
}

fn export(path: &Path, file: Option<&Path>) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let devices = device::list(&mut client, true)?;
    let places = asset::of_devices(&mut client)?;
    match file.filter(|file| *file != Path::new("-")) {
        None => sheet::write(io::stdout().lock(), &devices, &places)?,
        Some(file) => {
            let name = || file.display().to_string();
            let out = File::create(file).with_context(name)?;
            sheet::write(out, &devices, &places).with_context(name)?;
            eprintln!(
                "{} written to {}",
                text::count(devices.len(), "device"),
                file.display()
            );
        }
    }
    Ok(())
}

fn import(path: &Path, file: &Path, dry_run: bool) -> anyhow::Result<()> {
    let (name, bytes) = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        ("standard input".to_owned(), bytes)
    } else {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).with_context(|| name.clone())?;
        (name, bytes)
    };
    let rows = match sheet::read(&bytes) {
        Ok(rows) => rows,
        Err(mistakes) => return Err(told(&name, &mistakes)),
    };
    warn_of_rows(&name, &rows);
    let mut client = database::connect(path)?;
    let before: HashMap<Imei, Device> = device::list(&mut client, true)?
        .into_iter()
        .map(|device| (device.imei, device))
        .collect();
    let mut out = io::stdout().lock();
    if dry_run {
        for line in sheet::differences(&rows, &before, &asset::of_devices(&mut client)?) {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "nothing is changed (--dry-run)")?;
        return Ok(());
    }
    let imported = match sheet::import(&mut client, &rows) {
        Ok(imported) => imported,
        Err(ImportError::Mistakes(mistakes)) => return Err(told(&name, &mistakes)),
        Err(ImportError::Store(error)) => return Err(error.into()),
    };
    writeln!(
        out,
        "{} added, {} changed, {} as they were",
        text::count(imported.n_added, "device"),
        imported.n_changed,
        imported.n_same
    )?;
    let still_removed = rows.iter().filter(|row| {
        let state = before.get(&row.imei).map(|device| device.state);
        row.change.state.is_none() && state == Some(DeviceState::Removed)
    });
    for row in still_removed {
        eprintln!(
            "warning: {} was removed and stays so; `trackport device accept {}` brings it back",
            row.imei, row.imei
        );
    }
    Ok(())
}

/// Says what is wrong in which line.
fn told(name: &str, mistakes: &[Mistake]) -> anyhow::Error {
    for mistake in mistakes {
        eprintln!("{name}:{mistake}");
    }
    eprintln!(
        "trackport: {} in {name}; nothing is imported",
        text::count(mistakes.len(), "mistake")
    );
    Failed.into()
}

/// Says what is odd about rows that are right: each unknown model once, wrong check digits by number.
fn warn_of_rows(name: &str, rows: &[Row]) {
    let mut said: Vec<&str> = Vec::new();
    for row in rows {
        if let Some(model) = row
            .change
            .model
            .as_deref()
            .filter(|model| !model.is_empty())
            && models::known(model).is_none()
            && !said.contains(&model)
        {
            eprintln!("warning: {name}:{}: {}", row.line, models::unknown(model));
            said.push(model);
        }
    }
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.imei.luhn_ok()).collect();
    if let [first, ..] = wrong.as_slice() {
        eprintln!(
            "warning: {name}: {} with a wrong check digit, the first in line {}: {}",
            text::count(wrong.len(), "IMEI"),
            first.line,
            first.imei
        );
    }
}
