//! What must hold in the order of things: durable first, then the ack. Shown by the system calls of the real program, not by
//! what it says of itself; and disks that fail under it acknowledge nothing.

use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Device, TIME_MS, packet};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::records;
use crate::harness::trace::{Call, Trace};
use crate::harness::{eventually, free_port, imei, secs};

/// When PostgreSQL's time begins, in microseconds since 1970.
const PG_EPOCH_US: u64 = 946_684_800_000_000;

/// The bytes by which the time of the record of this second goes to the database.
fn time_bytes(second: u64) -> [u8; 8] {
    ((TIME_MS + second * 1000) * 1000 - PG_EPOCH_US).to_be_bytes()
}

/// The call that brings the ack of this packet to its device: the first thing said on the connection on which the packet came.
fn find_ack(calls: &[Call], packet: &[u8]) -> Option<Call> {
    let came = calls
        .iter()
        .find(|call| call.reads() && call.contains(packet))?;
    let said = calls.iter().find(|call| {
        call.writes() && call.descriptor() == came.descriptor() && came.is_done_before(call)
    });
    said.cloned()
}

#[track_caller]
fn ack_of(calls: &[Call], packet: &[u8]) -> Call {
    let ack = find_ack(calls, packet).expect("the device was answered");
    assert_eq!(ack.bytes, [0, 0, 0, packet[9]], "what it was told");
    ack
}

/// The calls up to the acks of these packets, which their devices have heard: the calls that bring them may still have to end.
#[track_caller]
fn calls_up_to_acks(trace: &Trace, packets: &[Vec<u8>]) -> Vec<Call> {
    let mut calls = Vec::new();
    eventually(secs(10), "the acks are in the trace", || {
        calls = trace.calls();
        packets
            .iter()
            .all(|packet| find_ack(&calls, packet).is_some())
    });
    calls
}

/// What the server answered on the connection over which these bytes went to it: each message's kind and content.
fn answered(calls: &[Call], bytes: &[u8], until: &Call) -> Vec<(char, Vec<u8>)> {
    let asked = calls
        .iter()
        .find(|call| call.writes() && call.contains(bytes))
        .expect("the record went to the database");
    let stream: Vec<u8> = calls
        .iter()
        .filter(|call| {
            call.thread == asked.thread
                && call.reads()
                && call.descriptor() == asked.descriptor()
                && asked.is_done_before(call)
                && call.is_done_before(until)
        })
        .flat_map(|call| call.bytes.iter().copied())
        .collect();
    let (mut messages, mut rest) = (Vec::new(), stream.as_slice());
    while rest.len() >= 5 {
        let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
        let (message, after) = rest.split_at(1 + length);
        messages.push((char::from(message[0]), message[5..].to_vec()));
        rest = after;
    }
    messages
}

/// Whether the server said that this command was done, and then that it is in no transaction.
fn is_committed(messages: &[(char, Vec<u8>)], command: &str) -> bool {
    let done = messages
        .iter()
        .position(|(kind, content)| *kind == 'C' && content.starts_with(command.as_bytes()));
    let ready = messages
        .iter()
        .rposition(|(kind, content)| *kind == 'Z' && content == b"I");
    matches!((done, ready), (Some(done), Some(ready)) if done < ready)
}

/// Where bytes lie on disk.
struct Kept<'a> {
    opened: &'a Call,
    written: &'a Call,
}

/// Every write of these bytes to a segment.
fn kept<'a>(calls: &'a [Call], packet: &[u8]) -> Vec<Kept<'a>> {
    let writes = calls
        .iter()
        .filter(|call| call.name == "write" && call.contains(packet));
    writes
        .filter_map(|written| {
            let opened = calls.iter().rfind(|call| {
                call.name == "openat"
                    && call.result == written.descriptor()
                    && call.is_done_before(written)
            })?;
            opened.contains(b".seg").then_some(Kept { opened, written })
        })
        .collect()
}

/// The calls about a segment's file after one of its writes, until it is closed.
fn afterwards<'a>(calls: &'a [Call], kept: &Kept<'a>) -> Vec<&'a Call> {
    calls
        .iter()
        .filter(|call| {
            call.descriptor() == kept.written.descriptor() && kept.written.is_done_before(call)
        })
        .take_while(|call| call.name != "close")
        .collect()
}

/// Whether these bytes were safe in a file, name and all, when `moment` began, or when the trace was read.
fn is_safe(calls: &[Call], packet: &[u8], moment: Option<&Call>) -> bool {
    let is_done = |call: &Call| moment.is_none_or(|moment| call.is_done_before(moment));
    kept(calls, packet).iter().any(|kept| {
        let is_first = !calls.iter().any(|call| {
            call.name == "fdatasync"
                && call.is_ok()
                && call.descriptor() == kept.written.descriptor()
                && kept.opened.is_done_before(call)
                && call.is_done_before(kept.written)
        });
        let synced = afterwards(calls, kept)
            .into_iter()
            .find(|call| call.name == "fdatasync" && call.result == Some(0) && is_done(call));
        let Some(synced) = synced else { return false };
        let folder_synced = calls.iter().any(|call| {
            call.name == "fsync"
                && call.thread == synced.thread
                && call.result == Some(0)
                && synced.is_done_before(call)
                && is_done(call)
        });
        kept.written.is_ok() && (folder_synced || !is_first)
    })
}

/// A traced daemon whose database is there no more, and a device that has sent one packet before.
fn in_an_outage(
    trace: &Trace,
    more: &[String],
    cluster: &Cluster,
) -> (Daemon, Device, String, u16) {
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = trace.of(Setup::new(&database.url).port(port), more).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.stop_server("fast");
    (daemon, device, database.url.clone(), port)
}

#[test]
fn an_ack_is_sent_after_the_server_has_said_that_the_packet_is_committed() {
    let Some(trace) = Trace::begin() else { return };
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let _daemon = trace.of(Setup::new(&database.url).port(port), &[]).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    // A few rows are one statement, many a COPY in a transaction; the repetition goes through staging.
    for (second, n, command) in [(10, 2, "INSERT"), (100, 60, "COMMIT"), (300, 1, "INSERT")] {
        device.deliver(&packet(second, n));
        let calls = calls_up_to_acks(&trace, &[packet(second, n)]);
        let ack = ack_of(&calls, &packet(second, n));
        let messages = answered(&calls, &time_bytes(second), &ack);
        assert!(is_committed(&messages, command), "{second}: {messages:?}");
    }
    let again = packet(500, 60);
    for _ in 0..2 {
        device = Device::login(port, imei(1));
        device.deliver(&again);
    }
    let calls = calls_up_to_acks(&trace, std::slice::from_ref(&again));
    let ack = ack_of(&calls, &again);
    let messages = answered(&calls, &time_bytes(500), &ack);
    assert!(is_committed(&messages, "COMMIT"), "{messages:?}");
    assert_eq!(records(&mut client, imei(1)), 124);
}

#[test]
fn with_the_database_away_an_ack_is_sent_after_the_sync_of_the_file_that_holds_the_packet() {
    let Some(trace) = Trace::begin() else { return };
    let cluster = Cluster::start();
    let (daemon, mut device, url, port) = in_an_outage(&trace, &[], &cluster);
    for second in 1..10 {
        device.deliver(&packet(second, 1));
    }
    // Several at a time, which share a sync.
    let mut fleet: Vec<Device> = (2..8).map(|n| Device::login(port, imei(n))).collect();
    for (second, device) in (20..).zip(&mut fleet) {
        device.send(&packet(second, 1));
    }
    for device in &mut fleet {
        assert_eq!(device.ack(ANSWER), Some(1));
    }
    let packets: Vec<Vec<u8>> = (1..10)
        .chain(20..26)
        .map(|second| packet(second, 1))
        .collect();
    let calls = calls_up_to_acks(&trace, &packets);
    for packet in &packets {
        let ack = ack_of(&calls, packet);
        assert!(is_safe(&calls, packet, Some(&ack)), "{packet:x?}");
    }
    cluster.start_server();
    daemon.wait_drained(secs(30));
    let mut client = pg::connect(&url);
    assert_eq!(records(&mut client, imei(1)), 10);
    for number in 2..8 {
        assert_eq!(records(&mut client, imei(number)), 1);
    }
}

#[test]
fn a_sync_that_fails_acks_nothing_and_its_file_is_not_written_or_synced_again() {
    let Some(trace) = Trace::begin() else { return };
    let cluster = Cluster::start();
    let inject = ["-e", "inject=fdatasync:error=EIO:when=3"].map(ToOwned::to_owned);
    let (daemon, mut device, url, _port) = in_an_outage(&trace, &inject, &cluster);
    for second in 1..8 {
        device.deliver(&packet(second, 1));
    }
    let packets: Vec<Vec<u8>> = (1..8).map(|second| packet(second, 1)).collect();
    let calls = calls_up_to_acks(&trace, &packets);
    let failed = calls
        .iter()
        .find(|call| call.name == "fdatasync" && !call.is_ok())
        .expect("a sync failed");
    let same_file: Vec<&Call> = calls
        .iter()
        .filter(|call| call.descriptor() == failed.descriptor() && failed.is_done_before(call))
        .take_while(|call| call.name != "close")
        .collect();
    assert!(same_file.is_empty(), "{same_file:?}");
    let opened = calls.iter().rfind(|call| {
        call.name == "openat" && call.result == failed.descriptor() && call.is_done_before(failed)
    });
    let file = &opened.expect("it was opened").bytes;
    let again = calls.iter().find(|call| {
        call.name == "openat"
            && call.contains(file)
            && failed.is_done_before(call)
            && !call.args.contains("O_RDONLY")
    });
    assert!(again.is_none(), "{again:?}");
    // The third packet is the one that was to be made safe then.
    let twice = kept(&calls, &packet(3, 1));
    assert_eq!(twice.len(), 2);
    assert_eq!(&twice[0].opened.bytes, file);
    assert_ne!(&twice[1].opened.bytes, file, "a new segment");
    let ack = ack_of(&calls, &packet(3, 1));
    assert!(failed.is_done_before(&ack));
    for packet in &packets {
        let ack = ack_of(&calls, packet);
        assert!(is_safe(&calls, packet, Some(&ack)), "{packet:x?}");
    }
    daemon.wait_log(secs(1), &["spool failed", "cannot sync"]);
    cluster.start_server();
    daemon.wait_drained(secs(30));
    assert_eq!(records(&mut pg::connect(&url), imei(1)), 8);
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_segment_acks_nothing_until_another_one_holds_the_packet()
{
    let Some(trace) = Trace::begin() else { return };
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let spool = trace.place("spool");
    // Of these files only: the third write to one of them fails. What has a place there is seen by the time it is heard.
    let mut only: Vec<String> = (1..5).map(|n| format!("{spool}/{n:016}.seg")).collect();
    only.push(spool.clone());
    let paths = only.into_iter().flat_map(|path| ["-P".to_owned(), path]);
    let inject = ["-e", "inject=write:error=ENOSPC:when=3"].map(ToOwned::to_owned);
    let more: Vec<String> = paths.chain(inject).collect();
    let setup = Setup::new(&database.url)
        .port(port)
        .spool(&format!("directory = \"{spool}\"\nkeep_free = \"1 GiB\""));
    let daemon = trace.of(setup, &more).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.stop_server("fast");
    for second in 1..8 {
        device.deliver(&packet(second, 1));
        assert!(
            is_safe(&trace.calls(), &packet(second, 1), None),
            "{second}"
        );
    }
    let calls = trace.calls();
    let written = kept(&calls, &packet(3, 1));
    let results: Vec<bool> = written.iter().map(|kept| kept.written.is_ok()).collect();
    assert_eq!(results, [false, true]);
    assert_ne!(
        written[0].opened.bytes, written[1].opened.bytes,
        "a new segment"
    );
    let touched = afterwards(&calls, &written[0]);
    assert!(touched.is_empty(), "{touched:?}");
    daemon.wait_log(secs(1), &["spool failed", "cannot write", "No space left"]);
    cluster.start_server();
    daemon.wait_drained(secs(30));
    assert_eq!(records(&mut database.connect(), imei(1)), 8);
}
