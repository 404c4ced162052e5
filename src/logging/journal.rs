//! The journal's native protocol: one datagram per entry, a field per line.
//!
//! A value without a line break is `NAME=value`; any other one is its name, eight bytes of length, little-endian, and the bytes
//! (systemd's `JOURNAL_NATIVE_PROTOCOL`). Names consist of capital letters, digits and underscores. An entry that is too large for a datagram is refused
//! here; its line then goes to stderr as text.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Bytes of a name at most, by the journal's rule.
const NAME_BYTES_MAX: usize = 64;

/// The fields of one entry.
#[derive(Debug, Default)]
pub(super) struct Entry(Vec<u8>);

impl Entry {
    /// One more field. A name that the journal would refuse is left out.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = name.len() <= NAME_BYTES_MAX
            && name
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_uppercase())
            && name.bytes().all(is_part);
        if !is_name {
            return;
        }
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    /// A field of trackport's own, by the word that the log lines have for it.
    pub(super) fn push_own(&mut self, word: &str, value: &str) {
        self.push(&format!("TRACKPORT_{}", word.to_ascii_uppercase()), value);
    }
}

/// The way to journald. Never blocks.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// A way to the journal that listens at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        let path = path.to_owned();
        Ok(Journal { socket, path })
    }

    /// Hands an entry over.
    ///
    /// # Errors
    /// `WouldBlock` while journald is behind; whatever else keeps the entry from it.
    pub(super) fn send(&self, entry: &Entry) -> io::Result<()> {
        let sent = match self.socket.send(&entry.0) {
            Err(error) if is_new_socket(&error) => {
                // The socket was made anew; an error here is the one to tell.
                self.socket.connect(&self.path)?;
                self.socket.send(&entry.0)?
            }
            sent => sent?,
        };
        debug_assert_eq!(sent, entry.0.len(), "a datagram goes as a whole");
        Ok(())
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_new_socket(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::ConnectionReset
    )
}

/// Whether systemd connected `stream` to the journal: `JOURNAL_STREAM` names its device and inode.
pub(super) fn is_stream(variable: &str, stream: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(stream) else {
        return false;
    };
    variable == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    fn socket() -> (UnixDatagram, PathBuf) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("trackport-journal-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // An error means that no earlier process had this number.
        let _ = std::fs::remove_file(&path);
        (UnixDatagram::bind(&path).unwrap(), path)
    }

    /// The fields of a datagram, read by the protocol's description and not by the code above.
    fn read(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
            let (line, behind) = (&bytes[..end], &bytes[end + 1..]);
            if let Some(at) = line.iter().position(|&byte| byte == b'=') {
                fields.push((text(&line[..at]), text(&line[at + 1..])));
                bytes = behind;
            } else {
                let (length, behind) = behind.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                fields.push((text(line), text(&behind[..length])));
                assert_eq!(behind[length], b'\n');
                bytes = &behind[length + 1..];
            }
        }
        fields
    }

    #[test]
    fn every_field_arrives_as_it_was_with_line_breaks_and_at_any_size() {
        let (receiver, path) = socket();
        let journal = Journal::open(&path).unwrap();
        let long = "x=1\n".repeat(20_000);
        let mut entry = Entry::default();
        entry.push("MESSAGE", "one = two");
        entry.push_own("error", "two\nlines=1\n");
        entry.push_own("long", &long);
        entry.push_own("empty", "");
        for bad in ["_PID", "lower", "", "WITH=1", "1ST", &"N".repeat(65)] {
            entry.push(bad, "never");
        }
        journal.send(&entry).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let n = receiver.recv(&mut buffer).unwrap();
        let wanted = [
            ("MESSAGE", "one = two"),
            ("TRACKPORT_ERROR", "two\nlines=1\n"),
            ("TRACKPORT_LONG", &long),
            ("TRACKPORT_EMPTY", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(&buffer[..n]), wanted);
    }

    #[test]
    fn a_journal_that_is_behind_gone_or_too_small_never_blocks() {
        let (receiver, path) = socket();
        let journal = Journal::open(&path).unwrap();
        let mut entry = Entry::default();
        entry.push("MESSAGE", "x");
        let refused = (0..100_000)
            .find_map(|_| journal.send(&entry).err())
            .unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let mut large = Entry::default();
        large.push("MESSAGE", &"x".repeat(16 << 20));
        let mut buffer = [0; 64];
        while receiver
            .recv(&mut buffer)
            .is_ok_and(|_| journal.send(&entry).is_err())
        {}
        assert!(journal.send(&large).is_err(), "no datagram is that large");
        drop(receiver);
        assert!(journal.send(&entry).is_err());
        // Made anew at the same place, as after a restart: the next entry finds it.
        std::fs::remove_file(&path).unwrap();
        let again = UnixDatagram::bind(&path).unwrap();
        journal.send(&entry).unwrap();
        assert!(again.recv(&mut buffer).is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn only_the_stream_that_systemd_made_counts_as_the_journal() {
        let null = File::open("/dev/null").unwrap();
        let meta = null.metadata().unwrap();
        assert!(is_stream(&format!("{}:{}", meta.dev(), meta.ino()), &null));
        assert!(!is_stream(
            &format!("{}:{}", meta.dev(), meta.ino() + 1),
            &null
        ));
        assert!(!is_stream("", &null));
    }
}
