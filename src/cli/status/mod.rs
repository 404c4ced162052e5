//! `trackport status`, `session` and `port`: what may follow them on the command line.

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
