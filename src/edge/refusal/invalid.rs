//! The refusals of requests that are wrong themselves.

use crate::{
    authority::Invalid,
    edge::refusal::{Code, Refusal, quoted, rfc3339},
};
use jeton_token::LIFETIME_CAP_S;

pub(super) fn of_invalid(invalid: Invalid) -> Refusal {
    let refusal = |reason, message: String| Refusal::new(Code::InvalidArgument, reason, message);
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
