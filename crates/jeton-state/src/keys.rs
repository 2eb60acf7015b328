//! The public keys of an issuer, in all states of their lives.

use std::sync::Arc;

use hashbrown::HashMap;

use jeton_token::{Algorithm, Revision, UnixSeconds, VerifyingKey};

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

/// The public keys of an issuer. Replaced as a whole when one changes.
#[derive(Default)]
pub struct KeyRing {
    records: HashMap<String, Arc<KeyRecord>>,
}

impl KeyRing {
    /// The ring of these keys, in any state.
    #[must_use]
    pub fn new(records: Vec<KeyRecord>) -> Self {
        let records = records
            .into_iter()
            .map(|record| (record.verifying.key_id().to_owned(), Arc::new(record)))
            .collect();
        Self { records }
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
}
