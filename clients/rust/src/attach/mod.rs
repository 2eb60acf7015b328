//! Attaches a token source to calls.

mod refusal;
mod replay;
mod seen;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::Body;
use tower::{Layer, Service, ServiceExt as _};

use crate::{JetonError, TokenSource, source::Token};
pub use replay::ReplayBody;
pub use seen::SeenBody;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A call without a deadline waits so long for a token.
const GET_TIME: Duration = Duration::from_secs(10);

/// Attaches the token of a source to each request, as `authorization: Bearer …`, over gRPC and HTTP alike.
///
/// A call that a peer refuses by UNAUTHENTICATED or 401, because its token is expired or revoked, is made once more with
/// another token: if its request is one message that was sent whole, and the refusal came before anything else.
/// [`TokenLayer::streams`] names methods that are never repeated.
///
/// `P` is the body that the service behind takes: that of tonic's channels, a boxed one, or [`ReplayBody`] itself. The
/// compiler finds it.
pub struct TokenLayer<P> {
    shared: Arc<Attached>,
    body: PhantomData<fn(P)>,
}

struct Attached {
    source: TokenSource,
    streams: Vec<String>,
}

impl TokenSource {
    /// The layer that attaches this source.
    #[must_use]
    pub fn layer<P>(&self) -> TokenLayer<P> {
        TokenLayer {
            shared: Arc::new(Attached { source: self.clone(), streams: Vec::new() }),
            body: PhantomData,
        }
    }
}

impl<P> TokenLayer<P> {
    /// The paths of methods that stream, as `/orders.v1.OrderService/Watch`: their calls are not repeated. HTTP alone
    /// does not show whether a call streams.
    #[must_use]
    pub fn streams(self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let streams = paths.into_iter().map(Into::into).collect();
        Self { shared: Arc::new(Attached { source: self.shared.source.clone(), streams }), ..self }
    }
}

impl<P> Clone for TokenLayer<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), body: PhantomData }
    }
}

impl<P> fmt::Debug for TokenLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenLayer({:?})", self.shared.source)
    }
}

impl<S, P> Layer<S> for TokenLayer<P> {
    type Service = WithToken<S, P>;

    fn layer(&self, inner: S) -> WithToken<S, P> {
        WithToken { inner, layer: self.clone() }
    }
}

/// A service whose requests carry a token.
pub struct WithToken<S, P> {
    inner: S,
    layer: TokenLayer<P>,
}

impl<S: Clone, P> Clone for WithToken<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, P> fmt::Debug for WithToken<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WithToken({:?})", self.layer.shared.source)
    }
}

impl<S, B, P, R> Service<Request<B>> for WithToken<S, P>
where
    S: Service<Request<P>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    P: From<ReplayBody<B>> + 'static,
    R: Body + Send + 'static,
{
    type Response = Response<SeenBody<R>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<SeenBody<R>>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is used; its clone takes its place.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let attached = Arc::clone(&self.layer.shared);
        Box::pin(async move { attached.send(inner, request).await })
    }
}

impl Attached {
    async fn send<S, B, P, R>(
        &self,
        mut inner: S,
        request: Request<B>,
    ) -> Result<Response<SeenBody<R>>, BoxError>
    where
        S: Service<Request<P>, Response = Response<R>> + Clone,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Unpin,
        P: From<ReplayBody<B>>,
    {
        let is_grpc = refusal::is_grpc(request.headers());
        let deadline = refusal::deadline(request.headers()).unwrap_or(GET_TIME);
        let token = self.source.get_within(deadline).await.map_err(|error| told(error, is_grpc))?;
        let again = inner.clone();
        let (mut parts, body) = request.into_parts();
        attach(&mut parts.headers, &token);
        let may_repeat = !self.streams.iter().any(|path| path == parts.uri.path());
        let (body, kept) = ReplayBody::new(body);
        let parts_again = may_repeat.then(|| parts.clone());
        let answer = inner.call(Request::from_parts(parts, body.into())).await.map_err(Into::into)?;
        let seen = |answer: Response<R>, token: Token| {
            let token = is_grpc.then(|| (self.source.downgrade(), token));
            answer.map(|body| SeenBody::new(body, token))
        };
        if !refusal::may_be_mended(answer.status(), answer.headers(), is_grpc) {
            return Ok(seen(answer, token));
        }
        let repeated = parts_again.zip(kept.whole(is_grpc));
        let Some((mut parts, frames)) = repeated else {
            self.source.note_refusal(&token);
            return Ok(seen(answer, token));
        };
        let Some(other) = self.source.another(&token, deadline).await else { return Ok(seen(answer, token)) };
        drop(answer);
        attach(&mut parts.headers, &other);
        let mut again = again;
        let again = again.ready().await.map_err(Into::into)?;
        let request = Request::from_parts(parts, ReplayBody::again(frames).into());
        let answer = again.call(request).await.map_err(Into::into)?;
        Ok(seen(answer, other))
    }
}

fn attach(headers: &mut HeaderMap, token: &Token) {
    // jeton issues no token that a header cannot hold.
    if let Some(value) = token.authorization() {
        headers.insert(header::AUTHORIZATION, value.clone());
    }
}

/// The error of a call that has no token. A gRPC stub finds the status in it.
fn told(error: JetonError, is_grpc: bool) -> BoxError {
    if is_grpc { Box::new(tonic::Status::from(error)) } else { Box::new(error) }
}
