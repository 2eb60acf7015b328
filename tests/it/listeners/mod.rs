//! The listeners: TLS and its certificates, who comes with one, the limits of each connection, and
//! the command line over TLS. `behaviour.md` C3, C6, V10 and E5.

mod bound;
mod callers;
mod command_line;
mod crowd;
mod limits;
mod matrix;
mod memory;
mod opening;
mod places;
mod protocols;
mod reload;
mod replicas;
mod resets;
mod start;
mod versions;

use jeton::proto::v1 as pb;
use tonic::{Code, Status};

use crate::world::{Refused, http_request, validate_request};

/// The URI of the one client of these tests that has a certificate.
const BILLING: &str = "spiffe://example.org/billing";
const JWKS: &str = "/.well-known/jwks.json";

/// A request for introspection without an API key, with these further headers.
fn introspection(token: &str, headers: &[(&str, &str)]) -> String {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let headers: Vec<_> = form.into_iter().chain(headers.iter().copied()).collect();
    http_request("POST", "/oauth2/introspect", &headers, &format!("token={token}"))
}

fn assert_unknown(answer: Result<impl std::fmt::Debug, Status>) {
    let refused = answer.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
}

/// A request that every client with VALIDATE may send.
fn request() -> pb::ValidateRequest {
    validate_request("x", &["api"])
}
