//! Any stream in any pieces at any pace, with any answers of the caller: what `session.rs` promises holds at each step.
//!
//! An input is a script and a stream. Byte 0: the settings, see [`Settings`]. Byte 1: which logins are refused. Byte 2: how
//! many steps follow, two bytes each: how many bytes arrive, and how much time passes and how late an answer comes. Behind
//! them stands the stream. Where the script ends, the rest arrives at once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trackport::imei::Imei;
use trackport::protocol::teltonika::crc::crc16;
use trackport::protocol::teltonika::session::{LOGIN_ACCEPTED, LOGIN_REFUSED};
use trackport::protocol::teltonika::{Cut, Expired, Millis, Output, Session, Timeouts, cut};

const TIMEOUTS: Timeouts = Timeouts {
    login_ms: 15_000,
    idle_ms: 60_000,
    packet_ms: 30_000,
};

/// Bytes of the largest login.
const LOGIN_BYTES_MAX: usize = 34;

/// What holds for a whole run.
struct Settings {
    pinned: bool,
    packet_bytes_max: usize,
    /// Bit `n % 8`: the login `n` is refused.
    refused: u8,
}

/// One step of the script.
#[derive(Clone, Copy)]
struct Step {
    /// Bytes that arrive.
    n_bytes: usize,
    /// Milliseconds that pass before they do.
    pause_ms: Millis,
    /// Steps that an answer is late.
    late: u8,
}

fuzz_target!(|input: &[u8]| {
    let [flags, refused, n_steps, rest @ ..] = input else {
        return;
    };
    let (script, stream) = rest.split_at(rest.len().min(2 * usize::from(*n_steps)));
    let (script, _odd) = script.as_chunks::<2>();
    let settings = Settings {
        pinned: flags & 1 != 0,
        packet_bytes_max: [64, 512, 2048, 65_536][usize::from(flags >> 2 & 3)],
        refused: *refused,
    };
    let mut stream = stream.to_vec();
    if flags & 2 != 0 {
        make_checksums_right(&mut stream, settings.packet_bytes_max);
    }
    let steps = script.iter().map(|[n_bytes, pace]| Step {
        n_bytes: usize::from(*n_bytes),
        // Nothing, or 2 ms to 16 s.
        pause_ms: (1 << (pace & 15)) & !1,
        late: pace >> 4 & 3,
    });
    let (heard, expired) = Caller::new(&settings).hear(&stream, steps);
    let (at_once, _) = Caller::new(&settings).hear(&stream, std::iter::empty());
    if expired {
        assert!(
            at_once.starts_with(&heard),
            "{heard:?} is not the begin of {at_once:?}"
        );
    } else {
        assert_eq!(heard, at_once, "pieces made a difference");
    }
});

/// Gives each frame of the stream the checksum of its data, which chance would have to guess.
fn make_checksums_right(stream: &mut [u8], packet_bytes_max: usize) {
    let mut rest = stream;
    loop {
        let n_bytes = match cut(rest, packet_bytes_max) {
            Cut::Ping => 1,
            Cut::Login { consumed, .. } => consumed,
            Cut::Frame(frame) => frame.len(),
            Cut::Need(_) | Cut::Broken(_) => return,
        };
        let is_frame = matches!(cut(rest, packet_bytes_max), Cut::Frame(_));
        let (item, behind) = rest.split_at_mut(n_bytes);
        if is_frame && let Some((data, crc)) = item.split_last_chunk_mut::<4>() {
            *crc = u32::from(crc16(&data[8..])).to_be_bytes();
        }
        rest = behind;
    }
}

/// What came out of a session, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Ping,
    Login(Imei),
    BadLogin,
    Packet(Vec<u8>),
    Broken(Vec<u8>, Option<u8>),
    Command(u8),
    Garbage,
    BeforeLogin,
}

/// What the session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Login,
    Receipt { n_records: u8 },
    Quarantine(Option<u8>),
}

/// A caller as a port is one, with a memory for what was promised.
struct Caller<'s> {
    settings: &'s Settings,
    session: Session,
    now: Millis,
    held: Vec<u8>,
    heard: Vec<Heard>,
    awaited: Option<Awaited>,
    late: u8,
    closed: bool,
    known: bool,
    n_logins: u32,
    n_acks: usize,
    /// The last byte that arrived or answer that was given.
    changed_at: Millis,
    /// Since when the item at the front is incomplete.
    half_since: Option<Millis>,
}

impl<'s> Caller<'s> {
    fn new(settings: &'s Settings) -> Caller<'s> {
        Caller {
            settings,
            session: Session::new(0, settings.pinned),
            now: 0,
            held: Vec::new(),
            heard: Vec::new(),
            awaited: None,
            late: 0,
            closed: false,
            known: settings.pinned,
            n_logins: 0,
            n_acks: 0,
            changed_at: 0,
            half_since: None,
        }
    }

    /// Everything that is heard of `stream`, and whether the time of something ran out.
    fn hear(mut self, mut stream: &[u8], steps: impl Iterator<Item = Step>) -> (Vec<Heard>, bool) {
        for step in steps {
            self.now += step.pause_ms;
            if self.check_time() {
                return (self.heard, true);
            }
            let (arrived, rest) = stream.split_at(step.n_bytes.min(stream.len()));
            stream = rest;
            self.arrive(arrived);
            self.late = self.late.saturating_sub(1);
            self.process(step.late);
        }
        self.arrive(stream);
        self.late = 0;
        self.process(0);
        let n_packets = self
            .heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Packet(_)));
        let n_broken = self
            .heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Broken(_, Some(_))));
        assert_eq!(
            self.n_acks,
            n_packets.count() + n_broken.count(),
            "one ack each"
        );
        (self.heard, false)
    }

    fn arrive(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.changed_at = self.now;
            self.held.extend_from_slice(bytes);
        }
    }

    /// Answers what is due and takes all items that are there, until more bytes are needed or an answer is late.
    fn process(&mut self, late: u8) {
        loop {
            if self.awaited.is_some() || self.closed {
                assert!(!self.session.wants_bytes(), "{:?} is awaited", self.awaited);
                let output =
                    self.session
                        .handle_bytes(&self.held, self.settings.packet_bytes_max, self.now);
                assert_eq!(
                    output,
                    (0, Output::Need(0)),
                    "something was consumed behind {:?}",
                    self.awaited
                );
            }
            if self.closed || (self.awaited.is_some() && self.late > 0) {
                return;
            }
            if let Some(awaited) = self.awaited.take() {
                self.answer(awaited);
            } else if !self.take_item() {
                return;
            }
            if self.awaited.is_some() {
                self.late = late;
            }
        }
    }

    fn answer(&mut self, awaited: Awaited) {
        self.changed_at = self.now;
        match awaited {
            Awaited::Login => {
                self.n_logins += 1;
                if self.settings.refused >> (self.n_logins % 8) & 1 == 1 {
                    assert_eq!(self.session.login_refused(), LOGIN_REFUSED);
                    self.closed = true;
                } else {
                    assert_eq!(self.session.login_accepted(self.now), LOGIN_ACCEPTED);
                    self.known = true;
                }
            }
            Awaited::Receipt { n_records } => {
                self.n_acks += 1;
                assert_eq!(self.session.durable(self.now), [0, 0, 0, n_records]);
            }
            Awaited::Quarantine(declared) => {
                let ack = self.session.quarantined_for_good(self.now);
                assert_eq!(ack, declared.map(|n_records| [0, 0, 0, n_records]));
                self.n_acks += usize::from(ack.is_some());
                self.closed = ack.is_none();
            }
        }
        assert_eq!(self.session.is_known(), self.known);
    }

    /// Takes one item off the front; false if it is not there yet.
    fn take_item(&mut self) -> bool {
        assert!(self.session.wants_bytes());
        let held = std::mem::take(&mut self.held);
        let packet_bytes_max = self.settings.packet_bytes_max;
        let (consumed, output) = self.session.handle_bytes(&held, packet_bytes_max, self.now);
        assert!(
            consumed <= held.len(),
            "{consumed} consumed of {}",
            held.len()
        );
        let item = &held[..consumed];
        let mut incomplete = false;
        let heard = match output {
            Output::Need(bytes) => {
                assert_eq!(consumed, 0);
                assert!(
                    bytes > held.len(),
                    "{bytes} wanted, {} are there",
                    held.len()
                );
                assert!(
                    bytes <= packet_bytes_max.max(LOGIN_BYTES_MAX),
                    "{bytes} wanted"
                );
                incomplete = !held.is_empty();
                None
            }
            Output::Ping => {
                assert_eq!(item, [0xFF]);
                Some(Heard::Ping)
            }
            Output::Login(imei) => {
                assert_eq!(&item[2..], imei.to_string().as_bytes());
                self.awaited = Some(Awaited::Login);
                Some(Heard::Login(imei))
            }
            Output::BadLogin(_) => {
                self.closed = true;
                Some(Heard::BadLogin)
            }
            Output::Packet(packet) => {
                assert!(self.known, "a packet of nobody");
                assert_eq!(packet.frame, item);
                assert!(packet.n_records > 0 && consumed <= packet_bytes_max);
                let n_records = packet.n_records;
                self.awaited = Some(Awaited::Receipt { n_records });
                Some(Heard::Packet(item.to_vec()))
            }
            Output::Broken {
                frame, declared, ..
            } => {
                assert!(self.known, "a frame of nobody");
                assert_eq!(frame, item);
                self.awaited = Some(Awaited::Quarantine(declared));
                Some(Heard::Broken(item.to_vec(), declared))
            }
            Output::Command { codec_id } => {
                assert!(self.known, "a command of nobody");
                Some(Heard::Command(codec_id))
            }
            Output::Garbage(_) => {
                self.closed = true;
                Some(Heard::Garbage)
            }
            Output::BeforeLogin => {
                assert!(!self.known);
                self.closed = true;
                Some(Heard::BeforeLogin)
            }
        };
        self.half_since = incomplete.then(|| self.half_since.unwrap_or(self.now));
        let more = heard.is_some();
        self.heard.extend(heard);
        self.held = held[consumed..].to_vec();
        more
    }

    /// Whether something ran out, and that it did so no later than promised and not for another reason.
    fn check_time(&self) -> bool {
        let deadline = self.session.deadline(&TIMEOUTS);
        let expired = self.session.expired(&TIMEOUTS, self.now);
        assert_eq!(expired.is_some(), self.now >= deadline);
        assert!(
            deadline <= self.changed_at + TIMEOUTS.idle_ms,
            "silent for too long"
        );
        if let Some(since) = self.half_since {
            // However slowly its bytes drip, they do not buy time.
            assert!(
                deadline <= since + TIMEOUTS.packet_ms,
                "incomplete for too long"
            );
        }
        if !self.known {
            assert!(deadline <= TIMEOUTS.login_ms, "unknown for too long");
        }
        if let Some(Awaited::Receipt { .. } | Awaited::Quarantine(_)) = self.awaited {
            assert!(
                matches!(expired, None | Some(Expired::Idle)),
                "{expired:?} in flight"
            );
        }
        expired.is_some()
    }
}
