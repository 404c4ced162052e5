//! Reads a conf file: from TOML to checked values, telling every mistake at once.
//!
//! Opens nothing but the file: no socket, no database, no name is resolved. A TOML syntax error stops, because
//! nothing after it can be trusted; whatever else is wrong is collected, with its line, and told together.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use log::LevelFilter;
use toml::de::{DeTable, DeValue};

use super::environment;
use super::http;
use super::ports::{ACCEPT, read_ports};
use super::report::{Complaint, ConfErrors, Report};
use super::section::{self, Section, shown, suggest};
use super::units::{show_duration, show_size};
use super::{Conf, Control, Database, Devices, Http, KeepFree, LOG_MODULES, Limits, Log};
use super::{PartitionWidth, Retention, Spool, Timeouts};

/// The tables that a conf file may have.
const TABLES: &[&str] = &[
    "database",
    "spool",
    "devices",
    "retention",
    "port",
    "http",
    "control",
    "log",
    "timeouts",
    "limits",
];

/// Records in the largest packet. A batch holds one packet at least.
const PACKET_RECORDS: u64 = 255;

/// Bytes of the longest path that a local socket can have.
const SOCKET_PATH_BYTES: usize = 107;

/// The stop that `TimeoutStopSec=30` of the unit file leaves room for.
const STOP_UNDER_SYSTEMD: Duration = Duration::from_secs(25);

const MS: u64 = 1;
const S: u64 = 1000 * MS;
const MIN: u64 = 60 * S;
const H: u64 = 60 * MIN;
const DAY: u64 = 24 * H;

/// Reads the conf file at `path`; [`environment::DATABASE_URL`] takes the place of what it says of the database.
///
/// # Errors
/// When the file cannot be read, and everything that is wrong in it.
pub fn load(path: &Path) -> Result<Conf, ConfErrors> {
    let file = path.display().to_string();
    let whole = |text: String| {
        ConfErrors(vec![Complaint {
            file: file.clone(),
            line: None,
            key: None,
            text,
        }])
    };
    let bytes = fs::read(path).map_err(|error| {
        whole(format!(
            "cannot be read: {error}; name another file with --conf"
        ))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| whole("this is no UTF-8 text; save the file as UTF-8".to_owned()))?;
    let url = environment::database_url(&|name| env::var_os(name));
    match (parse(&text, &file), url) {
        (Ok(mut conf), Ok(url)) => {
            if let Some(url) = url {
                environment::replace_url(&mut conf, url, &file);
            }
            Ok(conf)
        }
        (Ok(_), Err(complaint)) => Err(ConfErrors(vec![complaint])),
        (Err(errors), Ok(_)) => Err(errors),
        (Err(mut errors), Err(complaint)) => {
            errors.0.push(complaint);
            Err(errors)
        }
    }
}

/// Reads the text of a conf file; `file` is how complaints name it.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn parse(text: &str, file: &str) -> Result<Conf, ConfErrors> {
    let mut report = Report::new(file, text);
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let line = error.span().map(|span| report.line_at(span.start));
            return Err(report.stop(line, format!("this is no TOML: {}", error.message())));
        }
    };
    let root = root.get_ref();
    unknown_tables(root, &mut report);
    let timeouts = timeouts(root, &mut report);
    let mut conf = Conf {
        database: database(root, &mut report),
        spool: spool(root, &mut report),
        devices: devices(root, &mut report),
        retention: retention(root, &mut report),
        ports: Vec::new(),
        http: Http::default(),
        control: control(root, &mut report),
        log: log(root, &mut report),
        limits: limits(root, &timeouts, &mut report),
        timeouts,
        warnings: Vec::new(),
    };
    let (http, listen) = http::read(root, &mut report);
    conf.ports = read_ports(root, &listen, &mut report);
    conf.http = http;
    conf.warnings = report.finish()?;
    Ok(conf)
}

fn unknown_tables(root: &DeTable<'_>, report: &mut Report<'_>) {
    for (key, value) in root {
        let name = key.get_ref().as_ref();
        if TABLES.contains(&name) {
            continue;
        }
        let line = Some(report.line_at(key.span().start));
        if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            let text = format!("unknown table; {}", suggest(name, TABLES));
            report.error(line, Some(format!("[{name}]")), text);
        } else {
            let text = format!(
                "this key stands above every table; write it below one of [{}]",
                TABLES.join("], [")
            );
            report.error(line, Some(name.to_owned()), text);
        }
    }
}

fn database(root: &DeTable<'_>, report: &mut Report<'_>) -> Database {
    let keys = ["url", "writers", "batch_records"];
    let table = Section::of(root, "database", &keys, report);
    let default = Database::default();
    Database {
        url: table.read(report, "url", default.url, section::url).value,
        writers: count(&table, report, "writers", default.writers, 1, 16),
        batch_records: count(
            &table,
            report,
            "batch_records",
            default.batch_records,
            PACKET_RECORDS,
            100_000,
        ),
    }
}

fn spool(root: &DeTable<'_>, report: &mut Report<'_>) -> Spool {
    let keys = ["directory", "max_size", "keep_free"];
    let table = Section::of(root, "spool", &keys, report);
    let default = Spool::default();
    let directory = table.read(report, "directory", default.directory, |value| {
        section::path(value, "/var/lib/trackport/spool")
    });
    let max_size = table.read(report, "max_size", default.max_size, |value| {
        section::size(value, 1 << 20..=1 << 50)
    });
    let keep_free = table.read(report, "keep_free", default.keep_free, keep_free);
    Spool {
        directory: directory.value,
        max_size: max_size.value,
        keep_free: keep_free.value,
    }
}

/// A share of the disk in percent, or a size.
fn keep_free(value: &DeValue<'_>) -> Result<KeepFree, String> {
    let wanted = "write for example \"10 %\" or \"20 GiB\"";
    let DeValue::String(text) = value else {
        return Err(format!(
            "{} is neither a share of the disk nor a size; {wanted}",
            shown(value)
        ));
    };
    let Some(percent) = text.strip_suffix('%') else {
        return section::size(value, 0..=1 << 50).map(KeepFree::Bytes);
    };
    match percent.trim_end().parse() {
        Ok(percent) if percent <= 90 => Ok(KeepFree::Percent(percent)),
        _ => Err(format!(
            "\"{text}\" is no share from \"0 %\" to \"90 %\"; {wanted}"
        )),
    }
}

fn devices(root: &DeTable<'_>, report: &mut Report<'_>) -> Devices {
    let table = Section::of(root, "devices", &["accept", "max_new_devices"], report);
    let default = Devices::default();
    let accept = table.read(report, "accept", default.accept, |value| {
        section::word(value, ACCEPT)
    });
    let max_new_devices = table.read(
        report,
        "max_new_devices",
        default.max_new_devices,
        |value| {
            let number = section::number(value, 0..=1_000_000)?;
            Ok(u32::try_from(number).expect("the bound above fits"))
        },
    );
    Devices {
        accept: accept.value,
        max_new_devices: max_new_devices.value,
    }
}

fn retention(root: &DeTable<'_>, report: &mut Report<'_>) -> Retention {
    let table = Section::of(root, "retention", &["partition", "keep"], report);
    let default = Retention::default();
    let partition = table.read(report, "partition", default.partition, |value| {
        let words = [
            ("day", PartitionWidth::Day),
            ("week", PartitionWidth::Week),
            ("month", PartitionWidth::Month),
        ];
        section::word(value, &words)
    });
    let keep = table.read(report, "keep", default.keep, |value| {
        section::duration(value, ms(DAY)..=ms(100 * 366 * DAY)).map(Some)
    });
    let (width, width_name) = match partition.value {
        PartitionWidth::Day => (ms(DAY), "day"),
        PartitionWidth::Week => (ms(7 * DAY), "week"),
        PartitionWidth::Month => (ms(31 * DAY), "month"),
    };
    if let Some(keep_for) = keep.value
        && partition.good
        && keep_for < width
    {
        let text = format!(
            "records are dropped by whole partitions, and \"{}\" is less than one {width_name}; \
             keep more, or make partitions smaller with partition = \"day\"",
            show_duration(keep_for)
        );
        report.error(keep.line, Some(table.key("keep")), text);
    }
    Retention {
        partition: partition.value,
        keep: keep.value,
    }
}

fn control(root: &DeTable<'_>, report: &mut Report<'_>) -> Control {
    let table = Section::of(root, "control", &["socket"], report);
    let socket = table.read(report, "socket", Control::default().socket, |value| {
        let path = section::path(value, "/run/trackport/control.sock")?;
        if path.as_os_str().len() > SOCKET_PATH_BYTES {
            return Err(format!(
                "the path of a local socket has {SOCKET_PATH_BYTES} bytes at most, this has {}; \
                 write a shorter one",
                path.as_os_str().len()
            ));
        }
        Ok(path)
    });
    Control {
        socket: socket.value,
    }
}

/// What a level may be called.
const LEVELS: &[(&str, LevelFilter)] = &[
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
    ("off", LevelFilter::Off),
];

fn log(root: &DeTable<'_>, report: &mut Report<'_>) -> Log {
    let table = Section::of(root, "log", &["level", "modules"], report);
    let default = Log::default();
    let level = table.read(report, "level", default.level, |value| {
        section::word(value, LEVELS)
    });
    let mut modules = Vec::new();
    match table.get("modules").map(|value| (value, value.get_ref())) {
        None => {}
        Some((_, DeValue::Table(inner))) => {
            let inner = Section::from_table("log.modules", inner, LOG_MODULES, report);
            for &module in LOG_MODULES {
                let level = inner.read(report, module, None, |value| {
                    section::word(value, LEVELS).map(Some)
                });
                modules.extend(level.value.map(|level| (module.to_owned(), level)));
            }
        }
        Some((value, other)) => {
            let line = report.line_at(value.span().start);
            let text = format!(
                "{} is no table; write [log.modules] on a line of its own, and below it for example port = \"debug\"",
                shown(other)
            );
            report.error(Some(line), Some(table.key("modules")), text);
        }
    }
    Log {
        level: level.value,
        modules,
    }
}

fn timeouts(root: &DeTable<'_>, report: &mut Report<'_>) -> Timeouts {
    let keys = [
        "login",
        "idle",
        "packet",
        "ack_target",
        "statement",
        "tcp",
        "silent_after",
        "stop",
    ];
    let table = Section::of(root, "timeouts", &keys, report);
    let default = Timeouts::default();
    let mut read = |key: &'static str, default: Duration, least: u64, most: u64| {
        let setting = table.read(report, key, default, |value| {
            section::duration(value, ms(least)..=ms(most))
        });
        (key, setting)
    };
    let login = read("login", default.login, 100 * MS, H);
    let idle = read("idle", default.idle, 100 * MS, 30 * DAY);
    let packet = read("packet", default.packet, 100 * MS, H);
    let ack_target = read("ack_target", default.ack_target, 50 * MS, MIN);
    let statement = read("statement", default.statement, 100 * MS, H);
    let tcp = read("tcp", default.tcp, 100 * MS, 10 * MIN);
    // A port's thread beats several times a second; below one second a busy machine would look like a dead thread.
    let silent_after = read("silent_after", default.silent_after, S, 10 * MIN);
    let stop = read("stop", default.stop, S, 10 * MIN);

    let relations = [
        (
            &login,
            &idle,
            "a device that is slow to log in would be closed as idle",
        ),
        (
            &packet,
            &idle,
            "a packet that is still arriving would be closed as idle",
        ),
        (
            &tcp,
            &stop,
            "a database that went away would be noticed only after the end",
        ),
        (
            &ack_target,
            &stop,
            "packets that wait for a database that is away would not be kept before the end",
        ),
    ];
    for ((shorter, less), (longer, more), why) in relations {
        if less.good && more.good && less.value > more.value {
            let text = format!(
                "\"{}\" is longer than {longer} = \"{}\": {why}; write {} or less, or make {longer} longer",
                show_duration(less.value),
                show_duration(more.value),
                show_duration(more.value),
            );
            report.error(less.line.or(more.line), Some(table.key(shorter)), text);
        }
    }
    if stop.1.good && stop.1.value > STOP_UNDER_SYSTEMD {
        let text = format!(
            "\"{}\" is more than systemd waits: TimeoutStopSec in trackport.service must be longer",
            show_duration(stop.1.value)
        );
        report.warn(stop.1.line, Some(table.key("stop")), text);
    }
    Timeouts {
        login: login.1.value,
        idle: idle.1.value,
        packet: packet.1.value,
        ack_target: ack_target.1.value,
        statement: statement.1.value,
        tcp: tcp.1.value,
        silent_after: silent_after.1.value,
        stop: stop.1.value,
    }
}

fn limits(root: &DeTable<'_>, timeouts: &Timeouts, report: &mut Report<'_>) -> Limits {
    let keys = [
        "packet",
        "receive",
        "queue",
        "sessions_per_port",
        "sessions_per_address",
        "logins_per_minute",
        "bytes_per_second",
    ];
    let table = Section::of(root, "limits", &keys, report);
    let default = Limits::default();
    let mut read = |key: &'static str, default: usize, least: u64, most: u64| {
        let setting = table.read(report, key, default, |value| {
            let bytes = section::size(value, least..=most)?;
            usize::try_from(bytes).map_err(|_| "more than this machine can address".to_owned())
        });
        (key, setting)
    };
    let packet = read("packet", default.packet, 2 << 10, 16 << 20);
    let receive = read("receive", default.receive, 64 << 10, 1 << 40);
    let queue = read("queue", default.queue, 64 << 10, 1 << 40);
    // What is read at once must not keep its device waiting for longer than a second.
    let (rate_key, rate) = read(
        "bytes_per_second",
        default.bytes_per_second,
        16 << 10,
        1 << 40,
    );
    for (key, budget) in [&receive, &queue] {
        if budget.good && packet.1.good && budget.value < packet.1.value {
            let text = format!(
                "not one packet of the largest size has room: packet is {}, this is {}; write at least {}",
                show_size(packet.1.value as u64),
                show_size(budget.value as u64),
                show_size(packet.1.value as u64),
            );
            report.error(budget.line.or(packet.1.line), Some(table.key(key)), text);
        }
    }
    let in_time = timeouts.packet.as_secs_f64() * rate.value as f64;
    if rate.good && packet.1.good && (packet.1.value as f64) > in_time {
        let text = format!(
            "a packet of {} is read in no less than {} s at this rate, and [timeouts] packet is \"{}\"; \
             write more, or make the packet smaller",
            show_size(packet.1.value as u64),
            packet.1.value.div_ceil(rate.value),
            show_duration(timeouts.packet),
        );
        report.error(rate.line.or(packet.1.line), Some(table.key(rate_key)), text);
    }
    let mut number =
        |key: &str, default: usize, most: u64| count(&table, report, key, default, 1, most);
    Limits {
        packet: packet.1.value,
        receive: receive.1.value,
        queue: queue.1.value,
        sessions_per_port: number("sessions_per_port", default.sessions_per_port, 10_000_000),
        sessions_per_address: number(
            "sessions_per_address",
            default.sessions_per_address,
            10_000_000,
        ),
        logins_per_minute: u32::try_from(number(
            "logins_per_minute",
            default.logins_per_minute as usize,
            60_000,
        ))
        .expect("the bound above fits"),
        bytes_per_second: rate.value,
    }
}

fn count(
    table: &Section<'_, '_>,
    report: &mut Report<'_>,
    key: &str,
    default: usize,
    least: u64,
    most: u64,
) -> usize {
    let setting = table.read(report, key, default, |value| {
        let number = section::number(value, least..=most)?;
        usize::try_from(number).map_err(|_| "more than this machine can count".to_owned())
    });
    setting.value
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
