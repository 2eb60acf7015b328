//! A public key of others, as a JSON Web Key (RFC 7517).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jeton_token::{base64url, sha256};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::algorithm::{Algorithm, Family};
use crate::key_fault::KeyFault;
use crate::limits::{KEY_ID_BYTES_MAX, RSA_EXPONENT_BYTES_MAX, RSA_MODULUS_BITS_MAX, RSA_MODULUS_BITS_MIN};
use crate::refused::Refused;

/// Members of private and symmetric keys (RFC 7518 section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key that verifies, parsed once and kept.
#[derive(Clone)]
pub struct PublicKey {
    family: Family,
    algorithm: Option<Algorithm>,
    key_id: Option<String>,
    thumbprint: String,
    key: DecodingKey,
}

impl PublicKey {
    /// Reads the members of a public JWK: RSA of 2048 to 4096 bits, P-256, or Ed25519. Unknown members are ignored
    /// (RFC 7517 section 4).
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("kty") == Some("oct") {
            return Err(KeyFault::Symmetric);
        }
        if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyFault::Private);
        }
        let named = |name: &str, accepted: &[&str]| {
            jwk.get(name).is_none_or(|it| it.as_str().is_some_and(|it| accepted.contains(&it)))
        };
        if !named("use", &["sig", "jwt-svid"]) {
            return Err(KeyFault::OtherUse);
        }
        let verifies = |it: &Value| it.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
        if !jwk.get("key_ops").is_none_or(verifies) {
            return Err(KeyFault::OtherOperations);
        }
        let (family, key, thumbprint) = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => rsa(jwk)?,
            (Some("EC"), Some("P-256")) => p256(jwk)?,
            (Some("OKP"), Some("Ed25519")) => ed25519(jwk)?,
            _ => return Err(KeyFault::UnknownKind),
        };
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => Some(
                name.as_str()
                    .and_then(|name| name.parse::<Algorithm>().ok())
                    .filter(|it| it.family() == family)
                    .ok_or(KeyFault::OtherAlgorithm)?,
            ),
        };
        let key_id = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if is_key_id(kid) => Some(kid.clone()),
            Some(_) => return Err(KeyFault::MalformedKeyId),
        };
        Ok(Self { family, algorithm, key_id, thumbprint, key })
    }

    /// The kind of the key.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Its `kid`, 1 to 255 printable ASCII characters, if it has one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The SHA-256 thumbprint (RFC 7638): 43 characters of base64url. `jkt` of a DPoP proof.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Returns whether the key is one for `algorithm`: of its family, and of the key's own `alg`, if it has one
    /// (RFC 8725 section 3.1).
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.map_or(self.family == algorithm.family(), |own| own == algorithm)
    }

    /// Verifies a signature, in canonical base64url, of the header and payload as they came.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        signing_input: &str,
        signature: &str,
    ) -> Result<(), Refused> {
        if !self.fits(algorithm) {
            return Err(Refused::KeyDoesNotFit(algorithm));
        }
        match jsonwebtoken::crypto::verify(
            signature,
            signing_input.as_bytes(),
            &self.key,
            algorithm.of_library(),
        ) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refused::BadSignature),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, algorithm, key_id, thumbprint, .. } = self;
        f.debug_struct("PublicKey")
            .field("family", family)
            .field("algorithm", algorithm)
            .field("key_id", key_id)
            .field("thumbprint", thumbprint)
            .finish_non_exhaustive()
    }
}

/// Returns whether a text is a `kid` that is looked up: 1 to 255 printable ASCII characters.
pub(crate) fn is_key_id(text: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

type Parts = (Family, DecodingKey, String);

/// `n` and `e` have no leading zero byte, so that one key has one thumbprint (RFC 7518 section 2).
fn rsa(jwk: &Map<String, Value>) -> Result<Parts, KeyFault> {
    let (n_text, n) = number(jwk, "n")?;
    let (e_text, e) = number(jwk, "e")?;
    let ends_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last & 1 == 1);
    let leading = n.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or(8));
    let bits = n.len().saturating_mul(8).saturating_sub(leading);
    if leading == 8 || !(RSA_MODULUS_BITS_MIN..=RSA_MODULUS_BITS_MAX).contains(&bits) || !ends_odd(&n) {
        return Err(KeyFault::Modulus);
    }
    let is_minimal = e.first().is_some_and(|first| *first != 0);
    if !is_minimal || e.len() > RSA_EXPONENT_BYTES_MAX || !ends_odd(&e) || e == [1] {
        return Err(KeyFault::Exponent);
    }
    let members = format!(r#"{{"e":"{e_text}","kty":"RSA","n":"{n_text}"}}"#);
    Ok((Family::Rsa, DecodingKey::from_rsa_raw_components(&n, &e), thumbprint(&members)))
}

fn p256(jwk: &Map<String, Value>) -> Result<Parts, KeyFault> {
    let (x_text, x) = coordinate(jwk, "x")?;
    let (y_text, y) = coordinate(jwk, "y")?;
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyFault::NoPoint)?;
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x_text}","y":"{y_text}"}}"#);
    // Of a key on a curve, the library takes the point itself where it says DER.
    Ok((Family::P256, DecodingKey::from_ec_der(&point), thumbprint(&members)))
}

fn ed25519(jwk: &Map<String, Value>) -> Result<Parts, KeyFault> {
    let (x_text, x) = coordinate(jwk, "x")?;
    ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyFault::NoPoint)?;
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x_text}"}}"#);
    Ok((Family::Ed25519, DecodingKey::from_ed_der(&x), thumbprint(&members)))
}

/// A member in canonical base64url, as text and as bytes.
fn number<'j>(jwk: &'j Map<String, Value>, name: &str) -> Result<(&'j str, Vec<u8>), KeyFault> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(KeyFault::MalformedNumber)?;
    Ok((text, base64url::decode(text).ok_or(KeyFault::MalformedNumber)?))
}

fn coordinate<'j>(jwk: &'j Map<String, Value>, name: &str) -> Result<(&'j str, [u8; 32]), KeyFault> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(KeyFault::MalformedNumber)?;
    Ok((text, base64url::decode_array(text).ok_or(KeyFault::MalformedNumber)?))
}

/// The hash of the required members in lexical order (RFC 7638 section 3.2, RFC 8037 section 2).
fn thumbprint(members: &str) -> String {
    base64url::encode(sha256(&[members.as_bytes()]))
}
