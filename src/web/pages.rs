//! The pages: files that lie in `site/` and in the binary, sent as they are. They hold no data; their scripts ask the API.
//!
//! A debug build reads them from the source tree for each request, so that a page is changed by saving it. What is not in `FILES` is
//! not in the program.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH,
    VARY,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use twox_hash::XxHash3_64;

use super::shared::Shared;

macro_rules! files {
    ($($name:literal)*) => {
        /// The files, by their path below `site/`, in the order of the alphabet.
        const FILES: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("site/", $name))),)*];
    };
}

files! {
    "asset.css"
    "asset.html"
    "assets.html"
    "css/pages.css"
    "device.html"
    "devices.html"
    "icon.svg"
    "index.html"
    "js/api.js"
    "js/asset/chartdata.js"
    "js/asset/chartmenu.js"
    "js/asset/chartpaint.js"
    "js/asset/charts.js"
    "js/asset/eventlist.js"
    "js/asset/head.js"
    "js/asset/page.js"
    "js/asset/records.js"
    "js/asset/replay.js"
    "js/asset/span.js"
    "js/asset/track.js"
    "js/asset/trackcolours.js"
    "js/asset/trackmap.js"
    "js/assets/edit.js"
    "js/assets/main.js"
    "js/device/main.js"
    "js/device/quarantine.js"
    "js/device/records.js"
    "js/devices/add.js"
    "js/devices/edit.js"
    "js/devices/main.js"
    "js/devices/models.js"
    "js/devices/waiting.js"
    "js/dom.js"
    "js/icons.js"
    "js/login/main.js"
    "js/login/next.js"
    "js/map/address.js"
    "js/map/basemap.js"
    "js/map/details.js"
    "js/map/filters.js"
    "js/map/fleet.js"
    "js/map/list.js"
    "js/map/live.js"
    "js/map/markers.js"
    "js/map/page.js"
    "js/map/paintlayer.js"
    "js/map/sheet.js"
    "js/pages/address.js"
    "js/pages/form.js"
    "js/pages/frame.js"
    "js/reports/cells.js"
    "js/reports/excursion.js"
    "js/reports/main.js"
    "js/reports/parameters.js"
    "js/reports/pictures.js"
    "js/reports/result.js"
    "js/reports/span.js"
    "js/reports/subject.js"
    "js/server/chart.js"
    "js/server/latency.js"
    "js/server/main.js"
    "js/server/rates.js"
    "js/server/tables.js"
    "js/settings/account.js"
    "js/settings/audit.js"
    "js/settings/groups.js"
    "js/settings/main.js"
    "js/settings/parameters.js"
    "js/settings/users.js"
    "js/shell.js"
    "js/states.js"
    "js/theme.js"
    "js/time.js"
    "js/ui.js"
    "js/units.js"
    "js/vendor.js"
    "login.html"
    "manifest.webmanifest"
    "map.css"
    "reports.html"
    "server.html"
    "settings.html"
    "style.css"
    "vendor/leaflet/LICENSE"
    "vendor/leaflet/leaflet.css"
    "vendor/leaflet/leaflet.js"
    "vendor/topojson-client/LICENSE"
    "vendor/topojson-client/topojson-client.min.js"
    "vendor/uplot/LICENSE"
    "vendor/uplot/uPlot.iife.min.js"
    "vendor/uplot/uPlot.min.css"
    "vendor/world-atlas/LICENSE"
    "vendor/world-atlas/countries-50m.json"
}

/// Addresses of pages and the file of each.
const PAGES: &[(&str, &str)] = &[
    ("/", "index.html"),
    ("/asset/{id}", "asset.html"),
    ("/assets", "assets.html"),
    ("/device/{imei}", "device.html"),
    ("/devices", "devices.html"),
    ("/login", "login.html"),
    ("/reports", "reports.html"),
    ("/server", "server.html"),
    ("/settings", "settings.html"),
];

/// A file, ready to be sent.
struct File {
    name: &'static str,
    bytes: &'static [u8],
    gzipped: Option<Vec<u8>>,
    tag: String,
}

static READY: LazyLock<Vec<File>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, bytes)| File {
            name,
            bytes,
            gzipped: gzip(bytes),
            tag: tag(bytes),
        })
        .collect()
});

/// Makes the files ready to be sent, which takes some tens of milliseconds.
pub(super) fn prepare() {
    if !cfg!(debug_assertions) {
        LazyLock::force(&READY);
    }
}

/// The pages and everything below `/site/`.
pub(super) fn routes() -> Router<Shared> {
    let mut router = Router::new().route(
        "/site/{*path}",
        get(async |Path(path): Path<String>, headers: HeaderMap| send(&path, &headers)),
    );
    for (address, file) in PAGES {
        router = router.route(
            address,
            get(async |headers: HeaderMap| send(file, &headers)),
        );
    }
    router
}

fn send(name: &str, headers: &HeaderMap) -> Response {
    if cfg!(debug_assertions) {
        return match from_source(name) {
            Some(bytes) => answer(name, Cow::Owned(bytes), None, headers, None),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    match READY.iter().find(|file| file.name == name) {
        Some(file) => answer(
            name,
            Cow::Borrowed(file.bytes),
            file.gzipped.as_deref(),
            headers,
            Some(&file.tag),
        ),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer(
    name: &str,
    bytes: Cow<'static, [u8]>,
    gzipped: Option<&'static [u8]>,
    asked: &HeaderMap,
    tag: Option<&str>,
) -> Response {
    let mut headers = HeaderMap::new();
    // Kept by the browser, and asked for anew each time: an upgraded server has other scripts for the same pages.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    if let Some(tag) = tag {
        if let Ok(value) = HeaderValue::from_str(tag) {
            headers.insert(ETAG, value);
        }
        if asked
            .get(IF_NONE_MATCH)
            .is_some_and(|known| known.as_bytes() == tag.as_bytes())
        {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
    }
    let takes_gzip = asked
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    match gzipped {
        Some(gzipped) if takes_gzip => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            (headers, gzipped).into_response()
        }
        _ => (headers, bytes.into_owned()).into_response(),
    }
}

/// The file as it is in the source tree now.
fn from_source(name: &str) -> Option<Vec<u8>> {
    let is_plain = name
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    if !is_plain {
        return None;
    }
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/site/").to_owned() + name).ok()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "text/plain; charset=utf-8",
    }
}

/// Smaller, or not at all.
fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder
        .finish()
        .ok()
        .filter(|gzipped| gzipped.len() < bytes.len())
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{:016x}\"", XxHash3_64::oneshot(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_site_is_in_the_program() {
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/site");
        let (mut found, mut folders) = (Vec::new(), vec![site.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(
                        path.strip_prefix(&site)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        found.sort();
        let listed: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, found);
        assert!(PAGES.iter().all(|(_, file)| listed.contains(file)));
    }

    #[test]
    fn nothing_outside_the_site_is_sent() {
        for name in [
            "../router.rs",
            "js/../../router.rs",
            "/etc/passwd",
            ".hidden",
            "",
        ] {
            assert!(from_source(name).is_none(), "{name}");
        }
    }
}
