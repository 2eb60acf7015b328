//! The keys that sign, those that only verify or will sign, and the MAC keys of refresh tokens.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::token::{Algorithm, MacKey, Revision, SigningKey, UnixSeconds, VerifyingKey};

/// The state of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// Published: verifies, does not sign yet.
    Pending,
    /// Signs and verifies.
    Active,
    /// Verifies only.
    Retired,
    /// Neither: its tokens are revoked.
    Revoked,
}

/// The life of a key: its state, and the time of the next. Times are by the database's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyLife {
    /// The state.
    pub state: KeyState,
    /// The time when a pending key is due to sign; for other states, when it began to sign.
    pub activate_time: UnixSeconds,
    /// The time when it leaves the key set. `None`: it signs until further notice.
    pub expire_time: Option<UnixSeconds>,
    /// The revision of its publication: every replica that has applied it knows the key.
    pub published: Revision,
}

/// One signing key of this issuer.
#[derive(Debug)]
pub struct KeyRecord {
    /// Its public half, with its `kid` and algorithm.
    pub verifying: VerifyingKey,
    /// Its life.
    pub life: KeyLife,
}

impl KeyRecord {
    /// Returns whether the key is gone: no token that it signed can be live.
    #[must_use]
    pub fn is_gone(&self, now: UnixSeconds) -> bool {
        self.life.expire_time.is_some_and(|end| now >= end)
    }
}

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

/// All keys of this issuer. Replaced as a whole when one changes.
#[derive(Default)]
pub struct KeyRing {
    records: HashMap<String, Arc<KeyRecord>>,
    signing: Vec<Arc<SigningKey>>,
    mac: Vec<MacRecord>,
}

impl KeyRing {
    /// Builds the ring from signing keys in any state, the private halves of those that may sign, and MAC keys.
    #[must_use]
    pub fn new(records: Vec<KeyRecord>, signing: Vec<Arc<SigningKey>>, mac: Vec<MacRecord>) -> Self {
        let records = records
            .into_iter()
            .map(|record| (record.verifying.key_id().to_owned(), Arc::new(record)))
            .collect();
        Self { records, signing, mac }
    }

    /// The same keys, without the private half of this one.
    #[must_use]
    pub fn without_signer(&self, key_id: &str) -> Self {
        Self {
            records: self.records.clone(),
            signing: self.signing.iter().filter(|key| key.key_id() != key_id).cloned().collect(),
            mac: self.mac.clone(),
        }
    }

    /// The key with this `kid`, if it is not gone.
    #[must_use]
    pub fn find(&self, key_id: &str, now: UnixSeconds) -> Option<&Arc<KeyRecord>> {
        self.records.get(key_id).filter(|record| !record.is_gone(now))
    }

    /// Keys that are revoked here, and present but not revoked in `other`.
    pub fn revoked_but_not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let revoked = self.records.iter().filter(|(_, record)| record.life.state == KeyState::Revoked);
        revoked.map(|(key_id, _)| key_id.as_str()).filter(|key_id| {
            other.records.get(*key_id).is_some_and(|record| record.life.state != KeyState::Revoked)
        })
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

    /// Signing keys of an algorithm, in any state.
    pub fn of(&self, algorithm: Algorithm) -> impl Iterator<Item = &Arc<KeyRecord>> {
        self.records.values().filter(move |record| record.verifying.algorithm() == algorithm)
    }

    /// Keys that verifiers may trust now or soon: all but the revoked ones, not gone.
    pub fn published(&self, now: UnixSeconds) -> impl Iterator<Item = &VerifyingKey> {
        let mut records: Vec<_> = self
            .records
            .values()
            .filter(|record| record.life.state != KeyState::Revoked && !record.is_gone(now))
            .collect();
        records.sort_by(|a, b| a.verifying.key_id().cmp(b.verifying.key_id()));
        records.into_iter().map(|record| &record.verifying)
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
