//! Tokens whose form and signature were found good, by the whole of their text. It says nothing of
//! time, revocation or the key's life: those are judged afresh at every look.

use std::{num::NonZero, sync::Arc};

use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{AsHashed, TextHash};
use crate::token::{Render, Verified};

const MIB: u64 = 1024 * 1024;
/// What one token takes, about: sizes the table inside.
const ENTRY_BYTES_TYPICAL: u64 = 704;

#[derive(Clone)]
struct Weigh;

impl Weighter<u128, Arc<Verified>> for Weigh {
    fn weight(&self, _: &u128, verified: &Arc<Verified>) -> u64 {
        /// The key, the counters of the `Arc`, and the table's own share.
        const BESIDE_BYTES: usize = 96;
        u64::try_from(verified.bytes().saturating_add(BESIDE_BYTES)).unwrap_or(u64::MAX)
    }
}

/// Where a text is, or would be, in the cache that named it: its hash.
#[derive(Clone, Copy, Debug)]
pub struct Place(u128);

/// The cache. Only verified tokens go in, so garbage can neither fill it nor push good ones out.
pub struct VerifiedCache {
    hash: TextHash,
    render: Option<Render>,
    tokens: Cache<u128, Arc<Verified>, Weigh, AsHashed>,
}

impl VerifiedCache {
    /// A cache of at most so many MiB.
    #[must_use]
    pub fn of_mib(mib_max: NonZero<u32>) -> Self {
        Self::with_capacity(u64::from(mib_max.get()).saturating_mul(MIB))
    }

    /// A cache of at most so many bytes.
    #[must_use]
    pub fn with_capacity(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max.div_euclid(ENTRY_BYTES_TYPICAL)).unwrap_or(usize::MAX);
        Self {
            hash: TextHash::default(),
            render: None,
            tokens: Cache::with(entries, bytes_max, Weigh, AsHashed::default(), DefaultLifecycle::default()),
        }
    }

    /// The same; what comes in has its own claims rendered.
    #[must_use]
    pub fn rendering(self, render: Render) -> Self {
        Self { render: Some(render), ..self }
    }

    /// How what comes in is to be rendered.
    pub(super) fn render(&self) -> Option<Render> {
        self.render
    }

    /// The place of exactly this text.
    #[must_use]
    pub fn place(&self, text: &str) -> Place {
        Place(self.hash.of(text))
    }

    /// The token whose place this is, if it was seen before.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<Arc<Verified>> {
        self.tokens.get(&place.0)
    }

    /// Remembers the token whose place this is, and whose signature verified.
    pub fn insert(&self, place: Place, verified: &Arc<Verified>) {
        self.tokens.insert(place.0, Arc::clone(verified));
    }

    /// Number of tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
