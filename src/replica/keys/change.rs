//! The steps of a key's life, each through the log: published, activated, resealed, removed. A key signs only when
//! every replica knows it.

use crate::{
    mint::{MacKey, Purpose},
    replica::{
        Keys, MAC_AFTER_RETIREMENT_S, StoredKeyError, VERIFY_AFTER_RETIREMENT_S, await_everywhere,
        keys::opening::{SYSTEM, hex},
        membership::everywhere::await_known,
    },
    state::{KeyState, MacRecord, OpenedKeys},
    store::{KeyRows, NewAudit, NewSigningKey, Store, Task},
};
use jeton_token::{Algorithm, Revision, SigningKey};

/// A century, seconds: so an active key of any age prevents the publication of another one.
pub(in crate::replica) const ANY_AGE_S: i64 = 100 * 365 * 86_400;
/// Tries of resealing if keys change meanwhile.
const RESEAL_TRIES: u32 = 5;

/// A step of a key's life, in the log.
fn log(audit: &NewAudit, key_id: &str, revision: Revision) {
    NewAudit { key_id: Some(key_id.to_owned()), ..audit.clone() }.log(Some(revision), 0);
}

/// The numbers of keys that were resealed, and of those that needed no resealing.
#[derive(Clone, Copy, Default, Debug)]
pub struct Resealed {
    /// Keys that were resealed.
    pub sealed: usize,
    /// Keys that the new master key opened already.
    pub before: usize,
}

impl Resealed {
    /// Counts a key. Returns its new sealed bytes.
    fn count(&mut self, is_new: bool, sealed: Option<Vec<u8>>, was: &[u8]) -> Vec<u8> {
        self.before = self.before.saturating_add(usize::from(is_new));
        self.sealed = self.sealed.saturating_add(usize::from(sealed.is_some()));
        sealed.unwrap_or_else(|| was.to_vec())
    }
}

/// All keys, resealed, in the order of their rows.
#[derive(Default)]
struct ResealedRows {
    signing: Vec<Vec<u8>>,
    mac: Vec<Vec<u8>>,
    done: Resealed,
}

impl Keys {
    /// Makes a signing key and publishes it; it is due after `lead_s` seconds. `None`: a key is pending already; or, if
    /// `older_than_s` is given, the active key has signed for less than that.
    pub async fn publish(
        &self,
        store: &Store,
        algorithm: Algorithm,
        lead_s: i64,
        older_than_s: Option<i64>,
        audit: &NewAudit,
    ) -> Result<Option<(String, Revision)>, StoredKeyError> {
        let key = SigningKey::generate(algorithm).map_err(|_| StoredKeyError::NotMade)?;
        let (refused, _) = self.refused(store).await?;
        let sealed = self.sealed(&key);
        let published = store.publish_signing_key(&sealed, lead_s, older_than_s, &refused, audit).await?;
        if let Some(revision) = published {
            log(audit, key.key_id(), revision);
        }
        Ok(published.map(|revision| (key.key_id().to_owned(), revision)))
    }

    /// Activates a published key that every replica knows. `None`: it is not pending any more; or, if `only_due`, it is
    /// not due.
    pub async fn activate(
        &self,
        store: &Store,
        key_id: &str,
        only_due: bool,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoredKeyError> {
        let activated =
            store.activate_signing_key(key_id, only_due, VERIFY_AFTER_RETIREMENT_S, audit).await?;
        if let Some(revision) = activated {
            log(audit, key_id, revision);
        }
        Ok(activated)
    }

    /// The same for a MAC key: pending ones verify, active ones open sessions.
    pub(in crate::replica) async fn publish_mac(
        &self,
        store: &Store,
        lead_s: i64,
        older_than_s: i64,
    ) -> Result<(), StoredKeyError> {
        let key = MacKey::generate();
        let sealed = self.seal(Purpose::MacKey, &hex(key.id()), key.secret());
        let (_, refused) = self.refused(store).await?;
        let audit = self.audit(SYSTEM, "PublishMacKey");
        let published =
            store.publish_mac_key(key.id(), &sealed, lead_s, older_than_s, &refused, &audit).await?;
        if let Some(revision) = published {
            log(&audit, &hex(key.id()), revision);
        }
        Ok(())
    }

    /// The signing keys and MAC keys that count as absent, because jeton did not write their rows as they are:
    /// publishing does not wait for them. None if all rows are under another master key.
    async fn refused(&self, store: &Store) -> Result<(Vec<String>, Vec<[u8; 4]>), StoredKeyError> {
        let rows = store.keys().await?;
        if !self.fits(&rows) {
            return Ok(Default::default());
        }
        let signing = rows.signing.iter().filter(|row| row.refused.is_some());
        let mac = rows.mac.iter().filter(|row| row.refused.is_some());
        Ok((signing.map(|row| row.key_id.clone()).collect(), mac.map(|row| row.id).collect()))
    }

    /// The same for a MAC key.
    pub(in crate::replica) async fn activate_mac(
        &self,
        store: &Store,
        id: [u8; 4],
    ) -> Result<(), StoredKeyError> {
        let audit = self.audit(SYSTEM, "ActivateMacKey");
        if let Some(revision) = store.activate_mac_key(id, MAC_AFTER_RETIREMENT_S, &audit).await? {
            log(&audit, &hex(id), revision);
        }
        Ok(())
    }

    /// Makes missing keys: one that signs for each algorithm, and a MAC key. One replica makes them; the others find
    /// them. Nothing is made if present keys cannot be opened.
    pub async fn ensure(&self, store: &Store) -> Result<(), StoredKeyError> {
        let OpenedKeys { ring, signers } = self.all(store).await?;
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            if ring.of(algorithm).all(|record| record.life.state != KeyState::Active) {
                // Even if another replica has activated one just now.
                self.publish(store, algorithm, 0, Some(ANY_AGE_S), &self.audit(SYSTEM, "PublishKey")).await?;
            }
        }
        if signers.macs().iter().all(|record| record.refused || record.life.state != KeyState::Active) {
            self.publish_mac(store, 0, ANY_AGE_S).await?;
        }
        self.activate_due(store).await
    }

    /// Activates published keys that are due, each when every replica knows it.
    pub(in crate::replica) async fn activate_due(&self, store: &Store) -> Result<(), StoredKeyError> {
        let keys = self.all(store).await?;
        let pending =
            [Algorithm::Es256, Algorithm::EdDsa].into_iter().flat_map(|algorithm| keys.ring.of(algorithm));
        for record in pending.filter(|record| record.life.state == KeyState::Pending) {
            await_known(store, &self.clock, record.life.published).await?;
            self.activate(store, record.verifying.key_id(), true, &self.audit(SYSTEM, "ActivateKey")).await?;
        }
        let pending = |record: &&MacRecord| !record.refused && record.life.state == KeyState::Pending;
        for record in keys.signers.macs().iter().filter(pending) {
            await_known(store, &self.clock, record.life.published).await?;
            self.activate_mac(store, record.id).await?;
        }
        Ok(())
    }

    /// Adds a key from elsewhere. `active`: it signs on every replica when this returns, and the active key of its
    /// algorithm is retired.
    pub async fn import(&self, store: &Store, key: &SigningKey, active: bool) -> Result<(), StoredKeyError> {
        const ACTOR: &str = "jeton key import";
        // A master key that does not fit the present keys would split the set in two.
        let OpenedKeys { ring, .. } = self.all(store).await?;
        if store.has_signing_key(key.key_id()).await? {
            return Err(StoredKeyError::Duplicate { key_id: key.key_id().to_owned() });
        }
        let audit = self.audit(ACTOR, "ImportKey");
        if !active {
            let revision =
                store.put_retired_signing_key(&self.sealed(key), VERIFY_AFTER_RETIREMENT_S, &audit).await?;
            log(&audit, key.key_id(), revision);
            await_everywhere(store, &self.clock, revision).await?;
            return Ok(());
        }
        let (refused, _) = self.refused(store).await?;
        let published = store.publish_signing_key(&self.sealed(key), 0, None, &refused, &audit).await?;
        let Some(published) = published else {
            let mut pending =
                ring.of(key.algorithm()).filter(|record| record.life.state == KeyState::Pending);
            let key_id = pending.next().map_or_else(String::new, |it| it.verifying.key_id().to_owned());
            return Err(StoredKeyError::Pending { algorithm: key.algorithm(), key_id });
        };
        log(&audit, key.key_id(), published);
        await_everywhere(store, &self.clock, published).await?;
        // A server may have been faster, because the key is due.
        let audit = self.audit(ACTOR, "ActivateKey");
        if let Some(revision) = self.activate(store, key.key_id(), false, &audit).await? {
            await_everywhere(store, &self.clock, revision).await?;
        } else {
            // Appended before it was found: entries that are appended now come after.
            let head = store.connection_of(Task::Feed).head().await?;
            await_everywhere(store, &self.clock, head.revision).await?;
        }
        Ok(())
    }

    /// Seals with `new` every key that this master key opens: all of them, or none.
    pub async fn reseal(&self, store: &Store, new: &Self) -> Result<Resealed, StoredKeyError> {
        for _ in 0..RESEAL_TRIES {
            let rows = store.keys_ever().await?;
            let ResealedRows { signing, mac, done } = self.resealed_rows(&rows, new)?;
            if done.sealed == 0 {
                return Ok(done);
            }
            let note = format!("{} resealed", done.sealed);
            let audit = NewAudit { note, ..self.audit("jeton key reseal", "ResealKeys") };
            if store.reseal_keys(&rows, &signing, &mac, &audit).await? {
                audit.log(None, 0);
                return Ok(done);
            }
        }
        Err(StoredKeyError::Busy)
    }

    /// Returns whether this is the master key of these keys: it opens one of them, or there are none. A server with
    /// another one must not add keys that no other server can open.
    #[must_use]
    pub fn fits(&self, rows: &KeyRows) -> bool {
        let mut signing = rows.signing.iter();
        rows.signing.is_empty() && rows.mac.is_empty()
            || signing.any(|row| self.open_signing(row).is_ok())
            || rows.mac.iter().any(|row| self.open_mac(row).is_ok())
    }

    fn resealed_rows(&self, rows: &KeyRows, new: &Self) -> Result<ResealedRows, StoredKeyError> {
        let now = self.clock.now();
        // If neither opens any of them, the master key is wrong, not the rows.
        let is_ours = self.fits(rows) || new.fits(rows);
        let mut resealed = ResealedRows::default();
        for row in &rows.signing {
            let is_new = new.is_current(Purpose::SigningKey, &row.key_id, &row.sealed);
            // A refused row stays as it is: it signs nothing either.
            let is_over = (row.refused.is_some() && is_ours)
                || row.revoke_time.is_some()
                || row.times.expire_time.is_some_and(|end| end <= now);
            let sealed = match self.open_signing(row) {
                _ if is_new => None,
                Ok(key) => Some(new.seal(Purpose::SigningKey, &row.key_id, key.pkcs8())),
                // It never signs again: it may stay sealed under a lost master key.
                Err(_) if is_over => None,
                Err(error) => return Err(error),
            };
            let sealed = resealed.done.count(is_new, sealed, &row.sealed);
            resealed.signing.push(sealed);
        }
        for row in &rows.mac {
            let id = hex(row.id);
            let is_new = new.is_current(Purpose::MacKey, &id, &row.sealed);
            let sealed = if is_new || (row.refused.is_some() && is_ours) {
                None
            } else {
                Some(new.seal(Purpose::MacKey, &id, self.open_mac(row)?.secret()))
            };
            let sealed = resealed.done.count(is_new, sealed, &row.sealed);
            resealed.mac.push(sealed);
        }
        Ok(resealed)
    }

    fn sealed(&self, key: &SigningKey) -> NewSigningKey {
        NewSigningKey {
            key_id: key.key_id().to_owned(),
            algorithm: key.algorithm(),
            public_jwk: key.public_jwk(),
            sealed: self.seal(Purpose::SigningKey, key.key_id(), key.pkcs8()),
        }
    }
}
