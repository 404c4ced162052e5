//! The thread that plays devices: one readiness wait, non-blocking connections, a heap of what is due when.
//!
//! Checks every answer. Invariant: a record is remembered as acknowledged after its ack was read, never before.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::device::{Device, Heard, Phase, Role};
use super::latency::Histogram;
use super::lives::fleet::{self, Mix};
use super::lives::{self, Course, Life, Step, Teller, Telling};
use super::packet::Template;
use super::road::{Vehicle, mix};
use super::socket;
use super::tally::Tally;
use crate::backoff::Backoff;
use crate::imei::{Imei, ImeiError};
use crate::protocol::teltonika::encode;

/// The longest wait: how soon a stop is seen.
const WAIT: Duration = Duration::from_millis(50);
/// What a device waits between its tries to connect.
const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// Acknowledged records are handed on in pieces of this size,
const REMEMBERED_BYTES: usize = 256 * 1024;
/// or when this time is over.
const REMEMBERED_MS: u64 = 500;

/// What is played.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where the server is; the first address is used.
    pub(super) to: SocketAddr,
    pub(super) first_imei: Imei,
    pub(super) traffic: Traffic,
    /// Packets of each device.
    pub(super) packets: Option<u64>,
    /// New connections per second, by this thread.
    pub(super) connects_per_s: u32,
    pub(super) answer_timeout_ms: u64,
    /// Differs from run to run.
    pub(super) run: u64,
}

/// What the devices send.
#[derive(Debug)]
pub(super) enum Traffic {
    /// Packets of one form.
    Packets {
        template: Template,
        /// `None`: each packet follows the ack of the last.
        interval_ms: Option<u64>,
    },
    /// What they live through.
    Lives {
        telling: Telling,
        mix: Mix,
        /// The time of their lives when the simulation begins, and how fast it runs until it is now.
        clock: LifeClock,
    },
}

/// The time of lives: it begins in the past, if it is told to, and catches up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LifeClock {
    /// Since 1970, when the simulation begins.
    pub(super) wall_ms: u64,
    /// The time of lives then.
    pub(super) life_ms: u64,
    /// Everything before is told already.
    pub(super) told_ms: u64,
    /// Milliseconds of life in each millisecond, until it is now.
    pub(super) speed: f64,
    /// A device that has told everything until now is done.
    pub(super) ends_with_past: bool,
}

impl LifeClock {
    /// The time of lives, so long after the begin.
    fn life_ms(&self, elapsed_ms: u64) -> u64 {
        let lived_ms = (elapsed_ms as f64 * self.speed) as u64;
        (self.life_ms + lived_ms).min(self.wall_ms + elapsed_ms)
    }

    /// How long after the begin the time of lives is `life_ms`.
    fn elapsed_ms(&self, life_ms: u64) -> u64 {
        let fast_ms = life_ms.saturating_sub(self.life_ms) as f64 / self.speed;
        (fast_ms.ceil() as u64).max(life_ms.saturating_sub(self.wall_ms))
    }
}

/// Plays the devices with these numbers until they are done or `tally.stop` is set; returns how long acks took.
///
/// # Errors
/// When the system gives no readiness wait, or the file of acknowledged records cannot be written.
pub(super) fn play(plan: &Plan, devices: Range<u32>, tally: &Tally) -> io::Result<Histogram> {
    let mut engine = Engine::new(plan, devices, tally)?;
    let mut events = Events::with_capacity(1024);
    while !engine.is_over() {
        let timeout = engine.wait();
        if let Err(error) = engine.poll.poll(&mut events, Some(timeout))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            engine.ready(event)?;
        }
        engine.run_due();
        engine.stop_if_asked();
        engine.hand_on()?;
    }
    tally.remember(&engine.remembered)?;
    Ok(engine.latency)
}

impl Plan {
    fn interval_ms(&self) -> Option<u64> {
        match &self.traffic {
            Traffic::Packets { interval_ms, .. } => *interval_ms,
            Traffic::Lives { .. } => None,
        }
    }

    /// The device with this number, and what it has to tell.
    fn device(&self, index: u32) -> Result<(Imei, Role), ImeiError> {
        match &self.traffic {
            Traffic::Packets { .. } => {
                let imei = Imei::from_number(self.first_imei.number() + u64::from(index))?;
                Ok((imei, Role::Vehicle(Vehicle::new(imei.number(), self.run))))
            }
            Traffic::Lives { mix, clock, .. } => {
                let imei = fleet::imei(self.first_imei, index)?;
                let life = Life::new(mix.kind(index), self.run, index.into());
                let course = Course::new(&life, clock.told_ms, clock.life_ms);
                Ok((imei, Role::Life(Box::new(life), course)))
            }
        }
    }
}

struct Engine<'a> {
    plan: &'a Plan,
    tally: &'a Tally,
    poll: Poll,
    first_index: u32,
    devices: Vec<Device>,
    streams: Vec<Option<TcpStream>>,
    /// When which device is due; an entry that is not the device's `due_ms` any more means nothing.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    n_done: usize,
    start: Instant,
    stopping: bool,
    latency: Histogram,
    teller: Option<Teller>,
    packet: Vec<u8>,
    remembered: String,
    handed_on_ms: u64,
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan, indices: Range<u32>, tally: &'a Tally) -> io::Result<Engine<'a>> {
        let backoff = Backoff::new(BACKOFF[0], BACKOFF[1]);
        let mut devices = Vec::with_capacity(indices.len());
        for (place, index) in (0..).zip(indices.clone()) {
            let (imei, role) = plan
                .device(index)
                .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
            let connect_ms = place * 1000 / u64::from(plan.connects_per_s.max(1));
            let mut device = Device::new(imei, role, connect_ms, backoff.clone());
            // Spread over the interval, as devices that were switched on at different times are.
            let spread_ms = plan.interval_ms().unwrap_or(0) * place / (indices.len() as u64).max(1);
            device.next_packet_ms = connect_ms.max(spread_ms);
            devices.push(device);
        }
        let due = devices
            .iter()
            .enumerate()
            .map(|(place, device)| Reverse((device.due_ms, place)))
            .collect();
        Ok(Engine {
            plan,
            tally,
            poll: Poll::new()?,
            first_index: indices.start,
            streams: devices.iter().map(|_| None).collect(),
            devices,
            due,
            n_done: 0,
            start: Instant::now(),
            stopping: false,
            latency: Histogram::new(),
            teller: match &plan.traffic {
                Traffic::Packets { .. } => None,
                Traffic::Lives { telling, .. } => Some(Teller::new(*telling)),
            },
            packet: Vec::new(),
            remembered: String::new(),
            handed_on_ms: 0,
        })
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    fn is_over(&self) -> bool {
        self.n_done == self.devices.len() || self.tally.abandon.load(Ordering::Relaxed)
    }

    fn wait(&self) -> Duration {
        self.due.peek().map_or(WAIT, |Reverse((due_ms, _))| {
            let left_us = (due_ms * 1000).saturating_sub(self.now_us());
            Duration::from_micros(left_us).min(WAIT)
        })
    }

    fn plan_at(&mut self, place: usize, due_ms: u64) {
        self.devices[place].due_ms = due_ms;
        self.due.push(Reverse((due_ms, place)));
    }

    /// Does what is due now.
    fn run_due(&mut self) {
        let now_ms = self.now_ms();
        while let Some(Reverse((due_ms, place))) = self.due.peek().copied() {
            if due_ms > now_ms {
                break;
            }
            self.due.pop();
            if self.devices[place].due_ms != due_ms {
                continue;
            }
            match self.devices[place].phase {
                Phase::Offline => self.connect(place),
                Phase::Connecting => {
                    self.tally.connect_failures.add(1);
                    self.lose(place);
                }
                Phase::LoggingIn | Phase::AwaitingAck => {
                    self.tally.timeouts.add(1);
                    self.lose(place);
                }
                Phase::Ready => self.send_packet(place),
                Phase::Done => {}
            }
        }
    }

    /// Ends every device that has nothing in flight, once, when the stop is asked for; the others end with their ack.
    fn stop_if_asked(&mut self) {
        if self.stopping || !self.tally.stop.load(Ordering::Relaxed) {
            return;
        }
        self.stopping = true;
        for place in 0..self.devices.len() {
            if !self.devices[place].has_packet() && self.devices[place].phase != Phase::Done {
                self.finish(place);
            }
        }
    }

    /// Hands on what was acknowledged, when it is much or some time ago.
    fn hand_on(&mut self) -> io::Result<()> {
        if self.remembered.is_empty() {
            return Ok(());
        }
        let now_ms = self.now_ms();
        if self.remembered.len() >= REMEMBERED_BYTES || now_ms >= self.handed_on_ms + REMEMBERED_MS
        {
            self.handed_on_ms = now_ms;
            self.tally.remember(&self.remembered)?;
            self.remembered.clear();
        }
        Ok(())
    }

    fn finish(&mut self, place: usize) {
        self.drop_stream(place);
        self.devices[place].awaits(Phase::Done);
        self.n_done += 1;
    }

    fn drop_stream(&mut self, place: usize) {
        if matches!(self.devices[place].phase, Phase::Ready | Phase::AwaitingAck) {
            self.tally.online.subtract(1);
        }
        if let Some(mut stream) = self.streams[place].take() {
            // An error means that it was not registered; closing takes it off anyway.
            let _ = self.poll.registry().deregister(&mut stream);
        }
    }

    /// The connection is gone or of no use: another one after a pause.
    fn lose(&mut self, place: usize) {
        self.drop_stream(place);
        if self.stopping && !self.devices[place].has_packet() {
            return self.finish(place);
        }
        let device = &mut self.devices[place];
        device.awaits(Phase::Offline);
        let pause_ms = u64::try_from(device.backoff.next().as_millis()).unwrap_or(u64::MAX);
        // Up to a quarter more, so that a fleet that lost its server does not come back in step.
        let spread_ms = mix(device.imei.number() ^ pause_ms) % (pause_ms / 4 + 1);
        self.plan_at(place, self.now_ms() + pause_ms + spread_ms);
    }

    fn connect(&mut self, place: usize) {
        if std::mem::replace(&mut self.devices[place].connected_before, true) {
            self.tally.reconnects.add(1);
        }
        let index = self.first_index
            + u32::try_from(place).expect("a place is below the number of devices");
        let registered = socket::open(self.plan.to, index).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(place), interest)?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => {
                self.streams[place] = Some(stream);
                self.devices[place].awaits(Phase::Connecting);
                self.plan_at(place, self.now_ms() + self.plan.answer_timeout_ms);
            }
            Err(_) => {
                self.tally.connect_failures.add(1);
                self.lose(place);
            }
        }
    }

    /// A socket can be read or written.
    fn ready(&mut self, event: &Event) -> io::Result<()> {
        let place = event.token().0;
        if self.streams[place].is_none() {
            return Ok(());
        }
        if self.devices[place].phase == Phase::Connecting {
            if !event.is_writable() && !event.is_error() {
                return Ok(());
            }
            let connected = self.streams[place].as_ref().is_some_and(|stream| {
                matches!(stream.take_error(), Ok(None)) && stream.peer_addr().is_ok()
            });
            if !connected {
                self.tally.connect_failures.add(1);
                self.lose(place);
                return Ok(());
            }
            self.devices[place].n_written = 0;
            self.devices[place].awaits(Phase::LoggingIn);
            self.write(place);
        } else if event.is_writable() {
            self.write(place);
        }
        let ends = event.is_read_closed() || event.is_error();
        if event.is_readable() || ends {
            self.read(place, ends)?;
        }
        Ok(())
    }

    /// Reads what there is. `ends`: the end of the stream may stand behind it, and is not announced again.
    fn read(&mut self, place: usize, ends: bool) -> io::Result<()> {
        let mut buffer = [0; 64];
        loop {
            let Some(stream) = self.streams[place].as_mut() else {
                return Ok(());
            };
            match stream.read(&mut buffer) {
                Ok(0) => {
                    self.lose(place);
                    return Ok(());
                }
                Ok(n) => {
                    self.hear(place, &buffer[..n])?;
                    // A short read has emptied the socket; what comes later is announced anew.
                    if n < buffer.len() && !ends {
                        return Ok(());
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    _ => {
                        self.lose(place);
                        return Ok(());
                    }
                },
            }
        }
    }

    fn hear(&mut self, place: usize, bytes: &[u8]) -> io::Result<()> {
        let device = &mut self.devices[place];
        let (imei, phase, n_records) = (device.imei, device.phase, device.n_records());
        match device.hear(bytes) {
            Heard::More => {}
            Heard::LoginAccepted => {
                device.backoff.reset();
                device.awaits(Phase::Ready);
                self.tally.online.add(1);
                self.next(place);
            }
            Heard::LoginRefused => {
                self.tally.refused.add(1);
                self.lose(place);
            }
            Heard::Acked => self.acked(place)?,
            Heard::Wrong(number) if phase == Phase::AwaitingAck => {
                self.tally
                    .say_wrong(|| format!("{imei}: ack {number} for {n_records} records"));
                self.lose(place);
            }
            Heard::Wrong(number) => {
                self.tally
                    .say_wrong(|| format!("{imei}: {number:02X} is no answer to a login"));
                self.lose(place);
            }
            Heard::Unasked => {
                self.tally
                    .say_wrong(|| format!("{imei}: {bytes:02X?} came unasked"));
                self.lose(place);
            }
        }
        Ok(())
    }

    fn acked(&mut self, place: usize) -> io::Result<()> {
        let now_us = self.now_us();
        let device = &mut self.devices[place];
        self.latency.add(now_us.saturating_sub(device.sent_us));
        self.tally.acked.add(1);
        self.tally.acked_records.add(device.n_records() as u64);
        self.tally.unacked.subtract(1);
        if self.tally.remembers() {
            self.make_packet(place);
            let keys = match &self.plan.traffic {
                Traffic::Packets { template, .. } => template.keys(&self.packet).collect(),
                Traffic::Lives { .. } => lives::keys(&self.packet),
            };
            for (time_ms, digest) in keys {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    self.remembered,
                    "{} {time_ms} {digest}",
                    self.devices[place].imei
                );
            }
        }
        let device = &mut self.devices[place];
        device.acked();
        let done = self
            .plan
            .packets
            .is_some_and(|packets| device.n_acked >= packets);
        device.awaits(Phase::Ready);
        if let Some(interval_ms) = self.plan.interval_ms() {
            // Late packets do not bunch up: the rhythm goes on from now.
            device.next_packet_ms = (device.next_packet_ms + interval_ms).max(now_us / 1000);
        }
        if done || self.stopping {
            self.finish(place);
        } else {
            self.next(place);
        }
        Ok(())
    }

    /// A logged-in device sends its next packet, now or when it is due.
    fn next(&mut self, place: usize) {
        let device = &self.devices[place];
        let is_due = match &self.plan.traffic {
            Traffic::Packets { interval_ms, .. } => {
                interval_ms.is_none() || device.next_packet_ms <= self.now_ms()
            }
            // What comes next is asked for when it is sent.
            Traffic::Lives { .. } => true,
        };
        if device.has_packet() || is_due {
            self.send_packet(place);
        } else {
            self.plan_at(place, device.next_packet_ms);
        }
    }

    fn send_packet(&mut self, place: usize) {
        if self.devices[place].has_packet() {
            self.tally.resent.add(1);
        } else if self.stopping {
            return self.finish(place);
        } else if self.choose_packet(place) {
            self.tally.unacked.add(1);
        } else {
            return;
        }
        self.tally.sent.add(1);
        let now_us = self.now_us();
        let device = &mut self.devices[place];
        device.n_written = 0;
        device.is_written = false;
        device.sent_us = now_us;
        device.awaits(Phase::AwaitingAck);
        self.plan_at(place, now_us / 1000 + self.plan.answer_timeout_ms);
        self.write(place);
    }

    /// Chooses the packet that a device sends now; `false` if it sends none, but something else is planned.
    fn choose_packet(&mut self, place: usize) -> bool {
        let now_ms = self.now_ms();
        let device = &mut self.devices[place];
        let (clock, step) = match (&self.plan.traffic, &mut device.role, &mut self.teller) {
            (Traffic::Lives { clock, .. }, Role::Life(life, course), Some(teller)) => {
                (clock, course.step(teller, life, clock.life_ms(now_ms)))
            }
            (Traffic::Packets { template, .. }, ..) => {
                device.takes_off(device.next_flight(template, wall_ms()));
                return true;
            }
            _ => return false,
        };
        match step {
            Step::Send(flight) => {
                device.takes_off(flight);
                return true;
            }
            Step::Wait(_) | Step::Away(_) if clock.ends_with_past => self.finish(place),
            Step::Wait(life_ms) => {
                let due_ms = clock.elapsed_ms(life_ms).max(now_ms + 1);
                self.plan_at(place, due_ms);
            }
            Step::Away(life_ms) => {
                let due_ms = clock.elapsed_ms(life_ms).max(now_ms + 1);
                self.drop_stream(place);
                self.devices[place].awaits(Phase::Offline);
                self.plan_at(place, due_ms);
            }
            Step::Silent => self.finish(place),
        }
        false
    }

    /// Makes the packet in flight.
    fn make_packet(&mut self, place: usize) {
        let device = &self.devices[place];
        let Some(flight) = device.in_flight() else {
            return;
        };
        match (&self.plan.traffic, &device.role, &mut self.teller) {
            (Traffic::Packets { template, .. }, Role::Vehicle(vehicle), _) => {
                template.write(vehicle, flight.first_ms, &mut self.packet);
            }
            (Traffic::Lives { .. }, Role::Life(life, _), Some(teller)) => {
                teller.write(life, flight, &mut self.packet);
            }
            _ => {}
        }
    }

    /// Writes as much of the login or packet in flight as the socket takes.
    fn write(&mut self, place: usize) {
        let device = &mut self.devices[place];
        match device.phase {
            Phase::LoggingIn => {
                self.packet.clear();
                self.packet.extend_from_slice(&encode::login(device.imei));
            }
            Phase::AwaitingAck if !device.is_written => self.make_packet(place),
            _ => return,
        }
        let device = &mut self.devices[place];
        while device.n_written < self.packet.len() {
            let Some(stream) = self.streams[place].as_mut() else {
                return;
            };
            match stream.write(&self.packet[device.n_written..]) {
                Ok(n) => device.n_written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.lose(place),
            }
        }
        device.is_written = true;
    }
}

fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
