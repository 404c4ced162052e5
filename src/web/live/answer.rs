//! `/api/v1/positions`: all assets that whoever asks may see, straight from memory.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;

use super::super::access::Viewer;
use super::super::refusal::Refusal;
use super::super::shared::Shared;
use super::super::times::rfc3339;

/// Positions that are sent, or packed and sent, before others have their turn.
const AT_ONCE: usize = 256;

pub(in super::super) async fn positions(
    State(shared): State<Shared>,
    viewer: Viewer,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let groups = viewer.group_ids();
    let board = &shared.board;
    let view = board.view(groups.as_deref(), 0).ok_or_else(not_yet)?;
    let mut begin = format!(
        "{{\"at\":\"{}\",\"mark\":\"{}\"",
        rfc3339(view.at_us),
        board.mark(view.number)
    );
    if let Some(trouble) = &view.trouble {
        let _ = write!(
            begin,
            ",\"trouble\":{}",
            serde_json::Value::from(&**trouble)
        );
    }
    begin.push_str(",\"positions\":[");
    let packed = accepts_gzip(&headers).then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    let is_packed = packed.is_some();
    let mut writer = Writer {
        packed,
        plain: Vec::new(),
        rest: view.shown.into_iter(),
        is_first: true,
        is_done: false,
    };
    writer.write(begin.as_bytes());
    let pieces = stream::unfold(writer, async |mut writer| {
        // The next piece is made when the one before has gone, and others are served in between.
        tokio::task::yield_now().await;
        let piece = writer.piece()?;
        Some((Ok::<_, Infallible>(piece), writer))
    });
    let mut response = (
        [
            (CONTENT_TYPE, "application/json"),
            (VARY, "Accept-Encoding"),
        ],
        Body::from_stream(pieces),
    )
        .into_response();
    if is_packed {
        let gzip = axum::http::HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

/// 503: nothing was loaded yet.
pub(super) fn not_yet() -> Refusal {
    let mut refusal = Refusal::busy();
    "the positions are being loaded; ask again in a moment".clone_into(&mut refusal.text);
    refusal.retry_after_s = Some(1);
    refusal
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let is_refused =
                parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            name.eq_ignore_ascii_case("gzip") && !is_refused
        })
}

/// Makes the answer piece by piece.
struct Writer {
    packed: Option<GzEncoder<Vec<u8>>>,
    plain: Vec<u8>,
    rest: std::vec::IntoIter<Arc<str>>,
    is_first: bool,
    is_done: bool,
}

impl Writer {
    fn write(&mut self, bytes: &[u8]) {
        match &mut self.packed {
            // Into memory, where nothing fails.
            Some(packed) => drop(packed.write_all(bytes)),
            None => self.plain.extend_from_slice(bytes),
        }
    }

    fn piece(&mut self) -> Option<Bytes> {
        while !self.is_done {
            for _ in 0..AT_ONCE {
                let Some(json) = self.rest.next() else {
                    self.write(b"]}");
                    self.is_done = true;
                    break;
                };
                if !std::mem::take(&mut self.is_first) {
                    self.write(b",");
                }
                self.write(json.as_bytes());
            }
            let piece = match self.packed.take() {
                Some(packed) if self.is_done => packed.finish().unwrap_or_default(),
                Some(mut packed) => {
                    let piece = std::mem::take(packed.get_mut());
                    self.packed = Some(packed);
                    piece
                }
                None => std::mem::take(&mut self.plain),
            };
            // Packed it may still be inside the packer, and an empty piece would end the answer.
            if !piece.is_empty() {
                return Some(piece.into());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn written(is_packed: bool, n: usize) -> Vec<u8> {
        let rest: Vec<Arc<str>> = (0..n).map(|i| Arc::from(i.to_string())).collect();
        let mut writer = Writer {
            packed: is_packed.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            plain: Vec::new(),
            rest: rest.into_iter(),
            is_first: true,
            is_done: false,
        };
        writer.write(b"{\"positions\":[");
        let mut all = Vec::new();
        while let Some(piece) = writer.piece() {
            assert!(!piece.is_empty());
            all.extend_from_slice(&piece);
        }
        all
    }

    #[test]
    fn packed_and_plain_say_the_same_whatever_their_number() {
        for n in [0, 1, 255, 256, 257, 10_000] {
            let plain = written(false, n);
            let json: serde_json::Value = serde_json::from_slice(&plain).unwrap();
            assert_eq!(json["positions"].as_array().unwrap().len(), n);
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(written(true, n).as_slice())
                .read_to_end(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, plain, "{n}");
        }
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            accepts_gzip(&headers)
        };
        assert!(of("gzip, deflate, br"));
        assert!(of("br;q=1.0, GZIP;q=0.8"));
        assert!(!of("br"));
        assert!(!of("gzip;q=0"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
