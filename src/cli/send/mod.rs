//! `trackport send`: plays a capture to a server as a device would, and shows each answer.
//!
//! `capture.rs` takes the file apart, `player.rs` speaks to the server.

pub(super) mod capture;
mod player;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{Failed, WrongUsage, network};
use crate::conf::parse_duration;
use crate::imei::Imei;
use capture::{Item, Kind};
use player::Player;

/// What may follow `trackport send`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The IMEI to log in with; logins in the capture are then left out
    #[arg(long)]
    pub imei: Option<Imei>,
    /// Send the capture as it is, also when it does not begin with a login: for ports that are pinned to a device
    #[arg(long, conflicts_with = "imei")]
    pub no_login: bool,
    /// Where to connect
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:5027")]
    pub to: String,
    /// How long to wait for each answer
    #[arg(long, value_name = "TIME", default_value = "10 s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Hex, bytes, or JSON lines of frames; - reads standard input
    pub file: PathBuf,
}

/// Plays the capture.
///
/// # Errors
/// A capture or server that is not there; `Failed` when a packet was not acknowledged with all of its records.
pub fn run(args: &Args, _conf: &Path) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let bytes = if args.file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        std::fs::read(&args.file).with_context(|| name.clone())?
    };
    let mut items = capture::read(&bytes).with_context(|| name.clone())?;
    let is_login = |item: &Item| matches!(item.kind, Kind::Login(_));
    let first = items.iter().find(|item| item.kind != Kind::Ping);
    if args.imei.is_some() {
        items.retain(|item| !is_login(item));
    } else if !args.no_login && !first.is_some_and(is_login) {
        let text = format!(
            "{name} does not begin with a login: give --imei, or --no-login for a port that is pinned to a device"
        );
        return Err(WrongUsage(text).into());
    }
    let addresses = network::resolve(&args.to)?;
    let interrupted = network::interrupted()?;
    let mut out = io::stdout().lock();
    let mut player = Player::new(&addresses, args.imei, args.timeout, &interrupted);
    let tally = player.play(&items, &mut out)?;
    writeln!(out, "{tally}")?;
    if tally.is_right() {
        Ok(())
    } else {
        Err(Failed.into())
    }
}
