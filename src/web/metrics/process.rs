//! The numbers that every program has, under the names that Prometheus gives them everywhere.
//!
//! What the kernel does not tell is left out.

use std::fmt;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::families::Families;

/// What `/proc/self/stat` says.
struct Stat {
    cpu_s: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
}

pub(super) fn write(to: &mut Families<'_>, started_at_us: i64) -> fmt::Result {
    to.gauge(
        "process_start_time_seconds",
        "When the process began, in seconds since 1970 UTC.",
        seconds(started_at_us),
    )?;
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(stat) = stat(&text, clock_ticks_per_second(), page_size() as u64) {
        to.counter(
            "process_cpu_seconds",
            "Processor time used, by user and system.",
            stat.cpu_s,
        )?;
        to.gauge(
            "process_resident_memory_bytes",
            "Memory that the process has in use.",
            stat.resident_bytes,
        )?;
        to.gauge(
            "process_virtual_memory_bytes",
            "Addresses that the process has in use.",
            stat.virtual_bytes,
        )?;
        to.gauge(
            "process_threads",
            "Threads of the process, as the kernel counts them.",
            stat.threads,
        )?;
    }
    if let Some(open) = open_files() {
        to.gauge("process_open_fds", "Open file descriptors.", open)?;
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        to.gauge(
            "process_max_fds",
            "Open file descriptors that there may be.",
            most,
        )?;
    }
    Ok(())
}

/// Microseconds since 1970 in seconds; exact for times of this era.
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    // Newer kernels say it without the folder being listed, which takes its time where sessions are many.
    match fs::metadata(folder).ok()?.len() {
        0 => u64::try_from(fs::read_dir(folder).ok()?.count()).ok(),
        n => Some(n),
    }
}

fn stat(text: &str, ticks_per_s: u64, page_bytes: u64) -> Option<Stat> {
    // The name in brackets may hold anything, brackets too.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Stat {
        cpu_s: (field(11)? + field(12)?) as f64 / ticks_per_s as f64,
        threads: field(17)?,
        virtual_bytes: field(20)?,
        resident_bytes: field(21)? * page_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_name_is() {
        let line = "17 (port) [::]:5 (x) S 1 17 17 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1000 8192000 25 1 1\n";
        let stat = stat(line, 100, 4096).unwrap();
        assert!((stat.cpu_s - 3.0).abs() < 1e-9);
        assert_eq!(
            (stat.threads, stat.virtual_bytes, stat.resident_bytes),
            (9, 8_192_000, 102_400)
        );
        assert!(super::stat("", 100, 4096).is_none());
    }

    #[test]
    fn this_process_has_open_files() {
        assert!(open_files().unwrap() >= 3);
    }
}
