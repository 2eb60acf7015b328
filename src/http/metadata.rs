//! `GET /.well-known/oauth-authorization-server`: what this issuer does, and where (RFC 8414).

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    DoorsState, INTROSPECT, JWKS, REVOKE,
    answer::{etag_of, public},
    nothing,
};

/// It changes with the configuration alone. Seconds.
const MAX_AGE_S: i64 = 3_600;

pub(super) async fn metadata(State(state): State<DoorsState>, headers: HeaderMap) -> Response {
    let body = document(&state.authority.issuer, state.certificates);
    let etag = etag_of(&body);
    public(&headers, "application/json", MAX_AGE_S, body, &etag)
}

/// Where the issuer's URL has a path, it comes behind the well-known part.
pub(super) async fn metadata_of_path(
    state: State<DoorsState>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    if issuer_path(&state.authority.issuer) == Some(path.trim_end_matches('/')) {
        metadata(state, headers).await
    } else {
        nothing().await.into_response()
    }
}

/// The path of a URL, without the slashes around it.
fn issuer_path(issuer: &str) -> Option<&str> {
    let (_, rest) = issuer.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    Some(path.trim_end_matches('/')).filter(|path| !path.is_empty())
}

/// What is not said of jeton is what it does not do: tokens are obtained over gRPC, so there is neither an
/// authorization nor a token endpoint.
fn document(issuer: &str, certificates: bool) -> String {
    let base = issuer.trim_end_matches('/');
    let mut methods = vec!["client_secret_basic"];
    if certificates {
        methods.push("tls_client_auth");
    }
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{base}{JWKS}"),
        "introspection_endpoint": format!("{base}{INTROSPECT}"),
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": format!("{base}{REVOKE}"),
        "revocation_endpoint_auth_methods_supported": methods,
        "response_types_supported": [],
        "grant_types_supported": [],
        "tls_client_certificate_bound_access_tokens": true,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_issuer_is_what_follows_its_host() {
        assert_eq!(issuer_path("https://a.example"), None);
        assert_eq!(issuer_path("https://a.example/"), None);
        assert_eq!(issuer_path("https://a.example/tokens/eu/"), Some("tokens/eu"));
    }
}
