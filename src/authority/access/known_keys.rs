//! API keys that were found good before. Hashing a key as it is stored costs more than all other checks of a caller,
//! and callers return with the same key. Its client is looked up at each call.

use std::sync::Arc;

use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::{
    authority::Credential,
    state::{AsHashed, TextHash},
};

/// The most keys that are remembered: more clients than call one replica at a time. A few hundred bytes each.
const KNOWN_MAX: u32 = 10_000;

/// The credentials by the whole text of the key; the text itself is not kept. Only good keys are added: garbage cannot
/// push them out.
pub struct KnownKeys {
    hash: TextHash,
    credentials: Cache<u128, Arc<Credential>, UnitWeighter, AsHashed>,
}

impl Default for KnownKeys {
    fn default() -> Self {
        let entries = usize::try_from(KNOWN_MAX).unwrap_or(usize::MAX);
        let credentials = Cache::with(
            entries,
            KNOWN_MAX.into(),
            UnitWeighter,
            AsHashed::default(),
            DefaultLifecycle::default(),
        );
        Self { hash: TextHash::default(), credentials }
    }
}

impl KnownKeys {
    /// The credential that exactly this text was found to be.
    pub(in crate::authority) fn get(&self, text: &str) -> Option<Arc<Credential>> {
        self.credentials.get(&self.hash.of(text))
    }

    /// Remembers a key that a client has.
    pub(in crate::authority) fn insert(&self, text: &str, credential: &Arc<Credential>) {
        self.credentials.insert(self.hash.of(text), Arc::clone(credential));
    }
}
