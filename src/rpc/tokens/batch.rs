//! `BatchValidate`. Its message is the longest that is accepted, so its requests are decoded one after another, and
//! other calls on the thread get their turn in between.

use std::{sync::Arc, time::Duration};

use http::Response;
use hyper::body::{Buf as _, Bytes};
use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tokio::{task::yield_now, time::Instant};
use tonic::{Status, body::Body};

use crate::{
    authority::{BATCH_MAX, Error, Invalid, Judged, ValidateRequest, check_batch_size, check_clock},
    edge::{Admission, MESSAGE_BYTES_MAX, Origin, unreadable},
    listen::{Connection, Held, IsCounted, WAITING_BYTES_MAX},
    proto::v1 as pb,
    rpc::{
        Context,
        tokens::{
            request::{VERDICTS, validate_request},
            verdict::EncodedVerdict,
        },
        wire::{arriving::Arriving, blocks::Blocks, unary},
    },
};

/// The field of the requests in `BatchValidateRequest`.
const REQUESTS: u32 = 1;
/// Requests that are decoded and judged together.
pub(in crate::rpc) const PART: usize = 4;
/// After so long other calls get their turn: a signature takes some ten microseconds to verify.
pub(in crate::rpc) const TURN: Duration = Duration::from_micros(250);

/// An answer is written in blocks of this length: one growing block would leave as much freed memory behind it. Bytes.
const ANSWER_BLOCK_BYTES: usize = 32 * 1024;

/// A call whose caller is authenticated.
pub(in crate::rpc) struct Batch {
    pub(in crate::rpc) context: Arc<Context>,
    pub(in crate::rpc) origin: Origin,
}

impl Batch {
    /// The answer.
    pub(in crate::rpc) async fn answer(self, arriving: Arriving) -> Response<Body> {
        self.judge(arriving).await.unwrap_or_else(Status::into_http)
    }

    async fn judge(self, arriving: Arriving) -> Result<Response<Body>, Status> {
        let (mut message, mut held) = arriving.message().await?;
        let (authority, connection) = (&self.context.authority, self.origin.connection());
        let Admission { mut snapshot, mut caller, turn } = self.origin.again(authority).await?;
        let count = count(message.clone())?;
        check_batch_size(count)?;
        // Only now, when the message has been read: a peer whose messages are not read has its streams reset.
        let weight = connection.weigh(count);
        if turn.overloaded && weight.is_much() {
            check_form(message, count).await?;
            return Err(Error::Overloaded.into());
        }
        check_clock(&snapshot)?;
        let mut answer = Answer::new(connection, count);
        let mut statuses = Vec::with_capacity(count);
        let mut begun = Instant::now();
        for first in (0..count).step_by(PART) {
            if begun.elapsed() >= TURN {
                yield_now().await;
                // Changes that came meanwhile hold for the rest.
                (snapshot, caller) = authority.later_snapshot(&caller).await?;
                begun = Instant::now();
            }
            // The memory of what was decoded is released.
            held.shrink(message.remaining());
            let mut read = Vec::with_capacity(PART);
            for index in (first..count).take(PART) {
                read.extend(read_next(&mut message, index)?);
            }
            for judged in authority.validate_part(snapshot.clone(), &caller, first, &read).await? {
                statuses.push(judged.verdict.status);
                answer.put(&judged)?;
            }
        }
        authority.validated(&statuses);
        Ok(answer.into_response())
    }
}

/// Checks the form of each request of a message that is not to be judged. Costs a fraction of judging it.
async fn check_form(mut message: Blocks, count: usize) -> Result<(), Status> {
    let mut begun = Instant::now();
    for index in 0..count {
        if begun.elapsed() >= TURN {
            yield_now().await;
            begun = Instant::now();
        }
        read_next(&mut message, index)?;
    }
    Ok(())
}

/// The next request of a message, which is number `index`.
fn read_next(message: &mut Blocks, index: usize) -> Result<Option<ValidateRequest>, Status> {
    let Some(request) = next(message)? else { return Ok(None) };
    let within = |invalid: Invalid| invalid.within(&format!("requests[{index}]"));
    Ok(Some(read_one(&request).map_err(within)?))
}

/// The number of requests in a message; stops counting above the maximum.
fn count(mut message: Blocks) -> Result<usize, Status> {
    let mut count = 0_usize;
    while let Some(length) = next_length(&mut message)? {
        message.advance(length);
        count = count.saturating_add(1);
        if count > BATCH_MAX {
            // Not counted further.
            check_batch_size(count)?;
        }
    }
    Ok(count)
}

/// The next request of a message, still encoded. A longer request than Validate takes is cut off, so that its length is
/// seen to be too great.
fn next(message: &mut Blocks) -> Result<Option<Bytes>, Status> {
    let Some(length) = next_length(message)? else { return Ok(None) };
    let read = length.min(MESSAGE_BYTES_MAX.saturating_add(1));
    let request = message.copy_to_bytes(read);
    message.advance(length.saturating_sub(read));
    Ok(Some(request))
}

/// The length of the next request, all of which has arrived.
fn next_length(message: &mut Blocks) -> Result<Option<usize>, Status> {
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(message).map_err(|_| unreadable())?;
        if tag != REQUESTS {
            // A field of a newer version.
            skip_field(wire_type, tag, message, DecodeContext::default()).map_err(|_| unreadable())?;
            continue;
        }
        if wire_type != WireType::LengthDelimited {
            return Err(unreadable().into());
        }
        let length = decode_varint(message).ok().and_then(|length| usize::try_from(length).ok());
        return length
            .filter(|length| *length <= message.remaining())
            .map(Some)
            .ok_or_else(|| unreadable().into());
    }
    Ok(None)
}

/// Decodes one request. It may be as long as one of Validate.
fn read_one(request: &Bytes) -> Result<ValidateRequest, Invalid> {
    if request.len() > MESSAGE_BYTES_MAX {
        return Err(Invalid::field(
            "token",
            format!("with the rest of its request {MESSAGE_BYTES_MAX} bytes at most"),
        ));
    }
    let malformed = |_| Invalid::field("token", "in a well-formed protobuf message of its request");
    validate_request(pb::ValidateRequest::decode(request.clone()).map_err(malformed)?)
}

/// The answer as far as it is written, counted for its connection.
struct Answer {
    /// The first block begins with the prefix of the message.
    blocks: Vec<Vec<u8>>,
    /// The number of verdicts that are still to come.
    left: usize,
    bytes: usize,
    held: Held,
}

impl Answer {
    /// An answer with so many verdicts.
    fn new(connection: &Arc<Connection>, count: usize) -> Self {
        Self { blocks: Vec::new(), left: count, bytes: 0, held: connection.answering() }
    }

    fn put(&mut self, judged: &Judged) -> Result<(), Error> {
        let verdict = EncodedVerdict::of(judged);
        let needed = verdict.len();
        let block = match self.blocks.pop() {
            Some(last) if last.capacity().saturating_sub(last.len()) >= needed => last,
            full => {
                self.blocks.extend(full);
                self.block(needed)?
            }
        };
        self.blocks.push(block);
        if let Some(block) = self.blocks.last_mut() {
            verdict.put(VERDICTS, block);
        }
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    /// A further block, with room for a verdict of `needed` bytes, and for the verdicts still to come if they are
    /// alike.
    fn block(&mut self, needed: usize) -> Result<Vec<u8>, Error> {
        let prefix: &[u8] = if self.blocks.is_empty() { &unary::PREFIX } else { &[] };
        let all = needed.saturating_mul(self.left);
        // With its prefix the first block is no longer than the others: allocators round up.
        let most = ANSWER_BLOCK_BYTES.saturating_sub(prefix.len()).max(needed);
        let room = all.clamp(needed, most).saturating_add(prefix.len());
        self.bytes = self.bytes.saturating_add(room);
        self.held.resize(self.bytes, WAITING_BYTES_MAX).map_err(|_full| Error::Overloaded)?;
        let mut block = Vec::with_capacity(room);
        block.extend_from_slice(prefix);
        Ok(block)
    }

    /// The response. Each block stays counted until it is sent.
    fn into_response(self) -> Response<Body> {
        let Self { blocks, mut held, .. } = self;
        let mut response = unary::framed(blocks, |block| {
            let room = block.capacity();
            held.split(room).with(block.into())
        });
        response.extensions_mut().insert(IsCounted);
        response
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn message(requests: usize) -> Bytes {
        let one = pb::ValidateRequest { token: "x".to_owned(), ..Default::default() };
        pb::BatchValidateRequest { requests: vec![one; requests] }.encode_to_vec().into()
    }

    #[test]
    fn v11_requests_are_read_out_of_the_message_as_protobuf_has_them() {
        let split_of = |bytes: Bytes| {
            let mut message = Blocks::one(bytes);
            let count = count(message.clone())?;
            let mut tokens = Vec::new();
            while let Some(request) = next(&mut message)? {
                tokens.push(read_one(&request).unwrap().token().to_owned());
            }
            assert_eq!(tokens.len(), count);
            Ok::<_, Status>(tokens)
        };
        assert_eq!(split_of(message(3)).unwrap(), ["x", "x", "x"]);
        assert_eq!(split_of(Bytes::new()).unwrap(), [""; 0]);
        // Unknown fields are no fault: newer clients send them.
        let newer = [&message(1)[..], &[0x12, 1, b'n', 0x18, 5], &message(1)[..]].concat();
        assert_eq!(split_of(newer.into()).unwrap(), ["x", "x"]);
        for bad in [&[0x0a, 0x80][..], &[0x0a, 5, b'x'], &[0x08, 1], &[0x0b], &[0xff; 20]] {
            assert!(split_of(Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn v11_no_more_requests_are_counted_than_may_be() {
        assert_eq!(count(Blocks::one(message(1_000))).unwrap(), 1_000);
        assert!(count(Blocks::one(message(1_001))).is_err());
        // Empty requests take next to no room on the wire.
        let empty: Vec<u8> = [0x0a, 0].repeat(4 << 20);
        assert!(count(Blocks::one(empty.into())).is_err());
    }
}
