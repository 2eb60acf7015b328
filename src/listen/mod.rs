//! Serving a listener: one thread per core, each with a runtime of its own, because a runtime that moves tasks between
//! threads adds half to the cost of a call. Connections are dealt out in turn, and limited. Knows HTTP/2, HTTP/1.1 and
//! TLS, and nothing of the services.

mod accept;
mod connection;
mod head;
mod memory;
mod network;
mod outgoing;
mod paced;
mod places;
mod queue;
mod wakes;
mod watch;

pub use connection::{Connection, Counted};
pub use head::{HOST_RULE, names_one_host};
pub use hyper::body::Incoming;
pub use memory::{
    ARRIVES_WITHIN, ARRIVING_BYTES_MAX, Full, HELD_BYTES_MAX, Held, IsCounted, Memory,
    STRANGER_ARRIVING_BYTES_MAX, STRANGER_CALLS_MAX, STRANGER_CALLS_PER_CONNECTION_MAX,
    STRANGERS_HELD_BYTES_MAX, StrangerCall, WAITING_BYTES_MAX,
};
pub use network::{Network, NoNetwork, holder};
pub use places::{CONNECTIONS_MAX, Limits, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX};
pub use queue::{Arrival, Call, Turn, Weight};

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::IpAddr,
    num::NonZero,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::Context,
    thread,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::{Body, Bytes},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    listen::{
        accept::{Arrived, accept},
        outgoing::{Outgoing, Streams},
        paced::{Paced, Reading},
        places::{Places, Standing},
        queue::{Calls, Queue},
        watch::{Open, TICK, Watch},
    },
    tls::{Peer, PeerCertificate, ServerTls, ShownChain},
};

/// Calls in flight on one connection: a client that needs more opens another. The heads of so many requests of the
/// greatest length take some ten MB for a moment.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// The same if there are many connections. Clients hold back further calls until there is room.
const STREAMS_PER_CONNECTION_MIN: u32 = 64;
/// Calls in flight on one thread, approximately: tens of MB of memory, and a tenth of a second of answers from memory.
const STREAMS_PER_THREAD: u32 = 16_384;
/// Headers of one request, bytes: a credential and a trace are a fraction of that.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// The bytes that a peer may send unread on one stream, and on one connection.
const STREAM_WINDOW_BYTES: usize = 64 * 1024;
const CONNECTION_WINDOW_BYTES: usize = 256 * 1024;
/// The bytes of an answer that HTTP/2 takes before the peer has room for them, for one stream.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// The bytes of a request's head that are kept while it arrives over HTTP/1.1.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Streams that a peer may open and reset before they are handled (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 100;
/// Resets that a peer may provoke from us (CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 100;
/// The time after which a vanished peer is noticed.
const KEEPALIVE: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The time for the handshake, and for the preface.
const OPENING: Duration = Duration::from_secs(5);
/// The time between two requests over HTTP/1.1, the head of the second included: pools of clients keep connections.
const HEAD: Duration = Duration::from_mins(5);
/// The pause between two looks at the arrived part of a preface.
const PEEK_AGAIN: Duration = Duration::from_millis(2);
/// The beginning of HTTP/2 (RFC 9113 section 3.4), as far as no HTTP/1.1 request begins like it.
const PREFACE: &[u8; 3] = b"PRI";

/// Answers every request of a listener. Each request has its [`Connection`] in its extensions, as an `Arc`.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of the answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + Send
        + 'static;

    /// The answer. The call ends with it.
    fn handle(
        self,
        request: Request<Incoming>,
        call: Call,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The threads behind a listener.
pub struct Serving {
    workers: Vec<thread::JoinHandle<()>>,
}

impl Serving {
    /// Waits until every call in flight has been answered or cut off, and the threads have ended.
    pub async fn ended(self) {
        for worker in self.workers {
            let joined = tokio::task::spawn_blocking(move || worker.join().is_ok()).await;
            if !joined.unwrap_or(false) {
                tracing::error!("a serving thread ended by a panic");
            }
        }
    }
}

/// The options of a listener.
pub struct Options {
    /// Its name in logs.
    pub name: &'static str,
    /// Plaintext without it.
    pub tls: Option<Arc<ServerTls>>,
    /// The number of threads.
    pub threads: NonZero<usize>,
    /// The memory that its connections share.
    pub memory: Arc<Memory>,
    /// The limits of their number.
    pub limits: Limits,
    /// Cancelled when calls in flight have no more time.
    pub cut_off: CancellationToken,
}

/// Serves on the listener until `stop`. The accepting future runs on the calling runtime.
pub fn serve<H: Handler>(
    listener: TcpListener,
    options: &Options,
    handler: &H,
    stop: &CancellationToken,
) -> io::Result<Serving> {
    let Options { name, tls, threads, memory, limits, cut_off } = options;
    let name: &'static str = name;
    let mut senders = Vec::new();
    let mut workers = Vec::new();
    for index in 0..threads.get() {
        let (sender, arriving) = mpsc::unbounded_channel();
        let worker = Worker {
            listener: name,
            tls: tls.clone(),
            memory: Arc::clone(memory),
            handler: handler.clone(),
            queue: Arc::new(Queue::of(name)),
            // Of this thread alone: threads do not queue for one another's.
            stop: stop.child_token(),
            cut_off: cut_off.child_token(),
        };
        let thread =
            thread::Builder::new().name(format!("{name}-{index}")).spawn(move || worker.work(arriving))?;
        senders.push(sender);
        workers.push(thread);
    }
    tokio::spawn(accept(name, listener, Places::new(limits.clone()), senders, stop.clone()));
    Ok(Serving { workers })
}

/// One serving thread.
struct Worker<H> {
    listener: &'static str,
    tls: Option<Arc<ServerTls>>,
    memory: Arc<Memory>,
    handler: H,
    queue: Arc<Queue>,
    stop: CancellationToken,
    cut_off: CancellationToken,
}

impl<H: Handler> Worker<H> {
    fn work(self, arriving: mpsc::UnboundedReceiver<Arrived>) {
        let queue = Arc::clone(&self.queue);
        let rested = move || queue.rested();
        match runtime::Builder::new_current_thread().enable_all().on_thread_unpark(rested).build() {
            Ok(runtime) => runtime.block_on(self.run(arriving)),
            Err(error) => tracing::error!(error = %error, "a serving thread has no runtime"),
        }
    }

    async fn run(self, mut arriving: mpsc::UnboundedReceiver<Arrived>) {
        let worker = Arc::new(self);
        let connections = TaskTracker::new();
        let mut watch = Watch::default();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rested = worker.queue.rests();
        loop {
            tokio::select! {
                () = worker.stop.cancelled() => break,
                _at = ticks.tick() => {
                    let rests = worker.queue.rests();
                    watch.look(rests != rested);
                    rested = rests;
                }
                arrived = arriving.recv() => match arrived {
                    Some(arrived) => {
                        let (one, connection) = Arc::clone(&worker).begin(arrived, connections.len());
                        watch.add(one.of(&connections.spawn(connection)));
                    }
                    None => break,
                },
            }
        }
        // Connections that were accepted are served: their peers may have sent a request already. The accepting task ends
        // with the same token, and the channel with it.
        while let Some(arrived) = arriving.recv().await {
            let (one, connection) = Arc::clone(&worker).begin(arrived, connections.len());
            watch.add(one.of(&connections.spawn(connection)));
        }
        watch.let_go();
        connections.close();
        tokio::select! {
            () = connections.wait() => {}
            () = worker.cut_off.cancelled() => {}
        }
    }

    /// Begins a connection beside so many others, and returns its watch.
    fn begin(self: Arc<Self>, arrived: Arrived, others: usize) -> (Open, impl Future<Output = ()> + Send) {
        let calls = Calls::on(Arc::clone(&self.queue));
        let (go, told) = oneshot::channel();
        let seen = Arc::new(OnceLock::new());
        let open = Open::new(Arc::clone(&calls), Arc::clone(&seen), go);
        let connection = async move {
            let Arrived { connection, address, place } = arrived;
            let standing = place.standing();
            let bound = Bound { streams: streams_beside(others), calls, seen, standing, told };
            let ended = tokio::select! {
                ended = self.connection(connection, address, bound) => ended,
                () = place.has_to_leave() => Err("it made room for another".into()),
            };
            if let Err(error) = ended {
                // Caused by the peer, as often as it likes.
                tracing::debug!(jeton.listener = self.listener, error = %error, "a connection ended");
            }
        };
        (open, connection)
    }

    async fn connection(
        &self,
        connection: std::net::TcpStream,
        address: IpAddr,
        bound: Bound,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::from_std(connection)?;
        let Some(tls) = &self.tls else {
            let http2 = timeout(OPENING, begins_as_http2(&stream)).await??;
            let peer = Peer { address, certificate: None };
            return Ok(self.http(stream, http2, peer, None, bound).await?);
        };
        let (config, generation) = tls.config();
        let accepted = timeout(OPENING, TlsAcceptor::from(config).accept(stream)).await?;
        let stream = accepted.inspect_err(|error| tls.handshake_failed(address, error))?;
        let (_, session) = stream.get_ref();
        let http2 = session.alpn_protocol() == Some(b"h2");
        let chain =
            session.peer_certificates().map(|shown| (ShownChain::of(shown, generation), Arc::clone(tls)));
        let shown = session.peer_certificates().map(PeerCertificate::read);
        let certificate = shown.transpose().unwrap_or_else(|unusable| {
            tls.names_no_client(address, unusable);
            None
        });
        Ok(self.http(stream, http2, Peer { address, certificate }, chain, bound).await?)
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        http2: bool,
        peer: Peer,
        chain: Option<(ShownChain, Arc<ServerTls>)>,
        bound: Bound,
    ) -> hyper::Result<()> {
        let Bound { streams, calls, seen, standing, told } = bound;
        let connection = Connection::new(peer, chain, Arc::clone(&self.memory), standing, Arc::clone(&calls));
        // Set only here.
        let _set = seen.set(Arc::clone(&connection));
        let reading = Arc::new(Reading::default());
        let stream = TokioIo::new(Paced::new(stream, Arc::clone(&reading), Arc::clone(&connection)));
        let handler = self.handler.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let call = calls.begin();
            head::slim(&mut request);
            request.extensions_mut().insert(Arc::clone(&connection));
            // hyper and the runtime move everything that is not on the heap several times.
            let answer = Box::pin(handler.clone().handle(request, call));
            connection.begins();
            let connection = Arc::clone(&connection);
            async move {
                let response = answer.await;
                let counted = response.extensions().get::<IsCounted>().is_some();
                Ok::<_, Infallible>(response.map(|body| Outgoing::new(body, connection, counted)))
            }
        });
        if http2 {
            let connection = over_http2(streams).serve_connection(stream, service);
            drive(connection, &reading, told, http2::Connection::graceful_shutdown).await
        } else {
            let connection = over_http1().serve_connection(stream, service);
            drive(connection, &reading, told, http1::Connection::graceful_shutdown).await
        }
    }
}

/// The limits of a connection.
struct Bound {
    /// Calls in flight.
    streams: u32,
    calls: Arc<Calls>,
    /// Set once the peer is known.
    seen: Arc<OnceLock<Arc<Connection>>>,
    standing: Arc<Standing>,
    told: oneshot::Receiver<()>,
}

/// Calls in flight on a connection that is opened beside so many others.
fn streams_beside(others: usize) -> u32 {
    let all = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    let share = STREAMS_PER_THREAD.checked_div(all).unwrap_or_default();
    share.clamp(STREAMS_PER_CONNECTION_MIN, STREAMS_PER_CONNECTION_MAX)
}

fn window(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn over_http2(streams: u32) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .initial_stream_window_size(window(STREAM_WINDOW_BYTES))
        .initial_connection_window_size(window(CONNECTION_WINDOW_BYTES))
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

fn over_http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES_MAX);
    builder
}

/// Serves a connection to its end; after `told`, no further request of it is accepted.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    reading: &Reading,
    told: oneshot::Receiver<()>,
    let_go: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let turn = |connection: Pin<&mut C>, context: &mut Context<'_>| {
        reading.next_turn();
        connection.poll(context)
    };
    tokio::select! {
        biased;
        ended = poll_fn(|context| turn(connection.as_mut(), context)) => return ended,
        // Told, or the sender is gone.
        _told = told => {}
    }
    let_go(connection.as_mut());
    poll_fn(|context| turn(connection.as_mut(), context)).await
}

/// Returns whether the arriving data is HTTP/2. Nothing is consumed.
async fn begins_as_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut begin = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut begin).await?;
        let arrived = begin.get(..count).unwrap_or_default();
        if arrived == PREFACE {
            return Ok(true);
        }
        if arrived.is_empty() || !PREFACE.starts_with(arrived) {
            return Ok(false);
        }
        sleep(PEEK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_connections_share_the_calls_in_flight_of_a_thread() {
        let streams = [0, 15, 16, 31, 255, 256, 100_000].map(streams_beside);
        assert_eq!(streams, [256, 256, 256, 256, 64, 64, 64]);
    }
}
