//! The listeners: TLS and its certificates, who comes with one, the limits of each connection, and
//! the command line over TLS. `behaviour.md` C3, C6, V10 and E5.

mod bound;
mod callers;
mod command_line;
mod limits;
mod matrix;
mod opening;
mod protocols;
mod reload;
mod replicas;
mod resets;
mod start;
mod versions;

use jeton::proto::v1::{self as pb, TokenStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::world::{Api, Refused, http_request, validate_request};

/// The URI of the one client of these tests that has a certificate.
const BILLING: &str = "spiffe://example.org/billing";
const JWKS: &str = "/.well-known/jwks.json";

/// What introspection is asked without an API key, with these headers beside.
fn introspection(token: &str, headers: &[(&str, &str)]) -> String {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let headers: Vec<_> = form.into_iter().chain(headers.iter().copied()).collect();
    http_request("POST", "/oauth2/introspect", &headers, &format!("token={token}"))
}

fn assert_unknown(answer: Result<impl std::fmt::Debug, Status>) {
    let refused = answer.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
}

/// An open stream, and how to ask on it.
struct Stream {
    requests: mpsc::UnboundedSender<pb::StreamValidateRequest>,
    answers: Streaming<pb::StreamValidateResponse>,
}

impl Stream {
    async fn open(api: &Api) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        let opened = api.tokens.clone().stream_validate(UnboundedReceiverStream::new(incoming)).await;
        Self { requests, answers: opened.unwrap().into_inner() }
    }

    async fn ask(&mut self, token: &str) -> Result<TokenStatus, Status> {
        let request = Some(validate_request(token, &["api"]));
        self.requests.send(pb::StreamValidateRequest { request }).unwrap();
        Ok(self.answers.message().await?.unwrap().verdict.unwrap().status())
    }
}

/// What anybody may ask who may validate.
fn request() -> pb::ValidateRequest {
    validate_request("x", &["api"])
}
