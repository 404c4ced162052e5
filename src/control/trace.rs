//! Traces over the control socket: switched on and off here, written by a thread of their own.
//!
//! The control thread hands the connection over with the trace and answers the next question: no reader, however slow, keeps
//! anybody else waiting.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::messages::{Response, Trace};
use crate::clock::{self, Millis};
use crate::hub::{Ask, Hub};
use crate::imei::Imei;
use crate::trace::{DURATION_MAX, Reader, Scribe, Sink};

/// How long the reader's socket is waited for at once.
const WAIT: Duration = Duration::from_millis(250);
/// How long the last line may take.
const END_MS: Millis = 1_000;

/// Switches a trace on or off. `None`: the connection is answered by the trace itself.
///
/// # Errors
/// In words, why it cannot be.
pub(super) fn begin(
    hub: &Arc<Hub>,
    imei: &str,
    duration: Duration,
    log: Option<bool>,
    stream: &UnixStream,
) -> Result<Option<String>, String> {
    let imei: Imei = imei.parse().map_err(|error| format!("{imei:?}: {error}"))?;
    let duration = duration.min(DURATION_MAX);
    if log == Some(false) {
        return match hub.traces.end_in_log(imei) {
            0 => Err(format!("{imei} is not traced to the log")),
            _ => Ok(Some(format!("the trace of {imei} to the log is off"))),
        };
    }
    let sink: Option<Box<dyn Sink>> = match log {
        // Switched on anew, it lasts from now on.
        Some(_) => {
            hub.traces.end_in_log(imei);
            None
        }
        None => {
            let mut peer = Peer::new(stream).map_err(|error| error.to_string())?;
            let (text, until) = (greeting(hub, imei, duration), clock::now() + END_MS);
            if !peer.line(&text, until) {
                return Ok(None);
            }
            Some(Box::new(peer))
        }
    };
    let scribe =
        Scribe::begin(&hub.traces, imei, sink, duration).map_err(|error| error.to_string())?;
    hub.asks
        .try_send(Ask::Trace(scribe))
        .map_err(|_| "the supervisor is busy; try again".to_owned())?;
    let until = clock::text(clock::wall_us().saturating_add(clock::micros(duration)));
    Ok(log.map(|_| format!("{imei} is traced to the log until {until}")))
}

/// The first line: whom it is about, so that nobody waits for a device that is not there.
fn greeting(hub: &Hub, imei: Imei, duration: Duration) -> String {
    let is = match hub.fleet.get(imei) {
        None => "is not known here; its login will be shown",
        Some(device) if device.session().is_some() => "is connected",
        Some(_) => "is not connected",
    };
    let until = clock::text(clock::wall_us().saturating_add(clock::micros(duration)));
    format!("{imei} {is}; until {until}, times in UTC")
}

/// The traces that are on.
pub(super) fn list(hub: &Hub) -> Vec<Trace> {
    let traces = hub.traces.list().into_iter();
    traces
        .map(|traced| Trace {
            imei: traced.imei.to_string(),
            to_log: traced.reader == Reader::Log,
            until: clock::text(traced.until_us),
        })
        .collect()
}

/// The other end of the control socket, reading a trace.
#[derive(Debug)]
struct Peer {
    stream: UnixStream,
    /// An answer was left half written: nothing can follow it.
    is_broken: bool,
}

impl Peer {
    fn new(stream: &UnixStream) -> std::io::Result<Peer> {
        let stream = stream.try_clone()?;
        stream.set_nonblocking(true)?;
        Ok(Peer {
            stream,
            is_broken: false,
        })
    }

    /// Writes all of an answer; false when the reader is gone, or has not taken it by `until`.
    fn answer(&mut self, response: &Response, until: Millis) -> bool {
        let Ok(mut bytes) = serde_json::to_vec(response) else {
            return false;
        };
        bytes.push(b'\n');
        let mut left = &bytes[..];
        if std::mem::replace(&mut self.is_broken, true) {
            return false;
        }
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(0) => return false,
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if clock::now() >= until || !self.wait() {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        self.is_broken = false;
        true
    }

    /// Waits a moment for room; false when the reader is gone.
    fn wait(&self) -> bool {
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut polled = [PollFd::new(&self.stream, PollFlags::OUT | gone)];
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(WAIT.subsec_nanos()),
        };
        poll(&mut polled, Some(&wait)).is_err() || !polled[0].revents().intersects(gone)
    }
}

impl Sink for Peer {
    fn line(&mut self, text: &str, until: Millis) -> bool {
        let text = text.to_owned();
        self.answer(&Response::Line { text }, until)
    }

    fn is_there(&mut self) -> bool {
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut polled = [PollFd::new(&self.stream, gone)];
        let at_once = Timespec::default();
        poll(&mut polled, Some(&at_once)).is_err() || !polled[0].revents().intersects(gone)
    }

    fn end(&mut self, text: &str) {
        let text = format!("the trace has ended: {text}");
        self.answer(&Response::Done { text }, clock::now() + END_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn a_reader_that_stops_reading_is_waited_for_until_time_is_up_and_one_that_is_gone_is_not() {
        let (mine, theirs) = UnixStream::pair().unwrap();
        let mut peer = Peer::new(&mine).unwrap();
        let until = clock::now() + 300;
        let mut n_taken = 0;
        while peer.line(&"x".repeat(1000), until) {
            n_taken += 1;
        }
        assert!(clock::now() >= until && n_taken > 10);
        assert!(peer.is_there(), "slow, but there");
        drop(theirs);
        assert!(!peer.is_there());
        let begun = clock::now();
        assert!(!peer.line("x", begun + 60_000));
        assert!(clock::now() - begun < 10_000);
    }

    #[test]
    fn lines_and_the_end_are_answers_of_their_own() {
        let (mine, theirs) = UnixStream::pair().unwrap();
        let mut peer = Peer::new(&mine).unwrap();
        assert!(peer.line("read 1 byte", clock::now() + 1_000));
        peer.end("its time is over");
        let mut lines = BufReader::new(theirs).lines();
        let mut next =
            || serde_json::from_str::<Response>(&lines.next().unwrap().unwrap()).unwrap();
        assert!(matches!(next(), Response::Line { text } if text == "read 1 byte"));
        assert!(matches!(next(), Response::Done { text } if text.ends_with("its time is over")));
    }
}
