//! `trackport export track`: what was recorded of an asset, as a file for maps and tables.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use postgres::Client;

use super::super::WrongUsage;
use super::super::text::count;
use super::{When, connect};
use crate::export::track::{self, Format};
use crate::imei::Imei;
use crate::store::report::track::{Tracked, tracked};
use crate::store::report::{choice, head, span};

/// What to write out.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ExportCommand {
    /// Write the track of an asset, for maps (gpx, geojson, kml) or tables (csv)
    ///
    /// A line on a map has places only; the table has every record, also without a fix. Where nothing was recorded for longer than the
    /// group's gap, or another device was fitted, a new piece begins.
    #[command(after_help = "\
Examples:
  trackport export track --asset 'Van 7' --from yesterday > van7.gpx
  trackport export track --device 356307042441013 --from 2026-11 --format kml --output november.kml")]
    Track {
        /// The asset, by name or number
        #[arg(long, required_unless_present = "device", conflicts_with = "device")]
        asset: Option<String>,
        /// The asset to which this device is fitted
        #[arg(long, value_name = "IMEI")]
        device: Option<Imei>,
        /// Of which time.
        #[command(flatten)]
        when: WhenArgs,
        /// How it is written
        #[arg(long, value_enum, default_value_t = TrackFormat::Gpx)]
        format: TrackFormat,
        /// The file to write, which must not be there yet; standard output without it
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// A span of time.
#[derive(Clone, Debug, clap::Args)]
pub struct WhenArgs {
    #[command(flatten)]
    when: When,
}

/// How a track is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrackFormat {
    /// GPS Exchange Format 1.1
    Gpx,
    /// GeoJSON, RFC 7946
    Geojson,
    /// KML 2.2, for Google Earth
    Kml,
    /// One line a record
    Csv,
}

impl From<TrackFormat> for Format {
    fn from(format: TrackFormat) -> Format {
        match format {
            TrackFormat::Gpx => Format::Gpx,
            TrackFormat::Geojson => Format::GeoJson,
            TrackFormat::Kml => Format::Kml,
            TrackFormat::Csv => Format::Csv,
        }
    }
}

/// Writes a track.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; an asset, a device or a time that is none; a file that is there already.
pub(in super::super) fn run_export(command: &ExportCommand, path: &Path) -> anyhow::Result<()> {
    let ExportCommand::Track {
        asset,
        device,
        when: WhenArgs { when },
        format,
        output,
    } = command;
    let mut client = connect(path)?;
    let asset = chosen(&mut client, asset.as_deref(), *device)?;
    let zone = head::time_zone(&mut client, &[asset.id])?;
    let span = span::resolve(&mut client, &zone, &when.from, when.to.as_deref())?;
    let format = Format::from(*format);
    let Some(file) = output else {
        let mut out = BufWriter::new(io::stdout().lock());
        track::write(&mut client, &asset, span, format, &mut out)?;
        return Ok(out.flush()?);
    };
    let name = || file.display().to_string();
    let mut out = BufWriter::new(File::create_new(file).with_context(name)?);
    let n_records = track::write(&mut client, &asset, span, format, &mut out)?;
    out.flush().with_context(name)?;
    let n_records = usize::try_from(n_records).unwrap_or(usize::MAX);
    eprintln!("{} written to {}", count(n_records, "record"), name());
    Ok(())
}

fn chosen(
    client: &mut Client,
    asset: Option<&str>,
    device: Option<Imei>,
) -> anyhow::Result<Tracked> {
    let id = match (asset, device) {
        (Some(asset), _) => choice::asset(client, asset)?,
        (None, Some(imei)) => match choice::assets_of_device(client, imei)?[..] {
            [one] => one,
            ref several => {
                let ids: Vec<String> = several.iter().map(i32::to_string).collect();
                anyhow::bail!(
                    "device {imei} was fitted to several assets: name one of them by --asset {}",
                    ids.join(" or --asset ")
                )
            }
        },
        (None, None) => return Err(WrongUsage("--asset or --device is needed".to_owned()).into()),
    };
    tracked(client, id)?.with_context(|| format!("there is no asset {id}"))
}
