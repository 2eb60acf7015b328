//! The auth layer around the services of a listener: measures each call, and refuses a call without a good credential
//! before its body is read.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use tokio::time::sleep_until;
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service as _;

use super::{
    Listener, Services,
    fast_path::{Answered, FastPath, Unread},
    methods::Method,
    open_call::OpenAnswer,
    reflection::refusing,
    status::{Called, deadline_passed, form_not_served},
    unary::Again,
};
use crate::{
    authority::{AuthenticatedClient, Authority, Error, PresentedCredential},
    clock::Clock,
    listen::{Call, Came, Connection, Turn},
    state::Snapshot,
    token::text,
};

/// Services that need no credential: public facts and probes.
const OPEN: [&str; 4] = [
    "/jeton.v1.DiscoveryService/",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.",
    "/grpc.reflection.v1alpha.",
];
// Parsed once: a name given as text would be parsed at each look-up.
pub(super) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
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

/// An admitted call: the client that was authenticated, in the snapshot that was used.
pub(super) struct Admission {
    pub(super) snapshot: Snapshot,
    pub(super) client: AuthenticatedClient,
    /// The thread is overloaded, and this client has many calls in flight: calls that need a signature are refused.
    pub(super) shed_costly: bool,
    /// The thread is overloaded: batches with very many signatures are refused, for every client.
    pub(super) overloaded: bool,
}

/// Marks a request that is refused if it needs a signature. It is refused only after its message was read: a peer whose
/// messages are not read has its streams reset.
#[derive(Clone, Copy)]
pub(super) struct ShedCostly;

impl ShedCostly {
    /// Returns whether a request with these extensions is marked.
    pub(super) fn is_in(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}

/// The time when the whole request had arrived, by the boot clock, in microseconds.
#[derive(Clone, Copy)]
pub(super) struct Arrived(i64);

impl Arrived {
    /// The arrival of the request with these extensions; if its message came after its headers, the time of this call.
    pub(super) fn of(extensions: &Extensions, clock: &Clock) -> i64 {
        let now_us = || extensions.get::<Arc<Connection>>().map(|connection| connection.came_us());
        let came_us = extensions.get::<Self>().map(|arrived| arrived.0).or_else(now_us);
        came_us.unwrap_or_else(|| clock.boot_us())
    }
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
        let came = call.came();
        let arrived = came.read();
        let response = match self.begin(request, call.turn(), came, wait) {
            Step::Done(response) => response,
            Step::Pending(response) => tokio::select! {
                biased;
                response = response => response,
                () = sleep_until(arrived.checked_add(wait).unwrap_or(arrived)) => {
                    deadline_passed().into_http()
                }
            },
        };
        let code = code(response.headers());
        let seconds = arrived.elapsed().as_secs_f64();
        if let Some(calls) = calls {
            calls.ended(usize::try_from(i32::from(code)).unwrap_or(2), seconds);
        }
        tracing::debug!(rpc.method = logged, rpc.code = ?code, rpc.duration_s = seconds, "call");
        response
    }

    /// Refuses a call whose messages are not in protobuf.
    pub(super) fn refuse_form<B>(&self, request: &Request<B>) -> Response<Body> {
        form_not_served(request.uri().path(), self.listener).into_http()
    }

    /// Runs the first turn of a call that may wait for `wait`.
    fn begin(&mut self, request: Request<Incoming>, first: Turn, came: Came, wait: Duration) -> Step {
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
        let path = request.uri().path();
        let method = Method::of(path, self.listener);
        if OPEN.iter().any(|open| path.starts_with(open)) {
            let Ok(counted) = connection.stranger() else { return Step::refused(Error::Overloaded) };
            let Ok(stays) = method.watches.then(|| connection.stays_open()).transpose() else {
                return Step::refused(Error::Overloaded);
            };
            let mut request = request;
            // Not read here, and the call may last: no credential is kept so long.
            request.headers_mut().remove(AUTHORIZATION);
            let body = |body| Unread::Coming(Box::new(Again::of(body))).into_body(&connection, method);
            let response = self.route(request.map(body));
            return Step::Pending(Box::pin(async move {
                response.await.map(|body| Body::new(OpenAnswer::new(body, (counted, stays))))
            }));
        }
        // The lease check comes first: the caller, too, must be judged by a fresh state.
        if let Some(snapshot) = self.authority.try_snapshot() {
            return self.after_lease_check(request, snapshot, first, &connection, method, came);
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
            match auth.after_lease_check(request, snapshot, first, &connection, method, came) {
                Step::Done(response) => response,
                Step::Pending(response) => response.await,
            }
        }))
    }

    /// Admits a caller that has a good credential and may call the method, before any of the message is read.
    fn after_lease_check(
        &mut self,
        request: Request<Incoming>,
        snapshot: Snapshot,
        first: Turn,
        connection: &Arc<Connection>,
        method: Method,
        came: Came,
    ) -> Step {
        let client =
            match self.authority.authenticate(&snapshot, presented(request.headers()), connection.peer()) {
                Ok(client) => client,
                Err(error) => return Step::refused(error),
            };
        connection.authenticated(client.client_id());
        if let Some(Err(denied)) = method.permission.map(|permission| client.must(permission)) {
            return Step::refused(denied.into());
        }
        let Turn { overloaded, shed_costly, .. } = first;
        let admission = Admission { snapshot, client, shed_costly, overloaded };
        let request = match &self.fast_path {
            Some(fast_path) => match fast_path.answer(request, &admission, connection, method) {
                Answered::Now(response) => return Step::Done(response),
                Answered::Pending(response) => return Step::Pending(response),
                Answered::Not(request) => request,
            },
            None => request.map(|body| Unread::Coming(Box::new(Again::of(body)))),
        };
        let came_whole = matches!(request.body(), Unread::Come(_));
        let mut request = request.map(|body| body.into_body(connection, method));
        request.extensions_mut().insert(admission.client.credential);
        // A call may begin long before its message is sent.
        if came_whole {
            request.extensions_mut().insert(Arrived(came.us()));
        }
        if shed_costly {
            request.extensions_mut().insert(ShedCostly);
        }
        Step::Pending(self.route(request))
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

/// The credential of a call: one bearer credential (RFC 6750 section 2.1) goes before the certificate of the connection.
/// More than one header counts as none.
fn presented(headers: &HeaderMap) -> PresentedCredential<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return PresentedCredential::Certificate };
    let one = value.to_str().ok().filter(|_| values.next().is_none());
    let key = one.and_then(|value| text::credentials(value, "bearer"));
    PresentedCredential::ApiKey(key.unwrap_or_default())
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
