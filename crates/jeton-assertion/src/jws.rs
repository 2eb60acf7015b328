//! The strict parser of JWS compact serialization (RFC 7515 section 7.1), for tokens that others made.
//!
//! Other issuers have other headers than ours, so unknown members are ignored. What would choose the key or change the
//! meaning of the token is refused (RFC 8725 sections 3.1, 3.2, 3.10).

use jeton_token::{base64url, json};
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::key::{PublicKey, is_key_id};
use crate::limits::TOKEN_BYTES_MAX;
use crate::refused::{Part, Refused};

/// A well-formed token. Nothing in it is verified.
#[derive(Clone)]
pub(crate) struct Compact<'t> {
    pub(crate) header: Header,
    pub(crate) payload: Map<String, Value>,
    signing_input: &'t str,
    signature: &'t str,
}

/// The members of a header that are looked at.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) typ: Option<String>,
    /// 1 to 255 printable ASCII characters.
    pub(crate) key_id: Option<String>,
    /// Only a DPoP proof may have one.
    pub(crate) jwk: Option<Value>,
}

impl<'t> Compact<'t> {
    /// Parses at most 16 KiB: three segments of canonical base64url, two of which are JSON objects in strict form.
    pub(crate) fn parse(text: &'t str) -> Result<Self, Refused> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(Refused::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Refused::NotCompact)?;
        if payload.contains('.') {
            return Err(Refused::NotCompact);
        }
        let header = Header::read(object(header, Part::Header)?)?;
        let payload = object(payload, Part::Payload)?;
        if base64url::decode(signature).is_none() {
            return Err(Refused::NotBase64Url(Part::Signature));
        }
        Ok(Self { header, payload, signing_input, signature })
    }

    /// Verifies the signature by this key.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), Refused> {
        key.verify(self.header.algorithm, self.signing_input, self.signature)
    }
}

impl Header {
    fn read(mut members: Map<String, Value>) -> Result<Self, Refused> {
        if members.contains_key("crit") {
            return Err(Refused::Critical);
        }
        if let Some(name) = ["jku", "x5u", "x5c"].into_iter().find(|name| members.contains_key(*name)) {
            return Err(Refused::BringsKey(name));
        }
        let mut text = |name: &'static str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused::HeaderNotString(name)),
        };
        let (alg, typ, key_id) = (text("alg")?, text("typ")?, text("kid")?);
        let algorithm = alg.and_then(|alg| alg.parse().ok()).ok_or(Refused::UnknownAlgorithm)?;
        if !key_id.as_deref().is_none_or(is_key_id) {
            return Err(Refused::MalformedKeyId);
        }
        Ok(Self { algorithm, typ, key_id, jwk: members.remove("jwk") })
    }
}

fn object(segment: &str, part: Part) -> Result<Map<String, Value>, Refused> {
    let bytes = base64url::decode(segment).ok_or(Refused::NotBase64Url(part))?;
    json::parse_object(&bytes).map_err(|rule| Refused::NotJson(part, rule))
}
