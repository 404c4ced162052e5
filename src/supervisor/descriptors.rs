//! How many of the process's descriptors sessions may have: all but those that the rest of it needs, so that a fleet that
//! connects all at once never keeps the writers from the database.

use std::fs;

use crate::web::CONNECTIONS_MAX;

/// What the process needs beside ports, writers and sessions: log, signals, control socket, directory, keeper,
/// drain, spool, look-ups.
const RESERVE: usize = 64;
/// A listening socket twice, a readiness wait and its waker.
const PER_PORT: usize = 4;
/// A connection, its client's readiness wait and waker, and the probe of the next connection.
const PER_WRITER: usize = 6;
/// The web's connections, its listening sockets twice, its readiness wait and what that is woken by.
const WEB: usize = CONNECTIONS_MAX + 8;
/// However low the limit is, some sessions there are.
const SESSIONS_MIN: usize = 16;

/// Sessions that fit, by the soft limit of open files; without a limit that can be read, any number.
pub(super) fn sessions_max(n_ports: usize, n_writers: usize, has_web: bool) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    sessions_by(&limits, n_ports, n_writers, has_web)
}

/// The same by the text of a process's `/proc/PID/limits`.
pub fn sessions_by(limits: &str, n_ports: usize, n_writers: usize, has_web: bool) -> usize {
    let kept =
        RESERVE + PER_PORT * n_ports + PER_WRITER * n_writers + if has_web { WEB } else { 0 };
    soft_limit(limits)
        .map_or(usize::MAX, |limit| limit.saturating_sub(kept))
        .max(SESSIONS_MIN)
}

/// The soft limit in the text of `/proc/PID/limits`; `None` when it is unlimited.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             96000                96000                processes \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        let unlimited =
            "Max open files            unlimited            unlimited            files     \n";
        assert_eq!(soft_limit(unlimited), None);
    }

    #[test]
    fn ports_and_writers_have_their_descriptors() {
        let few = sessions_max(1, 1, false);
        assert!(
            few > sessions_max(100, 1, false),
            "here the soft limit is a number"
        );
        assert_eq!(few - sessions_max(1, 1, true), WEB);
        assert_eq!(sessions_max(usize::MAX / 8, 1, false), SESSIONS_MIN);
    }
}
