//! What a `listen` may say, and when two of them want the same port of the machine.
//!
//! Resolves no names and opens no sockets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Listen;

/// The forms that a `listen` may have, as shown after an error.
const FORMS: &str = "write for example 5027, \"5100-5199\", \"127.0.0.1:5027\", \"[::]:5027\" or \"host:5100-5199\"";

impl Listen {
    /// The port number.
    pub fn number(&self) -> u16 {
        match self {
            Listen::Any(number) | Listen::Name(_, number) => *number,
            Listen::Address(address) => address.port(),
        }
    }

    /// Whether the two cannot be bound at the same time, as far as this is known without resolving names.
    pub fn collides(&self, other: &Listen) -> bool {
        self.number() == other.number()
            && match (self, other) {
                (Listen::Any(_), _) | (_, Listen::Any(_)) => true,
                (Listen::Address(a), Listen::Address(b)) => {
                    a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip())
                }
                (Listen::Name(a, _), Listen::Name(b, _)) => a.eq_ignore_ascii_case(b),
                (Listen::Name(name, _), Listen::Address(address))
                | (Listen::Address(address), Listen::Name(name, _)) => {
                    name.eq_ignore_ascii_case("localhost")
                        && (address.ip().is_unspecified() || address.ip().is_loopback())
                }
            }
    }
}

/// Whether a socket bound to `wide` takes what comes to `narrow`. `[::]` takes both families.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Any(number) => write!(f, "{number}"),
            Listen::Address(address) => write!(f, "{address}"),
            Listen::Name(name, number) => write!(f, "{name}:{number}"),
        }
    }
}

/// Reads a `listen`; a range gives one `Listen` for each of its numbers.
///
/// `[::]` means what a plain number means, every address of the machine.
///
/// # Errors
/// The text says what is wrong and what would be right.
pub fn parse_listen(text: &str) -> Result<Vec<Listen>, String> {
    let text = text.trim();
    let (host, numbers) = match text.rsplit_once(':') {
        None => (None, text),
        Some((host, numbers)) => (Some(host), numbers),
    };
    // "::1" and "fe80::1" end in something that looks like a port number.
    if let Some(host) = host
        && host.contains(':')
        && !(host.starts_with('[') && host.ends_with(']'))
    {
        return Err(format!(
            "an IPv6 address needs brackets before the port number: {FORMS}"
        ));
    }
    let make = host_of(host)?;
    parse_numbers(numbers)?.map(make).collect()
}

fn parse_numbers(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let Some((first, last)) = text.split_once('-') else {
        let number = parse_number(text)?;
        return Ok(number..=number);
    };
    let (first, last) = (parse_number(first)?, parse_number(last)?);
    if first > last {
        return Err(format!(
            "the range is empty: {first} is greater than {last}; write \"{last}-{first}\""
        ));
    }
    if first == 0 {
        return Err("a range cannot begin at 0; port numbers are 1 to 65535".to_owned());
    }
    Ok(first..=last)
}

fn parse_number(text: &str) -> Result<u16, String> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("\"{text}\" is no port number: {FORMS}"));
    }
    text.parse()
        .map_err(|_| format!("there is no port {text}: port numbers are 1 to 65535"))
}

type MakeListen = Box<dyn Fn(u16) -> Result<Listen, String>>;

/// How a port number of this host becomes a `Listen`.
fn host_of(host: Option<&str>) -> Result<MakeListen, String> {
    let Some(host) = host else {
        return Ok(Box::new(|number| Ok(Listen::Any(number))));
    };
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Box::new(move |number| {
            Ok(Listen::Address(SocketAddr::from((ip, number))))
        }));
    }
    if host.starts_with('[') {
        // The whole is parsed, because only a socket address has a scope as in [fe80::1%2].
        let host = host.to_owned();
        return Ok(Box::new(move |number| {
            let address: SocketAddr = format!("{host}:{number}")
                .parse()
                .map_err(|_| format!("{host} is no IPv6 address: {FORMS}"))?;
            Ok(match address.ip().to_canonical() {
                ip if ip.is_unspecified() && ip.is_ipv6() => Listen::Any(number),
                ip @ IpAddr::V4(_) => Listen::Address(SocketAddr::from((ip, number))),
                IpAddr::V6(_) => Listen::Address(address),
            })
        }));
    }
    let looks_like_ipv4 = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if looks_like_ipv4 {
        return Err(format!("\"{host}\" is no IPv4 address: {FORMS}"));
    }
    let name_ok = host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
    if !name_ok {
        return Err(format!("\"{host}\" is no host name: {FORMS}"));
    }
    let host = host.to_owned();
    Ok(Box::new(move |number| {
        Ok(Listen::Name(host.clone(), number))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Listen {
        let mut all = parse_listen(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(one("5027"), Listen::Any(5027));
        assert_eq!(one("[::]:5027"), Listen::Any(5027));
        assert_eq!(
            one("127.0.0.1:5027"),
            Listen::Address("127.0.0.1:5027".parse().unwrap())
        );
        assert_eq!(
            one("[2001:db8::1]:5027"),
            Listen::Address("[2001:db8::1]:5027".parse().unwrap())
        );
        assert_eq!(
            one("[::ffff:10.0.0.1]:5027"),
            Listen::Address("10.0.0.1:5027".parse().unwrap())
        );
        assert_eq!(
            one("localhost:5027"),
            Listen::Name("localhost".to_owned(), 5027)
        );
        let range = parse_listen("5100-5199").unwrap();
        assert_eq!(range.len(), 100);
        assert_eq!(range[99], Listen::Any(5199));
        assert_eq!(parse_listen("10.0.0.1:1-3").unwrap().len(), 3);
        assert_eq!(parse_listen("1-65535").unwrap().len(), 65_535);
    }

    #[test]
    fn what_is_no_listen_says_why() {
        for (text, why) in [
            ("", "no port number"),
            ("70000", "1 to 65535"),
            ("5199-5100", "the range is empty"),
            ("0-5", "cannot begin at 0"),
            ("::1:5027", "needs brackets"),
            ("[::zz]:5027", "no IPv6 address"),
            ("10.0.0.300:5027", "no IPv4 address"),
            ("my host:5027", "no host name"),
            ("localhost", "no port number"),
            ("localhost:", "no port number"),
            ("+5027", "no port number"),
        ] {
            let told = parse_listen(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn the_same_port_is_seen_in_every_spelling() {
        for (a, b, same) in [
            ("5027", "[::]:5027", true),
            ("5027", "0.0.0.0:5027", true),
            ("[::]:5027", "127.0.0.1:5027", true),
            ("0.0.0.0:5027", "10.0.0.1:5027", true),
            ("0.0.0.0:5027", "[::1]:5027", false),
            ("10.0.0.1:5027", "10.0.0.2:5027", false),
            ("localhost:5027", "127.0.0.1:5027", true),
            ("localhost:5027", "LOCALHOST:5027", true),
            ("localhost:5027", "10.0.0.1:5027", false),
            ("5027", "5028", false),
        ] {
            assert_eq!(one(a).collides(&one(b)), same, "{a} and {b}");
            assert_eq!(one(b).collides(&one(a)), same, "{b} and {a}");
        }
    }
}
