//! The ops listener, for probes and Prometheus: `/livez`, `/readyz`, `/metrics`. Plaintext and without a caller: its
//! answers are no secret.

use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{
        Request, StatusCode,
        header::{CONNECTION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::{
    authority::Authority,
    listen::{Call, HOST_RULE, Handler, Incoming, names_one_host},
    observe,
};

/// The state of the ops listener.
#[derive(Clone)]
pub struct OpsState {
    /// The authority.
    pub authority: Arc<Authority>,
    /// Cancelled as soon as this process is to end: it is not ready from then on.
    pub draining: CancellationToken,
}

/// The endpoints of the ops listener.
pub fn ops(state: OpsState) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

/// The ops listener of a server that has not started: the process lives, and is not ready.
#[derive(Clone)]
pub struct StartingOps(Router);

impl StartingOps {
    /// Says what the start waits for, once that is known.
    #[must_use]
    pub fn new(waits_for: Arc<OnceLock<&'static str>>) -> Self {
        let readyz = async |State(waits_for): State<Arc<OnceLock<&'static str>>>| {
            let epoch = waits_for.get().map(|it| format!("[-]epoch failed: {it}\n")).unwrap_or_default();
            (StatusCode::SERVICE_UNAVAILABLE, format!("[-]started failed\n{epoch}"))
        };
        Self(Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(waits_for))
    }
}

impl Handler for StartingOps {
    type Body = Body;

    async fn handle(mut self, request: Request<Incoming>, call: Call) -> Response {
        let _turn = call.turn();
        if !names_one_host(&request) {
            return (StatusCode::BAD_REQUEST, [(CONNECTION, "close")], HOST_RULE).into_response();
        }
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The process answers, which is all this says. A database that is away is no reason to restart the process.
async fn livez() -> &'static str {
    "ok\n"
}

/// One line per check, in the format of Kubernetes' own components.
async fn readyz(State(state): State<OpsState>) -> Response {
    let readiness = state.authority.readiness();
    let checks = [
        ("lease", readiness.lease),
        ("append", readiness.append),
        ("key", readiness.key),
        ("clock", readiness.clock),
        ("epoch", readiness.epoch),
        ("draining", !state.draining.is_cancelled()),
    ];
    let mut body = String::new();
    for (name, good) in checks {
        // Writing to a string cannot fail.
        let _infallible =
            writeln!(body, "[{}]{name} {}", if good { '+' } else { '-' }, if good { "ok" } else { "failed" });
    }
    let ready = checks.iter().all(|(_, good)| *good);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

async fn metrics(State(state): State<OpsState>) -> Response {
    let authority = &state.authority;
    let (open, idle) = authority.store.connections();
    authority.metrics.pool(open, idle);
    // The age now, not at the last renewal: this gauge must show a renewal that hangs.
    authority.metrics.lease_age(authority.lease_age_s());
    authority.count_held();
    ([(CONTENT_TYPE, observe::CONTENT_TYPE)], authority.metrics.scrape()).into_response()
}
