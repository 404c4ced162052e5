//! The web thread: one runtime, one task for each listening socket and each connection, and the limits of all of them.
//!
//! A client costs a descriptor and a few buffers, whatever it does: who sends headers slowly, sends too many of them, reads no
//! answer or just stays is closed. A request that panics ends its connection; one that hangs keeps the thread from beating,
//! and the supervisor replaces it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::access::{self, Peer};
use super::{Around, CONNECTIONS_MAX, CONNECTIONS_PER_NETWORK, Site, Tls, pages, router};
use crate::facts::{self, Fact};
use crate::life::Life;

/// From the first byte that is waited for to the end of a request's headers; a connection that is kept open and asks
/// nothing ends after the same time.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that are read ahead of a request, its headers included.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// An answer of which nothing is taken for so long is given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// What an answer may take of the kernel's memory before somebody reads it. Sockets of ports have much less, and what is
/// accepted inherits it.
const SEND_BYTES: usize = 128 * 1024;
/// A peer that is gone without a word is noticed after this.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Between two looks at whether the thread shall end.
const TURN: Duration = Duration::from_millis(250);
/// After an error of accept, which lasts for a while when descriptors are out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What TLS begins with: a record of the kind handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a thread that ends leaves to requests under way.
const FINISH: Duration = Duration::from_millis(500);

/// Answers at `site` until `life` says stop.
///
/// # Errors
/// When the runtime cannot be made, or a socket cannot be listened to.
pub fn run(site: &Arc<Site>, life: &Life, around: &Around) -> Result<(), String> {
    pages::prepare();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(serve(site, life, around))
}

async fn serve(site: &Arc<Site>, life: &Life, around: &Around) -> Result<(), String> {
    let door = Arc::new(Door {
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        networks: Arc::default(),
        proxies: around.http.proxies.clone(),
        router: router::router(around),
        graceful: GracefulShutdown::new(),
    });
    let mut tasks = Vec::new();
    for (_, socket) in site.sockets() {
        let listener = socket.try_clone().and_then(TcpListener::from_std);
        let listener = listener.map_err(|error| error.to_string())?;
        let (site, door) = (Arc::clone(site), Arc::clone(&door));
        tasks.push(tokio::spawn(accept(listener, site, door)));
    }
    while !life.is_stopping() {
        fail::fail_point!("web-turn");
        life.beat();
        if tasks.iter().any(tokio::task::JoinHandle::is_finished) {
            return Err("nobody accepts connections any more".to_owned());
        }
        sleep(life.patience().min(TURN)).await;
    }
    for task in tasks {
        task.abort();
        // An error says that it was aborted.
        let _ = task.await;
    }
    if let Some(door) = Arc::into_inner(door) {
        // Whoever has not finished by then is cut off with the runtime.
        let _ = timeout(FINISH, door.graceful.shutdown()).await;
    }
    Ok(())
}

/// What accepting needs.
struct Door {
    places: Arc<Semaphore>,
    networks: Arc<Networks>,
    proxies: Vec<IpNet>,
    router: Router,
    graceful: GracefulShutdown,
}

/// How many connections each client has.
#[derive(Default)]
struct Networks(Mutex<HashMap<IpAddr, usize>>);

impl Networks {
    /// One more of `network`, unless it has as many as it may have.
    fn enter(&self, network: IpAddr) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        let has_room = *count < CONNECTIONS_PER_NETWORK;
        *count += usize::from(has_room);
        has_room
    }

    fn leave(&self, network: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

/// A place of its own, and of its network's.
struct Place {
    networks: Arc<Networks>,
    network: Option<IpAddr>,
    _one: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(network) = self.network {
            self.networks.leave(network);
        }
    }
}

impl Door {
    /// A place for a connection from `address`; `None`: that client has enough of them.
    fn place(&self, address: SocketAddr, one: OwnedSemaphorePermit) -> Option<Place> {
        let address = address.ip().to_canonical();
        let is_many =
            address.is_loopback() || self.proxies.iter().any(|net| net.contains(&address));
        let network = (!is_many).then(|| access::network(address));
        if network.is_some_and(|network| !self.networks.enter(network)) {
            facts::say(
                Fact::WebAddressFull,
                format_args!("address={address} connections={CONNECTIONS_PER_NETWORK}: closed"),
            );
            return None;
        }
        Some(Place {
            networks: Arc::clone(&self.networks),
            network,
            _one: one,
        })
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>, door: Arc<Door>) {
    loop {
        if door.places.available_permits() == 0 {
            facts::say(
                Fact::WebFull,
                format_args!("connections={CONNECTIONS_MAX}: others wait until one of them ends"),
            );
        }
        let Ok(one) = Arc::clone(&door.places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(place) = door.place(address, one) else {
                    continue;
                };
                let guest = Guest {
                    address,
                    router: door.router.clone(),
                    watcher: door.graceful.watcher(),
                    place,
                };
                tokio::spawn(welcome(stream, site.tls().map(Tls::config), guest));
            }
            Err(error) => {
                facts::say(Fact::AcceptFailed, format_args!("web error={error}"));
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What a connection holds.
struct Guest {
    address: SocketAddr,
    router: Router,
    watcher: Watcher,
    place: Place,
}

/// One connection, from its handshake to its last request. Where TLS is spoken, whoever begins otherwise is answered in the clear, with
/// little more than where to go.
async fn welcome(stream: TcpStream, tls: Option<Arc<ServerConfig>>, guest: Guest) {
    if prepare(&stream).is_err() {
        // It is closed already.
        return;
    }
    let tls = match tls {
        Some(config) => match timeout(HEADERS_WITHIN, begins_with_handshake(&stream)).await {
            Ok(Ok(true)) => Some(config),
            Ok(Ok(false)) => None,
            _ => return,
        },
        None => None,
    };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKEN_WITHIN));
    let stream = Box::pin(stream);
    match tls {
        None => converse(stream, false, guest).await,
        Some(config) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            // An error is the client's: it was told so, or is gone.
            if let Ok(Ok(stream)) = timeout(HEADERS_WITHIN, handshake).await {
                converse(stream, true, guest).await;
            }
        }
    }
}

/// Whether the first byte is that of TLS.
async fn begins_with_handshake(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE)
}

/// From the first request to the last.
async fn converse<S>(stream: S, is_tls: bool, guest: Guest)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(guest.router);
    let peer = Peer {
        address: guest.address,
        is_tls,
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // An error is the client's: it was answered, or is gone.
    let _ = guest.watcher.watch(connection).await;
    drop(guest.place);
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BYTES)?;
    socket.set_tcp_user_timeout(Some(KEEPALIVE))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE / 3)
            .with_retries(3),
    )
}
