//! What must hold for the log: how much is said is the operator's choice, also while the server runs, and no line is lost where the
//! journal cannot be had.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use crate::harness::daemon::Setup;
use crate::harness::device::{ANSWER, Device};
use crate::harness::postgres as pg;
use crate::harness::{eventually, free_port, imei, secs};

#[test]
fn levels_per_module_are_the_confs_and_a_reload_changes_them() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .env("RUST_LOG", "")
        .more("[log]\nlevel = \"warn\"\n[log.modules]\nport = \"debug\"")
        .start();
    drop(Device::login(port, imei(1)));
    daemon.wait_log(secs(5), &["login accepted", &imei(1).to_string()]);
    assert!(
        daemon.log_lines(&["thread started"]).is_empty(),
        "of another module, and info"
    );
    daemon.edit_conf(|text| {
        text.replace("port = \"debug\"", "port = \"warn\"\nsupervisor = \"info\"")
    });
    daemon.signal("HUP");
    daemon.wait_log(secs(5), &["conf reloaded"]);
    drop(Device::login(port, imei(2)));
    let mut stranger = Device::connect(port);
    stranger.send(b"GET / HTTP/1.1\r\n\r\n");
    stranger.expect_closed(ANSWER);
    daemon.wait_log(secs(5), &["not the protocol"]);
    assert!(daemon.log_lines(&[&imei(2).to_string()]).is_empty());
}

#[test]
fn what_was_folded_is_told_at_the_level_of_the_module_that_said_it() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url)
        .port(port)
        .env("RUST_LOG", "")
        .more("[log]\nlevel = \"error\"\n[log.modules]\nport = \"debug\"")
        .start();
    for n in 1..=30 {
        drop(Device::login(port, imei(n)));
    }
    daemon.wait_log(secs(5), &["login accepted", &imei(20).to_string()]);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_end(secs(20)).code(), Some(0));
    let told = daemon.log_lines(&["login accepted (and 10 more in"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn the_environment_stands_above_the_conf_and_nonsense_in_it_is_said() {
    let (database, _client) = pg::shared().migrated();
    let setup = |environment: &str| {
        let port = free_port();
        let daemon = Setup::new(&database.url)
            .port(port)
            .env("RUST_LOG", environment)
            .more("[log]\nlevel = \"error\"")
            .start();
        (daemon, port)
    };
    let (daemon, port) = setup("trackport::port=debug");
    drop(Device::login(port, imei(1)));
    daemon.wait_log(secs(5), &["login accepted"]);
    let (daemon, _port) = setup("trackport=loud");
    daemon.wait_log(
        secs(5),
        &["RUST_LOG=\"trackport=loud\" is not understood", "loud"],
    );
}

#[test]
fn a_journal_that_cannot_be_reached_costs_no_line() {
    let (database, _client) = pg::shared().migrated();
    let mut daemon = Setup::new(&database.url).port(free_port()).write();
    // As systemd says it of a stream to the journal; where none listens, this file gets the lines.
    let meta = File::create(daemon.folder().file("log"))
        .unwrap()
        .metadata()
        .unwrap();
    if fs::exists("/run/systemd/journal/socket").unwrap() {
        eprintln!("skipped: this machine has a journal, and the lines go there");
        return;
    }
    daemon.set_env("JOURNAL_STREAM", &format!("{}:{}", meta.dev(), meta.ino()));
    daemon.launch();
    daemon.wait_ready();
    daemon.wait_log(secs(5), &["<4>", "no way to the journal but stderr"]);
    eventually(secs(5), "lines with priorities", || {
        !daemon
            .log_lines(&["<6>supervisor: daemon ready"])
            .is_empty()
    });
}
