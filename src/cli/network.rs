//! Connections as the tools that play devices make them.
//!
//! Knows no protocol. Names are looked up once; every address that they have is tried.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

use super::WrongUsage;

/// How long one address may take to answer a connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses that `to` (`HOST:PORT`) stands for; never none.
///
/// # Errors
/// Wrong usage when there is no port in it; what the resolver says about the name.
pub(super) fn resolve(to: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let has_port = to
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        let text =
            format!("--to {to:?}: HOST:PORT is needed, for example localhost:5027 or [::1]:5027");
        return Err(WrongUsage(text).into());
    }
    let addresses: Vec<SocketAddr> = to
        .to_socket_addrs()
        .with_context(|| format!("--to {to}"))?
        .collect();
    if addresses.is_empty() {
        anyhow::bail!("--to {to}: the name has no address");
    }
    Ok(addresses)
}

/// Connects to the first of `addresses` that answers.
///
/// # Errors
/// What the last of them said.
pub(super) fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Whether Ctrl-C or TERM asked for the end, from now on.
///
/// # Errors
/// When the signals are somebody else's already.
pub(super) fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed)).context("Ctrl-C")?;
    Ok(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_is_wrong_usage() {
        for to in ["localhost", "[::1]", ":5027", "host:70000"] {
            assert!(resolve(to).unwrap_err().is::<WrongUsage>(), "{to}");
        }
        assert_eq!(resolve("127.0.0.1:5027").unwrap().len(), 1);
        assert!(resolve("[::1]:5027").is_ok());
    }
}
