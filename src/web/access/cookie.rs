//! The cookie that a login is: which name it has, and with which words it is set and taken away.
//!
//! Scripts cannot read it, other sites cannot have it sent, and by `__Host-` no neighbour under the same domain can set it. Pages hold
//! no data, so a link from elsewhere works although the page is asked for without it: what the page then asks for itself comes with it.

use super::caller::Caller;
use crate::store::session::LIFE;

const SECURE: &str = "__Host-trackport";
const PLAIN: &str = "trackport";

fn name(caller: Caller) -> &'static str {
    if caller.is_secure { SECURE } else { PLAIN }
}

/// The value in lines of `Cookie`.
pub(super) fn find<'l>(lines: impl Iterator<Item = &'l str>, caller: Caller) -> Option<String> {
    let wanted = name(caller);
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value.to_owned())
}

/// Sets it to `value`.
pub(super) fn set(value: &str, caller: Caller) -> String {
    with(value, LIFE.as_secs(), caller)
}

/// Takes it away.
pub(super) fn clear(caller: Caller) -> String {
    with("", 0, caller)
}

fn with(value: &str, age_s: u64, caller: Caller) -> String {
    let secure = if caller.is_secure { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}",
        name(caller)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(is_secure: bool) -> Caller {
        Caller {
            address: "127.0.0.1".parse().unwrap(),
            is_secure,
            is_private: true,
        }
    }

    #[test]
    fn the_cookie_is_for_this_host_and_for_no_script() {
        assert_eq!(
            set("a1", caller(true)),
            "__Host-trackport=a1; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            clear(caller(false)),
            "trackport=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn only_the_cookie_of_this_way_counts() {
        let lines = ["a=1; trackport=plain", "__Host-trackport=tls;b"];
        let of = |is_secure| find(lines.into_iter(), caller(is_secure));
        assert_eq!(of(true).as_deref(), Some("tls"));
        assert_eq!(of(false).as_deref(), Some("plain"));
        assert_eq!(find(["xtrackport=1"].into_iter(), caller(false)), None);
    }
}
