//! What must hold for whoever sits at the keyboard: every mistake in the conf is told at once, exit codes mean what the help
//! says, and what a command does to devices, sessions and ports happens on the running server within seconds.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{BINARY, Folder, Setup, run, started_known, text};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::rows::{number, records};
use crate::harness::{eventually, free_port, imei, ms, postgres as pg, secs};

const TEN_MISTAKES: &str = r#"[database]
url = 5
writers = 99
batch_record = 10
[devices]
accept = "some"
max_new_devices = -1
[retention]
keep = "3 parsecs"
[timeouts]
login = 15
tcp = "1 ms"
[[port]]
listen = 5027
[[port]]
listen = 5027
device = "12"
[webb]
x = 1
"#;

#[test]
fn a_conf_with_ten_mistakes_is_told_all_of_them_with_their_lines() {
    let folder = Folder::new();
    let file = folder.file("bad.toml");
    fs::write(&file, TEN_MISTAKES).unwrap();
    let path = file.to_str().unwrap();
    let mistakes = [
        (2, "[database].url"),
        (3, "[database].writers"),
        (4, "\"batch_records\""),
        (6, "[devices].accept"),
        (7, "[devices].max_new_devices"),
        (9, "[retention].keep"),
        (11, "[timeouts].login"),
        (12, "[timeouts].tcp"),
        (16, "given twice"),
        (17, "IMEI"),
        (18, "[webb]"),
    ];
    for command in ["run", "check", "migrate", "status"] {
        let output = run(&[command, "--conf", path]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{command}: {told}");
        for (line, words) in mistakes {
            let place = format!("bad.toml:{line}: ");
            assert!(
                told.lines()
                    .any(|told| told.contains(&place) && told.contains(words)),
                "{command}: nothing about line {line} and {words}:\n{told}"
            );
        }
    }
}

#[test]
fn a_conf_that_is_not_there_or_no_toml_is_78_and_wrong_usage_is_64() {
    let folder = Folder::new();
    let nowhere = folder.file("nowhere.toml");
    let output = run(&["run", "--conf", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("nowhere.toml"));
    let broken = folder.file("broken.toml");
    fs::write(&broken, "[database\n").unwrap();
    let output = run(&["check", "--conf", broken.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).contains("broken.toml:1: "),
        "{}",
        text(&output.stderr)
    );
    for args in [
        &["fly"][..],
        &[],
        &["device", "add", "12"],
        &["run", "--fast"],
        &["simulate", "--records", "0"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(
            text(&output.stderr).contains("--help"),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
    for args in [&["--help"][..], &["--version"], &["device", "--help"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn check_says_what_it_found_before_and_while_the_server_runs() {
    let database = pg::shared().database();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).write();
    let before = daemon.command(&["check"]);
    assert_eq!(before.status.code(), Some(1), "the tables are missing");
    let told = text(&before.stdout);
    assert!(
        told.contains("can be bound") && told.contains("PostgreSQL 1"),
        "{told}"
    );
    assert!(
        told.contains("WRONG") && told.contains("trackport migrate"),
        "{told}"
    );
    daemon.must(&["migrate"]);
    let told = daemon.must(&["check"]);
    let is_good = |line: &str| line.starts_with("ok ") || line.starts_with("note ");
    assert!(told.lines().all(is_good), "{told}");
    for words in [
        format!("listens on 127.0.0.1 (lo), for this machine: {port}"),
        format!("only this machine reaches: {port}"),
        "firewall: nothing to open".to_owned(),
        "outgoing: to the database over /".to_owned(),
    ] {
        assert!(told.contains(&words), "{words}:\n{told}");
    }
    daemon.launch();
    daemon.wait_ready();
    let told = daemon.must(&["check"]);
    assert!(
        told.contains(&format!(
            "127.0.0.1:{port}: in use, and trackport is running"
        )),
        "{told}"
    );
    // The server was not disturbed by it.
    Device::login(port, imei(1)).deliver(&packet(0, 1));
}

#[track_caller]
fn let_in(port: u16, number: u64) -> Device {
    let mut device = None;
    eventually(secs(3), &format!("device {number} is let in"), || {
        device = Device::try_login(port, imei(number));
        device.is_some()
    });
    device.unwrap()
}

#[track_caller]
fn expect_refused(port: u16, number: u64) {
    let mut device = Device::connect(port);
    device.send(&login(imei(number)));
    device.expect_last(&[0], ANSWER);
}

#[test]
fn a_fleet_is_imported_shown_changed_and_exported() {
    let (daemon, mut client, port) = started_known();
    let sheet = daemon.folder().file("fleet.csv");
    let path = sheet.to_str().unwrap();
    let (one, two) = (imei(1).to_string(), imei(2).to_string());
    fs::write(
        &sheet,
        format!("imei,name,model\n{one},Van 1,FMB120\n{two},\"Van, 2\",\n"),
    )
    .unwrap();
    daemon.must(&["device", "import", path, "--dry-run"]);
    let n_devices = "SELECT count(*) FROM trackport.device";
    assert_eq!(
        number(&mut client, n_devices, &[]),
        0,
        "a dry run changes nothing"
    );
    daemon.must(&["device", "import", path]);
    let_in(port, 1).deliver(&packet(0, 1));
    let_in(port, 2);
    // One mistake, and nothing of the file is taken.
    fs::write(
        &sheet,
        format!("imei,name\n{},New\n123,Wrong\n{one},Renamed\n", imei(9)),
    )
    .unwrap();
    let output = daemon.command(&["device", "import", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains('3') && text(&output.stderr).contains("123"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(number(&mut client, n_devices, &[]), 2);

    daemon.must(&[
        "device",
        "set",
        &one,
        "--note",
        "new antenna",
        "--phone",
        "+370600",
    ]);
    daemon.must(&["device", "rename", &one, "Lorry"]);
    let shown = daemon.must(&["device", "show", &one]);
    for words in ["Lorry", "FMB120", "new antenna", "+370600", "accepted"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown: Value =
        serde_json::from_str(&daemon.must(&["device", "show", &one, "--json"])).unwrap();
    assert_eq!(
        (&shown["imei"], &shown["name"]),
        (&one.as_str().into(), &"Lorry".into())
    );
    let listed = daemon.must(&["device", "list"]);
    assert!(
        listed.contains(&one) && listed.contains("Van, 2"),
        "{listed}"
    );
    assert_eq!(
        daemon.must(&["device", "list", "--json"]).lines().count(),
        2
    );
    // What is exported can be imported.
    let exported = daemon.folder().file("exported.csv");
    daemon.must(&["device", "export", exported.to_str().unwrap()]);
    let rows = fs::read_to_string(&exported).unwrap();
    assert!(
        rows.contains("\"Van, 2\"") && rows.contains("Lorry"),
        "{rows}"
    );
    let told = daemon.must(&["device", "import", exported.to_str().unwrap()]);
    assert!(told.contains("0 devices added, 0 changed"), "{told}");
    let output = daemon.command(&["device", "show", &imei(99).to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("device add"));
}

#[test]
fn device_commands_take_effect_on_the_running_server() {
    let (daemon, mut client, port) = started_known();
    let one = imei(1).to_string();
    expect_refused(port, 1);
    daemon.must(&["device", "add", &one, "--name", "Van"]);
    let mut device = let_in(port, 1);
    device.deliver(&packet(0, 1));
    daemon.must(&["device", "refuse", &one]);
    device.expect_closed(secs(3));
    expect_refused(port, 1);
    daemon.must(&["device", "accept", &one]);
    let mut device = let_in(port, 1);
    device.deliver(&packet(1, 1));
    daemon.must(&["device", "remove", &one]);
    device.expect_closed(secs(3));
    expect_refused(port, 1);
    // It comes back with its records, under its old id.
    daemon.must(&["device", "add", &one]);
    let_in(port, 1).deliver(&packet(2, 1));
    assert_eq!(records(&mut client, imei(1)), 3);
    let ids = "SELECT count(DISTINCT device_id) FROM trackport.record";
    assert_eq!(number(&mut client, ids, &[]), 1);
}

#[test]
fn status_sessions_and_ports_are_shown_closed_and_restarted_known() {
    let (daemon, _client, port) = started_known();
    let (one, two) = (imei(1).to_string(), imei(2).to_string());
    daemon.must(&["device", "add", &one]);
    daemon.must(&["device", "add", &two]);
    let mut first = let_in(port, 1);
    let mut second = let_in(port, 2);
    first.deliver(&packet(0, 3));
    let status: Value = serde_json::from_str(&daemon.must(&["status", "--json"])).unwrap();
    assert_eq!(status["ports"][0]["records"], 3);
    assert_eq!(status["writers"][0]["database"], "up");
    assert_eq!(status["pid"], daemon.pid());
    let told = daemon.must(&["status"]);
    assert!(
        told.contains("Nothing is wrong") && told.contains(&format!("127.0.0.1:{port}")),
        "{told}"
    );
    let listed = daemon.must(&["session", "list"]);
    assert!(
        listed.contains(&one) && listed.contains(&two) && listed.contains(&first.address()),
        "{listed}"
    );
    let listed = daemon.must(&["session", "list", "--port", &port.to_string(), "--json"]);
    assert_eq!(listed.lines().count(), 2);
    daemon.must(&["session", "close", &one]);
    first.expect_closed(secs(3));
    second.deliver(&packet(0, 1));
    let output = daemon.command(&["session", "close", &one]);
    assert_eq!(output.status.code(), Some(1), "it has none any more");
    // The restart of a port closes its sessions and keeps its socket.
    let listed = daemon.must(&["port", "list"]);
    assert!(
        listed.contains(&format!("127.0.0.1:{port}")) && listed.contains("running"),
        "{listed}"
    );
    daemon.must(&["port", "restart", &port.to_string()]);
    second.expect_closed(secs(5));
    let_in(port, 2).deliver(&packet(1, 1));
    let output = daemon.command(&["port", "restart", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("port list"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_a_server_the_commands_say_so() {
    let (database, _client) = pg::shared().migrated();
    let daemon = Setup::new(&database.url).port(free_port()).write();
    for args in [&["status"][..], &["session", "list"], &["port", "list"]] {
        let output = daemon.command(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let told = text(&output.stderr);
        assert!(
            told.contains("control.sock") && told.contains("running"),
            "{told}"
        );
    }
    // Devices are in the database, whether a server runs or not.
    daemon.must(&["device", "add", &imei(1).to_string()]);
}

#[test]
fn a_second_server_on_the_same_ports_and_socket_harms_the_first_in_nothing() {
    let (daemon, _client, port) = started_known();
    daemon.must(&["device", "add", &imei(1).to_string()]);
    let mut device = let_in(port, 1);
    let log = fs::File::create(daemon.folder().file("second.log")).unwrap();
    let mut second = Command::new(BINARY)
        .args(["run", "--conf"])
        .arg(daemon.conf())
        .env_remove("FAILPOINTS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(daemon.folder().file("second.log")).unwrap();
    eventually(secs(10), "the second says what is in its way", || {
        said().contains("in use") && said().contains("another trackport")
    });
    device.deliver(&packet(0, 1));
    assert_eq!(
        daemon.status().pid,
        daemon.pid(),
        "the socket is still the first one's"
    );
    crate::harness::kill(second.id(), "TERM");
    let mut ended = None;
    eventually(secs(10), "the second ends", || {
        ended = second.try_wait().unwrap();
        ended.is_some()
    });
    device.deliver(&packet(1, 1));
    assert_eq!(
        daemon.status().pid,
        daemon.pid(),
        "the end of the second left the socket alone"
    );
}

#[test]
fn the_control_socket_is_closed_to_strangers_and_takes_no_nonsense() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let (daemon, _client, port) = started_known();
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "others may not speak: {mode:o}");
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(secs(5))).unwrap();
    stream.write_all(b"{\"ask\":\"nonsense\"}\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.contains("error"), "{answer}");
    // One who connects and says nothing keeps nobody else waiting for long.
    let silent = UnixStream::connect(daemon.socket()).unwrap();
    std::thread::sleep(ms(50));
    let begun = std::time::Instant::now();
    assert_eq!(daemon.status().ports.len(), 1);
    assert!(begun.elapsed() < secs(3));
    drop(silent);
    let mut device = Device::connect(port);
    device.send(&login(imei(1)));
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![0]));
}
