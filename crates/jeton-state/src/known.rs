//! A verified token as the cache keeps it.

use std::{ops::Deref, sync::OnceLock};

use jeton_token::Verified;
use serde_json::{Map, Value};

/// Encodes custom claims for an answer: with the same result each time.
pub type Encode = fn(&Map<String, Value>) -> Box<[u8]>;

/// A verified token, and its custom claims as answers carry them.
#[derive(Debug)]
pub struct KnownToken {
    token: Verified,
    /// Made once, because custom claims do not change.
    encoded_custom: OnceLock<Box<[u8]>>,
}

impl KnownToken {
    /// From a token, and the encoding of its custom claims if that was made already.
    #[must_use]
    pub fn new(token: Verified, encoded: Option<Box<[u8]>>) -> Self {
        Self { token, encoded_custom: encoded.map(OnceLock::from).unwrap_or_default() }
    }

    /// The custom claims, encoded by `encode` unless they were encoded before: one process has one encoding.
    #[must_use]
    pub fn encoded_custom(&self, encode: Encode) -> &[u8] {
        self.encoded_custom.get_or_init(|| encode(&self.token.custom()))
    }

    /// The bytes that it takes on the heap, the encoded claims included: at most twice their JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let beside = size_of::<Self>().saturating_sub(size_of::<Verified>());
        self.token.bytes().saturating_add(beside).saturating_add(self.token.custom_bytes().saturating_mul(2))
    }
}

impl Deref for KnownToken {
    type Target = Verified;

    fn deref(&self) -> &Verified {
        &self.token
    }
}
