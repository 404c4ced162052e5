//! How often somebody may try passwords: by name and by network, with pauses that grow.
//!
//! An attempt counts as failed until it has succeeded, so that a hundred at once are a hundred. While a pause lasts nothing is tried,
//! nothing is counted and the database is not asked. Invariant: `ENTRIES_MAX` names and as many networks are remembered.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names, and networks, that are remembered; beyond, the quarter that was quiet longest is forgotten.
const ENTRIES_MAX: usize = 10_000;
/// A name or network that was quiet for so long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// The first pause; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Failures without a pause, and the longest pause: short enough that strangers who know a name cannot keep its owner out for long.
const OF_NAME: Rule = Rule {
    free: 5,
    longest: Duration::from_secs(60),
};
/// Behind one address may be a whole office.
const OF_NETWORK: Rule = Rule {
    free: 20,
    longest: Duration::from_secs(900),
};

struct Rule {
    free: u32,
    longest: Duration,
}

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    last: Instant,
    /// Nothing is tried before.
    until: Instant,
}

/// Who tried how often.
#[derive(Default)]
pub(super) struct Limits {
    tries: Mutex<Tries>,
}

#[derive(Default)]
struct Tries {
    names: HashMap<String, Entry>,
    networks: HashMap<IpAddr, Entry>,
}

impl Limits {
    /// Counts an attempt to log in as `name` from `network`.
    ///
    /// # Errors
    /// How long to wait when it must not be made now; it is not counted then.
    pub(super) fn attempt(
        &self,
        name: &str,
        network: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let name = key(name);
        let wait = pause(&tries.names, &name, now).max(pause(&tries.networks, &network, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        count(&mut tries.names, name, &OF_NAME, now);
        count(&mut tries.networks, network, &OF_NETWORK, now);
        Ok(())
    }

    /// The attempt was right: the name begins anew, and the network is as it was before. Somebody's own login does not wash off
    /// what they tried on others.
    pub(super) fn succeeded(&self, name: &str, network: IpAddr, now: Instant) {
        self.not_made(name, network, now);
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.names.remove(&key(name));
    }

    /// The attempt came to nothing for other reasons, for example without a database.
    pub(super) fn not_made(&self, name: &str, network: IpAddr, now: Instant) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let Tries { names, networks } = &mut *tries;
        for entry in [names.get_mut(&key(name)), networks.get_mut(&network)]
            .into_iter()
            .flatten()
        {
            entry.failures = entry.failures.saturating_sub(1);
            entry.until = now;
        }
    }
}

/// Names are told apart as the table does.
fn key(name: &str) -> String {
    name.chars().take(100).collect::<String>().to_lowercase()
}

fn pause<K: Eq + Hash>(entries: &HashMap<K, Entry>, key: &K, now: Instant) -> Duration {
    entries.get(key).map_or(Duration::ZERO, |entry| {
        entry.until.saturating_duration_since(now)
    })
}

fn count<K: Eq + Hash>(entries: &mut HashMap<K, Entry>, key: K, rule: &Rule, now: Instant) {
    let is_old = |entry: &Entry| now.saturating_duration_since(entry.last) > FORGOTTEN_AFTER;
    if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
        entries.retain(|_, entry| !is_old(entry));
        if entries.len() >= ENTRIES_MAX {
            let mut lasts: Vec<Instant> = entries.values().map(|entry| entry.last).collect();
            let (_, middle, _) = lasts.select_nth_unstable(ENTRIES_MAX / 4);
            let middle = *middle;
            entries.retain(|_, entry| entry.last > middle);
        }
    }
    let fresh = Entry {
        failures: 0,
        last: now,
        until: now,
    };
    let entry = entries.entry(key).or_insert(fresh);
    if is_old(entry) {
        *entry = fresh;
    }
    entry.failures = entry.failures.saturating_add(1);
    entry.last = now;
    if let Some(beyond) = entry.failures.checked_sub(rule.free) {
        let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(16));
        entry.until = now + pause.min(rule.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn other(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn pauses_of_a_name_grow_and_end() {
        let limits = Limits::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for number in 0..14 {
            if let Err(wait) = limits.attempt("Anna", other(number), now) {
                pauses.push(wait.as_secs());
                now += wait;
                limits.attempt("ANNA", other(number), now).unwrap();
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(limits.attempt("berta", HERE, now).is_ok());
        now += FORGOTTEN_AFTER + Duration::from_secs(61);
        for _ in 0..5 {
            limits.attempt("anna", HERE, now).unwrap();
        }
    }

    #[test]
    fn whoever_is_right_begins_anew_and_others_of_the_network_do_not() {
        let limits = Limits::default();
        let now = Instant::now();
        for round in 0..4 {
            for number in 0..4 {
                limits
                    .attempt(&format!("{round}{number}"), HERE, now)
                    .unwrap();
            }
            limits.attempt("anna", HERE, now).unwrap();
            limits.succeeded("anna", HERE, now);
        }
        for _ in 0..4 {
            limits.attempt("eve", HERE, now).unwrap();
        }
        assert!(limits.attempt("anna", HERE, now).is_err(), "the network");
        assert!(limits.attempt("anna", other(1), now).is_ok());
    }

    #[test]
    fn without_a_database_nothing_is_counted() {
        let limits = Limits::default();
        let now = Instant::now();
        for _ in 0..100 {
            limits.attempt("anna", HERE, now).unwrap();
            limits.not_made("anna", HERE, now);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let limits = Limits::default();
        let mut now = Instant::now();
        for number in 0..30_000 {
            now += Duration::from_millis(1);
            let _ = limits.attempt(&number.to_string(), other(number), now);
        }
        let tries = limits.tries.lock().unwrap();
        assert!(tries.names.len() <= ENTRIES_MAX && tries.networks.len() <= ENTRIES_MAX);
        assert!(tries.names.contains_key("29999"));
    }
}
