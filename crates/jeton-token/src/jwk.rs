//! Public keys as JSON Web Keys (RFC 7517), and their thumbprints (RFC 7638).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use serde_json::Value;

use super::algorithm::Algorithm;
use super::base64url;
use super::digest::sha256;
use super::json;
use super::malformed::Malformed;

/// A public key's numbers: a point on P-256, or an Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey {
    P256 { x: [u8; 32], y: [u8; 32] },
    Ed25519 { x: [u8; 32] },
}

impl PublicKey {
    /// Parses the format of aws-lc-rs: an uncompressed point (SEC 1 section 2.3.3) or 32 bytes.
    pub(super) fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Es256 => {
                let (x, y) = bytes.strip_prefix(&[4])?.split_at_checked(32)?;
                Some(Self::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? })
            }
            Algorithm::EdDsa => Some(Self::Ed25519 { x: bytes.try_into().ok()? }),
        }
    }

    /// The format of aws-lc-rs.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::P256 { x, y } => [&[4], x.as_slice(), y.as_slice()].concat(),
            Self::Ed25519 { x } => x.to_vec(),
        }
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 { .. } => Algorithm::Es256,
            Self::Ed25519 { .. } => Algorithm::EdDsa,
        }
    }

    /// The SHA-256 thumbprint in base64url: the required members in lexical order (RFC 7638 section 3.2, RFC 8037
    /// section 2).
    pub(super) fn key_id(self) -> String {
        let members = match self {
            Self::P256 { x, y } => {
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(x))
            }
        };
        base64url::encode(sha256(&[members.as_bytes()]))
    }

    /// The JWK's JSON: one text per key, so that every replica's key set is the same byte for byte.
    pub(super) fn to_jwk(self) -> String {
        let numbers = match self {
            Self::P256 { x, y } => {
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#)
            }
            Self::Ed25519 { x } => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, base64url::encode(x)),
        };
        let (kid, alg) = (self.key_id(), self.algorithm());
        format!(r#"{{{numbers},"kid":"{kid}","alg":"{alg}","use":"sig"}}"#)
    }

    /// Parses a JWK: P-256 or Ed25519, without a private part. `kid`, `alg` and `use` are optional; if present, they
    /// must be the thumbprint, the key's algorithm and `sig`.
    pub(super) fn from_jwk(text: &str) -> Result<Self, Malformed> {
        let members = json::parse_object(text.as_bytes())?;
        if members.contains_key("d") {
            return Err(Malformed::new("a public JWK has no private part"));
        }
        let jwk: Jwk =
            serde_json::from_value(Value::Object(members)).map_err(|_| Malformed::new("not a JWK"))?;
        let coordinate = |text: &str| {
            base64url::decode_array(text)
                .ok_or(Malformed::new("a coordinate is 32 bytes in canonical base64url"))
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the list is jsonwebtoken's, and open")]
        let (key, alg) = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
                (Self::P256 { x: coordinate(&point.x)?, y: coordinate(&point.y)? }, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (Self::Ed25519 { x: coordinate(&pair.x)? }, KeyAlgorithm::EdDSA)
            }
            _ => return Err(Malformed::new("a key is on P-256 or Ed25519")),
        };
        if jwk.common.key_algorithm.is_some_and(|named| named != alg) {
            return Err(Malformed::new("`alg` is that of the key's curve"));
        }
        if jwk.common.public_key_use.is_some_and(|named| named != PublicKeyUse::Signature) {
            return Err(Malformed::new("`use` is `sig`"));
        }
        if jwk.common.key_id.is_some_and(|named| named != key.key_id()) {
            return Err(Malformed::new("`kid` is the key's thumbprint"));
        }
        Ok(key)
    }
}
