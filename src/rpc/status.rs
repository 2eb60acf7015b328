//! The one mapping of errors to statuses (E1): one `ErrorInfo`, `BadRequest` for fields, `RetryInfo` if a retry helps.
//! One sentence on what is wrong, one on what to do.

mod transport;

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    authority::{Denied, Error, Invalid, Quantity, RefreshRefused},
    token::{Algorithm, LIFETIME_CAP_S, UnixSeconds},
};

pub(super) use transport::{
    Called, deadline_passed, form_not_served, of_transport, unreadable, watchers_not_served,
};

const DOMAIN: &str = "jeton.v1";
/// The greatest length of a message, characters.
const MESSAGE_CHARS_MAX: usize = 300;
/// The greatest length of a caller's text in a message, characters.
const QUOTED_CHARS_MAX: usize = 64;
/// The greatest length of a metadata value, characters: more than any well-formed text has. The whole status must fit
/// into the headers that a peer accepts, 16 KiB by default.
const METADATA_CHARS_MAX: usize = 512;

/// Stands in place of a text that may be a credential.
const HIDDEN: &str = "(hidden: it looks like a credential)";

/// After a read of the log, which is due by then.
const RETRY_FRESH: Duration = Duration::from_millis(200);
/// The log passed into another epoch.
const EPOCH_OVER: &str = "The database was replaced while this change was under way, and may have lost it. Check, and \
                          send it again: a repeated revocation is safe.";
/// Postgres restarts within seconds.
const RETRY_STORE: Duration = Duration::from_secs(1);
/// People have to correct clocks and keys.
const RETRY_PEOPLE: Duration = Duration::from_secs(30);
/// The algorithm of the MAC of refresh tokens.
const MAC_ALGORITHM: &str = "HS256";

/// A refusal before it is encoded.
struct GrpcRefusal {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: Vec<(&'static str, String)>,
    field: Option<(String, String)>,
    retry: Option<Duration>,
}

impl GrpcRefusal {
    fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), metadata: Vec::new(), field: None, retry: None }
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts read alike at the call")]
    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        let value: String = value.to_string().chars().take(METADATA_CHARS_MAX).collect();
        self.metadata.push((key, if is_secret(&value) { HIDDEN.to_owned() } else { value }));
        self
    }

    fn at(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.field = Some((field.into(), description.into()));
        self
    }

    fn after(mut self, delay: Duration) -> Self {
        self.retry = Some(delay);
        self
    }

    fn into_status(self) -> Status {
        let metadata: HashMap<String, String> =
            self.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, metadata);
        if let Some((field, description)) = self.field {
            details.add_bad_request_violation(field, description);
        }
        if self.retry.is_some() {
            details.set_retry_info(self.retry);
        }
        let message: String = self.message.chars().take(MESSAGE_CHARS_MAX).collect();
        Status::with_error_details(self.code, message, details)
    }
}

/// The message of refusals for want of time or memory, also over HTTP.
pub const OVERLOADED: &str = "This server is overloaded. Try again shortly, or another replica.";

fn over_quota(of: Quantity, quota: i64) -> String {
    match of {
        Quantity::BareRevocations => format!(
            "The caller has {quota} live revocations by bare jti, and may have no more. Revoke by token text, session, \
             subject or client, or try again later."
        ),
        Quantity::Sessions => format!(
            "The caller has {quota} live sessions, and may have no more. Revoke unneeded ones, or try again when some have \
             ended."
        ),
        Quantity::SubjectSessions => format!(
            "The subject has {quota} live sessions for this audience, and may have no more by policy. Revoke one of them, or \
             try again when one has ended."
        ),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let refusal = match error {
            Error::Invalid(invalid) => of_invalid(invalid),
            Error::Denied(denied) => of_denied(denied),
            Error::RefreshRefused(refused) => of_refresh(&refused),
            Error::Unauthenticated => GrpcRefusal::new(
                Code::Unauthenticated,
                "CALLER_UNAUTHENTICATED",
                "The caller is not authenticated. Send a valid API key as `authorization: Bearer jtk_...`, or present a registered certificate.",
            ),
            Error::TooManyAffected { affected, max } => GrpcRefusal::new(
                Code::FailedPrecondition,
                "AFFECTED_SESSIONS_EXCEEDED",
                format!("{affected} live sessions would be hit, {max} are allowed. Raise the limit or narrow the target."),
            )
            .with("affectedSessions", affected)
            .with("maxAffectedSessions", max),
            Error::EtagMismatch { current } => GrpcRefusal::new(
                Code::Aborted,
                "ETAG_MISMATCH",
                "The etag is stale: somebody else has changed this. Read it again and repeat the change.",
            )
            .with("currentEtag", current),
            Error::NotFound { resource_type, name } => GrpcRefusal::new(
                Code::NotFound,
                "NOT_FOUND",
                format!("The {resource_type} {} does not exist. Check the name.", quoted(&name)),
            )
            .with("resourceType", resource_type)
            .with("resourceName", name),
            Error::AlreadyExists { resource_type, name } => GrpcRefusal::new(
                Code::AlreadyExists,
                "ALREADY_EXISTS",
                format!("The {resource_type} {} exists already. Use another name, or change the existing one.", quoted(&name)),
            )
            .with("resourceType", resource_type)
            .with("resourceName", name),
            Error::QuotaExceeded { of, quota, retry } => GrpcRefusal::new(
                Code::ResourceExhausted,
                "QUOTA_EXCEEDED",
                over_quota(of, quota),
            )
            .with("quota", quota)
            .after(retry),
            Error::RateLimited { limit_per_second, retry } => GrpcRefusal::new(
                Code::ResourceExhausted,
                "RATE_LIMITED",
                format!("More than {limit_per_second} calls, or failed authentications, per second. Slow down and try again."),
            )
            .with("limitPerSecond", limit_per_second)
            .after(retry),
            Error::Overloaded => GrpcRefusal::new(
                Code::ResourceExhausted,
                "OVERLOADED",
                OVERLOADED,
            )
            .after(RETRY_FRESH),
            Error::Stale { age_ms: None } => unavailable(
                "REVOCATION_STATE_STALE",
                "This replica has not read the log yet and refuses to guess. Try again, or another replica.",
                RETRY_FRESH,
            ),
            Error::Stale { age_ms: Some(age_ms) } => unavailable(
                "REVOCATION_STATE_STALE",
                format!("This replica last read the log {age_ms} ms ago and refuses to guess. Try again, or another replica."),
                RETRY_FRESH,
            )
            .with("ageMillis", age_ms),
            Error::Draining => unavailable(
                "SERVER_DRAINING",
                "This server is shutting down. Send unanswered calls to another replica.",
                RETRY_FRESH,
            ),
            Error::StoreUnavailable => unavailable(
                "STORE_UNAVAILABLE",
                "The database is out of reach. Try again shortly: a repeated revocation is safe.",
                RETRY_STORE,
            ),
            Error::EpochOver => unavailable("STORE_UNAVAILABLE", EPOCH_OVER, RETRY_STORE),
            Error::SigningKeyUnavailable(algorithm) => no_key(algorithm),
            Error::MacKeyUnavailable { id, refused } => no_mac_key(id, refused),
            Error::ClockSkew { offset_ms } => unavailable(
                "CLOCK_SKEW",
                format!("Server and database clocks are {offset_ms} ms apart. An operator must correct the clocks."),
                RETRY_PEOPLE,
            )
            .with("offsetMillis", offset_ms),
            Error::Internal(what) => {
                // Logged only here: the caller learns nothing of it.
                tracing::error!(error = what, "a defect");
                GrpcRefusal::new(Code::Internal, "INTERNAL", "A defect on our side. Report it with the time of the call.")
            }
        };
        refusal.into_status()
    }
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        Error::from(invalid).into()
    }
}

/// `None` is the MAC of refresh tokens, which has one algorithm.
fn no_key(algorithm: Option<Algorithm>) -> GrpcRefusal {
    let algorithm = algorithm.map_or(MAC_ALGORITHM, Algorithm::as_str);
    let message = format!("No {algorithm} key may sign now. An operator must check the keys.");
    unavailable("SIGNING_KEY_UNAVAILABLE", message, RETRY_PEOPLE).with("algorithm", algorithm)
}

fn no_mac_key(id: [u8; 4], refused: bool) -> GrpcRefusal {
    let id = format!("{:08x}", u32::from_be_bytes(id));
    let message = if refused {
        format!(
            "The row of MAC key {id}, which authenticates this refresh token, is refused: jeton did not write it as it is. \
             Open a new session, or have an operator put the row back: `jeton doctor` names it."
        )
    } else {
        format!(
            "MAC key {id}, which authenticates this refresh token, is sealed under another master key. An operator must give \
             this server that one."
        )
    };
    unavailable("SIGNING_KEY_UNAVAILABLE", message, RETRY_PEOPLE)
        .with("algorithm", MAC_ALGORITHM)
        .with("keyId", id)
}

fn of_invalid(invalid: Invalid) -> GrpcRefusal {
    let refusal = |reason, message: String| GrpcRefusal::new(Code::InvalidArgument, reason, message);
    match invalid {
        Invalid::Required { field } => {
            refusal("FIELD_REQUIRED", format!("The field {field} is required. Set it."))
                .with("field", &field)
                .at(field, "required")
        }
        Invalid::Field { field, rule } => {
            refusal("FIELD_INVALID", format!("The field {field} is invalid. It must be: {rule}."))
                .with("field", &field)
                .with("rule", &rule)
                .at(field, rule)
        }
        Invalid::TtlExceedsMaximum { field, audience, requested_s, max_s, likely_milliseconds } => {
            let advice = if likely_milliseconds {
                format!(" The value looks like milliseconds. Ask for at most {max_s} s.")
            } else if requested_s > LIFETIME_CAP_S {
                format!(" Ask for at most {max_s} s; no policy allows more than {LIFETIME_CAP_S} s.")
            } else {
                format!(" Ask for at most {max_s} s, or have an administrator raise its policy's max_ttl.")
            };
            let message = format!(
                "A TTL of {requested_s} s exceeds the maximum of {max_s} s for audience {}.{advice}",
                quoted(&audience)
            );
            let refusal = refusal("TTL_EXCEEDS_MAXIMUM", message)
                .with("audience", audience)
                .with("requestedTtlSeconds", requested_s)
                .with("maxTtlSeconds", max_s)
                .at(field, format!("at most {max_s} s"));
            if likely_milliseconds { refusal.with("likelyUnit", "milliseconds") } else { refusal }
        }
        Invalid::TtlTooShort { requested_ms } => {
            refusal("TTL_TOO_SHORT", format!("A TTL of {requested_ms} ms is too short. Ask for at least 1 s."))
                .with("requestedTtlMillis", requested_ms)
                .at("ttl", "at least 1 s")
        }
        Invalid::ExpireTimePast { expire_time, server_time } => {
            let (asked, now) = (rfc3339(expire_time), rfc3339(server_time));
            refusal(
                "EXPIRE_TIME_PAST",
                format!("The expire_time {asked} is not in the future: the server's clock says {now}. Ask for a later one."),
            )
            .with("expireTime", asked)
            .with("serverTime", now)
            .at("expire_time", "in the future by the server's clock")
        }
        Invalid::ClaimReserved { claim } => {
            refusal("CLAIM_RESERVED", format!("The claim {} is set by the issuer alone. Use another name.", quoted(&claim)))
                .with("claim", &claim)
                .at("claims", "no registered or reserved name")
        }
        Invalid::ClaimNumberUnsafe { claim } => refusal(
            "CLAIM_NUMBER_UNSAFE",
            format!("A number in the claim {} cannot be kept exactly. Send it as a string.", quoted(&claim)),
        )
        .with("claim", &claim)
        .at("claims", "whole numbers within ±(2^53 - 1), no NaN, no infinities"),
        Invalid::TokenTooLarge { size_bytes, max_size_bytes, largest_claim } => refusal(
            "TOKEN_TOO_LARGE",
            format!("The token would take {size_bytes} bytes, at most {max_size_bytes} fit into a header. Shorten its claims."),
        )
        .with("sizeBytes", size_bytes)
        .with("maxSizeBytes", max_size_bytes)
        .with("largestClaim", largest_claim)
        .at("claims", format!("a token of at most {max_size_bytes} bytes")),
        Invalid::BatchTooLarge { size, max_size } => {
            refusal("BATCH_TOO_LARGE", format!("A batch of {size} is too large. Send at most {max_size} at once."))
                .with("size", size)
                .with("maxSize", max_size)
                .at("requests", format!("at most {max_size}"))
        }
        Invalid::MessageTooLarge { size, max_size } => refusal(
            "MESSAGE_TOO_LARGE",
            format!("A message of {size} bytes is too large for this method. Send at most {max_size} bytes."),
        )
        .with("size", size)
        .with("maxSize", max_size)
        .at("message", format!("at most {max_size} bytes")),
        Invalid::PageToken => refusal(
            "PAGE_TOKEN_INVALID",
            "The page_token is of another query. Start again without one.".to_owned(),
        )
        .at("page_token", "from the page before of the same query"),
        Invalid::Revision { field } => refusal(
            "REVISION_INVALID",
            "The revision is malformed or of another log. Use one from an answer of Revoke on this jeton.".to_owned(),
        )
        .at(field, "a revision of this log"),
    }
}

fn of_denied(denied: Denied) -> GrpcRefusal {
    let refusal = |reason, message: String| GrpcRefusal::new(Code::PermissionDenied, reason, message);
    match denied {
        Denied::Permission(permission) => refusal(
            "CALLER_FORBIDDEN",
            format!("The caller lacks {}. Ask an administrator to grant it.", permission.name()),
        )
        .with("permission", permission.name()),
        Denied::Audience(audience) => refusal(
            "AUDIENCE_NOT_ALLOWED",
            format!(
                "The caller is not registered for audience {}. Ask an administrator to add it.",
                quoted(&audience)
            ),
        )
        .with("audience", audience),
        Denied::Subject(subject) => refusal(
            "SUBJECT_NOT_ALLOWED",
            format!(
                "The caller is not registered for subject {}. Ask an administrator to add it.",
                quoted(&subject)
            ),
        )
        .with("subject", subject),
        Denied::Scope { scope, audience } => {
            let whose = if audience.is_empty() {
                "the session's scopes".to_owned()
            } else {
                format!("the policy of audience {}", quoted(&audience))
            };
            refusal(
                "SCOPE_NOT_ALLOWED",
                format!("The scope {} is outside {whose}. Request fewer scopes.", quoted(&scope)),
            )
            .with("scope", scope)
            .with("audience", audience)
        }
        Denied::WideRevocation { target_kind } => refusal(
            "WIDE_REVOCATION_FORBIDDEN",
            format!("A revocation by {target_kind} is not served on this listener. Use the admin listener."),
        )
        .with("targetKind", target_kind),
    }
}

fn of_refresh(refused: &RefreshRefused) -> GrpcRefusal {
    let refusal = |reason, message: String| GrpcRefusal::new(Code::Unauthenticated, reason, message);
    match *refused {
        RefreshRefused::Invalid => refusal(
            "REFRESH_TOKEN_INVALID",
            "This is not a refresh token of this issuer for this caller. Sign in again.".to_owned(),
        ),
        RefreshRefused::Expired { limit, expire_time } => {
            let end = rfc3339(expire_time);
            refusal(
                "REFRESH_TOKEN_EXPIRED",
                format!("The session passed its {limit} limit at {end}. Sign in again."),
            )
            .with("limit", limit)
            .with("expireTime", end)
        }
        RefreshRefused::Reused { session_id } => refusal(
            "REFRESH_TOKEN_REUSED",
            format!("A spent refresh token was presented: session {session_id} is revoked. Sign in again."),
        )
        .with("sessionId", session_id),
        RefreshRefused::Revoked { session_id, reason } => {
            refusal("SESSION_REVOKED", format!("The session {session_id} was revoked. Sign in again."))
                .with("sessionId", session_id)
                .with("revocationReason", reason.name())
        }
    }
}

fn unavailable(reason: &'static str, message: impl Into<String>, retry: Duration) -> GrpcRefusal {
    GrpcRefusal { retry: Some(retry), ..GrpcRefusal::new(Code::Unavailable, reason, message) }
}

/// Returns whether a caller has put a credential in place of a name: nothing that logs the refusal may log it (E1).
fn is_secret(text: &str) -> bool {
    ["eyJ", "jtr_", "jtk_"].iter().any(|beginning| text.contains(beginning))
}

/// A caller's text in a message: short, and on one line whatever it contains.
fn quoted(text: &str) -> String {
    if is_secret(text) {
        return HIDDEN.to_owned();
    }
    let short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    format!("{short:?}")
}

fn rfc3339(time: UnixSeconds) -> String {
    Timestamp::from(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_a_message_is_at_most_300_characters_and_one_line() {
        let status = Status::from(Error::from(Denied::Audience("\n\u{1F600}".repeat(500))));
        assert!(status.message().chars().count() <= MESSAGE_CHARS_MAX);
        assert!(!status.message().contains('\n'));
    }

    #[test]
    fn e1_a_defect_tells_the_caller_nothing() {
        let status = Status::from(Error::Internal("select secret".to_owned()));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
        assert!(status.get_details_error_info().is_some_and(|info| info.reason == "INTERNAL"));
    }
}
