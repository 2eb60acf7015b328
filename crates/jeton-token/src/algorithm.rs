//! The signature algorithms of jeton.

use std::fmt;
use std::str::FromStr;

use super::malformed::Malformed;

/// A JWS algorithm. There are two; `none`, HS* and RS* do not exist here (V4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    Es256,
    /// Ed25519 (RFC 8037 section 3.1).
    EdDsa,
}

impl Algorithm {
    /// The `alg` value: `ES256` or `EdDSA`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Malformed;

    /// Reads the `alg` value, in its own case.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            _ => Err(Malformed::new("an algorithm is ES256 or EdDSA")),
        }
    }
}
