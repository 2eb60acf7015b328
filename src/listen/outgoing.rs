//! The body of an answer on its way: what of it has not been taken is counted, and a stream whose answers are not
//! taken is reset.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    body::{Body, Bytes, Frame, SizeHint},
    rt::Executor,
};
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use super::{connection::Connection, places::Busy};

/// A stream whose peer takes nothing of its answer for so long is reset.
pub const STUCK: Duration = Duration::from_secs(20);
/// The end of an answer waits for a part of this length to be taken: as long as the end has not been sent, the stream
/// can be reset. Bytes. Shorter parts wait for nothing.
const LARGE_BYTES: usize = 16 * 1024;

/// What happened last to the body of the stream that is being polled on this thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    /// Nothing.
    Untouched,
    /// It had nothing to send.
    Idle,
    /// It gave something to send.
    Sent,
}

thread_local! {
    static LAST: Cell<Last> = const { Cell::new(Last::Untouched) };
}

/// Runs the streams of a connection, and resets those whose answers are not taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(async move {
            let mut stream = pin!(stream);
            let mut stuck: Option<Pin<Box<Sleep>>> = None;
            poll_fn(|context| {
                LAST.set(Last::Untouched);
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                match LAST.get() {
                    Last::Untouched => {}
                    Last::Idle => stuck = None,
                    // Not all of it fitted into the peer's window.
                    Last::Sent => stuck = Some(Box::pin(sleep(STUCK))),
                }
                // Ready: the stream is dropped, which resets it and lets go of what it had to send.
                stuck.as_mut().map_or(Poll::Pending, |stuck| stuck.as_mut().poll(context))
            })
            .await;
        });
    }
}

/// A body whose parts are counted until they are taken.
pub(super) struct Outgoing<B> {
    inner: B,
    connection: Arc<Connection>,
    /// Gone once the last large part was taken.
    large: Option<oneshot::Receiver<()>>,
    /// Trailers that wait for that.
    end: Option<Frame<Bytes>>,
    _busy: Option<Busy>,
}

impl<B> Outgoing<B> {
    pub(super) fn new(inner: B, connection: Arc<Connection>, busy: Option<Busy>) -> Self {
        Self { inner, connection, large: None, end: None, _busy: busy }
    }

    /// Counts a part. A large one tells when it was taken.
    fn count(&mut self, data: Bytes) -> Bytes {
        let held = self.connection.hold(data);
        if held.len() < LARGE_BYTES {
            return held;
        }
        let (taken, wait) = oneshot::channel();
        self.large = Some(wait);
        Bytes::from_owner(Large { bytes: held, _taken: taken })
    }

    /// Pending until the last large part was taken.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(large) = &mut self.large {
            // Dropped, not told: it is an error either way.
            let _dropped = ready!(Pin::new(large).poll(context));
            self.large = None;
        }
        Poll::Ready(())
    }
}

struct Large {
    bytes: Bytes,
    _taken: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.end.is_some() {
            ready!(self.poll_taken(context));
            return Poll::Ready(self.end.take().map(Ok));
        }
        ready!(self.connection.poll_room(context));
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            LAST.set(Last::Idle);
            return Poll::Pending;
        };
        LAST.set(Last::Sent);
        match frame.transpose()? {
            None => Poll::Ready(None),
            Some(frame) => match frame.into_data() {
                Ok(data) => Poll::Ready(Some(Ok(Frame::data(self.count(data))))),
                Err(trailers) => {
                    self.end = Some(trailers);
                    ready!(self.poll_taken(context));
                    Poll::Ready(self.end.take().map(Ok))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
