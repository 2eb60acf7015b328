//! Text that does not print.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// A token, a refresh token or an API key. It does not print: [`Secret::reveal`] gives the text.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reveal().is_empty()
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new("")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_in_no_way() {
        let secret = Secret::new("jtk_hidden");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?} {:?}", Some(&secret)).matches("hidden").count(),
            0
        );
        assert_eq!(secret.reveal(), "jtk_hidden");
        assert!(Secret::default().is_empty());
    }
}
