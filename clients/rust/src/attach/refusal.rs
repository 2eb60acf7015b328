//! How a peer refuses a token.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::refused;

/// Returns whether a call is one of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The deadline of a call of gRPC, if it has one: `grpc-timeout`.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Returns whether a peer says that the token is expired or revoked, or does not say why it is refused.
pub(super) fn may_be_mended(code: StatusCode, headers: &HeaderMap, is_grpc: bool) -> bool {
    if !is_grpc {
        return code == StatusCode::UNAUTHORIZED && is_of_the_token(headers);
    }
    let Some(status) = Status::from_header_map(headers).filter(|it| it.code() == Code::Unauthenticated)
    else {
        // A proxy may refuse a call of gRPC by HTTP.
        return code == StatusCode::UNAUTHORIZED && !headers.contains_key("grpc-status");
    };
    match status.get_details_error_info().filter(|info| info.domain == refused::DOMAIN) {
        Some(info) => info.reason == "EXPIRED" || info.reason == "REVOKED",
        None => true,
    }
}

/// Returns whether the challenges say that the token is invalid, or nothing of the cause.
fn is_of_the_token(headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let mut causes = challenges.filter_map(|challenge| {
        let text = challenge.to_str().ok()?.to_ascii_lowercase();
        text.match_indices("error").find_map(|(at, word)| {
            let rest = text.get(at..)?.strip_prefix(word)?.trim_start().strip_prefix('=')?;
            let value = rest.trim_start().trim_start_matches('"');
            Some(value.chars().take_while(|it| it.is_ascii_alphabetic() || *it == '_').collect::<String>())
        })
    });
    causes.next().is_none_or(|cause| cause == "invalid_token")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::Refused;

    #[test]
    fn a_refusal_is_mended_if_another_token_may_help() {
        let grpc = |status: Status| {
            let headers = status.into_http::<()>().into_parts().0.headers;
            may_be_mended(StatusCode::OK, &headers, true)
        };
        assert!(grpc(Refused::of_status("REVOKED").into()) && grpc(Refused::of_status("EXPIRED").into()));
        assert!(grpc(Status::unauthenticated("")));
        assert!(!grpc(Refused::of_status("WRONG_AUDIENCE").into()) && !grpc(Status::unavailable("")));
        assert!(!may_be_mended(StatusCode::OK, &HeaderMap::new(), true));
        let http = |challenge: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static(challenge));
            may_be_mended(StatusCode::UNAUTHORIZED, &headers, false)
        };
        assert!(
            http("Bearer")
                && http("Bearer error=\"invalid_token\"")
                && http("Bearer realm=x, error = invalid_token")
        );
        assert!(!http("Bearer error=\"insufficient_scope\", error_description=\"x\""));
    }

    #[test]
    fn the_deadline_of_a_call_is_read() {
        for (text, expected) in [
            ("20S", Some(20_000)),
            ("1500m", Some(1500)),
            ("2M", Some(120_000)),
            ("x", None),
            ("", None),
            ("5ä", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_bytes(text.as_bytes()).unwrap());
            assert_eq!(deadline(&headers), expected.map(Duration::from_millis), "{text}");
        }
    }
}
