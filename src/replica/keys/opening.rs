//! Opens the sealed keys, and checks them. A key that cannot be opened while a server runs is left sealed: only its own
//! function is lost.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{
    mint::{MacKey, MasterKey, Purpose, WrongMasterKey},
    state::{
        KeyLife, KeyRecord, KeyRing, KeyState, LEEWAY_MAX_S, MacRecord, OpenedKeys, REFRESH_ABSOLUTE_MAX_S,
        Signers,
    },
    store::{KeyRows, KeyTimes, MacKeyRow, NewAudit, Seal, SigningKeyRow, Store, StoreError},
};
use jeton_state::clock::Clock;
use jeton_token::{Algorithm, LIFETIME_CAP_S, SigningKey, UnixSeconds, VerifyingKey, new_uuid_v7};

/// The time for which a retired key still verifies: the longest life of a token, the greatest leeway, and the spread of
/// clocks.
pub const VERIFY_AFTER_RETIREMENT_S: i64 = LIFETIME_CAP_S + LEEWAY_MAX_S + 60;
/// The time for which a retired MAC key is kept: the longest life of a session, and the spread of clocks.
pub const MAC_AFTER_RETIREMENT_S: i64 = REFRESH_ABSOLUTE_MAX_S + 120;

/// The actor of the server's own acts.
pub(in crate::replica) const SYSTEM: &str = "system";

/// The reason why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredKeyError {
    /// The master key does not open it.
    #[error("the master key does not open key {key_id} in the database: give the one that sealed it")]
    WrongMasterKey {
        /// The key's id.
        key_id: String,
    },
    /// The clients were registered under another master key.
    #[error(
        "client {client_id} in the database was registered under another master key, and so was every other: give that one. \
         If it is lost: `jeton epoch bump --revoke-keys --vouch-for-clients`"
    )]
    ForeignClients {
        /// One of them.
        client_id: String,
    },
    /// The stored bytes are no key.
    #[error("key {key_id} in the database is damaged: {what}")]
    Damaged {
        /// The key's id.
        key_id: String,
        /// The fault.
        what: &'static str,
    },
    /// A key could not be made.
    #[error("a key could not be made: the random source failed")]
    NotMade,
    /// The key is in the database already.
    #[error("key {key_id} is in the database already")]
    Duplicate {
        /// The key's id.
        key_id: String,
    },
    /// Another key of its algorithm is published and does not sign yet.
    #[error(
        "key {key_id} is published and does not sign yet: let it sign first (`jeton key rotate --emergency --algorithm {}`), \
         or revoke it",
        .algorithm.as_str()
    )]
    Pending {
        /// The algorithm of both.
        algorithm: Algorithm,
        /// The pending key's id.
        key_id: String,
    },
    /// The keys changed each time while they were resealed.
    #[error("other keys were written meanwhile, and nothing was resealed: try again")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoredKeyError {
    /// Returns whether the only fault is that the database is away.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unreachable())
    }
}

/// Opens and makes keys.
#[derive(Clone)]
pub struct Keys {
    master: Arc<MasterKey>,
    previous: Option<Arc<MasterKey>>,
    pub(in crate::replica) clock: Arc<Clock>,
    opened: Arc<Mutex<Opened>>,
}

/// Keys that were opened before, with their sealed bytes, and the faults that were logged.
#[derive(Default)]
struct Opened {
    signing: HashMap<String, (Vec<u8>, Arc<SigningKey>)>,
    mac: HashMap<[u8; 4], (Vec<u8>, Arc<MacKey>)>,
    /// The faults that were logged: the part, and the key.
    said: HashSet<(&'static str, String)>,
}

impl Keys {
    /// Uses this master key.
    #[must_use]
    pub fn new(master: MasterKey, clock: Arc<Clock>) -> Self {
        Self { master: Arc::new(master), previous: None, clock, opened: Arc::default() }
    }

    /// Opens also what this master key has sealed.
    #[must_use]
    pub fn or_previous(self, previous: Option<MasterKey>) -> Self {
        Self { previous: previous.map(Arc::new), ..self }
    }

    /// Makes and checks the MACs of rows, under the same master keys.
    #[must_use]
    pub fn row_seal(&self) -> Arc<Seal> {
        Seal::new(&self.master, self.previous.as_deref())
    }

    /// Opens every key in the database. Fails if a key that signs, will sign, or authenticates refresh tokens cannot be
    /// opened. A key whose row is refused counts as absent; but if none can be opened, the master key is wrong.
    pub async fn all(&self, store: &Store) -> Result<OpenedKeys, StoredKeyError> {
        let rows = store.keys().await?;
        let is_ours = self.fits(&rows);
        let mut records = Vec::new();
        let mut signing = Vec::new();
        for row in &rows.signing {
            if row.refused.is_some() {
                let state = life(&row.times, row.revoke_time.is_some()).state;
                if !is_ours && matches!(state, KeyState::Active | KeyState::Pending) {
                    self.open_signing(row)?;
                }
                continue;
            }
            let record = record(row)?;
            if matches!(record.life.state, KeyState::Active | KeyState::Pending) {
                let key = self.open_signing(row)?;
                if record.life.state == KeyState::Active && checks_itself(&key) {
                    signing.push(Arc::new(key));
                }
            }
            records.push(record);
        }
        let mac = rows.mac.iter().map(|row| {
            let key =
                if row.refused.is_some() && is_ours { None } else { Some(Arc::new(self.open_mac(row)?)) };
            Ok(mac_record(row, key.filter(|_| row.refused.is_none())))
        });
        let mac = mac.collect::<Result<_, StoredKeyError>>()?;
        Ok(OpenedKeys { ring: KeyRing::new(records), signers: Signers::new(signing, mac) })
    }

    /// Fails if no key shows whether the master key is right, and it is not that of any client.
    pub async fn check_clients(&self, store: &Store) -> Result<(), StoredKeyError> {
        let rows = store.keys_ever().await?;
        if self.fits(&rows) && !(rows.signing.is_empty() && rows.mac.is_empty()) {
            return Ok(());
        }
        let refused = store.refused_clients().await?;
        match refused.first() {
            Some(client_id) if store.clients().await?.by_name().is_empty() => {
                Err(StoredKeyError::ForeignClients { client_id: client_id.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Opens keys, or continues with those opened before. A key that cannot be used, or whose row is refused, is left
    /// out, and logged once. The presence of a MAC key is kept, which grants nothing.
    pub(in crate::replica) fn open(&self, rows: &KeyRows) -> OpenedKeys {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        let mut signing = Vec::new();
        for row in rows.signing.iter().filter(|row| row.refused.is_none()) {
            let Some(record) = opened.unless_unusable("public half", &row.key_id, record(row)) else {
                continue;
            };
            if matches!(record.life.state, KeyState::Active | KeyState::Pending) {
                // A pending key is tried now, while there is time to correct it.
                let key = opened.signing(row, || self.open_signing(row));
                signing.extend(key.filter(|_| record.life.state == KeyState::Active));
            }
            records.push(record);
        }
        let mac = rows.mac.iter();
        let mac = mac.map(|row| {
            let key = if row.refused.is_some() { None } else { opened.mac(row, || self.open_mac(row)) };
            mac_record(row, key)
        });
        let mac = mac.collect();
        opened.forget_others(rows);
        OpenedKeys { ring: KeyRing::new(records), signers: Signers::new(signing, mac) }
    }

    /// Seals with the current master key.
    pub(in crate::replica) fn seal(&self, purpose: Purpose, id: &str, plaintext: &[u8]) -> Vec<u8> {
        self.master.seal(purpose, id, plaintext)
    }

    /// Returns whether the current master key opens it.
    pub(in crate::replica) fn is_current(&self, purpose: Purpose, id: &str, sealed: &[u8]) -> bool {
        self.master.open(purpose, id, sealed).is_ok()
    }

    pub(in crate::replica) fn audit(&self, actor: &str, action: &'static str) -> NewAudit {
        NewAudit::new(self.new_id(), actor, action)
    }

    fn new_id(&self) -> Uuid {
        new_uuid_v7(self.clock.now_ms())
    }

    pub(in crate::replica) fn open_signing(&self, row: &SigningKeyRow) -> Result<SigningKey, StoredKeyError> {
        let pkcs8 = self
            .unseal(Purpose::SigningKey, &row.key_id, &row.sealed)
            .map_err(|_| StoredKeyError::WrongMasterKey { key_id: row.key_id.clone() })?;
        let damaged = |what| StoredKeyError::Damaged { key_id: row.key_id.clone(), what };
        let key = SigningKey::from_pkcs8(&pkcs8).map_err(|_| damaged("not a PKCS#8 key"))?;
        if key.key_id() == row.key_id { Ok(key) } else { Err(damaged("private and public half differ")) }
    }

    pub(in crate::replica) fn open_mac(&self, row: &MacKeyRow) -> Result<MacKey, StoredKeyError> {
        let key_id = hex(row.id);
        let secret = self
            .unseal(Purpose::MacKey, &key_id, &row.sealed)
            .map_err(|_| StoredKeyError::WrongMasterKey { key_id: key_id.clone() })?;
        let secret = <[u8; 32]>::try_from(secret.as_slice())
            .map_err(|_| StoredKeyError::Damaged { key_id, what: "a MAC key is of 32 bytes" })?;
        Ok(MacKey::new(row.id, secret))
    }

    fn unseal(
        &self,
        purpose: Purpose,
        id: &str,
        sealed: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, WrongMasterKey> {
        let opened = self.master.open(purpose, id, sealed);
        let previous = self.previous.as_ref();
        opened.or_else(|wrong| previous.ok_or(wrong)?.open(purpose, id, sealed))
    }
}

impl Opened {
    /// The key of a row: as opened before, or opened again if it was resealed. A key that cannot be opened now, but
    /// could before, is the same key.
    fn signing(
        &mut self,
        row: &SigningKeyRow,
        open: impl FnOnce() -> Result<SigningKey, StoredKeyError>,
    ) -> Option<Arc<SigningKey>> {
        let known =
            self.signing.get(&row.key_id).map(|(sealed, key)| (*sealed == row.sealed, Arc::clone(key)));
        if let Some((true, key)) = known {
            return Some(key);
        }
        match self.unless_unusable("private half", &row.key_id, open()) {
            Some(key) if checks_itself(&key) => {
                let key = Arc::new(key);
                self.signing.insert(row.key_id.clone(), (row.sealed.clone(), Arc::clone(&key)));
                Some(key)
            }
            Some(_) => None,
            None => known.map(|(_, key)| key),
        }
    }

    /// The same for a MAC key.
    fn mac(
        &mut self,
        row: &MacKeyRow,
        open: impl FnOnce() -> Result<MacKey, StoredKeyError>,
    ) -> Option<Arc<MacKey>> {
        let known = self.mac.get(&row.id).map(|(sealed, key)| (*sealed == row.sealed, Arc::clone(key)));
        if let Some((true, key)) = known {
            return Some(key);
        }
        match self.unless_unusable("MAC key", &hex(row.id), open()) {
            Some(key) => {
                let key = Arc::new(key);
                self.mac.insert(row.id, (row.sealed.clone(), Arc::clone(&key)));
                Some(key)
            }
            None => known.map(|(_, key)| key),
        }
    }

    /// The result of opening a key; a failure is logged once until the key is good again.
    fn unless_unusable<T>(
        &mut self,
        part: &'static str,
        key_id: &str,
        opened: Result<T, StoredKeyError>,
    ) -> Option<T> {
        let what = (part, key_id.to_owned());
        match opened {
            Ok(key) => {
                self.said.remove(&what);
                Some(key)
            }
            Err(error) => {
                if self.said.insert(what) {
                    tracing::error!(jeton.key_id = key_id, error = %error, "a key cannot be used on this replica");
                }
                None
            }
        }
    }

    /// Drops the secrets of keys that are no longer present.
    fn forget_others(&mut self, rows: &KeyRows) {
        self.signing.retain(|key_id, _| rows.signing.iter().any(|row| row.key_id == *key_id));
        self.mac.retain(|id, _| rows.mac.iter().any(|row| row.id == *id));
    }
}

/// A key that fails its own check does not sign (I13).
fn checks_itself(key: &SigningKey) -> bool {
    let good = key.self_check().is_ok();
    if !good {
        tracing::error!(jeton.key_id = key.key_id(), "this key fails its own check: it does not sign");
    }
    good
}

fn record(row: &SigningKeyRow) -> Result<KeyRecord, StoredKeyError> {
    let verifying = VerifyingKey::from_jwk(&row.public_jwk)
        .map_err(|_| StoredKeyError::Damaged { key_id: row.key_id.clone(), what: "not a public JWK" })?;
    let life = life(&row.times, row.revoke_time.is_some());
    Ok(KeyRecord { verifying, life: no_longer(life, &row.times, VERIFY_AFTER_RETIREMENT_S) })
}

fn mac_record(row: &MacKeyRow, key: Option<Arc<MacKey>>) -> MacRecord {
    let life = no_longer(life(&row.times, false), &row.times, MAC_AFTER_RETIREMENT_S);
    MacRecord { id: row.id, life, key, refused: row.refused.is_some() }
}

/// Limits the life of a retired key to the longest of its kind, because no MAC covers its end.
fn no_longer(life: KeyLife, times: &KeyTimes, after_s: i64) -> KeyLife {
    let (KeyState::Retired, Some(retired)) = (life.state, times.retire_time) else { return life };
    let latest = UnixSeconds::from_timestamp(retired).saturating_add(after_s);
    KeyLife { expire_time: Some(life.expire_time.map_or(latest, |end| end.min(latest))), ..life }
}

/// The life of a key, by its times.
pub fn life(times: &KeyTimes, revoked: bool) -> KeyLife {
    let state = match (times.signing_time, times.retire_time) {
        _ if revoked => KeyState::Revoked,
        (None, _) => KeyState::Pending,
        (Some(_), Some(_)) => KeyState::Retired,
        (Some(_), None) => KeyState::Active,
    };
    KeyLife {
        state,
        activate_time: UnixSeconds::from_timestamp(times.signing_time.unwrap_or(times.activate_time)),
        expire_time: times.expire_time.map(UnixSeconds::from_timestamp),
        published: times.published,
    }
}

pub(in crate::replica) fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use jeton_token::Revision;

    #[test]
    fn c8_a_retired_key_lasts_no_longer_than_any_of_its_kind() {
        let at = |second: i64| Timestamp::from_second(second).unwrap_or_default();
        let times = |retire: Option<i64>, expire: Option<i64>| KeyTimes {
            create_time: at(0),
            activate_time: at(0),
            signing_time: Some(at(0)),
            retire_time: retire.map(at),
            expire_time: expire.map(at),
            published: Revision::ZERO,
        };
        for (retire, expire, revoked, end) in [
            (Some(100), Some(150), false, Some(150)),
            (Some(100), Some(9_000), false, Some(160)),
            (Some(100), None, false, Some(160)),
            (None, None, false, None),
            (Some(100), Some(9_000), true, Some(9_000)),
        ] {
            let times = times(retire, expire);
            let held = no_longer(life(&times, revoked), &times, 60);
            assert_eq!(held.expire_time.map(UnixSeconds::get), end, "{retire:?} {expire:?} {revoked}");
        }
    }
}
