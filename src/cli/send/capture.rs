//! A capture taken apart into what a device sends one after the other.
//!
//! Understands the bytes themselves, hex as people paste it, and JSON lines of frames (`hex`, `name`, `transport`,
//! `direction`, `valid`). Knows no socket. Invariant: every byte of the input is in exactly one item, in its order, right or not;
//! only lines of JSON that no TCP device would send are left out.

use serde::Deserialize;

use crate::imei::Imei;
use crate::protocol::hex;
use crate::protocol::teltonika::{Checked, Codec, Cut, check, cut};

/// Captures may hold frames that a server refuses for their size.
const PACKET_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a device sends in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What the capture calls it.
    pub(super) name: Option<String>,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// What an item is, and so what answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing answers it.
    Ping,
    /// 01 or 00 answers it; `None`: what stands there is no IMEI.
    Login(Option<Imei>),
    /// Its number of records answers it.
    Packet { codec: Codec, n_records: u8 },
    /// A response to a command, or a message; nothing answers it.
    Command(u8),
    /// A server should not acknowledge it; why.
    Broken(String),
}

/// Why a capture cannot be played.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaptureError {
    #[error("there is nothing in it")]
    Empty,
    #[error("{0}; a capture is hex, JSON lines, or the bytes themselves")]
    Hex(#[from] hex::HexError),
    #[error("line {line}: {source}")]
    Json {
        line: usize,
        source: serde_json::Error,
    },
    #[error("line {line}: the hex of {name:?}: {source}")]
    JsonHex {
        line: usize,
        name: String,
        source: hex::HexError,
    },
}

/// One line of a frames file; what is missing is what a device sends over TCP.
#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    transport: Option<String>,
    #[serde(default)]
    direction: Option<String>,
    #[serde(default)]
    valid: Option<bool>,
    hex: String,
}

impl Frame {
    fn is_played(&self) -> bool {
        self.transport.as_deref().is_none_or(|one| one == "tcp")
            && self
                .direction
                .as_deref()
                .is_none_or(|one| one == "device->server")
            && self.valid.unwrap_or(true)
    }
}

/// Takes a capture apart.
///
/// # Errors
/// When it is text, but neither hex nor JSON lines, or nothing at all.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Item>, CaptureError> {
    let items = match text(bytes) {
        None => items(bytes).unwrap_or_else(|items| items),
        Some(text)
            if text
                .trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t'])
                .starts_with('{') =>
        {
            json_lines(text)?
        }
        Some(text) => hex_text(text)?,
    };
    if items.is_empty() {
        Err(CaptureError::Empty)
    } else {
        Ok(items)
    }
}

/// The input as text, unless it is binary: packets and logins begin with a zero byte, which no text has.
pub(in super::super) fn text(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    let binary = |one: char| one.is_control() && !one.is_whitespace();
    (!text.contains(binary)).then_some(text)
}

fn hex_text(text: &str) -> Result<Vec<Item>, hex::HexError> {
    let stream = hex::decode(text)?;
    // A packet may be wrapped over several lines, or a broken one stand in a line of its own. When the whole
    // makes sense it is taken as a whole; otherwise each line stands for itself.
    items(&stream).or_else(|_| {
        let mut all = Vec::new();
        for line in text.lines() {
            all.extend(items(&hex::decode(line)?).unwrap_or_else(|items| items));
        }
        Ok(all)
    })
}

fn json_lines(text: &str) -> Result<Vec<Item>, CaptureError> {
    let mut all = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim_matches(['\u{feff}', ' ', '\r', '\t']);
        if content.is_empty() {
            continue;
        }
        let frame: Frame =
            serde_json::from_str(content).map_err(|source| CaptureError::Json { line, source })?;
        if !frame.is_played() {
            continue;
        }
        let name = frame.name.unwrap_or_default();
        let bytes = hex::decode(&frame.hex).map_err(|source| CaptureError::JsonHex {
            line,
            name: name.clone(),
            source,
        })?;
        let mut items = items(&bytes).unwrap_or_else(|items| items);
        for item in &mut items {
            item.name = (!name.is_empty()).then(|| name.clone());
        }
        all.append(&mut items);
    }
    Ok(all)
}

/// The items of a stream; as the error, those of a stream that does not end with an item.
fn items(mut stream: &[u8]) -> Result<Vec<Item>, Vec<Item>> {
    let mut items = Vec::new();
    while !stream.is_empty() {
        let (kind, n_bytes) = match cut(stream, PACKET_BYTES_MAX) {
            Cut::Ping => (Kind::Ping, 1),
            Cut::Login { digits, consumed } => {
                (Kind::Login(Imei::from_ascii(digits).ok()), consumed)
            }
            Cut::Frame(frame) => (kind_of(frame), frame.len()),
            Cut::Need(wanted) => {
                let text = format!("cut off: {wanted} bytes announced, {} there", stream.len());
                items.push(broken(stream, text));
                return Err(items);
            }
            Cut::Broken(error) => {
                items.push(broken(stream, error.to_string()));
                return Err(items);
            }
        };
        let (bytes, rest) = stream.split_at(n_bytes);
        items.push(Item {
            name: None,
            kind,
            bytes: bytes.to_vec(),
        });
        stream = rest;
    }
    Ok(items)
}

fn broken(bytes: &[u8], text: String) -> Item {
    Item {
        name: None,
        kind: Kind::Broken(text),
        bytes: bytes.to_vec(),
    }
}

fn kind_of(frame: &[u8]) -> Kind {
    match check(frame) {
        Ok(Checked::Avl(packet)) => Kind::Packet {
            codec: packet.codec,
            n_records: packet.n_records,
        },
        Ok(Checked::Command { codec_id }) => Kind::Command(codec_id),
        Err(error) => Kind::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::teltonika::encode;

    const FRAMES: &str = include_str!("../../../tests/frames/teltonika/frames.jsonl");
    const PACKET: &str = "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000000000010000C7CF";

    fn imei() -> Imei {
        "356307042441013".parse().unwrap()
    }

    fn packet() -> Kind {
        Kind::Packet {
            codec: Codec::Codec8,
            n_records: 1,
        }
    }

    fn kinds(items: &[Item]) -> Vec<Kind> {
        items.iter().map(|item| item.kind.clone()).collect()
    }

    #[test]
    fn hex_with_comments_and_line_breaks_is_read() {
        let (front, back) = PACKET.split_at(40);
        let text =
            format!("# login\n000F333536333037303432343431303133\nFF\n{front}\n{back} # wrapped\n");
        let items = read(text.as_bytes()).unwrap();
        assert_eq!(
            kinds(&items),
            [Kind::Login(Some(imei())), Kind::Ping, packet()]
        );
    }

    #[test]
    fn bytes_are_read_as_they_are() {
        let mut bytes = encode::login(imei());
        bytes.extend(hex::decode(PACKET).unwrap());
        let items = read(&bytes).unwrap();
        assert_eq!(kinds(&items), [Kind::Login(Some(imei())), packet()]);
        let together: Vec<u8> = items.iter().flat_map(|item| item.bytes.clone()).collect();
        assert_eq!(together, bytes);
    }

    #[test]
    fn a_broken_line_does_not_take_the_next_with_it() {
        let lying = PACKET.replacen("00000036", "00FFFFFF", 1);
        let damaged = PACKET.replacen("C7CF", "C7CE", 1);
        let items = read(format!("{lying}\n{damaged}\n{PACKET}").as_bytes()).unwrap();
        assert_eq!(items.len(), 3);
        assert!(matches!(&items[0].kind, Kind::Broken(_)));
        assert!(matches!(&items[1].kind, Kind::Broken(why) if why.contains("CRC")));
        assert_eq!(items[2].kind, packet());
    }

    #[test]
    fn of_a_frames_file_what_a_tcp_device_sends_is_played() {
        let items = read(FRAMES.as_bytes()).unwrap();
        let broken: Vec<&Item> = items
            .iter()
            .filter(|item| matches!(item.kind, Kind::Broken(_)))
            .collect();
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(items[0].name.as_deref(), Some("login-356307042441013"));
        let names: Vec<&str> = items
            .iter()
            .filter_map(|item| item.name.as_deref())
            .collect();
        assert!(!names.contains(&"login-accept"), "what a server sends");
        assert!(!names.contains(&"codec8-udp-1"), "what goes over UDP");
        assert!(items.iter().any(|item| item.kind == packet()));
    }

    #[test]
    fn what_is_no_capture_says_where() {
        assert!(matches!(read(b" \n# nothing\n"), Err(CaptureError::Empty)));
        let error = read(b"00 0F\nhello").unwrap_err().to_string();
        assert!(error.starts_with("line 2, column 1:"), "{error}");
        let error = read(b"{\"hex\":\"00\"}\n{\"hex\":1}")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
