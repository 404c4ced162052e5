//! `trackport trace`: shows what one device sends and what it is answered, while it happens.
//!
//! The running server makes the lines; this prints them.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::text::printable;
use super::{Failed, WrongUsage};
use crate::conf::{self, parse_duration, show_duration};
use crate::control::client;
use crate::control::messages::{Request, Response};
use crate::imei::Imei;
use crate::trace::DURATION_MAX;

/// What may follow `trackport trace`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The device; also one that nobody has added, to see it log in
    pub imei: Imei,
    /// When it ends by itself
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "1 h")]
    pub duration: Duration,
    /// Write it to the log of the server in place of the terminal, or stop that
    #[arg(long, value_name = "on|off")]
    pub to_log: Option<Switch>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// From now on.
    On,
    /// No more.
    Off,
}

/// Prints what happens until Ctrl-C, until time is up, or until the server ends; or switches the trace to the log.
///
/// # Errors
/// Wrong usage; the mistakes of the conf file; a server that does not answer, or ends in the middle.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    if args.duration.is_zero() || args.duration > DURATION_MAX {
        let text = format!(
            "--for: write a duration of up to {}",
            show_duration(DURATION_MAX)
        );
        return Err(WrongUsage(text).into());
    }
    let request = Request::Trace {
        imei: args.imei.to_string(),
        for_s: args.duration.as_secs().max(1),
        log: args.to_log.map(|switch| switch == Switch::On),
    };
    let conf = conf::load(path)?;
    let mut out = io::stdout().lock();
    for answer in client::follow(&conf.control.socket, &request)? {
        match answer? {
            Response::Line { text } => {
                writeln!(out, "{}", printable(&text))?;
                // Each line when it happens, also into a file or a pipe.
                out.flush()?;
            }
            Response::Done { text } => {
                if args.to_log.is_some() {
                    writeln!(out, "{text}")?;
                } else {
                    eprintln!("{text}");
                }
                return Ok(());
            }
            Response::Error { text } => anyhow::bail!("{text}"),
            Response::Status(_) | Response::Sessions { .. } | Response::Device { .. } => {
                anyhow::bail!(
                    "trackport answered something else; the running server is another version: restart it"
                )
            }
        }
    }
    eprintln!("trackport: the server has ended the connection, and with it the trace");
    Err(Failed.into())
}
