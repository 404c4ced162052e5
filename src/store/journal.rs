//! What operators look up when something does not arrive: refused logins, and what happened to threads.
//!
//! Knows two tables that nothing in the program reads. Both are bounded: `login_attempt` by rows, `port_event` by age.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use postgres::Client;

use super::error::StoreError;

/// Rows of `login_attempt`; the oldest beyond are removed.
pub const LOGIN_ATTEMPTS_MAX: i64 = 100_000;

/// How long `port_event` goes back.
pub const PORT_EVENTS_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// Logins of one IMEI on one port that were refused since the last flush.
#[derive(Clone, Debug, PartialEq)]
pub struct LoginAttempt {
    /// What was said instead of a known IMEI; at most as long as a login may be.
    pub imei: String,
    /// The port as it is named: `[::]:5027`.
    pub port: String,
    /// How many.
    pub n_attempts: i64,
    /// The first of them.
    pub first_at: SystemTime,
    /// The last of them.
    pub last_at: SystemTime,
    /// From where the last came.
    pub last_address: Option<IpAddr>,
    /// Why it was refused.
    pub reason: String,
}

/// Something that happened to a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct PortEvent {
    /// When.
    pub at: SystemTime,
    /// The thread's name: `port [::]:5027`, `writer-0`.
    pub thread: String,
    /// The start number of the thread.
    pub generation: i64,
    /// `start`, `death`, `silent`, `restart`, `stop`, `bind_failed`.
    pub event: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
}

/// Adds refused logins to what is there, one row per IMEI and port. Each pair is given once at most.
///
/// # Errors
/// When the database refuses or does not answer; nothing is counted then.
pub fn add_login_attempts(
    client: &mut Client,
    attempts: &[LoginAttempt],
) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let mut attempts: Vec<&LoginAttempt> = attempts.iter().collect();
    attempts.sort_by_key(|one| (&one.imei, &one.port));
    let of = |value: fn(&LoginAttempt) -> &str| -> Vec<String> {
        attempts
            .iter()
            .map(|one| value(one).replace('\0', "\u{fffd}"))
            .collect()
    };
    let (imeis, ports, reasons) = (
        of(|one| &one.imei),
        of(|one| &one.port),
        of(|one| &one.reason),
    );
    let counts: Vec<i64> = attempts.iter().map(|one| one.n_attempts).collect();
    let first: Vec<SystemTime> = attempts.iter().map(|one| one.first_at).collect();
    let last: Vec<SystemTime> = attempts.iter().map(|one| one.last_at).collect();
    let addresses: Vec<Option<IpAddr>> = attempts.iter().map(|one| one.last_address).collect();
    let mut transaction = client.transaction()?;
    transaction.execute(
        "INSERT INTO trackport.login_attempt AS a (imei, port, n_attempts, first_at, last_at, last_address, reason)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::inet[], $7::text[])
         ON CONFLICT (imei, port) DO UPDATE SET
             n_attempts = a.n_attempts + excluded.n_attempts,
             last_at = greatest(a.last_at, excluded.last_at),
             last_address = excluded.last_address,
             reason = excluded.reason",
        &[&imeis, &ports, &counts, &first, &last, &addresses, &reasons],
    )?;
    transaction.execute(
        "DELETE FROM trackport.login_attempt WHERE (imei, port) IN (
             SELECT imei, port FROM trackport.login_attempt ORDER BY last_at DESC OFFSET $1)",
        &[&LOGIN_ATTEMPTS_MAX],
    )?;
    transaction.commit()?;
    Ok(())
}

/// Writes down what happened to threads.
///
/// # Errors
/// When the database refuses or does not answer; none is written then.
pub fn add_port_events(client: &mut Client, events: &[PortEvent]) -> Result<(), StoreError> {
    let at: Vec<SystemTime> = events.iter().map(|one| one.at).collect();
    let threads: Vec<&str> = events.iter().map(|one| one.thread.as_str()).collect();
    let generations: Vec<i64> = events.iter().map(|one| one.generation).collect();
    let kinds: Vec<&str> = events.iter().map(|one| one.event.as_str()).collect();
    let reasons: Vec<Option<String>> = events
        .iter()
        .map(|one| {
            one.reason
                .as_ref()
                .map(|text| text.replace('\0', "\u{fffd}"))
        })
        .collect();
    client.execute(
        "INSERT INTO trackport.port_event (at, thread, generation, event, reason)
         SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::text[], $5::text[])",
        &[&at, &threads, &generations, &kinds, &reasons],
    )?;
    Ok(())
}

/// Events of threads, the newest first, `limit` of them behind the first `offset`; and how many there are in all.
///
/// # Errors
/// When the database does not answer.
pub fn port_events(
    client: &mut Client,
    offset: i64,
    limit: i64,
) -> Result<(Vec<PortEvent>, i64), StoreError> {
    let total = client
        .query_one("SELECT count(*) FROM trackport.port_event", &[])?
        .get(0);
    let rows = client.query(
        "SELECT at, thread, generation, event, reason FROM trackport.port_event ORDER BY at DESC, id DESC OFFSET $1 LIMIT $2",
        &[&offset, &limit],
    )?;
    let events = rows.iter().map(|row| PortEvent {
        at: row.get(0),
        thread: row.get(1),
        generation: row.get(2),
        event: row.get(3),
        reason: row.get(4),
    });
    Ok((events.collect(), total))
}

/// A refused login and what is decided about its device.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Who wanted in, and when.
    pub attempt: LoginAttempt,
    /// What the device may do; `None`: nobody has added it.
    pub state: Option<String>,
}

/// Refused logins, the newest first, `limit` of them behind the first `offset`; and how many there are in all. Those of devices that are
/// let in by now only where `with_accepted`.
///
/// # Errors
/// When the database does not answer.
pub fn login_attempts(
    client: &mut Client,
    with_accepted: bool,
    offset: i64,
    limit: i64,
) -> Result<(Vec<Refused>, i64), StoreError> {
    const FROM: &str =
        "FROM trackport.login_attempt a LEFT JOIN trackport.device d ON d.imei = a.imei
         WHERE $1 OR d.state IS DISTINCT FROM 'accepted'";
    let total = client
        .query_one(&format!("SELECT count(*) {FROM}"), &[&with_accepted])?
        .get(0);
    let rows = client.query(
        &format!(
            "SELECT a.imei, a.port, a.n_attempts, a.first_at, a.last_at, a.last_address, a.reason, d.state {FROM}
             ORDER BY a.last_at DESC, a.imei, a.port OFFSET $2 LIMIT $3"
        ),
        &[&with_accepted, &offset, &limit],
    )?;
    let refused = rows.iter().map(|row| Refused {
        attempt: LoginAttempt {
            imei: row.get(0),
            port: row.get(1),
            n_attempts: row.get(2),
            first_at: row.get(3),
            last_at: row.get(4),
            last_address: row.get(5),
            reason: row.get(6),
        },
        state: row.get(7),
    });
    Ok((refused.collect(), total))
}

/// Removes events older than `PORT_EVENTS_KEPT` before `now`; returns how many.
///
/// # Errors
/// When the database refuses or does not answer.
pub fn drop_old_port_events(client: &mut Client, now: SystemTime) -> Result<u64, StoreError> {
    let Some(oldest) = now.checked_sub(PORT_EVENTS_KEPT) else {
        return Ok(0);
    };
    Ok(client.execute("DELETE FROM trackport.port_event WHERE at < $1", &[&oldest])?)
}
