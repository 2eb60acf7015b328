//! The credential of a call.

use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

/// An API key or a token, as the header `authorization: Bearer …` (RFC 6750 section 2.1). It cannot be printed, and is
/// not indexed by HTTP/2.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

/// The text holds characters that no header may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the credential holds characters that no API key and no token has")]
pub struct NotAHeader;

impl Bearer {
    /// From the text of an API key or a token.
    pub fn new(text: &SecretString) -> Result<Self, NotAHeader> {
        let mut value =
            MetadataValue::try_from(format!("Bearer {}", text.expose_secret())).map_err(|_| NotAHeader)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Adds the credential to a request.
    pub fn add_to<T>(&self, request: &mut Request<T>) {
        request.metadata_mut().insert("authorization", self.0.clone());
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_sent_and_never_shown() {
        let Ok(bearer) = Bearer::new(&"jtk_secret".into()) else { unreachable!("it is ASCII") };
        let mut request = Request::new(());
        bearer.add_to(&mut request);
        let sent = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        assert_eq!(sent, Some("Bearer jtk_secret"));
        assert!(!format!("{bearer:?} {request:?}").contains("secret"));
        assert!(matches!(Bearer::new(&"a\nb".into()), Err(NotAHeader)));
    }
}
