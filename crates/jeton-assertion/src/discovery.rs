//! The discovery document of an issuer (OpenID Connect Discovery 1.0 section 3; RFC 8414 section 2).

use jeton_token::{Malformed, json};
use serde_json::Value;

use crate::limits::DOCUMENT_BYTES_MAX;
use crate::uri::HttpUri;

/// What an issuer says of itself: the place of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The URI of the key set, as it came: http or https, at most 2048 bytes, without user information.
    pub jwks_uri: String,
}

/// The reason why a discovery document is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the discovery document is longer than 262144 bytes")]
    TooLong,
    /// It is no JSON object in strict form.
    #[error("the discovery document cannot be read: {0}")]
    NotJson(Malformed),
    /// `issuer` is missing, or another one (OpenID Connect Discovery 1.0 section 4.3).
    #[error("the issuer of the discovery document is not the configured one")]
    WrongIssuer,
    /// `jwks_uri` is missing, or no absolute http(s) URI.
    #[error("the discovery document has no jwks_uri that is an absolute URI of http or https")]
    NoKeySetUri,
    /// The issuer is not plain http, and its keys are.
    #[error("the jwks_uri is plain http, and the issuer is not")]
    Downgrade,
}

impl Discovery {
    /// Reads a document of at most 256 KiB. Its `issuer` must be `issuer` character by character. Keys are fetched over
    /// https, unless the configured issuer itself is plain http.
    pub fn parse(document: &[u8], issuer: &str) -> Result<Self, DiscoveryError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(DiscoveryError::TooLong);
        }
        let members = json::parse_object(document).map_err(DiscoveryError::NotJson)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(DiscoveryError::WrongIssuer);
        }
        let jwks_uri = text("jwks_uri").ok_or(DiscoveryError::NoKeySetUri)?;
        let target = HttpUri::parse(jwks_uri).ok_or(DiscoveryError::NoKeySetUri)?;
        let issuer_is_plain = HttpUri::parse(issuer).is_some_and(|it| !it.is_https());
        if !target.is_https() && !issuer_is_plain {
            return Err(DiscoveryError::Downgrade);
        }
        Ok(Self { jwks_uri: jwks_uri.to_owned() })
    }
}
