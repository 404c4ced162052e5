//! Log lines: one per fact, to the journal with its fields where systemd runs trackport, else as plain lines on stderr.
//!
//! `journal.rs` is the journal's protocol, `fields.rs` what of a line becomes a field, `levels.rs` how much is said. What cannot be handed to
//! the journal goes to stderr, which systemd reads as well. Whoever reads neither keeps nobody waiting: a line that finds no room is left out, counted, and
//! told about with the next one that finds some.

pub mod fields;
mod journal;
mod levels;

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use env_filter::Filter;
use log::{Level, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::conf;
use journal::{Entry, Journal};

/// The key under which a record carries its fact.
pub const FACT: &str = "fact";
/// The key under which a record carries how many lines were folded into it.
pub const FOLDED: &str = "folded";

/// How long a line waits for whoever reads the log; the next ones do not wait until there is room again.
const WAIT: Duration = Duration::from_millis(20);
/// Bytes that a pipe with room takes at once (`PIPE_BUF`); a stream to the journal takes more.
const PIECE_BYTES: usize = 4096;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Begins logging, at the levels of `RUST_LOG` or the default ones. To be called once.
pub fn init() {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let is_journal = stream
        .as_deref()
        .is_some_and(|stream| journal::is_stream(stream, io::stderr()));
    let opened = is_journal.then(|| Journal::open(Path::new(journal::SOCKET)));
    let (journal, failure) = match opened {
        Some(Ok(journal)) => (Some(journal), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let logger = LOGGER.get_or_init(|| Logger {
        filter: RwLock::new(levels::of_conf(&conf::Log::default())),
        journal,
        journal_reader: Patience::default(),
        with_priority: stream.is_some(),
        stderr_reader: Patience::default(),
        n_lost: AtomicU64::new(0),
        n_untold: AtomicU64::new(0),
    });
    // An error means that it was called before.
    let _ = log::set_logger(logger);
    apply(&conf::Log::default());
    if let Some(error) = failure {
        log::warn!(
            "no way to the journal but stderr: {}: {error}",
            journal::SOCKET
        );
    }
}

/// Takes the levels of the conf over, from now on; `RUST_LOG` stands above them.
pub fn apply(log: &conf::Log) {
    let Some(logger) = LOGGER.get() else {
        return;
    };
    let (filter, wrong) = match levels::of_environment() {
        Ok(Some(filter)) => (filter, None),
        Ok(None) => (levels::of_conf(log), None),
        Err(text) => (levels::of_conf(log), Some(text)),
    };
    log::set_max_level(filter.filter());
    *logger
        .filter
        .write()
        .unwrap_or_else(PoisonError::into_inner) = filter;
    if let Some(text) = wrong {
        log::warn!("{text}; [log] of the conf is used");
    }
}

/// Lines that found no room since the start.
pub fn n_lost() -> u64 {
    LOGGER
        .get()
        .map_or(0, |logger| logger.n_lost.load(Ordering::Relaxed))
}

struct Logger {
    filter: RwLock<Filter>,
    journal: Option<Journal>,
    journal_reader: Patience,
    /// systemd reads stderr.
    with_priority: bool,
    stderr_reader: Patience,
    /// Lines that found no room.
    n_lost: AtomicU64,
    /// Those of them that nobody was told about.
    n_untold: AtomicU64,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Line::of(record);
        let untold = self.n_untold.swap(0, Ordering::Relaxed);
        if untold > 0 {
            line.text = format!(
                "(log lines left out before this one: {untold}) {}",
                line.text
            );
        }
        if !self.write(&line) {
            self.n_lost.fetch_add(1, Ordering::Relaxed);
            self.n_untold.fetch_add(untold + 1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

impl Logger {
    /// Hands a line to whoever reads the log. False when it finds no room.
    fn write(&self, line: &Line<'_>) -> bool {
        if let Some(journal) = &self.journal
            && self.journal_reader.has_room(journal)
            && journal.send(&line.entry()).is_ok()
        {
            return true;
        }
        let text = line.on_stderr(self.with_priority);
        self.stderr_reader
            .write(&mut io::stderr().lock(), text.as_bytes())
    }
}

/// How long one reader of the log is waited for.
#[derive(Debug, Default)]
struct Patience {
    /// The last line waited in vain.
    is_used_up: AtomicBool,
}

impl Patience {
    /// Writes a line in pieces, because a pipe that has room blocks who writes more than that. False when it is not written to its end.
    fn write(&self, reader: &mut (impl AsFd + Write), line: &[u8]) -> bool {
        line.chunks(PIECE_BYTES)
            .all(|piece| self.has_room(reader) && reader.write_all(piece).is_ok())
    }

    /// Waits a moment until `reader` has room, unless the last line waited in vain.
    fn has_room(&self, reader: &impl AsFd) -> bool {
        let is_used_up = self.is_used_up.load(Ordering::Relaxed);
        let wait = if is_used_up { Duration::ZERO } else { WAIT };
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut polled = [PollFd::new(reader, PollFlags::OUT)];
        let has_room = match poll(&mut polled, Some(&wait)) {
            // Also when it is broken: writing says what is wrong.
            Ok(n) => n > 0,
            Err(_) => true,
        };
        if is_used_up == has_room {
            self.is_used_up.store(!has_room, Ordering::Relaxed);
        }
        has_room
    }
}

/// One line on its way.
struct Line<'a> {
    record: &'a Record<'a>,
    thread: String,
    text: String,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record<'a>) -> Line<'a> {
        let thread = std::thread::current();
        let thread = match thread.name() {
            Some("main") => "supervisor",
            Some(name) => name,
            None => "-",
        };
        // One fact is one line, whatever somebody else's bytes put into it.
        let text = record.args().to_string().replace(['\n', '\r'], " ");
        Line {
            record,
            thread: thread.to_owned(),
            text,
        }
    }

    fn on_stderr(&self, with_priority: bool) -> String {
        let Line {
            record,
            thread,
            text,
        } = self;
        if with_priority {
            format!("<{}>{thread}: {text}\n", priority(record.level()))
        } else {
            let time = jiff::Timestamp::now();
            format!("{time:.3} {:5} {thread}: {text}\n", record.level())
        }
    }

    fn entry(&self) -> Entry {
        let Line {
            record,
            thread,
            text,
        } = self;
        let mut entry = Entry::default();
        entry.push("MESSAGE", &format!("{thread}: {text}"));
        entry.push("PRIORITY", &priority(record.level()).to_string());
        entry.push("SYSLOG_IDENTIFIER", "trackport");
        entry.push("THREAD", thread);
        entry.push("TARGET", record.target());
        if let Some(file) = record.file() {
            entry.push("CODE_FILE", file);
        }
        if let Some(line) = record.line() {
            entry.push("CODE_LINE", &line.to_string());
        }
        let carried = |key: &str| record.key_values().get(key.into());
        if let Some(fact) = carried(FACT) {
            entry.push_own("fact", &fact.to_string().replace(' ', "_"));
            for (key, value) in fields::of(text) {
                // What is not there has a dash in the line, and no field.
                if value != "-" && key != FACT {
                    entry.push_own(key, &value);
                }
            }
        }
        if let Some(folded) = carried(FOLDED).filter(|folded| folded.to_u64() != Some(0)) {
            entry.push_own("folded", &folded.to_string());
        }
        entry
    }
}

/// The target of a line, by the source file that says it: `src/port/login.rs` speaks as `trackport::port::login`.
pub fn target(file: &str) -> Cow<'static, str> {
    let inner = file.rsplit_once("src/").map_or(file, |(_, inner)| inner);
    let module = inner.strip_suffix(".rs").unwrap_or(inner);
    match module.strip_suffix("/mod").unwrap_or(module) {
        "main" | "lib" => "trackport".into(),
        module => format!("trackport::{}", module.replace('/', "::")).into(),
    }
}

/// The journal's priority of a level, as `sd-daemon(3)` has it.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::thread::{Builder, JoinHandle};

    fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Builder::new().spawn(body).unwrap()
    }

    #[test]
    fn what_needs_a_person_stands_out_in_the_journal() {
        let priorities = [Level::Error, Level::Warn, Level::Info, Level::Debug].map(priority);
        assert_eq!(priorities, [3, 4, 6, 7]);
    }

    #[test]
    fn a_line_is_its_modules_wherever_the_source_was_compiled() {
        for (file, wanted) in [
            ("src/port/login.rs", "trackport::port::login"),
            ("src/writer/mod.rs", "trackport::writer"),
            (
                "/root/.cargo/registry/src/x/trackport-0.1.0/src/hand.rs",
                "trackport::hand",
            ),
            ("src/main.rs", "trackport"),
        ] {
            assert_eq!(target(file), wanted);
        }
    }

    #[test]
    fn a_line_that_is_longer_than_the_room_in_a_pipe_keeps_nobody_waiting() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[b'x'; PIECE_BYTES]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        // Room for one piece, and the line has three.
        reader.read_exact(&mut [0; PIECE_BYTES]).unwrap();
        let (ended, end) = std::sync::mpsc::channel();
        spawn(move || {
            let is_written = Patience::default().write(&mut writer, &[b'y'; 3 * PIECE_BYTES]);
            ended.send((is_written, writer)).unwrap();
        });
        let (is_written, mut writer) = end.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(!is_written);
        // Somebody reads again: a line of any length comes out whole.
        let reading = spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let patience = Patience::default();
        while !patience.has_room(&writer) {}
        assert!(patience.write(&mut writer, &[b'z'; 5 * PIECE_BYTES]));
        drop(writer);
        let all = reading.join().unwrap();
        assert!(all.ends_with(&[b'z'; 5 * PIECE_BYTES]));
    }

    #[test]
    fn who_does_not_read_the_log_keeps_nobody_waiting() {
        let patience = Patience::default();
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[0; 4096]).is_ok() {}
        let begun = std::time::Instant::now();
        assert!(!(0..500).any(|_| patience.has_room(&writer)));
        let waited = begun.elapsed();
        assert!(
            waited >= WAIT && waited < Duration::from_secs(5),
            "{waited:?} for 500 lines"
        );
        reader.set_nonblocking(true).unwrap();
        let mut sink = vec![0; 1 << 20];
        while reader.read(&mut sink).is_ok_and(|n| n > 0) {}
        assert!(patience.has_room(&writer));
        assert!(!patience.is_used_up.load(Ordering::Relaxed));
    }
}
