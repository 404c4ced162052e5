//! Fills a migrated database with the past of a simulated fleet, as real life would have: in the order of time, through the rows that
//! the server writes. For `scripts/bench-web`.
//!
//!     history URL N_DEVICES N_RECORDS
//!
//! Besides the fleet there is one device more, "A year", with a record in each minute of a year. Prints a line of JSON with what is
//! there: records, the time of the first, IMEIs.

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postgres::{Client, NoTls};
use trackport::cli::simulate::{Mix, Past};
use trackport::conf::PartitionWidth;
use trackport::protocol::teltonika::{Checked, Codec, check};
use trackport::store::TypedColumns;
use trackport::store::device::{self, DeviceChange};
use trackport::store::insert::Inserter;
use trackport::store::partition::ensure_partitions;
use trackport::store::rows::{Origin, Rows};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const FIRST: &str = "350000000000006";
const YEAR_FIRST: &str = "359000000000003";
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
const YEAR_MS: u64 = 365 * DAY_MS;
/// So much of everybody's life is written before what comes after it; devices are heard in no finer order than that.
const SLICE_MS: u64 = 6 * 60 * MINUTE_MS;
/// Rows of one transaction.
const ROWS: usize = 20_000;
const N_THREADS: usize = 2;
/// So rarely that the records of many devices reach back over weeks.
const MOVING: Duration = Duration::from_secs(120);
const PARKED: Duration = Duration::from_secs(3600);

/// A device with its key.
struct Member {
    id: i32,
    past: Past,
    typed: Arc<TypedColumns>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|one| one != "--bench").collect();
    let [url, n_devices, n_records] = arguments.as_slice() else {
        return Err("history URL N_DEVICES N_RECORDS".into());
    };
    let (n_devices, n_records): (u32, u64) = (n_devices.parse()?, n_records.parse()?);
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut client = Client::connect(url, NoTls)?;
    let fleet = fleet(&mut client, n_devices)?;
    let year = year(&mut client)?;
    let year_imei = year.past.imei();
    // How far back the fleet has to go is measured on the day before.
    let sample_every = (n_devices / 400).max(1) as usize;
    let (mut n_sampled, mut n_sample_records) = (0_u64, 0_u64);
    let mut fleet = fleet;
    for member in fleet.iter_mut().step_by(sample_every) {
        n_sampled += 1;
        for days in [2, 5] {
            member.past.packets(
                now_ms - days * DAY_MS,
                now_ms - (days - 1) * DAY_MS,
                |packet| {
                    n_sample_records += u64::from(packet[9]);
                },
            );
        }
    }
    let per_day = (n_sample_records / 2).max(1) * u64::from(n_devices) / n_sampled.max(1);
    let n_slices = (n_records * 4).div_ceil(per_day.max(1)).max(4);
    let from_ms = now_ms - n_slices * SLICE_MS;
    partitions(&mut client, now_ms - YEAR_MS, now_ms)?;
    eprintln!(
        "{n_devices} devices, {per_day} records a day: from {} days ago",
        n_slices / 4
    );
    let begun = Instant::now();
    let mut shares: Vec<Vec<Member>> = (0..N_THREADS).map(|_| Vec::new()).collect();
    for (place, member) in fleet.into_iter().enumerate() {
        shares[place % N_THREADS].push(member);
    }
    let written = thread::scope(|scope| -> Outcome<u64> {
        let mut writers: Vec<_> = shares
            .into_iter()
            .enumerate()
            .map(|(place, members)| {
                scope.spawn(move || write(url, members, from_ms, now_ms, place == 0))
            })
            .collect();
        writers.push(scope.spawn(move || write(url, vec![year], now_ms - YEAR_MS, now_ms, false)));
        let mut written = 0;
        for writer in writers {
            written += writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(written)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{written} records in {seconds:.0} s");
    println!(
        "{{\"records\":{written},\"from_ms\":{from_ms},\"seconds\":{seconds:.0},\"year_imei\":\"{year_imei}\"}}"
    );
    Ok(())
}

/// The fleet, registered with names and models.
fn fleet(client: &mut Client, n_devices: u32) -> Outcome<Vec<Member>> {
    let mix: Mix = "mixed".parse()?;
    let pasts = (0..n_devices)
        .map(|index| Past::new(&mix, 1, FIRST.parse()?, index, MOVING, PARKED))
        .collect::<Result<Vec<Past>, _>>()?;
    register(client, pasts)
}

/// The device that has a record in each minute of a year.
fn year(client: &mut Client) -> Outcome<Member> {
    let minute = Duration::from_secs(60);
    let past = Past::new(
        &"coldbox".parse()?,
        1,
        YEAR_FIRST.parse()?,
        0,
        minute,
        minute,
    )?;
    let mut members = register(client, vec![past])?;
    client.execute(
        "UPDATE trackport.device SET name = 'A year' WHERE id = $1",
        &[&members.first().map(|member| member.id)],
    )?;
    members.pop().ok_or_else(|| "no device".into())
}

fn register(client: &mut Client, pasts: Vec<Past>) -> Outcome<Vec<Member>> {
    let rows: Vec<_> = pasts
        .iter()
        .map(|past| {
            let change = DeviceChange {
                name: Some(past.name().to_owned()),
                model: Some(past.model().to_owned()),
                ..DeviceChange::default()
            };
            (past.imei(), change)
        })
        .collect();
    device::import(client, &rows)?;
    let ids: std::collections::HashMap<String, i32> = client
        .query("SELECT imei, id FROM trackport.device", &[])?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    pasts
        .into_iter()
        .map(|past| {
            Ok(Member {
                id: *ids
                    .get(&past.imei().to_string())
                    .ok_or("a device was not registered")?,
                typed: TypedColumns::for_model(Some(past.model())),
                past,
            })
        })
        .collect()
}

/// Those that would have been made while time went by.
fn partitions(client: &mut Client, from_ms: u64, until_ms: u64) -> Outcome<()> {
    let mut at_ms = from_ms;
    while at_ms < until_ms + 7 * DAY_MS {
        let at = UNIX_EPOCH + Duration::from_millis(at_ms);
        ensure_partitions(client, PartitionWidth::Week, at, &mut |_| {})?;
        at_ms += 7 * DAY_MS;
    }
    Ok(())
}

/// Writes what these devices recorded, slice by slice; returns how many records that were.
fn write(
    url: &str,
    mut members: Vec<Member>,
    from_ms: u64,
    until_ms: u64,
    tells: bool,
) -> Outcome<u64> {
    let mut client = Client::connect(url, NoTls)?;
    // Nobody was told that any of it is durable.
    client.batch_execute("SET synchronous_commit = off")?;
    let mut inserter = Inserter::new(client)?;
    let (mut rows, mut none) = (Rows::default(), Rows::default());
    let mut written = 0;
    let mut slice_ms = from_ms;
    while slice_ms < until_ms {
        let end_ms = until_ms.min(slice_ms + SLICE_MS);
        for member in &mut members {
            let (id, typed) = (member.id, Arc::clone(&member.typed));
            member.past.packets(slice_ms, end_ms, |packet| {
                let Ok(Checked::Avl(checked)) = check(packet) else {
                    return;
                };
                for record in checked.records() {
                    let origin = Origin {
                        device_id: id,
                        received_at_us: i64::try_from((record.time_ms + 800) * 1000)
                            .unwrap_or(i64::MAX),
                        port: 5027,
                        codec: Codec::Codec8Extended,
                        typed: &typed,
                    };
                    rows.push(&origin, &record, record.digest());
                }
            });
            if rows.len() >= ROWS {
                written += rows.len() as u64;
                inserter.insert(&mut rows, &mut none)?;
                rows.clear();
            }
        }
        if tells {
            let part = (end_ms - from_ms) * 100 / (until_ms - from_ms);
            eprintln!(
                "{part} %, {} records by this thread",
                written + rows.len() as u64
            );
        }
        slice_ms = end_ms;
    }
    written += rows.len() as u64;
    inserter.insert(&mut rows, &mut none)?;
    Ok(written)
}
