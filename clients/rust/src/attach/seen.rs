//! The body of an answer, in which a refusal of the token is seen.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use crate::{
    attach::refusal,
    source::{SourceRef, Token},
};

/// The body of an answer. A stream that ends because its token has expired or was revoked has it renewed, for those that
/// begin later.
pub struct SeenBody<R> {
    inner: Pin<Box<R>>,
    /// Of a call of gRPC.
    token: Option<(SourceRef, Token)>,
}

impl<R> SeenBody<R> {
    pub(super) fn new(inner: R, token: Option<(SourceRef, Token)>) -> Self {
        Self { inner: Box::pin(inner), token }
    }
}

impl<R: Body> Body for SeenBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let polled = self.inner.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
            && refusal::may_be_mended(StatusCode::OK, trailers, true)
            && let Some((source, token)) = self.token.take()
        {
            source.note_refusal(&token);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R: Default> Default for SeenBody<R> {
    fn default() -> Self {
        Self::new(R::default(), None)
    }
}

impl<R> std::fmt::Debug for SeenBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeenBody(..)")
    }
}
