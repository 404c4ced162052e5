//! The web thread: one runtime, one task for each listening socket and each connection, and the limits of all of them.
//!
//! A client costs a descriptor and a few buffers, whatever it does: who sends headers slowly, sends too many of them, reads no
//! answer or just stays is closed. A request that panics ends its connection; one that hangs keeps the thread from beating,
//! and the supervisor replaces it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::{Around, CONNECTIONS_MAX, Site, pages, router};
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
/// What a thread that ends leaves to requests under way.
const FINISH: Duration = Duration::from_millis(500);

/// Answers at `site` until `life` says stop.
///
/// # Errors
/// When the runtime cannot be made, or a socket cannot be listened to.
pub fn run(site: &Site, life: &Life, around: &Around) -> Result<(), String> {
    pages::prepare();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(serve(site, life, around))
}

async fn serve(site: &Site, life: &Life, around: &Around) -> Result<(), String> {
    let door = Arc::new(Door {
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        router: router::router(around),
        graceful: GracefulShutdown::new(),
    });
    let mut tasks = Vec::new();
    for (_, socket) in site.sockets() {
        let listener = socket.try_clone().and_then(TcpListener::from_std);
        let listener = listener.map_err(|error| error.to_string())?;
        tasks.push(tokio::spawn(accept(listener, Arc::clone(&door))));
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
    router: Router,
    graceful: GracefulShutdown,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        if door.places.available_permits() == 0 {
            facts::say(
                Fact::WebFull,
                format_args!("connections={CONNECTIONS_MAX}: others wait until one of them ends"),
            );
        }
        let Ok(place) = Arc::clone(&door.places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (router, watcher) = (door.router.clone(), door.graceful.watcher());
                tokio::spawn(converse(stream, router, watcher, place));
            }
            Err(error) => {
                facts::say(Fact::AcceptFailed, format_args!("web error={error}"));
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn converse(
    stream: TcpStream,
    router: Router,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
) {
    if prepare(&stream).is_err() {
        // It is closed already.
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKEN_WITHIN));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        );
    // An error is the client's: it was answered, or is gone.
    let _ = watcher.watch(connection).await;
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
