//! Assertions: JWTs of a trusted issuer, or of a client, that say who the caller is (RFC 7523, RFC 8693, SPIFFE
//! JWT-SVID).

use std::fmt;

use jeton_token::SpiffeId;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::claims::{audiences, issue_time_ms, required, text, time_ms, token_id};
use crate::jws::Compact;
use crate::keys::KeySet;
use crate::limits::{CLOCK_SKEW_MS, SUBJECT_BYTES_MAX};
use crate::refused::Refused;
use crate::typ::Typ;

/// The issuer whose token is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer<'a> {
    /// `iss` must be this text, character by character (RFC 7519 section 4.1.1, without normalization).
    Exact(&'a str),
    /// A SPIFFE trust domain: `sub` must be a SPIFFE ID of it. JWT-SVIDs need no `iss`.
    Spiffe {
        /// The trust domain's name, without `spiffe://`.
        trust_domain: &'a str,
        /// The `iss` that a JWT-SVID may have. With `None`, one that has any is refused.
        issuer: Option<&'a str>,
    },
}

/// The rule for `aud`. A token without `aud` is always refused: it might be meant for somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience<'a> {
    /// One of these must be among the values of `aud` (RFC 7519 section 4.1.3).
    AnyOf(&'a [&'a str]),
    /// `aud` must have exactly one value, and it must be one of these: for the assertions of clients, which another
    /// audience could replay here (draft-ietf-oauth-rfc7523bis).
    OnlyOneOf(&'a [&'a str]),
}

/// What is expected of an assertion. Times are milliseconds since the epoch, durations milliseconds; clocks may differ by
/// [`CLOCK_SKEW_MS`] in each comparison.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// Who must have issued it.
    pub issuer: Issuer<'a>,
    /// The algorithms that the issuer is configured with. With none, nothing is accepted.
    pub algorithms: &'a [Algorithm],
    /// The purpose that it must have been made for.
    pub typ: Typ<'a>,
    /// Whom it must be meant for.
    pub audience: Audience<'a>,
    /// The greatest age: `now - iat`, where there is an `iat`. `None`: any.
    pub age_max_ms: Option<i64>,
    /// The greatest remaining life: `exp - now`. `None`: any. For the assertions of clients,
    /// [`CLIENT_ASSERTION_LIFE_MAX_MS`](crate::limits::CLIENT_ASSERTION_LIFE_MAX_MS).
    pub life_max_ms: Option<i64>,
    /// The time of the request.
    pub now_ms: i64,
}

/// A well-formed token that **nobody has verified**. What it says of itself serves to find the issuer or the client whose
/// keys are to verify it, and nothing else.
#[derive(Clone)]
pub struct Unverified<'t>(Compact<'t>);

/// A verified assertion: the issuer signed it, and it meets the expectation.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// `iss`, which is the configured one; `None` of a JWT-SVID without.
    pub issuer: Option<String>,
    /// `sub`: 1 to 255 bytes.
    pub subject: String,
    /// `aud`: at least one value.
    pub audiences: Vec<String>,
    /// `exp`, in milliseconds since the epoch.
    pub expire_time_ms: i64,
    /// `iat`, in milliseconds since the epoch.
    pub issue_time_ms: Option<i64>,
    /// `jti`: 1 to 255 bytes. The issuer's own: only with the issuer does it name a token.
    pub token_id: Option<String>,
    /// The RFC 7638 thumbprint of the key that signed it.
    pub key_thumbprint: String,
    /// All claims, for the rules.
    pub claims: Map<String, Value>,
}

impl<'t> Unverified<'t> {
    /// Parses a compact JWS of at most 16 KiB (RFC 7515 section 7.1) in strict form, with a header that brings no key.
    pub fn parse(text: &'t str) -> Result<Self, Refused> {
        let token = Compact::parse(text)?;
        if token.header.jwk.is_some() { Err(Refused::BringsKey("jwk")) } else { Ok(Self(token)) }
    }

    /// `iss` as the token says, if it is a string.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.payload.get("iss").and_then(Value::as_str)
    }

    /// `sub` as the token says, if it is a string.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.payload.get("sub").and_then(Value::as_str)
    }

    /// The trust domain in `sub` as the token says, if that is a SPIFFE ID.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&str> {
        self.subject().and_then(trust_domain)
    }

    /// `kid`: 1 to 255 printable ASCII characters of anybody's choice, to be compared with those of a key set.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.0.header.key_id.as_deref()
    }

    /// `alg`.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.0.header.algorithm
    }

    /// Verifies the token by the issuer's keys, and its claims by what is expected. The signature comes first, so that a
    /// refusal for a claim is about something that the issuer said. After [`Refused::UnknownKey`] it may be called again
    /// with a newer key set.
    pub fn verify(&self, keys: &KeySet, expectation: &Expectation<'_>) -> Result<Assertion, Refused> {
        let header = &self.0.header;
        if !expectation.algorithms.contains(&header.algorithm) {
            return Err(Refused::AlgorithmNotAllowed(header.algorithm));
        }
        expectation.typ.check(header.typ.as_deref())?;
        let key_thumbprint = keys.verify(&self.0)?.thumbprint().to_owned();
        expectation.judge(&self.0.payload, key_thumbprint)
    }
}

impl fmt::Debug for Unverified<'_> {
    /// The text may be a live token, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Assertion {
    /// The last millisecond at which it can be accepted. Where a token may be used once, its `jti` must be remembered
    /// until then.
    #[must_use]
    pub const fn accepted_until_ms(&self) -> i64 {
        self.expire_time_ms.saturating_add(CLOCK_SKEW_MS).saturating_sub(1)
    }
}

impl Expectation<'_> {
    fn judge(&self, claims: &Map<String, Value>, key_thumbprint: String) -> Result<Assertion, Refused> {
        let issuer = self.issuer(claims)?.map(str::to_owned);
        let subject = self.subject(claims)?.to_owned();
        let audiences = self.audiences(claims)?.into_iter().map(str::to_owned).collect();
        let expire_time_ms = self.expire_time_ms(claims)?;
        if time_ms(claims, "nbf")?.is_some_and(|it| it > self.now_ms.saturating_add(CLOCK_SKEW_MS)) {
            return Err(Refused::NotYetValid);
        }
        let issue_time_ms = issue_time_ms(claims, self.now_ms, self.age_max_ms)?;
        let token_id = token_id(claims)?.map(str::to_owned);
        Ok(Assertion {
            issuer,
            subject,
            audiences,
            expire_time_ms,
            issue_time_ms,
            token_id,
            key_thumbprint,
            claims: claims.clone(),
        })
    }

    fn issuer<'c>(&self, claims: &'c Map<String, Value>) -> Result<Option<&'c str>, Refused> {
        let issuer = text(claims, "iss")?;
        let good = match self.issuer {
            Issuer::Exact(_) if issuer.is_none() => return Err(Refused::Missing("iss")),
            Issuer::Exact(expected) => issuer == Some(expected),
            Issuer::Spiffe { issuer: expected, .. } => issuer.is_none() || issuer == expected,
        };
        if good { Ok(issuer) } else { Err(Refused::WrongIssuer) }
    }

    fn subject<'c>(&self, claims: &'c Map<String, Value>) -> Result<&'c str, Refused> {
        let subject = required(claims, "sub")?;
        if !(1..=SUBJECT_BYTES_MAX).contains(&subject.len()) {
            return Err(Refused::WrongForm { claim: "sub", form: "a text of 1 to 255 bytes" });
        }
        match self.issuer {
            Issuer::Spiffe { trust_domain: expected, .. } if trust_domain(subject) != Some(expected) => {
                Err(Refused::WrongTrustDomain)
            }
            Issuer::Spiffe { .. } | Issuer::Exact(_) => Ok(subject),
        }
    }

    fn audiences<'c>(&self, claims: &'c Map<String, Value>) -> Result<Vec<&'c str>, Refused> {
        let values = audiences(claims)?;
        let (expected, alone) = match self.audience {
            Audience::AnyOf(expected) => (expected, false),
            Audience::OnlyOneOf(expected) => (expected, true),
        };
        if !values.iter().any(|it| expected.contains(it)) {
            return Err(Refused::WrongAudience);
        }
        if alone && values.len() > 1 { Err(Refused::AudienceNotAlone) } else { Ok(values) }
    }

    fn expire_time_ms(&self, claims: &Map<String, Value>) -> Result<i64, Refused> {
        let expire_ms = time_ms(claims, "exp")?.ok_or(Refused::Missing("exp"))?;
        if self.now_ms >= expire_ms.saturating_add(CLOCK_SKEW_MS) {
            return Err(Refused::Expired);
        }
        let lives_long = |max: i64| expire_ms.saturating_sub(self.now_ms) > max.saturating_add(CLOCK_SKEW_MS);
        if self.life_max_ms.is_some_and(lives_long) { Err(Refused::LivesTooLong) } else { Ok(expire_ms) }
    }
}

fn trust_domain(subject: &str) -> Option<&str> {
    SpiffeId::parse(subject).ok()?;
    subject.strip_prefix("spiffe://")?.split('/').next()
}
