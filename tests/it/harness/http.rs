//! HTTP by hand: requests as bytes, answers taken apart, so that a test can also say what no library would.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::device::ANSWER;

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The lines above the empty one.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection to the web of this machine.
#[track_caller]
pub fn connect(port: u16) -> TcpStream {
    let stream =
        TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), ANSWER).expect("a connection");
    stream.set_write_timeout(Some(ANSWER)).expect("a time-out");
    stream
}

/// Everything that is said until the other side closes or nothing comes for `quiet`.
pub fn read_all(stream: &mut TcpStream, quiet: Duration) -> String {
    stream.set_read_timeout(Some(quiet)).expect("a time-out");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends these bytes and returns everything that comes back until the other side closes.
#[track_caller]
pub fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    // It may refuse in the middle.
    let _ = stream.write_all(bytes);
    read_all(&mut stream, ANSWER)
}

/// How long until the other side closes.
#[track_caller]
pub fn closed_after(stream: &mut TcpStream, within: Duration) -> Duration {
    let begun = Instant::now();
    stream.set_read_timeout(Some(within)).expect("a time-out");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return begun.elapsed(),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("open for {within:?}")
            }
            Err(_) => return begun.elapsed(),
        }
    }
}

/// Takes one answer apart; `None` when it is none.
pub fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = joined(body);
    }
    Some(answer)
}

/// What came in chunks, as far as it came.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n")
        && let Ok(size) = usize::from_str_radix(size, 16)
        && let Some(chunk) = rest.get(..size)
        && size > 0
    {
        body.push_str(chunk);
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    body
}

/// Asks once, if somebody answers.
pub fn try_ask(port: u16, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), ANSWER).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    parse(&read_all(&mut stream, ANSWER))
}

/// GET, if somebody answers.
pub fn try_get(port: u16, path: &str) -> Option<Answer> {
    try_ask(port, &request("GET", path, ""))
}

/// GET.
#[track_caller]
pub fn get(port: u16, path: &str) -> Answer {
    try_get(port, path).expect("an answer")
}

/// Another method, or more headers, each with its end of line.
#[track_caller]
pub fn ask(port: u16, method: &str, path: &str, headers: &str) -> Answer {
    try_ask(port, &request(method, path, headers)).expect("an answer")
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}
