//! One delivery as it lies in the spool, and its bytes.
//!
//! Names a device by its IMEI only: what the database calls it is not known while the database is away. Memory follows
//! the bytes that are there; every length is checked against them before it is believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::imei::Imei;

/// A packet to be stored.
pub(super) const KIND_PACKET: u8 = 1;
/// An unreadable packet that was acked for good.
pub(super) const KIND_BROKEN: u8 = 2;

const MAYBE_RESEND: u8 = 1;
const IS_NEW: u8 = 2;

/// One delivery as it lies on disk. Never a database id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub imei: Imei,
    /// When its last byte arrived, microseconds since 1970 UTC.
    pub received_at_us: i64,
    /// The port it came in on.
    pub port: u16,
    /// Where it came from.
    pub peer: IpAddr,
    /// Records in it.
    pub n_records: u8,
    /// Whether the device may have sent these records before.
    pub maybe_resend: bool,
    /// Let in as a new device while nobody could register it.
    pub is_new: bool,
    /// What is to be done with it.
    pub content: EntryContent,
    /// The frame from preamble to CRC.
    pub frame: Box<[u8]>,
}

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryContent {
    /// A checked packet: store its records.
    Packet,
    /// A packet that cannot be read, acked for good: to quarantine.
    Broken {
        /// A fixed word for the kind of fault.
        code: String,
        /// What is wrong, for people.
        reason: String,
    },
}

/// An [`Entry`] whose bytes lie elsewhere: what is appended without a copy, and what a scan finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Whose it is.
    pub imei: Imei,
    /// When its last byte arrived, microseconds since 1970 UTC.
    pub received_at_us: i64,
    /// The port it came in on.
    pub port: u16,
    /// Where it came from.
    pub peer: IpAddr,
    /// Records in it.
    pub n_records: u8,
    /// Whether the device may have sent these records before.
    pub maybe_resend: bool,
    /// Let in as a new device while nobody could register it.
    pub is_new: bool,
    /// What is to be done with it.
    pub content: ContentRef<'a>,
    /// The frame from preamble to CRC.
    pub frame: &'a [u8],
}

/// An [`EntryContent`] whose words lie elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRef<'a> {
    /// A checked packet: store its records.
    Packet,
    /// A packet that cannot be read, acked for good: to quarantine.
    Broken {
        /// A fixed word for the kind of fault; 255 bytes of it are kept.
        code: &'a str,
        /// What is wrong, for people; 65535 bytes of it are kept.
        reason: &'a str,
    },
}

impl Entry {
    /// The same entry, borrowed.
    pub fn as_ref(&self) -> EntryRef<'_> {
        EntryRef {
            imei: self.imei,
            received_at_us: self.received_at_us,
            port: self.port,
            peer: self.peer,
            n_records: self.n_records,
            maybe_resend: self.maybe_resend,
            is_new: self.is_new,
            content: match &self.content {
                EntryContent::Packet => ContentRef::Packet,
                EntryContent::Broken { code, reason } => ContentRef::Broken { code, reason },
            },
            frame: &self.frame,
        }
    }
}

impl<'a> EntryRef<'a> {
    /// The same entry with bytes of its own.
    pub fn to_entry(&self) -> Entry {
        Entry {
            imei: self.imei,
            received_at_us: self.received_at_us,
            port: self.port,
            peer: self.peer,
            n_records: self.n_records,
            maybe_resend: self.maybe_resend,
            is_new: self.is_new,
            content: match self.content {
                ContentRef::Packet => EntryContent::Packet,
                ContentRef::Broken { code, reason } => EntryContent::Broken {
                    code: code.to_owned(),
                    reason: reason.to_owned(),
                },
            },
            frame: self.frame.into(),
        }
    }

    /// Rows that come of it: a broken packet makes none.
    pub fn records(&self) -> u64 {
        match self.content {
            ContentRef::Packet => u64::from(self.n_records),
            ContentRef::Broken { .. } => 0,
        }
    }

    pub(super) fn kind(&self) -> u8 {
        match self.content {
            ContentRef::Packet => KIND_PACKET,
            ContentRef::Broken { .. } => KIND_BROKEN,
        }
    }

    /// Appends the payload of this entry's frame to `to`.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.imei.number().to_le_bytes());
        to.extend_from_slice(&self.received_at_us.to_le_bytes());
        to.extend_from_slice(&self.port.to_le_bytes());
        to.push(self.n_records);
        let resend = if self.maybe_resend { MAYBE_RESEND } else { 0 };
        let new = if self.is_new { IS_NEW } else { 0 };
        to.push(resend | new);
        match self.peer {
            IpAddr::V4(address) => {
                to.push(4);
                to.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                to.push(6);
                to.extend_from_slice(&address.octets());
            }
        }
        if let ContentRef::Broken { code, reason } = self.content {
            let code = beginning(code, usize::from(u8::MAX));
            let reason = beginning(reason, usize::from(u16::MAX));
            // Both are cut to what their lengths can say.
            to.push(u8::try_from(code.len()).unwrap_or(u8::MAX));
            to.extend_from_slice(code.as_bytes());
            let length = u16::try_from(reason.len()).unwrap_or(u16::MAX);
            to.extend_from_slice(&length.to_le_bytes());
            to.extend_from_slice(reason.as_bytes());
        }
        to.extend_from_slice(self.frame);
    }

    /// The entry that a frame of this kind holds; `None` when it is none of this format.
    pub(super) fn read(kind: u8, payload: &'a [u8]) -> Option<EntryRef<'a>> {
        let mut rest = payload;
        let imei = Imei::from_number(u64::from_le_bytes(take(&mut rest)?)).ok()?;
        let received_at_us = i64::from_le_bytes(take(&mut rest)?);
        let port = u16::from_le_bytes(take(&mut rest)?);
        let [n_records, flags, family] = take(&mut rest)?;
        if flags & !(MAYBE_RESEND | IS_NEW) != 0 {
            return None;
        }
        let peer = match family {
            4 => IpAddr::V4(Ipv4Addr::from(take::<4>(&mut rest)?)),
            6 => IpAddr::V6(Ipv6Addr::from(take::<16>(&mut rest)?)),
            _ => return None,
        };
        let content = match kind {
            KIND_PACKET => ContentRef::Packet,
            KIND_BROKEN => {
                let [length] = take(&mut rest)?;
                let code = take_text(&mut rest, usize::from(length))?;
                let length = u16::from_le_bytes(take(&mut rest)?);
                let reason = take_text(&mut rest, usize::from(length))?;
                ContentRef::Broken { code, reason }
            }
            _ => return None,
        };
        Some(EntryRef {
            imei,
            received_at_us,
            port,
            peer,
            n_records,
            maybe_resend: flags & MAYBE_RESEND != 0,
            is_new: flags & IS_NEW != 0,
            content,
            frame: rest,
        })
    }
}

/// As much of `text` from its beginning as `bytes_max` bytes hold.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_text<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a str> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    std::str::from_utf8(head).ok()
}
