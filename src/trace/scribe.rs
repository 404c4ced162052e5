//! The thread of one trace: takes pieces out of its queue and brings lines to the reader, until he is gone, time is up, or somebody ends it.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::words::{self, Line, Words};
use super::{Piece, Reader, TooMany, Traced, Traces, Tracing};
use crate::clock::{self, Millis};
use crate::facts::{self, Fact};
use std::sync::Arc;

/// How often it looks whether anybody still reads.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes that one trace puts into the log, at most.
const LOG_BYTES_MAX: usize = 16 << 20;

/// Somebody who reads a trace elsewhere than in the log.
pub trait Sink: Send + std::fmt::Debug {
    /// Takes a line, by `until` at the latest; false: the reader is gone.
    fn line(&mut self, text: &str, until: Millis) -> bool;
    /// Whether the reader is there.
    fn is_there(&mut self) -> bool;
    /// The last line.
    fn end(&mut self, text: &str);
}

/// One trace that is on, with its reader. Dropped, it is off.
#[derive(Debug)]
pub struct Scribe {
    tracing: Tracing,
    until: Millis,
    /// `None`: the log.
    sink: Option<Box<dyn Sink>>,
}

impl Scribe {
    /// Switches a trace on, for `duration`; it is written once [`Scribe::run`] runs.
    ///
    /// # Errors
    /// When there are too many.
    pub fn begin(
        traces: &Arc<Traces>,
        imei: crate::imei::Imei,
        sink: Option<Box<dyn Sink>>,
        duration: Duration,
    ) -> Result<Scribe, TooMany> {
        let reader = match sink {
            Some(_) => Reader::Terminal,
            None => Reader::Log,
        };
        let until_us = clock::wall_us().saturating_add(clock::micros(duration));
        let tracing = traces.begin(Traced {
            imei,
            reader,
            until_us,
        })?;
        let until = clock::now().saturating_add(clock::millis(duration));
        Ok(Scribe {
            tracing,
            until,
            sink,
        })
    }

    /// The name of its thread.
    pub fn thread_name(&self) -> String {
        format!("trace {}", self.tracing.traced.imei)
    }

    /// Writes until the end. Blocks for as long as the trace is on, in its queue and at its reader; nobody waits for it.
    pub fn run(mut self) {
        let imei = self.tracing.traced.imei;
        let to = match self.sink {
            Some(_) => "terminal",
            None => "log",
        };
        let until = clock::text(self.tracing.traced.until_us);
        facts::say(
            Fact::Traced,
            format_args!("begun imei={imei} to={to} until={until}"),
        );
        let why = self.write();
        facts::say(
            Fact::Traced,
            format_args!("ended imei={imei} to={to} why={why}"),
        );
        if let Some(sink) = &mut self.sink {
            sink.end(why);
        }
    }

    fn write(&mut self) -> &'static str {
        let mut words = Words::default();
        let mut n_logged = 0;
        loop {
            let left = self.until.saturating_sub(clock::now());
            if left == 0 {
                return "its time is over";
            }
            let wait = LOOK_EVERY.min(Duration::from_millis(left));
            let piece = match self.tracing.pieces.recv_timeout(wait) {
                Ok(piece) => piece,
                Err(RecvTimeoutError::Disconnected) => return "somebody ended it",
                Err(RecvTimeoutError::Timeout) => {
                    if self.sink.as_mut().is_some_and(|sink| !sink.is_there()) {
                        return "nobody reads it any more";
                    }
                    continue;
                }
            };
            self.tracing.took(&piece);
            for line in words.lines(&piece) {
                n_logged += line.text.len();
                if !self.put(&piece, &line) {
                    return "nobody reads it any more";
                }
            }
            let missed = self.tracing.take_missed();
            if missed > 0 {
                let text = format!(
                    "{missed} pieces are missing here: they came faster than they were read"
                );
                if !self.put(&piece, &Line { verb: "note", text }) {
                    return "nobody reads it any more";
                }
            }
            if self.sink.is_none() && n_logged > LOG_BYTES_MAX {
                return "it has filled enough of the log";
            }
        }
    }

    fn put(&mut self, piece: &Piece, line: &Line) -> bool {
        if let Some(sink) = &mut self.sink {
            return sink.line(&words::for_terminal(piece, line), self.until);
        }
        let imei = self.tracing.traced.imei;
        let super::Place { port, peer, serial } = piece.place;
        let (verb, text) = (line.verb, &line.text);
        // The log has the time of the line; the piece's own may be earlier.
        let at = words::clock_text(piece.at_us);
        facts::tell(
            Fact::Traced,
            format_args!(
                "at={at} imei={imei} port={port} peer={peer} session={serial} what={verb:?} text={text:?}"
            ),
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::tests::{imei, place};
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug, Default)]
    struct Paper {
        lines: Mutex<Vec<String>>,
        is_gone: AtomicBool,
    }

    #[derive(Debug)]
    struct Writing(Arc<Paper>);

    impl Sink for Writing {
        fn line(&mut self, text: &str, _: Millis) -> bool {
            self.0.lines.lock().unwrap().push(text.to_owned());
            true
        }

        fn is_there(&mut self) -> bool {
            !self.0.is_gone.load(Ordering::Relaxed)
        }

        fn end(&mut self, text: &str) {
            self.0.lines.lock().unwrap().push(format!("end: {text}"));
        }
    }

    #[test]
    fn pieces_become_lines_and_the_trace_is_off_when_its_reader_is_gone() {
        let traces = Arc::new(Traces::default());
        let paper = Arc::new(Paper::default());
        let sink = Box::new(Writing(Arc::clone(&paper)));
        let scribe = Scribe::begin(&traces, imei(1), Some(sink), Duration::from_secs(60)).unwrap();
        assert_eq!(scribe.thread_name(), format!("trace {}", imei(1)));
        traces.say(imei(1), place(), Seen::Read(Box::new([0xFF])));
        traces.say(imei(2), place(), Seen::Said("of another".to_owned()));
        paper.is_gone.store(true, Ordering::Relaxed);
        scribe.run();
        let lines = paper.lines.lock().unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("10.0.0.9:4411 port 5027 #3 read   1 byte FF"));
        assert_eq!(lines[1], "end: nobody reads it any more");
        assert!(!traces.is_on());
    }

    #[test]
    fn a_trace_ends_by_itself_or_when_somebody_ends_it() {
        let traces = Arc::new(Traces::default());
        let scribe = Scribe::begin(&traces, imei(1), None, Duration::from_millis(1)).unwrap();
        scribe.run();
        assert!(!traces.is_on());
        let mut scribe = Scribe::begin(&traces, imei(1), None, Duration::from_secs(60)).unwrap();
        assert_eq!(traces.end_in_log(imei(1)), 1);
        assert_eq!(scribe.write(), "somebody ended it");
    }
}
