//! What must hold for who may speak: the device list decides, a pinned port, networks and limits narrow it, changes are followed
//! within seconds, and of two connections of one device the newer one counts.

use std::time::Instant;

use trackport::control::client;
use trackport::control::messages::{Request, Response};
use trackport::imei::Imei;
use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{Setup, started, started_known};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::rows::{add, all_records, number, records, set_state};
use crate::harness::{eventually, free_port, free_ports, imei, ms, postgres as pg, secs};

#[test]
fn a_known_device_is_let_in_and_a_stranger_is_noted() {
    let (daemon, mut client, port) = started_known();
    add(&mut client, imei(1), None);
    eventually(secs(5), "the new device is let in", || {
        Device::try_login(port, imei(1)).is_some()
    });
    for _ in 0..2 {
        let mut stranger = Device::connect(port);
        stranger.send(&login(imei(2)));
        stranger.expect_last(&[0], ANSWER);
    }
    let sql = "SELECT n_attempts, port, host(last_address), reason FROM trackport.login_attempt WHERE imei = $1";
    let mut seen = None;
    eventually(secs(5), "a row in login_attempt", || {
        seen = client.query_opt(sql, &[&imei(2).to_string()]).unwrap();
        seen.as_ref().is_some_and(|row| row.get::<_, i64>(0) == 2)
    });
    let row = seen.unwrap();
    assert_eq!(row.get::<_, String>(1), format!("127.0.0.1:{port}"));
    assert_eq!(row.get::<_, String>(2), "127.0.0.1");
    assert!(row.get::<_, String>(3).contains("not known"));
    assert_eq!(records(&mut client, imei(2)), 0);
    assert!(daemon.count("login refused") >= 2);
}

#[test]
fn a_pinned_port_takes_its_device_without_a_login_and_no_other() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let pinned = imei(1);
    let keys = format!("device = \"{pinned}\"\nallow = [\"127.0.0.0/8\"]");
    let _daemon = Setup::new(&database.url)
        .known_only()
        .port_with(port, &keys)
        .start();
    let mut silent = Device::connect(port);
    silent.deliver(&packet(0, 2));
    silent.deliver(&packet(2, 1));
    assert_eq!(records(&mut client, pinned), 3);
    // It may say who it is all the same.
    let mut polite = Device::login(port, pinned);
    polite.deliver(&packet(3, 1));
    let mut other = Device::connect(port);
    other.send(&login(imei(2)));
    other.expect_last(&[0], ANSWER);
    assert_eq!(records(&mut client, pinned), 4);
    // Refusing a device counts for more than the pin.
    set_state(&mut client, pinned, "refused");
    polite.expect_closed(secs(5));
    let mut refused = Device::connect(port);
    refused.send(&packet(9, 1));
    refused.expect_closed(ANSWER);
    assert_eq!(records(&mut client, pinned), 4);
}

#[test]
fn a_packet_before_any_login_is_not_taken() {
    let (daemon, mut client, port) = started();
    let mut device = Device::connect(port);
    device.send(&packet(0, 1));
    device.expect_closed(ANSWER);
    // Its announcement is enough: nothing of it is waited for.
    let mut begun = Device::connect(port);
    begun.send(&packet(0, 255)[..8]);
    begun.expect_closed(secs(2));
    daemon.wait_log(secs(1), &["packet before login", &begun.address()]);
    assert_eq!(all_records(&mut client), 0);
    daemon.wait_log(secs(1), &["packet before login", &device.address()]);
}

#[test]
fn only_the_networks_allowed_may_connect() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let setup = Setup::new(&database.url).port_with(port, "allow = [\"10.20.0.0/16\"]");
    let daemon = setup.start();
    let mut stranger = Device::connect(port);
    // It may find the connection closed before it has sent anything.
    let _ = stranger.try_send(&login(imei(1)));
    stranger.expect_closed(ANSWER);
    daemon.wait_log(secs(1), &["address not allowed", "127.0.0.1", "allow"]);
}

#[test]
fn accept_any_registers_up_to_the_limit_of_the_hour() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let known = free_port();
    let daemon = Setup::new(&database.url)
        .known_only()
        .more("[devices_]")
        .port(known)
        .port_with(port, "accept = \"any\"")
        .write();
    daemon.edit_conf(|text| {
        text.replace("[devices_]", "").replace(
            "accept = \"known\"",
            "accept = \"known\"\nmax_new_devices = 2",
        )
    });
    let mut daemon = daemon;
    daemon.launch();
    daemon.wait_ready();
    Device::login(port, imei(1)).deliver(&packet(0, 1));
    Device::login(port, imei(2)).deliver(&packet(0, 1));
    let mut third = Device::connect(port);
    third.send(&login(imei(3)));
    third.expect_last(&[0], ANSWER);
    // Who is registered comes in as often as it likes, and on every port.
    Device::login(port, imei(1)).deliver(&packet(1, 1));
    Device::login(known, imei(2)).deliver(&packet(1, 1));
    let states = "SELECT count(*) FROM trackport.device WHERE state = 'accepted'";
    assert_eq!(number(&mut client, states, &[]), 2);
    daemon.wait_log(secs(1), &["registration limit", "max_new_devices"]);
}

#[test]
fn a_device_is_let_in_and_shut_out_within_seconds() {
    let (_daemon, mut client, port) = started_known();
    let mut early = Device::connect(port);
    early.send(&login(imei(1)));
    early.expect_last(&[0], ANSWER);
    add(&mut client, imei(1), None);
    let mut device = None;
    eventually(secs(3), "the added device is let in", || {
        device = Device::try_login(port, imei(1));
        device.is_some()
    });
    let mut device = device.unwrap();
    device.deliver(&packet(0, 1));
    set_state(&mut client, imei(1), "refused");
    device.expect_closed(secs(3));
    let mut again = Device::connect(port);
    again.send(&login(imei(1)));
    again.expect_last(&[0], ANSWER);
    set_state(&mut client, imei(1), "accepted");
    eventually(secs(3), "the accepted device is let in again", || {
        Device::try_login(port, imei(1)).is_some()
    });
}

#[test]
fn a_quiet_server_follows_the_device_list_as_fast_as_a_busy_one() {
    let (database, mut client) = pg::shared().migrated();
    add(&mut client, imei(1), None);
    let port = free_port();
    let _daemon = Setup::new(&database.url).known_only().port(port).start();
    let mut device = Device::login(port, imei(1));
    // Nobody asks the directory for anything meanwhile.
    device.expect_silence(secs(2));
    let begun = Instant::now();
    set_state(&mut client, imei(1), "refused");
    device.expect_closed(secs(15));
    assert!(
        begun.elapsed() < secs(3),
        "noticed after {:?}",
        begun.elapsed()
    );
    add(&mut client, imei(2), None);
    std::thread::sleep(secs(3));
    Device::login(port, imei(2));
}

#[test]
fn the_newest_login_wins_on_the_same_port_and_across_ports() {
    let (database, mut client) = pg::shared().migrated();
    let (one, two) = (free_port(), free_port());
    let daemon = Setup::new(&database.url).port(one).port(two).start();
    let mut first = Device::login(one, imei(1));
    first.deliver(&packet(0, 1));
    let mut second = Device::login(one, imei(1));
    first.expect_closed(secs(3));
    second.deliver(&packet(1, 1));
    let mut third = Device::login(two, imei(1));
    second.expect_closed(secs(3));
    third.deliver(&packet(2, 1));
    assert_eq!(records(&mut client, imei(1)), 3);
    let ask = Request::Sessions {
        imei: None,
        port: None,
        limit: 10,
    };
    eventually(secs(3), "one session is left", || {
        matches!(
            client::ask(&daemon.socket(), &ask),
            Ok(Response::Sessions { total: 1, .. })
        )
    });
    daemon.wait_log(secs(1), &["session taken over", &imei(1).to_string()]);
}

#[test]
fn two_connections_that_push_each_other_out_are_slowed_down() {
    let (daemon, mut client, port) = started();
    let mut logins = Vec::new();
    for _ in 0..12 {
        let mut device = Device::connect(port);
        device.send(&login(imei(1)));
        if device.answer(1, secs(2)) != Answer::Bytes(vec![1]) {
            break;
        }
        logins.push(device);
    }
    assert!(logins.len() > 2, "a few take-overs are normal");
    assert!(logins.len() < 12, "never slowed down");
    // The one that is there goes on meanwhile.
    logins.last_mut().unwrap().deliver(&packet(0, 1));
    assert_eq!(records(&mut client, imei(1)), 1);
    daemon.wait_log(secs(1), &["take-overs damped", &imei(1).to_string()]);
}

#[test]
fn a_login_that_was_slowed_down_is_held_to_the_idle_time_like_any_other() {
    let (database, _client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("idle", "7 s")
        .start();
    let mut logins = Vec::new();
    let mut damped = loop {
        let mut device = Device::connect(port);
        device.send(&login(imei(1)));
        if device.answer(1, secs(2)) != Answer::Bytes(vec![1]) {
            break device;
        }
        logins.push(device);
    };
    daemon.wait_log(secs(1), &["take-overs damped", &imei(1).to_string()]);
    assert_eq!(damped.answer(1, ANSWER), Answer::Bytes(vec![1]));
    damped.expect_closed(secs(12));
    daemon.wait_log(secs(1), &["idle time-out", &damped.address()]);
}

#[test]
fn a_device_whose_connection_says_it_is_another_is_no_longer_connected() {
    let (_daemon, mut client, port) = started();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    let sql = "SELECT count(*) FROM trackport.device_state s JOIN trackport.device d ON d.id = s.device_id
               WHERE s.connected AND d.imei = $1";
    let mut is_connected =
        |number_of: u64| number(&mut client, sql, &[&imei(number_of).to_string()]) == 1;
    eventually(secs(5), "the first device is connected", || is_connected(1));
    device.send(&login(imei(2)));
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
    device.deliver(&packet(0, 1));
    eventually(secs(5), "the second device is connected", || {
        is_connected(2)
    });
    eventually(secs(5), "the first one is not", || !is_connected(1));
}

#[test]
fn a_range_of_ports_is_served_port_by_port() {
    let (database, mut client) = pg::shared().migrated();
    let first = free_ports(4);
    let range = format!("\"127.0.0.1:{first}-{}\"", first + 3);
    let daemon = Setup::new(&database.url).listen(&range, "").start();
    for port in first..first + 4 {
        Device::login(port, imei(u64::from(port))).deliver(&packet(0, 1));
    }
    let ports = "SELECT count(DISTINCT port) FROM trackport.record";
    assert_eq!(number(&mut client, ports, &[]), 4);
    let status = daemon.status();
    assert_eq!(status.ports.len(), 4);
    assert!(
        status
            .ports
            .iter()
            .all(|port| port.packets == 1 && port.records == 1),
        "{:?}",
        status.ports
    );
    let threads = status
        .threads
        .iter()
        .filter(|thread| thread.name.starts_with("port "))
        .count();
    assert_eq!(threads, 4, "a thread each");
}

#[test]
fn of_logins_that_waited_together_the_newest_wins() {
    let (_daemon, mut client, port) = started();
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute("LOCK TABLE trackport.device IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    // A new device that loses patience and connects again, while nobody can register it.
    let mut logins: Vec<Device> = (0..4)
        .map(|_| {
            let mut device = Device::connect(port);
            device.send(&login(imei(1)));
            device.expect_silence(ms(300));
            device
        })
        .collect();
    transaction.commit().unwrap();
    let mut newest = logins.pop().unwrap();
    assert_eq!(newest.answer(1, ANSWER), Answer::Bytes(vec![1]));
    newest.expect_silence(secs(1));
    newest.deliver(&packet(0, 1));
}

#[test]
fn a_wrong_check_digit_only_warns() {
    let (daemon, _client, port) = started();
    let odd: Imei = "123456789012345".parse().unwrap();
    Device::login(port, odd).deliver(&packet(0, 1));
    daemon.wait_log(secs(1), &["imei check digit", "123456789012345"]);
}
