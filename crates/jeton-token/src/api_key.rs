//! API keys, by which clients without a certificate authenticate (C3).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret as _, SecretString};

use super::base64url;
use super::digest::sha256;
use super::random;

/// The beginning of every API key, by which secret scanners find it.
pub const PREFIX: &str = "jtk_";

/// The length of the public part.
pub(super) const ID_CHARS: usize = 22;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `jtk_`, the id (16 random bytes as 22 base62 characters), `_`, and 256 random bits as 43 base64url characters. One
/// key has one text. The type cannot be printed.
#[derive(Clone)]
pub struct ApiKey {
    id: String,
    text: SecretString,
}

impl ApiKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate() -> Self {
        let id = base62(u128::from_be_bytes(*random::bytes()));
        let text = format!("{PREFIX}{id}_{}", base64url::encode(random::bytes::<32>().as_slice()));
        Self { id, text: SecretString::from(text) }
    }

    /// Parses a canonical text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(PREFIX)?.split_at_checked(ID_CHARS)?;
        let secret = rest.strip_prefix('_')?;
        if !is_id(id) {
            return None;
        }
        base64url::decode_array::<32>(secret)?;
        Some(Self { id: id.to_owned(), text: SecretString::from(text) })
    }

    /// The public part: 22 base62 characters.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SHA-256 of the whole text, as it is stored. 256 random bits need no slow hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[self.expose().as_bytes()])
    }

    /// The text: shown once, when the key is made.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id in a text, at the place where an API key has it. Only the hash of the whole text tells whether it is a key.
#[must_use]
pub fn named_id(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.get(..ID_CHARS)
}

/// Returns whether two hashes are equal, in constant time.
#[must_use]
pub fn hash_eq(a: &[u8; 32], b: &[u8; 32]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// Returns whether `text` is the id of an API key: 22 base62 characters that spell a number below 2^128.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let value = text.bytes().try_fold(0_u128, |value, c| {
        let digit = DIGITS.iter().position(|d| *d == c)?;
        value.checked_mul(62)?.checked_add(u128::try_from(digit).ok()?)
    });
    text.len() == ID_CHARS && value.is_some()
}

/// `value` in base62, 22 digits wide: 62^22 is more than 2^128.
fn base62(mut value: u128) -> String {
    let mut digits = Vec::with_capacity(ID_CHARS);
    for _ in 0..ID_CHARS {
        let digit = usize::try_from(value % 62).ok().and_then(|index| DIGITS.get(index));
        digits.extend(digit.copied().map(char::from));
        value /= 62;
    }
    digits.iter().rev().collect()
}
