//! The web thread: metrics and health for those who watch the server, the pages of the dashboard and their API.
//!
//! `thread.rs` is the thread with its limits, `router.rs` which address answers what, `shared.rs` the state that answers share,
//! `health.rs` whether the server lives and is ready, `metrics/` the numbers, `pages.rs` and `site/` the pages, `access/` who may see
//! what. `input.rs` reads what is sent with a question, `times.rs` says times, `ask.rs` takes questions to the database, `query.rs` is the thread
//! that answers them, `refusal.rs` how the API says no, `manage/` assets, devices and groups, `live/`
//! where every asset is now, `series/` what it recorded. `tls.rs` reads the certificate,
//! `validity.rs` until when it is good.
//!
//! This folder is the one place with async code, because the HTTP library has it: one runtime, in this thread alone. Whatever
//! happens here, ports, writers and spool do not notice: nothing here takes a lock that they hold for long, and the thread is
//! replaced like any other.

mod access;
pub mod ask;
mod health;
mod input;
pub mod live;
mod manage;
mod metrics;
mod openapi;
mod pages;
pub mod query;
mod refusal;
mod reports;
mod router;
mod series;
mod shared;
pub mod thread;
mod times;
pub mod tls;
mod validity;

pub use shared::Around;
pub use tls::Tls;

use std::net::TcpListener;

use crate::port::bind::{Address, Bound, label};

/// Connections that are open at a time; who comes in excess waits in the listening socket. A dashboard that is open has one all the
/// time, and a few more while it loads.
pub const CONNECTIONS_MAX: usize = 128;

/// Those of one client address (of IPv6: one /64); more are closed at once. Not for this machine and proxies, which come for many.
pub const CONNECTIONS_PER_NETWORK: usize = 48;

/// Where the web listens. The supervisor owns the sockets and lends clones, so that a replaced thread refuses nobody.
#[derive(Debug)]
pub struct Site {
    sockets: Vec<(Address, TcpListener)>,
    tls: Option<Tls>,
}

impl Site {
    /// The site on these sockets: one, or one for each family.
    pub fn new(bound: Vec<Bound>, tls: Option<Tls>) -> Site {
        let sockets = bound.into_iter().map(|one| (one.address, one.listener));
        Site {
            sockets: sockets.collect(),
            tls,
        }
    }

    /// The sockets and what they listen on.
    pub fn sockets(&self) -> &[(Address, TcpListener)] {
        &self.sockets
    }

    /// The certificate, where it speaks TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// How it is named to people.
    pub fn label(&self) -> String {
        let labels: Vec<String> = self.sockets.iter().map(|(at, _)| label(at)).collect();
        labels.join(" and ")
    }
}
