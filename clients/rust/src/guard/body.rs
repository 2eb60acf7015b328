//! The bodies of guarded calls.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::Refused;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Watch = Pin<Box<dyn Future<Output = Refused> + Send>>;

/// How a call ends that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// By the trailers of gRPC.
    Grpc,
    /// By breaking the connection: the status was sent already.
    Http,
}

/// The body of an answer: of the handler, as long as the guard lets it go on, or the guard's own.
pub struct GuardedBody<R> {
    inner: Option<Pin<Box<R>>>,
    watch: Option<(Watch, Form)>,
    refusal: Option<Bytes>,
}

impl<R> GuardedBody<R> {
    /// A body that nobody watches.
    pub(super) fn open(inner: R) -> Self {
        Self { inner: Some(Box::pin(inner)), watch: None, refusal: None }
    }

    pub(super) fn watched(inner: R, watch: Watch, form: Form) -> Self {
        Self { inner: Some(Box::pin(inner)), watch: Some((watch, form)), refusal: None }
    }

    pub(super) fn refusal(body: Bytes) -> Self {
        Self { inner: None, watch: None, refusal: Some(body).filter(|body| !body.is_empty()) }
    }

    fn ended(&mut self, refused: Refused, form: Form) -> Result<Frame<Bytes>, BoxError> {
        self.inner = None;
        self.watch = None;
        match form {
            Form::Http => Err(Box::new(refused)),
            Form::Grpc => {
                let mut trailers = http::HeaderMap::new();
                // A status of the guard fits into headers.
                tonic::Status::from(refused).add_header(&mut trailers)?;
                Ok(Frame::trailers(trailers))
            }
        }
    }
}

impl<R> Default for GuardedBody<R> {
    fn default() -> Self {
        Self::refusal(Bytes::new())
    }
}

impl<R> Body for GuardedBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(refusal) = self.refusal.take() {
            return Poll::Ready(Some(Ok(Frame::data(refusal))));
        }
        if let Some((watch, form)) = &mut self.watch
            && let Poll::Ready(refused) = watch.as_mut().poll(cx)
        {
            let form = *form;
            return Poll::Ready(Some(self.ended(refused, form)));
        }
        match &mut self.inner {
            Some(inner) => inner.as_mut().poll_frame(cx).map_err(Into::into),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.refusal.is_none() && self.inner.as_deref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.refusal, &self.inner) {
            (Some(refusal), _) => SizeHint::with_exact(u64::try_from(refusal.len()).unwrap_or(u64::MAX)),
            (None, Some(inner)) => inner.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        }
    }
}

impl<R> std::fmt::Debug for GuardedBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuardedBody(..)")
    }
}

/// The body of a request, of which the guard sees the end.
pub struct WatchedBody<B> {
    inner: Pin<Box<B>>,
    ended: Arc<AtomicBool>,
}

impl<B> WatchedBody<B> {
    /// With what becomes true at its end.
    pub(super) fn new(inner: B) -> (Self, Arc<AtomicBool>) {
        let ended = Arc::new(AtomicBool::new(false));
        (Self { inner: Box::pin(inner), ended: Arc::clone(&ended) }, ended)
    }
}

impl<B: Body> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = self.inner.as_mut().poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.ended.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let is_end = self.inner.is_end_stream();
        if is_end {
            self.ended.store(true, Ordering::Relaxed);
        }
        is_end
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> std::fmt::Debug for WatchedBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchedBody(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test]
    async fn a_call_that_must_end_ends_by_its_trailers_or_breaks() {
        for form in [Form::Grpc, Form::Http] {
            let body = Full::new(Bytes::from_static(b"never seen"));
            let watch: Watch = Box::pin(async { Refused::of_status("REVOKED") });
            let mut body = GuardedBody::watched(body, watch, form);
            let end = body.frame().await.unwrap();
            match form {
                Form::Grpc => assert_eq!(end.unwrap().into_trailers().unwrap()["grpc-status"], "16"),
                Form::Http => {
                    assert_eq!(end.unwrap_err().to_string(), "The token is REVOKED. Get another one.");
                }
            }
            assert!(body.frame().await.is_none() && body.is_end_stream());
        }
    }

    #[tokio::test]
    async fn the_end_of_a_request_is_seen() {
        let (body, ended) = WatchedBody::new(Full::new(Bytes::from_static(b"x")));
        assert!(!ended.load(Ordering::Relaxed));
        body.collect().await.unwrap();
        assert!(ended.load(Ordering::Relaxed));
    }
}
