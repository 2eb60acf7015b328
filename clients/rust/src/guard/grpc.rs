//! The guard before a gRPC server.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body;
use tonic::{
    Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

use crate::{
    Refused,
    guard::{
        Guard,
        body::{BoxError, Form, GuardedBody, WatchedBody},
    },
};

/// Puts a guard before a gRPC server: `Server::builder().layer(guard.grpc_layer())`.
#[derive(Clone, Debug)]
pub struct GrpcGuardLayer(pub(super) Guard);

impl<S> Layer<S> for GrpcGuardLayer {
    type Service = GrpcGuard<S>;

    fn layer(&self, inner: S) -> GrpcGuard<S> {
        GrpcGuard { inner, guard: self.0.clone() }
    }
}

/// A guarded gRPC service. The requests that it lets through have a [`Verdict`](crate::Verdict) in their extensions.
#[derive(Clone, Debug)]
pub struct GrpcGuard<S> {
    inner: S,
    guard: Guard,
}

impl<S, B, R> Service<Request<B>> for GrpcGuard<S>
where
    S: Service<Request<WatchedBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    R: Body<Data = Bytes> + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is used; its clone takes its place.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        Box::pin(async move { serve(guard, inner, request).await })
    }
}

async fn serve<S, B, R>(
    guard: Guard,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<GuardedBody<R>>, S::Error>
where
    S: Service<Request<WatchedBody<B>>, Response = Response<R>>,
{
    let (mut parts, body) = request.into_parts();
    let (body, ended) = WatchedBody::new(body);
    if guard.is_excepted(parts.uri.path()) {
        return Ok(inner.call(Request::from_parts(parts, body)).await?.map(GuardedBody::open));
    }
    let presented = guard.presented(&parts.headers, &parts.extensions);
    let verdict = match guard.judge_presented(&presented, &[]).await {
        Ok(verdict) => verdict,
        Err(refused) => return Ok(answer(refused)),
    };
    let mut watch = Box::pin(guard.clone().watch(guard.plan(&verdict), presented, Vec::new()));
    parts.extensions.insert(verdict);
    let answering = inner.call(Request::from_parts(parts, body));
    // As long as messages of the request may come, the call is a stream. A unary call is left to its handler.
    let must_end =
        poll_fn(|cx| if ended.load(Ordering::Relaxed) { Poll::Pending } else { watch.as_mut().poll(cx) });
    let answered = tokio::select! {
        biased;
        answered = answering => answered?,
        refused = must_end => return Ok(answer(refused)),
    };
    Ok(answered.map(|body| GuardedBody::watched(body, watch, Form::Grpc)))
}

fn answer<R>(refused: Refused) -> Response<GuardedBody<R>> {
    Status::from(refused).into_http()
}

/// The certificate that the peer of tonic's server presented.
pub(super) fn certificate(extensions: &Extensions) -> Option<Vec<u8>> {
    let certificates = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?.peer_certs()?;
    certificates.first().map(|certificate| certificate.to_vec())
}
