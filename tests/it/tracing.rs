//! What must hold when somebody looks at a device of the running server: every byte is shown, nothing of another device is, and no device
//! waits for whoever looks.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use trackport::control::messages::{Request, Response};
use trackport::imei::Imei;
use trackport::protocol::hex;
use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{BINARY, Daemon, Setup, started, started_known};
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::{eventually, free_port, imei, kill, ms, secs};

/// `trackport trace` on a terminal, as far as it has a file for one.
struct Trace {
    child: Option<Child>,
    file: PathBuf,
}

impl Trace {
    /// Looks at a device, and waits until it does.
    #[track_caller]
    fn of(daemon: &Daemon, imei: Imei, more: &[&str]) -> Trace {
        let file = daemon.folder().file(&format!("trace-{imei}"));
        let child = Command::new(BINARY)
            .args(["trace", &imei.to_string()])
            .args(more)
            .arg("--conf")
            .arg(daemon.conf())
            .stdin(Stdio::null())
            .stdout(File::create(&file).unwrap())
            .stderr(File::create(file.with_extension("err")).unwrap())
            .spawn()
            .unwrap();
        let trace = Trace {
            child: Some(child),
            file,
        };
        trace.wait("times in UTC");
        trace
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    #[track_caller]
    fn wait(&self, words: &str) {
        eventually(secs(10), words, || self.text().contains(words));
    }

    /// Everything that was shown with this verb, as bytes.
    fn bytes(&self, verb: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let text = self.text();
        for line in text
            .lines()
            .filter(|line| line.contains(&format!(" {verb} ")))
        {
            bytes.extend(hex::decode(line.rsplit(' ').next().unwrap()).unwrap());
        }
        bytes
    }

    /// Waits until it has ended by itself; its exit code and what it said about it.
    #[track_caller]
    fn wait_end(&mut self) -> (Option<i32>, String) {
        let mut child = self.child.take().unwrap();
        let mut code = None;
        eventually(secs(20), "the trace ends", || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        let said = fs::read_to_string(self.file.with_extension("err")).unwrap();
        (code.unwrap().code(), said)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until nobody looks at any device.
#[track_caller]
fn wait_off(daemon: &Daemon) {
    eventually(secs(10), "every trace is off", || {
        daemon.status().traces.is_empty()
    });
}

#[test]
fn a_trace_shows_every_byte_of_its_device_and_nothing_of_another() {
    let (daemon, _client, port) = started();
    let mut trace = Trace::of(&daemon, imei(1), &[]);
    assert!(
        trace.text().contains("is not known here"),
        "{}",
        trace.text()
    );
    let mut other = Device::login(port, imei(2));
    let mut device = Device::login(port, imei(1));
    let (first, second, others) = (packet(0, 3), packet(3, 255), packet(100, 2));
    other.deliver(&others);
    // In pieces that the server reads one by one.
    device.send(&first[..20]);
    trace.wait(&hex::encode(&first[..20]));
    device.send(&first[20..]);
    assert_eq!(device.ack(ANSWER), Some(3));
    device.deliver(&second);
    device.send(&[0xFF]);
    trace.wait("ping");
    let sent = [login(imei(1)), first, second, vec![0xFF]].concat();
    assert_eq!(trace.bytes("read"), sent);
    assert_eq!(trace.bytes("sent"), [1, 0, 0, 0, 3, 0, 0, 0, 255]);
    let text = trace.text();
    for words in [
        "login of",
        "accepted",
        "packet Codec 8, 3 records: 2026-01-01T00:00:00Z, 54.68721 25.27973, 54 km/h, 9 satellites, 4 IO elements … 2026-01-01T00:00:02Z",
        "ack    of 3 records, ",
        "ms after the packet was whole: stored in the database",
        &device.address(),
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(
        !text.contains(&other.address()) && !text.contains(&imei(2).to_string()),
        "{text}"
    );
    drop(device);
    trace.wait("closed: closed by the device");
    // Ctrl-C.
    kill(trace.child.as_ref().unwrap().id(), "INT");
    trace.child.take().unwrap().wait().unwrap();
    wait_off(&daemon);
    let begun = daemon.wait_log(secs(5), &["trace begun", "to=terminal"]);
    assert!(begun.contains(&imei(1).to_string()), "{begun}");
    daemon.wait_log(secs(5), &["trace ended", "nobody reads it any more"]);
}

#[test]
fn the_login_of_a_device_that_nobody_knows_can_be_looked_at() {
    let (daemon, _client, port) = started_known();
    let mut trace = Trace::of(&daemon, imei(1), &["--for", "3 s"]);
    let mut stranger = Device::connect(port);
    stranger.send(&login(imei(1)));
    stranger.expect_last(&[0], ANSWER);
    trace.wait("refused: the device is not known");
    assert_eq!(trace.bytes("read"), login(imei(1)));
    assert_eq!(trace.bytes("sent"), [0]);
    let (code, said) = trace.wait_end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the trace has ended: its time is over"),
        "{said}"
    );
    wait_off(&daemon);
}

#[test]
fn a_trace_goes_on_over_a_restart_of_the_threads_and_ends_with_the_server() {
    let (mut daemon, _client, port) = started();
    let mut trace = Trace::of(&daemon, imei(1), &[]);
    let mut device = Device::login(port, imei(1));
    daemon.signal("USR1");
    device.expect_closed(secs(20));
    trace.wait("closed: port stopped");
    daemon.wait_ready();
    eventually(secs(20), "every thread was restarted", || {
        Device::try_login(port, imei(1)).is_some() && trace.text().matches("accepted").count() > 1
    });
    assert_eq!(daemon.stop(), Some(0));
    let (code, said) = trace.wait_end();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("the server has ended the connection"),
        "{said}"
    );
}

#[test]
fn an_ack_from_the_spool_is_shown_as_one() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("ack_target", "300 ms")
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    let trace = Trace::of(&daemon, imei(1), &[]);
    assert!(trace.text().contains("is connected"), "{}", trace.text());
    cluster.stop_server("fast");
    device.deliver(&packet(1, 1));
    trace.wait("stored in the spool");
    cluster.start_server();
}

#[test]
fn a_trace_to_the_log_is_switched_on_and_off_and_ends_by_itself() {
    let (daemon, _client, port) = started();
    let (first, second) = (imei(1).to_string(), imei(2).to_string());
    let told = daemon.must(&["trace", &first, "--to-log", "on"]);
    assert!(told.contains("is traced to the log until"), "{told}");
    daemon.must(&["trace", &second, "--to-log", "on", "--for", "2 s"]);
    let status = daemon.status();
    assert_eq!(status.traces.len(), 2);
    assert!(status.traces.iter().all(|trace| trace.to_log));
    assert!(
        daemon
            .must(&["status"])
            .contains(&format!("traced: {first} to the log until"))
    );
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    let imei_of_first = format!("imei={first}");
    let line = daemon.wait_log(
        secs(5),
        &[
            "INFO",
            "trace at=",
            &imei_of_first,
            "what=\"read\"",
            &hex::encode(&packet(0, 1)),
        ],
    );
    assert!(
        line.contains(&format!("peer={}", device.address())),
        "{line}"
    );
    daemon.wait_log(
        secs(5),
        &[&imei_of_first, "what=\"ack\"", "stored in the database"],
    );
    daemon.wait_log(secs(10), &["trace ended", &second, "its time is over"]);
    let told = daemon.must(&["trace", &first, "--to-log", "off"]);
    assert!(told.contains("is off"), "{told}");
    daemon.wait_log(secs(5), &["trace ended", &first, "somebody ended it"]);
    wait_off(&daemon);
    device.deliver(&packet(1, 1));
    assert!(daemon.log_lines(&[&hex::encode(&packet(1, 1))]).is_empty());
    let output = daemon.command(&["trace", &first, "--to-log", "off"]);
    assert_eq!(output.status.code(), Some(1), "it is off already");
}

#[test]
fn there_is_a_bound_to_traces_and_a_place_is_free_when_one_ends() {
    let (daemon, _client, _port) = started();
    for n in 1..=8 {
        daemon.must(&["trace", &imei(n).to_string(), "--to-log", "on"]);
    }
    let ninth = imei(9).to_string();
    let output = daemon.command(&["trace", &ninth, "--to-log", "on"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("8 traces are on"), "{said}");
    daemon.must(&["trace", &imei(3).to_string(), "--to-log", "off"]);
    eventually(secs(5), "a place is free", || {
        daemon
            .command(&["trace", &ninth, "--to-log", "on"])
            .status
            .success()
    });
}

#[test]
fn a_trace_that_nobody_reads_slows_no_ack_and_no_question_and_says_what_is_missing() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .more("[limits]\nbytes_per_second = \"1 GiB\"")
        .start();
    let mut unread = UnixStream::connect(daemon.socket()).unwrap();
    let request = Request::Trace {
        imei: imei(1).to_string(),
        for_s: 600,
        log: None,
    };
    let mut line = serde_json::to_vec(&request).unwrap();
    line.push(b'\n');
    unread.write_all(&line).unwrap();
    eventually(secs(5), "somebody looks", || {
        !daemon.status().traces.is_empty()
    });
    let before = daemon.memory();
    let mut device = Device::login(port, imei(1));
    let mut slowest = ms(0);
    // Far more than socket and queue hold.
    for n in 0..400 {
        let begun = Instant::now();
        device.deliver(&packet(n * 255, 255));
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < secs(2), "an ack took {slowest:?}");
    let begun = Instant::now();
    daemon.status();
    assert!(
        begun.elapsed() < secs(2),
        "a question took {:?}",
        begun.elapsed()
    );
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "memory has grown by {grown}");
    // Read at last, it says what is missing.
    unread.set_read_timeout(Some(secs(10))).unwrap();
    let is_missing = BufReader::new(&unread).lines().any(|line| {
        let answer = serde_json::from_str(&line.unwrap()).unwrap();
        matches!(answer, Response::Line { text } if text.contains("pieces are missing here"))
    });
    assert!(is_missing);
    drop(unread);
    wait_off(&daemon);
}
