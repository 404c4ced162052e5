//! The notable facts: each has one name, one level and one counter, and its lines are rate-limited.
//!
//! A fact that happens often is written `LINES_MAX` times per `WINDOW_MS` and then only counted; the next window
//! opens with "and N more". Levels have a fixed meaning: error = data in danger or a person needed; warn = odd, recovered,
//! nothing lost; info = lifecycle; debug = per connection. No fact carries an IMEI in its name, so counters stay few.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use log::kv::Value;
use log::{Level, Record};

use crate::clock::{self, Millis};
use crate::logging;

/// Lines of one fact in one window.
pub const LINES_MAX: u32 = 20;
/// Length of a window.
pub const WINDOW_MS: Millis = 10_000;

macro_rules! facts {
    ($($(#[$doc:meta])* $fact:ident $name:literal $level:ident;)*) => {
        /// One kind of notable fact.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Fact { $($(#[$doc])* $fact,)* }

        impl Fact {
            /// Every fact there is.
            pub const ALL: &'static [Fact] = &[$(Fact::$fact,)*];

            /// The fact's fixed words, the same in log and counters.
            pub fn name(self) -> &'static str {
                match self { $(Fact::$fact => $name,)* }
            }

            /// How grave it is.
            pub fn level(self) -> Level {
                match self { $(Fact::$fact => Level::$level,)* }
            }
        }
    };
}

facts! {
    /// The process begins or ends.
    Daemon "daemon" Info;
    /// A thread started.
    ThreadStarted "thread started" Info;
    /// A thread ended because it was asked to.
    ThreadEnded "thread ended" Info;
    /// A thread died; another takes its place.
    ThreadDied "thread died" Error;
    /// A thread stopped beating; another takes its place.
    ThreadSilent "thread silent" Error;
    /// A retired thread came back to life and ended.
    ZombieEnded "retired thread ended" Info;
    /// So many retired threads live on that the process ends for systemd to restart it.
    TooManyZombies "too many retired threads" Error;
    /// A port listens.
    PortBound "port bound" Info;
    /// A port cannot be bound; the others run, this one is tried again.
    PortNotBound "port not bound" Error;
    /// A port is bound in one address family only, or the like.
    PortPartly "port bound in part" Warn;
    /// systemd passed a socket that no port wants: it was closed.
    SocketUnwanted "socket not wanted" Warn;
    /// A port was taken out of the conf.
    PortRemoved "port removed" Info;
    /// The web listens.
    WebBound "web bound" Info;
    /// The web cannot be bound; it is tried again, everything else runs.
    WebNotBound "web not bound" Error;
    /// The web was taken out of the conf, or moved.
    WebClosed "web closed" Info;
    /// The web has as many connections as it may have.
    WebFull "web full" Warn;
    /// The positions on the web are not kept true, because the database does not answer; they are shown as they were.
    LiveAway "live positions stand still" Warn;
    /// A question that a page asked the database was not answered, for a reason that is no fault of whoever asked.
    WebQuestionFailed "web question failed" Warn;
    /// One client has as many connections to the web as one may have.
    WebAddressFull "web address full" Warn;
    /// The web's certificate was read, or read again.
    WebCertificate "web certificate" Info;
    /// The web's certificate cannot be used; the one before is.
    WebCertificateBad "web certificate not usable" Error;
    /// Somebody gave a wrong name or password to the web.
    WebLoginFailed "web login failed" Warn;
    /// Somebody who gave wrong passwords has to wait.
    WebLoginsSlowed "web logins slowed down" Warn;
    /// The conf was read again.
    ConfReloaded "conf reloaded" Info;
    /// The conf cannot be used; nothing changed.
    ConfBad "conf refused" Error;
    /// A changed key waits for a restart.
    ConfNeedsRestart "conf change needs a restart" Warn;
    /// Something in the conf is allowed but odd.
    ConfOdd "conf odd" Warn;
    /// State asked for by USR2.
    State "state" Info;
    /// A connection was accepted.
    Connected "connected" Debug;
    /// A connection was closed.
    Disconnected "disconnected" Debug;
    /// A device logged in.
    LoginAccepted "login accepted" Debug;
    /// A device was answered 00.
    LoginRefused "login refused" Warn;
    /// Nobody can tell whether the device is known; nothing is answered.
    LoginWaits "login waits for the device list" Warn;
    /// A connection that never said who it is.
    LoginTimeout "login time-out" Warn;
    /// A logged-in device sent nothing for longer than `idle`.
    IdleTimeout "idle time-out" Debug;
    /// A packet was begun and not ended in time.
    PacketTimeout "packet time-out" Warn;
    /// A connection ended in the middle of a packet.
    PacketStopped "packet stopped half way" Debug;
    /// The bytes are not the port's protocol.
    NotTheProtocol "not the protocol" Warn;
    /// A packet came before any login.
    PacketBeforeLogin "packet before login" Warn;
    /// An address outside the port's `allow`.
    AddressNotAllowed "address not allowed" Warn;
    /// The port's sessions are at their limit.
    PortFull "port full" Warn;
    /// An address has too many sessions that did not log in.
    AddressFull "address full" Warn;
    /// The IMEI's check digit is wrong; accepted all the same.
    ImeiOdd "imei check digit" Warn;
    /// A device logged in again while an old session of it was open.
    TakenOver "session taken over" Info;
    /// Two connections of one IMEI push each other out; the newer one waits.
    TakeOverDamped "take-overs damped" Warn;
    /// A device logs in too often; the login waits.
    LoginsSlowed "logins slowed down" Warn;
    /// A device sends too much; it is read later.
    DeviceSlowed "device slowed down" Warn;
    /// A device reads no answers.
    AnswersNotRead "answers not read" Warn;
    /// The device sends on without waiting for acks.
    SendsBeforeAck "device does not wait for acks" Warn;
    /// A packet that cannot be read.
    PacketBroken "packet broken" Warn;
    /// An unreadable packet came a third time: kept for good and acked.
    PacketQuarantined "packet quarantined" Error;
    /// A device's quarantine has no room left; a person is needed.
    QuarantineFull "quarantine full" Error;
    /// Packets that were acked are in quarantine, the only copies, and nobody has looked at them.
    QuarantineAlert "acked packets in quarantine" Error;
    /// The database refused a packet; it is in quarantine and acked.
    PacketRefused "packet refused by the database" Error;
    /// Receive buffers are at their limit; the oldest half packet was dropped with its session.
    ReceiveFull "receive budget used up" Warn;
    /// Sessions are not read because too much is kept of them.
    ReadingRests "reading rests" Warn;
    /// Ports stopped reading because writers are behind.
    QueueFull "queue full" Warn;
    /// No descriptors left; accepting goes on when some are free.
    NoDescriptors "no descriptors left" Error;
    /// Accepting failed otherwise.
    AcceptFailed "accept failed" Warn;
    /// A session was closed from outside: the device was refused, or somebody asked.
    SessionClosed "session closed" Info;
    /// A device is kept out because its session stopped a thread.
    DeviceKeptOut "device kept out" Warn;
    /// A command frame arrived (codec 12 to 15).
    CommandFrame "command frame" Debug;
    /// The database answers.
    DatabaseUp "database connected" Info;
    /// The database does not answer; what waits too long for it goes to the spool.
    DatabaseAway "database away" Error;
    /// The database needs a person.
    DatabaseRefuses "database needs a person" Error;
    /// The spool is open.
    SpoolOpened "spool opened" Info;
    /// The spool cannot be opened: without the database nothing is acked.
    SpoolUnusable "spool not usable" Error;
    /// Packets go to the spool, because the database is away or too slow.
    SpoolTakes "spool takes packets" Warn;
    /// The database takes packets again; what is in the spool is brought to it.
    SpoolRests "spool rests" Info;
    /// Everything that was in the spool is in the database.
    SpoolDrained "spool drained" Info;
    /// The spool is at its bound: without the database nothing more is acked.
    SpoolFull "spool full" Error;
    /// The spool's disk refused something.
    SpoolFailed "spool failed" Error;
    /// Bytes in the spool cannot be read; they are kept under another name.
    SpoolDamaged "spool damaged" Error;
    /// A crash interrupted the last write to the spool; what was being written was not acked.
    SpoolTorn "spool write was interrupted" Warn;
    /// Segments that somebody imported were taken in.
    SpoolAdopted "spool import" Info;
    /// An old backend of ours was ended before its successor writes.
    BackendEnded "old backend ended" Warn;
    /// A batch met rows that are there already and goes through staging.
    BatchRestaged "batch had known records" Debug;
    /// A batch was rolled back because of another transaction, and is tried again.
    BatchCollided "batch collided" Info;
    /// A batch was refused and is taken apart.
    BatchSplit "batch split" Warn;
    /// Deliveries were given back un-acked.
    DeliveriesDropped "deliveries not acked" Warn;
    /// The schema was changed.
    Migrated "schema migrated" Info;
    /// The schema cannot be used.
    SchemaBad "schema not usable" Error;
    /// Partitions were made.
    PartitionsMade "partitions made" Info;
    /// Partitions were dropped by retention.
    PartitionsDropped "partitions dropped" Info;
    /// Clocks or records disagree about the time: nothing is removed by its age until a person has looked.
    ClockDoubted "clock in doubt" Error;
    /// The wall clock was set, or the machine slept.
    ClockStepped "wall clock stepped" Warn;
    /// Housekeeping failed and is tried again.
    KeeperFailed "housekeeping failed" Warn;
    /// A device's typed columns are filled anew, because its model changed.
    Recomputed "typed columns recomputed" Info;
    /// Filling typed columns anew failed and is tried again.
    RecomputeFailed "recompute failed" Warn;
    /// Side notes were dropped because their queue was full; records are not among them.
    NotesDropped "side notes dropped" Warn;
    /// The device list was loaded.
    DirectoryLoaded "device list loaded" Info;
    /// The copy of the device list on disk was loaded, because the database is away.
    RosterLoaded "device list loaded from its copy" Warn;
    /// The copy of the device list cannot be read or written.
    RosterFailed "copy of the device list failed" Warn;
    /// A new device was let in while the database is away; it is registered later.
    DeviceLetIn "device let in, registered later" Info;
    /// A device was registered by `accept = "any"`.
    DeviceRegistered "device registered" Info;
    /// A device was erased; no word of which.
    DeviceForgotten "device forgotten" Info;
    /// `max_new_devices` is used up.
    RegistrationLimit "registration limit" Warn;
    /// A request over the control socket was not understood or failed.
    ControlFailed "control request failed" Warn;
    /// A device is looked at by `trackport trace`.
    Traced "trace" Info;
    /// systemd could not be told.
    NotifyFailed "systemd not told" Warn;
    /// The watchdog is not fed.
    WatchdogStarved "watchdog not fed" Error;
}

/// Keeps a trouble that lasts from filling the log: told when it begins or changes, then once a minute.
#[derive(Debug, Default)]
pub struct Reminder {
    text: String,
    told_at: Millis,
    since: Millis,
}

/// How often a lasting trouble is told again.
const REMIND_EVERY_MS: Millis = 60_000;

impl Reminder {
    /// Whether to tell of `text` now; if so, for how many seconds it has lasted.
    pub fn is_due(&mut self, text: &str, now: Millis) -> Option<u64> {
        if self.text.is_empty() {
            self.since = now;
        }
        if self.text == text && now.saturating_sub(self.told_at) < REMIND_EVERY_MS {
            return None;
        }
        text.clone_into(&mut self.text);
        self.told_at = now;
        Some(now.saturating_sub(self.since) / 1000)
    }

    /// The trouble is over.
    pub fn is_over(&mut self) {
        self.text.clear();
    }
}

struct Tally {
    /// Where in the source it was said first: lines of that module say how many were folded.
    from: OnceLock<&'static Location<'static>>,
    total: AtomicU64,
    window: AtomicU64,
    lines: AtomicU32,
    folded: AtomicU64,
}

static TALLIES: [Tally; Fact::ALL.len()] = [const {
    Tally {
        from: OnceLock::new(),
        total: AtomicU64::new(0),
        window: AtomicU64::new(0),
        lines: AtomicU32::new(0),
        folded: AtomicU64::new(0),
    }
}; Fact::ALL.len()];

/// The last line of a fact that was odd or worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Which.
    pub fact: Fact,
    /// Its details.
    pub text: String,
    /// Microseconds since 1970 UTC.
    pub at_us: i64,
}

/// Of each fact its last line, one at most; touched only where a line is written.
static REMARKS: Mutex<Vec<Remark>> = Mutex::new(Vec::new());

fn remember(fact: Fact, details: &fmt::Arguments<'_>) {
    if fact.level() > Level::Warn {
        return;
    }
    let remark = Remark {
        fact,
        text: details.to_string(),
        at_us: clock::wall_us(),
    };
    let mut remarks = REMARKS.lock().unwrap_or_else(PoisonError::into_inner);
    remarks.retain(|one| one.fact != fact);
    remarks.push(remark);
}

/// Of each fact that was odd or worse its last line, the last first.
pub fn remarks() -> Vec<Remark> {
    let remarks = REMARKS.lock().unwrap_or_else(PoisonError::into_inner);
    remarks.iter().rev().cloned().collect()
}

/// Counts `fact` and writes its line: `details` are words, then `key=value` pairs, then what helps, as `logging::fields` has it.
#[track_caller]
pub fn say(fact: Fact, details: fmt::Arguments<'_>) {
    let from = Location::caller();
    TALLIES[fact as usize].from.get_or_init(|| from);
    say_at(fact, clock::now(), |folded| {
        remember(fact, &details);
        write(
            fact,
            folded,
            details,
            &logging::target(from.file()),
            Some(from),
        );
    });
}

/// Writes one more line of a fact that was said, not counted and never folded: for lists that somebody asked for.
#[track_caller]
pub fn tell(fact: Fact, details: fmt::Arguments<'_>) {
    let from = Location::caller();
    write(
        fact,
        Folded::NONE,
        details,
        &logging::target(from.file()),
        Some(from),
    );
}

/// Lines of a fact that were only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folded {
    n: u64,
    /// Since the window in which they were began.
    seconds: u64,
}

impl Folded {
    const NONE: Folded = Folded { n: 0, seconds: 0 };
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "and {} more in {} s", self.n, self.seconds)
    }
}

fn write(
    fact: Fact,
    folded: Folded,
    details: fmt::Arguments<'_>,
    target: &str,
    from: Option<&Location<'_>>,
) {
    // The text is made only where somebody hears it.
    if !log::log_enabled!(target: target, fact.level()) {
        return;
    }
    let name = fact.name();
    let line = match folded.n {
        0 => format!("{name} {details}"),
        _ => format!("{name} ({folded}) {details}"),
    };
    let pairs = [
        (logging::FACT, Value::from(name)),
        (logging::FOLDED, Value::from(folded.n)),
    ];
    log::logger().log(
        &Record::builder()
            .level(fact.level())
            .target(target)
            .file(from.map(Location::file))
            .line(from.map(Location::line))
            .key_values(&pairs)
            .args(format_args!("{}", line.trim_end()))
            .build(),
    );
}

/// Counts `fact` without a line.
pub fn count(fact: Fact) {
    TALLIES[fact as usize].total.fetch_add(1, Ordering::Relaxed);
}

/// Writes "and N more" for facts whose window has ended, so that a storm's size is told even when it is over.
pub fn flush(now: Millis) {
    for &fact in Fact::ALL {
        let tally = &TALLIES[fact as usize];
        let since = tally.window.load(Ordering::Relaxed);
        if tally.folded.load(Ordering::Relaxed) > 0 && now.saturating_sub(since) >= WINDOW_MS {
            let folded = tally.folded(now, since);
            let from = tally.from.get().copied();
            let target = from.map_or("trackport".into(), |from| logging::target(from.file()));
            write(fact, folded, format_args!(""), &target, from);
        }
    }
}

/// Every fact that happened, with how often.
pub fn totals() -> Vec<(&'static str, u64)> {
    Fact::ALL
        .iter()
        .map(|&fact| {
            (
                fact.name(),
                TALLIES[fact as usize].total.load(Ordering::Relaxed),
            )
        })
        .filter(|&(_, total)| total > 0)
        .collect()
}

/// How often `fact` happened.
pub fn total(fact: Fact) -> u64 {
    TALLIES[fact as usize].total.load(Ordering::Relaxed)
}

impl Tally {
    /// What was folded, taken out.
    fn folded(&self, now: Millis, since: Millis) -> Folded {
        // The process may end in the middle of a window.
        let seconds = now
            .min(clock::now().max(since))
            .saturating_sub(since)
            .div_ceil(1000);
        let n = self.folded.swap(0, Ordering::Relaxed);
        Folded { n, seconds }
    }
}

fn say_at(fact: Fact, now: Millis, write: impl FnOnce(Folded)) {
    let tally = &TALLIES[fact as usize];
    tally.total.fetch_add(1, Ordering::Relaxed);
    let window = tally.window.load(Ordering::Relaxed);
    if now.saturating_sub(window) >= WINDOW_MS
        && tally
            .window
            .compare_exchange(window, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        tally.lines.store(1, Ordering::Relaxed);
        write(tally.folded(now, window));
    } else if tally.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX {
        write(Folded::NONE);
    } else {
        tally.folded.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_trouble_is_told_once_a_minute() {
        let mut reminder = Reminder::default();
        let told: Vec<Option<u64>> = [0, 5_000, 61_000, 62_000]
            .map(|at| reminder.is_due("no server", 100_000 + at))
            .into();
        assert_eq!(told, [Some(0), None, Some(61), None]);
        assert_eq!(reminder.is_due("no such database", 163_000), Some(63));
        reminder.is_over();
        assert_eq!(reminder.is_due("no such database", 164_000), Some(0));
    }

    #[test]
    fn the_last_line_of_what_is_odd_is_kept_and_of_what_is_usual_is_not() {
        say(Fact::RegistrationLimit, format_args!("n=1"));
        say(Fact::Connected, format_args!("peer=x"));
        say(Fact::RegistrationLimit, format_args!("n=2"));
        let remarks = remarks();
        let of = |fact| remarks.iter().filter(move |one| one.fact == fact);
        let texts: Vec<&str> = of(Fact::RegistrationLimit)
            .map(|one| one.text.as_str())
            .collect();
        assert_eq!(texts, ["n=2"]);
        assert_eq!(of(Fact::Connected).count(), 0);
    }

    #[test]
    fn a_storm_of_one_fact_is_folded_and_counted() {
        let mut lines = Vec::new();
        let begun = clock::now() + WINDOW_MS;
        for i in 0..1000 {
            say_at(Fact::CommandFrame, begun + i, |folded| lines.push(folded.n));
        }
        assert_eq!(lines, [0; LINES_MAX as usize]);
        say_at(Fact::CommandFrame, begun + WINDOW_MS, |folded| {
            lines.push(folded.n);
        });
        assert_eq!(lines.last(), Some(&980));
        assert_eq!(total(Fact::CommandFrame), 1001);
    }
}
