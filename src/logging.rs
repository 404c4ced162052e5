//! Log lines on stderr: one per fact, with the journal's priorities in front where systemd reads them.
//!
//! `RUST_LOG` sets levels per module; without it trackport speaks from info on and libraries from warn on.

use std::io::Write;

use log::Level;

/// Begins logging. To be called once.
pub fn init() {
    // systemd connects stderr to the journal and says so; the journal has its own time.
    let for_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let filter = env_logger::Env::default().default_filter_or("warn,trackport=info");
    let mut builder = env_logger::Builder::from_env(filter);
    builder.format(move |out, record| {
        let thread = std::thread::current();
        let thread = match thread.name() {
            Some("main") => "supervisor",
            Some(name) => name,
            None => "-",
        };
        // One fact is one line, whatever somebody else's bytes put into it.
        let text = record.args().to_string().replace(['\n', '\r'], " ");
        if for_journal {
            writeln!(out, "<{}>{thread}: {text}", priority(record.level()))
        } else {
            let time = jiff::Timestamp::now();
            writeln!(out, "{time:.3} {:5} {thread}: {text}", record.level())
        }
    });
    builder.init();
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

    #[test]
    fn what_needs_a_person_stands_out_in_the_journal() {
        let priorities = [Level::Error, Level::Warn, Level::Info, Level::Debug].map(priority);
        assert_eq!(priorities, [3, 4, 6, 7]);
    }
}
