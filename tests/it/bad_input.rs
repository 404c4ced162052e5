//! What must hold for whatever else speaks to a tracker port: it costs bounded memory, its connection ends, the log says in
//! words what came from where, a counter counts it, and no other device waits for its ack.

use std::thread::sleep;
use std::time::Instant;

use postgres::Client;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{RecordSpec, frame, login};

use crate::harness::beside::while_another_sends;
use crate::harness::daemon::Setup;
use crate::harness::device::{ANSWER, Answer, Device, encode, packet, record};
use crate::harness::rows::{number, quarantine, records};
use crate::harness::{eventually, imei, ms, secs};

fn short(setup: Setup) -> Setup {
    setup.timeout("login", "1 s").timeout("packet", "1 s")
}

/// A login, then these bytes; the daemon must close without an ack.
#[track_caller]
fn sent_and_closed(port: u16, number: u64, bytes: &[u8]) -> Device {
    let mut device = Device::login(port, imei(number));
    device.send(bytes);
    device.expect_closed(ANSWER);
    device
}

#[track_caller]
fn codes(client: &mut Client, number: u64) -> Vec<String> {
    let entries = quarantine(client, imei(number));
    assert!(entries.iter().all(|entry| !entry.acked), "{entries:?}");
    entries.into_iter().map(|entry| entry.code).collect()
}

#[test]
fn lengths_that_lie() {
    while_another_sends(short, |daemon, client, port| {
        // Shorter than what follows: what is cut off has no right CRC.
        let mut short = packet(0, 2);
        short[7] -= 1;
        sent_and_closed(port, 1, &short);
        assert_eq!(codes(client, 1), ["crc"]);
        // Longer than what follows: half a packet, for as long as a packet may take.
        let mut long = packet(0, 2);
        long[7] += 20;
        let begun = Instant::now();
        let device = sent_and_closed(port, 2, &long);
        assert!(
            begun.elapsed() > ms(800),
            "given up after {:?}",
            begun.elapsed()
        );
        daemon.wait_log(
            secs(1),
            &["packet time-out", &device.address(), &imei(2).to_string()],
        );
        // Too short for any packet.
        for announced in 0..3 {
            let device = sent_and_closed(port, 3, &[0, 0, 0, 0, 0, 0, 0, announced, 8, 0]);
            daemon.wait_log(
                secs(1),
                &["not the protocol", &device.address(), "at least 3"],
            );
        }
        assert_eq!(daemon.count("packet time-out"), 1);
        assert_eq!(daemon.count("packet broken"), 1);
        assert_eq!(daemon.count("not the protocol"), 3);
    });
}

#[test]
fn counts_that_lie() {
    let change = |change: fn(&mut Vec<u8>)| {
        let good = packet(0, 2);
        let mut data = good[8..good.len() - 4].to_vec();
        change(&mut data);
        frame(&data).unwrap()
    };
    let lies = [
        ("counts", change(|data| data[1] = 1)),
        (
            "no_records",
            change(|data| {
                data[1] = 0;
                *data.last_mut().unwrap() = 0;
            }),
        ),
        (
            "record_short",
            change(|data| {
                data[1] = 3;
                *data.last_mut().unwrap() = 3;
            }),
        ),
        (
            "trailing",
            change(|data| {
                data[1] = 1;
                *data.last_mut().unwrap() = 1;
            }),
        ),
        // The number of IO elements in all, of the first record.
        ("io_count", change(|data| data[27] += 1)),
    ];
    while_another_sends(
        |setup| setup,
        |daemon, client, port| {
            for (number, (code, packet)) in lies.iter().enumerate() {
                let number = number as u64;
                sent_and_closed(port, number, packet);
                assert_eq!(codes(client, number), [*code]);
                daemon.wait_log(
                    secs(1),
                    &["packet broken", &imei(number).to_string(), "error="],
                );
                assert_eq!(records(client, imei(number)), 0);
            }
            assert_eq!(daemon.count("packet broken"), lies.len() as u64);
        },
    );
}

#[test]
fn an_imei_of_letters_or_of_another_length() {
    while_another_sends(short, |daemon, client, port| {
        let before = daemon.count("login refused");
        for login in [
            &b"\x00\x0fABCDEFGHIJKLMNO"[..],
            b"\x00\x0e35630704244101",
            b"\x00\x103563070424410130",
        ] {
            let mut device = Device::connect(port);
            device.send(login);
            device.expect_last(&[0], ANSWER);
            daemon.wait_log(
                secs(1),
                &["login refused", &device.address(), "error=an IMEI has"],
            );
        }
        assert_eq!(daemon.count("login refused"), before + 3);
        // So long a login is none.
        let mut device = Device::connect(port);
        device.send(&[&[0, 40][..], &[b'1'; 40]].concat());
        device.expect_closed(ANSWER);
        daemon.wait_log(
            secs(1),
            &["not the protocol", &device.address(), "15 bytes"],
        );
        let devices = "SELECT count(*) FROM trackport.device";
        assert_eq!(number(client, devices, &[]), 1, "nobody was registered");
    });
}

#[test]
fn the_same_packet_of_an_unknown_codec_for_ever() {
    while_another_sends(
        |setup| setup,
        |daemon, client, port| {
            let good = packet(0, 2);
            let mut data = good[8..good.len() - 4].to_vec();
            data[0] = 0x77;
            let unknown = frame(&data).unwrap();
            for _ in 0..20 {
                sent_and_closed(port, 1, &unknown);
            }
            let entries = quarantine(client, imei(1));
            assert_eq!(entries.len(), 1, "one entry however often it comes");
            let entry = &entries[0];
            assert_eq!(
                (entry.code.as_str(), entry.n_seen, entry.acked),
                ("codec", 20, false)
            );
            assert_eq!(entry.bytes, unknown);
            assert_eq!(daemon.count("packet broken"), 20);
            daemon.wait_log(secs(1), &["packet broken", &imei(1).to_string(), "77"]);
            // The device may send what is right, though.
            Device::login(port, imei(1)).deliver(&good);
        },
    );
}

#[test]
fn ever_new_broken_packets_fill_no_table() {
    while_another_sends(
        |setup| setup,
        |_, client, port| {
            for second in 0..40 {
                let mut bad = packet(second, 1);
                *bad.last_mut().unwrap() ^= 1;
                sent_and_closed(port, 1, &bad);
            }
            let entries = quarantine(client, imei(1));
            assert!(entries.len() <= 16, "{} entries", entries.len());
            let mut newest = packet(39, 1);
            *newest.last_mut().unwrap() ^= 1;
            assert_eq!(entries.last().unwrap().bytes, newest, "the newest stay");
        },
    );
}

#[test]
fn a_gigabyte_announced_costs_nothing() {
    while_another_sends(
        |setup| setup,
        |daemon, _, port| {
            let before = daemon.memory();
            let header = [0, 0, 0, 0, 0x40, 0, 0, 0];
            for _ in 0..20 {
                let mut device = Device::login(port, imei(1));
                let _ = device.try_send(&[&header[..], &[0; 10_000]].concat());
                device.expect_closed(ANSWER);
            }
            let after = daemon.memory();
            assert!(
                after < before + (16 << 20),
                "{before} bytes before, {after} after"
            );
            daemon.wait_log(
                secs(1),
                &["not the protocol", &imei(1).to_string(), "1073741824"],
            );
            assert_eq!(daemon.count("not the protocol"), 20);
        },
    );
}

#[test]
fn half_packets_draw_on_one_budget_and_the_oldest_go_first() {
    let budget = |setup: Setup| {
        setup
            .more("[limits]\nreceive = \"256 KiB\"")
            .timeout("packet", "2 min")
            .timeout("idle", "10 min")
    };
    while_another_sends(budget, |daemon, _, port| {
        let header = [0, 0, 0, 0, 0, 0, 0xEA, 0x60];
        let half = [&header[..], &[0; 50_000]].concat();
        let mut devices: Vec<Device> = (0..12)
            .map(|number| {
                let mut device = Device::login(port, imei(number));
                device.send(&half);
                sleep(ms(50));
                device
            })
            .collect();
        devices[0].expect_closed(ANSWER);
        devices[11].expect_silence(ms(300));
        eventually(secs(5), "the budget is kept", || {
            daemon.status().receive_bytes <= 256 << 10
        });
        daemon.wait_log(
            secs(1),
            &[
                "receive budget used up",
                &imei(0).to_string(),
                "[limits] receive",
            ],
        );
        assert!(daemon.count("receive budget used up") >= 6);
        drop(devices);
        eventually(secs(5), "all is given back", || {
            daemon.status().receive_bytes == 0
        });
    });
}

#[test]
fn one_byte_at_a_time_is_not_waited_for_without_end() {
    while_another_sends(short, |daemon, _, port| {
        let mut device = Device::login(port, imei(1));
        let begun = Instant::now();
        for byte in packet(0, 1) {
            if device.try_send(&[byte]).is_err()
                || device.answer(1, ms(250)) != Answer::Silence(vec![])
            {
                break;
            }
        }
        let took = begun.elapsed();
        assert!((ms(700)..secs(4)).contains(&took), "closed after {took:?}");
        daemon.wait_log(
            secs(1),
            &["packet time-out", &imei(1).to_string(), "bytes_received="],
        );
        assert_eq!(daemon.count("packet time-out"), 1);
        // Nor does a login.
        let mut device = Device::connect(port);
        let begun = Instant::now();
        for byte in login(imei(2)) {
            if device.try_send(&[byte]).is_err()
                || device.answer(1, ms(250)) != Answer::Silence(vec![])
            {
                break;
            }
        }
        let took = begun.elapsed();
        assert!((ms(700)..secs(3)).contains(&took), "closed after {took:?}");
        daemon.wait_log(secs(2), &["login time-out", &device.address()]);
    });
}

#[test]
fn a_connection_that_never_speaks_is_closed() {
    while_another_sends(short, |daemon, _, port| {
        let mut silent = Device::connect(port);
        let mut pinging = Device::connect(port);
        let begun = Instant::now();
        pinging.send(&[0xFF]);
        silent.expect_closed(secs(4));
        assert!(begun.elapsed() > ms(800));
        pinging.expect_closed(secs(2));
        for device in [&silent, &pinging] {
            daemon.wait_log(secs(1), &["login time-out", &device.address()]);
        }
        assert_eq!(daemon.count("login time-out"), 2);
    });
}

#[test]
fn a_logged_in_device_that_falls_silent_is_closed_after_the_idle_time() {
    let idle = |setup: Setup| short(setup).timeout("idle", "2 s");
    while_another_sends(idle, |daemon, _, port| {
        let mut device = Device::login(port, imei(1));
        device.deliver(&packet(0, 1));
        sleep(ms(1000));
        // A ping is a sign of life.
        device.send(&[0xFF]);
        device.expect_silence(ms(1500));
        device.expect_closed(secs(3));
        daemon.wait_log(secs(1), &["idle time-out", &imei(1).to_string()]);
    });
}

#[test]
fn other_protocols_are_called_by_their_name() {
    while_another_sends(
        |setup| setup,
        |daemon, _, port| {
            let strangers: [(&[u8], &str); 3] = [
                (b"GET / HTTP/1.1\r\nHost: tracker\r\n\r\n", "HTTP"),
                (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00], "TLS"),
                (b"##,imei:359586015829802,A;", "text"),
            ];
            let mut stubborn = Vec::new();
            for (bytes, name) in strangers {
                let mut stranger = Device::connect(port);
                stranger.send(bytes);
                stranger.expect_closed(ANSWER);
                daemon.wait_log(secs(1), &["not the protocol", &stranger.address(), name]);
                stubborn.push(stranger);
            }
            assert_eq!(daemon.count("not the protocol"), 3);
            // A stranger that does not close its side holds no descriptor and no bytes.
            eventually(secs(3), "only the good device is left", || {
                daemon.status().ports[0].sessions == 1
            });
            eventually(secs(3), "nothing is kept", || {
                daemon.status().receive_bytes == 0
            });
        },
    );
}

#[test]
fn half_a_packet_then_silence() {
    while_another_sends(short, |daemon, client, port| {
        let whole = packet(0, 3);
        let mut device = Device::login(port, imei(1));
        device.send(&whole[..whole.len() / 2]);
        device.expect_closed(secs(4));
        daemon.wait_log(secs(1), &["packet time-out", &imei(1).to_string()]);
        // One that breaks off in the middle and comes back loses nothing.
        let mut device = Device::login(port, imei(2));
        device.send(&whole[..whole.len() - 1]);
        drop(device);
        Device::login(port, imei(2)).deliver(&whole);
        assert_eq!(records(client, imei(1)), 0);
        assert_eq!(records(client, imei(2)), 3);
        eventually(secs(3), "nothing is kept", || {
            daemon.status().receive_bytes == 0
        });
    });
}

#[test]
fn a_device_that_sends_without_end_starves_no_other() {
    while_another_sends(
        |setup| setup,
        |_, client, port| {
            let mut loud = Device::login(port, imei(1));
            // Two megabytes in one go: hundreds of packets before the first ack is read.
            let records_each = 100;
            let all: Vec<u8> = (0..400)
                .flat_map(|n| packet(n * records_each, records_each))
                .collect();
            loud.send(&all);
            for n in 0..400 {
                assert_eq!(loud.ack(secs(30)), Some(100), "packet {n}");
            }
            assert_eq!(records(client, imei(1)), 40_000);
        },
    );
}

#[test]
fn noise_of_every_kind_stops_nothing() {
    while_another_sends(short, |daemon, _, port| {
        // A small generator of its own, so that a failure comes again.
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let before = daemon.memory();
        for round in 0..200 {
            let mut device = Device::connect(port);
            let mut bytes: Vec<u8> = (0..random() % 300)
                .map(|_| random().to_le_bytes()[3])
                .collect();
            if round % 2 == 0 {
                // Behind a login, and like a packet at least at its begin.
                device.send(&login(imei(1 + round % 8)));
                let extended = encode(
                    Codec::Codec8Extended,
                    &[RecordSpec {
                        time_ms: random(),
                        ..record(0)
                    }],
                );
                let keep = usize::try_from(random()).unwrap_or(0) % extended.len();
                bytes = [&extended[..keep], &bytes].concat();
            }
            let _ = device.try_send(&bytes);
        }
        assert!(daemon.is_alive());
        Device::login(port, imei(50)).deliver(&packet(0, 1));
        assert!(
            daemon.memory() < before + (32 << 20),
            "{before} bytes before"
        );
        eventually(secs(5), "nothing is kept", || {
            daemon.status().receive_bytes == 0
        });
    });
}

#[test]
fn a_storm_of_one_kind_fills_no_log() {
    while_another_sends(
        |setup| setup,
        |daemon, _, port| {
            for _ in 0..300 {
                let mut stranger = Device::connect(port);
                stranger.send(b"GET / HTTP/1.1\r\n\r\n");
                stranger.expect_closed(ANSWER);
            }
            assert_eq!(daemon.count("not the protocol"), 300, "each is counted");
            let lines = daemon.log_lines(&["not the protocol"]).len();
            assert!((1..=100).contains(&lines), "{lines} lines");
            // How many were left out is told when the storm is over.
            daemon.wait_log(secs(25), &["not the protocol", "more"]);
        },
    );
}
