//! What must hold for whoever tries to take more than there is for one: every bound of the README's table holds, the log names the
//! key to raise, nothing that was taken is lost, and a device that behaves is served on the same port meanwhile.
//!
//! Bounds with a test elsewhere: sessions of a port and shares of the queue in `pressure.rs`, incomplete packets and broken ones in
//! `bad_input.rs`, one session per device and new devices per hour in `login.rs`.

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Instant;

use trackport::protocol::teltonika::encode::login;

use crate::harness::beside::while_another_sends;
use crate::harness::daemon::{Daemon, Setup};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::rows::{all_records, records, while_locked};
use crate::harness::{cpu_ms, eventually, free_port, imei, join, ms, postgres as pg, secs, spawn};

fn limits(keys: &str) -> impl FnOnce(Setup) -> Setup {
    move |setup| setup.more(&format!("[limits]\n{keys}"))
}

/// Whether a connection is still there, without waiting for it.
fn is_open(device: &mut Device) -> bool {
    device.answer(1, ms(1)) == Answer::Silence(vec![])
}

/// Sets the soft limit of open files of a running daemon.
fn allow_files(daemon: &Daemon, n: usize) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", daemon.pid()))
        .arg(format!("--nofile={n}:4096"))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn an_address_has_so_many_sessions_without_a_login() {
    while_another_sends(limits("sessions_per_address = 5"), |daemon, _, port| {
        let mut strangers: Vec<Device> = (0..5).map(|_| Device::connect(port)).collect();
        let begun = Instant::now();
        let mut sixth = Device::connect(port);
        sixth.expect_closed(ANSWER);
        assert!(begun.elapsed() < secs(2), "closed at once");
        daemon.wait_log(
            secs(1),
            &["address full", &sixth.address(), "sessions_per_address"],
        );
        assert!(strangers.iter_mut().all(is_open), "the others stay");
        // Other addresses do not notice.
        let mut other = Device::connect_from([127, 0, 0, 2], port);
        other.send(&login(imei(1)));
        assert_eq!(other.answer(1, ANSWER), Answer::Bytes(vec![1]));
        // One place that is given up is one login.
        strangers.pop();
        eventually(secs(5), "there is a place again", || {
            Device::try_login(port, imei(2)).is_some()
        });
    });
}

#[test]
fn a_fleet_behind_one_address_comes_in_however_low_the_limit_is() {
    while_another_sends(limits("sessions_per_address = 4"), |_, client, port| {
        // All at once, each tries until it is in, and those that are in stay.
        let fleet: Vec<_> = (0..60)
            .map(|number| {
                spawn(move || {
                    let begun = Instant::now();
                    loop {
                        if let Some(mut device) = Device::try_login(port, imei(number)) {
                            device.deliver(&packet(0, 1));
                            return device;
                        }
                        assert!(begun.elapsed() < secs(30), "device {number} is kept out");
                        std::thread::sleep(ms(50));
                    }
                })
            })
            .collect();
        let mut fleet: Vec<Device> = fleet.into_iter().map(join).collect();
        assert!(
            fleet.iter_mut().all(is_open),
            "who has logged in counts no more"
        );
        for number in 0..60 {
            assert_eq!(records(client, imei(number)), 1);
        }
    });
}

#[test]
fn networks_that_are_allowed_have_no_limit_per_address() {
    let (database, _client) = pg::shared().migrated();
    let (trusted, open) = (free_port(), free_port());
    let daemon = limits("sessions_per_address = 3")(Setup::new(&database.url))
        .port_with(trusted, "allow = [\"127.0.0.0/8\"]")
        .port(open)
        .start();
    let mut inside: Vec<Device> = (0..10).map(|_| Device::connect(trusted)).collect();
    Device::login(trusted, imei(1)).deliver(&packet(0, 1));
    assert!(inside.iter_mut().all(is_open));
    assert_eq!(daemon.count("address full"), 0);
    // Nor do they count for the other port.
    Device::login(open, imei(2)).deliver(&packet(0, 1));
}

#[test]
fn one_address_cannot_take_all_descriptors() {
    while_another_sends(
        |setup| setup.timeout("login", "30 s").timeout("packet", "30 s"),
        |daemon, _, port| {
            // Room for some 40 sessions. Telling the state looks at the limit again.
            allow_files(daemon, 120);
            daemon.signal("USR2");
            daemon.wait_log(secs(5), &["state", "receive_bytes"]);
            let mut strangers: Vec<Device> = (0..80).map(|_| Device::connect(port)).collect();
            let line = daemon.wait_log(secs(5), &["address full", "LimitNOFILE"]);
            strangers.retain_mut(is_open);
            let n = strangers.len();
            assert!((24..=40).contains(&n), "{n} strangers have a place: {line}");
            // So those from elsewhere come in, until all places are taken.
            let mut fleet: Vec<Device> = (0..8)
                .map(|number| {
                    let mut device = Device::connect_from([127, 0, 0, 3], port);
                    device.send(&login(imei(number)));
                    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![1]));
                    device
                })
                .collect();
            fleet[7].deliver(&packet(0, 1));
        },
    );
}

#[test]
fn with_all_descriptors_used_up_accepting_goes_on_as_soon_as_one_is_free() {
    while_another_sends(
        |setup| setup.timeout("login", "30 s").timeout("packet", "30 s"),
        |daemon, _, port| {
            let files = format!("/proc/{}/fd", daemon.pid());
            let open = std::fs::read_dir(files).unwrap().count();
            // Sessions are not told of this limit: accept(2) really fails.
            allow_files(daemon, open + 4);
            let mut waiting: Vec<Device> = (0..12).map(|_| Device::connect(port)).collect();
            daemon.wait_log(
                secs(5),
                &["no descriptors left", "Too many open files", "LimitNOFILE"],
            );
            let busy = cpu_ms(daemon.pid());
            std::thread::sleep(secs(1));
            let busy = cpu_ms(daemon.pid()) - busy;
            assert!(busy < 600, "{busy} ms of a second spent waiting");
            // The limit stays; who leaves makes room for who waits, in the order of connecting.
            let mut last = waiting.pop().unwrap();
            last.send(&login(imei(1)));
            last.expect_silence(ms(300));
            drop(waiting);
            assert_eq!(last.answer(1, ANSWER), Answer::Bytes(vec![1]));
            last.deliver(&packet(0, 1));
            allow_files(daemon, 4096);
        },
    );
}

#[test]
fn a_device_logs_in_so_often_in_a_minute_and_then_waits_for_its_answer() {
    while_another_sends(limits("logins_per_minute = 30"), |daemon, _, port| {
        let mut device = Device::connect(port);
        let mut n_at_once = 0;
        loop {
            device.send(&login(imei(1)));
            match device.answer(1, ms(500)) {
                Answer::Bytes(bytes) => assert_eq!(bytes, [1]),
                Answer::Silence(_) => break,
                Answer::Closed(bytes) => panic!("closed after {bytes:?}"),
            }
            n_at_once += 1;
            assert!(n_at_once < 60, "never slowed down");
        }
        assert!(n_at_once >= 30, "only {n_at_once} at once");
        daemon.wait_log(
            secs(1),
            &[
                "logins slowed down",
                &imei(1).to_string(),
                "logins_per_minute",
            ],
        );
        // Two seconds earn one login.
        assert_eq!(device.answer(1, secs(5)), Answer::Bytes(vec![1]));
        device.deliver(&packet(0, 1));
        // Whatever it tries: an answer or none, but never that it is refused.
        let mut many: Vec<Device> = (0..20)
            .map(|_| {
                let mut device = Device::connect(port);
                device.send(&login(imei(1)));
                device
            })
            .collect();
        let mut n_in = 0;
        for device in &mut many {
            match device.answer(1, secs(8)) {
                Answer::Bytes(bytes) => {
                    assert_eq!(bytes, [1]);
                    n_in += 1;
                }
                // Not within the login time-out, 5 s.
                Answer::Closed(bytes) => assert!(bytes.is_empty(), "{bytes:?}"),
                Answer::Silence(_) => panic!("it waits for longer than the login time-out"),
            }
        }
        assert!((1..=6).contains(&n_in), "{n_in} logins in 5 s");
    });
}

#[test]
fn a_device_that_sends_too_fast_is_read_later_and_loses_nothing() {
    while_another_sends(
        limits("bytes_per_second = \"64 KiB\""),
        |daemon, client, port| {
            let mut device = Device::login(port, imei(1));
            let all: Vec<u8> = (0..50).flat_map(|n| packet(n * 100, 100)).collect();
            // What may come at once, and what comes in a second, twice.
            assert!(all.len() > 3 * (64 << 10), "{} bytes", all.len());
            let begun = Instant::now();
            device.send(&all);
            for n in 0..50 {
                assert_eq!(device.ack(secs(20)), Some(100), "packet {n}");
            }
            let took = begun.elapsed();
            assert!(took > ms(1500), "all of it within {took:?}");
            assert_eq!(records(client, imei(1)), 5000);
            daemon.wait_log(
                secs(1),
                &[
                    "device slowed down",
                    &imei(1).to_string(),
                    "bytes_per_second",
                ],
            );
        },
    );
}

#[test]
fn a_flood_of_pings_costs_little_and_ends_before_a_login_with_the_login_time() {
    let setup = |setup: Setup| {
        limits("bytes_per_second = \"64 KiB\"")(setup)
            .timeout("login", "2 s")
            .timeout("packet", "2 s")
    };
    while_another_sends(setup, |daemon, _, port| {
        // A stranger that pings now and then, and one that does nothing else.
        let mut now_and_then = Device::connect(port);
        let mut flood = Device::connect(port);
        let begun = Instant::now();
        let flooding = spawn(move || {
            while flood.try_send(&[0xFF; 4096]).is_ok() {}
            begun.elapsed()
        });
        while now_and_then.try_send(&[0xFF]).is_ok()
            && now_and_then.answer(1, ms(100)) == Answer::Silence(vec![])
        {
            assert!(begun.elapsed() < secs(5), "a ping is no login");
        }
        let took = [begun.elapsed(), join(flooding)];
        assert!(
            took.iter().all(|took| (ms(1500)..secs(6)).contains(took)),
            "closed after {took:?}"
        );
        assert_eq!(daemon.count("login time-out"), 2);
        // A device that has logged in may ping for ever, as slowly as it may send.
        let mut device = Device::login(port, imei(1));
        device.send(&[0xFF; 512 << 10]);
        std::thread::sleep(ms(500));
        let busy = cpu_ms(daemon.pid());
        device.expect_silence(secs(1));
        let busy = cpu_ms(daemon.pid()) - busy;
        assert!(busy < 600, "{busy} ms of a second spent on it");
        assert_eq!(daemon.status().receive_bytes, 0);
    });
}

/// More logins than answers that the kernel keeps for a device that reads none.
const LOGINS: usize = 50_000;

/// Sends them all beside the caller, as far as somebody takes them.
fn send_logins(device: &Device) -> JoinHandle<std::io::Result<()>> {
    let mut stream = device.stream().try_clone().unwrap();
    stream.set_write_timeout(Some(secs(30))).unwrap();
    spawn(move || stream.write_all(&login(imei(1)).repeat(LOGINS)))
}

/// Bytes that the port has read.
fn bytes_read(daemon: &Daemon) -> u64 {
    daemon.status().ports[0].bytes
}

/// As many logins as one may wish for: what bounds them is that their answers are not read.
fn many_logins(packet: &'static str) -> impl FnOnce(Setup) -> Setup {
    move |setup| limits("logins_per_minute = 60000")(setup).timeout("packet", packet)
}

#[test]
fn a_device_that_reads_no_answers_is_not_read_and_then_closed() {
    while_another_sends(many_logins("2 s"), |daemon, _, port| {
        let before = daemon.memory();
        let device = Device::connect_with_window(1, port);
        let begun = Instant::now();
        let sending = send_logins(&device);
        daemon.wait_log(
            secs(20),
            &["answers not read", &imei(1).to_string(), "packet"],
        );
        assert!(begun.elapsed() > ms(1500));
        assert!(daemon.memory() < before + (16 << 20), "{before} before");
        eventually(secs(3), "its place is free", || {
            daemon.status().ports[0].sessions == 1
        });
        assert_eq!(daemon.status().receive_bytes, 0);
        let n_bytes = (LOGINS * login(imei(1)).len()) as u64;
        assert!(bytes_read(daemon) < n_bytes, "all of it was read");
        // What the kernel kept for it is gone as well: the connection is reset.
        drop(sending);
        let mut rest = Vec::new();
        device.stream().set_read_timeout(Some(ANSWER)).unwrap();
        let end = device.stream().read_to_end(&mut rest);
        assert_eq!(
            end.map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionReset)
        );
    });
}

#[test]
fn a_device_that_reads_its_answers_late_gets_all_of_them() {
    while_another_sends(many_logins("30 s"), |daemon, client, port| {
        let mut device = Device::connect_with_window(16 << 10, port);
        let sending = send_logins(&device);
        daemon.wait_log(secs(5), &["login accepted", &imei(1).to_string()]);
        let mut before = 0;
        eventually(secs(20), "nothing more is read of it", || {
            before = bytes_read(daemon);
            std::thread::sleep(ms(500));
            // The other device sends a packet of a record now and then.
            bytes_read(daemon) - before < 10_000
        });
        let n_bytes = (LOGINS * login(imei(1)).len()) as u64;
        assert!(before < n_bytes, "all of it was read");
        let mut answers = vec![0; LOGINS];
        device.stream().set_read_timeout(Some(ANSWER)).unwrap();
        device
            .stream()
            .read_exact(&mut answers)
            .expect("an answer for each login");
        join(sending).unwrap();
        assert!(answers.iter().all(|&answer| answer == 1));
        // And it goes on as if nothing had been.
        device.deliver(&packet(0, 3));
        assert_eq!(records(client, imei(1)), 3);
        assert_eq!(daemon.count("answers not read"), 0);
    });
}

/// What may be kept beyond the budget: one read and the largest packet.
const SLACK: usize = 128 << 10;

/// Devices that all send `bytes` while the table is locked: how many bytes were kept and waited at most. Logins are answered all
/// the time, and afterwards each device gets its first ack.
fn flood_while_locked(receive: &str, bytes: &[u8], expected: &'static str) -> (usize, usize) {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let keys = format!("queue = \"64 KiB\"\nreceive = \"{receive}\"");
    let daemon = limits(&keys)(Setup::new(&database.url))
        .without_spool()
        .port(port)
        .start();
    let mut fleet: Vec<Device> = (0..80)
        .map(|number| Device::login(port, imei(number)))
        .collect();
    let (mut kept, mut waiting) = (0, 0);
    while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
        for device in &mut fleet {
            device.send(bytes);
        }
        daemon.wait_log(secs(5), &["reading rests", expected, "[limits] receive"]);
        let begun = Instant::now();
        while begun.elapsed() < secs(2) {
            let status = daemon.status();
            kept = kept.max(status.receive_bytes);
            waiting = waiting.max(status.waiting_bytes);
            std::thread::sleep(ms(50));
        }
        // Nobody is closed for it, who wants to come in does, and nothing spins.
        assert!(fleet.iter_mut().all(is_open));
        Device::login(port, imei(500));
        let busy = cpu_ms(daemon.pid());
        std::thread::sleep(secs(1));
        let busy = cpu_ms(daemon.pid()) - busy;
        assert!(busy < 600, "{busy} ms of a second spent waiting");
    });
    for (number, device) in fleet.iter_mut().enumerate() {
        assert_eq!(
            device.ack(secs(20)),
            Some(u32::from(bytes[9])),
            "device {number}"
        );
    }
    assert!(all_records(&mut client) >= 80 * i64::from(bytes[9]));
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
    drop(fleet);
    eventually(secs(10), "all is given back", || {
        let status = daemon.status();
        status.receive_bytes + status.waiting_bytes + status.queue_bytes == 0
    });
    (kept, waiting)
}

#[test]
fn packets_that_wait_for_room_draw_on_a_budget_and_then_nothing_is_read() {
    let large = packet(0, 250);
    assert!(80 * large.len() > 3 * (256 << 10), "{} bytes", large.len());
    let (_, waiting) = flood_while_locked("256 KiB", &large, "bytes_waiting");
    assert!(waiting > 128 << 10, "{waiting} bytes waited");
    assert!(waiting <= (256 << 10) + SLACK, "{waiting} bytes waited");
}

#[test]
fn bytes_behind_a_packet_that_waits_for_its_ack_draw_on_a_budget_and_then_nothing_is_read() {
    // A device that does not wait for its acks.
    let stream: Vec<u8> = (0..200).flat_map(|second| packet(second, 1)).collect();
    let (kept, _) = flood_while_locked("256 KiB", &stream, "bytes_kept");
    assert!(kept > 128 << 10, "{kept} bytes kept");
    assert!(kept <= (256 << 10) + SLACK, "{kept} bytes kept");
}

#[test]
fn little_is_kept_of_who_waits_for_the_answer_to_a_login() {
    let receive = limits("receive = \"64 KiB\"");
    while_another_sends(
        |setup| {
            receive(setup)
                .timeout("login", "30 s")
                .timeout("packet", "30 s")
        },
        |daemon, client, port| {
            let stream: Vec<u8> = (0..200).flat_map(|second| packet(second, 1)).collect();
            let mut new = Vec::new();
            while_locked(client, "trackport.device IN ACCESS EXCLUSIVE MODE", || {
                for number in 0..40 {
                    let mut device = Device::connect(port);
                    device.send(&[login(imei(number)), stream.clone()].concat());
                    new.push(device);
                }
                eventually(secs(5), "all of them are there", || {
                    daemon.status().ports[0].sessions == 41
                });
                std::thread::sleep(ms(300));
                let kept = daemon.status().receive_bytes;
                assert!(kept <= 40 * 512, "{kept} bytes kept of 40 strangers");
                assert!(new.iter_mut().all(is_open));
            });
            for device in &mut new {
                assert_eq!(
                    device.answer(5, secs(20)),
                    Answer::Bytes(vec![1, 0, 0, 0, 1])
                );
            }
        },
    );
}

#[test]
fn limits_that_are_changed_by_a_reload_are_named_as_waiting_for_a_restart() {
    while_another_sends(limits("sessions_per_address = 5"), |daemon, _, _| {
        daemon.edit_conf(|text| {
            text.replace(
                "sessions_per_address = 5",
                "sessions_per_address = 6\nlogins_per_minute = 7\nbytes_per_second = \"1 MiB\"",
            )
        });
        daemon.signal("HUP");
        for key in ["sessions_per_address", "logins_per_minute"] {
            daemon.wait_log(secs(5), &["conf change needs a restart", key]);
        }
        daemon.wait_log(secs(5), &["conf reloaded"]);
        let others = daemon.log_lines(&["needs a restart", "bytes_per_second"]);
        assert!(others.is_empty(), "that is the default: {others:?}");
    });
}
