//! The fast path: Validate, and Issue without a session, if the message arrived with its headers, as nearly every message
//! does. Such a call is answered from the snapshot in which its caller was authenticated, and waits for nothing. These
//! calls are as many as all others together.

use std::{pin::Pin, sync::Arc};

use http::{HeaderMap, HeaderName, Response};
use hyper::body::Incoming;
use prost::Message as _;
use tonic::{Status, body::Body};

use crate::{
    authority::{Error, Issued, Judged},
    edge::{self, Admission, Answer, Method, Operation, unreadable},
    listen::Connection,
    proto::v1 as pb,
    rpc::{
        Context,
        convert::issued,
        tokens::{
            batch::Batch,
            request::{VERDICTS, validate_request},
            service::issue_request,
            verdict::EncodedVerdict,
        },
        wire::{
            arriving::Arriving,
            unary::{self, Message, PeekedBody},
        },
    },
};

/// A message that may be compressed is left to tonic, which refuses it.
static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The outcome of a request on the fast path.
pub(super) enum Answered {
    Now(Response<Body>),
    /// The request names a revision that this replica has not reached, a row is to be written, or the message is still
    /// arriving.
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
    /// The request is tonic's.
    Not(Admission, CallBody),
}

/// The body of a request.
pub(super) enum CallBody {
    /// The body is still arriving.
    Incomplete(Box<PeekedBody>),
    /// The message has arrived.
    Complete(Message),
}

impl CallBody {
    /// Looks whether the message has arrived with the head, if the method can be answered at once.
    pub(super) fn of(body: Incoming, method: Method) -> Self {
        match method.operation {
            Operation::Validate | Operation::Issue | Operation::Refresh => {
                Message::arrived(body, method.message_bytes_max).map_or_else(Self::Incomplete, Self::Complete)
            }
            Operation::StreamValidate
            | Operation::BatchValidate
            | Operation::Reflection
            | Operation::Other => Self::Incomplete(Box::new(PeekedBody::of(body))),
        }
    }

    /// The body; its messages are held to their limits.
    pub(super) fn into_body(self, connection: &Arc<Connection>, method: Method) -> Body {
        match self {
            Self::Incomplete(body) => Body::new(Arriving::new(body, connection, method)),
            Self::Complete(message) => message.into_body(),
        }
    }
}

/// Stands before tonic's services.
#[derive(Clone)]
pub struct FastPath {
    context: Arc<Context>,
}

impl FastPath {
    pub(super) fn of(context: Context) -> Self {
        Self { context: Arc::new(context) }
    }

    /// Answers the request, or gives it back for tonic. A call that has to wait does so on the heap: the stack frame here
    /// counts for each call in flight.
    pub(super) fn answer(
        &self,
        headers: &HeaderMap,
        body: CallBody,
        admission: Admission,
        connection: &Arc<Connection>,
        method: Method,
    ) -> Answered {
        match (method.operation, body) {
            (Operation::Validate, CallBody::Complete(message)) => self.validate(admission, &message),
            (Operation::Issue, CallBody::Complete(message)) => self.issue(admission, &message),
            (Operation::BatchValidate, CallBody::Incomplete(body)) if is_plain(headers) => {
                let batch = Batch {
                    context: Arc::clone(&self.context),
                    origin: admission.into_origin(method, connection, None),
                };
                Answered::Pending(Box::pin(batch.answer(Arriving::new(body, connection, method))))
            }
            (_, body) => Answered::Not(admission, body),
        }
    }

    fn validate(&self, admission: Admission, message: &Message) -> Answered {
        let decoded = pb::ValidateRequest::decode(message.bytes()).map_err(|_| unreadable());
        let form = decoded.and_then(validate_request);
        framed(edge::validate(&self.context.authority, admission, form), |judged| verdict(&judged))
    }

    fn issue(&self, admission: Admission, message: &Message) -> Answered {
        let decoded = pb::IssueRequest::decode(message.bytes()).map_err(|_| unreadable());
        let Context { authority, background, .. } = &*self.context;
        framed(edge::issue(authority, background, admission, decoded.and_then(issue_request)), token_of)
    }
}

/// Returns whether the message is not compressed.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(&GRPC_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// An answer as a response, by this frame.
fn framed<T: 'static>(
    answer: Result<Answer<T>, Error>,
    frame: impl FnOnce(T) -> Response<Body> + Send + 'static,
) -> Answered {
    match answer {
        Ok(Answer::Now(answer)) => Answered::Now(frame(answer)),
        Ok(Answer::Later(rest)) => {
            Answered::Pending(Box::pin(async move { rest.await.map_or_else(refused, frame) }))
        }
        Err(error) => Answered::Now(refused(error)),
    }
}

fn refused(error: Error) -> Response<Body> {
    Status::from(error).into_http()
}

fn token_of(token: Issued) -> Response<Body> {
    let response = pb::IssueResponse { token: Some(issued(token)) };
    unary::answer(response.encoded_len(), |out| {
        // Encoding into a vector cannot fail.
        let _infallible = response.encode(out);
    })
}

fn verdict(judged: &Judged) -> Response<Body> {
    let encoded = EncodedVerdict::of(judged);
    unary::answer(encoded.len(), |out| encoded.put(VERDICTS, out))
}
