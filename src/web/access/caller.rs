//! From where a request comes, and whether somebody could have read it on its way.
//!
//! What a proxy says of its clients is believed only of those that the conf names.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The other end of a connection, as the web thread accepted it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Peer {
    pub(in super::super) address: SocketAddr,
    pub(in super::super) is_tls: bool,
}

/// Whoever asks, whatever is in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Caller {
    /// Of the browser or program itself, where the proxies in between say so.
    pub(in super::super) address: IpAddr,
    /// TLS, to here or to a proxy that we believe.
    pub(in super::super) is_secure: bool,
    /// Nobody else could read it: TLS, this machine, or a proxy whose network is the operator's affair.
    pub(in super::super) is_private: bool,
}

impl Caller {
    /// Who asks by `peer` with these headers.
    pub(super) fn of(peer: Peer, headers: &HeaderMap, proxies: &[IpNet]) -> Caller {
        let near = peer.address.ip().to_canonical();
        let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
        if !is_proxy(&near) {
            return Caller {
                address: near,
                is_secure: peer.is_tls,
                is_private: peer.is_tls || near.is_loopback(),
            };
        }
        Caller {
            address: farthest(near, headers, is_proxy),
            is_secure: peer.is_tls || was_secure(headers),
            is_private: true,
        }
    }

    /// What counts as one for limits: of IPv6, a network of which one customer has all addresses.
    pub(super) fn network(&self) -> IpAddr {
        network(self.address)
    }
}

/// What counts as one client for limits.
pub(in super::super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let bits = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
    }
}

/// The last one in `X-Forwarded-For` that is no proxy of ours: what stands before it is what strangers say.
fn farthest(near: IpAddr, headers: &HeaderMap, is_proxy: impl Fn(&IpAddr) -> bool) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for").iter();
    let words: Vec<&str> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    let mut address = near;
    for word in words.iter().rev() {
        let bare = word.trim_start_matches('[').trim_end_matches(']');
        let Ok(said) = bare.parse::<IpAddr>() else {
            break;
        };
        address = said.to_canonical();
        if !is_proxy(&address) {
            break;
        }
    }
    address
}

/// What the proxy nearest to us says.
fn was_secure(headers: &HeaderMap) -> bool {
    let last = headers.get_all("x-forwarded-proto").iter().next_back();
    let said = last.and_then(|line| line.to_str().ok());
    said.and_then(|line| line.rsplit(',').next())
        .is_some_and(|word| word.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, headers: &[(&'static str, &str)]) -> Caller {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let peer = Peer {
            address: peer.parse().unwrap(),
            is_tls: false,
        };
        Caller::of(peer, &map, &proxies)
    }

    #[test]
    fn only_proxies_of_the_conf_are_believed() {
        let said = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
        ];
        let stranger = caller("203.0.113.9:1", &said);
        assert_eq!(stranger.address, "203.0.113.9".parse::<IpAddr>().unwrap());
        assert!(!stranger.is_secure && !stranger.is_private);
        let through = caller("[::ffff:10.0.0.1]:1", &said);
        assert_eq!(through.address, "1.2.3.4".parse::<IpAddr>().unwrap());
        assert!(through.is_secure && through.is_private);
    }

    #[test]
    fn what_a_client_claims_before_the_proxy_does_not_count() {
        for (line, address) in [
            ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
            ("9.9.9.9, 1.2.3.4, 10.9.9.9", "1.2.3.4"),
            ("nonsense, 10.9.9.9", "10.9.9.9"),
            ("1.2.3.4, nonsense", "10.0.0.1"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("", "10.0.0.1"),
        ] {
            let said = caller("10.0.0.1:1", &[("x-forwarded-for", line)]);
            assert_eq!(said.address, address.parse::<IpAddr>().unwrap(), "{line}");
        }
        let two = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "http"),
        ];
        assert!(!caller("10.0.0.1:1", &two).is_secure);
    }

    #[test]
    fn one_customer_of_ipv6_is_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:1.2.3.4"), of("1.2.3.4"));
        assert_ne!(of("1.2.3.4"), of("1.2.3.5"));
    }
}
