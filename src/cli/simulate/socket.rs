//! Non-blocking connections for more devices than one address has ports.
//!
//! Knows no protocol; never waits.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// One source address has about 28 000 ports; on the loopback there are more addresses.
const DEVICES_PER_SOURCE: u32 = 20_000;
/// Linux's EINPROGRESS, for which std has no stable name.
const IN_PROGRESS: i32 = 115;

/// A connection that is being made for the device with this number; readiness tells how it ends.
///
/// # Errors
/// When the system refuses it at once: no file, port or route is left.
pub(super) fn open(to: SocketAddr, index: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let block = index / DEVICES_PER_SOURCE;
    if block > 0 && to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let [.., high, low] = block.to_be_bytes();
        let source = SocketAddr::from(([127, 1, high, low], 0));
        socket.bind(&source.into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        // The connection is under way; readiness tells how it ends.
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
