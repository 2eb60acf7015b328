//! `GET /.well-known/jwks.json`: the public keys (RFC 7517 section 5).

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::{
    authority::JWKS_MAX_AGE_S,
    http::{EndpointsState, answer::public},
};

const CONTENT_TYPE: &str = "application/jwk-set+json";

pub(super) async fn jwks(State(state): State<EndpointsState>, headers: HeaderMap) -> Response {
    let jwks = state.authority.jwks();
    public(&headers, CONTENT_TYPE, JWKS_MAX_AGE_S, jwks.json, &jwks.etag)
}
