//! `/metrics`: the numbers of `trackport status` and some more, as Prometheus reads them.
//!
//! `server.rs` are those of trackport, `process.rs` those that every program has, `families.rs` how one is written, `plain.rs`
//! the older text form. Nothing is counted here: all of it is asked for when somebody asks, from where `trackport status` has
//! it as well.
//!
//! Labels have few values, all of them known from the conf or the program: ports, threads, writers, facts. Never an IMEI, never
//! an address.

mod families;
mod plain;
mod process;
mod server;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::shared::Shared;
use crate::hub::Hub;
use families::Families;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// OpenMetrics for those who ask for it, the older form for everybody else.
pub(super) async fn page(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let Ok(numbers) = open_metrics(&shared.hub) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let wants_open_metrics = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"));
    if wants_open_metrics {
        ([(CONTENT_TYPE, OPEN_METRICS)], numbers).into_response()
    } else {
        ([(CONTENT_TYPE, PLAIN)], plain::from_open_metrics(&numbers)).into_response()
    }
}

fn open_metrics(hub: &Arc<Hub>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Numbers(Arc::clone(hub))));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// All numbers at one moment.
struct Numbers(Arc<Hub>);

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        server::write(&mut families, &self.0)?;
        process::write(&mut families, self.0.started_at_us)
    }
}
