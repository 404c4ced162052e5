//! How the machine is looked at: files of /proc, and programs that may be missing, refuse, or hang.
//!
//! Judges nothing. A program has three seconds; what it may not tell to this user is no answer.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is not on this machine.
    Absent,
    /// It failed, or took too long, and this is what it said or what is said about it.
    Failed(String),
    /// It ended well and said this.
    Words(String),
}

impl Said {
    pub(super) fn words(&self) -> Option<&str> {
        match self {
            Said::Words(text) => Some(text),
            Said::Absent | Said::Failed(_) => None,
        }
    }
}

/// Runs a program and takes down what it says.
pub(super) fn ask(program: &str, args: &[&str]) -> Said {
    // Programs of the administrator are not in every user's path.
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let child = Command::new(program)
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Said::Absent,
        Err(error) => return Said::Failed(error.to_string()),
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // Read elsewhere, because one that hangs keeps its pipe open; what it says on standard error is short.
    let reader = thread::Builder::new()
        .name(format!("reads {program}"))
        .spawn(move || {
            let (mut said, mut complaint) = (Vec::new(), Vec::new());
            let whole = out.map(|mut out| out.read_to_end(&mut said));
            let rest = err.map(|mut err| err.read_to_end(&mut complaint));
            // An error cuts the text short, which its reader notices.
            drop((whole, rest));
            // Nobody listens any more after the deadline.
            let _ = sender.send((said, complaint));
        });
    let heard = reader
        .is_ok()
        .then(|| receiver.recv_timeout(PATIENCE).ok())
        .flatten();
    let Some((said, complaint)) = heard else {
        // It may have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
        let text = format!("{program} did not answer within {} s", PATIENCE.as_secs());
        return Said::Failed(text);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match child.wait() {
        Ok(status) if status.success() => Said::Words(text(&said)),
        Ok(_) if complaint.is_empty() => Said::Failed(text(&said)),
        Ok(_) => Said::Failed(text(&complaint)),
        Err(error) => Said::Failed(error.to_string()),
    }
}

/// The lines `key=value` of `text`.
pub(super) fn values(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect()
}

/// The one number in a file of /proc.
pub(super) fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// Connections that nobody has accepted yet.
    pub(super) n_waiting: u64,
    pub(super) inode: u64,
}

/// The listening sockets of this machine, or of this container.
pub(super) fn listeners() -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().filter_map(listener).collect::<Vec<_>>())
        .collect()
}

/// The socket in a line of `/proc/net/tcp`, if it listens.
fn listener(line: &str) -> Option<Listener> {
    const LISTENS: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTENS {
        return None;
    }
    let (_, waiting) = fields.get(4)?.split_once(':')?;
    Some(Listener {
        address: address(fields.get(1)?)?,
        n_waiting: u64::from_str_radix(waiting, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// `0100007F:13A3`: words of 32 bits, each in the order of this machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<u32> = (0..ip.len() / 8)
        .filter_map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect();
    let ip: IpAddr = match words.as_slice() {
        [word] => Ipv4Addr::from(word.to_ne_bytes()).into(),
        words @ [_, _, _, _] => {
            let mut bytes = [0; 16];
            for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// Who has the sockets `inodes` open, as far as this user may see.
pub(super) fn owners(inodes: &[u64]) -> HashMap<u64, Process> {
    let mut owners = HashMap::new();
    let wanted: HashMap<String, u64> = inodes
        .iter()
        .map(|&inode| (format!("socket:[{inode}]"), inode))
        .collect();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let name = || {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
        };
        for open in fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(target) = fs::read_link(open.path())
                && let Some(inode) = target.to_str().and_then(|target| wanted.get(target))
            {
                owners
                    .entry(*inode)
                    .or_insert_with(|| Process { pid, name: name() });
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_program_that_hangs_or_is_not_there_holds_nobody_up() {
        let begun = std::time::Instant::now();
        assert!(matches!(ask("sleep", &["60"]), Said::Failed(_)));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(ask("no-such-program-here", &[]), Said::Absent);
        let said = ask("sh", &["-c", "echo A=1; echo B = 2"]);
        let words = said.words().unwrap();
        assert_eq!(values(words)["B"], "2");
        let failed = ask("sh", &["-c", "echo no >&2; exit 3"]);
        assert_eq!(failed, Said::Failed("no".to_owned()));
    }

    #[test]
    fn a_listening_socket_is_seen_with_who_waits_and_whose_it_is() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let _waits = std::net::TcpStream::connect(address).unwrap();
        let all = listeners();
        let found = all.iter().find(|one| one.address == address).unwrap();
        assert_eq!(found.n_waiting, 1);
        let owners = owners(&[found.inode]);
        assert_eq!(owners[&found.inode].pid, std::process::id());
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let v6 = address("00000000000000000000000001000000:13A3").unwrap();
        assert_eq!(v6, "[::1]:5027".parse().unwrap());
        let v4 = address("0100007F:13A3").unwrap();
        assert_eq!(v4, "127.0.0.1:5027".parse().unwrap());
        assert_eq!(address("01:13A3"), None);
    }
}
