//! Opens the sealed keys, checks them, and sees to it that there is one that signs.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    clock::Clock,
    state::{KeyRecord, KeyRing, KeyState, LEEWAY_MAX_S},
    store::{KeyRows, MacKeyRow, NewAudit, NewSigningKey, SigningKeyRow, Store, StoreError},
    token::{
        Algorithm, LIFETIME_CAP_S, MacKey, MasterKey, Purpose, SigningKey, UnixSeconds, VerifyingKey,
        new_uuid_v7,
    },
};

/// How long a retired key still verifies: the longest life of a token, the largest leeway, and the
/// spread of clocks.
pub const VERIFY_AFTER_RETIREMENT_S: i64 = LIFETIME_CAP_S + LEEWAY_MAX_S + 60;

/// The actor of what the server does by itself.
pub(super) const SYSTEM: &str = "system";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The master key does not open it.
    #[error("the master key does not open key {key_id} in the database: give the one that sealed it")]
    WrongMasterKey {
        /// Which.
        key_id: String,
    },
    /// What is stored is not a key.
    #[error("key {key_id} in the database is damaged: {what}")]
    Damaged {
        /// Which.
        key_id: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A key could not be made.
    #[error("a key could not be made: the random source failed")]
    NotMade,
    /// This key is here already.
    #[error("key {key_id} is in the database already")]
    Duplicate {
        /// Which.
        key_id: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The means to open keys and to make them.
#[derive(Clone)]
pub struct Keys {
    master: Arc<MasterKey>,
    clock: Arc<Clock>,
}

impl Keys {
    /// With this master key.
    #[must_use]
    pub fn new(master: MasterKey, clock: Arc<Clock>) -> Self {
        Self { master: Arc::new(master), clock }
    }

    /// Every key in the database, opened.
    pub async fn ring(&self, store: &Store) -> Result<KeyRing, KeyError> {
        self.open(store.keys().await?)
    }

    /// Opens keys. One that fails its own check does not sign.
    pub(super) fn open(&self, rows: KeyRows) -> Result<KeyRing, KeyError> {
        let mut records = Vec::new();
        let mut signing = Vec::new();
        for row in rows.signing {
            let record = record(&row)?;
            if record.state == KeyState::Active {
                let key = self.open_signing(&row)?;
                match key.self_check() {
                    Ok(()) => signing.push(Arc::new(key)),
                    Err(_) => {
                        tracing::error!(
                            jeton.key_id = row.key_id,
                            "this key fails its own check: it does not sign"
                        );
                    }
                }
            }
            records.push(record);
        }
        let mut mac = Vec::new();
        let mut active_mac = None;
        for row in rows.mac {
            let key = Arc::new(self.open_mac(&row)?);
            if !row.retired {
                active_mac = Some(Arc::clone(&key));
            }
            mac.push(key);
        }
        Ok(KeyRing::new(records, signing, mac, active_mac))
    }

    /// Makes what is missing: a key that signs for each algorithm, and a MAC key. Whoever comes
    /// first makes it; the others find it. Nothing is made when what is there cannot be opened.
    pub async fn ensure(&self, store: &Store) -> Result<(), KeyError> {
        let ring = self.ring(store).await?;
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            if ring.signer(algorithm).is_none() {
                let key = SigningKey::generate(algorithm).map_err(|_| KeyError::NotMade)?;
                self.put(store, &key, true, true, SYSTEM, "CreateKey").await?;
            }
        }
        if ring.active_mac().is_none() {
            let key = MacKey::generate();
            let id = hex(key.id());
            let sealed = self.master.seal(Purpose::MacKey, &id, key.secret());
            store.put_mac_key(key.id(), &sealed, &self.audit(SYSTEM, "CreateMacKey")).await?;
        }
        Ok(())
    }

    /// Adds a key from elsewhere. `active`: it signs at once, and the active key of its algorithm is
    /// retired.
    pub async fn import(&self, store: &Store, key: &SigningKey, active: bool) -> Result<(), KeyError> {
        // A master key that does not fit what is there would split the set in two.
        self.ring(store).await?;
        if store.has_signing_key(key.key_id()).await? {
            return Err(KeyError::Duplicate { key_id: key.key_id().to_owned() });
        }
        self.put(store, key, active, false, "jeton key import", "ImportKey").await
    }

    async fn put(
        &self,
        store: &Store,
        key: &SigningKey,
        active: bool,
        only_if_none: bool,
        actor: &str,
        action: &'static str,
    ) -> Result<(), KeyError> {
        let sealed = self.master.seal(Purpose::SigningKey, key.key_id(), key.pkcs8());
        let new = NewSigningKey {
            key_id: key.key_id().to_owned(),
            algorithm: key.algorithm(),
            public_jwk: key.public_jwk().clone(),
            sealed,
            active,
            only_if_none,
            verify_for_s: VERIFY_AFTER_RETIREMENT_S,
        };
        store.put_signing_key(&new, &self.audit(actor, action)).await?;
        Ok(())
    }

    fn audit(&self, actor: &str, action: &'static str) -> NewAudit {
        NewAudit::new(self.new_id(), actor, action)
    }

    fn new_id(&self) -> Uuid {
        new_uuid_v7(self.clock.now_ms())
    }

    fn open_signing(&self, row: &SigningKeyRow) -> Result<SigningKey, KeyError> {
        let pkcs8 = self
            .master
            .open(Purpose::SigningKey, &row.key_id, &row.sealed)
            .map_err(|_| KeyError::WrongMasterKey { key_id: row.key_id.clone() })?;
        let damaged = |what| KeyError::Damaged { key_id: row.key_id.clone(), what };
        let key = SigningKey::from_pkcs8(&pkcs8).map_err(|_| damaged("not a PKCS#8 key"))?;
        if key.key_id() == row.key_id { Ok(key) } else { Err(damaged("private and public half differ")) }
    }

    fn open_mac(&self, row: &MacKeyRow) -> Result<MacKey, KeyError> {
        let key_id = hex(row.id);
        let secret = self
            .master
            .open(Purpose::MacKey, &key_id, &row.sealed)
            .map_err(|_| KeyError::WrongMasterKey { key_id: key_id.clone() })?;
        let secret = <[u8; 32]>::try_from(secret.as_slice())
            .map_err(|_| KeyError::Damaged { key_id, what: "a MAC key is of 32 bytes" })?;
        Ok(MacKey::new(row.id, secret))
    }
}

fn record(row: &SigningKeyRow) -> Result<KeyRecord, KeyError> {
    let verifying = VerifyingKey::from_jwk(&row.public_jwk)
        .map_err(|_| KeyError::Damaged { key_id: row.key_id.clone(), what: "not a public JWK" })?;
    let state = match (row.revoke_time, row.retire_time) {
        (Some(_), _) => KeyState::Revoked,
        (None, Some(_)) => KeyState::Retired,
        (None, None) => KeyState::Active,
    };
    Ok(KeyRecord { verifying, state, expire_time: row.expire_time.map(UnixSeconds::from_timestamp) })
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}
