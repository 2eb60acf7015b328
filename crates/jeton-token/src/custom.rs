//! Rules for claims that callers of Issue supply.

use std::io;

use serde_json::{Map, Number, Value};

use super::{
    limits::{CLAIM_NAME_BYTES_MAX, CUSTOM_CLAIM_NESTING_MAX, CUSTOM_CLAIMS_BYTES_MAX, SAFE_INTEGER_MAX},
    text::hidden_in,
};

/// Names that a caller cannot set, because verifiers act on them as statements of the issuer.
///
/// Deliberately absent: `roles`, `groups` and `entitlements` (RFC 9068 section 2.2.3.1), `authorization_details` (RFC
/// 9396) and the profile claims of `OpenID` Connect. Callers may set them for their subjects.
pub const RESERVED: &[&str] = &[
    // RFC 7519 section 4.1.
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    // Ours: RFC 9068 section 2.2, RFC 8705 section 3.1, OpenID Connect sessions, the revision, and the
    // trusted issuer.
    "client_id",
    "rev",
    "scope",
    "sid",
    "cnf",
    "idp",
    // Delegation (RFC 8693 sections 4.1 and 4.4): names who acts, or may act, for the subject.
    "act",
    "may_act",
    // The authentication of the subject (RFC 9068 section 2.2.1): step-up (RFC 9470) grants access by it.
    "auth_time",
    "acr",
    "amr",
    // ID tokens (OpenID Connect Core sections 2 and 3.3.2.11): an access token must not be taken for one.
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    // Keys and claims at other places (OpenID Connect Core sections 5.6.2 and 7): a verifier would follow them.
    "sub_jwk",
    "_claim_names",
    "_claim_sources",
    // Security event tokens (RFC 8417 section 2.2): an access token must not be taken for one.
    "events",
    "toe",
    "txn",
    // Members of an introspection answer that are no claims (RFC 7662 section 2.2), beside which claims appear there.
    "active",
    "token_type",
];

/// Reasons why custom claims are refused. Claim names are as they came: escape them before they are shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomClaimError {
    /// The name is one that only the issuer sets.
    #[error("a claim of that name is set by the issuer alone")]
    Reserved {
        /// The claim.
        claim: String,
    },
    /// A number in the claim cannot be kept exactly by every JSON parser.
    #[error("a number in the claim is beyond ±(2^53 − 1)")]
    NumberUnsafe {
        /// The claim, at the outermost level.
        claim: String,
    },
    /// All claims together, as JSON, are too long.
    #[error("the custom claims take {size_bytes} bytes of JSON; at most {max} fit")]
    TooLarge {
        /// Their length.
        size_bytes: usize,
        /// The greatest length.
        max: usize,
    },
    /// The claim breaks a rule of form.
    #[error("{rule}")]
    Form {
        /// The claim, at the outermost level.
        claim: String,
        /// The rule, in words.
        rule: &'static str,
    },
}

/// A fault of one value.
enum Fault {
    Number,
    Form(&'static str),
}

/// Checks claims that a caller supplies (I9). The same rules hold for what Validate accepts (V5).
pub fn check_custom(custom: &Map<String, Value>) -> Result<(), CustomClaimError> {
    for (claim, value) in custom {
        if RESERVED.contains(&claim.as_str()) {
            return Err(CustomClaimError::Reserved { claim: claim.clone() });
        }
        check_name(claim).and_then(|()| check_value(value, 0)).map_err(|fault| match fault {
            Fault::Number => CustomClaimError::NumberUnsafe { claim: claim.clone() },
            Fault::Form(rule) => CustomClaimError::Form { claim: claim.clone(), rule },
        })?;
    }
    if custom.is_empty() {
        return Ok(());
    }
    let mut size = Size(0);
    let size_bytes = serde_json::to_writer(&mut size, custom).map_or(usize::MAX, |()| size.0);
    if size_bytes > CUSTOM_CLAIMS_BYTES_MAX {
        return Err(CustomClaimError::TooLarge { size_bytes, max: CUSTOM_CLAIMS_BYTES_MAX });
    }
    Ok(())
}

/// Counts the bytes that are written.
struct Size(usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The JSON number for a protobuf double; `None` if JSON, or a parser that reads numbers as doubles, cannot keep it
/// exactly. A whole number becomes an integer, so that it is written without fraction or exponent.
#[must_use]
pub fn number(value: f64) -> Option<Number> {
    if !value.is_finite() {
        return None;
    }
    if value.fract() != 0.0 {
        return Number::from_f64(value);
    }
    // Rust formats a whole double as digits only; that of -0.0 is `-0`, which parses as 0.
    let whole: i64 = format!("{value:.0}").parse().ok()?;
    (whole.unsigned_abs() <= SAFE_INTEGER_MAX.unsigned_abs()).then(|| whole.into())
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > CLAIM_NAME_BYTES_MAX || hidden_in(name).is_some() {
        return Err(Fault::Form(
            "a claim's name is 1 to 128 bytes without control or format characters, and without blanks but spaces",
        ));
    }
    Ok(())
}

/// Checks `value`, which lies within `depth` arrays and objects of the claim.
fn check_value(value: &Value, depth: usize) -> Result<(), Fault> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => check_number(number),
        Value::String(text) => check_string(text),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            items.iter().try_for_each(|item| check_value(item, depth))
        }
        Value::Object(members) => {
            let depth = deeper(depth)?;
            members.iter().try_for_each(|(name, member)| {
                check_string(name)?;
                check_value(member, depth)
            })
        }
    }
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth >= CUSTOM_CLAIM_NESTING_MAX {
        return Err(Fault::Form("a claim nests at most 14 deep"));
    }
    Ok(depth.saturating_add(1))
}

fn check_number(number: &Number) -> Result<(), Fault> {
    let max = SAFE_INTEGER_MAX.unsigned_abs();
    if let Some(whole) = number.as_i64() {
        return if whole.unsigned_abs() <= max { Ok(()) } else { Err(Fault::Number) };
    }
    match number.as_f64() {
        // An integer above i64::MAX, or a double so large that it is whole.
        Some(value) if value.fract() == 0.0 && self::number(value).is_none() => Err(Fault::Number),
        Some(value) if value.fract() == 0.0 => {
            Err(Fault::Form("a whole number is written without fraction or exponent"))
        }
        Some(_) => Ok(()),
        None => Err(Fault::Number),
    }
}

/// Refuses NUL: neither Postgres' `jsonb` nor a C string can hold one.
fn check_string(text: &str) -> Result<(), Fault> {
    if text.contains('\0') { Err(Fault::Form("a claim holds no NUL character")) } else { Ok(()) }
}
