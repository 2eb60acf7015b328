//! The answers of the endpoints: JSON, and the errors of OAuth (RFC 6749 section 5.2) for those of the authority.

use axum::{
    Json,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
        },
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    authority::{Denied, Error},
    rpc::OVERLOADED,
    token::{base64url, sha256},
};

/// Not to be kept by anything on the way (RFC 7662 section 4).
pub(super) const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
const NO_SNIFF: (&str, HeaderValue) = ("x-content-type-options", HeaderValue::from_static("nosniff"));
/// The challenges for a caller without a good credential (RFC 9110 section 11.6.1).
const CHALLENGES: [&str; 2] = [r#"Basic realm="jeton", charset="UTF-8""#, r#"Bearer realm="jeton""#];
/// Pages of any origin may read a public document: it is the same for every reader.
const ANY_ORIGIN: (HeaderName, HeaderValue) = (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
/// Seconds after which a retry makes sense.
const RETRY_S: u16 = 1;

/// A refusal in the format of OAuth.
#[derive(Debug)]
pub(super) struct HttpRefusal {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    retry: bool,
}

impl HttpRefusal {
    pub(super) const fn of(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Self { status, error, description, retry: false }
    }

    pub(super) const fn invalid(description: &'static str) -> Self {
        Self::of(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// A refusal that decided nothing, so a retry is safe.
    pub(super) const fn unavailable() -> Self {
        let description = "This replica cannot answer now. Try again, or another replica.";
        Self {
            retry: true,
            ..Self::of(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
        }
    }
}

impl From<Error> for HttpRefusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(_) => Self::invalid("A parameter has the wrong form."),
            Error::Unauthenticated => Self::of(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "Send a valid API key, as Basic with the client's name or as Bearer, or a registered certificate.",
            ),
            Error::Denied(Denied::Permission(_)) => Self::of(
                StatusCode::FORBIDDEN,
                "unauthorized_client",
                "The caller lacks the permission. Ask an administrator to grant it.",
            ),
            Error::Denied(_) => Self::of(
                StatusCode::FORBIDDEN,
                "unauthorized_client",
                "The caller is not registered for that. Ask an administrator to add it.",
            ),
            Error::RateLimited { .. } => Self {
                retry: true,
                ..Self::of(
                    StatusCode::TOO_MANY_REQUESTS,
                    "slow_down",
                    "Too many calls, or failed authentications, per second. Slow down and try again.",
                )
            },
            // A retry after a moment does not help.
            Error::QuotaExceeded { .. } => Self::of(
                StatusCode::TOO_MANY_REQUESTS,
                "quota_exceeded",
                "The caller has reached its quota. Try again when some of its sessions or revocations have ended.",
            ),
            Error::Overloaded => Self {
                retry: true,
                ..Self::of(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", OVERLOADED)
            },
            Error::Stale { .. }
            | Error::Draining
            | Error::StoreUnavailable
            | Error::EpochOver
            | Error::SigningKeyUnavailable(_)
            | Error::MacKeyUnavailable { .. }
            | Error::ClockSkew { .. } => Self::unavailable(),
            Error::Internal(what) => {
                // Logged only here: the caller learns nothing of it.
                tracing::error!(error = what, "a defect");
                Self::of(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "A defect on our side.")
            }
            // Errors of operations that no endpoint calls.
            Error::RefreshRefused(_)
            | Error::TooManyAffected { .. }
            | Error::EtagMismatch { .. }
            | Error::AlreadyExists { .. }
            | Error::NotFound { .. } => Self::invalid("The request cannot be served."),
        }
    }
}

impl IntoResponse for HttpRefusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = (self.status, [NO_STORE], [NO_SNIFF], Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            for challenge in CHALLENGES {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        if self.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_S));
        }
        response
    }
}

/// An answer about a caller or a token, for the caller alone.
pub(super) fn private(body: &serde_json::Value) -> Response {
    ([NO_STORE], [NO_SNIFF], Json(body)).into_response()
}

/// A public document with its strong entity tag; without its body if the reader has it (RFC 9110 section 13.1.2).
pub(super) fn public(
    request: &HeaderMap,
    content_type: &'static str,
    max_age_s: i64,
    body: String,
    etag: &str,
) -> Response {
    let etag = HeaderValue::from_str(etag).unwrap_or(HeaderValue::from_static("\"\""));
    let cache = HeaderValue::from_str(&format!("public, max-age={max_age_s}"))
        .unwrap_or(HeaderValue::from_static("no-cache"));
    let exposed = (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag"));
    let headers = [(ETAG, etag.clone()), (CACHE_CONTROL, cache), ANY_ORIGIN, exposed];
    if has(request, &etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(CONTENT_TYPE, HeaderValue::from_static(content_type))], [NO_SNIFF], body).into_response()
}

/// Answers a browser that asks whether a page may read a public document and send conditional requests.
pub(super) async fn preflight() -> Response {
    let headers = [
        ANY_ORIGIN,
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD")),
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("if-none-match")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The strong entity tag of a document.
pub(super) fn etag_of(body: &str) -> String {
    format!("\"{}\"", base64url::encode(sha256(&[body.as_bytes()])))
}

/// Returns whether the requester has the document with this tag.
fn has(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let etag = etag.to_str().unwrap_or_default();
    tags.flat_map(|tags| tags.split(',')).map(str::trim).any(|tag| {
        // The field requires a weak comparison.
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e8_a_rate_a_quota_and_too_much_to_do_are_told_apart() {
        let (second, quota) =
            (std::time::Duration::from_secs(1), crate::authority::Quantity::BareRevocations);
        let told = |error: Error| {
            let refusal = HttpRefusal::from(error);
            (refusal.status.as_u16(), refusal.error, refusal.retry)
        };
        let rate = Error::RateLimited { limit_per_second: 1, retry: second };
        assert_eq!(told(rate), (429, "slow_down", true));
        let full = Error::QuotaExceeded { of: quota, quota: 1, retry: second };
        assert_eq!(told(full), (429, "quota_exceeded", false));
        assert_eq!(told(Error::Overloaded), (503, "temporarily_unavailable", true));
    }

    #[test]
    fn a_document_that_the_requester_has_is_not_sent_again() {
        let etag = HeaderValue::from_static("\"abc\"");
        let has = |text: &'static str| {
            has(&HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(text))]), &etag)
        };
        for same in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert!(has(same), "{same}");
        }
        for other in ["\"ABC\"", "abc", "", "\"ab\", \"c\""] {
            assert!(!has(other), "{other}");
        }
    }
}
