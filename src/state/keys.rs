//! The keys that sign, those that still verify, and those of the refresh tokens' MAC.

use std::{collections::HashMap, sync::Arc};

use crate::token::{Algorithm, MacKey, SigningKey, UnixSeconds, VerifyingKey};

/// Where a signing key is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// Signs and verifies.
    Active,
    /// Verifies only.
    Retired,
    /// Neither: what it signed is revoked.
    Revoked,
}

/// One signing key of this issuer.
#[derive(Debug)]
pub struct KeyRecord {
    /// Its public half, with its `kid` and algorithm.
    pub verifying: VerifyingKey,
    /// Where it is in its life.
    pub state: KeyState,
    /// Leaves the key set from here on. Unset: signs until further notice.
    pub expire_time: Option<UnixSeconds>,
}

impl KeyRecord {
    /// Whether the key is gone: no token that it signed can be alive.
    #[must_use]
    pub fn is_gone(&self, now: UnixSeconds) -> bool {
        self.expire_time.is_some_and(|end| now >= end)
    }
}

/// All keys of this issuer. Replaced whole when one changes.
#[derive(Default)]
pub struct KeyRing {
    records: HashMap<String, Arc<KeyRecord>>,
    signing: Vec<Arc<SigningKey>>,
    mac: Vec<Arc<MacKey>>,
    active_mac: Option<Arc<MacKey>>,
}

impl KeyRing {
    /// Of signing keys in any state, the private halves of those that may sign, and MAC keys, of
    /// which `active_mac` opens sessions.
    #[must_use]
    pub fn new(
        records: Vec<KeyRecord>,
        signing: Vec<Arc<SigningKey>>,
        mac: Vec<Arc<MacKey>>,
        active_mac: Option<Arc<MacKey>>,
    ) -> Self {
        let records = records
            .into_iter()
            .map(|record| (record.verifying.key_id().to_owned(), Arc::new(record)))
            .collect();
        Self { records, signing, mac, active_mac }
    }

    /// The same keys, but this one does not sign.
    #[must_use]
    pub fn without_signer(&self, key_id: &str) -> Self {
        Self {
            records: self.records.clone(),
            signing: self.signing.iter().filter(|key| key.key_id() != key_id).cloned().collect(),
            mac: self.mac.clone(),
            active_mac: self.active_mac.clone(),
        }
    }

    /// The key with this `kid`, if it is not gone.
    #[must_use]
    pub fn find(&self, key_id: &str, now: UnixSeconds) -> Option<&Arc<KeyRecord>> {
        self.records.get(key_id).filter(|record| !record.is_gone(now))
    }

    /// Keys that are revoked here, but not in `other`, which has them.
    pub fn revoked_but_not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let revoked = self.records.iter().filter(|(_, record)| record.state == KeyState::Revoked);
        revoked.map(|(key_id, _)| key_id.as_str()).filter(|key_id| {
            other.records.get(*key_id).is_some_and(|record| record.state != KeyState::Revoked)
        })
    }

    /// The key that signs with this algorithm.
    #[must_use]
    pub fn signer(&self, algorithm: Algorithm) -> Option<&Arc<SigningKey>> {
        self.signing.iter().find(|key| key.algorithm() == algorithm)
    }

    /// Those that verifiers may trust: active and retired, not gone.
    pub fn published(&self, now: UnixSeconds) -> impl Iterator<Item = &VerifyingKey> {
        let mut records: Vec<_> = self
            .records
            .values()
            .filter(|record| record.state != KeyState::Revoked && !record.is_gone(now))
            .collect();
        records.sort_by(|a, b| a.verifying.key_id().cmp(b.verifying.key_id()));
        records.into_iter().map(|record| &record.verifying)
    }

    /// The MAC key with this id.
    #[must_use]
    pub fn mac(&self, id: [u8; 4]) -> Option<&MacKey> {
        self.mac.iter().find(|key| key.id() == id).map(AsRef::as_ref)
    }

    /// The MAC key of new sessions.
    #[must_use]
    pub fn active_mac(&self) -> Option<&Arc<MacKey>> {
        self.active_mac.as_ref()
    }
}
