//! The key set of an issuer (RFC 7517 section 5; SPIFFE Trust Domain and Bundle section 4).

use jeton_token::{Malformed, json};
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::jws::Compact;
use crate::key::PublicKey;
use crate::key_fault::KeyFault;
use crate::limits::{DOCUMENT_BYTES_MAX, KEYS_MAX, KEYS_TRIED_MAX};
use crate::refused::Refused;

/// The public keys of one issuer. A token of the issuer is verified by these alone.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    skipped: Vec<Skipped>,
}

/// An entry of a key set that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key {index} of the set is not used: {fault}")]
pub struct Skipped {
    /// Its place in `keys`, from 0.
    pub index: usize,
    /// The reason.
    pub fault: KeyFault,
}

/// The reason why a document is no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the key set is longer than 262144 bytes")]
    TooLong,
    /// It is no JSON object in strict form.
    #[error("the key set cannot be read: {0}")]
    NotJson(Malformed),
    /// It has no array `keys`.
    #[error("the key set has no array keys")]
    NoKeys,
    /// It has more than [`KEYS_MAX`] entries.
    #[error("the key set has more than 100 keys")]
    TooManyKeys,
    /// None of its keys can be used.
    #[error("the key set has no key that can be used")]
    NoUsableKey {
        /// The entries, each with its reason.
        skipped: Vec<Skipped>,
    },
}

impl KeySet {
    /// Reads a JWK set of at most 256 KiB and 100 keys. Keys that cannot be used are skipped, as RFC 7517 section 5
    /// asks for; keys that share a `kid` are all skipped, because a token that names it would name none. A set of which
    /// nothing is left is an error.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let members = json::parse_object(document).map_err(KeySetError::NotJson)?;
        let entries = members.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if entries.len() > KEYS_MAX {
            return Err(KeySetError::TooManyKeys);
        }
        let (mut usable, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match entry.as_object().ok_or(KeyFault::NotObject).and_then(PublicKey::from_jwk) {
                Ok(key) => usable.push((index, key)),
                Err(fault) => skipped.push(Skipped { index, fault }),
            }
        }
        let is_ambiguous = |(index, key): &(usize, PublicKey)| {
            key.key_id().is_some()
                && usable.iter().any(|(other, it)| other != index && it.key_id() == key.key_id())
        };
        let ambiguous: Vec<usize> =
            usable.iter().filter(|entry| is_ambiguous(entry)).map(|(index, _)| *index).collect();
        let fault = KeyFault::SharedKeyId;
        skipped.extend(ambiguous.iter().map(|index| Skipped { index: *index, fault }));
        skipped.sort_by_key(|it| it.index);
        let is_kept = |(index, key)| (!ambiguous.contains(&index)).then_some(key);
        let keys: Vec<PublicKey> = usable.into_iter().filter_map(is_kept).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey { skipped }) } else { Ok(Self { keys, skipped }) }
    }

    /// The keys that can be used, in the order of the document: 1 to 100.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The entries that are not used, in the order of the document.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Returns whether a key has this `kid`. For a server that fetches the set again when a token names another.
    #[must_use]
    pub fn contains(&self, key_id: &str) -> bool {
        self.find(key_id).is_some()
    }

    fn find(&self, key_id: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.key_id() == Some(key_id))
    }

    /// The key that signed the token: the one that the header names, or any that fits if it names none.
    pub(crate) fn verify(&self, token: &Compact<'_>) -> Result<&PublicKey, Refused> {
        if let Some(key_id) = &token.header.key_id {
            let key = self.find(key_id).ok_or(Refused::UnknownKey)?;
            return token.verify(key).map(|()| key);
        }
        let algorithm: Algorithm = token.header.algorithm;
        let candidates: Vec<&PublicKey> = self.keys.iter().filter(|key| key.fits(algorithm)).collect();
        if candidates.is_empty() {
            return Err(Refused::NoKeyFor(algorithm));
        }
        if candidates.len() > KEYS_TRIED_MAX {
            return Err(Refused::KeyIdNeeded);
        }
        candidates.into_iter().find(|key| token.verify(key).is_ok()).ok_or(Refused::BadSignature)
    }
}
