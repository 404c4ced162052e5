//! A page that follows server-sent events, with a deadline for everything.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::connect;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

/// One stream.
pub struct Events {
    stream: TcpStream,
    /// The status line and the headers.
    pub head: String,
    pending: Vec<u8>,
}

impl Events {
    /// Asks and reads the head of the answer.
    #[track_caller]
    pub fn open(port: u16, path: &str, headers: &str) -> Events {
        let mut events = Events::begin(connect(port), path, headers);
        let until = Instant::now() + Duration::from_secs(10);
        while events.head.is_empty() {
            assert!(events.fill(until), "an answer: {:?}", events.text());
            if let Some(end) = find(&events.pending, b"\r\n\r\n") {
                let rest = events.pending.split_off(end + 4);
                events.head = String::from_utf8_lossy(&events.pending).into_owned();
                events.pending = rest;
            }
        }
        events
    }

    /// Asks on a connection of one's own and reads nothing.
    #[track_caller]
    pub fn begin(mut stream: TcpStream, path: &str, headers: &str) -> Events {
        // As HTTP/1.0, so that the answer comes without chunks.
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        Events {
            stream,
            head: String::new(),
            pending: Vec::new(),
        }
    }

    pub fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1);
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }

    /// Reads a little more; false when the other side has closed or the time is over.
    fn fill(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream
            .set_read_timeout(Some(left))
            .expect("a time-out above zero");
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(n) => {
                self.pending.extend_from_slice(&buffer[..n]);
                n > 0
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    /// How many bytes come next; `Some(0)`: the other side has closed. `None`: nothing within this time.
    pub fn read_on(&mut self, within: Duration) -> Option<usize> {
        let timeout = self.stream.set_read_timeout(Some(within));
        timeout.expect("a time-out above zero");
        self.stream.read(&mut [0; 1024]).ok()
    }

    /// The next event; comments and settings are passed over.
    pub fn next(&mut self, within: Duration) -> Option<Event> {
        let until = Instant::now() + within;
        loop {
            while let Some(end) = find(&self.pending, b"\n\n") {
                let rest = self.pending.split_off(end + 2);
                let block = String::from_utf8_lossy(&self.pending).into_owned();
                self.pending = rest;
                if let Some(event) = event(&block) {
                    return Some(event);
                }
            }
            if !self.fill(until) {
                return None;
            }
        }
    }

    /// The next event of which `is` holds.
    #[track_caller]
    pub fn wait(&mut self, within: Duration, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + within;
        let mut seen = Vec::new();
        while let Some(event) = self.next(until.saturating_duration_since(Instant::now())) {
            if is(&event) {
                return event;
            }
            seen.push(event);
        }
        panic!("not within {within:?}: {what}; seen: {seen:?}");
    }

    /// The next position of this asset of which `is` holds.
    #[track_caller]
    pub fn position(&mut self, asset: i32, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let of = |event: &Event| {
            let positions = event.data["positions"].as_array()?;
            let mine = positions.iter().find(|one| one["asset"] == asset)?;
            is(mine).then(|| mine.clone())
        };
        let event = self.wait(Duration::from_secs(15), what, |event| of(event).is_some());
        of(&event).expect("the one that was waited for")
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|some| some == wanted)
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(Event {
        name: field("event")?.to_owned(),
        id: field("id").map(str::to_owned),
        data: serde_json::from_str(field("data")?).expect("data is JSON"),
    })
}
