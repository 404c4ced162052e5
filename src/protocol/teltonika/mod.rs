//! The Teltonika protocols over TCP, lowest layer first.
//!
//! - `crc`: the checksum of a frame.
//! - `frame`: cuts the stream into pings, logins and frames by their lengths.
//! - `codec`: the codecs and their widths.
//! - `avl`: checks an AVL frame (codecs 8, 8 Extended, 16) and walks its records.
//! - `error`: why a frame is not a packet.
//! - `io`: the IO elements of a record.
//! - `session`: one connection as a state machine; the caller owns bytes and sockets.
//! - `encode`: makes logins and frames, for the simulator and the tests.
//! - `explain`: a stream in words, byte by byte.

pub mod avl;
pub mod codec;
pub mod crc;
pub mod encode;
pub mod error;
pub mod explain;
pub mod frame;
pub mod io;
pub mod session;

pub use avl::{Checked, Packet, Record, Records, check, declared};
pub use codec::Codec;
pub use error::PacketError;
pub use frame::{Cut, FrameError, cut};
pub use io::{Elements, Io, IoElement, IoValue};
pub use session::{Expired, Millis, Output, Session, Timeouts};
