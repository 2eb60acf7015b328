//! Verifying: from the text of a token to claims that this issuer made.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::jwk::PublicKey;
use super::jws::RawToken;
use super::malformed::Malformed;
use super::verified::Verified;

/// A public key, parsed once and kept. Clones share it.
#[derive(Clone)]
pub struct VerifyingKey {
    key_id: Arc<str>,
    jwk: Arc<str>,
    algorithm: Algorithm,
    key: Arc<ParsedPublicKey>,
}

/// The reason why a token was not made by the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The signature does not verify, or the header names another key or algorithm than this key's.
    #[error("the signature does not verify")]
    BadSignature,
    /// The signature verifies, but this issuer makes no such claims (V5).
    #[error("the claims are malformed: {0}")]
    MalformedClaims(Malformed),
}

impl VerifyingKey {
    /// Reads a public JWK: P-256 or Ed25519.
    ///
    /// # Errors
    /// Another kind of key, a private part, members that contradict the key, a point off the curve.
    pub fn from_jwk(jwk: &str) -> Result<Self, Malformed> {
        Self::new(PublicKey::from_jwk(jwk)?)
    }

    pub(super) fn new(public: PublicKey) -> Result<Self, Malformed> {
        let algorithm = public.algorithm();
        let parameters: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::EdDsa => &signature::ED25519,
        };
        let key = ParsedPublicKey::new(parameters, public.to_bytes())
            .map_err(|_| Malformed::new("the numbers are no public key"))?;
        Ok(Self {
            key_id: public.key_id().into(),
            jwk: public.to_jwk().into(),
            algorithm,
            key: Arc::new(key),
        })
    }

    /// `kid`: the RFC 7638 thumbprint, 43 characters of base64url.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The only algorithm that this key verifies (RFC 8725 section 3.1).
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public JWK's JSON.
    #[must_use]
    pub fn jwk(&self) -> &str {
        &self.jwk
    }

    /// Verifies the signature, then reads the claims: in that order, so that nothing of an unsigned payload is parsed.
    pub fn verify(&self, token: &RawToken<'_>) -> Result<Verified, Rejected> {
        self.verify_and_see(token, |_| ()).map(|(verified, ())| verified)
    }

    /// The same, and shows the parsed claims to `see`: they are at hand now.
    pub fn verify_and_see<T>(
        &self,
        token: &RawToken<'_>,
        see: impl FnOnce(&Claims<'_>) -> T,
    ) -> Result<(Verified, T), Rejected> {
        let named = token.algorithm() == self.algorithm && token.key_id() == self.key_id();
        if !named || !self.verify_bytes(token.signing_input().as_bytes(), token.signature()) {
            return Err(Rejected::BadSignature);
        }
        let claims = Claims::parse(token.payload()).map_err(Rejected::MalformedClaims)?;
        Ok((Verified::new(&claims, Arc::clone(&self.key_id)), see(&claims)))
    }

    /// Returns whether `signature` is this key's over `message`.
    pub(super) fn verify_bytes(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("jwk", &self.jwk).finish_non_exhaustive()
    }
}

/// The key set's JSON (RFC 7517 section 5), in the order given.
#[must_use]
pub fn jwks<'k>(keys: impl Iterator<Item = &'k VerifyingKey>) -> String {
    let keys: Vec<&str> = keys.map(VerifyingKey::jwk).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}
