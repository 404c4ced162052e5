//! One connection of a device as a state machine without bytes, sockets and clock of its own.
//!
//! The caller keeps the bytes that were not consumed, tells the time and does what an [`Output`]
//! asks. Invariants:
//!
//! - A login or packet that waits for its answer stops everything behind it: nothing is consumed
//!   until the answer is asked for.
//! - An ack is made only for the packet in flight, and only once.
//! - What is misused by the caller gives an answer that loses nothing (ack 0: send again).

use super::super::super::imei::{Imei, ImeiError};
use super::avl::{Checked, Packet, check, declared};
use super::error::PacketError;
use super::frame::{Cut, FrameError, LOGIN_ITEM_BYTES_MAX, cut};

/// Milliseconds of the caller's monotonic clock.
pub type Millis = u64;

/// The answer to a login that is accepted.
pub const LOGIN_ACCEPTED: [u8; 1] = [1];
/// The answer to a login that is not.
pub const LOGIN_REFUSED: [u8; 1] = [0];

/// How long a session may take for what; all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From connect to an accepted login.
    pub login_ms: Millis,
    /// From the last byte or answer to the next byte.
    pub idle_ms: Millis,
    /// From the first byte of an item to its last.
    pub packet_ms: Millis,
}

/// Which time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// No login was accepted in time.
    Login,
    /// The device was silent too long.
    Idle,
    /// An item was begun and not finished.
    HalfPacket,
}

/// What the front of the input was, and what the caller does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Nothing more can be done before this many bytes are there, counted from the start of the
    /// unconsumed input; 0 if the session waits for an answer or is closed.
    Need(usize),
    /// A ping; it gets no answer.
    Ping,
    /// A device says who it is: call `login_accepted` or `login_refused`.
    Login(Imei),
    /// A login without an IMEI in it: send [`LOGIN_REFUSED`] and close.
    BadLogin(ImeiError),
    /// A packet: deliver it, then call `durable`; else it never gets an ack.
    Packet(Packet<'a>),
    /// A frame that is no packet: deliver it to quarantine; then call `quarantined_for_good`, or
    /// close without an ack.
    Broken {
        /// The whole frame.
        frame: &'a [u8],
        /// What is wrong with it.
        error: PacketError,
        /// The record count, if the frame is sound but unreadable.
        declared: Option<u8>,
    },
    /// A command's response or a message; nothing is answered.
    Command {
        /// 0x0C to 0x0F.
        codec_id: u8,
    },
    /// No tracker speaks here: close.
    Garbage(FrameError),
    /// A frame before any login, whole or begun, on a port without a device of its own: close.
    BeforeLogin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes are wanted.
    Reading,
    /// The caller decides about a login.
    LoginAsked,
    /// The caller stores a packet of this many records.
    InFlight(u8),
    /// The caller keeps an unreadable frame.
    BrokenInFlight(Option<u8>),
    Closed,
}

/// The state of one connection; see the file's head.
#[derive(Clone, Debug)]
pub struct Session {
    /// Connect, or the newest login that is not answered yet.
    login_since: Millis,
    /// The last byte or answer.
    active_at: Millis,
    /// The first byte of the incomplete item, if `half`.
    half_since: Millis,
    /// Bytes that the caller still held after the last call: more than these are new.
    held_bytes: u32,
    state: State,
    half: bool,
    /// Packets may come: after a login, or from the start on a pinned port.
    known: bool,
}

impl Session {
    /// A session that has just been connected. `pinned`: packets without a login are those of the
    /// port's device.
    pub fn new(now: Millis, pinned: bool) -> Session {
        Session {
            login_since: now,
            active_at: now,
            half_since: now,
            held_bytes: 0,
            state: State::Reading,
            half: false,
            known: pinned,
        }
    }

    /// Takes the first item off `input`, which holds every byte not consumed so far. Returns the
    /// bytes consumed and what they were. Call it again until it says [`Output::Need`].
    pub fn handle_bytes<'a>(
        &mut self,
        input: &'a [u8],
        packet_bytes_max: usize,
        now: Millis,
    ) -> (usize, Output<'a>) {
        if !self.wants_bytes() {
            return (0, Output::Need(0));
        }
        if bytes_held(input.len()) > self.held_bytes {
            self.active_at = now;
        }
        let (consumed, output) = self.step(cut(input, packet_bytes_max));
        let left = input.len().saturating_sub(consumed);
        self.held_bytes = bytes_held(left);
        let half = matches!(output, Output::Need(_)) && left > 0;
        if half && !self.half {
            self.half_since = now;
        }
        self.half = half;
        if let State::LoginAsked = self.state {
            self.login_since = if self.known { now } else { self.login_since };
        }
        (consumed, output)
    }

    fn step<'a>(&mut self, cut: Cut<'a>) -> (usize, Output<'a>) {
        match cut {
            // So much is announced only by a frame: a stranger's is not waited for, so that nothing is kept of it.
            Cut::Need(bytes) if !self.known && bytes > LOGIN_ITEM_BYTES_MAX => {
                self.state = State::Closed;
                (0, Output::BeforeLogin)
            }
            Cut::Need(bytes) => (0, Output::Need(bytes)),
            Cut::Ping => (1, Output::Ping),
            Cut::Login { digits, consumed } => match Imei::from_ascii(digits) {
                Ok(imei) => {
                    self.state = State::LoginAsked;
                    (consumed, Output::Login(imei))
                }
                Err(error) => {
                    self.state = State::Closed;
                    (consumed, Output::BadLogin(error))
                }
            },
            Cut::Frame(frame) if !self.known => {
                self.state = State::Closed;
                (frame.len(), Output::BeforeLogin)
            }
            Cut::Frame(frame) => (frame.len(), self.frame(frame)),
            Cut::Broken(error) => {
                self.state = State::Closed;
                (0, Output::Garbage(error))
            }
        }
    }

    fn frame<'a>(&mut self, frame: &'a [u8]) -> Output<'a> {
        match check(frame) {
            Ok(Checked::Avl(packet)) => {
                self.state = State::InFlight(packet.n_records);
                Output::Packet(packet)
            }
            Ok(Checked::Command { codec_id }) => Output::Command { codec_id },
            Err(error) => {
                let declared = declared(frame);
                self.state = State::BrokenInFlight(declared);
                Output::Broken {
                    frame,
                    error,
                    declared,
                }
            }
        }
    }

    /// The caller knows the device: returns the answer, after which packets may come.
    pub fn login_accepted(&mut self, now: Millis) -> [u8; 1] {
        debug_assert_eq!(
            self.state,
            State::LoginAsked,
            "no login waits for an answer"
        );
        if self.state != State::LoginAsked {
            return LOGIN_REFUSED;
        }
        self.state = State::Reading;
        self.known = true;
        self.active_at = now;
        LOGIN_ACCEPTED
    }

    /// The caller does not want the device: returns the answer, after which the session is closed.
    pub fn login_refused(&mut self) -> [u8; 1] {
        debug_assert_eq!(
            self.state,
            State::LoginAsked,
            "no login waits for an answer"
        );
        self.state = State::Closed;
        LOGIN_REFUSED
    }

    /// The packet in flight is durable: returns its ack, with its record count.
    pub fn durable(&mut self, now: Millis) -> [u8; 4] {
        debug_assert!(
            matches!(self.state, State::InFlight(_)),
            "no packet is in flight"
        );
        let State::InFlight(n_records) = self.state else {
            return ack(0);
        };
        self.state = State::Reading;
        self.active_at = now;
        ack(n_records)
    }

    /// The unreadable frame is kept for good: returns the ack with the count it declares, after
    /// which the session goes on. `None` if it declares none; then only closing is left.
    pub fn quarantined_for_good(&mut self, now: Millis) -> Option<[u8; 4]> {
        debug_assert!(
            matches!(self.state, State::BrokenInFlight(_)),
            "no broken frame is in flight"
        );
        let State::BrokenInFlight(Some(n_records)) = self.state else {
            return None;
        };
        self.state = State::Reading;
        self.active_at = now;
        Some(ack(n_records))
    }

    /// Whether reading from the connection makes sense: not while a login or packet waits for its
    /// answer, and not after the end.
    pub fn wants_bytes(&self) -> bool {
        self.state == State::Reading
    }

    /// Whether packets are taken: a login was accepted, or the port has a device of its own.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether packets are taken and one was begun and not completed.
    pub fn is_half_way(&self) -> bool {
        self.known && self.half && self.state == State::Reading
    }

    /// When [`Session::expired`] becomes true if nothing happens before. A packet in flight is
    /// held to nothing but the idle time.
    pub fn deadline(&self, timeouts: &Timeouts) -> Millis {
        self.next_to_expire(timeouts).0
    }

    /// What has run out at `now`, if anything: then the caller closes.
    pub fn expired(&self, timeouts: &Timeouts, now: Millis) -> Option<Expired> {
        let (deadline, expired) = self.next_to_expire(timeouts);
        (now >= deadline).then_some(expired)
    }

    fn next_to_expire(&self, timeouts: &Timeouts) -> (Millis, Expired) {
        let mut next = (
            self.active_at.saturating_add(timeouts.idle_ms),
            Expired::Idle,
        );
        if self.half {
            let deadline = self.half_since.saturating_add(timeouts.packet_ms);
            if deadline < next.0 {
                next = (deadline, Expired::HalfPacket);
            }
        }
        if !self.known || self.state == State::LoginAsked {
            let deadline = self.login_since.saturating_add(timeouts.login_ms);
            if deadline <= next.0 {
                next = (deadline, Expired::Login);
            }
        }
        next
    }
}

fn ack(n_records: u8) -> [u8; 4] {
    u32::from(n_records).to_be_bytes()
}

fn bytes_held(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

// A port may hold a million sessions.
const _: () = assert!(size_of::<Session>() <= 40);
