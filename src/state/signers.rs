//! The private keys of this issuer: those that sign access tokens, and those that authenticate refresh tokens.

use std::sync::Arc;

use jeton_state::{KeyLife, KeyRing, KeyState};
use jeton_token::{Algorithm, Revision, SigningKey};

use crate::{mint::MacKey, state::Root};

/// One MAC key of this issuer.
#[derive(Clone, Debug)]
pub struct MacRecord {
    /// Its id in refresh tokens.
    pub id: [u8; 4],
    /// Its life; an active key opens sessions.
    pub life: KeyLife,
    /// `None` if it is sealed under a master key that is not here, or refused.
    pub key: Option<Arc<MacKey>>,
    /// jeton did not write its row: it opens no session, and another key takes its place.
    pub refused: bool,
}

/// The private keys of this issuer. Replaced as a whole when one changes.
#[derive(Default)]
pub struct Signers {
    signing: Vec<Arc<SigningKey>>,
    mac: Vec<MacRecord>,
}

impl Signers {
    /// From the private halves of the keys that may sign, and MAC keys in any state.
    #[must_use]
    pub fn new(signing: Vec<Arc<SigningKey>>, mac: Vec<MacRecord>) -> Self {
        Self { signing, mac }
    }

    /// The same keys, without this signing key.
    #[must_use]
    pub fn without_signer(&self, key_id: &str) -> Self {
        Self {
            signing: self.signing.iter().filter(|key| key.key_id() != key_id).cloned().collect(),
            mac: self.mac.clone(),
        }
    }

    /// MAC keys of `stored` that are absent here although they had been published by `applied`, or had been seen: they
    /// were removed.
    #[must_use]
    pub fn macs_removed_from(
        &self,
        stored: &Self,
        applied: Revision,
        had_seen: impl Fn([u8; 4]) -> bool,
    ) -> Vec<[u8; 4]> {
        let known =
            stored.mac.iter().filter(|record| record.life.published <= applied || had_seen(record.id));
        known.map(|record| record.id).filter(|id| self.mac.iter().all(|held| held.id != *id)).collect()
    }

    /// The key that signs with this algorithm.
    #[must_use]
    pub fn signer(&self, algorithm: Algorithm) -> Option<&Arc<SigningKey>> {
        self.signing.iter().find(|key| key.algorithm() == algorithm)
    }

    /// The MAC key with this id, if it could be opened.
    #[must_use]
    pub fn mac(&self, id: [u8; 4]) -> Option<&MacKey> {
        self.mac.iter().find(|record| record.id == id)?.key.as_deref()
    }

    /// The MAC key with this id, if it could not be opened here or is refused.
    #[must_use]
    pub fn unusable_mac(&self, id: [u8; 4]) -> Option<&MacRecord> {
        self.mac.iter().find(|record| record.id == id && record.key.is_none())
    }

    /// The MAC key of new sessions.
    #[must_use]
    pub fn active_mac(&self) -> Option<&Arc<MacKey>> {
        self.mac.iter().find(|record| record.life.state == KeyState::Active)?.key.as_ref()
    }

    /// MAC keys, in any state.
    #[must_use]
    pub fn macs(&self) -> &[MacRecord] {
        &self.mac
    }
}

/// All keys of this issuer, as they were read together.
#[derive(Default)]
pub struct OpenedKeys {
    /// The public keys.
    pub ring: KeyRing,
    /// The private keys.
    pub signers: Signers,
}

impl OpenedKeys {
    /// Puts the keys into `root`. The public keys come first: no key signs what this replica cannot verify. A token
    /// that a revoked key signs between the two is revoked too, because its `rev` is older.
    pub fn store(self, root: &Root) {
        root.keys.store(Arc::new(self.ring));
        root.issuing.signers.store(Arc::new(self.signers));
    }
}
