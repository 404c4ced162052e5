//! `trackport import`: takes over what another server knows, while both go on running.
//!
//! `traccar.rs` brings devices and positions of Traccar, from its database or from exported files; `table.rs` reads rows, `devices.rs` and
//! `positions.rs` say what they mean here, `attributes.rs` what Traccar kept as JSON, `mistakes.rs` tells what is left out.

mod attributes;
mod devices;
mod mistakes;
mod positions;
mod table;
mod traccar;

use std::path::Path;

/// From where to import.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Take over devices and positions of Traccar
    ///
    /// Devices are added, and those that are there already get what they lack: name, model, phone. What Traccar had disabled
    /// is added as refused. A uniqueid that is no IMEI of 15 digits is told and left out. Positions go into trackport.imported_position; the
    /// view trackport.position shows them up to the device's first own record. Positions never change trackport.latest.
    ///
    /// May be run again and again, also after it was interrupted: nothing is doubled, and what came meanwhile is added. Reads
    /// Traccar's database and changes nothing there.
    #[command(after_help = "\
Examples:
  trackport import traccar --from postgresql://reader@localhost/traccar --devices-only --dry-run
  trackport import traccar --from postgresql://reader@localhost/traccar --time-zone Europe/Vilnius
  trackport import traccar --devices tc_devices.csv --positions tc_positions.csv --since 2026-01-01

Where Traccar's database is no PostgreSQL, export the tables:
  MySQL    mysql --batch --quick traccar -e 'SELECT * FROM tc_positions' > tc_positions.tsv
  H2       CALL CSVWRITE('tc_positions.csv', 'SELECT * FROM tc_positions')    in its console or shell
  others   as CSV, with the names of the columns in the first line
and tc_devices likewise; tc_groups is not needed.")]
    Traccar(traccar::Args),
}

/// Does what `command` says with the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; a source that cannot be read.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    match command {
        Command::Traccar(args) => traccar::run(args, path),
    }
}
