//! DPoP proofs (RFC 9449): a JWT by which a caller shows that it holds a private key, for one request.

use jeton_token::{base64url, sha256};

use crate::claims::{issue_time_ms, required, text, token_id};
use crate::jws::Compact;
use crate::key::PublicKey;
use crate::key_fault::KeyFault;
use crate::limits::CLOCK_SKEW_MS;
use crate::refused::Refused;
use crate::typ::Typ;
use crate::uri::HttpUri;

/// What is expected of a proof.
#[derive(Debug, Clone, Copy)]
pub struct ProofExpectation<'a> {
    /// The method of the request, in its own case: `htm`.
    pub method: &'a str,
    /// The URI of the request as callers know it: `htu`.
    pub uri: &'a HttpUri,
    /// The time of the request: milliseconds since the epoch.
    pub now_ms: i64,
    /// The access token that comes with the proof, if one does: then `ath` must be its hash.
    pub access_token: Option<&'a str>,
    /// The nonces that the server takes at present. `None`: the proof needs none.
    pub nonces: Option<&'a [&'a str]>,
    /// The greatest age: `now - iat`, in milliseconds. Clocks may differ by [`CLOCK_SKEW_MS`] beside it.
    pub age_max_ms: i64,
}

/// A verified proof: the holder of the key made it for this request. Two checks are left to the caller: that its `jti`
/// was not used before (RFC 9449 section 11.1), and that the access token is bound to the key (section 4.3, item 12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The RFC 7638 thumbprint of the key: 43 characters of base64url, `cnf.jkt` of a token (RFC 9449 section 6.1).
    pub key_thumbprint: String,
    /// `jti`: 1 to 255 bytes.
    pub token_id: String,
    /// `iat`, in milliseconds since the epoch.
    pub issue_time_ms: i64,
    /// The last millisecond at which it can be accepted: its `jti` must be remembered until then.
    pub accepted_until_ms: i64,
    /// `nonce`, if it has one.
    pub nonce: Option<String>,
}

impl Proof {
    /// Parses and verifies a proof of at most 16 KiB (RFC 9449 section 4.3, items 2 to 12, but for the binding of the
    /// token). The caller checks that the request has one header `DPoP` only (item 1).
    pub fn verify(proof: &str, expectation: &ProofExpectation<'_>) -> Result<Self, Refused> {
        let proof = Compact::parse(proof)?;
        Typ::DPOP.check(proof.header.typ.as_deref())?;
        let jwk = proof.header.jwk.as_ref().ok_or(Refused::NoProofKey)?;
        let key = jwk.as_object().ok_or(KeyFault::NotObject).and_then(PublicKey::from_jwk);
        let key = key.map_err(Refused::ProofKey)?;
        proof.verify(&key)?;

        let claims = &proof.payload;
        let token_id = token_id(claims)?.ok_or(Refused::Missing("jti"))?;
        if required(claims, "htm")? != expectation.method {
            return Err(Refused::WrongMethod);
        }
        if HttpUri::parse(required(claims, "htu")?).as_ref() != Some(expectation.uri) {
            return Err(Refused::WrongUri);
        }
        let age_max_ms = expectation.age_max_ms;
        let issue_time_ms = issue_time_ms(claims, expectation.now_ms, Some(age_max_ms))?;
        let issue_time_ms = issue_time_ms.ok_or(Refused::Missing("iat"))?;
        if let Some(access_token) = expectation.access_token
            && required(claims, "ath")? != base64url::encode(sha256(&[access_token.as_bytes()]))
        {
            return Err(Refused::WrongAccessToken);
        }
        let nonce = text(claims, "nonce")?;
        if !expectation.nonces.is_none_or(|good| nonce.is_some_and(|it| good.contains(&it))) {
            return Err(Refused::NonceNeeded);
        }
        Ok(Self {
            key_thumbprint: key.thumbprint().to_owned(),
            token_id: token_id.to_owned(),
            issue_time_ms,
            accepted_until_ms: issue_time_ms.saturating_add(age_max_ms).saturating_add(CLOCK_SKEW_MS),
            nonce: nonce.map(str::to_owned),
        })
    }
}
