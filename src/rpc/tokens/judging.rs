//! Validate and `StreamValidate`. They are called as often as everything else together, and most of an answer is the same
//! each time: so they have a codec of their own, which copies what was encoded once for each token.

use std::{convert::Infallible, marker::PhantomData, sync::Arc, task};

use futures_util::future::ready;
use prost::Message;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    codegen::{BoxFuture, http},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstDecoder;
use tower::{Service, service_fn};

use crate::{
    edge::{self, MESSAGE_BYTES_MAX, Method, Operation, Origin},
    proto::v1 as pb,
    rpc::{
        Context,
        tokens::{
            request::{VERDICTS, validate_request},
            streaming::Answers,
            verdict::EncodedVerdict,
        },
    },
};

/// The buffer that is allocated for a message before its length is known, bytes: room for the token and the answer of
/// nearly all calls. Of tonic's 8 KiB, twice per call, most would be fetched and not used.
const BUFFER_BYTES: usize = 1_024;
/// Answers of a stream that are ready are sent together up to this size, bytes: as in tonic.
const YIELD_BYTES: usize = 32 * 1_024;

/// The methods of `TokenService` that judge tokens; `rest` has the others.
#[derive(Clone)]
pub(in crate::rpc) struct Judging<S> {
    context: Arc<Context>,
    rest: S,
}

impl<S> Judging<S> {
    pub(in crate::rpc) fn before(rest: S, context: Context) -> Self {
        Self { context: Arc::new(context), rest }
    }
}

impl<S: NamedService> NamedService for Judging<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Judging<S>
where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future = BoxFuture<http::Response<Body>, Infallible>,
        >,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        self.rest.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let context = Arc::clone(&self.context);
        match Method::of(request.uri().path(), context.listener).operation {
            Operation::Validate => Box::pin(async move {
                let call = service_fn(|request| validate(&context, request));
                Ok(grpc().unary(call, request).await)
            }),
            Operation::StreamValidate => Box::pin(async move {
                let call = service_fn(|request| ready(Answers::of(Arc::clone(&context), request)));
                Ok(grpc().streaming(call, request).await)
            }),
            Operation::BatchValidate
            | Operation::Issue
            | Operation::Refresh
            | Operation::Reflection
            | Operation::Other => self.rest.call(request),
        }
    }
}

fn grpc<U, A>() -> Grpc<JudgingCodec<U, A>>
where
    JudgingCodec<U, A>: Codec,
{
    Grpc::new(JudgingCodec(PhantomData)).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

async fn validate(
    context: &Context,
    request: Request<pb::ValidateRequest>,
) -> Result<Response<[EncodedVerdict; 1]>, Status> {
    let admission = Origin::of(request.extensions())?.again(&context.authority).await?;
    let form = validate_request(request.into_inner());
    let judged = edge::validate(&context.authority, admission, form)?.whole().await?;
    Ok(Response::new([EncodedVerdict::of(&judged)]))
}

/// Decodes requests as prost does, and writes verdicts as field 1 of an answer: all three answers have them there.
struct JudgingCodec<U, A>(PhantomData<(U, A)>);

impl<U, A> Codec for JudgingCodec<U, A>
where
    U: Message + Default + 'static,
    A: AsRef<[EncodedVerdict]> + Send + 'static,
{
    type Encode = A;
    type Decode = U;
    type Encoder = VerdictsEncoder<A>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        VerdictsEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}

struct VerdictsEncoder<A>(PhantomData<A>);

impl<A: AsRef<[EncodedVerdict]>> Encoder for VerdictsEncoder<A> {
    type Item = A;
    type Error = Status;

    fn encode(&mut self, verdicts: A, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let verdicts = verdicts.as_ref();
        buffer.reserve(verdicts.iter().map(EncodedVerdict::len).fold(0, usize::saturating_add));
        for encoded in verdicts {
            encoded.put(VERDICTS, buffer);
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
