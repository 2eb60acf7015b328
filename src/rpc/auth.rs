//! The auth layer around the services of a listener: measures each call, and refuses a call without a good credential
//! before its body is read.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use tokio::time::sleep_until;
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service as _;

use crate::{
    authority::{Authority, Error},
    edge::{Authorization, Head, Listener, Method, admit},
    listen::{Arrival, Call, Connection, Turn},
    rpc::{
        Services,
        fast_path::{Answered, CallBody, FastPath},
        reflection::refusing,
        status::{Called, deadline_passed, form_not_served},
        wire::{
            open_call::OpenAnswer,
            unary::{GRPC_STATUS, PeekedBody},
        },
    },
    state::Snapshot,
};

// Parsed once: a name given as text would be parsed at each look-up.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The most digits of a timeout.
const TIMEOUT_DIGITS_MAX: usize = 8;
/// The longest time until the answer of a call begins, whatever its caller's deadline: so a message that does not
/// arrive frees its stream. Longer than any wait for a revocation.
const CALL_MAX: Duration = Duration::from_mins(2);
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// Sent with the refusal of a compressed message (gRPC's compression specification).
static GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The layer in front of the services of a listener.
#[derive(Clone)]
pub struct AuthLayer {
    authority: Arc<Authority>,
    listener: Listener,
    fast_path: Option<FastPath>,
    routes: Routes,
}

impl AuthLayer {
    /// Builds the layer in front of these services.
    #[must_use]
    pub fn new(authority: Arc<Authority>, services: Services) -> Self {
        let Services { listener, routes, fast_path } = services;
        // Prepared once, not at the first call of each connection.
        Self { authority, listener, fast_path, routes: routes.prepare() }
    }

    /// Answers one call. Its time counts from its arrival, so it includes the wait for the first turn.
    pub(super) async fn call(mut self, request: Request<Incoming>, call: Call) -> Response<Body> {
        let authority = Arc::clone(&self.authority);
        let path = request.uri().path();
        let calls = authority.metrics.calls(path.trim_start_matches('/'));
        let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| path.to_owned());
        let wait = deadline(request.headers()).unwrap_or(CALL_MAX).min(CALL_MAX);
        let arrival = call.arrival();
        let begun = arrival.read();
        let response = match self.begin(request, call.turn(), arrival, wait) {
            Step::Done(response) => response,
            Step::Pending(response) => tokio::select! {
                biased;
                response = response => response,
                () = sleep_until(begun.checked_add(wait).unwrap_or(begun)) => {
                    deadline_passed().into_http()
                }
            },
        };
        let code = code(response.headers());
        let duration = begun.elapsed();
        if let Some(calls) = calls {
            calls.ended(usize::try_from(i32::from(code)).unwrap_or(2), duration);
        }
        tracing::debug!(rpc.method = logged, rpc.code = ?code, rpc.duration_s = duration.as_secs_f64(), "call");
        response
    }

    /// Refuses a call whose messages are not in protobuf.
    pub(super) fn refuse_form<B>(&self, request: &Request<B>) -> Response<Body> {
        form_not_served(request.uri().path(), self.listener).into_http()
    }

    /// Runs the first turn of a call that may wait for `wait`.
    fn begin(&mut self, request: Request<Incoming>, first: Turn, arrival: Arrival, wait: Duration) -> Step {
        if first.waited >= wait {
            // The caller has stopped waiting.
            return Step::Done(deadline_passed().into_http());
        }
        let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
            return Step::refused(Error::Unauthenticated);
        };
        if connection.has_room().is_err() {
            return Step::refused(Error::Overloaded);
        }
        let method = Method::of(request.uri().path(), self.listener);
        if method.open {
            let Ok(counted) = connection.stranger() else { return Step::refused(Error::Overloaded) };
            let Ok(stays) = method.watches.then(|| connection.stays_open()).transpose() else {
                return Step::refused(Error::Overloaded);
            };
            let mut request = request;
            // Not read here, and the call may last: no credential is kept so long.
            request.headers_mut().remove(AUTHORIZATION);
            let body =
                |body| CallBody::Incomplete(Box::new(PeekedBody::of(body))).into_body(&connection, method);
            let response = self.route(request.map(body));
            return Step::Pending(Box::pin(async move {
                response.await.map(|body| Body::new(OpenAnswer::new(body, (counted, stays))))
            }));
        }
        // The lease check comes first: the caller, too, must be judged by a fresh state.
        if let Some(snapshot) = self.authority.try_snapshot() {
            return self.after_lease_check(request, snapshot, first, &connection, method, arrival);
        }
        // Until the caller is known, the call counts as one of an unauthenticated peer.
        let Ok(counted) = connection.stranger() else { return Step::refused(Error::Overloaded) };
        let mut auth = self.clone();
        Step::Pending(Box::pin(async move {
            let _counted = counted;
            let snapshot = match auth.authority.snapshot().await {
                Ok(snapshot) => snapshot,
                Err(error) => return Status::from(error).into_http(),
            };
            match auth.after_lease_check(request, snapshot, first, &connection, method, arrival) {
                Step::Done(response) => response,
                Step::Pending(response) => response.await,
            }
        }))
    }

    /// Admits the call before any of its message is read, and answers it by the fast path or by tonic.
    fn after_lease_check(
        &mut self,
        request: Request<Incoming>,
        snapshot: Snapshot,
        first: Turn,
        connection: &Arc<Connection>,
        method: Method,
        arrival: Arrival,
    ) -> Step {
        let headers = request.headers();
        let presented = Authorization::in_headers(headers).presented();
        let head = Head { headers, presented, connection, turn: first };
        let admission = match admit(&self.authority, snapshot, &head, method) {
            Ok(admission) => admission,
            Err(error) => return Step::refused(error),
        };
        let (mut parts, body) = request.into_parts();
        let body = CallBody::of(body, method);
        // A call may begin long before its message is sent.
        let complete = matches!(body, CallBody::Complete(_));
        let (admission, body) = match &self.fast_path {
            Some(fast_path) => match fast_path.answer(&parts.headers, body, admission, connection, method) {
                Answered::Now(response) => return Step::Done(response),
                Answered::Pending(response) => return Step::Pending(response),
                Answered::Not(admission, body) => (admission, body),
            },
            None => (admission, body),
        };
        let origin = admission.into_origin(method, connection, complete.then(|| arrival.us()));
        parts.extensions.insert(origin);
        Step::Pending(self.route(Request::from_parts(parts, body.into_body(connection, method))))
    }

    fn route(&mut self, request: Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let called = Called::of(request.uri(), request.headers(), self.listener);
        // The services are always ready.
        let response = self.routes.call(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => readable(response, &called),
                Err(never) => match never {},
            }
        })
    }
}

/// The result of a call's first turn. Small, because each call in flight keeps room for it.
enum Step {
    Done(Response<Body>),
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Step {
    fn refused(error: Error) -> Self {
        Self::Done(Status::from(error).into_http())
    }
}

/// The time that the caller waits (gRPC over HTTP/2, `grpc-timeout`). Our timeout ends before tonic's own, which answers
/// CANCELLED. An unreadable header is left to tonic.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(amount)),
        "M" => Some(Duration::from_mins(amount)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Turns a refusal made by tonic into one of the catalogue. A refusal with details is ours already.
fn readable(response: Response<Body>, called: &Called) -> Response<Body> {
    let headers = response.headers();
    let code = code(headers);
    if headers.contains_key(&GRPC_DETAILS) {
        return response;
    }
    if code == Code::Ok {
        return if called.reflects() { refusing(response) } else { response };
    }
    // Percent-encoded. Of its words only numbers are used.
    let message =
        headers.get(&GRPC_MESSAGE).map(|value| String::from_utf8_lossy(value.as_bytes()).replace("%20", " "));
    let Some(status) = called.refused(code, message.as_deref().unwrap_or_default()) else { return response };
    let accepted = headers.get(&GRPC_ACCEPT_ENCODING).cloned();
    let mut response = status.into_http();
    if let Some(accepted) = accepted {
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING.clone(), accepted);
    }
    response
}

/// The code of a response that ends with its headers; OK for all others.
fn code(headers: &HeaderMap) -> Code {
    headers.get(&GRPC_STATUS).map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function of three arguments returns, in bytes.
    fn size_of_answer<A, B, C, R>(_: impl FnOnce(A, B, C) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn a_call_in_flight_takes_little_room() {
        let size = size_of_answer(AuthLayer::call);
        assert!(size <= 1_024, "{size} bytes, which are moved for each call");
    }
}
