//! One connection as a state machine, by hand-made time: answers, order, time-outs.

use trackport::imei::{Imei, ImeiError};
use trackport::protocol::teltonika::encode::{RecordSpec, frame, login, packet};
use trackport::protocol::teltonika::{Codec, Expired, Millis, Output, Session, Timeouts};

const MAX: usize = 65_536;
const TIMEOUTS: Timeouts = Timeouts {
    login_ms: 15_000,
    idle_ms: 600_000,
    packet_ms: 60_000,
};

fn imei() -> Imei {
    "356307042441013".parse().unwrap()
}

fn records(n: usize) -> Vec<u8> {
    packet(Codec::Codec8, &vec![RecordSpec::default(); n]).unwrap()
}

fn logged_in(now: Millis) -> Session {
    let mut session = Session::new(now, false);
    session.handle_bytes(&login(imei()), MAX, now);
    assert_eq!(session.login_accepted(now), [1]);
    session
}

#[test]
fn no_login_in_time_is_the_end() {
    let mut session = Session::new(1000, false);
    assert_eq!(session.deadline(&TIMEOUTS), 16_000);
    // Neither pings nor half a login buy time.
    assert_eq!(session.handle_bytes(&[0xFF], MAX, 9000), (1, Output::Ping));
    assert_eq!(
        session.handle_bytes(&[0, 15, b'3'], MAX, 14_000),
        (0, Output::Need(17))
    );
    assert_eq!(session.expired(&TIMEOUTS, 15_999), None);
    assert_eq!(session.expired(&TIMEOUTS, 16_000), Some(Expired::Login));
}

#[test]
fn a_login_waits_for_its_answer_no_longer_than_the_login_time() {
    let mut session = Session::new(0, false);
    let input = [login(imei()), records(1)].concat();
    assert_eq!(
        session.handle_bytes(&input, MAX, 10_000),
        (17, Output::Login(imei()))
    );
    assert!(!session.wants_bytes());
    assert_eq!(
        session.handle_bytes(&input[17..], MAX, 10_000),
        (0, Output::Need(0))
    );
    assert_eq!(session.expired(&TIMEOUTS, 15_000), Some(Expired::Login));
    assert_eq!(session.login_accepted(12_000), [1]);
    assert_eq!(session.deadline(&TIMEOUTS), 612_000);
    assert!(matches!(
        session.handle_bytes(&input[17..], MAX, 12_000),
        (_, Output::Packet(_))
    ));
}

#[test]
fn a_refused_login_ends_the_session() {
    let mut session = Session::new(0, false);
    session.handle_bytes(&login(imei()), MAX, 0);
    assert_eq!(session.login_refused(), [0]);
    assert!(!session.wants_bytes());
    assert_eq!(
        session.handle_bytes(&records(1), MAX, 0),
        (0, Output::Need(0))
    );
}

#[test]
fn a_login_without_an_imei_is_a_bad_login() {
    let mut session = Session::new(0, false);
    let output = session.handle_bytes(&[0, 3, b'1', b'2', b'3'], MAX, 0);
    assert_eq!(output, (5, Output::BadLogin(ImeiError::Length(3))));
    assert!(!session.wants_bytes());
    let mut session = Session::new(0, false);
    let (_, output) = session.handle_bytes(b"\0\x0f35630704244101x", MAX, 0);
    assert_eq!(output, Output::BadLogin(ImeiError::NotDigits));
}

#[test]
fn a_packet_before_the_login_ends_the_session() {
    let input = records(1);
    let mut session = Session::new(0, false);
    assert_eq!(
        session.handle_bytes(&input, MAX, 0),
        (input.len(), Output::BeforeLogin)
    );
    assert!(!session.wants_bytes());
}

#[test]
fn a_pinned_port_takes_packets_without_a_login_and_a_login_too() {
    let mut session = Session::new(0, true);
    assert_eq!(session.deadline(&TIMEOUTS), 600_000);
    assert!(matches!(
        session.handle_bytes(&records(2), MAX, 5),
        (_, Output::Packet(_))
    ));
    assert_eq!(session.durable(6), [0, 0, 0, 2]);
    assert_eq!(
        session.handle_bytes(&login(imei()), MAX, 7),
        (17, Output::Login(imei()))
    );
    assert_eq!(session.login_accepted(8), [1]);
    assert!(matches!(
        session.handle_bytes(&records(3), MAX, 9),
        (_, Output::Packet(_))
    ));
    assert_eq!(session.durable(10), [0, 0, 0, 3]);
}

#[test]
fn nothing_is_read_before_the_receipt_and_the_ack_names_the_packet_stored() {
    let mut session = logged_in(0);
    let first = records(7);
    let input = [first.clone(), records(9), vec![0xFF]].concat();
    let (consumed, output) = session.handle_bytes(&input, MAX, 1);
    let Output::Packet(packet) = output else {
        panic!("{output:?}");
    };
    assert_eq!((consumed, packet.frame), (first.len(), &first[..]));
    assert!(!session.wants_bytes());
    let rest = &input[consumed..];
    assert_eq!(session.handle_bytes(rest, MAX, 2), (0, Output::Need(0)));
    assert_eq!(session.durable(3), [0, 0, 0, 7]);
    assert!(session.wants_bytes());
    let (consumed, output) = session.handle_bytes(rest, MAX, 3);
    assert!(matches!(output, Output::Packet(_)));
    assert_eq!(session.durable(4), [0, 0, 0, 9]);
    assert_eq!(
        session.handle_bytes(&rest[consumed..], MAX, 4),
        (1, Output::Ping)
    );
}

#[test]
fn a_packet_in_flight_has_the_idle_time_and_no_other() {
    let mut session = logged_in(0);
    session.handle_bytes(&records(1), MAX, 1000);
    assert_eq!(session.deadline(&TIMEOUTS), 601_000);
    session.durable(300_000);
    assert_eq!(session.deadline(&TIMEOUTS), 900_000);
}

#[test]
fn silence_ends_a_session_and_a_ping_prolongs_it() {
    let mut session = logged_in(0);
    assert_eq!(session.expired(&TIMEOUTS, 599_999), None);
    assert_eq!(
        session.handle_bytes(&[0xFF], MAX, 599_999),
        (1, Output::Ping)
    );
    assert_eq!(session.expired(&TIMEOUTS, 1_199_998), None);
    assert_eq!(session.expired(&TIMEOUTS, 1_199_999), Some(Expired::Idle));
}

#[test]
fn asking_again_without_new_bytes_prolongs_nothing() {
    let mut session = logged_in(0);
    session.handle_bytes(&[], MAX, 500_000);
    assert_eq!(session.deadline(&TIMEOUTS), 600_000);
}

#[test]
fn one_byte_per_second_is_too_slow() {
    let mut session = logged_in(0);
    let input = records(4);
    for (n, now) in (1..=60).zip((10_000..).step_by(1000)) {
        assert_eq!(session.expired(&TIMEOUTS, now), None, "at {now}");
        let (consumed, output) = session.handle_bytes(&input[..n], MAX, now);
        assert!(
            matches!((consumed, output), (0, Output::Need(_))),
            "{output:?}"
        );
        assert_eq!(session.deadline(&TIMEOUTS), 70_000);
    }
    assert_eq!(
        session.expired(&TIMEOUTS, 70_000),
        Some(Expired::HalfPacket)
    );
}

#[test]
fn a_finished_packet_clears_the_half_packet_time() {
    let mut session = logged_in(0);
    let input = [records(1), records(1)[..20].to_vec()].concat();
    session.handle_bytes(&input[..10], MAX, 100);
    assert_eq!(session.deadline(&TIMEOUTS), 60_100);
    let (consumed, _) = session.handle_bytes(&input, MAX, 50_000);
    assert_eq!(session.deadline(&TIMEOUTS), 650_000);
    session.durable(100_000);
    // The next packet's time starts when the session listens again, not while it could not.
    session.handle_bytes(&input[consumed..], MAX, 100_000);
    assert_eq!(session.deadline(&TIMEOUTS), 160_000);
}

#[test]
fn a_second_login_is_asked_about_like_the_first() {
    let mut session = logged_in(0);
    let other: Imei = "352093086403655".parse().unwrap();
    assert_eq!(
        session.handle_bytes(&login(other), MAX, 50_000),
        (17, Output::Login(other))
    );
    assert!(!session.wants_bytes());
    // Its time runs from itself, not from the connect long ago.
    assert_eq!(session.deadline(&TIMEOUTS), 65_000);
    assert_eq!(session.login_refused(), [0]);
    assert!(!session.wants_bytes());
}

#[test]
fn an_unreadable_frame_gets_its_ack_only_when_kept_for_good() {
    let mut sound = records(3);
    let length = sound.len();
    // Number of data 2 wrong, CRC made right again: a mistake of the firmware, not of the line.
    sound[length - 5] = 4;
    let sound = frame(&sound[8..length - 4]).unwrap();
    let mut session = logged_in(0);
    let (consumed, output) = session.handle_bytes(&sound, MAX, 1);
    let Output::Broken {
        frame: kept,
        error,
        declared,
    } = output
    else {
        panic!("{output:?}");
    };
    assert_eq!(
        (consumed, kept, error.code(), declared),
        (length, &sound[..], "counts", Some(3))
    );
    assert!(!session.wants_bytes());
    assert_eq!(session.quarantined_for_good(2), Some([0, 0, 0, 3]));
    assert!(session.wants_bytes());

    let mut session = logged_in(0);
    session.handle_bytes(&frame(&[0x07, 1, 1]).unwrap(), MAX, 1);
    assert_eq!(session.quarantined_for_good(2), None);
    assert!(!session.wants_bytes());
}

#[test]
fn a_command_is_passed_over_without_an_answer() {
    let mut session = logged_in(0);
    let command = frame(&[0x0C, 1, 6, 0, 0, 0, 2, b'o', b'k', 1]).unwrap();
    let output = session.handle_bytes(&command, MAX, 1);
    assert_eq!(output, (command.len(), Output::Command { codec_id: 0x0C }));
    assert!(session.wants_bytes());
}

#[test]
fn a_stranger_is_garbage_at_once() {
    let mut session = Session::new(0, false);
    let (_, output) = session.handle_bytes(b"GET / HTTP/1.1\r\n\r\n", MAX, 0);
    let Output::Garbage(error) = output else {
        panic!("{output:?}");
    };
    assert_eq!(error.code(), "http");
    assert!(!session.wants_bytes());
}

#[test]
fn a_time_beyond_the_clock_overflows_nothing() {
    let forever = Timeouts {
        login_ms: Millis::MAX,
        idle_ms: Millis::MAX,
        packet_ms: Millis::MAX,
    };
    let session = Session::new(5, false);
    assert_eq!(session.deadline(&forever), Millis::MAX);
    assert_eq!(session.expired(&forever, 1_000_000), None);
}
