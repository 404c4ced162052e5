//! The command line: what may be typed, and how each command ends.
//!
//! Exit codes: 0 done, 1 failed, 64 wrong usage, 78 wrong conf. Everything that is asked for goes to standard output,
//! everything that is said about it to standard error. The daemon's own words go through the log.

/// `trackport asset`
pub mod asset;
mod check;
mod check_addresses;
mod check_database;
mod check_spool;
/// `trackport completions`
pub mod completions;
mod database;
/// `trackport decode`
pub mod decode;
/// `trackport device`
pub mod device;
/// `trackport doctor`
pub mod doctor;
mod finding;
/// `trackport group`
pub mod group;
/// `trackport health`
pub mod health;
/// `trackport import`
pub mod import;
/// `trackport man`
pub mod man;
/// `trackport migrate`
pub mod migrate;
mod moment;
mod network;
/// `trackport quarantine`
pub mod quarantine;
/// `trackport report` and `export`
pub mod report;
/// `trackport run`
pub mod run;
/// `trackport send`
pub mod send;
/// `trackport simulate`
pub mod simulate;
/// `trackport spool`
pub mod spool;
/// `trackport status`, `session` and `port`
pub mod status;
mod text;
/// `trackport trace`
pub mod trace;
/// `trackport user`
pub mod user;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::conf::ConfErrors;

/// Something went wrong, and the command has said what.
const FAILED: u8 = 1;
/// The command line was not understood (sysexits' EX_USAGE).
const WRONG_USAGE: u8 = 64;
/// The conf file has mistakes (sysexits' EX_CONFIG). systemd does not start again after it.
const WRONG_CONF: u8 = 78;

/// Receives what GPS trackers send and keeps it in PostgreSQL: acknowledged means stored
///
/// The server is `trackport run`; systemd starts it. All other commands are for people: they look at the conf file, the
/// database or the running server, and end.
#[derive(Debug, Parser)]
#[command(
    name = "trackport",
    version,
    subcommand_required = true,
    max_term_width = 100,
    after_help = "\
First steps:
  trackport check                          is the conf right, are ports and database there?
  trackport migrate                        make the tables, or bring them up to date
  trackport device add 356307042441013     let a device in
  trackport user add NAME --admin          let yourself in to the dashboard
  trackport status                         what the running server does
  trackport doctor                         what is wrong, when nothing arrives

Exit codes: 0 done, 1 failed, 64 wrong usage, 78 wrong conf.
Signals: TERM stops the server, HUP reads the conf again, USR1 restarts every thread, USR2 logs
its state.
Environment: TRACKPORT_CONF, the conf file; TRACKPORT_DATABASE_URL, in place of [database] url;
TRACKPORT_DATABASE_PASSWORD_FILE, a file with its password; RUST_LOG, what is logged."
)]
pub struct Cli {
    /// The conf file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TRACKPORT_CONF",
        default_value = "/etc/trackport/trackport.toml"
    )]
    pub conf: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of trackport.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the server, in the foreground, until a signal ends it
    Run(run::Args),
    /// Say whether the server could run: conf file, ports, spool, database
    ///
    /// Says as well on which addresses it listens, how the firewall lets trackers in, and from which addresses its own connections
    /// leave. Changes nothing. Ports of a server that is running are in use, and that is right. Ends with 1 when something
    /// keeps the server from its work, with 78 when the conf file has mistakes.
    #[command(
        after_help = "Examples:\n  trackport check\n  trackport check --conf new.toml --conf-only"
    )]
    Check(check::Args),
    /// Find what is wrong between a tracker and a row, and say what helps
    ///
    /// Looks at the running server, its ports, the firewall, descriptors, the database, the spool, the clock and the devices; works
    /// also when the server does not run. Changes nothing. Ends with 1 when something is wrong. Root sees most: firewalls,
    /// other processes, and the database as the server's user; others are told what they could not see.
    #[command(after_help = "\
Examples:
  trackport doctor
  trackport doctor --imei 356307042441013")]
    Doctor(doctor::Args),
    /// Make the tables in the database, or bring them up to date
    Migrate(migrate::Args),
    /// Say which devices may log in, and what is known of them
    ///
    /// The running server follows within seconds.
    #[command(subcommand)]
    Device(device::Command),
    /// Say what is tracked, and which device is in it
    #[command(subcommand)]
    Asset(asset::Command),
    /// Put assets into groups: customers, their time zones, the parameters of their reports
    #[command(subcommand)]
    Group(group::Command),
    /// Say who may use the dashboard and its API, and what they may do there
    #[command(subcommand)]
    User(user::Command),
    /// Report about assets and a span of time: days, trips, stops, temperatures, events, offline times, odometers
    ///
    /// Above the rows stand the parameters of the assets' groups, up to when the report is complete, and which devices may still owe
    /// data. The same figures come from the SQL functions trackport.report_… and from the web.
    #[command(after_help = "\
Examples:
  trackport report list
  trackport report daily --from 'last month' --group fleet
  trackport report trips --from 2026-11-01 --to 2026-11-30 --asset 'Van 7' --format csv > trips.csv
  trackport report temperature --from yesterday --device 356307042441013")]
    Report(report::Args),
    /// Write tracks as files for maps and tables
    #[command(subcommand)]
    Export(report::ExportCommand),
    /// Take over what another server knows, while both go on running
    #[command(subcommand)]
    Import(import::Command),
    /// Look at packets that could not be read or stored, and store, export or remove them
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// See and close the connections of devices
    #[command(subcommand)]
    Session(status::SessionCommand),
    /// See and restart the ports of the running server
    #[command(subcommand)]
    Port(status::PortCommand),
    /// See what waits on disk for the database; write it out, put it in elsewhere
    #[command(subcommand)]
    Spool(spool::Command),
    /// Say what the running server does: threads, ports, queues, rates
    Status(status::StatusArgs),
    /// Show what one device sends and what it is answered, while it happens
    ///
    /// Every piece that is read or written, as hex, with its time, what it was, and how long an acknowledgement took. Other
    /// devices are not shown. Ends with Ctrl-C. Whoever reads slowly misses pieces and is told so; no device waits for it.
    #[command(after_help = "\
Examples:
  trackport trace 356307042441013
  trackport trace 356307042441013 --for '10 min' > trace.txt
  trackport trace 356307042441013 --to-log on
  trackport trace 356307042441013 --to-log off

What goes to the log: journalctl -u trackport TRACKPORT_IMEI=356307042441013")]
    Trace(trace::Args),
    /// Say in one line whether the running server is alive, for health checks of containers
    ///
    /// Ends with 1 only where a restart would help: no answer, or a supervisor that stands still. A database that is away is
    /// no such reason; --ready asks for more.
    Health(health::Args),
    /// Play a capture to a server as a device would, and show the answers
    #[command(after_help = "\
Examples:
  trackport send --imei 356307042441013 capture.hex
  trackport send --to tracking.example.com:5027 capture.bin
  trackport send --no-login --to localhost:5300 packets.hex

Every packet waits for its answer; a closed connection is made anew. Ends with 1 unless every packet
was acknowledged with all of its records.")]
    Send(send::Args),
    /// Explain a packet field by field, and where it breaks if it is broken
    #[command(after_help = "\
Examples:
  trackport decode 000F333536333037303432343431303133
  trackport decode --model FMB920 capture.hex")]
    Decode(decode::Args),
    /// Play a whole fleet of devices and check every acknowledgement
    #[command(after_help = "\
Examples:
  trackport simulate --devices 1000 --duration '1 min'
  trackport simulate --devices 50 --interval '10 s' --codec 8e --acked acked.csv
  trackport simulate --devices 60 --lives --since '1 day' --duration '8 h'
  trackport simulate --devices 60 --lives --fleet - | trackport device import -")]
    Simulate(simulate::Args),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(man::Args),
    /// Write completions for shells into a folder
    #[command(hide = true)]
    Completions(completions::Args),
}

/// A command that has told people why it failed; nothing is added.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("failed as said above")]
pub struct Failed;

/// Arguments that only the command itself could find wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

/// Reads the command line, does what it says and tells how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be told when the terminal itself is gone.
            let _ = error.print();
            return ExitCode::from(usage_code(error.kind()));
        }
    };
    match dispatch(&cli.command, &cli.conf) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (code, text) = ending(&error);
            if let Some(text) = text {
                eprintln!("{text}");
            }
            ExitCode::from(code)
        }
    }
}

fn dispatch(command: &Command, conf: &Path) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::run(args, conf),
        Command::Check(args) => check::run(args, conf),
        Command::Doctor(args) => doctor::run(args, conf),
        Command::Migrate(args) => migrate::run(args, conf),
        Command::Device(command) => device::run(command, conf),
        Command::Asset(command) => asset::run(command, conf),
        Command::Group(command) => group::run(command, conf),
        Command::User(command) => user::run(command, conf),
        Command::Report(args) => report::run(args, conf),
        Command::Export(command) => report::run_export(command, conf),
        Command::Import(command) => import::run(command, conf),
        Command::Quarantine(command) => quarantine::run(command, conf),
        Command::Spool(command) => spool::run(command, conf),
        Command::Send(args) => send::run(args, conf),
        Command::Decode(args) => decode::run(args, conf),
        Command::Simulate(args) => simulate::run(args, conf),
        Command::Man(args) => man::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Session(command) => status::run_session(command, conf),
        Command::Port(command) => status::run_port(command, conf),
        Command::Status(args) => status::run(args, conf),
        Command::Trace(args) => trace::run(args, conf),
        Command::Health(args) => health::run(args, conf),
    }
}

/// The command line as pages and completions show it: without what is hidden from people.
fn command() -> clap::Command {
    let whole = Cli::command();
    let text = |text: Option<&clap::builder::StyledStr>| text.cloned().unwrap_or_default();
    let shown = whole.get_subcommands().filter(|one| !one.is_hide_set());
    // clap takes no command away from another one, so this one is made anew.
    let mut command = clap::Command::new("trackport")
        .version(env!("CARGO_PKG_VERSION"))
        .about(text(whole.get_about()))
        .long_about(text(whole.get_long_about()))
        .after_help(text(whole.get_after_help()))
        .args(whole.get_arguments().cloned())
        .subcommands(shown.cloned())
        .subcommand_required(true)
        .disable_help_subcommand(true);
    command.build();
    command
}

/// The exit code for what clap has to say. Help that was asked for is no error.
fn usage_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => WRONG_USAGE,
    }
}

/// The exit code for an error and what is told about it.
fn ending(error: &anyhow::Error) -> (u8, Option<String>) {
    let broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        // The reader, for example `head`, has seen enough.
        (0, None)
    } else if error.is::<Failed>() {
        (FAILED, None)
    } else if let Some(errors) = error.downcast_ref::<ConfErrors>() {
        (WRONG_CONF, Some(errors.to_string()))
    } else if let Some(wrong) = error.downcast_ref::<WrongUsage>() {
        let text = format!("trackport: {wrong}; see trackport --help");
        (WRONG_USAGE, Some(text))
    } else {
        (FAILED, Some(format!("trackport: {error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for line in [
            "trackport run",
            "trackport run --conf a.toml",
            "trackport --conf a.toml check --conf-only",
            "trackport migrate",
            "trackport device add 356307042441013 --name Van --model FMB920",
            "trackport device import fleet.csv --dry-run",
            "trackport device export",
            "trackport device list --state pending --json",
            "trackport device show 356307042441013",
            "trackport device set 356307042441013 --note x",
            "trackport device accept 356307042441013 356307042441014",
            "trackport device refuse 356307042441013",
            "trackport device rename 356307042441013 Van",
            "trackport device remove 356307042441013",
            "trackport device replace 356307042441013 356307042441021 --at 2026-11-24T08:30:00Z",
            "trackport asset list --group fleet --retired --json",
            "trackport asset show 12 --json",
            "trackport asset add Truck --kind trailer --group 2 --temperature-min -25 --temperature-max -18.5 --device 356307042441013",
            "trackport asset set 12 --name Truck --note x --in-use",
            "trackport asset fit Truck 356307042441013 --at 2026-11-24T08:30:00+01:00 --move",
            "trackport asset retire 12 13",
            "trackport group list --json",
            "trackport group add Dairy --time-zone Europe/Vienna --temperature-min -2 --temperature-max 7",
            "trackport group set Dairy --trip-by speed --trip-speed-kmh 7 --stop-min 3min --trip-min-m 200 --gap-max 10min",
            "trackport group set 2 --believable-kmh 150 --excursion-min 15min --note x",
            "trackport group remove Dairy",
            "trackport device forget 356307042441013 --yes --refuse --wait 5min",
            "trackport user add anna --admin --password-stdin",
            "trackport user add bot --group fleet --role viewer --no-password",
            "trackport user passwd anna",
            "trackport user list --json",
            "trackport user remove anna bot",
            "trackport user disable anna",
            "trackport user enable anna",
            "trackport user grant bot --group fleet --role manager",
            "trackport user revoke anna --admin",
            "trackport user token bot dashboard --write --expires 90d",
            "trackport user tokens",
            "trackport user revoke-token 1 2",
            "trackport import traccar --from postgresql:///traccar --time-zone Europe/Vilnius --dry-run",
            "trackport import traccar --devices d.csv --positions p.csv --since 2026-01-01 --source old",
            "trackport report list",
            "trackport report daily --from yesterday --group fleet --group 2",
            "trackport report trips --from 2026-11-01 --to 2026-11-30 --asset 7 --device 356307042441013 --format csv",
            "trackport export track --asset 7 --from 2026-11 --format kml --output a.kml",
            "trackport export track --device 356307042441013",
            "trackport quarantine list --imei 356307042441013 --code crc --acked --limit 5 --json",
            "trackport quarantine show 1 2 --json",
            "trackport quarantine retry 1 2 --dry-run",
            "trackport quarantine retry --all",
            "trackport quarantine export --unacked --to a.jsonl",
            "trackport quarantine dismiss --imei 356307042441013",
            "trackport quarantine remove 1 --yes",
            "trackport session list --port 5027",
            "trackport session close 356307042441013",
            "trackport port list",
            "trackport spool list --devices --json",
            "trackport spool export --to spooled.jsonl --imei 356307042441013 old/spool",
            "trackport spool import -",
            "trackport port restart 5027 [::]:5028",
            "trackport status --json",
            "trackport health --ready",
            "trackport send --imei 356307042441013 --to localhost:5027 -",
            "trackport send --no-login --timeout 5s a.hex",
            "trackport session list --imei 356307042441013 --limit 5 --json",
            "trackport trace 356307042441013 --for 10min",
            "trackport trace 356307042441013 --to-log on",
            "trackport simulate --packets 3 --threads 2 --connect-rate 100 --acked a.txt",
            "trackport decode 000F --model FMB920",
            "trackport doctor --json",
            "trackport doctor --imei 356307042441013",
            "trackport simulate --lives --devices 5 --since 7days --duration 1h",
            "trackport simulate --lives van=3,machine --speed-up 4 --seed 7 --fleet -",
            "trackport simulate --devices 5 --records 255 --interval 10s --codec 8e --io 0",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn every_argument_is_explained() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let explained = argument.get_help().is_some();
                assert!(explained, "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn wrong_usage_is_64_and_help_is_0() {
        for (line, code) in [
            ("trackport", 64),
            ("trackport fly", 64),
            ("trackport device", 64),
            ("trackport device add 123", 64),
            ("trackport device accept", 64),
            ("trackport device forget", 64),
            ("trackport user add", 64),
            ("trackport user add anna --role viewer", 64),
            ("trackport user grant anna", 64),
            ("trackport user grant anna --admin --group fleet", 64),
            ("trackport user passwd anna secret", 64),
            ("trackport import traccar", 64),
            ("trackport import traccar --positions p.csv", 64),
            (
                "trackport import traccar --from postgresql:///t --devices d.csv",
                64,
            ),
            ("trackport quarantine", 64),
            ("trackport quarantine show", 64),
            ("trackport quarantine retry 1 --all", 64),
            ("trackport quarantine list --acked --unacked", 64),
            ("trackport simulate --records 0", 64),
            ("trackport simulate --lives boat", 64),
            ("trackport simulate --since 1h", 64),
            ("trackport simulate --interval 10", 64),
            ("trackport send --no-login --imei 356307042441013 a.hex", 64),
            ("trackport trace", 64),
            ("trackport trace 356307042441013 --to-log maybe", 64),
            ("trackport --help", 0),
            ("trackport device add --help", 0),
            ("trackport --version", 0),
            ("trackport help device", 0),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(usage_code(error.kind()), code, "{line}");
        }
    }

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let code = |error: anyhow::Error| ending(&error).0;
        assert_eq!(code(anyhow::anyhow!("no")), 1);
        assert_eq!(code(Failed.into()), 1);
        assert_eq!(code(WrongUsage("no".to_owned()).into()), 64);
        assert_eq!(code(crate::conf::parse("", "t").unwrap_err().into()), 78);
        let context = Err::<(), _>(crate::conf::parse("", "t").unwrap_err()).context("at start");
        assert_eq!(code(context.unwrap_err()), 78);
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(code(pipe.into()), 0);
    }
}
