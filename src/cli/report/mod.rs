//! `trackport report` and `trackport export`: reports about assets, and their tracks as files.
//!
//! Works on the database alone. `show.rs` is the table for people; the other forms are those of `crate::export`, as the web has them.

mod show;
mod track;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use postgres::Client;

use super::database;
use crate::conf;
use crate::export::{About, CsvReport, ExportError, JsonReport, SheetReport};
use crate::imei::Imei;
use crate::store::report::choice::{self, Choice};
use crate::store::report::head::{self, Head};
use crate::store::report::{self, REPORTS, Report, rows, span};

pub use track::ExportCommand;
pub(super) use track::run_export;

/// Which report, of what and of which time.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which report: daily, trips, stops, temperature, events, offline, odometer; list says what they tell
    #[arg(value_name = "NAME", value_parser = name)]
    name: Name,
    /// Of what.
    #[command(flatten)]
    of: Of,
    /// Of which time.
    #[command(flatten)]
    when: When,
    /// As a table for people, or as a file
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What a report is about; nothing named: all assets.
#[derive(Clone, Debug, clap::Args)]
struct Of {
    /// Assets, by name or number
    #[arg(long, value_name = "ASSET")]
    asset: Vec<String>,
    /// All assets of groups, by name or number
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Assets to which these devices were fitted
    #[arg(long, value_name = "IMEI")]
    device: Vec<Imei>,
}

/// A span of time.
#[derive(Clone, Debug, clap::Args)]
struct When {
    /// Where it begins: 2026-11-01, 2026-11, 2026-11-01T08:00, RFC 3339, today, yesterday, 'last week', 'this month', …
    ///
    /// Days are days of the time zone of the assets' group, UTC where groups differ.
    #[arg(long, value_name = "TIME", default_value = "yesterday")]
    from: String,
    /// Where it ends; a day, a month or a word is meant whole. Without it the span is what --from says, or lasts until now
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Aligned columns, with the parameters above
    Table,
    /// A line of names, then one line a row
    Csv,
    /// One object, as the API answers
    Json,
    /// A spreadsheet
    Xlsx,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    List,
    Report(&'static Report),
}

fn name(text: &str) -> Result<Name, String> {
    if text == "list" {
        return Ok(Name::List);
    }
    report::named(text).map(Name::Report).ok_or_else(|| {
        let names: Vec<&str> = REPORTS.iter().map(|report| report.name).collect();
        format!(
            "there is no such report; there are {}, and list",
            names.join(", ")
        )
    })
}

/// Shows a report, or which there are.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; assets, groups, devices and times that are none.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    let out = BufWriter::new(io::stdout().lock());
    let report = match args.name {
        Name::List => return Ok(show::list(out)?),
        Name::Report(report) => report,
    };
    let mut client = connect(path)?;
    let assets = args.of.assets(&mut client)?;
    let zone = head::time_zone(&mut client, &assets)?;
    let span = span::resolve(&mut client, &zone, &args.when.from, args.when.to.as_deref())?;
    let head = head::head(&mut client, &assets, span)?;
    let about = About {
        report,
        head: &head,
    };
    write(&mut client, about, &assets, args.format, out)?;
    if args.format != Format::Table {
        tell_owing(&head);
    }
    Ok(())
}

/// A connection on which a report may take as long as somebody waits for it.
fn connect(path: &Path) -> anyhow::Result<Client> {
    // The conf is read twice; what is wrong with it has been told then.
    let mut client = database::connect(path)?;
    let statement = conf::load(path)?.timeouts.statement.max(REPORT_TIME);
    client.batch_execute(&format!(
        "SET statement_timeout = {}; SET default_transaction_read_only = on",
        statement.as_millis()
    ))?;
    Ok(client)
}

/// What a report may take at least; a report of a year of a whole fleet does.
const REPORT_TIME: std::time::Duration = std::time::Duration::from_secs(3600);

impl Of {
    /// The numbers of the assets meant.
    fn assets(&self, client: &mut Client) -> anyhow::Result<Vec<i32>> {
        let mut choice = Choice::default();
        for text in &self.asset {
            choice.assets.push(choice::asset(client, text)?);
        }
        for text in &self.group {
            choice.groups.push(choice::group(client, text)?);
        }
        for imei in &self.device {
            choice
                .assets
                .extend(choice::assets_of_device(client, *imei)?);
        }
        let assets = choice::assets(client, &choice)?;
        assets.map_err(|missing| anyhow::anyhow!("{missing:?} is gone; try again"))
    }
}

fn write(
    client: &mut Client,
    about: About<'_>,
    assets: &[i32],
    format: Format,
    mut out: impl Write,
) -> Result<(), ExportError> {
    let mut rows = |each: &mut dyn FnMut(&[rows::Cell]) -> Result<(), ExportError>| {
        let (span, zone) = (about.head.span, &about.head.time_zone);
        rows::for_each(client, about.report, assets, span, zone, None, each)
    };
    match format {
        Format::Table => {
            let mut table = show::Shown::new(about);
            rows(&mut |cells| {
                table.row(cells);
                Ok(())
            })?;
            table.write(&mut out)?;
        }
        Format::Csv => {
            let mut file = CsvReport::begin(about, &mut out)?;
            rows(&mut |cells| Ok(file.row(cells)?))?;
            file.finish()?;
        }
        Format::Json => {
            let mut file = JsonReport::begin(about, &mut out)?;
            rows(&mut |cells| Ok(file.row(cells)?))?;
            file.finish()?;
        }
        Format::Xlsx => {
            let mut file = SheetReport::begin(about)?;
            rows(&mut |cells| Ok(file.row(cells)?))?;
            out.write_all(&file.finish()?)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Says on standard error that a file may lack something.
fn tell_owing(head: &Head) {
    if head.n_owing > 0 {
        eprintln!("trackport: {}", show::owing(head));
    }
}
