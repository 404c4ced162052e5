//! Any text as a conf file: nothing panics, and what is accepted lies within its bounds.

#![no_main]

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use trackport::conf::{
    Complaint, Conf, KeepFree, PartitionWidth, PortChanges, parse, parse_duration, parse_listen,
    parse_size, show_duration, show_size,
};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else {
        return Corpus::Reject;
    };
    values_by_themselves(text);
    let n_lines = text.split('\n').count();
    match parse(text, "fuzz.toml") {
        Ok(conf) => {
            within_bounds(&conf);
            conf.warnings
                .iter()
                .for_each(|warning| told_well(warning, n_lines));
            assert_eq!(conf.port_changes(&conf), PortChanges::default());
            assert!(conf.needs_restart(&conf).is_empty());
            assert_eq!(parse(text, "fuzz.toml").as_ref(), Ok(&conf));
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
            errors.0.iter().for_each(|error| told_well(error, n_lines));
        }
    }
    Corpus::Keep
});

/// The text as the one value of a key.
fn values_by_themselves(text: &str) {
    if let Ok(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
    }
    if let Ok(size) = parse_size(text) {
        assert_eq!(parse_size(&show_size(size)), Ok(size));
    }
    if let Ok(listens) = parse_listen(text) {
        assert!(!listens.is_empty() && listens.len() <= 65_535);
    }
}

fn told_well(complaint: &Complaint, n_lines: usize) {
    assert!(!complaint.text.is_empty());
    assert!(complaint.to_string().starts_with("fuzz.toml:"));
    if let Some(line) = complaint.line {
        assert!((1..=n_lines).contains(&line), "line {line} of {n_lines}");
    }
}

fn within_bounds(conf: &Conf) {
    assert!((1..=16).contains(&conf.database.writers));
    assert!((255..=100_000).contains(&conf.database.batch_records));
    assert!((16 << 20..=1 << 50).contains(&conf.spool.max_size));
    assert!(conf.spool.directory.is_absolute());
    match conf.spool.keep_free {
        KeepFree::Percent(percent) => assert!(percent <= 90),
        KeepFree::Bytes(bytes) => assert!(bytes <= 1 << 50),
    }
    assert!(conf.devices.max_new_devices <= 1_000_000);
    retention_within_bounds(conf);
    ports_within_bounds(conf);
    assert!(is_socket_path(&conf.control.socket));

    let timeouts = &conf.timeouts;
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let short = Duration::from_millis(100);
    let long = Duration::from_secs(600);
    assert!((short..=hours(1)).contains(&timeouts.login) && timeouts.login <= timeouts.idle);
    assert!((short..=hours(30 * 24)).contains(&timeouts.idle));
    assert!((short..=hours(1)).contains(&timeouts.packet) && timeouts.packet <= timeouts.idle);
    let ack_target = timeouts.ack_target;
    assert!(
        (short / 2..=Duration::from_secs(60)).contains(&ack_target) && ack_target <= timeouts.stop
    );
    assert!((short..=hours(1)).contains(&timeouts.statement));
    assert!((short..=long).contains(&timeouts.tcp) && timeouts.tcp <= timeouts.stop);
    assert!((Duration::from_secs(1)..=long).contains(&timeouts.silent_after));
    assert!((Duration::from_secs(1)..=long).contains(&timeouts.stop));

    let limits = &conf.limits;
    assert!((2 << 10..=16 << 20).contains(&limits.packet));
    assert!((limits.packet..=1 << 40).contains(&limits.receive) && limits.receive >= 64 << 10);
    assert!((limits.packet..=1 << 40).contains(&limits.queue) && limits.queue >= 64 << 10);
    assert!((1..=10_000_000).contains(&limits.sessions_per_port));
    assert!((1..=10_000_000).contains(&limits.sessions_per_address));
    assert!((1..=60_000).contains(&limits.logins_per_minute));
    assert!((16 << 10..=1 << 40).contains(&limits.bytes_per_second));
}

fn retention_within_bounds(conf: &Conf) {
    let days = match conf.retention.partition {
        PartitionWidth::Day => 1,
        PartitionWidth::Week => 7,
        PartitionWidth::Month => 31,
    };
    if let Some(keep) = conf.retention.keep {
        let day = 86_400;
        assert!((days * day..=36_600 * day).contains(&keep.as_secs()));
    }
}

fn ports_within_bounds(conf: &Conf) {
    assert!((1..=4000).contains(&conf.ports.len()));
    let different: HashSet<_> = conf.ports.iter().map(|port| &port.listen).collect();
    assert_eq!(different.len(), conf.ports.len(), "a port is there twice");
    for port in &conf.ports {
        assert!(port.allow.iter().all(|network| *network == network.trunc()));
    }
}

fn is_socket_path(path: &Path) -> bool {
    path.is_absolute() && path.as_os_str().len() <= 107
}
