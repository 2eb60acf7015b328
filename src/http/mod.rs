//! HTTP endpoints for software that speaks OAuth and knows nothing of jeton, and for probes. The only code that uses
//! axum. Each endpoint parses, calls the authority and converts; it decides nothing.

mod answer;
mod caller;
mod form;
mod introspect;
mod jwks;
mod metadata;
mod ops;
mod revoke;
mod token;

use std::sync::Arc;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, Uri},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use tokio::time::Instant;
use tower::Service as _;

use crate::{
    authority::{Authority, Background},
    http::answer::{HttpRefusal, preflight},
};

pub use ops::{OpsState, StartingOps, ops};

/// The key set (RFC 7517).
const JWKS: &str = "/.well-known/jwks.json";
/// The metadata of this issuer (RFC 8414 section 3).
const METADATA: &str = "/.well-known/oauth-authorization-server";
/// RFC 7662.
const INTROSPECT: &str = "/oauth2/introspect";
/// RFC 7009.
const REVOKE: &str = "/oauth2/revoke";
/// RFC 6749 section 3.2.
const TOKEN: &str = "/oauth2/token";

/// The endpoints that are measured by name.
pub const ROUTES: [&str; 5] = [JWKS, METADATA, INTROSPECT, REVOKE, TOKEN];

/// The state of the endpoints.
#[derive(Clone)]
pub struct EndpointsState {
    /// The authority.
    pub authority: Arc<Authority>,
    /// Runs work that waits for the database to its end, even if the caller goes away.
    pub background: Background,
    /// Callers can present certificates.
    pub certificates: bool,
}

/// The endpoints of the public listener, at the root and below the path of the issuer's URL: so it does not matter
/// whether a proxy takes that path away.
pub fn endpoints(state: EndpointsState) -> Router {
    let path = issuer_path(&state.authority.issuer);
    let endpoints = Router::new()
        .route(JWKS, get(jwks::jwks).options(preflight))
        .route(METADATA, get(metadata::metadata).options(preflight))
        .route(INTROSPECT, post(introspect::introspect))
        .route(REVOKE, post(revoke::revoke))
        .route(TOKEN, post(token::token))
        // A route layer, because only inside of it the route is known.
        .route_layer(from_fn_with_state(state.clone(), measure))
        .method_not_allowed_fallback(async || {
            HttpRefusal::of(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "This method is not served here.",
            )
        })
        .fallback(nothing)
        .with_state(state);
    if path.is_empty() { endpoints } else { below(path, endpoints) }
}

/// The path of a URL, without a slash at its end; empty if there is none.
fn issuer_path(issuer: &str) -> String {
    let after_scheme = issuer.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

/// The same endpoints at the root and below a path. RFC 8414 section 3.1 puts the path behind the well-known part.
fn below(path: String, endpoints: Router) -> Router {
    let inserted = format!("{METADATA}{path}");
    Router::new().fallback(async move |mut request: Request| {
        let asked = request.uri().path();
        let at_root = if asked == inserted {
            Some(METADATA)
        } else {
            asked.strip_prefix(&path).filter(|rest| rest.starts_with('/'))
        };
        if let Some(uri) = at_root.and_then(|path| path.parse::<Uri>().ok()) {
            *request.uri_mut() = uri;
        }
        match endpoints.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    })
}

/// A listener without endpoints.
pub fn none() -> Router {
    Router::new().fallback(nothing)
}

async fn nothing() -> HttpRefusal {
    HttpRefusal::of(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
}

/// Measures each request by its route. Metrics and logs name only the route, nothing else of what was sent.
async fn measure(
    State(state): State<EndpointsState>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    let duration = started.elapsed();
    state.authority.metrics.http_request(route.as_str(), response.status().as_u16(), duration);
    tracing::debug!(
        http.route = route.as_str(),
        http.response.status_code = response.status().as_u16(),
        http.duration_s = duration.as_secs_f64(),
        "request"
    );
    response
}

#[cfg(test)]
mod tests {
    use crate::http::issuer_path;

    #[test]
    fn the_path_of_an_issuer_is_what_follows_its_host() {
        for (issuer, path) in [
            ("https://tokens.example", ""),
            ("https://tokens.example/", ""),
            ("https://tokens.example:8443/eu", "/eu"),
            ("https://tokens.example/eu/1/", "/eu/1"),
            ("http://[::1]:7070/{x}", "/{x}"),
        ] {
            assert_eq!(issuer_path(issuer), path, "{issuer}");
        }
    }
}
