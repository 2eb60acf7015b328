//! The shortest way through a unary call whose message has arrived, complete, when the call begins, as nearly every
//! message has. tonic's own way is made for streams, and costs as much as the rest of a Validate.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
    vec,
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tonic::{Status, body::Body};

pub(in crate::rpc) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Stands before each message: a flag for compression, and the length in bytes (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
pub(in crate::rpc) const PREFIX_BYTES: usize = 5;

/// The only message of a request, uncompressed.
pub(in crate::rpc) struct Message(Bytes);

impl Message {
    /// The message, if it has arrived, has so many bytes at most, and nothing can follow; otherwise the body, unchanged.
    pub(in crate::rpc) fn arrived(body: Incoming, bytes_max: usize) -> Result<Self, Box<PeekedBody>> {
        let mut again = PeekedBody::of(body);
        let is_it = |data: &&Bytes| data.len() <= bytes_max.saturating_add(PREFIX_BYTES) && is_message(data);
        let data = again.take().and_then(|frame| frame.data_ref()).filter(is_it).cloned();
        match data {
            Some(data) if again.has_ended() => Ok(Self(data)),
            _ => Err(Box::new(again)),
        }
    }

    /// The bytes of the message.
    pub(in crate::rpc) fn bytes(&self) -> Bytes {
        self.0.slice(PREFIX_BYTES..)
    }

    /// The message as a request's body.
    pub(in crate::rpc) fn into_body(self) -> Body {
        Body::new(Rest::Last(self.0))
    }
}

/// Returns whether these bytes are exactly one message that is not compressed.
fn is_message(data: &Bytes) -> bool {
    data.split_first_chunk::<PREFIX_BYTES>().is_some_and(|(prefix, message)| {
        let [compressed, length @ ..] = prefix;
        *compressed == 0 && usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len())
    })
}

type Taken = Result<Frame<Bytes>, hyper::Error>;

/// A body that may have been looked into; what was read from it can be taken again.
pub(in crate::rpc) struct PeekedBody {
    taken: [Option<Taken>; 2],
    rest: Incoming,
}

impl PeekedBody {
    /// A body that nothing was read from.
    pub(in crate::rpc) fn of(body: Incoming) -> Self {
        Self { taken: [None, None], rest: body }
    }

    /// The next frame, if it has arrived. It can be taken again.
    fn take(&mut self) -> Option<&Frame<Bytes>> {
        // No wake-up is needed: a reader that waits polls again with its own waker.
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(taken)) = Pin::new(&mut self.rest).poll_frame(&mut context) else { return None };
        let free = self.taken.iter_mut().find(|taken| taken.is_none())?;
        free.insert(taken).as_ref().ok()
    }

    /// Returns whether the body has ended: with the message, or by an empty frame behind it.
    fn has_ended(&mut self) -> bool {
        let is_empty = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(Bytes::is_empty);
        self.rest.is_end_stream() || (self.take().is_some_and(is_empty) && self.rest.is_end_stream())
    }
}

impl HttpBody for PeekedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Taken>> {
        match self.taken.iter_mut().find_map(Option::take) {
            Some(taken) => Poll::Ready(Some(taken)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.iter().all(Option::is_none) && self.rest.is_end_stream()
    }
}

/// The answer OK with one message of `len` bytes that `write` appends.
pub(in crate::rpc) fn answer(len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Response<Body> {
    let mut message = Vec::with_capacity(PREFIX_BYTES.saturating_add(len));
    message.push(0);
    message.extend(length(len));
    write(&mut message);
    answered(Rest::Message(message.into()))
}

/// The prefix of a message whose length is not known yet.
pub(in crate::rpc) const PREFIX: [u8; PREFIX_BYTES] = [0; PREFIX_BYTES];

/// The answer OK with the message in these blocks, the first of which begins with room for the prefix; `held` wraps the
/// bytes of each.
pub(in crate::rpc) fn framed(mut blocks: Vec<Vec<u8>>, held: impl FnMut(Vec<u8>) -> Bytes) -> Response<Body> {
    let all: usize = blocks.iter().map(Vec::len).sum();
    let len = length(all.saturating_sub(PREFIX_BYTES));
    if let Some(place) = blocks.first_mut().and_then(|first| first.get_mut(1..PREFIX_BYTES)) {
        place.copy_from_slice(&len);
    }
    let blocks: Vec<Bytes> = blocks.into_iter().map(held).collect();
    answered(Rest::Blocks(blocks.into_iter()))
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

fn answered(message: Rest) -> Response<Body> {
    let mut response = Response::new(Body::new(message));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A body of these bytes.
pub(in crate::rpc) fn body(data: Bytes) -> Body {
    Body::new(Rest::Last(data))
}

/// The part of a body that is still to be sent.
enum Rest {
    /// A message, and then the status OK.
    Message(Bytes),
    /// A message in blocks, and then the status OK.
    Blocks(vec::IntoIter<Bytes>),
    /// The status.
    Ok,
    /// Data, and then nothing.
    Last(Bytes),
    Nothing,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match mem::replace(&mut *self, Self::Nothing) {
            Self::Message(message) => {
                *self = Self::Ok;
                Frame::data(message)
            }
            Self::Blocks(mut blocks) => {
                let block = blocks.next().unwrap_or_default();
                *self = if blocks.len() == 0 { Self::Ok } else { Self::Blocks(blocks) };
                Frame::data(block)
            }
            Self::Ok => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(GRPC_STATUS.clone(), HeaderValue::from_static("0"));
                Frame::trailers(trailers)
            }
            Self::Last(data) => Frame::data(data),
            Self::Nothing => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Last(data) => SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX)),
            Self::Nothing => SizeHint::with_exact(0),
            // Trailers follow, so no length is announced.
            Self::Message(_) | Self::Blocks(_) | Self::Ok => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_whole_alone_and_uncompressed() {
        let of = |bytes: &'static [u8]| is_message(&Bytes::from_static(bytes));
        assert!(of(&[0, 0, 0, 0, 2, 7, 8]));
        assert!(of(&[0, 0, 0, 0, 0]));
        for other in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 7, 8],
            &[0, 0, 0, 0, 2, 7],
            &[0, 0, 0, 0, 2, 7, 8, 0],
            &[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 1, 8],
            &[0, 255, 255, 255, 255, 7],
        ] {
            assert!(!of(other), "{other:?}");
        }
    }
}
