//! A channel to one endpoint: one HTTP/2 connection at a time, made when a call needs it.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use crate::{
    cause::root_cause,
    endpoint_url::EndpointUrl,
    one_task::{OneTask, Parts},
};

/// A connection is given up that is not made after so long, unless the builder of the client says otherwise.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A connection on which calls wait is asked so often whether it lives, and has so long to answer: 15 s together.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIME: Duration = Duration::from_secs(5);

const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// What answers in place of a server: the double of tests.
pub(crate) trait Double: Send + Sync {
    fn serve(self: Arc<Self>, request: Request<Body>) -> Answering;
}

pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// How a call reaches the server.
#[derive(Clone)]
pub(crate) enum Way {
    Connection(SendRequest<Body>),
    Double(Arc<dyn Double>),
}

/// Why a call got no answer of gRPC.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WayError {
    /// Nothing was sent.
    #[error("{0}")]
    NotConnected(String),
    /// The same, because of TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection ended before the request was sent.
    #[error("the connection ended before the request was sent")]
    NotSent,
    #[error("{0}")]
    Broken(String),
    #[error("it speaks no HTTP/2 over TLS")]
    NotHttp2,
    #[error("it speaks another protocol than HTTP/2: {0}")]
    OtherProtocol(String),
    #[error("it answers {0} without gRPC")]
    NotGrpc(StatusCode),
}

impl WayError {
    /// The end of the chain of errors, without words of this library where there was one.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::NotConnected(cause)
            | Self::Tls(cause)
            | Self::Broken(cause)
            | Self::OtherProtocol(cause) => cause.clone(),
            Self::NotSent | Self::NotHttp2 | Self::NotGrpc(_) => self.to_string(),
        }
    }
}

#[derive(Default)]
struct Connections {
    latest: Option<SendRequest<Body>>,
    /// Of the latest connection, and of those before it whose calls have not ended.
    tasks: Vec<AbortHandle>,
}

/// The channel.
pub(crate) struct Lane {
    at: EndpointUrl,
    tls: Option<Arc<ClientConfig>>,
    connect_time: Duration,
    /// Of the credentials by which it was made.
    pub(crate) version: u64,
    connections: Mutex<Connections>,
    /// Held by who connects; counts attempts, and keeps why the latest failed.
    connecting: tokio::sync::Mutex<(u64, Option<WayError>)>,
    attempts: AtomicU64,
    double: Option<Arc<dyn Double>>,
}

impl Lane {
    pub(crate) fn new(
        at: EndpointUrl,
        tls: Option<Arc<ClientConfig>>,
        version: u64,
        connect_time: Duration,
    ) -> Self {
        Self {
            at,
            tls,
            connect_time,
            version,
            connections: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            attempts: 0.into(),
            double: None,
        }
    }

    pub(crate) fn of_double(at: EndpointUrl, double: Arc<dyn Double>) -> Self {
        Self { double: Some(double), ..Self::new(at, None, 0, CONNECT_TIME) }
    }

    /// A connection that lives, as far as is known.
    pub(crate) fn connected(&self) -> Option<Way> {
        if let Some(double) = &self.double {
            return Some(Way::Double(Arc::clone(double)));
        }
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.latest.as_ref().filter(|way| !way.is_closed()).cloned().map(Way::Connection)
    }

    /// Connects, if there is no connection. Callers that come meanwhile get the outcome of the same attempt.
    pub(crate) async fn connect(&self) -> Result<Way, WayError> {
        if let Some(way) = self.connected() {
            return Ok(way);
        }
        let seen = self.attempts.load(Ordering::Acquire);
        let mut latest = self.connecting.lock().await;
        if let Some(way) = self.connected() {
            return Ok(way);
        }
        if let (number, Some(error)) = &*latest
            && *number > seen
        {
            return Err(error.clone());
        }
        let outcome = tokio::time::timeout(self.connect_time, self.dial()).await.unwrap_or_else(|_| {
            let waited = self.connect_time.as_secs_f64();
            Err(WayError::NotConnected(format!("no connection within {waited} s")))
        });
        let number = seen.saturating_add(1);
        self.attempts.store(number, Ordering::Release);
        *latest = (number, outcome.as_ref().err().cloned());
        outcome
    }

    async fn dial(&self) -> Result<Way, WayError> {
        let failed = |error: &dyn Error| WayError::NotConnected(root_cause(error));
        let stream =
            TcpStream::connect((self.at.host(), self.at.port())).await.map_err(|error| failed(&error))?;
        // Small messages are not held back. A connection that refuses the option works nevertheless.
        drop(stream.set_nodelay(true));
        if !self.at.is_tls() {
            return self.begin(stream).await;
        }
        let name = ServerName::try_from(self.at.host().to_owned()).map_err(|error| failed(&error))?;
        let config = self.tls.clone().ok_or(WayError::NotSent)?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(|error| WayError::Tls(root_cause(&error)))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(WayError::NotHttp2);
        }
        self.begin(stream).await
    }

    async fn begin<T>(&self, stream: T) -> Result<Way, WayError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let parts = Parts::default();
        let (way, connection) = http2::Builder::new(parts.clone())
            .timer(TokioTimer::new())
            // As large as the longest answers need: measuring what fits would cost a ping with each call.
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIME)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| WayError::NotConnected(root_cause(&error)))?;
        let at = self.at.to_string();
        let task = tokio::spawn(async move {
            if let Err(error) = OneTask::new(connection, parts).await {
                tracing::debug!(endpoint = at, error = root_cause(&error), "a connection to jeton ended");
            }
        })
        .abort_handle();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.latest = Some(way.clone());
        connections.tasks.retain(|task| !task.is_finished());
        connections.tasks.push(task);
        Ok(Way::Connection(way))
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Sends the requests of one call, with its credential.
pub(crate) struct Caller {
    pub(crate) way: Way,
    pub(crate) authorization: Option<HeaderValue>,
    /// The request is one message, which is there.
    pub(crate) is_unary: bool,
}

impl tower::Service<Request<Body>> for Caller {
    type Response = Response<Body>;
    type Error = WayError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, WayError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), WayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        const AGENT: HeaderValue =
            HeaderValue::from_static(concat!("jeton-client-rust/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, AGENT);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        match &mut self.way {
            Way::Double(double) => {
                let answer = Arc::clone(double).serve(request);
                Box::pin(async move { Ok(answer.await) })
            }
            Way::Connection(connection) => {
                let request = if self.is_unary { request.map(whole) } else { request };
                let answer = connection.try_send_request(request);
                Box::pin(async move {
                    match answer.await {
                        Ok(answer) => checked(answer.map(Body::new)),
                        Err(error) if error.message().is_some() => Err(WayError::NotSent),
                        Err(error) => Err(broken(&error.into_error())),
                    }
                })
            }
        }
    }
}

/// The body of one message that is there, as one frame: its end comes with it, and not in a packet of its own.
fn whole(mut body: Body) -> Body {
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => Body::new(Full::new(frame.into_data().unwrap_or_default())),
        // It cannot be encoded: hyper meets the same error.
        Poll::Ready(_) | Poll::Pending => body,
    }
}

/// Only what speaks gRPC is an answer.
fn checked(answer: Response<Body>) -> Result<Response<Body>, WayError> {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Ok(answer);
    }
    Err(WayError::NotGrpc(answer.status()))
}

/// The error of a connection. One that breaks as soon as something comes speaks another protocol.
pub(crate) fn broken(error: &(dyn Error + 'static)) -> WayError {
    let cause = root_cause(error);
    if ["frame with invalid size", "unspecific protocol error"].iter().any(|said| cause.contains(said)) {
        return WayError::OtherProtocol(cause);
    }
    WayError::Broken(cause)
}
