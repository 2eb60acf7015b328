//! The guard before an HTTP server.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service};

use crate::{
    Refused,
    guard::{
        Guard,
        body::{BoxError, Form, GuardedBody},
    },
};

/// Puts a guard before an HTTP server, or a part of it: `Router::new().layer(guard.http_layer())`.
#[derive(Clone, Debug)]
pub struct HttpGuardLayer {
    pub(super) guard: Guard,
    pub(super) scopes: Arc<[String]>,
}

impl HttpGuardLayer {
    /// Scopes that are needed here, beside those of the guard.
    #[must_use]
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }
}

impl<S> Layer<S> for HttpGuardLayer {
    type Service = HttpGuard<S>;

    fn layer(&self, inner: S) -> HttpGuard<S> {
        HttpGuard { inner, layer: self.clone() }
    }
}

/// A guarded HTTP service. The requests that it lets through have a [`Verdict`](crate::Verdict) in their extensions.
#[derive(Clone, Debug)]
pub struct HttpGuard<S> {
    inner: S,
    layer: HttpGuardLayer,
}

impl<S, B, R> Service<Request<B>> for HttpGuard<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
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
        let layer = self.layer.clone();
        Box::pin(async move { serve(layer, inner, request).await })
    }
}

async fn serve<S, B, R>(
    layer: HttpGuardLayer,
    mut inner: S,
    mut request: Request<B>,
) -> Result<Response<GuardedBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    let HttpGuardLayer { guard, scopes } = layer;
    if guard.is_excepted(request.uri().path()) {
        return Ok(inner.call(request).await?.map(GuardedBody::open));
    }
    let presented = guard.presented(request.headers(), request.extensions());
    let verdict = match guard.judge_presented(&presented, &scopes).await {
        Ok(verdict) => verdict,
        Err(refused) => return Ok(answer(&refused)),
    };
    let mut watch = Box::pin(guard.clone().watch(guard.plan(&verdict), presented, scopes.to_vec()));
    request.extensions_mut().insert(verdict);
    let answered = tokio::select! {
        biased;
        answered = inner.call(request) => answered?,
        refused = &mut watch => return Ok(answer(&refused)),
    };
    Ok(answered.map(|body| GuardedBody::watched(body, watch, Form::Http)))
}

fn answer<R>(refused: &Refused) -> Response<GuardedBody<R>> {
    refused.to_http().map(GuardedBody::refusal)
}
