//! Somebody with a browser, or a program with a token: requests by hand, with the headers that either sends.

use std::io::{Read, Write};

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::device::ANSWER;
use super::http::{self, Answer};

/// Where a request is sent.
pub trait Way {
    /// Says this and returns all that comes back.
    fn say(&self, request: &[u8]) -> String;
}

/// HTTP in the clear to this port.
impl Way for u16 {
    fn say(&self, request: &[u8]) -> String {
        http::say(*self, request)
    }
}

/// Whatever two-way stream.
pub fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> String {
    // It may refuse in the middle.
    let _ = stream.write_all(request).and_then(|()| stream.flush());
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whoever asks.
#[derive(Clone)]
pub struct Person<W> {
    pub way: W,
    pub host: String,
    /// Sent with each request, each with its end of line.
    pub headers: String,
}

impl<W: Way> Person<W> {
    pub fn new(way: W) -> Person<W> {
        Person {
            way,
            host: "localhost".to_owned(),
            headers: String::new(),
        }
    }

    /// With these lines of the header as well.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Person<W> {
        self.headers.push_str(lines);
        self
    }

    /// With a token.
    #[must_use]
    pub fn token(self, token: &str) -> Person<W> {
        self.with(&format!("Authorization: Bearer {}\r\n", token.trim()))
    }

    /// One request, as it is.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}{lines}Content-Length: {}\r\n\r\n{body}",
            self.host,
            self.headers,
            body.len()
        );
        let said = self.way.say(request.as_bytes());
        http::parse(&said).unwrap_or_else(|| panic!("{method} {path}: no answer: {said:?}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n",
            self.host, self.headers
        );
        let said = self.way.say(head.as_bytes());
        http::parse(&said).unwrap_or_else(|| panic!("{path}: no answer: {said:?}"))
    }

    /// A change, as our own pages send it.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let lines = "Content-Type: application/json\r\nSec-Fetch-Site: same-origin\r\n";
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.request(method, &format!("/api/v1{path}"), lines, &body)
    }

    /// What `/api/v1` answers with a status.
    #[track_caller]
    pub fn status(&self, path: &str) -> u16 {
        self.get(&format!("/api/v1{path}")).status
    }

    /// What `/api/v1` says.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(&format!("/api/v1{path}"));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    #[track_caller]
    pub fn try_login(&self, name: &str, password: &str) -> Answer {
        self.send(
            "POST",
            "/login",
            &json!({"name": name, "password": password}),
        )
    }

    /// The same person, logged in.
    #[track_caller]
    pub fn login(self, name: &str, password: &str) -> Person<W> {
        let answer = self.try_login(name, password);
        assert_eq!(answer.status, 204, "{answer:?}");
        let cookie = cookie(&answer);
        self.with(&format!("Cookie: other=1; {cookie}\r\n"))
    }
}

/// Name and value of the cookie that an answer sets.
#[track_caller]
pub fn cookie(answer: &Answer) -> String {
    let line = answer.header("set-cookie").expect("a cookie");
    line.split(';').next().expect("a first part").to_owned()
}

impl Daemon {
    /// Runs a command that reads a password.
    #[track_caller]
    pub fn with_password(&self, args: &[&str], password: &str) -> std::process::Output {
        let mut child = std::process::Command::new(super::daemon::BINARY)
            .args(args)
            .args(["--password-stdin", "--conf"])
            .arg(self.conf())
            .env_remove("FAILPOINTS")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may have refused before it read.
        let _ = stdin.write_all(format!("{password}\n").as_bytes());
        drop(stdin);
        child.wait_with_output().expect("its output")
    }

    /// `trackport user add NAME ARGS`, with this password.
    #[track_caller]
    pub fn add_user(&self, name: &str, args: &[&str], password: &str) {
        let all: Vec<&str> = ["user", "add", name].iter().chain(args).copied().collect();
        let output = self.with_password(&all, password);
        assert!(output.status.success(), "{output:?}");
    }
}

/// How long whoever was let in may still be believed after that has changed.
pub const FOLLOWS: std::time::Duration = ANSWER;
