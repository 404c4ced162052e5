//! `trackport device`: what may follow it on the command line.

use std::path::PathBuf;

use crate::imei::Imei;

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
    /// Either all lines are taken or none: every mistake is told with its line.
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
        /// The file to write; standard output without it
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
    /// The model decides what the IO elements of the device mean.
    #[command(
        after_help = "Example:\n  trackport device set 356307042441013 --model FMB920 --note \"new antenna\""
    )]
    Set {
        /// The device
        imei: Imei,
        /// What else is known of it.
        #[command(flatten)]
        about: About,
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
    /// Take devices out of the fleet; their records stay and their sessions are closed
    Remove {
        /// The devices
        #[arg(required = true)]
        imeis: Vec<Imei>,
    },
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
