//! The body of a request, message by message: nothing is set aside for a message before it arrives, what has arrived of
//! it is counted, and it has to arrive in time.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::{
    methods::{BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, Method},
    status::{deadline_passed, unreadable},
    unary::{Again, PREFIX_BYTES},
};
use crate::{
    authority::{Error, Invalid},
    listen::{ARRIVING_BYTES_MAX, Connection, Held, STRANGER_ARRIVING_BYTES_MAX},
};

/// For a message to arrive, from its first byte; a unary one, from its call.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// What is set aside at first for what is behind the part that has arrived. Bytes.
const PART_BYTES: usize = 1_024;
/// What a frame may bring beyond the end of a message. Bytes.
const BEYOND_BYTES: usize = MESSAGE_BYTES_MAX;

/// The messages of a request, each in one piece with its prefix.
pub(super) struct Arriving {
    body: Box<Again>,
    connection: Arc<Connection>,
    method: Method,
    /// What has arrived of the next message.
    part: Vec<u8>,
    held: Held,
    /// When the next message has to be there, once it is waited for.
    until: Option<Pin<Box<Sleep>>>,
    /// What is wrong with what came behind the messages that were handed over last.
    wrong: Option<Status>,
    over: bool,
}

impl Arriving {
    /// Those of a call of this method.
    pub(super) fn new(body: Box<Again>, connection: &Arc<Connection>, method: Method) -> Self {
        Self {
            body,
            held: connection.arriving(),
            connection: Arc::clone(connection),
            method,
            part: Vec::new(),
            until: None,
            wrong: None,
            over: false,
        }
    }

    /// The one message of a request, without its prefix, which nothing follows; and the count of its bytes.
    pub(super) async fn message(mut self) -> Result<(Bytes, Held), Status> {
        let mut message: Option<Bytes> = None;
        while let Some(frame) = std::future::poll_fn(|context| self.poll_message(context)).await {
            let Ok(data) = frame?.into_data() else { continue };
            let is_one = split_message(&data, self.method.message_bytes_max)? == Some(data.len());
            if message.is_some() || !is_one {
                return Err(unreadable());
            }
            // Compressed: nothing here can read it.
            if data.first() != Some(&0) {
                return Err(unreadable());
            }
            self.count(data.len())?;
            message = Some(data.slice(PREFIX_BYTES..));
        }
        Ok((message.ok_or_else(unreadable)?, self.held))
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(status) = self.wrong.take() {
            self.over = true;
            return Poll::Ready(Some(Err(status)));
        }
        loop {
            let Poll::Ready(next) = Pin::new(&mut *self.body).poll_frame(context) else {
                return self.poll_deadline(context).map(|status| {
                    self.over = true;
                    Some(Err(status))
                });
            };
            let taken = match next.transpose() {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => self.take(&data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Ok(None) if self.part.is_empty() => Ok(None),
                // It breaks off.
                Ok(None) => Err(unreadable()),
                Err(error) => Err(Status::from_error(Box::new(error))),
            };
            match taken {
                Ok(Some(data)) if data.is_empty() => {}
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {
                    self.over = true;
                    return Poll::Ready(None);
                }
                Err(status) => {
                    self.over = true;
                    self.part = Vec::new();
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }

    /// Ready when what is waited for comes too late.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.method.streams && self.part.is_empty() {
            self.until = None;
            return Poll::Pending;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(ARRIVES_WITHIN)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(deadline_passed())
    }

    /// The whole messages that are there with these bytes; empty: none is.
    fn take(&mut self, data: &Bytes) -> Result<Option<Bytes>, Status> {
        if self.part.is_empty() {
            // Nearly always all of it.
            let whole = self.whole_messages(data)?;
            let rest = data.get(whole..).filter(|rest| !rest.is_empty() && self.wrong.is_none());
            if let Some(rest) = rest {
                self.keep(rest)?;
            }
            return Ok(Some(data.slice(..whole)));
        }
        self.keep(data)?;
        let part = mem::take(&mut self.part);
        let whole = self.whole_messages(&part);
        self.part = part;
        let whole = whole?;
        if whole == 0 {
            return Ok(Some(Bytes::new()));
        }
        let rest = self.part.split_off(whole);
        let messages = mem::take(&mut self.part);
        self.until = None;
        if rest.is_empty() {
            self.count(0)?;
        } else {
            self.keep(&rest)?;
        }
        Ok(Some(messages.into()))
    }

    /// Bytes of the whole messages at the beginning of these. What is wrong with the next one is told behind them.
    fn whole_messages(&mut self, data: &[u8]) -> Result<usize, Status> {
        match whole_messages(data, self.method.message_bytes_max) {
            (0, Some(status)) => Err(status),
            (whole, wrong) => {
                self.wrong = wrong;
                Ok(whole)
            }
        }
    }

    /// Keeps a part of a message, in memory of its own: a frame's is that of all that came with it.
    fn keep(&mut self, more: &[u8]) -> Result<(), Status> {
        let needed = self.part.len().saturating_add(more.len());
        if needed > self.part.capacity() {
            let twice = self.part.capacity().saturating_mul(2).max(PART_BYTES);
            let most = announced(&self.part, more).saturating_add(BEYOND_BYTES);
            let capacity = twice.min(most).max(needed);
            self.count(capacity)?;
            self.part.reserve_exact(capacity.saturating_sub(self.part.len()));
        }
        self.part.extend_from_slice(more);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Status> {
        let most = if self.method.message_bytes_max == BATCH_BYTES_MAX {
            BATCH_BYTES_MAX.saturating_add(BEYOND_BYTES)
        } else if self.connection.is_known() {
            ARRIVING_BYTES_MAX
        } else {
            STRANGER_ARRIVING_BYTES_MAX
        };
        self.held.resize(bytes, most).map_err(|_full| Error::Overloaded.into())
    }
}

/// Bytes of the first message and its prefix, as far as the prefix is there.
fn split_message(data: &[u8], bytes_max: usize) -> Result<Option<usize>, Status> {
    let Some((prefix, _)) = data.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [_, length @ ..] = prefix;
    let length = u32::from_be_bytes(*length);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if size > bytes_max {
        let max_size = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        return Err(Invalid::MessageTooLarge { size: length.into(), max_size }.into());
    }
    Ok(size.checked_add(PREFIX_BYTES))
}

/// Bytes of the whole messages at the beginning of these, prefixes included; and the refusal of one behind them that
/// says that it is too long.
fn whole_messages(data: &[u8], bytes_max: usize) -> (usize, Option<Status>) {
    let mut whole = 0_usize;
    loop {
        let rest = data.get(whole..).unwrap_or_default();
        match split_message(rest, bytes_max) {
            Ok(Some(length)) if length <= rest.len() => whole = whole.saturating_add(length),
            Ok(_) => return (whole, None),
            Err(status) => return (whole, Some(status)),
        }
    }
}

/// How long the message will be that begins so, prefix included; what is there, where its prefix is not.
fn announced(part: &[u8], more: &[u8]) -> usize {
    let beginning: Vec<u8> = part.iter().chain(more).take(PREFIX_BYTES).copied().collect();
    split_message(&beginning, usize::MAX).ok().flatten().unwrap_or(PART_BYTES)
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.poll_message(context)
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.part.is_empty() && self.body.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

    use super::*;

    fn framed(length: u32, message: &[u8]) -> Vec<u8> {
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    #[test]
    fn e5_whole_messages_are_told_from_a_part() {
        let whole = |data: &[u8]| {
            let (whole, wrong) = whole_messages(data, 10);
            assert!(wrong.is_none());
            whole
        };
        let two = [framed(2, b"ab"), framed(0, b"")].concat();
        assert_eq!(whole(&two), 12);
        for cut in 8..12 {
            assert_eq!(whole(&two[..cut]), 7);
        }
        assert_eq!(whole(&two[..6]), 0);
        assert_eq!(whole(b""), 0);
    }

    #[test]
    fn e5_a_message_that_says_that_it_is_too_long_is_refused_by_its_prefix() {
        let wrong = |data: &[u8]| {
            let (whole, wrong) = whole_messages(data, 10);
            (whole, wrong.is_some())
        };
        assert_eq!(wrong(&framed(10, b"")), (0, false));
        assert_eq!(wrong(&framed(11, b"")), (0, true));
        assert_eq!(wrong(&[framed(1, b"a"), framed(u32::MAX, b"")].concat()), (6, true));
    }
}
