//! The answer of a guard to a call that does not pass.

use std::{collections::HashMap, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::Code;

/// The domain of the reasons of a guard.
pub(crate) const DOMAIN: &str = "guard.jeton.v1";
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answer to a call that does not pass: a status of gRPC (`?` in a handler returns it), or an answer over HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    reason: String,
    message: String,
    scopes: Vec<String>,
}

impl Refused {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), scopes: Vec::new() }
    }

    pub(crate) fn no_token() -> Self {
        Self::new("NO_TOKEN", "The call carries no token. Send one as authorization: Bearer.")
    }

    pub(crate) fn no_verdict() -> Self {
        Self::new("NO_VERDICT", "The token could not be judged. Try again.")
    }

    pub(crate) fn missing_scope(scopes: Vec<String>) -> Self {
        Self { scopes, ..Self::new("MISSING_SCOPE", "The token lacks a scope that this call needs.") }
    }

    /// By the name of a status, as `REVOKED`.
    pub(crate) fn of_status(name: &str) -> Self {
        Self::new(name, format!("The token is {name}. Get another one."))
    }

    /// The reason in `ErrorInfo`, of the domain `guard.jeton.v1`: `NO_TOKEN`, `NO_VERDICT`, or the status of the token.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The message for the caller. It says nothing of the token.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The scopes that are needed, with `MISSING_SCOPE`.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The code of gRPC.
    #[must_use]
    pub fn code(&self) -> Code {
        match self.reason.as_str() {
            "NO_VERDICT" => Code::Unavailable,
            "MISSING_SCOPE" => Code::PermissionDenied,
            _ => Code::Unauthenticated,
        }
    }

    pub(crate) fn is_no_verdict(&self) -> bool {
        self.reason == "NO_VERDICT"
    }

    /// The answer over HTTP: 401, 403 or 503, with its challenge, and JSON as its body.
    #[must_use]
    pub fn to_http(&self) -> Response<Bytes> {
        let (status, error, challenge) = match self.reason.as_str() {
            "NO_VERDICT" => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "Bearer".to_owned()),
            "MISSING_SCOPE" => {
                let scopes = self.scopes.join(" ");
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\"");
                (StatusCode::FORBIDDEN, "insufficient_scope", challenge)
            }
            "NO_TOKEN" => (StatusCode::UNAUTHORIZED, "invalid_request", "Bearer".to_owned()),
            _ => {
                let told = &self.message;
                let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{told}\"");
                (StatusCode::UNAUTHORIZED, "invalid_token", challenge)
            }
        };
        let body = serde_json::json!({ "error": error, "reason": self.reason });
        let mut answer = Response::new(Bytes::from(body.to_string()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        // A scope that no header can hold is none that a token has.
        let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.is_no_verdict() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        answer
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for tonic::Status {
    fn from(refused: Refused) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(&refused.reason, DOMAIN, HashMap::<String, String>::new());
        if refused.is_no_verdict() {
            details.set_retry_info(Some(RETRY_AFTER));
        }
        Self::with_error_details(refused.code().into(), refused.message, details)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn each_outcome_has_its_code_and_its_challenge() {
        for (refused, code, number, challenge) in [
            (Refused::no_token(), Code::Unauthenticated, 401, "Bearer"),
            (Refused::no_verdict(), Code::Unavailable, 503, "Bearer"),
            (
                Refused::missing_scope(vec!["a".to_owned(), "b".to_owned()]),
                Code::PermissionDenied,
                403,
                "Bearer error=\"insufficient_scope\", scope=\"a b\"",
            ),
            (
                Refused::of_status("REVOKED"),
                Code::Unauthenticated,
                401,
                "Bearer error=\"invalid_token\", error_description=\"The token is REVOKED. Get another one.\"",
            ),
        ] {
            let answer = refused.to_http();
            assert_eq!((refused.code(), answer.status().as_u16()), (code, number));
            assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], challenge);
            assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), refused.is_no_verdict());
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body["reason"], refused.reason());
            let status = tonic::Status::from(refused.clone());
            assert_eq!(status.get_details_error_info().unwrap().domain, DOMAIN);
            assert_eq!(status.get_details_retry_info().is_some(), refused.is_no_verdict());
        }
    }
}
