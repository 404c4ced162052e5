//! Plays items to a server: one after the other, each waits for its answer, a new connection after each close.
//!
//! Knows nothing of files. Invariant: no answer is taken for that of another item: a connection whose answer is late, short
//! or wrong is given up.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::super::network;
use super::super::text::count;
use super::capture::{Item, Kind};
use crate::conf::show_duration;
use crate::imei::Imei;
use crate::protocol::teltonika::encode;

/// How often a wait looks whether somebody pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// As many bytes as the answer has.
    Bytes(Vec<u8>),
    /// The server closed, after so few bytes.
    Closed(Vec<u8>),
    /// Nothing more came within the time-out.
    Silence(Vec<u8>),
    /// The connection broke.
    Broken(String),
}

/// How an item fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// In words.
    pub(super) text: String,
    pub(super) right: bool,
    /// The connection can be used for the next item.
    pub(super) goes_on: bool,
}

/// What an answer to an item of this kind means.
pub(super) fn judge(kind: &Kind, answer: &Answer, timeout: Duration) -> Verdict {
    let (text, right, goes_on) = match (answer, kind) {
        (Answer::Bytes(bytes), Kind::Login(_)) => match bytes.as_slice() {
            [1] => ("01 accepted".to_owned(), true, true),
            [0] => ("00 refused".to_owned(), false, false),
            other => (
                format!("{other:02X?}, which answers no login"),
                false,
                false,
            ),
        },
        (Answer::Bytes(bytes), Kind::Packet { n_records, .. }) => {
            let acked = number(bytes);
            if acked == u32::from(*n_records) {
                (format!("ack {acked}"), true, true)
            } else {
                (format!("ack {acked}, {n_records} is right"), false, true)
            }
        }
        (Answer::Bytes(bytes), Kind::Broken(_)) => (
            format!("ack {}: the server keeps it as it is", number(bytes)),
            false,
            true,
        ),
        (Answer::Bytes(_), Kind::Ping | Kind::Command(_)) => {
            ("no answer due".to_owned(), true, true)
        }
        (Answer::Closed(bytes), _) => (
            format!("closed by the server{}", after(bytes)),
            false,
            false,
        ),
        (Answer::Silence(bytes), _) => {
            let text = format!(
                "no answer within {}{}",
                show_duration(timeout),
                after(bytes)
            );
            (text, false, false)
        }
        (Answer::Broken(error), _) => (format!("the connection broke: {error}"), false, false),
    };
    Verdict {
        text,
        right,
        goes_on,
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

fn after(bytes: &[u8]) -> String {
    match bytes {
        [] => String::new(),
        bytes => format!(" after {bytes:02X?}"),
    }
}

/// What was sent and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    n_packets: usize,
    n_acked: usize,
    n_records_acked: usize,
    n_broken: usize,
    n_refused: usize,
    n_left: usize,
}

impl Tally {
    /// Whether every packet was acknowledged whole and nothing was left.
    pub(super) fn is_right(&self) -> bool {
        self.n_acked == self.n_packets
            && self.n_broken == 0
            && self.n_refused == 0
            && self.n_left == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = count(self.n_packets, "packet");
        let records = count(self.n_records_acked, "record");
        write!(f, "{} of {packets} acknowledged, {records}", self.n_acked)?;
        if self.n_broken > 0 {
            write!(f, ", {} broken", self.n_broken)?;
        }
        if self.n_refused > 0 {
            write!(f, ", {} refused", count(self.n_refused, "login"))?;
        }
        if self.n_left > 0 {
            write!(f, ", {} not sent", count(self.n_left, "item"))?;
        }
        Ok(())
    }
}

/// One device that plays a capture.
pub(super) struct Player<'a> {
    addresses: &'a [SocketAddr],
    timeout: Duration,
    interrupted: &'a AtomicBool,
    stream: Option<TcpStream>,
    /// The login that a new connection begins with.
    login: Option<Vec<u8>>,
    /// The server does not want this login.
    refused: bool,
}

impl<'a> Player<'a> {
    pub(super) fn new(
        addresses: &'a [SocketAddr],
        imei: Option<Imei>,
        timeout: Duration,
        interrupted: &'a AtomicBool,
    ) -> Player<'a> {
        Player {
            addresses,
            timeout,
            interrupted,
            stream: None,
            login: imei.map(encode::login),
            refused: false,
        }
    }

    /// Sends every item and writes a line about each.
    ///
    /// # Errors
    /// When the server cannot be reached, or `out` not be written.
    pub(super) fn play(&mut self, items: &[Item], out: &mut impl Write) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for (place, item) in items.iter().enumerate() {
            if self.interrupted.load(Ordering::Relaxed) {
                tally.n_left = items.len() - place;
                break;
            }
            self.step(item, &mut tally, out)?;
            out.flush()?;
        }
        Ok(tally)
    }

    fn step(&mut self, item: &Item, tally: &mut Tally, out: &mut impl Write) -> anyhow::Result<()> {
        match item.kind {
            Kind::Packet { .. } => tally.n_packets += 1,
            Kind::Broken(_) => tally.n_broken += 1,
            Kind::Ping | Kind::Command(_) => {}
            Kind::Login(_) => {
                // A device logs in once per connection: another login is another connection.
                self.stream = None;
                self.refused = false;
                self.login = Some(item.bytes.clone());
            }
        }
        if self.refused {
            tally.n_left += 1;
            return Ok(());
        }
        if self.stream.is_none() && !self.open(tally, out)? {
            tally.n_left += usize::from(!matches!(item.kind, Kind::Login(_)));
            return Ok(());
        }
        if matches!(item.kind, Kind::Login(_)) {
            return Ok(());
        }
        let verdict = self.exchange(&item.kind, &item.bytes);
        if let Kind::Packet { n_records, .. } = item.kind
            && verdict.right
        {
            tally.n_acked += 1;
            tally.n_records_acked += usize::from(n_records);
        }
        writeln!(out, "{}  ->  {}", describe(item), verdict.text)?;
        Ok(())
    }

    /// Connects and logs in; false when the login was not accepted.
    fn open(&mut self, tally: &mut Tally, out: &mut impl Write) -> anyhow::Result<bool> {
        let stream = network::connect(self.addresses)
            .with_context(|| format!("no connection to {}", self.addresses[0]))?;
        writeln!(out, "connected to {}", stream.peer_addr()?)?;
        self.stream = Some(stream);
        let Some(login) = self.login.clone() else {
            return Ok(true);
        };
        let digits = login.get(2..).unwrap_or_default().to_vec();
        let kind = Kind::Login(Imei::from_ascii(&digits).ok());
        let verdict = self.exchange(&kind, &login);
        let digits = super::super::text::printable(&String::from_utf8_lossy(&digits));
        writeln!(out, "login {digits}  ->  {}", verdict.text)?;
        self.refused = !verdict.right;
        tally.n_refused += usize::from(!verdict.right);
        Ok(verdict.right)
    }

    /// Sends bytes and waits for what answers them.
    fn exchange(&mut self, kind: &Kind, bytes: &[u8]) -> Verdict {
        let answer = match self.stream.as_mut() {
            None => Answer::Broken("there is none".to_owned()),
            Some(stream) => {
                let n_bytes = match kind {
                    Kind::Ping | Kind::Command(_) => 0,
                    Kind::Login(_) => 1,
                    Kind::Packet { .. } | Kind::Broken(_) => 4,
                };
                send_and_wait(stream, bytes, n_bytes, self.timeout, self.interrupted)
                    .unwrap_or_else(|error| Answer::Broken(error.to_string()))
            }
        };
        let verdict = judge(kind, &answer, self.timeout);
        if !verdict.goes_on {
            self.stream = None;
        }
        verdict
    }
}

fn send_and_wait(
    stream: &mut TcpStream,
    bytes: &[u8],
    n_bytes: usize,
    timeout: Duration,
    interrupted: &AtomicBool,
) -> io::Result<Answer> {
    stream.set_write_timeout(Some(timeout.max(LOOK)))?;
    stream.write_all(bytes)?;
    let deadline = Instant::now() + timeout;
    let mut answer = Vec::new();
    let mut buffer = [0; 4];
    while answer.len() < n_bytes {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || interrupted.load(Ordering::Relaxed) {
            return Ok(Answer::Silence(answer));
        }
        stream.set_read_timeout(Some(left.clamp(Duration::from_millis(1), LOOK)))?;
        match stream.read(&mut buffer[..n_bytes - answer.len()]) {
            Ok(0) => return Ok(Answer::Closed(answer)),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                // A server that closes with unread bytes resets the connection.
                ErrorKind::ConnectionReset => return Ok(Answer::Closed(answer)),
                _ => return Err(error),
            },
        }
    }
    Ok(Answer::Bytes(answer))
}

/// An item in words: its name, what it is, how large.
fn describe(item: &Item) -> String {
    let name = match &item.name {
        Some(name) => format!("{}: ", super::super::text::printable(name)),
        None => String::new(),
    };
    let what = match &item.kind {
        Kind::Ping => "ping".to_owned(),
        Kind::Login(_) => "login".to_owned(),
        Kind::Packet { codec, n_records } => {
            format!(
                "{}, {}",
                codec.name(),
                count(usize::from(*n_records), "record")
            )
        }
        Kind::Command(codec_id) => format!("codec {codec_id}, no records"),
        Kind::Broken(why) => format!("broken ({why})"),
    };
    format!("{name}{what}, {}", count(item.bytes.len(), "byte"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::protocol::teltonika::Codec;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn packet(n_records: u8) -> Kind {
        Kind::Packet {
            codec: Codec::Codec8,
            n_records,
        }
    }

    #[test]
    fn only_the_full_count_is_an_ack() {
        let judged = |bytes: &[u8]| judge(&packet(2), &Answer::Bytes(bytes.to_vec()), TIMEOUT);
        assert!(judged(&[0, 0, 0, 2]).right);
        let short = judged(&[0, 0, 0, 1]);
        assert!(!short.right);
        assert_eq!(short.text, "ack 1, 2 is right");
        assert!(!judged(&[1, 0, 0, 2]).right);
    }

    #[test]
    fn silence_and_close_are_told_apart() {
        let silence = judge(&packet(1), &Answer::Silence(vec![0]), TIMEOUT);
        assert_eq!(silence.text, "no answer within 5 s after [00]");
        let closed = judge(&packet(1), &Answer::Closed(Vec::new()), TIMEOUT);
        assert_eq!(closed.text, "closed by the server");
        assert!(!silence.right && !silence.goes_on && !closed.right && !closed.goes_on);
    }

    #[test]
    fn a_login_is_accepted_by_01_alone() {
        let judged = |byte| judge(&Kind::Login(None), &Answer::Bytes(vec![byte]), TIMEOUT);
        assert!(judged(1).right && judged(1).goes_on);
        assert!(!judged(0).right && !judged(0).goes_on);
        assert!(!judged(2).right);
    }

    #[test]
    fn after_a_close_the_next_packet_goes_over_a_new_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let item = |name: &str| Item {
            name: Some(name.to_owned()),
            kind: packet(1),
            bytes: vec![7; 10],
        };
        let played = std::thread::Builder::new()
            .spawn(move || {
                let imei = "356307042441013".parse().ok();
                let interrupted = AtomicBool::new(false);
                let addresses = [address];
                let mut player = Player::new(&addresses, imei, TIMEOUT, &interrupted);
                let mut out = Vec::new();
                let tally = player.play(&[item("one"), item("two")], &mut out).unwrap();
                (tally, String::from_utf8(out).unwrap())
            })
            .unwrap();
        for acked in [false, true] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut login = [0; 17];
            stream.read_exact(&mut login).unwrap();
            stream.write_all(&[1]).unwrap();
            stream.read_exact(&mut [0; 10]).unwrap();
            if acked {
                stream.write_all(&[0, 0, 0, 1]).unwrap();
            }
        }
        let (tally, text) = played.join().unwrap();
        assert!(!tally.is_right());
        assert_eq!(tally.to_string(), "1 of 2 packets acknowledged, 1 record");
        assert!(
            text.contains("one: Codec 8, 1 record, 10 bytes  ->  closed by the server"),
            "{text}"
        );
        assert!(
            text.contains("two: Codec 8, 1 record, 10 bytes  ->  ack 1"),
            "{text}"
        );
    }
}
