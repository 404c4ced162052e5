//! Listening sockets that came with the process, so that no connection is refused while one process follows another.
//!
//! systemd passes them: those that the last process left in its descriptor store, and those of a socket unit. Each is found by
//! its local address, so the conf file stays the only place that says where is listened; and what nobody asks for
//! is closed. Without systemd there are none, and every socket is bound.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use listenfd::ListenFd;
use socket2::SockRef;

/// Sockets that were passed and not yet asked for. Clones share them.
#[derive(Clone, Default)]
pub struct Passed(Arc<Mutex<Vec<Socket>>>);

/// One of them.
struct Socket {
    /// What systemd calls it.
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

/// A passed socket that nobody asked for, closed by now.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwanted {
    /// What systemd calls it.
    pub name: String,
    /// Where it listened.
    pub address: SocketAddr,
}

impl Passed {
    /// No sockets: each is bound.
    pub fn none() -> Passed {
        Passed::default()
    }

    /// What systemd passed to this process. Meant to be asked once, before there are other threads: the variables are taken out of
    /// the environment, for no child shall take them for its own.
    pub fn to_this_process() -> Passed {
        // The names first, because the variables are gone with the sockets.
        let names: Vec<String> = sd_notify::listen_fds_with_names()
            .map(|sockets| sockets.map(|(_, name)| name).collect())
            .unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len()).filter_map(|place| {
            // Anything but a TCP socket is not ours, and stays as it is.
            let listener = passed.take_tcp_listener(place).ok().flatten()?;
            let name = names.get(place).cloned().unwrap_or_default();
            Socket::new(name, listener)
        });
        Passed(Arc::new(Mutex::new(sockets.collect())))
    }

    /// The socket that listens at `address`, as it came.
    pub(super) fn take(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut sockets = self.lock();
        let place = sockets.iter().position(|one| one.address == address)?;
        Some(sockets.swap_remove(place).listener)
    }

    /// Whether all were asked for.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Closes those that nobody asked for, but for those of `numbers`, and says which they were.
    pub fn close_rest(&self, numbers: &[u16]) -> Vec<Unwanted> {
        let unwanted = |socket: Socket| Unwanted {
            name: socket.name,
            address: socket.address,
        };
        let may_go = |socket: &mut Socket| !numbers.contains(&socket.address.port());
        self.lock().extract_if(.., may_go).map(unwanted).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Socket>> {
        // No panic leaves a list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Socket {
    /// `None` for a socket that has no address any more.
    fn new(name: String, listener: TcpListener) -> Option<Socket> {
        let address = listener.local_addr().ok()?;
        Some(Socket {
            name,
            address,
            listener,
        })
    }
}

/// What a passed socket lacks, although it works: a socket unit may say another thing than a plain number means here.
pub(super) fn shortfall(address: SocketAddr, listener: &TcpListener) -> Option<String> {
    let every_address = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let v6_only = SockRef::from(listener).only_v6().unwrap_or(false);
    (every_address && v6_only).then(|| {
        format!(
            "the socket that systemd passed for {address} takes no IPv4; write BindIPv6Only=both into its socket unit"
        )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn passed(listeners: Vec<TcpListener>) -> Passed {
        let sockets = listeners
            .into_iter()
            .map(|listener| Socket::new("a name".to_owned(), listener).unwrap());
        Passed(Arc::new(Mutex::new(sockets.collect())))
    }

    #[test]
    fn a_passed_socket_is_taken_by_its_address_and_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = passed(vec![listener]);
        assert!(passed.take("127.0.0.1:1".parse().unwrap()).is_none());
        let taken = passed.take(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        assert!(passed.take(address).is_none() && passed.is_empty());
    }

    #[test]
    fn what_nobody_wants_is_closed_and_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = passed(vec![listener]);
        assert!(passed.close_rest(&[address.port()]).is_empty());
        assert!(!passed.is_empty(), "somebody may ask for it yet");
        let rest = passed.close_rest(&[1]);
        let name = "a name".to_owned();
        assert_eq!(rest, [Unwanted { name, address }]);
        assert!(std::net::TcpStream::connect(address).is_err(), "closed");
        assert!(passed.is_empty());
    }

    #[test]
    fn a_socket_for_ipv6_only_is_said_where_both_are_meant() {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
        let Ok(socket) = socket else {
            // A machine without IPv6 has no such socket.
            return;
        };
        socket.set_only_v6(true).unwrap();
        let any: SocketAddr = "[::]:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let said = shortfall(address, &listener).unwrap();
        assert!(said.contains("BindIPv6Only=both"), "{said}");
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(shortfall(other.local_addr().unwrap(), &other), None);
    }
}
