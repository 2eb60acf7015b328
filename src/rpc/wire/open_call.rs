//! The answer to a call that needs no credential: it ends after a while, and counts for its connection until then.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    listen::{Counted, Held, StrangerCall},
    rpc::wire::unary::GRPC_STATUS,
};

/// For Watch and reflection: clients that want more call again. As long as a connection may be idle.
const LASTS_AT_MOST: Duration = Duration::from_mins(5);

/// The body of such an answer.
pub(in crate::rpc) struct OpenAnswer<B> {
    body: B,
    lasts: Duration,
    /// The deadline of a stream, once it waits.
    until: Option<Pin<Box<Sleep>>>,
    over: bool,
    _counted: Counts,
}

/// The counts that are held as long as the answer lasts.
pub(in crate::rpc) type Counts = (Option<StrangerCall>, Option<(Counted, Held)>);

impl<B> OpenAnswer<B> {
    /// Holds `counted` as long as the answer lasts.
    pub(in crate::rpc) fn new(body: B, counted: Counts) -> Self {
        Self { body, lasts: LASTS_AT_MOST, until: None, over: false, _counted: counted }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for OpenAnswer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let lasts = self.lasts;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(lasts)));
        ready!(until.as_mut().poll(context));
        self.over = true;
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(GRPC_STATUS.clone(), HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn};

    use super::*;

    /// A stream that sends nothing.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn e15_a_stream_that_needs_no_credential_ends_after_a_while() {
        assert_eq!(OpenAnswer::new(Silent, (None, None)).lasts.as_secs(), 5 * 60);
        let mut answer =
            OpenAnswer { lasts: Duration::from_millis(20), ..OpenAnswer::new(Silent, (None, None)) };
        let mut next = async || poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await;
        let last = next().await.and_then(Result::ok).and_then(|frame| frame.into_trailers().ok());
        assert!(last.is_some_and(|trailers| trailers.get(&GRPC_STATUS).is_some_and(|code| code == "0")));
        assert!(next().await.is_none());
    }
}
