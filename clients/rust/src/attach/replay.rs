//! The body of a request that can be sent once more.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::attach::BoxError;

/// What is longer is not kept, and its call not repeated.
const KEPT_MAX: usize = 4 << 20;

/// What has been sent of a body.
struct Sent<B> {
    frames: Vec<Bytes>,
    length: usize,
    is_whole: bool,
    /// It is too long, or has trailers.
    is_lost: bool,
    /// What was not sent: nobody wanted it.
    rest: Option<B>,
}

impl<B> Sent<B> {
    fn add(&mut self, data: &Bytes) {
        self.length = self.length.saturating_add(data.len());
        if self.length > KEPT_MAX {
            self.is_lost = true;
            self.frames = Vec::new();
        }
        if !self.is_lost {
            self.frames.push(data.clone());
        }
    }

    /// Notes what a poll of the body gave.
    fn note<E>(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, E>>>) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => self.add(data),
                None => self.is_lost = true,
            },
            Poll::Ready(None) => self.is_whole = true,
            Poll::Ready(Some(Err(_))) => self.is_lost = true,
            Poll::Pending => {}
        }
    }
}

/// Sees what is sent of a body.
pub(super) struct Kept<B>(Arc<Mutex<Sent<B>>>);

impl<B> Kept<B> {
    fn lock(&self) -> MutexGuard<'_, Sent<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Kept<B> {
    /// The body, if it was sent whole, or is there without waiting; of gRPC, only if it is no more than one message.
    pub(super) fn whole(&self, is_grpc: bool) -> Option<Vec<Bytes>> {
        let mut sent = self.lock();
        if let Some(mut rest) = sent.rest.take() {
            let mut cx = Context::from_waker(Waker::noop());
            while !sent.is_whole && !sent.is_lost {
                let polled = Pin::new(&mut rest).poll_frame(&mut cx);
                sent.note(&polled);
                if polled.is_pending() {
                    return None;
                }
            }
        }
        let may = sent.is_whole && !sent.is_lost && (!is_grpc || is_one_message(&sent.frames, sent.length));
        may.then(|| sent.frames.clone())
    }
}

/// Returns whether the length of the first message is that of the whole body.
fn is_one_message(frames: &[Bytes], whole: usize) -> bool {
    let mut head = frames.iter().flatten().skip(1).take(4);
    let mut length = 0_usize;
    for _ in 0..4 {
        let Some(byte) = head.next() else { return false };
        length = (length << 8) | usize::from(*byte);
    }
    length.checked_add(5) == Some(whole)
}

/// The body of a request: the caller's, or what was sent of it before.
pub struct ReplayBody<B>(Inner<B>);

enum Inner<B> {
    First { body: Option<B>, kept: Kept<B> },
    Again { frames: std::vec::IntoIter<Bytes>, left: u64 },
}

impl<B> ReplayBody<B> {
    pub(super) fn new(body: B) -> (Self, Kept<B>) {
        let sent = Sent { frames: Vec::new(), length: 0, is_whole: false, is_lost: false, rest: None };
        let sent = Arc::new(Mutex::new(sent));
        (Self(Inner::First { body: Some(body), kept: Kept(Arc::clone(&sent)) }), Kept(sent))
    }

    pub(super) fn again(frames: Vec<Bytes>) -> Self {
        let left = frames.iter().map(|frame| u64::try_from(frame.len()).unwrap_or(u64::MAX)).sum();
        Self(Inner::Again { frames: frames.into_iter(), left })
    }
}

impl<B> Drop for Inner<B> {
    fn drop(&mut self) {
        if let Self::First { body, kept } = self {
            // A peer may refuse a call before it has read it.
            kept.lock().rest = body.take();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.0 {
            Inner::First { body: None, .. } => Poll::Ready(None),
            Inner::First { body: Some(body), kept } => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                let mut sent = kept.lock();
                sent.note(&polled);
                // A body that says so by itself is not polled again.
                sent.is_whole |= body.is_end_stream();
                polled
            }
            Inner::Again { frames, left } => {
                let next = frames.next();
                let length = next.as_ref().map_or(0, |frame| u64::try_from(frame.len()).unwrap_or(0));
                *left = left.saturating_sub(length);
                Poll::Ready(next.map(|frame| Ok(Frame::data(frame))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::First { body, .. } => body.as_ref().is_none_or(Body::is_end_stream),
            Inner::Again { frames, .. } => frames.len() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::First { body: Some(body), .. } => body.size_hint(),
            Inner::First { body: None, .. } => SizeHint::with_exact(0),
            Inner::Again { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

impl<B> From<ReplayBody<B>> for tonic::body::Body
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn from(body: ReplayBody<B>) -> Self {
        Self::new(body)
    }
}

impl<B> From<ReplayBody<B>> for UnsyncBoxBody<Bytes, B::Error>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    fn from(body: ReplayBody<B>) -> Self {
        Self::new(body)
    }
}

impl<B> std::fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplayBody(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http_body_util::{BodyExt as _, Empty, Full};

    use super::*;

    #[tokio::test]
    async fn what_was_sent_whole_is_sent_again() {
        let message = Bytes::from_static(b"\0\0\0\0\x03abc");
        let (body, kept) = ReplayBody::new(Full::new(message.clone()));
        assert!(kept.whole(false).is_none(), "it is being sent");
        assert_eq!(body.collect().await.unwrap().to_bytes(), message);
        let frames = kept.whole(true).unwrap();
        let again = ReplayBody::<Full<Bytes>>::again(frames);
        assert_eq!(again.size_hint().exact(), Some(8));
        assert_eq!(again.collect().await.unwrap().to_bytes(), message);
    }

    #[tokio::test]
    async fn several_messages_are_a_stream() {
        let two = Bytes::from_static(b"\0\0\0\0\x01a\0\0\0\0\x01b");
        let (body, kept) = ReplayBody::new(Full::new(two));
        body.collect().await.unwrap();
        assert!(kept.whole(true).is_none() && kept.whole(false).is_some());
        let (body, kept) = ReplayBody::new(Empty::<Bytes>::new());
        assert!(body.is_end_stream());
        drop(body);
        assert!(kept.whole(false).is_some_and(|frames| frames.is_empty()));
        let (body, kept) = ReplayBody::new(Full::new(Bytes::from_static(b"\0\0\0\0\x01a")));
        drop(body);
        assert!(kept.whole(true).is_some(), "nobody wanted it");
        let (body, kept) = ReplayBody::new(Full::new(Bytes::from(vec![0; KEPT_MAX + 1])));
        body.collect().await.unwrap();
        assert!(kept.whole(false).is_none(), "it is too long");
    }
}
