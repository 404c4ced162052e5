//! Opens the listening sockets of a port, or says why that cannot be and what helps.
//!
//! Accepts nothing and starts no thread. `[::]` takes both address families, every other IPv6 address its own only; where
//! the machine lacks a family, the other one works and a warning says so.
//! Blocks only where a host name is resolved, for as long as the system's resolver takes; numbers, addresses and
//! `localhost` are never looked up.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::passed::{self, Passed};
use crate::conf::Listen;

/// Connections that the kernel completes before they are accepted. std's 128 stalls when a whole network of devices
/// connects anew at once.
pub const BACKLOG: i32 = 4096;
/// Of the kernel's memory for what a connection is sent and does not take. Answers have four bytes; left to itself the kernel
/// would keep megabytes for a device that reads none of them.
const SEND_BYTES: usize = 8 * 1024;

/// Linux's EAFNOSUPPORT, for which std has no name: the kernel runs without this address family.
const NO_FAMILY: i32 = 97;

/// What a port is known by: its resolved address and number.
pub type Address = SocketAddr;

/// A listening, non-blocking socket.
#[derive(Debug)]
pub struct Bound {
    /// What it listens on; the real number where the conf says 0.
    pub address: Address,
    /// The socket.
    pub listener: TcpListener,
    /// What is missing, although the socket works.
    pub warning: Option<String>,
    /// Whether it came with the process and was not bound here.
    pub passed: bool,
}

/// Why there is no listening socket. The text names the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket listens there.
    #[error(
        "{} is in use; `ss -ltnp 'sport = :{}'` shows by whom",
        label(.0), .0.port()
    )]
    InUse(Address),
    /// The kernel or a security module forbids it.
    #[error("no permission to listen on {}: {}", label(.0), permission_remedy(.0))]
    NoPermission(Address),
    /// No interface of this machine has the address.
    #[error(
        "{} is no address of this machine; `ip address` shows those there are, and a plain port number means all of them",
        .0.ip()
    )]
    NotHere(Address),
    /// The kernel runs without IPv4 or IPv6.
    #[error("{} cannot be bound: this machine runs without {}", label(.0), family(.0))]
    NoFamily(Address),
    /// The host name means no address.
    #[error(
        "the host name \"{name}\" does not resolve ({why}); `getent ahosts {name}` must show an address of this machine"
    )]
    NoName {
        /// As in the conf.
        name: String,
        /// What the resolver said.
        why: String,
    },
    /// Anything else, for example no file descriptor left.
    #[error("{} cannot be bound: {source}", label(.address))]
    Other {
        /// Where.
        address: Address,
        /// What the kernel said.
        source: io::Error,
    },
}

impl BindError {
    /// The address that was tried; `None` when the name gave none.
    pub fn address(&self) -> Option<Address> {
        match self {
            BindError::InUse(address)
            | BindError::NoPermission(address)
            | BindError::NotHere(address)
            | BindError::NoFamily(address)
            | BindError::Other { address, .. } => Some(*address),
            BindError::NoName { .. } => None,
        }
    }

    fn new(address: Address, source: io::Error) -> BindError {
        match source.kind() {
            ErrorKind::AddrInUse => BindError::InUse(address),
            ErrorKind::PermissionDenied => BindError::NoPermission(address),
            ErrorKind::AddrNotAvailable => BindError::NotHere(address),
            _ if source.raw_os_error() == Some(NO_FAMILY) => BindError::NoFamily(address),
            _ => BindError::Other { address, source },
        }
    }
}

/// How a port is named to people: `[::]:5027`, `10.0.0.1:5027`.
pub fn label(address: &Address) -> String {
    address.to_string()
}

/// The addresses that `listen` means, IPv6 first. Blocks while a host name is resolved.
///
/// # Errors
/// When a host name does not resolve.
pub fn resolve(listen: &Listen) -> Result<Vec<Address>, BindError> {
    match listen {
        Listen::Any(number) => Ok(vec![(Ipv6Addr::UNSPECIFIED, *number).into()]),
        Listen::Address(address) => Ok(vec![*address]),
        // Not looked up: a resolver that knows one family only must not hide the other.
        Listen::Name(name, number) if is_localhost(name) => Ok(vec![
            (Ipv6Addr::LOCALHOST, *number).into(),
            (Ipv4Addr::LOCALHOST, *number).into(),
        ]),
        Listen::Name(name, number) => {
            let no_name = |why: String| BindError::NoName {
                name: name.clone(),
                why,
            };
            let mut addresses: Vec<Address> = (name.as_str(), *number)
                .to_socket_addrs()
                .map_err(|error| no_name(error.to_string()))?
                .collect();
            addresses.sort_by_key(|address| (address.is_ipv4(), *address));
            addresses.dedup();
            if addresses.is_empty() {
                return Err(no_name("no address".to_owned()));
            }
            Ok(addresses)
        }
    }
}

/// Opens the sockets of `listen`: one, or one for each address of a host name. Each stands for itself: those that work are to
/// be served whatever became of the others. A socket that was passed is taken in place of a new one.
pub fn bind(listen: &Listen, passed: &Passed) -> Vec<Result<Bound, BindError>> {
    bind_each(listen, passed, open)
}

/// Opens the socket of one resolved address, for example anew after an error. `[::]` falls back to `0.0.0.0`.
///
/// # Errors
/// As the kernel says.
pub fn bind_address(address: Address, passed: &Passed) -> Result<Bound, BindError> {
    bind_one(address, passed, open)
}

fn bind_each(
    listen: &Listen,
    passed: &Passed,
    open: fn(Address) -> io::Result<TcpListener>,
) -> Vec<Result<Bound, BindError>> {
    let addresses = match resolve(listen) {
        Ok(addresses) => addresses,
        Err(error) => return vec![Err(error)],
    };
    let (mut bound, failed): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .map(|address| bind_one(address, passed, open))
        .partition(Result::is_ok);
    let localhost = matches!(listen, Listen::Name(name, _) if is_localhost(name));
    for failure in failed {
        let Err(error) = failure else { continue };
        // With IPv6 switched off by sysctl the family exists, but ::1 does not.
        let family_missing = match &error {
            BindError::NoFamily(_) => true,
            BindError::NotHere(_) => localhost,
            _ => false,
        };
        match bound.first_mut() {
            Some(Ok(first)) if family_missing => first.warning = Some(error.to_string()),
            _ => bound.push(Err(error)),
        }
    }
    bound
}

fn bind_one(
    address: Address,
    passed: &Passed,
    open: fn(Address) -> io::Result<TcpListener>,
) -> Result<Bound, BindError> {
    let every_address = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let find = |address| match passed.take(address) {
        Some(taken) => (prepare(&SockRef::from(&taken)).map(|()| taken), true),
        None => (open(address), false),
    };
    let (found, is_passed) = find(address);
    let (listener, warning, is_passed) = match found {
        Ok(listener) => {
            let shortfall = passed::shortfall(address, &listener).filter(|_| is_passed);
            (listener, shortfall, is_passed)
        }
        Err(error)
            if every_address
                && (error.raw_os_error() == Some(NO_FAMILY)
                    || error.kind() == ErrorKind::AddrNotAvailable) =>
        {
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let (found, is_passed) = find(ipv4);
            let listener = found.map_err(|error| BindError::new(ipv4, error))?;
            let warning =
                format!("this machine runs without IPv6: only {ipv4} is served, not {address}");
            (listener, Some(warning), is_passed)
        }
        Err(error) => return Err(BindError::new(address, error)),
    };
    let address = listener
        .local_addr()
        .map_err(|source| BindError::Other { address, source })?;
    Ok(Bound {
        address,
        listener,
        warning,
        passed: is_passed,
    })
}

fn open(address: Address) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Said explicitly, because the system's default is a sysctl.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections of the last process that still linger must not keep the next one from its port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    prepare(&SockRef::from(&socket))?;
    Ok(socket.into())
}

/// Makes a bound socket listen as all do here, whether it listened before or not.
fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // What is accepted here inherits it.
    socket.set_send_buffer_size(SEND_BYTES)?;
    socket.listen(BACKLOG)
}

fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

fn family(address: &Address) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn permission_remedy(address: &Address) -> &'static str {
    if address.port() < 1024 {
        "ports below 1024 are privileged; `systemctl edit trackport`, and below [Service] write \
         AmbientCapabilities=CAP_NET_BIND_SERVICE and CapabilityBoundingSet=CAP_NET_BIND_SERVICE"
    } else {
        "a security module forbids it; `ausearch -m avc -ts recent` shows what SELinux refused"
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::conf::parse_listen;

    fn listen(text: &str) -> Listen {
        parse_listen(text).unwrap().remove(0)
    }

    fn without_ipv6(address: Address) -> io::Result<TcpListener> {
        if address.is_ipv6() {
            Err(io::Error::from_raw_os_error(NO_FAMILY))
        } else {
            open((Ipv4Addr::LOCALHOST, 0).into())
        }
    }

    fn without_permission(_: Address) -> io::Result<TcpListener> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn only(mut all: Vec<Result<Bound, BindError>>) -> Result<Bound, BindError> {
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn a_bound_port_takes_connections_without_blocking() {
        let bound = only(bind(&listen("127.0.0.1:0"), &Passed::none())).unwrap();
        assert_ne!(bound.address.port(), 0);
        assert_eq!(bound.warning, None);
        let nothing_yet = bound.listener.accept().unwrap_err();
        assert_eq!(nothing_yet.kind(), ErrorKind::WouldBlock);
        TcpStream::connect(bound.address).unwrap();
        assert!(label(&bound.address).starts_with("127.0.0.1:"));
    }

    #[test]
    fn a_passed_socket_is_as_one_that_is_bound_here() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = passed::tests::passed(vec![listener]);
        let bound = only(bind(&Listen::Address(address), &passed)).unwrap();
        assert!(bound.passed && passed.is_empty());
        let nothing_yet = bound.listener.accept().unwrap_err();
        assert_eq!(nothing_yet.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_plain_number_takes_both_families() {
        let bound = only(bind(&listen("0"), &Passed::none())).unwrap();
        let number = bound.address.port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, number)).unwrap();
        if bound.warning.is_none() {
            assert_eq!(bound.address.ip(), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
            TcpStream::connect((Ipv6Addr::LOCALHOST, number)).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_is_said_with_the_remedy() {
        let first = only(bind(&listen("127.0.0.1:0"), &Passed::none())).unwrap();
        let number = first.address.port();
        let error = only(bind(
            &listen(&format!("127.0.0.1:{number}")),
            &Passed::none(),
        ))
        .unwrap_err();
        assert_eq!(error.address(), Some(first.address));
        let text = error.to_string();
        assert!(text.contains(&format!("127.0.0.1:{number} is in use")));
        assert!(text.contains(&format!("ss -ltnp 'sport = :{number}'")));
    }

    #[test]
    fn an_address_of_another_machine_is_said() {
        let error = only(bind(&listen("192.0.2.1:5027"), &Passed::none())).unwrap_err();
        assert!(matches!(error, BindError::NotHere(_)), "{error}");
        assert!(error.to_string().contains("`ip address`"));
    }

    #[test]
    fn without_ipv6_a_plain_number_serves_ipv4_with_a_warning() {
        let bound = only(bind_each(&listen("5027"), &Passed::none(), without_ipv6)).unwrap();
        assert!(bound.address.is_ipv4());
        assert!(bound.warning.unwrap().contains("without IPv6"));
    }

    #[test]
    fn localhost_is_both_families_and_the_missing_one_only_warns() {
        let localhost = listen("localhost:5027");
        let addresses: Vec<String> = resolve(&localhost).unwrap().iter().map(label).collect();
        assert_eq!(addresses, ["[::1]:5027", "127.0.0.1:5027"]);
        let bound = only(bind_each(&localhost, &Passed::none(), without_ipv6)).unwrap();
        assert!(bound.warning.unwrap().contains("[::1]:5027"));
        // Where nothing is left, it is an error.
        let all = bind_each(&listen("[::1]:5027"), &Passed::none(), without_ipv6);
        assert!(matches!(only(all), Err(BindError::NoFamily(_))));
    }

    #[test]
    fn a_privileged_port_says_which_right_is_missing() {
        let error = only(bind_each(
            &listen("80"),
            &Passed::none(),
            without_permission,
        ))
        .unwrap_err();
        assert!(error.to_string().contains("CAP_NET_BIND_SERVICE"));
        let error = only(bind_each(
            &listen("5027"),
            &Passed::none(),
            without_permission,
        ))
        .unwrap_err();
        assert!(error.to_string().contains("SELinux"));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_said() {
        // Longer than a label of a name can be: the resolver refuses it without asking anybody.
        let name = Listen::Name("x".repeat(64), 5027);
        let error = only(bind(&name, &Passed::none())).unwrap_err();
        assert!(matches!(error, BindError::NoName { .. }), "{error}");
        assert_eq!(error.address(), None);
    }
}
