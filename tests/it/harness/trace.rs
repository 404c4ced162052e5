//! The system calls of a program, in an order that proves something: who did what only after what else was done.
//!
//! strace stops a thread before a call begins and after it has ended, and writes what it sees in the order in which it sees it,
//! flushed line by line. So a call whose end is written before the beginning of another was done when that one began, whatever
//! threads they belong to; and what an answer of the program rests on is written before the answer can be heard.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};

use super::daemon::{Folder, Setup};

/// What the program asks of the disk and of its sockets.
const CALLS: &str = "trace=openat,close,read,recvfrom,recvmsg,readv,write,writev,sendto,sendmsg,fsync,fdatasync,rename,renameat2,unlink";

/// A call of a thread.
#[derive(Clone, Debug)]
pub struct Call {
    pub thread: u32,
    pub name: String,
    /// The arguments as strace writes them, but for the bytes.
    pub args: String,
    /// The bytes that it wrote, read, or named a file by.
    pub bytes: Vec<u8>,
    /// What it returned; below zero, or `None` for never, when it failed.
    pub result: Option<i64>,
    /// The line of its beginning.
    begun: usize,
    /// The line of its end.
    ended: usize,
}

impl Call {
    /// Whether it was done when the other one began.
    pub fn is_done_before(&self, other: &Call) -> bool {
        self.ended < other.begun
    }

    pub fn is_ok(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// The descriptor that it is about.
    pub fn descriptor(&self) -> Option<i64> {
        self.args.split([',', ')', ' ']).next()?.parse().ok()
    }

    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.bytes
            .windows(bytes.len())
            .any(|window| window == bytes)
    }

    pub fn writes(&self) -> bool {
        self.is_ok()
            && matches!(
                self.name.as_str(),
                "write" | "writev" | "sendto" | "sendmsg"
            )
    }

    pub fn reads(&self) -> bool {
        self.is_ok()
            && matches!(
                self.name.as_str(),
                "read" | "recvfrom" | "recvmsg" | "readv"
            )
    }
}

/// Where the trace of a program goes.
pub struct Trace(Folder);

impl Trace {
    /// A trace, or `None` where strace cannot be used. Where all tests are to run, that is a failure.
    pub fn begin() -> Option<Trace> {
        let works = Command::new("strace")
            .args(["-f", "-D", "-o", "/dev/null", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if works {
            return Some(Trace(Folder::new()));
        }
        let why = "strace is missing, or may not trace here: install the package strace";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("SKIPPED, NOTHING IS PROVED: {why}");
        None
    }

    /// A place for what the program writes, beside the trace.
    pub fn place(&self, name: &str) -> String {
        self.0.file(name).display().to_string()
    }

    /// Starts the program under strace, with more arguments for it.
    pub fn of(&self, setup: Setup, more: &[String]) -> Setup {
        let file = self.place("trace");
        // As a grandchild: the program is the child, as it is without it.
        let strace = ["strace", "-D", "-f", "-xx", "-s", "1000000", "-o", &file];
        let words = strace.into_iter().chain(["-e", CALLS]);
        let words = words.map(ToOwned::to_owned).chain(more.iter().cloned());
        setup.under(words.collect())
    }

    /// The calls that have ended so far, in the order of their ends.
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.0.file("trace")).unwrap_or_default();
        calls(&text)
    }
}

fn calls(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    // What each thread has begun: the line, the text so far.
    let mut begun: HashMap<u32, (usize, String)> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let (Ok(thread), rest) = (thread.parse(), rest.trim_start()) else {
            continue;
        };
        if let Some(beginning) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (number, beginning.to_owned()));
        } else if let Some(end) = rest.strip_prefix("<... ") {
            let end = end.split_once(" resumed>").map_or("", |(_, end)| end);
            if let Some((from, beginning)) = begun.remove(&thread) {
                calls.extend(call(thread, &format!("{beginning}{end}"), from, number));
            }
        } else {
            calls.extend(call(thread, rest, number, number));
        }
    }
    calls
}

/// A call by its whole text. `None`: a signal, an end, or a line that is not written to its end yet.
fn call(thread: u32, text: &str, begun: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (args, result) = rest.rsplit_once(" = ")?;
    let mut bytes = Vec::new();
    let mut words = String::new();
    for (n, part) in args.split('"').enumerate() {
        if n % 2 == 0 {
            words.push_str(part);
        } else {
            let hex = part.split("\\x").skip(1);
            bytes.extend(hex.map(|hex| u8::from_str_radix(hex, 16).unwrap()));
        }
    }
    Some(Call {
        thread,
        name: name.to_owned(),
        args: words,
        bytes,
        result: result.split(' ').next()?.parse().ok(),
        begun,
        ended,
    })
}

#[test]
fn calls_of_several_threads_are_told_apart_and_ordered_by_their_ends_and_beginnings() {
    let text = r#"7 write(5, "\x68\x69", 2) = 2
7 recvfrom(9,  <unfinished ...>
8 fdatasync(4 <unfinished ...>
7 <... recvfrom resumed>"\x01", 8192, 0, NULL, NULL) = 1
8 <... fdatasync resumed>)               = -1 EIO (Input/output error) (INJECTED)
8 --- SIGTERM {si_signo=SIGTERM} ---
7 writev(9, [{iov_base="\x01", iov_len=1}, {iov_base="\x02", iov_len=1}], 2) = 2
7 read(3, "\x01"#;
    let calls = calls(text);
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["write", "recvfrom", "fdatasync", "writev"]);
    assert_eq!(calls[1].descriptor(), Some(9));
    assert_eq!((&calls[1].bytes, calls[1].thread), (&vec![1], 7));
    assert_eq!(
        (calls[2].result, calls[2].descriptor()),
        (Some(-1), Some(4))
    );
    assert_eq!(calls[3].bytes, [1, 2]);
    assert!(calls[0].is_done_before(&calls[1]) && calls[2].is_done_before(&calls[3]));
    assert!(!calls[1].is_done_before(&calls[2]), "they overlap");
}
