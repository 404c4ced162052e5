//! What every request passes: is the way here private, is the host ours, and was a change asked for by our own pages?
//!
//! Metrics and health are outside: they name no device, and whoever watches servers asks by whatever name and in the clear.
//! Knows nothing of users; that is asked behind it (`viewer.rs`).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, LOCATION, ORIGIN,
    TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::caller::{Caller, Peer};
use crate::conf::{Http, WebAccess};

/// Where metrics and health are.
const WATCHED: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// Lets a request pass with its `Caller`, or answers it.
pub(in super::super) async fn gate(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return Refusal::broken().into_response();
    };
    let caller = Caller::of(peer, request.headers(), &shared.http.proxies);
    let path = request.uri().path();
    if !WATCHED.contains(&path)
        && let Err(refusal) = pass(&request, caller, &shared.http)
    {
        if path.starts_with("/api/") {
            return refusal.into_response();
        }
        if let Some(there) = by_tls(&request, caller, &shared.http) {
            return there;
        }
        return (refusal.status, format!("{}\n", refusal.text)).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn pass(request: &Request, caller: Caller, http: &Http) -> Result<(), Refusal> {
    let headers = request.headers();
    if !caller.is_private {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "tls_needed",
            "pages and API are not shown in the clear: on the server name certificate and key in [http], or the proxy in front \
             that speaks TLS as [http] proxies; from the server's own machine http://127.0.0.1 works",
        ));
    }
    if http.access == WebAccess::Open
        && ["x-forwarded-for", "forwarded", "x-real-ip"]
            .iter()
            .any(|name| headers.contains_key(*name))
    {
        return Err(Refusal::forbidden(
            "this server is open to its own machine alone, and this came through a proxy: write [http] access = \"login\"",
        ));
    }
    let host = host(request)?;
    if !is_ours(&host.name, http) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "host_not_known",
            format!(
                "this server is not called {:?}: if it is, write that name into [http] hosts",
                host.name.chars().take(100).collect::<String>()
            ),
        ));
    }
    if is_change(request.method()) && !headers.contains_key(AUTHORIZATION) {
        by_own_page(headers, &host.whole)?;
    }
    // What other sites load from here: nothing. A link that somebody follows is no such thing.
    if request.uri().path().starts_with("/api/")
        && fetch_site(headers).is_some_and(|site| matches!(site, "cross-site" | "same-site"))
        && word(headers, "sec-fetch-mode") != Some("navigate")
    {
        return Err(foreign());
    }
    Ok(())
}

/// Where somebody finds the same page who typed its address without https.
fn by_tls(request: &Request, caller: Caller, http: &Http) -> Option<Response> {
    if caller.is_private || http.tls.is_none() || is_change(request.method()) {
        return None;
    }
    let host = host(request)
        .ok()
        .filter(|host| is_ours(&host.name, http))?;
    let path = request.uri().path_and_query()?;
    let there = HeaderValue::from_str(&format!("https://{}{path}", host.whole)).ok()?;
    Some((StatusCode::PERMANENT_REDIRECT, [(LOCATION, there)]).into_response())
}

/// Whether something may be different afterwards.
pub(super) fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// For whom a request is.
struct Asked {
    /// With the port, as it was sent.
    whole: String,
    /// Without port and brackets, in small letters.
    name: String,
}

fn host(request: &Request) -> Result<Asked, Refusal> {
    let bad = |text: &str| Refusal::new(StatusCode::BAD_REQUEST, "bad_request", text);
    let mut lines = request.headers().get_all(HOST).iter();
    let (line, more) = (lines.next(), lines.next());
    if more.is_some() {
        return Err(bad("a request has one Host"));
    }
    let whole = match (request.uri().authority(), line) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(line)) => line
            .to_str()
            .map_err(|_| bad("Host has signs that no name has"))?,
        (None, None) => return Err(bad("a request says for which Host it is")),
    };
    let name = match whole
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((address, _)) => address,
        None => whole.split_once(':').map_or(whole, |(name, _)| name),
    };
    Ok(Asked {
        whole: whole.to_owned(),
        name: name.trim_end_matches('.').to_lowercase(),
    })
}

/// Whether the name is one of ours. Names of this machine always are: nobody else can make them lead here.
fn is_ours(name: &str, http: &Http) -> bool {
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    let address = name.parse::<IpAddr>().ok();
    if address.is_some_and(|address| address.to_canonical().is_loopback()) {
        return true;
    }
    let is_listed = http
        .hosts
        .iter()
        .any(|host| host == name || address.is_some() && host.parse::<IpAddr>().ok() == address);
    is_listed || http.hosts.is_empty() && http.access == WebAccess::Login
}

/// Whether one of our own pages asks for a change, and not another site that makes a browser do so.
///
/// Browsers say where a request comes from, and without our consent no other site can have them send JSON or CSV.
fn by_own_page(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    match fetch_site(headers) {
        Some("same-origin" | "none") => {}
        Some(_) => return Err(foreign()),
        None => {
            if let Some(origin) = headers.get(ORIGIN) {
                let from = origin.to_str().ok().and_then(|text| text.split_once("://"));
                if from.is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host)) {
                    return Err(foreign());
                }
            }
        }
    }
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() != b"0");
    let kind = word(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_ours = ["application/json", "text/csv"]
        .iter()
        .any(|ours| kind.eq_ignore_ascii_case(ours));
    if is_ours || kind.is_empty() && !has_body {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "send what is to be changed with content-type: application/json",
    ))
}

fn fetch_site(headers: &HeaderMap) -> Option<&str> {
    word(headers, "sec-fetch-site")
}

fn word<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn foreign() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "foreign_site",
        "another site asked for this in your name; programs send a token: Authorization: Bearer …",
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn http(access: WebAccess, hosts: &[&str]) -> Http {
        Http {
            access,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Http::default()
        }
    }

    fn refused(http: &Http, method: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = Request::builder().method(method).uri("/api/v1/assets");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let caller = Caller {
            address: "127.0.0.1".parse().unwrap(),
            is_secure: false,
            is_private: true,
        };
        let request = request.body(Body::empty()).unwrap();
        pass(&request, caller, http)
            .err()
            .map(|refusal| refusal.code)
    }

    #[test]
    fn a_name_that_somebody_else_made_lead_here_is_refused() {
        let open = http(WebAccess::Open, &["box.example"]);
        let login = http(WebAccess::Login, &[]);
        let listed = http(WebAccess::Login, &["t.example", "192.0.2.7"]);
        for (conf, host, refusal) in [
            (&open, "localhost:8080", None),
            (&open, "127.0.0.1:8080", None),
            (&open, "[::1]:8080", None),
            (&open, "LOCALHOST", None),
            (&open, "box.example", None),
            (&open, "evil.example:8080", Some("host_not_known")),
            (&open, "localhost.evil.example", Some("host_not_known")),
            (&open, "", Some("host_not_known")),
            (&login, "anything.example", None),
            (&listed, "T.example:443", None),
            (&listed, "t.example.", None),
            (&listed, "192.0.2.7", None),
            (&listed, "localhost", None),
            (&listed, "192.0.2.8", Some("host_not_known")),
            (&listed, "evil.example", Some("host_not_known")),
        ] {
            assert_eq!(refused(conf, "GET", &[("host", host)]), refusal, "{host}");
        }
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(refused(&open, "GET", &twice), Some("bad_request"));
        assert_eq!(refused(&open, "GET", &[]), Some("bad_request"));
    }

    #[test]
    fn another_site_changes_nothing() {
        let conf = http(WebAccess::Login, &[]);
        let json = ("content-type", "application/json; charset=utf-8");
        for (headers, refusal) in [
            (vec![json], None),
            (vec![json, ("origin", "http://t.example")], None),
            (vec![json, ("origin", "https://T.example")], None),
            (vec![json, ("sec-fetch-site", "same-origin")], None),
            (vec![], None),
            (
                vec![json, ("origin", "http://evil.example")],
                Some("foreign_site"),
            ),
            (
                vec![json, ("origin", "http://t.example:81")],
                Some("foreign_site"),
            ),
            (vec![json, ("origin", "null")], Some("foreign_site")),
            (
                vec![("origin", "http://evil.example")],
                Some("foreign_site"),
            ),
            (
                vec![json, ("sec-fetch-site", "cross-site")],
                Some("foreign_site"),
            ),
            (
                vec![json, ("sec-fetch-site", "same-site")],
                Some("foreign_site"),
            ),
            (vec![("content-type", "text/plain")], Some("not_json")),
            (
                vec![("content-type", "application/x-www-form-urlencoded")],
                Some("not_json"),
            ),
            (vec![("content-length", "2")], Some("not_json")),
            (
                vec![
                    ("authorization", "Bearer x"),
                    ("origin", "http://evil.example"),
                ],
                None,
            ),
        ] {
            let mut all = vec![("host", "t.example")];
            all.extend(&headers);
            assert_eq!(refused(&conf, "POST", &all), refusal, "{headers:?}");
        }
    }

    #[test]
    fn other_sites_load_nothing_and_links_work() {
        let conf = http(WebAccess::Login, &[]);
        let host = ("host", "t.example");
        let foreign = ("sec-fetch-site", "cross-site");
        assert_eq!(
            refused(&conf, "GET", &[host, foreign]),
            Some("foreign_site")
        );
        let link = [host, foreign, ("sec-fetch-mode", "navigate")];
        assert_eq!(refused(&conf, "GET", &link), None);
        let own = [host, ("sec-fetch-site", "same-origin")];
        assert_eq!(refused(&conf, "GET", &own), None);
    }

    #[test]
    fn an_open_server_is_not_published_by_a_proxy() {
        let open = http(WebAccess::Open, &[]);
        let through = [("host", "localhost"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(refused(&open, "GET", &through), Some("forbidden"));
    }
}
