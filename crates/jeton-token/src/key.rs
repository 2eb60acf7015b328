//! Signing keys, and minting.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::base64url;
use super::claims::Claims;
use super::json;
use super::jwk::PublicKey;
use super::jws::TYP;
use super::limits::{LIFETIME_CAP_S, TOKEN_BYTES_MAX};
use super::pkcs8::split_public_key;
use super::verify::VerifyingKey;

/// The text that a key signs to prove itself when it is loaded (I13). No token begins like this: a header has no space.
const PROBE: &[u8] = b"jeton probe";
/// A signature in base64url: 64 bytes.
const SIGNATURE_TEXT_BYTES: usize = base64url::encoded_len(64);

/// A key that signs. Parsed once and kept; its `Debug` output shows nothing of the private part.
pub struct SigningKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
    verifying: VerifyingKey,
    /// The encoded header with its dot: the same for every token of the key.
    header: String,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// The reason why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no private key that can sign here.
    #[error("not an unencrypted PKCS#8 private key on P-256 or Ed25519")]
    Unacceptable,
    /// The text holds no section `PRIVATE KEY`.
    #[error("no PEM section PRIVATE KEY (PKCS#8); convert with `openssl pkcs8 -topk8 -nocrypt`")]
    NoPem,
    /// The library could not make or use the key.
    #[error("the cryptographic library failed")]
    Library,
    /// The key does not verify its own signature of a probe (I13).
    #[error("the key does not verify what it signs")]
    SelfCheck,
}

/// The reason why a token was not minted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The token would be longer than `TOKEN_BYTES_MAX` (I10).
    #[error("the token would take {size_bytes} bytes")]
    TooLarge {
        /// Its length.
        size_bytes: usize,
        /// The claim with the longest JSON. As it came: escape it before it is shown.
        largest_claim: String,
    },
    /// The claims have a lifetime above the cap (I1). Lifetimes are decided before: this is the last check.
    #[error("a lifetime of {lifetime_s} s is above the cap")]
    LifetimeExceedsCap {
        /// `exp - iat`.
        lifetime_s: i64,
    },
    /// The library could not sign.
    #[error("the key could not sign")]
    Signing,
}

impl SigningKey {
    /// Makes a key from the system's randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        Self::new(match algorithm {
            Algorithm::Es256 => Pair::Es256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Library)?,
            ),
            Algorithm::EdDsa => Pair::EdDsa(Ed25519KeyPair::generate().map_err(|_| KeyError::Library)?),
        })
    }

    /// Reads an unencrypted PKCS#8 document in DER form, version 1 or 2 (RFC 5208, RFC 5958).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = p256(der)
            .map(Pair::Es256)
            .or_else(|| Ed25519KeyPair::from_pkcs8(der).ok().map(Pair::EdDsa))
            .ok_or(KeyError::Unacceptable)?;
        Self::new(pair)
    }

    /// Reads the first section `PRIVATE KEY` of a PEM text (RFC 7468 section 10).
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NoPem)?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    fn new(pair: Pair) -> Result<Self, KeyError> {
        let (algorithm, public, document) = match &pair {
            Pair::Es256(pair) => (Algorithm::Es256, pair.public_key().as_ref(), pair.to_pkcs8v1()),
            Pair::EdDsa(pair) => (Algorithm::EdDsa, pair.public_key().as_ref(), pair.to_pkcs8v1()),
        };
        let public = PublicKey::from_bytes(algorithm, public).ok_or(KeyError::Library)?;
        let verifying = VerifyingKey::new(public).map_err(|_| KeyError::Library)?;
        let pkcs8 = Zeroizing::new(document.map_err(|_| KeyError::Library)?.as_ref().to_vec());
        let kid = verifying.key_id();
        let mut header = base64url::encode(format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"{TYP}"}}"#));
        header.push('.');
        Ok(Self { pair, pkcs8, verifying, header })
    }

    /// The private key as a PKCS#8 document, version 1: secret, to be sealed. One key has one document, whatever it was
    /// imported from.
    #[must_use]
    pub const fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    /// The scalar, big endian, or the seed: secret.
    #[doc(hidden)]
    pub fn secret(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let bytes = |bytes: &[u8]| bytes.try_into().map(Zeroizing::new).map_err(|_| KeyError::Library);
        match &self.pair {
            Pair::Es256(pair) => {
                let scalar: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_| KeyError::Library)?;
                bytes(scalar.as_ref())
            }
            Pair::EdDsa(pair) => {
                let seed = pair.seed().map_err(|_| KeyError::Library)?;
                let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| KeyError::Library)?;
                bytes(seed.as_ref())
            }
        }
    }

    /// `kid`: the RFC 7638 thumbprint, 43 characters of base64url.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.verifying.key_id()
    }

    /// The algorithm of its signatures.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// The public JWK's JSON.
    #[must_use]
    pub fn public_jwk(&self) -> String {
        self.verifying.jwk().to_owned()
    }

    /// The public half.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    /// Signs header and payload as encoded: R and S of 32 bytes each (RFC 7518 section 3.4), or Ed25519's 64 bytes
    /// (RFC 8037 section 3.1).
    pub fn sign(&self, signing_input: &[u8]) -> Result<[u8; 64], KeyError> {
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), signing_input),
            Pair::EdDsa(pair) => pair.try_sign(signing_input),
        };
        let signature = signature.map_err(|_| KeyError::Library)?;
        signature.as_ref().try_into().map_err(|_| KeyError::Library)
    }

    /// Mints a token with `claims`: at most 4096 bytes (I10), with a life of at most 86 400 s (I1).
    pub fn mint(&self, claims: &Claims<'_>) -> Result<String, MintError> {
        let lifetime_s = claims.expire_time.since(claims.issue_time);
        if lifetime_s > LIFETIME_CAP_S {
            return Err(MintError::LifetimeExceedsCap { lifetime_s });
        }
        let payload = claims.to_json();
        let size_bytes = self
            .header
            .len()
            .saturating_add(base64url::encoded_len(payload.len()))
            .saturating_add(1)
            .saturating_add(SIGNATURE_TEXT_BYTES);
        if size_bytes > TOKEN_BYTES_MAX {
            return Err(MintError::TooLarge { size_bytes, largest_claim: largest_claim(&payload) });
        }
        let mut token = String::with_capacity(size_bytes);
        token.push_str(&self.header);
        base64url::encode_into(&payload, &mut token);
        let signature = self.sign(token.as_bytes()).map_err(|_| MintError::Signing)?;
        token.push('.');
        base64url::encode_into(signature, &mut token);
        Ok(token)
    }

    /// Signs a probe and verifies it with the public half (I13).
    pub fn self_check(&self) -> Result<(), KeyError> {
        let signature = self.sign(PROBE)?;
        if self.verifying.verify_bytes(PROBE, &signature) { Ok(()) } else { Err(KeyError::SelfCheck) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_id", &self.key_id()).finish_non_exhaustive()
    }
}

/// Reads a key on P-256 in either version of PKCS#8.
fn p256(der: &[u8]) -> Option<EcdsaKeyPair> {
    let read = |der: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok();
    read(der).or_else(|| {
        let (first_version, public) = split_public_key(der)?;
        let first_version = Zeroizing::new(first_version);
        read(&first_version).filter(|pair| pair.public_key().as_ref() == public)
    })
}

/// The name of the claim whose JSON is longest.
#[must_use]
pub fn largest_claim(payload: &[u8]) -> String {
    let members = json::parse_object(payload).unwrap_or_default();
    let sized = members.into_iter().map(|(name, value)| (value.to_string().len(), name));
    sized.max().map(|(_, name)| name).unwrap_or_default()
}
