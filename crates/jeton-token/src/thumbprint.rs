//! The SHA-256 of a client certificate, to which a token may be bound.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq as _;

use super::base64url;
use super::digest::sha256;
use super::malformed::Malformed;

/// `x5t#S256` (RFC 8705 section 3.1): the SHA-256 of a certificate's DER form. Its text is 43 characters of base64url.
#[derive(Debug, Clone, Copy)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// From the SHA-256 itself.
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The thumbprint of a certificate in DER form.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(sha256(&[der]))
    }

    /// The SHA-256 itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Thumbprint {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Thumbprint {}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl FromStr for Thumbprint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let rule = "a thumbprint is 43 characters of canonical base64url: the SHA-256 of a certificate";
        base64url::decode_array(text).map(Self).ok_or(Malformed::new(rule))
    }
}
