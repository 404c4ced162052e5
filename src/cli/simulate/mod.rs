//! `trackport simulate`: plays a whole fleet of devices and checks every acknowledgement.
//!
//! `engine.rs` is the thread with the connections (`socket.rs`), `device.rs` one device, `packet.rs` and `road.rs` what it sends as fast as it
//! can, `lives/` what it sends when it has a life, `tally.rs`, `latency.rs` and `report.rs` what comes of it. Knows nothing of the server but
//! the protocol.

mod device;
mod engine;
mod latency;
mod lives;
mod packet;
mod past;
mod report;
mod road;
mod socket;
mod tally;

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::{Failed, WrongUsage, network, text};
use crate::conf::parse_duration;
use crate::imei::Imei;
use crate::protocol::teltonika as wire;
use engine::{LifeClock, Plan, Traffic};
use latency::Histogram;
use lives::fleet;
use lives::{Rhythm, Telling};
use packet::Template;
use tally::Tally;

pub use lives::fleet::{Mix, MixError};
pub use past::Past;

/// Without --duration and --packets.
const DEFAULT_DURATION: Duration = Duration::from_secs(60);
/// With --packets and without --duration: so long without any ack, and no more will come.
const GIVE_UP: Duration = Duration::from_secs(60);
/// How long acks are waited for at the end.
const LAST_ACKS: Duration = Duration::from_secs(10);
/// How often the main thread looks at the others.
const LOOK: Duration = Duration::from_millis(50);
/// Without --interval a life is recorded so often while it moves.
const LIFE_INTERVAL: Duration = Duration::from_secs(15);
/// How much more rarely it is recorded while it stands, and how rarely at most.
const PARKED_TIMES: u64 = 20;
const PARKED_MS_MAX: u64 = 60 * 60 * 1000;
/// How far back lives begin that are to be speeded up.
const SPEED_UP_SINCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Records in a packet without --records: of traffic as fast as it can, and of lives.
const RECORDS: [u8; 2] = [10, 25];
/// Packets larger than this are refused by a server that is not told otherwise.
const PACKET_BYTES_USUAL: usize = 64 * 1024;

/// What may follow `trackport simulate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to connect
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5027")]
    pub to: String,
    /// Devices of the fleet
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub devices: u32,
    /// IMEI of the first device; the others count on from it
    #[arg(long, value_name = "IMEI", default_value = "350000000000000")]
    pub first_imei: Imei,
    /// Records in each packet, 10 by default; of lives at most so many, 25 by default
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    pub records: Option<u8>,
    /// IO elements in each record
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(0..=255), conflicts_with = "lives")]
    pub io: u16,
    /// What the devices speak: 8 by default, 8e for lives
    #[arg(long, value_enum)]
    pub codec: Option<Codec>,
    /// Time between two packets of a device, for example "10 s"; without it each packet follows the ack of the last. Of lives: between two
    /// records while it moves, 15 s by default; twenty times as long while it stands
    #[arg(long, value_parser = parse_duration)]
    pub interval: Option<Duration>,
    /// Packets of each device; without it as many as there is time for
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,
    /// How long, for example "5 min"; without it until --packets or the past (--since) are acknowledged, and without those 60 s
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// New connections per second
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connect_rate: u32,
    /// How long a device waits for an answer before it connects anew and sends again
    #[arg(long, value_name = "TIME", default_value = "30 s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Threads that the devices share
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Give the devices lives: routes with stops, ignition, temperatures, doors, shocks, broken probes, times without network; a mix of van,
    /// car, truck, coldbox and machine, such as van=3,machine
    #[arg(long, value_name = "KINDS", num_args = 0..=1, default_missing_value = "mixed", require_equals = false)]
    pub lives: Option<Mix>,
    /// Begin the lives so long ago, for example "7 days": the past is sent first, then they go on as time does
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "lives")]
    pub since: Option<Duration>,
    /// Hours of life in each minute, until the lives that began in the past (--since, one day by default) have caught up
    #[arg(long, value_name = "HOURS", requires = "lives", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub speed_up: Option<u32>,
    /// With the same number everything happens again in the same way; lives have 1 by default, and go on when they are started again
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Play nothing: write the fleet as CSV for `trackport device import` to this file, or to standard output for -
    #[arg(long, value_name = "FILE", requires = "lives")]
    pub fleet: Option<PathBuf>,
    /// File that gets a line "imei time_ms digest" for each acknowledged record, to be compared with the table; made anew
    #[arg(long, value_name = "FILE")]
    pub acked: Option<PathBuf>,
}

/// The packet formats that carry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// Codec 8.
    #[value(name = "8")]
    Codec8,
    /// Codec 8 Extended.
    #[value(name = "8e")]
    Codec8Extended,
    /// Codec 16.
    #[value(name = "16")]
    Codec16,
}

impl From<Codec> for wire::Codec {
    fn from(codec: Codec) -> wire::Codec {
        match codec {
            Codec::Codec8 => wire::Codec::Codec8,
            Codec::Codec8Extended => wire::Codec::Codec8Extended,
            Codec::Codec16 => wire::Codec::Codec16,
        }
    }
}

/// Plays the fleet, shows how it goes, and tells at the end what was acknowledged.
///
/// # Errors
/// A server that has no address; `Failed` when an answer was wrong, or a packet not acknowledged.
pub fn run(args: &Args, _conf: &Path) -> anyhow::Result<()> {
    if let (Some(file), Some(mix)) = (&args.fleet, &args.lives) {
        return write_fleet(args, mix, file);
    }
    let plan = plan(args)?;
    let tally = match &args.acked {
        None => Tally::new(None)?,
        Some(file) => Tally::new(Some(file)).with_context(|| file.display().to_string())?,
    };
    let interrupted = network::interrupted()?;
    let (latency, active) = thread::scope(|scope| {
        let mut players = Vec::new();
        for (number, devices) in shares(args.devices, args.threads).enumerate() {
            let (plan, tally) = (&plan, &tally);
            let player = thread::Builder::new()
                .name(format!("player-{number}"))
                .spawn_scoped(scope, move || engine::play(plan, devices, tally))
                .context("no thread")?;
            players.push(player);
        }
        let watched = watch(args, &tally, &interrupted, &|| {
            players.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        tally.abandon.store(true, Ordering::Relaxed);
        let mut latency = Histogram::new();
        for player in players {
            let played = player
                .join()
                .map_err(|_| anyhow::anyhow!("a thread of the simulation panicked"))?;
            latency.add_all(&played?);
        }
        watched.map(|active| (latency, active))
    })?;
    tally.flush()?;
    let mut out = io::stdout().lock();
    write!(out, "{}", report::totals(&tally, &latency, active))?;
    out.flush()?;
    let interrupted = interrupted.load(Ordering::Relaxed);
    let wanted = args
        .packets
        .filter(|_| !interrupted && args.duration.is_none())
        .map(|packets| packets.saturating_mul(args.devices.into()));
    report::verdict(&tally, wanted).map_err(|text| {
        eprintln!("trackport: {text}");
        Failed.into()
    })
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let to = network::resolve(&args.to)?;
    let last = match &args.lives {
        None => Imei::from_number(args.first_imei.number() + u64::from(args.devices - 1)),
        Some(_) => fleet::imei(args.first_imei, args.devices - 1),
    };
    if last.is_err() {
        let text = format!(
            "--first-imei {}: there are not {} IMEIs from there on",
            args.first_imei, args.devices
        );
        return Err(WrongUsage(text).into());
    }
    enough_files(args.devices)?;
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let traffic = match &args.lives {
        None => packets(args)?,
        Some(mix) => lives(args, mix, millis(wall)),
    };
    // A name may have an address where nobody listens; a connect shows it, and is not one of the devices'.
    let to = network::connect(&to)
        .and_then(|stream| stream.peer_addr())
        .with_context(|| format!("no connection to {}", args.to))?;
    let run = match args.lives {
        None => args.seed.unwrap_or(wall.as_nanos() as u64),
        Some(_) => args.seed.unwrap_or(1),
    };
    Ok(Plan {
        to,
        first_imei: args.first_imei,
        traffic,
        packets: args.packets,
        connects_per_s: args.connect_rate.div_ceil(args.threads),
        answer_timeout_ms: millis(args.timeout).max(1),
        run,
    })
}

/// Traffic of one form, as fast as it is asked for.
fn packets(args: &Args) -> anyhow::Result<Traffic> {
    let n_records = args.records.unwrap_or(RECORDS[0]);
    let interval_ms = args.interval.map(|interval| millis(interval).max(1));
    // Records are spread over the interval; without one they are as near as their times can be told apart.
    let step_ms = (interval_ms.unwrap_or(0) / u64::from(n_records)).max(1);
    let codec = args.codec.unwrap_or(Codec::Codec8);
    let template = Template::new(codec, n_records, args.io, step_ms)?;
    if template.n_bytes() > PACKET_BYTES_USUAL {
        eprintln!(
            "warning: a packet has {}; servers take {} unless their conf says otherwise",
            text::bytes(template.n_bytes() as u64),
            text::bytes(PACKET_BYTES_USUAL as u64)
        );
    }
    Ok(Traffic::Packets {
        template,
        interval_ms,
    })
}

/// What lives send that are at `wall_ms` when they begin, or so long before as they shall.
fn lives(args: &Args, mix: &Mix, wall_ms: u64) -> Traffic {
    let moving_ms = millis(args.interval.unwrap_or(LIFE_INTERVAL)).max(1000);
    let rhythm = Rhythm {
        moving_ms,
        parked_ms: (moving_ms * PARKED_TIMES).min(PARKED_MS_MAX.max(moving_ms)),
    };
    let since = args
        .since
        .or(args.speed_up.map(|_| SPEED_UP_SINCE))
        .unwrap_or_default();
    let since_ms = wall_ms.saturating_sub(millis(since));
    let clock = match args.speed_up {
        // The past is owed, and the life is now.
        None => LifeClock {
            wall_ms,
            life_ms: wall_ms,
            told_ms: since_ms,
            speed: 1.0,
            ends_with_past: ends_with_past(args),
        },
        Some(hours) => LifeClock {
            wall_ms,
            life_ms: since_ms,
            told_ms: since_ms,
            speed: f64::from(hours) * 60.0,
            ends_with_past: false,
        },
    };
    Traffic::Lives {
        telling: Telling {
            codec: args.codec.unwrap_or(Codec::Codec8Extended).into(),
            rhythm,
            n_records_max: args.records.unwrap_or(RECORDS[1]).into(),
        },
        mix: mix.clone(),
        clock,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes who the fleet is.
fn write_fleet(args: &Args, mix: &Mix, file: &Path) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["imei", "name", "model"])?;
    for index in 0..args.devices {
        let imei = fleet::imei(args.first_imei, index)?;
        let (name, model) = (mix.name(index), mix.kind(index).model());
        csv.write_record([&imei.to_string(), &name, model])?;
    }
    let text = csv.into_inner()?;
    if file == Path::new("-") {
        io::stdout().write_all(&text)?;
        Ok(())
    } else {
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }
}

/// Whether only the past is played.
fn ends_with_past(args: &Args) -> bool {
    args.since.is_some()
        && args.speed_up.is_none()
        && args.duration.is_none()
        && args.packets.is_none()
}

/// The devices of each thread.
fn shares(n_devices: u32, n_threads: u32) -> impl Iterator<Item = Range<u32>> {
    let share = n_devices.div_ceil(n_threads).max(1);
    (0..n_threads)
        .map(move |thread| (thread * share).min(n_devices)..((thread + 1) * share).min(n_devices))
        .filter(|devices| !devices.is_empty())
}

/// Fails when this process may not have as many connections; each is an open file.
fn enough_files(n_devices: u32) -> anyhow::Result<()> {
    let wanted = u64::from(n_devices) + 32;
    // Where the system does not tell, the connects will.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match open_files(&limits) {
        Some(allowed) if allowed < wanted => anyhow::bail!(
            "{} need {} open files, {} are allowed here; `ulimit -n {wanted}` in this shell allows more",
            text::count(n_devices as usize, "device"),
            text::amount(wanted),
            text::amount(allowed)
        ),
        _ => Ok(()),
    }
}

/// The soft limit of open files in the words of `/proc/self/limits`.
fn open_files(limits: &str) -> Option<u64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Shows how it goes until it is over: all players finished, the time is up, or somebody pressed Ctrl-C. Returns the time to the last ack.
fn watch(
    args: &Args,
    tally: &Tally,
    interrupted: &AtomicBool,
    finished: &dyn Fn() -> bool,
) -> anyhow::Result<Duration> {
    let has_end = args.packets.is_some() || ends_with_past(args);
    let duration = args.duration.or((!has_end).then_some(DEFAULT_DURATION));
    let mut show = Show::new(args);
    let start = Instant::now();
    let (mut last_acked, mut last_ack) = (0, start);
    let mut flushed = start;
    let mut stopping: Option<Instant> = None;
    loop {
        // Asked before the counters are read, so that the last ack is seen.
        let over = finished();
        let now = Instant::now();
        show.look(tally, now);
        if now.duration_since(flushed) >= Duration::from_secs(1) {
            flushed = now;
            tally.flush()?;
        }
        if tally.acked.get() != last_acked {
            (last_acked, last_ack) = (tally.acked.get(), now);
        }
        let up = interrupted.load(Ordering::Relaxed)
            || duration.is_some_and(|duration| now.duration_since(start) >= duration)
            || (duration.is_none() && now.duration_since(last_ack) >= GIVE_UP);
        if up && stopping.is_none() {
            stopping = Some(now);
            tally.stop.store(true, Ordering::Relaxed);
        }
        if over || stopping.is_some_and(|since| now.duration_since(since) >= LAST_ACKS) {
            break;
        }
        thread::sleep(LOOK);
    }
    show.end();
    Ok(last_ack.duration_since(start))
}

/// The progress on standard error: one line that is written over on a terminal, else a line each five seconds.
struct Show {
    terminal: bool,
    start: Instant,
    last: Instant,
    last_acked: u64,
    n_devices: u32,
}

impl Show {
    fn new(args: &Args) -> Show {
        let now = Instant::now();
        Show {
            terminal: io::stderr().is_terminal(),
            start: now,
            last: now,
            last_acked: 0,
            n_devices: args.devices,
        }
    }

    fn look(&mut self, tally: &Tally, now: Instant) {
        let every = Duration::from_secs(if self.terminal { 1 } else { 5 });
        let since = now.duration_since(self.last);
        if since < every {
            return;
        }
        let acked = tally.acked_records.get();
        let records = acked - self.last_acked;
        let rate = u128::from(records) * 1000 / since.as_millis().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        (self.last, self.last_acked) = (now, acked);
        let line = report::progress(tally, now.duration_since(self.start), self.n_devices, rate);
        if self.terminal {
            eprint!("\r{line}\u{1b}[K");
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_one_thread() {
        for (n_devices, n_threads) in [(10, 1), (10, 3), (2, 5), (1_000_000, 64)] {
            let shares: Vec<Range<u32>> = shares(n_devices, n_threads).collect();
            assert_eq!(
                shares.iter().map(ExactSizeIterator::len).sum::<usize>(),
                n_devices as usize
            );
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }

    #[test]
    fn the_limit_of_open_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files            unlimited"), None);
        assert_eq!(open_files(""), None);
    }
}
