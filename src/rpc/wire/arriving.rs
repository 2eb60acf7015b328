//! The body of a request, message by message. No memory is set aside for a message before it arrives, its bytes are
//! counted as they arrive, and it has to arrive in time.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::body::{Body as HttpBody, Buf as _, Bytes, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use crate::{
    authority::{Error, Invalid},
    edge::{BULK_BYTES_MAX, Method, unreadable},
    listen::{ARRIVES_WITHIN, ARRIVING_BYTES_MAX, Connection, Counted, Held, STRANGER_ARRIVING_BYTES_MAX},
    rpc::{
        status::deadline_passed,
        wire::{
            blocks::{BLOCK_BYTES, Blocks, Part},
            unary::{PREFIX_BYTES, PeekedBody},
        },
    },
};

/// The messages of a request, each complete with its prefix.
pub(in crate::rpc) struct Arriving {
    body: Box<PeekedBody>,
    connection: Arc<Connection>,
    method: Method,
    /// Bytes that came with the end of a message and were not looked at yet.
    rest: Bytes,
    /// The part of the next message that has arrived.
    part: Part,
    /// Bytes of complete messages that are kept.
    whole: usize,
    held: Held,
    /// The deadline of the next message, once it is waited for.
    until: Option<Pin<Box<Sleep>>>,
    /// Counts the call as waiting, once it waits.
    waits: Option<Counted>,
    _streams: Option<[Counted; 2]>,
    /// The memory that is charged for keeping the call open.
    _stays_open: Option<Held>,
    /// There was no room for the call to stay open.
    refused: bool,
    over: bool,
}

impl Arriving {
    /// The messages of a call of this method.
    pub(in crate::rpc) fn new(body: Box<PeekedBody>, connection: &Arc<Connection>, method: Method) -> Self {
        let opened = method.streams.then(|| connection.stays_open());
        let refused = matches!(opened, Some(Err(_)));
        let (open, stays_open) = opened.and_then(Result::ok).unzip();
        Self {
            body,
            held: connection.arriving(),
            connection: Arc::clone(connection),
            method,
            rest: Bytes::new(),
            part: Part::default(),
            whole: 0,
            until: None,
            waits: None,
            _streams: open.map(|open| [open, connection.streaming()]),
            _stays_open: stays_open,
            refused,
            over: false,
        }
    }

    /// Reads the only message of a request, without its prefix, and the count of its bytes. More data behind it is
    /// refused.
    pub(in crate::rpc) async fn message(mut self) -> Result<(Blocks, Held), Status> {
        let mut message: Option<Blocks> = None;
        while let Some(arrived) = std::future::poll_fn(|context| self.poll_messages(context)).await {
            let mut arrived = arrived?;
            let is_one =
                split_message(&arrived.prefix(), self.method.message_bytes_max)? == Some(arrived.remaining());
            if message.is_some() || !is_one {
                return Err(unreadable().into());
            }
            // Compressed messages are not supported.
            if arrived.get_u8() != 0 {
                return Err(unreadable().into());
            }
            arrived.advance(PREFIX_BYTES.saturating_sub(1));
            self.whole = arrived.remaining();
            self.count(0)?;
            message = Some(arrived);
        }
        Ok((message.ok_or_else(|| Status::from(unreadable()))?, self.held))
    }

    /// The next message, or several that came together.
    fn poll_messages(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Blocks, Status>>> {
        if mem::take(&mut self.refused) {
            return Poll::Ready(Some(Err(self.end(Error::Overloaded.into()))));
        }
        while !self.over {
            let rest = mem::take(&mut self.rest);
            if !rest.is_empty() {
                match self.take(rest) {
                    Ok(Some(messages)) => return Poll::Ready(Some(Ok(messages))),
                    Ok(None) => continue,
                    Err(status) => return Poll::Ready(Some(Err(self.end(status)))),
                }
            }
            let Poll::Ready(next) = Pin::new(&mut *self.body).poll_frame(context) else {
                return self.poll_wait(context).map(|status| Some(Err(self.end(status))));
            };
            match next.transpose() {
                // Trailers of a request mean nothing here.
                Ok(Some(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Ok(None) if self.part.is_empty() => self.over = true,
                // The body broke off.
                Ok(None) => return Poll::Ready(Some(Err(self.end(unreadable().into())))),
                Err(error) => return Poll::Ready(Some(Err(self.end(Status::from_error(Box::new(error)))))),
            }
        }
        Poll::Ready(None)
    }

    /// Refuses the rest of the body.
    fn end(&mut self, status: Status) -> Status {
        self.over = true;
        self.part = Part::default();
        status
    }

    /// Waits while nothing has arrived. Ready when the deadline passes or there is no room to wait.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.waits.is_none() {
            let (waits, cost) = self.connection.unfinished();
            self.waits = Some(waits);
            // A call that stays open has been counted already.
            if !self.method.streams && self.held.charge(cost).is_err() {
                return Poll::Ready(Error::Overloaded.into());
            }
        }
        if self.method.streams && self.part.is_empty() {
            self.until = None;
            return Poll::Pending;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(ARRIVES_WITHIN)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(deadline_passed())
    }

    /// Takes the complete messages that end in these bytes; the rest is kept.
    fn take(&mut self, mut data: Bytes) -> Result<Option<Blocks>, Status> {
        let most = self.method.message_bytes_max;
        if self.part.is_empty() {
            // Nearly always everything. A fault behind complete messages is reported after they have been answered.
            let (whole, wrong) = whole_messages(&data, most);
            if whole > 0 {
                let messages = data.split_to(whole);
                self.rest = data;
                return Ok(Some(Blocks::one(messages)));
            }
            wrong.map_or(Ok(()), Err)?;
        }
        let beginning: Vec<u8> =
            self.part.prefix().into_iter().chain(data.iter().copied()).take(PREFIX_BYTES).collect();
        let total = split_message(&beginning, most)?;
        let missing = total.unwrap_or(PREFIX_BYTES).saturating_sub(self.part.len);
        let more = data.split_to(missing.min(data.len()));
        self.keep(&more, total.unwrap_or(usize::MAX))?;
        self.rest = data;
        if total != Some(self.part.len) {
            return Ok(None);
        }
        self.until = None;
        Ok(Some(mem::take(&mut self.part).into()))
    }

    /// Keeps a part of a message of `needed` bytes, as far as its length is known.
    fn keep(&mut self, mut more: &[u8], needed: usize) -> Result<(), Status> {
        while !more.is_empty() {
            let room = self.part.next_block(needed);
            if room > 0 {
                self.count(self.part.room().saturating_add(room))?;
            }
            more = self.part.fill(more, room);
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Status> {
        let most = if self.method.message_bytes_max >= BULK_BYTES_MAX {
            self.method.message_bytes_max.saturating_add(BLOCK_BYTES)
        } else if self.connection.is_known() {
            ARRIVING_BYTES_MAX
        } else {
            STRANGER_ARRIVING_BYTES_MAX
        };
        self.held.resize(bytes.saturating_add(self.whole), most).map_err(|_full| Error::Overloaded.into())
    }
}

/// The number of bytes of the first message and its prefix, as far as the prefix has arrived.
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

/// The number of bytes of the complete messages at the beginning of `data`, prefixes included, and the refusal of a
/// message behind them that announces too great a length.
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

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let messages = ready!(self.poll_messages(context));
        Poll::Ready(messages.map(|messages| {
            let messages = messages?.in_one();
            let room = self.part.room();
            self.count(room)?;
            Ok(Frame::data(messages))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.part.is_empty() && self.rest.is_empty() && self.body.is_end_stream())
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
