//! The kinds of errors: one for each name in `proto/jeton/v1/error_reason.proto`, with its typed metadata, and those of
//! this library.

use std::{collections::HashMap, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::metadata::{Field, FieldValue as _, count, millis, seconds, text, time};

/// The type of a form of metadata.
macro_rules! form {
    (text) => {
        String
    };
    (count) => {
        i64
    };
    (seconds) => {
        SignedDuration
    };
    (millis) => {
        SignedDuration
    };
    (time) => {
        Timestamp
    };
}

macro_rules! reasons {
    ($(
        $(#[doc = $doc:literal])+
        $reason:literal $variant:ident { $($field:ident: $form:ident $key:literal),* $(,)? }
    )+) => {
        /// The kind of an error. Fields are the metadata that the server sent; what it did not send, or sent in another
        /// form, is `None`.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $(
                $(#[doc = $doc])+
                $variant {
                    $(
                        #[doc = concat!("The metadata `", $key, "`.")]
                        $field: Option<form!($form)>,
                    )*
                },
            )+
            /// A reason that this library does not know: the server is newer.
            UnknownReason,
            /// A text is no endpoint, or a credential would go over plaintext.
            EndpointInvalid,
            /// There is no API key in a text or file, or a file cannot be read or used.
            CredentialInvalid {
                /// The file, if it is one.
                file: Option<PathBuf>,
            },
            /// Nothing answered: nothing listens there, TLS does not match, or the connection broke.
            Unreachable {
                /// The endpoint that was asked.
                endpoint: String,
            },
            /// What answers is no jeton, or one that is too old for the call.
            NotJeton {
                /// The endpoint that was asked.
                endpoint: String,
            },
            /// The object is closed.
            Closed,
            /// Anything else; see the code.
            UnexpectedError,
        }

        impl ErrorKind {
            /// The kind of a reason, if this library knows it.
            pub(crate) fn of(reason: &str, metadata: &HashMap<String, String>) -> Option<Self> {
                Some(match reason {
                    $($reason => Self::$variant { $($field: $form(metadata, $key)),* },)+
                    _ => return None,
                })
            }

            /// Its name, as in clients/README.md.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)+
                    Self::UnknownReason => "UnknownReason",
                    Self::EndpointInvalid => "EndpointInvalid",
                    Self::CredentialInvalid { .. } => "CredentialInvalid",
                    Self::Unreachable { .. } => "Unreachable",
                    Self::NotJeton { .. } => "NotJeton",
                    Self::Closed => "Closed",
                    Self::UnexpectedError => "UnexpectedError",
                }
            }

            /// The metadata that is set, by the names of the fields.
            #[must_use]
            pub fn fields(&self) -> Vec<(&'static str, Field)> {
                let fields: Vec<(&'static str, Option<Field>)> = match self {
                    $(Self::$variant { $($field),* } => vec![$((stringify!($field), $field.field())),*],)+
                    Self::UnknownReason
                    | Self::EndpointInvalid
                    | Self::CredentialInvalid { .. }
                    | Self::Unreachable { .. }
                    | Self::NotJeton { .. }
                    | Self::Closed
                    | Self::UnexpectedError => Vec::new(),
                };
                fields.into_iter().filter_map(|(name, field)| Some((name, field?))).collect()
            }
        }

        /// Each reason with the keys of its metadata.
        #[cfg(test)]
        const TABLE: &[(&str, &[&str])] = &[$(($reason, &[$($key),*])),+];
    };
}

reasons! {
    /// A required field is empty.
    "FIELD_REQUIRED" FieldRequired { field: text "field" }
    /// A field has the wrong form.
    "FIELD_INVALID" FieldInvalid { field: text "field", rule: text "rule" }
    /// The TTL asked for is above the maximum.
    "TTL_EXCEEDS_MAXIMUM" TtlExceedsMaximum {
        audience: text "audience",
        requested_ttl: seconds "requestedTtlSeconds",
        max_ttl: seconds "maxTtlSeconds",
        likely_unit: text "likelyUnit",
    }
    /// The TTL is zero, negative or below a second.
    "TTL_TOO_SHORT" TtlTooShort { requested_ttl: millis "requestedTtlMillis" }
    /// `expire_time` is not in the future.
    "EXPIRE_TIME_PAST" ExpireTimePast { expire_time: time "expireTime", server_time: time "serverTime" }
    /// A custom claim has a name that the issuer sets.
    "CLAIM_RESERVED" ClaimReserved { claim: text "claim" }
    /// A number in a custom claim cannot be kept exactly.
    "CLAIM_NUMBER_UNSAFE" ClaimNumberUnsafe { claim: text "claim" }
    /// The token would outgrow 4 KiB.
    "TOKEN_TOO_LARGE" TokenTooLarge {
        size_bytes: count "sizeBytes",
        max_size_bytes: count "maxSizeBytes",
        largest_claim: text "largestClaim",
    }
    /// The caller may not issue or validate for this audience.
    "AUDIENCE_NOT_ALLOWED" AudienceNotAllowed { audience: text "audience" }
    /// The caller may not issue for this subject.
    "SUBJECT_NOT_ALLOWED" SubjectNotAllowed { subject: text "subject" }
    /// A scope is outside the policy or the session.
    "SCOPE_NOT_ALLOWED" ScopeNotAllowed { scope: text "scope", audience: text "audience" }
    /// Not a refresh token of this issuer, or of this caller; or one that was presented before the latest
    /// refresh, and looked at after it.
    "REFRESH_TOKEN_INVALID" RefreshTokenInvalid {}
    /// The session is past its idle or absolute limit.
    "REFRESH_TOKEN_EXPIRED" RefreshTokenExpired { limit: text "limit", expire_time: time "expireTime" }
    /// A spent refresh token was presented; the session is now revoked.
    "REFRESH_TOKEN_REUSED" RefreshTokenReused { session_id: text "sessionId" }
    /// The session was revoked.
    "SESSION_REVOKED" SessionRevoked {
        session_id: text "sessionId",
        revocation_reason: text "revocationReason",
    }
    /// No credential, or a bad one.
    "CALLER_UNAUTHENTICATED" CallerUnauthenticated {}
    /// The caller lacks a permission.
    "CALLER_FORBIDDEN" CallerForbidden { permission: text "permission" }
    /// A wide target on the public listener.
    "WIDE_REVOCATION_FORBIDDEN" WideRevocationForbidden { target_kind: text "targetKind" }
    /// More sessions would be hit than allowed.
    "AFFECTED_SESSIONS_EXCEEDED" AffectedSessionsExceeded {
        affected_sessions: count "affectedSessions",
        max_affected_sessions: count "maxAffectedSessions",
    }
    /// The batch is above its limit.
    "BATCH_TOO_LARGE" BatchTooLarge { size: count "size", max_size: count "maxSize" }
    /// The etag is stale.
    "ETAG_MISMATCH" EtagMismatch { current_etag: text "currentEtag" }
    /// The resource does not exist.
    "NOT_FOUND" NotFound { resource_type: text "resourceType", resource_name: text "resourceName" }
    /// The resource exists already.
    "ALREADY_EXISTS" AlreadyExists { resource_type: text "resourceType", resource_name: text "resourceName" }
    /// The page token is foreign or from another query.
    "PAGE_TOKEN_INVALID" PageTokenInvalid {}
    /// The revision is malformed or from another log.
    "REVISION_INVALID" RevisionInvalid {}
    /// The caller is over its rate.
    "RATE_LIMITED" RateLimited { limit_per_second: count "limitPerSecond" }
    /// The database is out of reach; or it was replaced while a change was waited for, and may have lost that.
    "STORE_UNAVAILABLE" StoreUnavailable {}
    /// This replica cannot prove its revocation state fresh, and refuses to guess.
    "REVOCATION_STATE_STALE" RevocationStateStale { age: millis "ageMillis" }
    /// No key may sign now, or the MAC key of this refresh token cannot be used: then the token is not spent.
    "SIGNING_KEY_UNAVAILABLE" SigningKeyUnavailable { algorithm: text "algorithm", key_id: text "keyId" }
    /// Server and database clocks are too far apart to mint or to judge.
    "CLOCK_SKEW" ClockSkew { offset: millis "offsetMillis" }
    /// The server is draining.
    "SERVER_DRAINING" ServerDraining {}
    /// A defect on our side.
    "INTERNAL" Internal {}
    /// The service, the method, the value or the message's encoding is not served on this listener by this
    /// version.
    "NOT_SERVED_HERE" NotServedHere {
        service: text "service",
        listener: text "listener",
        encoding: text "encoding",
    }
    /// The caller's deadline, or the longest time that a call may take, passed before the answer. What was
    /// asked may have been done.
    "DEADLINE_EXCEEDED" DeadlineExceeded {}
    /// The message is longer, in bytes, than its method takes.
    "MESSAGE_TOO_LARGE" MessageTooLarge { size: count "size", max_size: count "maxSize" }
    /// This replica has more to do than time, or a queue of it is full, though nobody is over a rate. Another
    /// replica may have time.
    "OVERLOADED" Overloaded {}
    /// The caller has as many live sessions, or live revocations by bare jti, as it may have; or the subject
    /// has as many live sessions as its policy allows. Room comes when some of them end.
    "QUOTA_EXCEEDED" QuotaExceeded { quota: text "quota" }
    /// `BulkRevoke` would make the fleet hold more revocations than its high-water mark.
    "HIGH_WATER_EXCEEDED" HighWaterExceeded {
        held_revocations: count "heldRevocations",
        target_count: count "targetCount",
        high_water: count "highWater",
    }
    /// The subject is locked: nothing is issued for it.
    "SUBJECT_LOCKED" SubjectLocked { until_time: time "untilTime" }
    /// The caller is locked: nothing is issued to it.
    "CLIENT_LOCKED" ClientLocked { until_time: time "untilTime" }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// The reasons of the definition, each with the keys that its comment names.
    fn defined() -> Vec<(String, Vec<String>)> {
        let text = include_str!("../../../proto/jeton/v1/error_reason.proto");
        let mut found = Vec::new();
        let mut comment = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("//") {
                comment.push_str(words);
            } else if let Some((name, _)) =
                line.strip_prefix("ERROR_REASON_").and_then(|rest| rest.split_once(" = "))
            {
                let told = comment.split_once("Metadata: ").map_or("", |(_, told)| told);
                let key = |part: &str| {
                    let word = part.trim().trim_start_matches("and ").split(' ').next().unwrap_or_default();
                    word.trim_end_matches(['.', ':']).to_owned()
                };
                let keys = told.split(',').map(key).filter(|key| !key.is_empty()).collect();
                found.push((name.to_owned(), keys));
                comment.clear();
            } else {
                comment.clear();
            }
        }
        found.retain(|(name, _)| name != "UNSPECIFIED");
        found
    }

    #[test]
    fn the_table_is_that_of_the_definition() {
        let own = |(name, keys): &(&str, &[&str])| {
            ((*name).to_owned(), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(TABLE.iter().map(own).collect::<Vec<_>>(), defined());
        for (reason, _) in TABLE {
            let spelled: String =
                reason.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
            assert_eq!(
                ErrorKind::of(reason, &HashMap::new()).map(|kind| kind.name()),
                Some(spelled.as_str())
            );
        }
    }

    #[test]
    fn metadata_is_typed_and_what_has_another_form_is_unset() {
        let metadata = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let sent =
            metadata(&[("audience", "orders"), ("requestedTtlSeconds", "90000"), ("maxTtlSeconds", "much")]);
        let kind = ErrorKind::of("TTL_EXCEEDS_MAXIMUM", &sent);
        let expected = ErrorKind::TtlExceedsMaximum {
            audience: Some("orders".to_owned()),
            requested_ttl: Some(SignedDuration::from_secs(90_000)),
            max_ttl: None,
            likely_unit: None,
        };
        assert_eq!(kind, Some(expected));
        assert_eq!(ErrorKind::of("MOON_IN_THE_WRONG_PHASE", &sent), None);
    }
}
