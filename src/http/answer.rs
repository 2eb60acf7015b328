//! The answers of the endpoints: JSON, and the errors of OAuth (RFC 6749 section 5.2) for those of the authority.

use std::borrow::Cow;

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
    authority::{Error, Invalid},
    edge::{Code, Refusal},
};
use jeton_token::{base64url, sha256};

/// Not to be kept by anything on the way (RFC 7662 section 4).
pub(super) const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
const NO_SNIFF: (&str, HeaderValue) = ("x-content-type-options", HeaderValue::from_static("nosniff"));
/// The challenges for a caller without a good credential (RFC 9110 section 11.6.1).
const CHALLENGES: [&str; 2] = [r#"Basic realm="jeton", charset="UTF-8""#, r#"Bearer realm="jeton""#];
/// Pages of any origin may read a public document: it is the same for every reader.
const ANY_ORIGIN: (HeaderName, HeaderValue) = (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
/// The least time after which a retry is suggested: the header has whole seconds.
const RETRY_MIN_S: u64 = 1;

/// A refusal in the format of OAuth.
#[derive(Debug)]
pub(super) struct HttpRefusal {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    /// Seconds after which a retry makes sense.
    retry_s: Option<u64>,
}

impl HttpRefusal {
    pub(super) const fn of(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Self { status, error, description: Cow::Borrowed(description), retry_s: None }
    }

    pub(super) const fn invalid(description: &'static str) -> Self {
        Self::of(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// A refusal of a request that is wrong, by an error of RFC 6749 section 5.2 or of an extension.
    pub(super) const fn bad(error: &'static str, description: &'static str) -> Self {
        Self::of(StatusCode::BAD_REQUEST, error, description)
    }

    /// The same refusal as such an error.
    pub(super) fn renamed(self, error: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, ..self }
    }

    /// The same refusal by the token endpoint, which has no status for a client that may not (RFC 6749 section 5.2).
    pub(super) fn of_grant(self) -> Self {
        if self.status == StatusCode::FORBIDDEN { self.renamed("unauthorized_client") } else { self }
    }

    /// A refusal of a request that is wrong, in these words.
    pub(super) fn described_as(error: &'static str, description: &str) -> Self {
        let description = Cow::Owned(described(description));
        Self { status: StatusCode::BAD_REQUEST, error, description, retry_s: None }
    }

    /// The same refusal, of the client's authentication.
    pub(super) fn unauthenticated(self) -> Self {
        if self.status == StatusCode::BAD_REQUEST {
            Self { status: StatusCode::UNAUTHORIZED, ..self }
        } else {
            self
        }
    }

    /// A refusal that decided nothing, so a retry is safe.
    pub(super) fn unavailable() -> Self {
        let description = "This replica cannot answer now. Try again, or another replica.";
        Self {
            retry_s: Some(RETRY_MIN_S),
            ..Self::of(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
        }
    }
}

/// The status and the error of a refusal, whose text is the same at every edge.
fn kind(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal.code {
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "invalid_client"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "unauthorized_client"),
        Code::Unavailable | Code::DeadlineExceeded => {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
        }
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        Code::ResourceExhausted => match refusal.reason.as_bytes() {
            b"RATE_LIMITED" => (StatusCode::TOO_MANY_REQUESTS, "slow_down"),
            b"QUOTA_EXCEEDED" => (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        },
        // No endpoint calls an operation that is refused by the last five.
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented => (StatusCode::BAD_REQUEST, "invalid_request"),
    }
}

impl From<Error> for HttpRefusal {
    fn from(error: Error) -> Self {
        let too_large = matches!(error, Error::Invalid(Invalid::MessageTooLarge { .. }));
        let refusal = Refusal::from(error);
        let (status, error) = kind(&refusal);
        let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { status };
        // A retry after a moment does not help against a quota.
        let retry = refusal.retry.filter(|_| error != "quota_exceeded");
        let retry_s = retry.map(|delay| delay.as_secs().max(RETRY_MIN_S));
        Self { status, error, description: Cow::Owned(described(&refusal.message)), retry_s }
    }
}

impl From<Invalid> for HttpRefusal {
    fn from(invalid: Invalid) -> Self {
        Error::from(invalid).into()
    }
}

/// A message as a description (RFC 6749 section 5.2): visible ASCII and spaces, without double quotes and backslashes.
fn described(message: &str) -> String {
    let plain = |c| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    message.chars().map(plain).collect()
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
        if let Some(seconds) = self.retry_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
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
            (refusal.status.as_u16(), refusal.error, refusal.retry_s.is_some())
        };
        let rate = Error::RateLimited { limit_per_second: 1, retry: second };
        assert_eq!(told(rate), (429, "slow_down", true));
        let full = Error::QuotaExceeded { of: quota, quota: 1, retry: second };
        assert_eq!(told(full), (429, "quota_exceeded", false));
        assert_eq!(told(Error::Overloaded), (503, "temporarily_unavailable", true));
    }

    #[test]
    fn e1_a_description_has_the_characters_that_oauth_allows() {
        let denied = crate::authority::Denied::Audience("a\u{e9}\n\"".to_owned());
        let HttpRefusal { status, description, .. } = Error::from(denied).into();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(
            description.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'),
            "{description}"
        );
        assert!(description.contains("audience"), "{description}");
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
