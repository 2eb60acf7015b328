//! The body of an answer on its way: unsent bytes are counted, and a stream whose answers are not taken is reset.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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

use crate::listen::connection::Connection;

/// A stream whose peer takes nothing of its answer for this long is reset.
pub const STUCK: Duration = Duration::from_secs(20);
/// A longer part of an answer is sent in slices of this length: each one that is taken is progress. The end waits for
/// the last of them: until the end is sent, the stream can be reset. Bytes.
const SLICE_BYTES: usize = 16 * 1024;

/// The latest event of the body of the stream that is being polled on this thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    /// None.
    Untouched,
    /// It had nothing to send.
    Idle,
    /// It returned data to send.
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
                // Ready: the stream is dropped, which resets it and frees its unsent data.
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
    /// Its data is counted already.
    counted: bool,
    /// It has returned data: from now on come further parts of a stream, or the end.
    begun: bool,
    /// The rest of a long part.
    rest: Bytes,
    /// Closed when the last slice was sent.
    last: Option<oneshot::Receiver<()>>,
    /// Trailers that wait for that.
    end: Option<Frame<Bytes>>,
    over: bool,
    /// Set if dropped slices were not sent, because the stream was reset.
    lost: Arc<AtomicBool>,
}

impl<B> Outgoing<B> {
    pub(super) fn new(inner: B, connection: Arc<Connection>, counted: bool) -> Self {
        Self {
            inner,
            connection,
            counted,
            begun: false,
            rest: Bytes::new(),
            last: None,
            end: None,
            over: false,
            lost: Arc::default(),
        }
    }

    /// Counts a part, and returns it, or the beginning of a long one.
    fn count(&mut self, data: Bytes) -> Bytes {
        let is_long = data.len() >= SLICE_BYTES;
        let held = if self.counted { data } else { self.connection.hold(data, !is_long) };
        if !is_long {
            return held;
        }
        self.rest = held;
        self.slice()
    }

    fn slice(&mut self) -> Bytes {
        let bytes = self.rest.split_to(SLICE_BYTES.min(self.rest.len()));
        let (taken, wait) = oneshot::channel();
        self.last = Some(wait);
        let (connection, lost) = (Arc::clone(&self.connection), Arc::clone(&self.lost));
        Bytes::from_owner(Slice { bytes, connection, lost, _taken: taken })
    }

    /// Pending until the last slice was sent.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(last) = &mut self.last {
            // The sender is dropped without a message: always an error.
            let _dropped = ready!(Pin::new(last).poll(context));
            self.last = None;
        }
        Poll::Ready(())
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        if !self.over {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

struct Slice {
    bytes: Bytes,
    connection: Arc<Connection>,
    lost: Arc<AtomicBool>,
    _taken: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        if !self.lost.load(Ordering::Relaxed) {
            self.connection.account().goes_on(self.bytes.len());
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Outgoing<B> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.rest.is_empty() {
            LAST.set(Last::Sent);
            return Poll::Ready(Some(Ok(Frame::data(self.slice()))));
        }
        if self.end.is_some() {
            ready!(self.poll_taken(context));
            return Poll::Ready(self.end.take().map(Ok));
        }
        // One that is counted is all there: it waits for nothing but its peer.
        if self.begun && !self.counted && self.connection.account().poll_room(context).is_pending() {
            if self.poll_taken(context).is_ready() {
                // Others' answers are awaited.
                LAST.set(Last::Idle);
            }
            return Poll::Pending;
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            LAST.set(Last::Idle);
            return Poll::Pending;
        };
        LAST.set(Last::Sent);
        self.begun = true;
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
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let next = ready!(self.poll_next(context));
        let goes_on = matches!(&next, Some(Ok(frame)) if frame.is_data());
        self.over = !goes_on || self.is_end_stream();
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.end.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
