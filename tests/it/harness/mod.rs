//! What the tests share: things to test against and with. Knows no test.

pub mod beside;
pub mod daemon;
pub mod device;
pub mod http;
pub mod load;
pub mod metrics;
pub mod past;
pub mod person;
pub mod postgres;
pub mod prometheus;
pub mod rows;
pub mod scene;
pub mod sse;
pub mod trace;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use trackport::imei::Imei;

/// Waits until `done`, and fails with `what` when that takes longer than `within`.
#[track_caller]
pub fn eventually(within: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Whole seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A port of 127.0.0.1 that is free now and that no other test gets. Below the range from which the
/// kernel takes ports for outgoing connections, so that none of them takes it meanwhile.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `n` free ports in a row.
pub fn free_ports(n: u16) -> u16 {
    const FIRST: u16 = 12_000;
    const SPAN: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test binaries at a time begin at different places.
    let begin = u16::try_from(std::process::id() * 97 % u32::from(SPAN)).expect("a remainder");
    for _ in 0..SPAN {
        let place = NEXT.fetch_add(n, Ordering::Relaxed);
        let first = FIRST + begin.wrapping_add(place) % (SPAN - n);
        if (first..first + n).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// An IMEI with a right check digit, one for each `number`.
pub fn imei(number: u64) -> Imei {
    let fourteen = 35_000_000_000_000 + number;
    (0..10)
        .map(|check| {
            format!("{fourteen}{check}")
                .parse::<Imei>()
                .expect("fifteen digits")
        })
        .find(|imei| imei.luhn_ok())
        .expect("one of ten check digits is right")
}

/// Runs `body` on a thread of its own; its panic is the test's when it is joined.
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().spawn(body).expect("a thread")
}

/// What a thread returned, or its panic.
pub fn join<T>(thread: JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Sends a signal by the shell's own `kill`: a bare machine has no program of that name.
pub fn kill(pid: impl std::fmt::Display, signal: &str) {
    let _ = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        // It may have ended meanwhile.
        .stderr(std::process::Stdio::null())
        .status();
}

/// Processor time that a process has used, in milliseconds.
pub fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap())
        .collect();
    // A tick is 10 ms on Linux.
    fields.iter().sum::<u64>() * 10
}
