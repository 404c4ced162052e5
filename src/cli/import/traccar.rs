//! `trackport import traccar`: first the devices, then the positions of those that are here.
//!
//! Schema as of Traccar 6.14. Positions come in the order of their ids, so that an import that was interrupted goes on where it stood; a
//! little before that, because Traccar may commit a smaller id after a larger one. Memory is bounded by a batch.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use jiff::civil::DateTime;
use postgres::Client;
use twox_hash::XxHash3_64;

use super::super::{WrongUsage, database, text};
use super::devices::{self, TraccarDevice};
use super::mistakes::Mistakes;
use super::positions::{self, Taken};
use super::table::Table;
use crate::conf::{self, Conf};
use crate::imei::Imei;
use crate::store::imported::{self, Conditions, Importer, Positions};
use crate::store::{self, StoreError, device};

/// Rows of one transaction.
const ROWS_AT_ONCE: usize = 10_000;
/// Bytes of one transaction, or a little more.
const BYTES_AT_ONCE: usize = 8 << 20;
/// How far before the last id an interrupted import goes on.
const IDS_AGAIN: i64 = 100_000;
/// How often is said how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What may follow `trackport import traccar`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Traccar's database, where it is PostgreSQL; a user with the right to read is enough. Its password comes from PGPASSWORD or .pgpass
    #[arg(long, value_name = "URL", conflicts_with_all = ["devices", "positions"], required_unless_present = "devices")]
    from: Option<String>,
    /// The table tc_devices as a file
    #[arg(long, value_name = "FILE")]
    devices: Option<PathBuf>,
    /// The table tc_positions as a file
    #[arg(long, value_name = "FILE", requires = "devices")]
    positions: Option<PathBuf>,
    /// Only devices, no positions
    #[arg(long, conflicts_with = "positions")]
    devices_only: bool,
    /// Only positions from this time on: 2026-01-31, or with time and zone
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The zone in which Traccar wrote its times: that of its server, unless that was told otherwise
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
    /// The name under which the positions are kept; another one for each Traccar
    #[arg(long, value_name = "NAME", default_value = "traccar")]
    source: String,
    /// Read everything, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Imports.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; a source that cannot be read. What was stored stays.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    let conf = conf::load(path)?;
    let mut client = database::connect(path)?;
    let since = args
        .since
        .as_deref()
        .map(|since| imported::local(&mut client, since, "UTC").map(|_| since))
        .transpose()
        .map_err(|error| WrongUsage(format!("--since: {error}")))?;
    imported::local(&mut client, "now", &args.time_zone)
        .map_err(|error| WrongUsage(format!("--time-zone: {error}")))?;
    let mut source = match &args.from {
        Some(url) => Source::connect(url, &conf)?,
        None => Source::Files,
    };
    let mut mistakes = Mistakes::default();
    let found = read_devices(args, &mut source, &mut mistakes)?;
    let n_left_out = mistakes.finish("tc_devices");
    let done = devices::bring(&mut client, &found, args.dry_run)?;
    println!(
        "{} {}, {} filled in, {} as they were, {n_left_out} left out",
        text::count(done.n_added, "device"),
        if args.dry_run { "to be added" } else { "added" },
        done.n_filled_in,
        done.n_same
    );
    if !args.devices_only && (args.from.is_some() || args.positions.is_some()) {
        let mut import = Import {
            args,
            conf: &conf,
            since,
        };
        import.positions(&mut client, &mut source, &found)?;
    }
    if args.dry_run {
        println!("nothing is changed (--dry-run)");
    }
    Ok(())
}

/// Where Traccar's tables are.
enum Source {
    Database(Box<Client>),
    Files,
}

impl Source {
    fn connect(url: &str, conf: &Conf) -> anyhow::Result<Source> {
        let database = conf::Database {
            url: url.to_owned(),
            ..conf.database.clone()
        };
        let name = "trackport import";
        let connected = store::connect_elsewhere(&database, &conf.timeouts, name);
        let mut client = connected.map_err(|error| match error {
            StoreError::Url(text) => WrongUsage(format!("--from: {text}")).into(),
            error => anyhow::Error::new(error).context("--from"),
        })?;
        // One long statement reads the positions.
        client.batch_execute(
            "SET statement_timeout = 0; RESET search_path; SET default_transaction_read_only = on;
             SET DateStyle = ISO",
        )?;
        let is_there: bool = client
            .query_one(
                "SELECT to_regclass('tc_devices') IS NOT NULL AND to_regclass('tc_positions') IS NOT NULL",
                &[],
            )?
            .get(0);
        if !is_there {
            anyhow::bail!(
                "--from: no tables tc_devices and tc_positions in that database, or in no schema of the user's search_path"
            );
        }
        Ok(Source::Database(Box::new(client)))
    }
}

fn file(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

fn read_devices(
    args: &Args,
    source: &mut Source,
    mistakes: &mut Mistakes,
) -> anyhow::Result<Vec<TraccarDevice>> {
    match (source, &args.devices) {
        (Source::Database(client), _) => {
            let mut groups = HashMap::new();
            let has_groups: bool = client
                .query_one(
                    "SELECT to_regclass('tc_groups') IS NOT NULL AND has_table_privilege(to_regclass('tc_groups'), 'SELECT')",
                    &[],
                )?
                .get(0);
            if has_groups {
                for row in client.query("SELECT id::bigint, name::text FROM tc_groups", &[])? {
                    groups.insert(row.get(0), row.get(1));
                }
            }
            let rows = client.copy_out(
                "COPY (SELECT * FROM tc_devices ORDER BY id) TO STDOUT (FORMAT csv, HEADER)",
            )?;
            let table = Table::open(rows, "tc_devices", false, &devices::NEEDED)?;
            devices::read(table, &groups, mistakes)
        }
        (Source::Files, Some(path)) => {
            let name = path.display().to_string();
            let table = Table::open(file(path)?, &name, true, &devices::NEEDED)?;
            devices::read(table, &HashMap::new(), mistakes)
        }
        (Source::Files, None) => {
            let text = "import traccar: --from or --devices is needed";
            Err(WrongUsage(text.to_owned()).into())
        }
    }
}

struct Import<'a> {
    args: &'a Args,
    conf: &'a Conf,
    since: Option<&'a str>,
}

impl Import<'_> {
    fn positions(
        &mut self,
        client: &mut Client,
        source: &mut Source,
        found: &[TraccarDevice],
    ) -> anyhow::Result<()> {
        let devices = self.ids(client, found)?;
        let conditions = Conditions {
            time_zone: self.args.time_zone.clone(),
            since: self.since.map(ToOwned::to_owned),
            devices: digest(&devices, self.conf.retention.keep),
        };
        let since = self.since(client)?;
        match source {
            Source::Database(from) => {
                let last_id = imported::progress(client, &self.args.source, &conditions)?;
                let after = last_id.saturating_sub(IDS_AGAIN);
                if last_id > 0 {
                    eprintln!("going on behind position {after}, shortly before where it stood");
                }
                // By the same rule as the rows are read by; the time is one that PostgreSQL itself has written.
                let newer = since.map_or_else(String::new, |since| {
                    format!(" AND coalesce(devicetime, fixtime) >= '{since}'")
                });
                let sql = format!(
                    "COPY (SELECT * FROM tc_positions WHERE id > {after}{newer} ORDER BY id) TO STDOUT (FORMAT csv, HEADER)"
                );
                let rows = from.copy_out(sql.as_str()).context("tc_positions")?;
                let table = Table::open(rows, "tc_positions", false, &positions::NEEDED)?;
                self.take(client, table, &devices, since, &conditions, true)
            }
            Source::Files => {
                let Some(path) = &self.args.positions else {
                    return Ok(());
                };
                // Only for the zone: of a file every row is read, and what is there is passed over.
                imported::progress(client, &self.args.source, &conditions)?;
                let name = path.display().to_string();
                let table = Table::open(file(path)?, &name, true, &positions::NEEDED)?;
                self.take(client, table, &devices, since, &conditions, false)
            }
        }
    }

    /// From ids there to ids here.
    fn ids(
        &self,
        client: &mut Client,
        found: &[TraccarDevice],
    ) -> anyhow::Result<HashMap<i64, i32>> {
        let here: HashMap<Imei, i32> = device::list(client, true)?
            .into_iter()
            .map(|device| (device.imei, device.id))
            .collect();
        Ok(found
            .iter()
            .filter_map(|device| {
                // Of a device that would be added it is only counted.
                let id = here.get(&device.imei).copied();
                let id = id.or(self.args.dry_run.then_some(0))?;
                Some((device.id, id))
            })
            .collect())
    }

    /// The time, as the other server writes times, from which on positions are wanted.
    fn since(&self, client: &mut Client) -> anyhow::Result<Option<DateTime>> {
        let zone = &self.args.time_zone;
        let mut since: Option<DateTime> = None;
        if let Some(wanted) = self.since {
            since = Some(imported::local(client, wanted, zone)?.parse()?);
        }
        if let Some(keep) = self.conf.retention.keep
            && let Some(oldest) = SystemTime::now().checked_sub(keep)
        {
            let oldest: DateTime = imported::local(client, &text::time(oldest), zone)?.parse()?;
            if since.is_none_or(|since| since < oldest) {
                eprintln!(
                    "positions from before {} are left out: [retention] keep would remove them within an hour",
                    text::time(SystemTime::now() - keep)
                );
                since = Some(oldest);
            }
        }
        Ok(since)
    }

    /// Reads `table` to its end and stores what can be stored.
    fn take<R: BufRead>(
        &self,
        client: &mut Client,
        mut table: Table<R>,
        devices: &HashMap<i64, i32>,
        since: Option<DateTime>,
        conditions: &Conditions,
        is_resumable: bool,
    ) -> anyhow::Result<()> {
        let mut importer = Importer::new(client, &self.args.source, conditions)?;
        let (mut rows, mut last_id) = (Positions::default(), None);
        let (mut mistakes, mut odd) = (Mistakes::default(), Mistakes::default());
        let mut count = Count::default();
        let mut without_device: BTreeMap<i64, u64> = BTreeMap::new();
        let begun = Instant::now();
        let mut told = begun;
        loop {
            let row = table.next()?;
            let is_end = row.is_none();
            if let Some(row) = row {
                count.n_read += 1;
                if is_resumable {
                    last_id = row.get("id").and_then(|id| id.parse().ok()).or(last_id);
                }
                match positions::read(&row, devices, since) {
                    Ok(Taken::Row(position, remark)) => {
                        if let Some(remark) = remark {
                            odd.tell(&row.label(), &remark);
                        }
                        count.n_taken += 1;
                        if !self.args.dry_run {
                            rows.push(&position);
                        }
                    }
                    Ok(Taken::TooOld) => count.n_too_old += 1,
                    Ok(Taken::NoDevice(id)) => *without_device.entry(id).or_default() += 1,
                    Err(mistake) => mistakes.tell(&row.label(), &mistake),
                }
            }
            if !self.args.dry_run
                && (is_end || rows.len() >= ROWS_AT_ONCE || rows.n_bytes() >= BYTES_AT_ONCE)
            {
                count.n_new += importer.store(&rows, last_id)?;
                rows.clear();
            }
            if told.elapsed() >= SAY_EVERY {
                told = Instant::now();
                eprintln!("{}", count.so_far(begun.elapsed()));
            }
            if is_end {
                break;
            }
        }
        let n_wrong = mistakes.finish("tc_positions");
        odd.finish("tc_positions");
        let n_without = tell_without_device(&without_device);
        if !self.args.dry_run {
            importer.finish()?;
        }
        let mut out = io::stdout().lock();
        let read = text::amount(count.n_read);
        let speed = count.speed(begun.elapsed());
        if self.args.dry_run {
            write!(
                out,
                "{read} positions read, {} to be stored",
                text::amount(count.n_taken)
            )?;
        } else {
            let known = count.n_taken - count.n_new;
            write!(
                out,
                "{read} positions read, {} stored, {} there already",
                text::amount(count.n_new),
                text::amount(known)
            )?;
        }
        writeln!(
            out,
            ", {} too old, {} of devices that are not taken over, {} left out ({speed}/s)",
            text::amount(count.n_too_old),
            text::amount(n_without),
            text::amount(n_wrong),
        )?;
        Ok(())
    }
}

/// What became of the rows.
#[derive(Default)]
struct Count {
    n_read: u64,
    n_taken: u64,
    n_new: u64,
    n_too_old: u64,
}

impl Count {
    fn speed(&self, took: Duration) -> String {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        text::amount(self.n_read.saturating_mul(1000) / ms)
    }

    fn so_far(&self, took: Duration) -> String {
        format!(
            "{} positions read, {} stored ({}/s)",
            text::amount(self.n_read),
            text::amount(self.n_new),
            self.speed(took)
        )
    }
}

/// Devices told one by one.
const TOLD_MAX: usize = 20;

/// Says of which devices positions were left out; returns how many positions those were.
fn tell_without_device(without: &BTreeMap<i64, u64>) -> u64 {
    for (id, n) in without.iter().take(TOLD_MAX) {
        eprintln!(
            "tc_positions: {} positions of device {id}, which was left out or is not in tc_devices",
            text::amount(*n)
        );
    }
    if without.len() > TOLD_MAX {
        eprintln!("and of {} more devices", without.len() - TOLD_MAX);
    }
    without.values().sum()
}

/// Changes when positions that were left out are wanted now: then everything is read again.
fn digest(devices: &HashMap<i64, i32>, keep: Option<Duration>) -> String {
    let mut pairs: Vec<_> = devices.iter().collect();
    pairs.sort_unstable();
    format!(
        "{:016x}",
        XxHash3_64::oneshot(format!("{pairs:?} {keep:?}").as_bytes())
    )
}
