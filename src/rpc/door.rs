//! The layer around every service of a listener: measures each call, and lets nobody in whose
//! credential is not good, before the body is looked at.

use std::{sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service as _;

use super::{Services, judging::Validating, status::of_transport};
use crate::{
    authority::{Authority, Error, Known, Shown},
    state::Pass,
    tls::Peer,
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
/// The catalogue has no reason for it: most clients say it by themselves.
const DEADLINE_PASSED: &str = "The caller's deadline passed before the answer. What was asked may have been \
                               done: to repeat a revocation is safe.";
static GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The door in front of the services of a listener.
#[derive(Clone)]
pub struct Door {
    authority: Arc<Authority>,
    validating: Option<Validating>,
    routes: Routes,
}

/// Who was let in, at which gate.
pub(super) struct Admitted {
    pub(super) pass: Pass,
    pub(super) known: Known,
}

impl Door {
    /// In front of these services.
    #[must_use]
    pub fn new(authority: Arc<Authority>, services: Services) -> Self {
        let Services { routes, validating } = services;
        // Made now rather than at the first call of each connection.
        Self { authority, validating, routes: routes.prepare() }
    }

    /// Answers one call.
    pub(super) async fn call(mut self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let authority = Arc::clone(&self.authority);
        let path = request.uri().path();
        let calls = authority.metrics.calls(path.trim_start_matches('/'));
        let open = OPEN.iter().any(|open| path.starts_with(open));
        let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| path.to_owned());
        let wait = deadline(request.headers()).unwrap_or(CALL_MAX).min(CALL_MAX);
        let answer = async {
            match admit(&authority, open, request.headers(), request.extensions()).await {
                Ok(admitted) => self.answer(request, admitted).await,
                Err(error) => Status::from(error).into_http(),
            }
        };
        let response = tokio::select! {
            biased;
            response = answer => response,
            () = sleep_until(started.checked_add(wait).unwrap_or(started)) => {
                Status::deadline_exceeded(DEADLINE_PASSED).into_http()
            }
        };
        let code = code(response.headers());
        let seconds = started.elapsed().as_secs_f64();
        if let Some(calls) = calls {
            calls.ended(usize::try_from(i32::from(code)).unwrap_or(2), seconds);
        }
        tracing::debug!(rpc.method = logged, rpc.code = ?code, rpc.duration_s = seconds, "call");
        response
    }
}

impl Door {
    async fn answer(&mut self, request: Request<Incoming>, admitted: Option<Admitted>) -> Response<Body> {
        let mut request = match (&self.validating, &admitted) {
            (Some(validating), Some(admitted)) => match validating.answer(request, admitted).await {
                Ok(response) => return response,
                Err(request) => request,
            },
            _ => request.map(Body::new),
        };
        if let Some(Admitted { known, .. }) = admitted {
            request.extensions_mut().insert(known.credential);
        }
        // They are always ready.
        match self.routes.call(request).await {
            Ok(response) => readable(response),
            Err(never) => match never {},
        }
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

/// Who calls, where the call may pass; none where none is needed. The gate comes first: who the
/// caller is must be judged by a fresh state, too.
async fn admit(
    authority: &Authority,
    open: bool,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Option<Admitted>, Error> {
    if open {
        return Ok(None);
    }
    let pass = authority.enter().await?;
    let peer = extensions.get::<Arc<Peer>>().ok_or(Error::Unauthenticated)?;
    let known = authority.authenticate(&pass, shown(headers), peer)?;
    Ok(Some(Admitted { pass, known }))
}

/// What a call shows to say who it is: one bearer credential (RFC 6750 section 2.1) goes before the
/// certificate of its connection. Two are none.
fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Shown::Certificate };
    let key = value.to_str().ok().filter(|_| values.next().is_none()).and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    Shown::ApiKey(key.unwrap_or_default())
}

/// Turns what tonic says of a message that it could not read into the catalogue's words.
fn readable(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let code = code(headers);
    if code == Code::Ok {
        return response;
    }
    match of_transport(code, headers.contains_key(&GRPC_DETAILS)) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// The code of a response that ends with its headers; OK for all others.
fn code(headers: &HeaderMap) -> Code {
    headers.get(&GRPC_STATUS).map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}
