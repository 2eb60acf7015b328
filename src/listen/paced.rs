//! What is read of a connection at once: so much that others wait for no longer than for a call, and that no more heads
//! stand beside each other, each some hundred times as long as what came of it, than come with that.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read before others have their turn.
const TURN_BYTES: usize = 16 * 1024;

/// A connection that lets others go first now and then.
pub(super) struct Paced<S> {
    inner: S,
    read: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= TURN_BYTES {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(context, buffer) else {
            // Others have their turn anyway.
            self.read = 0;
            return Poll::Pending;
        };
        let bytes = buffer.filled().len().saturating_sub(before);
        self.read = self.read.saturating_add(bytes);
        Poll::Ready(read)
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
    use std::{future::poll_fn, task::ready};

    use super::*;

    #[tokio::test]
    async fn e5_others_have_their_turn_while_much_is_read() -> io::Result<()> {
        let bytes = vec![0; 100_000];
        let mut paced = Paced::new(bytes.as_slice());
        let (mut all, mut turns) = (0_usize, 0_usize);
        let mut buffer = [0; 8_192];
        poll_fn(|context| {
            turns = turns.saturating_add(1);
            loop {
                let mut buffer = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut paced).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(io::Result::Ok(()));
                }
                all = all.saturating_add(buffer.filled().len());
            }
        })
        .await?;
        assert_eq!((all, turns), (100_000, 7));
        Ok(())
    }
}
