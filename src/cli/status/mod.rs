//! `trackport status`, `session` and `port`: ask the running server over its control socket.
//!
//! `report.rs` is the text for people. Knows nothing of the database: what is asked here is in the server's memory.

mod report;

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use super::Failed;
use crate::conf::{self, Conf};
use crate::control::client;
use crate::control::messages::{Request, Response, Session, Status};
use crate::imei::Imei;

/// What may follow `trackport status`.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// What to do with sessions of the running server.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SessionCommand {
    /// List who is connected, one line each
    List {
        /// Only sessions on this port number
        #[arg(long)]
        port: Option<u16>,
        /// Only sessions of this device
        #[arg(long)]
        imei: Option<Imei>,
        /// So many sessions at most
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Close the sessions of devices; they may connect again at once
    Close {
        /// The devices
        #[arg(required = true)]
        imeis: Vec<Imei>,
    },
}

/// What to do with ports of the running server.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PortCommand {
    /// List the ports: where they listen, their sessions, their restarts
    List {
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Replace the threads of ports on the same sockets; their sessions are closed
    #[command(
        after_help = "Examples:\n  trackport port restart 5027\n  trackport port restart '[::]:5027'"
    )]
    Restart {
        /// Port numbers, or addresses as `port list` shows them
        #[arg(required = true)]
        ports: Vec<String>,
    },
}

/// What a running server answers, or why none does.
fn ask(conf: &Conf, request: &Request) -> anyhow::Result<Response> {
    match client::ask(&conf.control.socket, request)? {
        Response::Error { text } => anyhow::bail!("{text}"),
        answer => Ok(answer),
    }
}

fn other_words<T>() -> anyhow::Result<T> {
    anyhow::bail!(
        "trackport answered something else; the running server is another version: restart it"
    )
}

pub(super) fn ask_status(path: &Path) -> anyhow::Result<Status> {
    match ask(&conf::load(path)?, &Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => other_words(),
    }
}

/// `trackport status`
///
/// # Errors
/// The mistakes of the conf file; a server that does not answer.
pub fn run(args: &StatusArgs, path: &Path) -> anyhow::Result<()> {
    let status = ask_status(path)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&status)?)?;
    } else {
        report::status(&mut out, &status, SystemTime::now())?;
    }
    Ok(())
}

/// `trackport session`
///
/// # Errors
/// As [`run`]; `Failed` when a session could not be closed.
pub fn run_session(command: &SessionCommand, path: &Path) -> anyhow::Result<()> {
    match command {
        SessionCommand::List {
            port,
            imei,
            limit,
            json,
        } => {
            let request = Request::Sessions {
                imei: imei.map(|imei| imei.to_string()),
                port: port.map(|port| port.to_string()),
                limit: *limit,
            };
            let Response::Sessions { sessions, total } = ask(&conf::load(path)?, &request)? else {
                return other_words();
            };
            list_sessions(&sessions, total, *json)
        }
        SessionCommand::Close { imeis } => {
            let requests = imeis.iter().map(|imei| Request::CloseSession {
                imei: imei.to_string(),
            });
            ask_each(&conf::load(path)?, requests)
        }
    }
}

fn list_sessions(sessions: &[Session], total: usize, json: bool) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        for session in sessions {
            writeln!(out, "{}", serde_json::to_string(session)?)?;
        }
    } else {
        report::sessions(&mut out, sessions, total, SystemTime::now())?;
    }
    out.flush()?;
    if json && sessions.len() < total {
        eprintln!("{} of {total} sessions; --limit shows more", sessions.len());
    }
    Ok(())
}

/// `trackport port`
///
/// # Errors
/// As [`run`]; `Failed` when a port could not be restarted.
pub fn run_port(command: &PortCommand, path: &Path) -> anyhow::Result<()> {
    match command {
        PortCommand::List { json } => {
            let status = ask_status(path)?;
            let mut out = io::BufWriter::new(io::stdout().lock());
            if *json {
                for port in &status.ports {
                    writeln!(out, "{}", serde_json::to_string(port)?)?;
                }
            } else {
                report::ports(&mut out, &status, SystemTime::now())?;
            }
            out.flush()?;
            Ok(())
        }
        PortCommand::Restart { ports } => {
            let requests = ports
                .iter()
                .map(|port| Request::RestartPort { port: port.clone() });
            ask_each(&conf::load(path)?, requests)
        }
    }
}

/// Asks for one thing after the other; one that fails does not keep the others from being asked for.
fn ask_each(conf: &Conf, requests: impl Iterator<Item = Request>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let mut failed = false;
    for request in requests {
        match client::ask(&conf.control.socket, &request)? {
            Response::Done { text } => writeln!(out, "{text}")?,
            Response::Error { text } => {
                eprintln!("trackport: {text}");
                failed = true;
            }
            Response::Status(_)
            | Response::Sessions { .. }
            | Response::Device { .. }
            | Response::Line { .. } => {
                return other_words();
            }
        }
    }
    if failed { Err(Failed.into()) } else { Ok(()) }
}
