//! gRPC as bytes: what generated stubs would never send.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::Service;

/// A connection to a listener, through a relay that counts how often one is opened.
#[derive(Clone)]
pub struct Raw {
    channel: Channel,
    api_key: String,
    opened: Arc<AtomicU32>,
}

/// An answer.
#[derive(Debug)]
pub struct RawAnswer {
    /// The HTTP status.
    pub http_status: u16,
    /// The HTTP headers, with the trailers if there were any.
    pub headers: HeaderMap,
    /// The body: frames.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The status of the call.
    pub fn status(&self) -> Status {
        Status::from_header_map(&self.headers).unwrap_or_else(|| Status::unknown("no grpc-status"))
    }

    /// As stubs have it.
    pub fn result(&self) -> Result<(), Status> {
        let status = self.status();
        if status.code() == Code::Ok { Ok(()) } else { Err(status) }
    }
}

/// A message as a frame.
pub fn frame(message: &[u8]) -> Vec<u8> {
    framed(0, u32::try_from(message.len()).unwrap(), message)
}

/// A frame that says whatever it says.
pub fn framed(flag: u8, len: u32, message: &[u8]) -> Vec<u8> {
    [&[flag], len.to_be_bytes().as_slice(), message].concat()
}

impl Raw {
    /// Opens one connection to `address`.
    pub async fn open(address: &str, api_key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = listener.local_addr().unwrap();
        let opened = Arc::new(AtomicU32::new(0));
        let (count, address) = (Arc::clone(&opened), address.to_owned());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut far = TcpStream::connect(&address).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
        let channel = Endpoint::new(format!("http://{relay}")).unwrap().connect().await.unwrap();
        Self { channel, api_key: api_key.to_owned(), opened }
    }

    /// The number of opened connections.
    pub fn opened(&self) -> u32 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Calls with these bytes as the whole body.
    pub async fn call(&self, path: &str, body: Vec<u8>) -> RawAnswer {
        self.call_with(path, body, &[]).await
    }

    /// Calls with one message.
    pub async fn send<M: Message>(&self, path: &str, message: &M) -> RawAnswer {
        self.call(path, frame(&message.encode_to_vec())).await
    }

    /// The same with headers that replace the usual ones.
    pub async fn call_with(&self, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> RawAnswer {
        let body = axum::body::Body::from(body);
        self.try_call(path, body, headers).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Calls with a body that comes piece by piece, each in a frame of its own.
    pub async fn call_in_pieces(&self, path: &str, pieces: Vec<Vec<u8>>) -> RawAnswer {
        let pieces = stream::iter(pieces).then(async |piece| {
            // So that each is read by itself, where the machine is not too busy for that: it need not be.
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<_, std::convert::Infallible>(piece)
        });
        let body = axum::body::Body::from_stream(pieces);
        self.try_call(path, body, &[]).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Calls with a body whose pieces arrive when they are sent, until the sender is dropped.
    pub async fn call_as_sent(&self, path: &str, pieces: mpsc::Receiver<Vec<u8>>) -> RawAnswer {
        let pieces = stream::unfold(pieces, async |mut pieces| {
            let piece = pieces.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), pieces))
        });
        let body = axum::body::Body::from_stream(pieces);
        self.try_call(path, body, &[]).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Calls with a body that begins so, and does not end.
    pub async fn call_unfinished(
        &self,
        path: &str,
        begin: Vec<u8>,
    ) -> Result<RawAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let begin = stream::iter([Ok::<_, std::convert::Infallible>(begin)]);
        let body = axum::body::Body::from_stream(begin.chain(stream::pending()));
        self.try_call(path, body, &[]).await
    }

    async fn try_call(
        &self,
        path: &str,
        body: axum::body::Body,
        headers: &[(&str, &str)],
    ) -> Result<RawAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = http::Request::post(path).body(Body::new(body))?;
        let usual = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", &format!("Bearer {}", self.api_key)),
        ];
        for (name, value) in usual.iter().chain(headers) {
            let name: HeaderName = name.parse()?;
            if value.is_empty() {
                request.headers_mut().remove(name);
            } else {
                request.headers_mut().insert(name, HeaderValue::from_str(value)?);
            }
        }
        let mut channel = self.channel.clone();
        std::future::poll_fn(|context| channel.poll_ready(context)).await?;
        let response = channel.call(request).await?;
        let (parts, body) = response.into_parts();
        let http_status = parts.status.as_u16();
        let (mut headers, mut bytes) = (parts.headers, Vec::new());
        let mut body = body;
        loop {
            let frame = std::future::poll_fn(|context| {
                axum::body::HttpBody::poll_frame(std::pin::Pin::new(&mut body), context)
            });
            match frame.await.transpose()? {
                None => break,
                Some(frame) if frame.is_data() => {
                    bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                Some(frame) => headers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(RawAnswer { http_status, headers, body: bytes })
    }
}
