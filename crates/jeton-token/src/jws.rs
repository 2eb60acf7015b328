//! The strict parser of JWS compact serialization (RFC 7515 section 7.1).
//!
//! Not a general JOSE parser: it accepts what this issuer mints and nothing else (V3, V4), for the reasons in RFC 8725
//! sections 3.1, 3.2, 3.10 and 3.11.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::base64url;
use super::json::{self, Text};
use super::limits::{HEADER_BYTES_MAX, PARSED_TOKEN_BYTES_MAX};
use super::malformed::Malformed;

/// `typ` of an access token (RFC 9068 section 2.1).
pub const TYP: &str = "at+jwt";

/// The text of a well-formed token. Nothing in it is verified: it provides what verification needs, and no claims.
#[derive(Clone)]
pub struct RawToken<'t> {
    algorithm: Algorithm,
    key_id: String,
    signing_input: &'t str,
    payload: Vec<u8>,
    signature: [u8; 64],
}

impl<'t> RawToken<'t> {
    /// Parses `text`: at most 8 KiB, three segments of canonical base64url, the header {alg, kid, typ}, some payload, a
    /// signature of 64 bytes. The payload is not parsed: that comes after the signature (V5).
    pub fn parse(text: &'t str) -> Result<Self, Malformed> {
        let segments = Segments::split(text)?;
        let header = Header::parse(&segments.header()?)?;
        let payload = segments.payload()?;
        let signature = base64url::decode_array(segments.signature)
            .ok_or(Malformed::new("the signature is 64 bytes in canonical base64url"))?;
        let signing_input = segments.signing_input;
        Ok(Self { algorithm: header.algorithm, key_id: header.key_id, signing_input, payload, signature })
    }

    /// The algorithm in the header, to be compared with the key's.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that the header names: 43 characters of base64url.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The signed bytes: header and payload as they came (RFC 7515 section 5.2).
    #[must_use]
    pub const fn signing_input(&self) -> &'t str {
        self.signing_input
    }

    /// The payload's bytes. Not verified, and not known to be JSON.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signature: R and S of 32 bytes each, or Ed25519's.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

impl fmt::Debug for RawToken<'_> {
    /// The text may be a live token, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, key_id, .. } = self;
        f.debug_struct("RawToken")
            .field("algorithm", algorithm)
            .field("key_id", key_id)
            .finish_non_exhaustive()
    }
}

/// The header and the claims of a token, for people to read: **nothing is verified**, and neither was checked against
/// the rules of `RawToken` or `Claims`. For `jeton inspect`, which has no keys; no server code calls it.
#[expect(clippy::type_complexity, reason = "two JSON objects, header and claims")]
pub fn inspect_unverified(text: &str) -> Result<(Map<String, Value>, Map<String, Value>), Malformed> {
    let segments = Segments::split(text)?;
    let header = json::parse_object(&segments.header()?)?;
    Ok((header, json::parse_object(&segments.payload()?)?))
}

struct Segments<'t> {
    signing_input: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Segments<'t> {
    fn split(text: &'t str) -> Result<Self, Malformed> {
        const RULE: Malformed = Malformed::new("a token is three segments with dots between");
        if text.len() > PARSED_TOKEN_BYTES_MAX {
            return Err(Malformed::new("a token is at most 8192 bytes"));
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(RULE)?;
        let (header, payload) = signing_input.split_once('.').ok_or(RULE)?;
        if payload.contains('.') {
            return Err(RULE);
        }
        Ok(Self { signing_input, header, payload, signature })
    }

    fn header(&self) -> Result<Vec<u8>, Malformed> {
        if self.header.len() > base64url::encoded_len(HEADER_BYTES_MAX) {
            return Err(Malformed::new("a header is at most 256 bytes"));
        }
        base64url::decode(self.header).ok_or(Malformed::new("the header is canonical base64url"))
    }

    fn payload(&self) -> Result<Vec<u8>, Malformed> {
        match base64url::decode(self.payload) {
            Some(payload) if !payload.is_empty() => Ok(payload),
            _ => Err(Malformed::new("the payload is canonical base64url, and not empty")),
        }
    }
}

const HEADER: &str = "the header is {alg, kid, typ} and nothing more";
const HEADER_TYP: &str = "`typ` is `at+jwt`";
const HEADER_ALG: &str = "`alg` is ES256 or EdDSA";
const HEADER_KID: &str = "`kid` is a key's thumbprint: 43 characters of base64url";

/// The header, parsed in one pass without a JSON tree: this runs for every token that is judged.
struct Header {
    algorithm: Algorithm,
    key_id: String,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("the header is not UTF-8"))?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer
            .deserialize_map(HeaderVisitor)
            .and_then(|members| deserializer.end().map(|()| members))
            .map_err(|_| Malformed::new(HEADER))?;
        if members.typ != TYP {
            return Err(Malformed::new(HEADER_TYP));
        }
        let algorithm = members.alg.parse().map_err(|_| Malformed::new(HEADER_ALG))?;
        if base64url::decode_array::<32>(&members.kid).is_none() {
            return Err(Malformed::new(HEADER_KID));
        }
        Ok(Self { algorithm, key_id: members.kid.into_owned() })
    }
}

struct HeaderMembers<'h> {
    alg: Cow<'h, str>,
    kid: Cow<'h, str>,
    typ: Cow<'h, str>,
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = HeaderMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut alg, mut kid, mut typ) = (None, None, None);
        // Escapes are decoded: "\u0061lg" is `alg`, and a second one is refused.
        while let Some(Text(name)) = members.next_key()? {
            let slot = match name.as_ref() {
                "alg" => &mut alg,
                "kid" => &mut kid,
                "typ" => &mut typ,
                _ => return Err(A::Error::custom(HEADER)),
            };
            let Text(value) = members.next_value()?;
            if slot.replace(value).is_some() {
                return Err(A::Error::custom(HEADER));
            }
        }
        match (alg, kid, typ) {
            (Some(alg), Some(kid), Some(typ)) => Ok(HeaderMembers { alg, kid, typ }),
            _ => Err(A::Error::custom(HEADER)),
        }
    }
}
