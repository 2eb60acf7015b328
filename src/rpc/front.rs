//! The front of a listener: gRPC goes through the door to the services, everything else to plain HTTP.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode, Version, header::CONTENT_TYPE};
use hyper::body::{Body as HttpBody, Bytes, Incoming};
use tokio::time::timeout;
use tonic::body::Body;
use tower::Service;

use super::Door;
use crate::listen::{Call, Handler};

/// What every gRPC request is labelled with (gRPC over HTTP/2, "Requests").
const GRPC: &[u8] = b"application/grpc";

/// Until the answer to a plain HTTP request begins, its body read: a revocation waits a few seconds at
/// most, and a body that does not arrive holds nothing for longer.
const HTTP_MAX: Duration = Duration::from_secs(30);

/// What a listener serves.
#[derive(Clone)]
pub struct Front<H> {
    door: Door,
    http: H,
}

impl<H> Front<H> {
    /// The services behind the door, and beside them `http`, which is always ready.
    #[must_use]
    pub fn new(door: Door, http: H) -> Self {
        Self { door, http }
    }
}

impl<H, B> Handler for Front<H>
where
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Body = Body;

    async fn handle(mut self, request: Request<Incoming>, call: Call) -> Response<Body> {
        if is_grpc(&request) {
            return self.door.call(request, call).await;
        }
        // On the heap: each gRPC call in flight would have the room for it.
        Box::pin(timeout(HTTP_MAX, self.http.call(request))).await.map_or_else(
            |_late| {
                let mut late = Response::new(Body::empty());
                *late.status_mut() = StatusCode::REQUEST_TIMEOUT;
                late
            },
            |answered| match answered {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            },
        )
    }
}

fn is_grpc<T>(request: &Request<T>) -> bool {
    let label = request.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let rest = label.and_then(|label| label.strip_prefix(GRPC));
    // Not `application/grpc-web`.
    request.version() == Version::HTTP_2
        && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
