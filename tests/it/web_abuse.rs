//! Whoever speaks to the web as no friend would: slowly, too much, in riddles, or without listening. The web answers others
//! meanwhile or soon after, and acks do not notice.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Instant;

use socket2::{Domain, Socket, Type};
use trackport::web::CONNECTIONS_MAX;

use crate::harness::http::{closed_after, connect, get, read_all, say, try_get};
use crate::harness::scene::Scene;
use crate::harness::{eventually, ms, secs};

impl Scene {
    /// The web answers, on the same thread as ever.
    #[track_caller]
    fn web_is_well(&self) {
        assert_eq!(get(self.web, "/healthz").status, 200);
        let web = self.daemon.status().threads;
        let web = web.iter().find(|thread| thread.name == "web").unwrap();
        assert_eq!((web.failures, web.state.as_str()), (0, "running"));
    }
}

#[test]
fn headers_that_come_slowly_end_in_time() {
    let mut scene = Scene::new(|setup| setup);
    let mut stream = connect(scene.web);
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    let mut silent = connect(scene.web);
    // One that was answered and asks nothing more.
    let mut content = connect(scene.web);
    content
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut dripping = connect(scene.web);
    let drip = dripping.try_clone().unwrap();
    let dripper = crate::harness::spawn(move || {
        let mut drip: TcpStream = drip;
        // An error means that the other side has closed.
        while drip.write_all(b"x").is_ok() {
            sleep(ms(200));
        }
    });
    scene.acks();
    scene.web_is_well();
    assert!(closed_after(&mut stream, secs(20)) > secs(2));
    closed_after(&mut silent, secs(20));
    closed_after(&mut content, secs(20));
    closed_after(&mut dripping, secs(20));
    crate::harness::join(dripper);
    scene.web_is_well();
}

#[test]
fn a_huge_header_is_refused() {
    let mut scene = Scene::new(|setup| setup);
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    request.extend(vec![b'a'; 200_000]);
    let answer = say(scene.web, &request);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let answer = say(
        scene.web,
        format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    let long = "a".repeat(100_000);
    let answer = say(
        scene.web,
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    scene.acks();
    scene.web_is_well();
}

#[test]
fn no_request_is_smuggled_in_the_body_of_another() {
    let scene = Scene::new(|setup| setup);
    for encoding in ["xchunked", "chunked, xchunked", "identity"] {
        let inner = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n";
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: {encoding}\r\n\r\n{inner}",
            inner.len()
        );
        let answer = say(scene.web, request.as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{encoding}: {answer}");
    }
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\0b\n\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = say(scene.web, request.as_bytes());
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{request:?}: {answer}");
    }
    // The body that a refused request announces is not waited for, and what follows is no request.
    let answer = say(
        scene.web,
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nGET /healthz HTTP/1.1\r\nHost: b\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    scene.web_is_well();
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let scene = Scene::new(|setup| setup);
    let paths = ["/healthz", "/elsewhere", "/readyz", "/metrics", "/"];
    let requests: String = (0..10)
        .flat_map(|_| paths)
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let mut stream = connect(scene.web);
    stream.write_all(requests.as_bytes()).unwrap();
    let answers = read_all(&mut stream, secs(10));
    let codes: Vec<&str> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(codes.len(), 50);
    for (code, path) in codes.iter().zip(paths.iter().cycle()) {
        assert_eq!(*code, if *path == "/elsewhere" { "404" } else { "200" });
    }
    scene.web_is_well();
}

#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let mut scene = Scene::new(|setup| setup);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = ([127, 0, 0, 1], scene.web).into();
    socket
        .connect(&std::net::SocketAddr::into(address))
        .unwrap();
    let mut deaf = TcpStream::from(socket);
    deaf.set_write_timeout(Some(ms(500))).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    // Until neither side's buffers take any more.
    let begun = Instant::now();
    while deaf.write_all(request).is_ok() {
        assert!(begun.elapsed() < secs(20), "it reads for ever");
    }
    let memory = scene.daemon.memory();
    scene.acks();
    scene.web_is_well();
    eventually(secs(30), "the deaf client is given up", || {
        deaf.take_error().unwrap().is_some()
            || deaf.write_all(request).is_err_and(|error| gone(&error))
    });
    assert!(scene.daemon.memory() < memory + (16 << 20));
    scene.acks();
    scene.web_is_well();
}

fn gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

#[test]
fn too_many_connections_wait_for_their_turn_and_acks_do_not() {
    let mut scene = Scene::new(|setup| setup);
    let idle: Vec<TcpStream> = (0..CONNECTIONS_MAX + 40)
        .map(|_| connect(scene.web))
        .collect();
    scene.daemon.wait_log(secs(10), &["web full"]);
    for _ in 0..10 {
        scene.acks();
    }
    // Those who ask nothing leave their places to others.
    let begun = Instant::now();
    let answer = try_get(scene.web, "/healthz").expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() < secs(20), "{:?}", begun.elapsed());
    drop(idle);
    scene.web_is_well();
}
