//! The HTTP doors: for software that speaks OAuth and knows nothing of jeton, and for probes. The only
//! code that knows axum. Each door parses, calls and converts; it decides nothing.

mod answer;
mod caller;
mod form;
mod introspect;
mod jwks;
mod metadata;
mod ops;
mod revoke;

use std::sync::Arc;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use tokio::{runtime::Handle, time::Instant};

use crate::authority::Authority;
use answer::Refusal;

pub use ops::{OpsState, keep_up, ops};

/// The key set (RFC 7517).
const JWKS: &str = "/.well-known/jwks.json";
/// What this issuer does (RFC 8414 section 3).
const METADATA: &str = "/.well-known/oauth-authorization-server";
/// The same, of an issuer whose URL has a path (RFC 8414 section 3.1).
const METADATA_OF_PATH: &str = "/.well-known/oauth-authorization-server/{*path}";
/// RFC 7662.
const INTROSPECT: &str = "/oauth2/introspect";
/// RFC 7009.
const REVOKE: &str = "/oauth2/revoke";

/// Every door that is measured by name.
pub const ROUTES: [&str; 5] = [JWKS, METADATA, METADATA_OF_PATH, INTROSPECT, REVOKE];

/// What the doors have at hand.
#[derive(Clone)]
pub struct DoorsState {
    /// The authority.
    pub authority: Arc<Authority>,
    /// Where work that waits for the database goes on, even when the caller has gone away.
    pub background: Handle,
    /// Whether callers can show certificates.
    pub certificates: bool,
}

/// The doors of the public listener.
pub fn doors(state: DoorsState) -> Router {
    Router::new()
        .route(JWKS, get(jwks::jwks))
        .route(METADATA, get(metadata::metadata))
        .route(METADATA_OF_PATH, get(metadata::metadata_of_path))
        .route(INTROSPECT, post(introspect::introspect))
        .route(REVOKE, post(revoke::revoke))
        // Inside of it the route is known.
        .route_layer(from_fn_with_state(state.clone(), measure))
        .method_not_allowed_fallback(async || {
            Refusal::of(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "This method is not served here.")
        })
        .fallback(nothing)
        .with_state(state)
}

/// A listener without doors.
pub fn none() -> Router {
    Router::new().fallback(nothing)
}

async fn nothing() -> Refusal {
    Refusal::of(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
}

/// Counts each request by its door. Of what was sent, the door's name alone is told.
async fn measure(
    State(state): State<DoorsState>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    let seconds = started.elapsed().as_secs_f64();
    state.authority.metrics.door(route.as_str(), response.status().as_u16(), seconds);
    tracing::debug!(
        http.route = route.as_str(),
        http.response.status_code = response.status().as_u16(),
        http.duration_s = seconds,
        "request"
    );
    response
}
