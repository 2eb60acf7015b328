//! Validate, and Issue without a session, where their message has come with its headers, as that of nearly every call
//! has: answered at the gate that the caller has passed, which holds while nothing is waited for. They are called as often
//! as everything else together.

use std::{pin::Pin, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use prost::Message as _;
use tonic::{Status, body::Body};

use super::{
    Context, Who,
    arriving::Arriving,
    batch::{BATCH_VALIDATE, Batch},
    convert::issued,
    door::Admitted,
    judging::{VALIDATE, VERDICTS, validate_request},
    methods::Method,
    status::unreadable,
    token_service::issue_request,
    trace_id_of,
    unary::{self, Again, Message},
    verdict::Told,
};
use crate::{
    authority::{Caller, Error, Issued, IssuedAtOnce, Judged, check_clock},
    listen::Connection,
    proto::v1 as pb,
};

const ISSUE: &str = "/jeton.v1.TokenService/Issue";
const REFRESH: &str = "/jeton.v1.TokenService/Refresh";
/// A message that may be compressed is left to tonic, which says that it cannot be read.
static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// What became of a request.
pub(super) enum Answered {
    Now(Response<Body>),
    /// It names a revision that has not been reached here, or its message is to be read out by and by.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
    Not(Request<Unread>),
}

/// A body that is tonic's to read.
pub(super) enum Unread {
    /// As it comes.
    Coming(Box<Again>),
    /// It has come already.
    Come(Message),
}

impl Unread {
    /// The body, its messages held to their limits.
    pub(super) fn into_body(self, connection: &Arc<Connection>, method: Method) -> Body {
        match self {
            Self::Coming(body) => Body::new(Arriving::new(body, connection, method)),
            Self::Come(message) => message.into_body(),
        }
    }
}

/// What goes before tonic's services.
#[derive(Clone)]
pub struct AtOnce {
    context: Arc<Context>,
}

impl AtOnce {
    pub(super) fn of(context: Context) -> Self {
        Self { context: Arc::new(context) }
    }

    /// The answer; every other request is given back: it is tonic's. What is to be waited for after all is on the heap:
    /// each call that is in flight has the room for what is here.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
        admitted: &Admitted,
        connection: &Arc<Connection>,
        method: Method,
    ) -> Answered {
        let path = request.uri().path();
        let validates = path == VALIDATE;
        let encoding = request.headers().get(&GRPC_ENCODING);
        if path == BATCH_VALIDATE && encoding.is_none_or(|encoding| encoding == "identity") {
            return self.batch(request, admitted, connection, method);
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
            self.validate(admitted, &parts.headers, &message)
        } else {
            match pb::IssueRequest::decode(message.bytes()) {
                // A row is to be written.
                Ok(request) if request.refreshable => {
                    return Answered::Not(Request::from_parts(parts, Unread::Come(message)));
                }
                Ok(request) => self.issue(admitted, &parts.headers, request),
                Err(_) => Err(unreadable()),
            }
        };
        answer.unwrap_or_else(|status| Answered::Now(status.into_http()))
    }

    fn batch(
        &self,
        request: Request<Incoming>,
        admitted: &Admitted,
        connection: &Arc<Connection>,
        method: Method,
    ) -> Answered {
        let batch = Batch {
            context: Arc::clone(&self.context),
            connection: Arc::clone(connection),
            who: Who {
                credential: Arc::clone(&admitted.known.credential),
                trace_id: trace_id_of(request.headers()),
            },
            overloaded: admitted.overloaded,
        };
        let arriving = Arriving::new(Box::new(Again::of(request.into_body())), connection, method);
        Answered::Later(Box::pin(batch.answer(arriving)))
    }

    fn validate(
        &self,
        admitted: &Admitted,
        headers: &HeaderMap,
        message: &Message,
    ) -> Result<Answered, Status> {
        let request = pb::ValidateRequest::decode(message.bytes()).map_err(|_| unreadable())?;
        let request = validate_request(request)?;
        let caller = self.caller(admitted, headers)?;
        if admitted.crowded {
            self.context.authority.must_have_verified(request.token())?;
        }
        if let Some(judged) =
            self.context.authority.validate_at_once(&admitted.snapshot, &caller, &request)?
        {
            return Ok(Answered::Now(verdict(&judged)));
        }
        let (context, snapshot) = (Arc::clone(&self.context), admitted.snapshot.clone());
        Ok(Answered::Later(Box::pin(async move {
            let judged = context.authority.validate(snapshot, &caller, &request).await;
            judged.map_or_else(|error| Status::from(error).into_http(), |judged| verdict(&judged))
        })))
    }

    fn issue(
        &self,
        admitted: &Admitted,
        headers: &HeaderMap,
        request: pb::IssueRequest,
    ) -> Result<Answered, Status> {
        let request = issue_request(request)?;
        let caller = self.caller(admitted, headers)?;
        if admitted.crowded {
            return Err(Error::Overloaded.into());
        }
        match self.context.authority.issue_at_once(&admitted.snapshot, &caller, request)? {
            IssuedAtOnce::Whole(token) => Ok(Answered::Now(token_of(token))),
            IssuedAtOnce::ToAudit(unaudited) => {
                let (context, snapshot) = (Arc::clone(&self.context), admitted.snapshot.clone());
                Ok(Answered::Later(Box::pin(async move {
                    let token = context.authority.audit_issue(&snapshot, *unaudited).await;
                    token.map_or_else(|error| Status::from(error).into_http(), token_of)
                })))
            }
        }
    }

    fn caller(&self, admitted: &Admitted, headers: &HeaderMap) -> Result<Caller, Error> {
        check_clock(&admitted.snapshot)?;
        self.context.authority.called(admitted.known.clone(), trace_id_of(headers))
    }
}

fn token_of(token: Issued) -> Response<Body> {
    let response = pb::IssueResponse { token: Some(issued(token)) };
    unary::answer(response.encoded_len(), |out| {
        // A vector has room for all.
        let _infallible = response.encode(out);
    })
}

fn verdict(judged: &Judged) -> Response<Body> {
    let told = Told::of(judged);
    unary::answer(told.len(), |out| told.put(VERDICTS, out))
}
