//! Reads a connection in turns: so other connections wait for no longer than a call takes, and no more heads exist at
//! the same time than one turn brings, each of which may be some hundred times as long as the bytes that it came in.
//! The buffer grows only if there is room for it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listen::{
    connection::Connection,
    memory::{Full, Held},
};

/// Bytes that are read before others have their turn.
const TURN_BYTES: usize = 16 * 1024;
/// The buffers that HTTP/1.1 and HTTP/2 begin with. They grow where a message or a head is longer. Bytes.
const BUFFER_BYTES: usize = 8 * 1024;
/// The count of a buffer that has grown, with that from before it grew. Bytes.
const LARGE_BUFFER_BYTES: usize = 40 * 1024;

/// The turn of a connection. HTTP/2 goes on reading for each request that it hands over: only the task that polls the
/// whole connection knows when its next turn begins.
#[derive(Default)]
pub(super) struct Reading {
    bytes: AtomicUsize,
}

impl Reading {
    /// Others have had theirs.
    pub(super) fn next_turn(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= TURN_BYTES
    }

    fn has_read(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn end(&self) {
        self.has_read(TURN_BYTES);
    }
}

/// A connection that lets others go first from time to time.
pub(super) struct Paced<S> {
    inner: S,
    reading: Arc<Reading>,
    buffer: LargeBuffer,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, reading: Arc<Reading>, connection: Arc<Connection>) -> Self {
        Self { inner, reading, buffer: LargeBuffer { connection, wanted: false, held: None } }
    }
}

/// The buffer of a connection that has not authenticated, once it has grown.
struct LargeBuffer {
    connection: Arc<Connection>,
    wanted: bool,
    held: Option<Held>,
}

/// The decision whether a connection may be read into a buffer.
#[derive(PartialEq, Eq, Debug)]
enum MayRead {
    Now,
    /// The request that has come before it may authenticate the connection.
    NextTurn,
    Never,
}

impl LargeBuffer {
    fn may_read(&mut self, room: usize) -> MayRead {
        if self.connection.is_known() {
            self.held = None;
            return MayRead::Now;
        }
        if room <= BUFFER_BYTES || self.held.is_some() {
            return MayRead::Now;
        }
        if !std::mem::replace(&mut self.wanted, true) {
            return MayRead::NextTurn;
        }
        let mut held = self.connection.arriving();
        match held.charge(LARGE_BUFFER_BYTES) {
            Ok(()) => {
                self.held = Some(held);
                MayRead::Now
            }
            Err(Full) => MayRead::Never,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.reading.is_over() {
            match self.buffer.may_read(buffer.remaining()) {
                MayRead::Now => {}
                MayRead::NextTurn => self.reading.end(),
                MayRead::Never => {
                    let full = "those that have not authenticated hold as much as they may";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::OutOfMemory, full)));
                }
            }
        }
        if self.reading.is_over() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.reading.has_read(buffer.filled().len().saturating_sub(before));
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{future::poll_fn, net::Ipv4Addr};

    use super::*;
    use crate::{
        listen::{
            memory::Memory,
            places::{Limits, Place, Places},
            queue::{Calls, Queue},
        },
        tls::Peer,
    };

    /// A connection that has not authenticated, and its place.
    fn stranger(memory: &Arc<Memory>) -> (Place, Arc<Connection>) {
        let address = Ipv4Addr::LOCALHOST.into();
        let place = Places::new(Limits::of(10, 10, Arc::default())).take(address).unwrap();
        let calls = Calls::on(Arc::new(Queue::of("test")));
        let peer = Peer { address, certificate: None };
        let connection = Connection::new(peer, None, Arc::clone(memory), place.standing(), calls);
        (place, connection)
    }

    #[tokio::test]
    async fn e5_others_have_their_turn_while_much_is_read() {
        let bytes = vec![0; 100_000];
        let reading = Arc::new(Reading::default());
        let (_place, connection) = stranger(&Arc::default());
        let mut paced = Paced::new(bytes.as_slice(), Arc::clone(&reading), connection);
        let (mut all, mut turns) = (0_usize, 0_usize);
        let mut buffer = [0; 8_192];
        poll_fn(|context| {
            turns = turns.saturating_add(1);
            reading.next_turn();
            // To ask again in the same turn brings nothing.
            let mut asked_again = false;
            loop {
                let mut buffer = ReadBuf::new(&mut buffer);
                match Pin::new(&mut paced).poll_read(context, &mut buffer) {
                    Poll::Pending if asked_again => return Poll::Pending,
                    Poll::Pending => asked_again = true,
                    Poll::Ready(read) => {
                        read.unwrap();
                        assert!(!asked_again);
                        if buffer.filled().is_empty() {
                            return Poll::Ready(());
                        }
                        all = all.saturating_add(buffer.filled().len());
                    }
                }
            }
        })
        .await;
        assert_eq!((all, turns), (100_000, 7));
    }

    #[test]
    fn e15_a_large_buffer_counts_until_its_connection_authenticates() {
        let memory = Arc::new(Memory::of(1 << 20, LARGE_BUFFER_BYTES));
        let ends = [stranger(&memory), stranger(&memory)];
        let buffer = |end: &(Place, Arc<Connection>)| LargeBuffer {
            connection: Arc::clone(&end.1),
            wanted: false,
            held: None,
        };
        let [mut first, mut second] = ends.each_ref().map(buffer);
        let large = BUFFER_BYTES.saturating_add(1);
        let mut both = |room: usize| [first.may_read(room), second.may_read(room)];
        assert_eq!(both(BUFFER_BYTES), [MayRead::Now, MayRead::Now]);
        assert_eq!(both(large), [MayRead::NextTurn, MayRead::NextTurn]);
        assert_eq!(both(large), [MayRead::Now, MayRead::Never]);
        for (_place, connection) in &ends {
            connection.authenticated("client");
        }
        assert_eq!(both(large), [MayRead::Now, MayRead::Now]);
        let unauthenticated = stranger(&memory).1;
        assert_eq!(
            memory.free_for(unauthenticated.account()),
            LARGE_BUFFER_BYTES,
            "nothing of strangers is held"
        );
    }
}
