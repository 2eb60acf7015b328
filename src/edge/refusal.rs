//! The one mapping of errors to refusals (E1), which every edge answers in its own format. One sentence on what is wrong,
//! one on what to do.

mod invalid;

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    authority::{Denied, Error, Quantity, RefreshRefused},
    state::LockKind,
};
use jeton_token::{Algorithm, UnixSeconds, may_hold_credential};

use crate::edge::refusal::invalid::of_invalid;

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

/// The kind of a refusal: the codes of gRPC that jeton answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// The request itself is wrong.
    InvalidArgument,
    /// No credential, or one that is of no use.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// A resource does not exist.
    NotFound,
    /// A resource exists already.
    AlreadyExists,
    /// The state does not allow it.
    FailedPrecondition,
    /// Another write came first.
    Aborted,
    /// A rate, a quota, or the time and memory of this server.
    ResourceExhausted,
    /// Nothing was decided.
    Unavailable,
    /// Not served here.
    Unimplemented,
    /// The caller has stopped waiting.
    DeadlineExceeded,
    /// A defect on our side.
    Internal,
}

/// A refusal before it is encoded.
#[derive(Debug)]
pub struct Refusal {
    /// Its kind.
    pub code: Code,
    /// A name of `ErrorReason`, without the prefix.
    pub reason: &'static str,
    /// At most 300 characters, on one line.
    pub message: String,
    /// Facts for programs.
    pub metadata: Vec<(&'static str, String)>,
    /// The field at fault, and the rule for it.
    pub field: Option<(String, String)>,
    /// The time until a retry makes sense.
    pub retry: Option<Duration>,
}

impl Refusal {
    /// A refusal with this text.
    #[must_use]
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
        }
        Self { code, reason, message, metadata: Vec::new(), field: None, retry: None }
    }

    /// The same with a fact.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts read alike at the call")]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        let value: String = value.to_string().chars().take(METADATA_CHARS_MAX).collect();
        self.metadata.push((key, if may_hold_credential(&value) { HIDDEN.to_owned() } else { value }));
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

impl From<Error> for Refusal {
    #[expect(clippy::too_many_lines, reason = "one line for each error")]
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(invalid) => of_invalid(invalid),
            Error::Denied(denied) => of_denied(denied),
            Error::RefreshRefused(refused) => of_refresh(&refused),
            Error::Unauthenticated => Refusal::new(
                Code::Unauthenticated,
                "CALLER_UNAUTHENTICATED",
                "The caller is not authenticated. Send a valid API key as `authorization: Bearer jtk_...`, or present a registered certificate.",
            ),
            Error::TooManyAffected { affected, max } => Refusal::new(
                Code::FailedPrecondition,
                "AFFECTED_SESSIONS_EXCEEDED",
                format!("{affected} live sessions would be hit, {max} are allowed. Raise the limit or narrow the target."),
            )
            .with("affectedSessions", affected)
            .with("maxAffectedSessions", max),
            Error::AboveHighWater { held, target_count, high_water } => Refusal::new(
                Code::FailedPrecondition,
                "HIGH_WATER_EXCEEDED",
                format!(
                    "{held} revocations are held, and {target_count} more would pass the high-water mark of {high_water}. \
                     See that every replica has the memory, then force it."
                ),
            )
            .with("heldRevocations", held)
            .with("targetCount", target_count)
            .with("highWater", high_water),
            Error::EtagMismatch { current } => Refusal::new(
                Code::Aborted,
                "ETAG_MISMATCH",
                "The etag is stale: somebody else has changed this. Read it again and repeat the change.",
            )
            .with("currentEtag", current),
            Error::NotFound { resource_type, name } => Refusal::new(
                Code::NotFound,
                "NOT_FOUND",
                format!("The {resource_type} {} does not exist. Check the name.", quoted(&name)),
            )
            .with("resourceType", resource_type)
            .with("resourceName", name),
            Error::AlreadyExists { resource_type, name } => Refusal::new(
                Code::AlreadyExists,
                "ALREADY_EXISTS",
                format!("The {resource_type} {} exists already. Use another name, or change the existing one.", quoted(&name)),
            )
            .with("resourceType", resource_type)
            .with("resourceName", name),
            Error::QuotaExceeded { of, quota, retry } => Refusal::new(
                Code::ResourceExhausted,
                "QUOTA_EXCEEDED",
                over_quota(of, quota),
            )
            .with("quota", quota)
            .after(retry),
            Error::RateLimited { limit_per_second, retry } => Refusal::new(
                Code::ResourceExhausted,
                "RATE_LIMITED",
                format!("More than {limit_per_second} calls, or failed authentications, per second. Slow down and try again."),
            )
            .with("limitPerSecond", limit_per_second)
            .after(retry),
            Error::Overloaded => Refusal::new(
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
                Refusal::new(Code::Internal, "INTERNAL", "A defect on our side. Report it with the time of the call.")
            }
        }
    }
}

/// `None` is the MAC of refresh tokens, which has one algorithm.
fn no_key(algorithm: Option<Algorithm>) -> Refusal {
    let algorithm = algorithm.map_or(MAC_ALGORITHM, Algorithm::as_str);
    let message = format!("No {algorithm} key may sign now. An operator must check the keys.");
    unavailable("SIGNING_KEY_UNAVAILABLE", message, RETRY_PEOPLE).with("algorithm", algorithm)
}

fn no_mac_key(id: [u8; 4], refused: bool) -> Refusal {
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

fn of_denied(denied: Denied) -> Refusal {
    let refusal = |reason, message: String| Refusal::new(Code::PermissionDenied, reason, message);
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
        Denied::Locked { kind, until } => {
            let reason = match kind {
                LockKind::Subject => "SUBJECT_LOCKED",
                LockKind::Client => "CLIENT_LOCKED",
            };
            let what = match kind {
                LockKind::Subject => "The subject is locked, and nothing is issued for it",
                LockKind::Client => "The caller is locked, and nothing is issued to it",
            };
            let until = Timestamp::from(until);
            refusal(
                reason,
                format!("{what} until {until}. Ask those who answer for jeton, or try again then."),
            )
            .with("untilTime", until)
        }
        Denied::WideRevocation { target_kind } => refusal(
            "WIDE_REVOCATION_FORBIDDEN",
            format!("A revocation by {target_kind} is not served on this listener. Use the admin listener."),
        )
        .with("targetKind", target_kind),
    }
}

fn of_refresh(refused: &RefreshRefused) -> Refusal {
    let refusal = |reason, message: String| Refusal::new(Code::Unauthenticated, reason, message);
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

fn unavailable(reason: &'static str, message: impl Into<String>, retry: Duration) -> Refusal {
    Refusal { retry: Some(retry), ..Refusal::new(Code::Unavailable, reason, message) }
}

/// A caller's text in a message: short, and on one line whatever it contains.
#[must_use]
pub fn quoted(text: &str) -> String {
    // A caller has put a credential in place of a name: nothing that logs the refusal may log it (E1).
    if may_hold_credential(text) {
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
        let refusal = Refusal::from(Error::from(Denied::Audience("\n\u{1F600}".repeat(500))));
        assert!(refusal.message.chars().count() <= MESSAGE_CHARS_MAX);
        assert!(!refusal.message.contains('\n'));
        let long = Refusal::new(Code::Internal, "INTERNAL", "\u{e9}".repeat(301));
        assert_eq!(long.message.chars().count(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn e1_a_defect_tells_the_caller_nothing() {
        let refusal = Refusal::from(Error::Internal("select secret".to_owned()));
        assert_eq!((refusal.code, refusal.reason), (Code::Internal, "INTERNAL"));
        assert!(!refusal.message.contains("secret"));
    }
}
