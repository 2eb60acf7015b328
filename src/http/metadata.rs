//! `GET /.well-known/oauth-authorization-server`: the abilities of this issuer and their URLs (RFC 8414).

use axum::{extract::State, http::HeaderMap, response::Response};
use serde_json::json;

use crate::http::{
    EndpointsState, INTROSPECT, JWKS, REVOKE, TOKEN,
    answer::{etag_of, public},
    token::Grant,
};

/// The document changes only with the configuration. Seconds.
const MAX_AGE_S: i64 = 3_600;

pub(super) async fn metadata(State(state): State<EndpointsState>, headers: HeaderMap) -> Response {
    let body = document(&state.authority.issuer, state.certificates);
    let etag = etag_of(&body);
    public(&headers, "application/json", MAX_AGE_S, body, &etag)
}

/// Members that are missing name things that jeton does not do: there is no authorization endpoint, and so no response
/// type. A list without elements is left out (RFC 8414 section 3.2).
fn document(issuer: &str, certificates: bool) -> String {
    let base = issuer.trim_end_matches('/');
    let certificate = certificates.then_some("tls_client_auth");
    let methods = |own: &[&'static str]| own.iter().copied().chain(certificate).collect::<Vec<_>>();
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{base}{JWKS}"),
        "introspection_endpoint": format!("{base}{INTROSPECT}"),
        // A protected resource may present an access token there (RFC 8414 section 2); here it is an API key.
        "introspection_endpoint_auth_methods_supported": methods(&["client_secret_basic", "Bearer"]),
        "token_endpoint": format!("{base}{TOKEN}"),
        "token_endpoint_auth_methods_supported": methods(&["client_secret_basic", "client_secret_post"]),
        "grant_types_supported": Grant::ALL.map(|(_, name)| name),
        "revocation_endpoint": format!("{base}{REVOKE}"),
        "revocation_endpoint_auth_methods_supported": methods(&["client_secret_basic"]),
        "tls_client_certificate_bound_access_tokens": true,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, certificates: bool) -> impl Fn(&str) -> serde_json::Value {
        let members: serde_json::Map<_, _> =
            serde_json::from_str(&document(issuer, certificates)).unwrap_or_default();
        move |name| members.get(name).cloned().unwrap_or_default()
    }

    #[test]
    fn e13_no_list_is_empty() {
        let document: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&document("https://tokens.example", true)).unwrap_or_default();
        assert!(!document.is_empty());
        assert!(document.values().all(|value| value.as_array().is_none_or(|list| !list.is_empty())));
    }

    #[test]
    fn endpoints_are_built_on_the_issuer() {
        let document = read("https://tokens.example/eu/", false);
        assert_eq!(document("issuer"), "https://tokens.example/eu/");
        assert_eq!(document("jwks_uri"), "https://tokens.example/eu/.well-known/jwks.json");
        assert_eq!(document("introspection_endpoint"), "https://tokens.example/eu/oauth2/introspect");
        assert_eq!(document("token_endpoint"), "https://tokens.example/eu/oauth2/token");
        assert_eq!(document("revocation_endpoint"), "https://tokens.example/eu/oauth2/revoke");
    }

    #[test]
    fn certificates_are_offered_where_callers_can_show_them() {
        for (certificates, own) in [(false, &[][..]), (true, &["tls_client_auth"])] {
            let document = read("https://tokens.example", certificates);
            let revocation = [&["client_secret_basic"], own].concat();
            assert_eq!(document("revocation_endpoint_auth_methods_supported"), json!(revocation));
            let introspection = [&["client_secret_basic", "Bearer"], own].concat();
            assert_eq!(document("introspection_endpoint_auth_methods_supported"), json!(introspection));
        }
    }
}
