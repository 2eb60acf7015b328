//! How the services are served: one thread per core, each with a runtime of its own, since a
//! runtime that moves tasks between threads costs half of what a call costs. Connections are dealt
//! out in turn.

use std::{io, num::NonZero, thread, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use super::DoorLayer;

/// Calls in flight on one connection: a client that needs more opens another. tonic sets no limit.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
/// Headers of one request, bytes: a credential and a trace are a fraction of it.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Streams that a peer opens and resets before we have looked at them (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 100;
/// Resets that a peer provokes from us (CVE-2025-8671). tonic sets no limit.
const LOCAL_RESETS_MAX: usize = 100;
/// A peer that vanished without a word is noticed after this.
const KEEPALIVE: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long calls in flight may take to end.
pub const DRAIN: Duration = Duration::from_secs(10);
/// Between two tries when the process is out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// The threads behind a listener.
pub struct Serving {
    workers: Vec<thread::JoinHandle<()>>,
}

impl Serving {
    /// Waits until every call in flight has been answered, or [`DRAIN`] has passed since the stop, and the
    /// threads have ended.
    pub async fn ended(self) {
        for worker in self.workers {
            let joined = tokio::task::spawn_blocking(move || worker.join().is_ok()).await;
            if !joined.unwrap_or(false) {
                tracing::error!("a serving thread ended by a panic");
            }
        }
    }
}

/// Serves `routes` on the listener until told to stop, with as many threads as `threads` says.
/// The future that accepts runs on the runtime that calls.
pub fn serve(
    name: &str,
    listener: TcpListener,
    routes: &Routes,
    door: &DoorLayer,
    threads: NonZero<usize>,
    stop: &CancellationToken,
) -> io::Result<Serving> {
    let mut senders = Vec::new();
    let mut workers = Vec::new();
    for index in 0..threads.get() {
        let (sender, connections) = mpsc::unbounded_channel();
        let (routes, door, stop) = (routes.clone(), door.clone(), stop.clone());
        let worker = thread::Builder::new()
            .name(format!("{name}-{index}"))
            .spawn(move || work(routes, door, connections, &stop))?;
        senders.push(sender);
        workers.push(worker);
    }
    tokio::spawn(accept(listener, senders, stop.clone()));
    Ok(Serving { workers })
}

type Connection = Result<std::net::TcpStream, io::Error>;

/// Deals out connections in turn.
async fn accept(
    listener: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Connection>>,
    stop: CancellationToken,
) {
    let mut turn = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(connection, _)| detach(connection)) {
            Ok(connection) => {
                if turn.next().is_none_or(|worker| worker.send(Ok(connection)).is_err()) {
                    // Half a server that takes every other connection is worse than none.
                    tracing::error!("a serving thread is gone: the server ends");
                    stop.cancel();
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Takes a connection off the accepting runtime, so that a worker's can take it up.
fn detach(connection: TcpStream) -> io::Result<std::net::TcpStream> {
    connection.set_nodelay(true)?;
    connection.into_std()
}

fn work(
    routes: Routes,
    door: DoorLayer,
    connections: mpsc::UnboundedReceiver<Connection>,
    stop: &CancellationToken,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = %error, "a serving thread has no runtime");
            return;
        }
    };
    runtime.block_on(async {
        use tokio_stream::StreamExt as _;
        let incoming =
            UnboundedReceiverStream::new(connections).map(|connection| TcpStream::from_std(connection?));
        let served = Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(door)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stop.cancelled());
        let drained = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::error!(error = %error, "a serving thread ended");
            },
            () = drained => tracing::warn!("calls were still in flight when the time to drain had passed"),
        }
    });
}
