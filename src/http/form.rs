//! The form of a request: `application/x-www-form-urlencoded`, each parameter once (RFC 6749
//! section 3.2).

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
};

use tokio::time::timeout;

use super::answer::Refusal;
use crate::authority::Error;

/// A token is at most 8 KiB, a refresh token a fraction of it. Bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";

/// How long the body of a request that was refused may go on arriving.
const REST: Duration = Duration::from_secs(1);

/// Lets the body of a request that was refused arrive, unread: over HTTP/2 a client that is cut off while it
/// sends may never see the refusal.
pub(super) fn let_arrive(body: Body) {
    tokio::spawn(timeout(REST, to_bytes(body, BODY_BYTES_MAX)));
}

/// The parameters of a request.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Refusal> {
        let label = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let label = label.split(';').next().unwrap_or_default().trim();
        if !label.eq_ignore_ascii_case(FORM) {
            let_arrive(body);
            return Err(Refusal::of(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "The body must be application/x-www-form-urlencoded.",
            ));
        }
        let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
            Refusal::of(
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "The body is longer than 16 KiB, or broke off.",
            )
        })?;
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(&bytes)
            .map_err(|_| Refusal::invalid("The body is not a form in UTF-8."))?;
        let repeated = |(index, (name, _)): (usize, &(String, String))| {
            pairs.iter().take(index).any(|(earlier, _)| earlier == name)
        };
        if pairs.iter().enumerate().any(repeated) {
            return Err(Refusal::invalid("A parameter is there twice."));
        }
        let form = Self(pairs);
        if form.get("client_secret").is_some() {
            // RFC 6749 section 2.3: in one way only.
            return Err(Refusal::invalid("The caller is known by its headers: leave client_secret out."));
        }
        Ok(form)
    }

    /// The value of a parameter; one without a value counts as absent (RFC 6749 section 3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Refuses a caller that says it is another: clients with certificates name themselves here (RFC 8705
    /// section 2).
    pub(super) fn check_client(&self, client_id: &str) -> Result<(), Error> {
        let named = self.get("client_id").is_none_or(|named| named == client_id);
        if named { Ok(()) } else { Err(Error::Unauthenticated) }
    }

    /// The token.
    pub(super) fn token(&self) -> Result<String, Refusal> {
        let token = self.get("token").ok_or(Refusal::invalid("The parameter token is required."))?;
        Ok(token.to_owned())
    }
}
