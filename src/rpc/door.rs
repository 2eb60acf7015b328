//! The layer around every service of a listener: measures each call, and lets nobody in whose
//! credential is not good, before the body is looked at.

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
    status::{Called, deadline_passed},
    unary::Again,
};
use crate::{
    authority::{AuthenticatedClient, Authority, Error, PresentedCredential},
    clock::Clock,
    listen::{Call, Came, Connection, Turn as First},
    state::Snapshot,
    token::text,
};

/// Services that need no credential: public facts, and probes.
const OPEN: [&str; 4] = [
    "/jeton.v1.DiscoveryService/",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.",
    "/grpc.reflection.v1alpha.",
];
// Made once: a name in text is read letter by letter at each look.
pub(super) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Digits of a timeout.
const TIMEOUT_DIGITS_MAX: usize = 8;
/// Until a call's answer begins, whatever deadline its caller has or has not: a message that does not
/// arrive holds a stream no longer. Longer than anybody waits for a revocation.
const CALL_MAX: Duration = Duration::from_mins(2);
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// With the refusal of a compressed message (gRPC's compression specification).
static GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The door in front of the services of a listener.
#[derive(Clone)]
pub struct Door {
    authority: Arc<Authority>,
    listener: Listener,
    fast_path: Option<FastPath>,
    routes: Routes,
}

/// An admitted call: the client that was authenticated, in the snapshot that was used.
pub(super) struct Admission {
    pub(super) snapshot: Snapshot,
    pub(super) client: AuthenticatedClient,
    /// Whether what costs much had better be refused.
    pub(super) crowded: bool,
    /// Whether what costs very much had better be, whoever asks.
    pub(super) overloaded: bool,
}

/// Marks a request that, if it costs much, had better be refused: once its message has been read, since a peer whose
/// messages are not read is one whose streams are reset.
#[derive(Clone, Copy)]
pub(super) struct Crowded;

impl Crowded {
    /// Whether a request with these extensions is marked.
    pub(super) fn is_in(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}

/// When a request came whole: boot clock, microseconds.
#[derive(Clone, Copy)]
pub(super) struct Arrived(i64);

impl Arrived {
    /// Of a request with these extensions; of one whose message came later than its call, when that is read.
    pub(super) fn of(extensions: &Extensions, clock: &Clock) -> i64 {
        let now_us = || extensions.get::<Arc<Connection>>().map(|connection| connection.came_us());
        let came_us = extensions.get::<Self>().map(|arrived| arrived.0).or_else(now_us);
        came_us.unwrap_or_else(|| clock.boot_us())
    }
}

impl Door {
    /// In front of these services.
    #[must_use]
    pub fn new(authority: Arc<Authority>, services: Services) -> Self {
        let Services { listener, routes, fast_path } = services;
        // Made now rather than at the first call of each connection.
        Self { authority, listener, fast_path, routes: routes.prepare() }
    }

    /// Answers one call. Its time counts from when it arrived, its wait for its first turn included.
    pub(super) async fn call(mut self, request: Request<Incoming>, call: Call) -> Response<Body> {
        let authority = Arc::clone(&self.authority);
        let path = request.uri().path();
        let calls = authority.metrics.calls(path.trim_start_matches('/'));
        let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| path.to_owned());
        let wait = deadline(request.headers()).unwrap_or(CALL_MAX).min(CALL_MAX);
        let came = call.came();
        let arrived = came.read();
        let response = match self.begin(request, call.turn(), came, wait) {
            Turn::Over(response) => response,
            Turn::Later(response) => tokio::select! {
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

    /// The first turn of a call that may wait for so long.
    fn begin(&mut self, request: Request<Incoming>, first: First, came: Came, wait: Duration) -> Turn {
        if first.waited >= wait {
            // Nobody hears the answer any more.
            return Turn::Over(deadline_passed().into_http());
        }
        let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
            return Turn::refused(Error::Unauthenticated);
        };
        if connection.has_room().is_err() {
            return Turn::refused(Error::Overloaded);
        }
        let path = request.uri().path();
        let method = Method::of(path, self.listener);
        if OPEN.iter().any(|open| path.starts_with(open)) {
            let Ok(counted) = connection.stranger() else { return Turn::refused(Error::Overloaded) };
            let Ok(stays) = method.watches.then(|| connection.stays_open()).transpose() else {
                return Turn::refused(Error::Overloaded);
            };
            let mut request = request;
            // Nobody reads it here, and a call may last.
            request.headers_mut().remove(AUTHORIZATION);
            let body = |body| Unread::Coming(Box::new(Again::of(body))).into_body(&connection, method);
            let response = self.route(request.map(body));
            return Turn::Later(Box::pin(async move {
                response.await.map(|body| Body::new(OpenAnswer::new(body, (counted, stays))))
            }));
        }
        // The lease check comes first: the caller, too, must be judged by a fresh state.
        if let Some(snapshot) = self.authority.try_snapshot() {
            return self.after_lease_check(request, snapshot, first, &connection, method, came);
        }
        // Until the caller is known, the call counts as one of an unauthenticated peer.
        let Ok(counted) = connection.stranger() else { return Turn::refused(Error::Overloaded) };
        let mut door = self.clone();
        Turn::Later(Box::pin(async move {
            let _counted = counted;
            let snapshot = match door.authority.snapshot().await {
                Ok(snapshot) => snapshot,
                Err(error) => return Status::from(error).into_http(),
            };
            match door.after_lease_check(request, snapshot, first, &connection, method, came) {
                Turn::Over(response) => response,
                Turn::Later(response) => response.await,
            }
        }))
    }

    /// Lets in whoever shows a good credential and may call the method at all: before anything of the message is read.
    fn after_lease_check(
        &mut self,
        request: Request<Incoming>,
        snapshot: Snapshot,
        first: First,
        connection: &Arc<Connection>,
        method: Method,
        came: Came,
    ) -> Turn {
        let client =
            match self.authority.authenticate(&snapshot, presented(request.headers()), connection.peer()) {
                Ok(client) => client,
                Err(error) => return Turn::refused(error),
            };
        connection.authenticated(client.client_id());
        if let Some(Err(denied)) = method.permission.map(|permission| client.must(permission)) {
            return Turn::refused(denied.into());
        }
        let First { overloaded, crowded, .. } = first;
        let admission = Admission { snapshot, client, crowded, overloaded };
        let request = match &self.fast_path {
            Some(fast_path) => match fast_path.answer(request, &admission, connection, method) {
                Answered::Now(response) => return Turn::Over(response),
                Answered::Later(response) => return Turn::Later(response),
                Answered::Not(request) => request,
            },
            None => request.map(|body| Unread::Coming(Box::new(Again::of(body)))),
        };
        let came_whole = matches!(request.body(), Unread::Come(_));
        let mut request = request.map(|body| body.into_body(connection, method));
        request.extensions_mut().insert(admission.client.credential);
        // A call may be begun long before what it says is sent.
        if came_whole {
            request.extensions_mut().insert(Arrived(came.us()));
        }
        if crowded {
            request.extensions_mut().insert(Crowded);
        }
        Turn::Later(self.route(request))
    }

    fn route(&mut self, request: Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let called = Called::of(request.uri(), request.headers(), self.listener);
        // They are always ready.
        let response = self.routes.call(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => readable(response, &called),
                Err(never) => match never {},
            }
        })
    }
}

/// What a call's first turn leaves. Small: each call in flight has the room for it.
enum Turn {
    Over(Response<Body>),
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Turn {
    fn refused(error: Error) -> Self {
        Self::Over(Status::from(error).into_http())
    }
}

/// How long the caller waits (gRPC over HTTP/2, `grpc-timeout`). Ours ends before tonic's own, which says
/// CANCELLED. What cannot be read is left to tonic.
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

/// What a call shows to say who it is: one bearer credential (RFC 6750 section 2.1) goes before the
/// certificate of its connection. Two are none.
fn presented(headers: &HeaderMap) -> PresentedCredential<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return PresentedCredential::Certificate };
    let one = value.to_str().ok().filter(|_| values.next().is_none());
    let key = one.and_then(|value| text::credentials(value, "bearer"));
    PresentedCredential::ApiKey(key.unwrap_or_default())
}

/// Turns a refusal of tonic's making into the catalogue's words. One with details is ours already.
fn readable(response: Response<Body>, called: &Called) -> Response<Body> {
    let headers = response.headers();
    let code = code(headers);
    if headers.contains_key(&GRPC_DETAILS) {
        return response;
    }
    if code == Code::Ok {
        return if called.reflects() { refusing(response) } else { response };
    }
    // Percent-encoded: its words are not repeated, but for numbers in it.
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

    /// Bytes of what a function of so many arguments gives.
    fn size_of_answer<A, B, C, R>(_: impl FnOnce(A, B, C) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn a_call_in_flight_takes_little_room() {
        let size = size_of_answer(Door::call);
        assert!(size <= 1_024, "{size} bytes, which are moved for each call");
    }
}
