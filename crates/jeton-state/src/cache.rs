//! Tokens whose form and signature were found good, by the whole of their text. The cache says nothing of time,
//! revocation or the key's life: those are judged at every look-up.

use std::{num::NonZero, sync::Arc};

use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{AsHashed, Encode, KnownToken, TextHash};

const MIB: u64 = 1024 * 1024;
/// The typical size of one token: it sizes the inner table.
const ENTRY_BYTES_TYPICAL: u64 = 704;

#[derive(Clone)]
struct Weigh;

impl Weighter<u128, Arc<KnownToken>> for Weigh {
    fn weight(&self, _: &u128, token: &Arc<KnownToken>) -> u64 {
        /// The key, the counters of the `Arc`, and the table's own share.
        const BESIDE_BYTES: usize = 96;
        u64::try_from(token.bytes().saturating_add(BESIDE_BYTES)).unwrap_or(u64::MAX)
    }
}

/// The place of a text in the cache that made it: its hash.
#[derive(Clone, Copy, Debug)]
pub struct Place(u128);

/// The cache. Only verified tokens are added, so garbage can neither fill it nor displace good tokens.
pub struct VerifiedCache {
    hash: TextHash,
    encode: Option<Encode>,
    tokens: Cache<u128, Arc<KnownToken>, Weigh, AsHashed>,
}

impl VerifiedCache {
    /// A cache of at most this many MiB.
    #[must_use]
    pub fn of_mib(mib_max: NonZero<u32>) -> Self {
        Self::with_capacity(u64::from(mib_max.get()).saturating_mul(MIB))
    }

    /// A cache of at most this many bytes.
    #[must_use]
    pub fn with_capacity(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max.div_euclid(ENTRY_BYTES_TYPICAL)).unwrap_or(usize::MAX);
        Self {
            hash: TextHash::default(),
            encode: None,
            tokens: Cache::with(entries, bytes_max, Weigh, AsHashed::default(), DefaultLifecycle::default()),
        }
    }

    /// The same; custom claims of added tokens are encoded.
    #[must_use]
    pub fn encoding(self, encode: Encode) -> Self {
        Self { encode: Some(encode), ..self }
    }

    /// The encoding of the custom claims of added tokens.
    pub(super) fn encode(&self) -> Option<Encode> {
        self.encode
    }

    /// The place of exactly this text.
    #[must_use]
    pub fn place(&self, text: &str) -> Place {
        Place(self.hash.of(text))
    }

    /// The token at this place, if it was seen before.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<Arc<KnownToken>> {
        self.tokens.get(&place.0)
    }

    /// Adds a token whose signature verified, at this place.
    pub fn insert(&self, place: Place, token: &Arc<KnownToken>) {
        self.tokens.insert(place.0, Arc::clone(token));
    }

    /// Number of tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns whether the cache is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
