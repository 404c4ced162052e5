//! `trackport send`: what may follow it on the command line.

use std::path::PathBuf;

use crate::imei::Imei;

/// What may follow `trackport send`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The IMEI to log in with first; without it the file is sent as it is
    #[arg(long)]
    pub imei: Option<Imei>,
    /// Where to connect
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:5027")]
    pub to: String,
    /// Hex, one packet per line, or the bytes themselves; - reads standard input
    pub file: PathBuf,
}
