//! The fast path: Validate, and Issue without a session, if the message arrived with its headers, as nearly every message
//! does. Such a call is answered from the snapshot in which its caller was authenticated, and waits for nothing. These
//! calls are as many as all others together.

use std::{pin::Pin, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use prost::Message as _;
use tonic::{Status, body::Body};

use super::{
    Context, RpcOrigin,
    arriving::Arriving,
    auth::Admission,
    batch::{BATCH_VALIDATE, Batch},
    convert::issued,
    judging::{VALIDATE, VERDICTS, validate_request},
    methods::Method,
    status::unreadable,
    token_service::issue_request,
    trace_id_of,
    unary::{self, Again, Message},
    verdict::EncodedVerdict,
};
use crate::{
    authority::{Caller, Error, Issued, Judged, TryIssued, check_clock},
    listen::Connection,
    proto::v1 as pb,
};

const ISSUE: &str = "/jeton.v1.TokenService/Issue";
const REFRESH: &str = "/jeton.v1.TokenService/Refresh";
/// A message that may be compressed is left to tonic, which refuses it.
static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The outcome of a request on the fast path.
pub(super) enum Answered {
    Now(Response<Body>),
    /// The request names a revision that this replica has not reached, or its message is still arriving.
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
    /// The request is tonic's.
    Not(Request<Unread>),
}

/// The body of a request that tonic reads.
pub(super) enum Unread {
    /// The body is still arriving.
    Coming(Box<Again>),
    /// The message has arrived.
    Come(Message),
}

impl Unread {
    /// The body; its messages are held to their limits.
    pub(super) fn into_body(self, connection: &Arc<Connection>, method: Method) -> Body {
        match self {
            Self::Coming(body) => Body::new(Arriving::new(body, connection, method)),
            Self::Come(message) => message.into_body(),
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
        request: Request<Incoming>,
        admission: &Admission,
        connection: &Arc<Connection>,
        method: Method,
    ) -> Answered {
        let path = request.uri().path();
        let validates = path == VALIDATE;
        let encoding = request.headers().get(&GRPC_ENCODING);
        if path == BATCH_VALIDATE && encoding.is_none_or(|encoding| encoding == "identity") {
            return self.batch(request, admission, connection, method);
        }
        if path == REFRESH {
            return Answered::Not(request.map(|body| match Message::arrived(body) {
                Ok(message) => Unread::Come(message),
                Err(body) => Unread::Coming(body),
            }));
        }
        if !validates && path != ISSUE {
            return Answered::Not(request.map(|body| Unread::Coming(Box::new(Again::of(body)))));
        }
        let (parts, body) = request.into_parts();
        let message = match Message::arrived(body) {
            Ok(message) => message,
            Err(body) => return Answered::Not(Request::from_parts(parts, Unread::Coming(body))),
        };
        let answer = if validates {
            self.validate(admission, &parts.headers, &message)
        } else {
            match pb::IssueRequest::decode(message.bytes()) {
                // Opening a session writes a row.
                Ok(request) if request.refreshable => {
                    return Answered::Not(Request::from_parts(parts, Unread::Come(message)));
                }
                Ok(request) => self.issue(admission, &parts.headers, request),
                Err(_) => Err(unreadable()),
            }
        };
        answer.unwrap_or_else(|status| Answered::Now(status.into_http()))
    }

    fn batch(
        &self,
        request: Request<Incoming>,
        admission: &Admission,
        connection: &Arc<Connection>,
        method: Method,
    ) -> Answered {
        let batch = Batch {
            context: Arc::clone(&self.context),
            connection: Arc::clone(connection),
            origin: RpcOrigin {
                credential: Arc::clone(&admission.client.credential),
                trace_id: trace_id_of(request.headers()),
            },
            overloaded: admission.overloaded,
        };
        let arriving = Arriving::new(Box::new(Again::of(request.into_body())), connection, method);
        Answered::Pending(Box::pin(batch.answer(arriving)))
    }

    fn validate(
        &self,
        admission: &Admission,
        headers: &HeaderMap,
        message: &Message,
    ) -> Result<Answered, Status> {
        let request = pb::ValidateRequest::decode(message.bytes()).map_err(|_| unreadable())?;
        let request = validate_request(request)?;
        let caller = self.caller(admission, headers)?;
        if admission.shed_costly {
            self.context.authority.must_have_verified(request.token())?;
        }
        if let Some(judged) = self.context.authority.try_validate(&admission.snapshot, &caller, &request)? {
            return Ok(Answered::Now(verdict(&judged)));
        }
        let (context, snapshot) = (Arc::clone(&self.context), admission.snapshot.clone());
        Ok(Answered::Pending(Box::pin(async move {
            let judged = context.authority.validate(snapshot, &caller, &request).await;
            judged.map_or_else(|error| Status::from(error).into_http(), |judged| verdict(&judged))
        })))
    }

    fn issue(
        &self,
        admission: &Admission,
        headers: &HeaderMap,
        request: pb::IssueRequest,
    ) -> Result<Answered, Status> {
        let request = issue_request(request)?;
        let caller = self.caller(admission, headers)?;
        if admission.shed_costly {
            return Err(Error::Overloaded.into());
        }
        match self.context.authority.try_issue(&admission.snapshot, &caller, request)? {
            TryIssued::Whole(token) => Ok(Answered::Now(token_of(token))),
            TryIssued::ToAudit(unaudited) => {
                let (context, snapshot) = (Arc::clone(&self.context), admission.snapshot.clone());
                Ok(Answered::Pending(Box::pin(async move {
                    let token = context.authority.audit_issue(&snapshot, *unaudited).await;
                    token.map_or_else(|error| Status::from(error).into_http(), token_of)
                })))
            }
        }
    }

    fn caller(&self, admission: &Admission, headers: &HeaderMap) -> Result<Caller, Error> {
        check_clock(&admission.snapshot)?;
        self.context.authority.called(admission.client.clone(), trace_id_of(headers))
    }
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
