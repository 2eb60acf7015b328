//! The ops listener, for probes and Prometheus: `/livez`, `/readyz`, `/metrics`. Plaintext and
//! without a caller: what it tells is no secret.

use std::{fmt::Write, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    authority::Authority,
    observe::{self, Exporter},
};

/// Samples of histograms are gathered in between, so that they do not pile up without a scrape.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the ops listener looks at.
#[derive(Clone)]
pub struct OpsState {
    /// The authority.
    pub authority: Arc<Authority>,
    /// Where metrics are read.
    pub exporter: Exporter,
    /// Cancelled as soon as this process is to end: it is not ready from then on.
    pub draining: CancellationToken,
}

/// What the ops listener serves.
pub fn ops(state: OpsState) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

/// Gathers samples until told to stop.
pub async fn keep_up(exporter: Exporter, stop: CancellationToken) {
    loop {
        exporter.run_upkeep();
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(UPKEEP) => {}
        }
    }
}

/// The process answers; nothing more. A database that is away is no reason to restart it.
async fn livez() -> &'static str {
    "ok\n"
}

/// One line per check, as Kubernetes' own components answer it.
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
    // Now, not at the last renewal: one that hangs is what this gauge is watched for.
    authority.metrics.lease_age(authority.lease_age_s());
    authority.count_held();
    let text = state.exporter.render() + &authority.metrics.audit_heads();
    ([(CONTENT_TYPE, observe::CONTENT_TYPE)], text).into_response()
}
