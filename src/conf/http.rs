//! `[http]`: where the web listens, who is let in, and what its pages may load from elsewhere.
//!
//! Opens no file: whether a certificate can be used is found out when it is (`web/tls.rs`), and by `trackport check`.

use std::net::IpAddr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::listen::parse_listen;
use super::ports::networks;
use super::report::Report;
use super::section::{self, Section, Setting, shown};
use super::{Http, Listen, Tiles, TlsFiles, WebAccess};

const KEYS: &[&str] = &[
    "listen",
    "access",
    "hosts",
    "certificate",
    "key",
    "proxies",
    "tiles",
    "tiles_attribution",
];

/// Signs of the attribution.
const ATTRIBUTION_MAX: usize = 300;

/// The table, and where `listen` stands, for what else wants the same address.
pub(super) fn read(root: &DeTable<'_>, report: &mut Report<'_>) -> (Http, Setting<Option<Listen>>) {
    let table = Section::of(root, "http", KEYS, report);
    let listen = table.read(report, "listen", None, |value| web_listen(value).map(Some));
    let access = table.read(report, "access", WebAccess::Login, |value| {
        let words = [("login", WebAccess::Login), ("open", WebAccess::Open)];
        section::word(value, &words)
    });
    let hosts = hosts(&table, report);
    let tls = tls(&table, report);
    let empty = "an empty list believes nobody, as none does: leave proxies out, or write for example [\"10.0.0.5\"]";
    let (proxies, proxies_good) = networks(&table, "proxies", empty, report);
    let tiles = tiles(&table, report);
    let reach = reach(listen.value.as_ref());
    if access.value == WebAccess::Open && (reach.is_some() || !proxies.is_empty()) {
        let text = "everybody who reaches it may do everything: only for a web that listens on this machine's own addresses, as \
                    \"127.0.0.1:8080\", with no proxy in front; write \"login\" and make users with `trackport user add`";
        report.error(access.line, Some(table.key("access")), text.to_owned());
    } else if let Some(reach) = reach {
        let pages = if tls.is_some() || !proxies.is_empty() || !proxies_good {
            "let only those in by the firewall who watch the server"
        } else {
            "pages and API are shown to nobody from elsewhere, because passwords would travel in the clear: name certificate and \
             key, or the addresses of the proxies in front that speak TLS"
        };
        let text = format!(
            "whoever reaches {reach} can read metrics and health without a login; {pages}, or write \"127.0.0.1:8080\""
        );
        report.warn(listen.line, Some(table.key("listen")), text);
    }
    let http = Http {
        listen: listen.value.clone(),
        access: access.value,
        hosts,
        tls,
        proxies,
        tiles,
    };
    (http, listen)
}

/// Who can reach it beyond this machine.
fn reach(listen: Option<&Listen>) -> Option<&'static str> {
    match listen {
        Some(Listen::Any(_)) => Some("every address of this machine"),
        Some(Listen::Address(address)) if address.ip().is_unspecified() => {
            Some("every address of this machine")
        }
        Some(Listen::Address(address)) if !address.ip().is_loopback() => Some("this address"),
        _ => None,
    }
}

fn web_listen(value: &DeValue<'_>) -> Result<Listen, String> {
    let right = "write for example \"127.0.0.1:8080\"";
    let text = match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => return Err(format!("{} is no address; {right}", shown(value))),
    };
    let mut all = parse_listen(&text)?;
    match (all.pop(), all.is_empty()) {
        (Some(Listen::Name(name, _)), true) if !name.eq_ignore_ascii_case("localhost") => Err(
            format!("\"{name}\" is a name, and no name service is asked for this one; {right}"),
        ),
        (Some(listen), true) => Ok(listen),
        _ => Err(format!("\"{text}\" is not one address; {right}")),
    }
}

fn hosts(table: &Section<'_, '_>, report: &mut Report<'_>) -> Vec<String> {
    let Some(value) = table.get("hosts") else {
        return Vec::new();
    };
    let items: &[Spanned<DeValue<'_>>] = match value.get_ref() {
        DeValue::Array(items) => items,
        _ => std::slice::from_ref(value),
    };
    if items.is_empty() {
        let line = Some(report.line_at(value.span().start));
        let text = "an empty list would let nobody in; leave hosts out to take any, or write for example [\"tracking.example.com\"]";
        report.error(line, Some(table.key("hosts")), text.to_owned());
    }
    let mut hosts = Vec::new();
    for item in items {
        match host(item.get_ref()) {
            Ok(host) => hosts.push(host),
            Err(text) => {
                let line = Some(report.line_at(item.span().start));
                report.error(line, Some(table.key("hosts")), text);
            }
        }
    }
    hosts
}

/// A host name or an address, in small letters and without brackets.
fn host(value: &DeValue<'_>) -> Result<String, String> {
    let right = "write names as they stand in the address line, without scheme and port, for example [\"tracking.example.com\"]";
    let DeValue::String(text) = value else {
        return Err(format!("{} is no host name; {right}", shown(value)));
    };
    let name = text.to_lowercase();
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(&name);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if is_host_name(&name) {
        Ok(name)
    } else {
        Err(format!("\"{text}\" is no host name; {right}"))
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn tls(table: &Section<'_, '_>, report: &mut Report<'_>) -> Option<TlsFiles> {
    let mut file = |key: &str, example: &str| {
        let setting = table.read(report, key, None, |value| {
            section::path(value, example).map(Some)
        });
        (setting.line, setting.value)
    };
    let certificate = file("certificate", "/etc/trackport/web.crt");
    let key = file("key", "/etc/trackport/web.key");
    match (certificate, key) {
        ((_, Some(certificate)), (_, Some(key))) => Some(TlsFiles { certificate, key }),
        ((Some(line), _), (None, _)) => {
            let text =
                "a certificate needs its key: write key = \"/etc/trackport/web.key\" beside it";
            report.error(Some(line), Some(table.key("certificate")), text.to_owned());
            None
        }
        ((None, _), (Some(line), _)) => {
            let text = "a key needs its certificate: write certificate = \"/etc/trackport/web.crt\" beside it";
            report.error(Some(line), Some(table.key("key")), text.to_owned());
            None
        }
        _ => None,
    }
}

fn tiles(table: &Section<'_, '_>, report: &mut Report<'_>) -> Option<Tiles> {
    let url = table.read(report, "tiles", None, |value| tiles_url(value).map(Some));
    let attribution = table.read(report, "tiles_attribution", String::new(), |value| {
        let right = "write for example \"© OpenStreetMap contributors\"";
        match value {
            DeValue::String(text) if text.chars().count() <= ATTRIBUTION_MAX => {
                Ok(text.trim().to_owned())
            }
            DeValue::String(_) => Err(format!(
                "this is longer than {ATTRIBUTION_MAX} signs; {right}"
            )),
            _ => Err(format!("{} is no text; {right}", shown(value))),
        }
    });
    let Some((url_text, origin)) = url.value else {
        if url.good && attribution.line.is_some() {
            let text = "nothing is shown of whose the map is without tiles";
            report.warn(
                attribution.line,
                Some(table.key("tiles_attribution")),
                text.to_owned(),
            );
        }
        return None;
    };
    if attribution.value.is_empty() && attribution.good {
        let text = "nobody is told whose map it is, and owners of maps want that said: write it as tiles_attribution";
        report.warn(url.line, Some(table.key("tiles")), text.to_owned());
    }
    Some(Tiles {
        url: url_text,
        origin,
        attribution: attribution.value,
    })
}

/// The address and its origin, which goes into a header: so nothing that means something there may be in it.
fn tiles_url(value: &DeValue<'_>) -> Result<(String, String), String> {
    let right = "write for example \"https://tiles.example.com/{z}/{x}/{y}.png\"";
    let DeValue::String(text) = value else {
        return Err(format!("{} is no address; {right}", shown(value)));
    };
    let Some((scheme, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "https" | "http"))
    else {
        return Err(format!("\"{text}\" begins with no https://; {right}"));
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, port) = authority.split_once(':').unwrap_or((authority, "443"));
    if !is_host_name(name) || port.parse::<u16>().is_err() {
        return Err(format!(
            "\"{authority}\" is no host that pictures could come from; {right}"
        ));
    }
    if !["{z}", "{x}", "{y}"].iter().all(|part| path.contains(part)) {
        return Err(format!(
            "\"{text}\" does not say where zoom and place of a picture stand: {{z}}, {{x}} and {{y}}; {right}"
        ));
    }
    if path.chars().any(|sign| sign.is_control() || sign == ' ') {
        return Err(format!("\"{text}\" has a space in it; {right}"));
    }
    Ok((
        text.to_string(),
        format!("{scheme}://{authority}").to_lowercase(),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{WebAccess, parse};

    fn complaints(keys: &str) -> Vec<String> {
        let text = format!("[http]\n{keys}\n[[port]]\nlisten = 5027\n");
        match parse(&text, "t") {
            Ok(conf) => conf.warnings.iter().map(ToString::to_string).collect(),
            Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn every_key_is_understood() {
        let conf = parse(
            "[http]\nlisten = \"0.0.0.0:443\"\nhosts = [\"Tracking.Example.com\", \"[2001:db8::1]\"]\n\
             certificate = \"/c.pem\"\nkey = \"/k.pem\"\nproxies = [\"10.0.0.5\"]\n\
             tiles = \"https://T.example.com:8443/{z}/{x}/{y}.png?k=1\"\ntiles_attribution = \"© us\"\n[[port]]\nlisten = 1",
            "t",
        )
        .unwrap();
        assert_eq!(conf.http.access, WebAccess::Login);
        assert_eq!(conf.http.hosts, ["tracking.example.com", "2001:db8::1"]);
        assert_eq!(conf.http.tls.unwrap().key.to_str(), Some("/k.pem"));
        assert_eq!(conf.http.proxies, ["10.0.0.5/32".parse().unwrap()]);
        let tiles = conf.http.tiles.unwrap();
        assert_eq!(tiles.origin, "https://t.example.com:8443");
        assert_eq!(tiles.attribution, "© us");
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (keys, said) in [
            ("listen = 8080\naccess = \"open\"", "trackport user add"),
            (
                "listen = \"127.0.0.1:1\"\naccess = \"open\"\nproxies = [\"10.0.0.1\"]",
                "no proxy in front",
            ),
            ("certificate = \"/c.pem\"", "needs its key"),
            ("key = \"/k.pem\"", "needs its certificate"),
            ("certificate = \"c.pem\"\nkey = \"/k\"", "no absolute path"),
            ("hosts = [\"https://a.example\"]", "without scheme and port"),
            ("hosts = \"a.example:443\"", "without scheme and port"),
            ("hosts = []", "let nobody in"),
            ("proxies = []", "believes nobody"),
            ("proxies = [\"proxy\"]", "no network"),
            ("tiles = \"tiles.example\"", "no https://"),
            ("tiles = \"https://a b/{z}/{x}/{y}\"", "no host"),
            ("tiles = \"https://a;script-src/{z}/{x}/{y}\"", "no host"),
            ("tiles = \"https://a.example/{z}/{x}\"", "{z}, {x} and {y}"),
            (
                "tiles = \"https://a.example/{z}/{x}/{y}\"",
                "tiles_attribution",
            ),
            ("tiles_attribution = \"us\"", "without tiles"),
            ("listen = 8080", "certificate and key"),
            ("acess = \"open\"", "did you mean \"access\"?"),
        ] {
            let told = complaints(keys);
            assert!(
                told.iter().any(|one| one.contains(said)),
                "{keys}: {told:?}"
            );
        }
        assert_eq!(
            complaints("listen = \"127.0.0.1:1\"\naccess = \"open\""),
            [""; 0]
        );
    }
}
