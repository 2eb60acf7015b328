//! Signing keys: listed, and rotated by hand. A key signs only once every replica knows it.

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        admin::page::{Page, page},
    },
    replica::life,
    state::{KeyState, Permission},
    store::{KeyRows, MacKeyRow, NewAudit, SigningKeyRow, Task},
};
use jeton_token::{Algorithm, Revision};

/// The default time for which a key is published before it signs: service meshes fetch key sets every 20 minutes.
const LEAD_DEFAULT_S: i64 = 3_600;
/// The greatest such time. Seconds.
const LEAD_MAX_S: i64 = 7 * 86_400;
/// Tries if a key is activated or revoked by somebody else meanwhile.
const TRIES_MAX: u32 = 8;

/// A request to rotate.
#[derive(Clone, Copy, Debug)]
pub struct RotateRequest {
    /// The algorithm of the keys.
    pub algorithm: Algorithm,
    /// The time for which the new key is published before it signs, seconds. `None`: 1 hour.
    pub lead_s: Option<i64>,
    /// The key signs when the answer comes.
    pub emergency: bool,
}

/// The result of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The new key.
    pub key: SigningKeyRow,
    /// The key that it replaces, if there is one.
    pub replaced: Option<SigningKeyRow>,
}

/// A page of the keys.
#[derive(Debug)]
pub struct KeyPage {
    /// Signing keys.
    pub keys: Vec<SigningKeyRow>,
    /// Empty at the end.
    pub next_page_token: String,
    /// MAC keys that count as absent: all of them, on every page.
    pub refused_macs: Vec<MacKeyRow>,
}

impl Authority {
    /// A page of the signing keys that are not gone, newest first.
    pub async fn list_keys(
        &self,
        caller: &Caller,
        page_size: i32,
        page_token: &str,
    ) -> Result<KeyPage, Error> {
        caller.must(Permission::AdminRead)?;
        let page = page("keys", page_size, page_token)?;
        let after = page.after_key()?;
        let KeyRows { signing, mac } = self.store.keys_for_people().await?;
        // Newest first, then by id, as the store gives them.
        let is_after = |row: &SigningKeyRow| {
            after.is_none_or(|(micros, key_id)| {
                let own = row.times.create_time.as_microsecond();
                own < micros || (own == micros && row.key_id.as_str() > key_id)
            })
        };
        let mut rest = signing.into_iter().filter(is_after);
        let keys: Vec<_> = rest.by_ref().take(page.size()).collect();
        let more = rest.next().is_some();
        let next_page_token = keys.last().filter(|_| more).map_or_else(String::new, |last| {
            let micros = last.times.create_time.as_microsecond().to_be_bytes();
            page.next(&[micros.as_slice(), last.key_id.as_bytes()].concat())
        });
        let refused_macs = mac.into_iter().filter(|row| row.refused.is_some()).collect();
        Ok(KeyPage { keys, next_page_token, refused_macs })
    }

    /// Publishes a new key, on every replica when it returns; it signs at its time, or at once. If a pending key is
    /// published already, that is the new one: so a repeated call changes nothing.
    pub async fn rotate_key(&self, caller: &Caller, request: RotateRequest) -> Result<Rotated, Error> {
        caller.must(Permission::AdminWrite)?;
        request.check()?;
        let algorithm = request.algorithm;
        if request.emergency {
            return self.sign_with_a_new_key(algorithm, |action| self.audit(caller, action)).await;
        }
        let lead_s = request.lead_s.unwrap_or(LEAD_DEFAULT_S);
        let audit = self.audit(caller, "RotateKey");
        self.must_fit(algorithm, &self.store.keys().await?)?;
        let published = self.keys.publish(&self.store, algorithm, lead_s, None, &audit).await?;
        let rows = self.store.keys().await?;
        let key = match &published {
            Some((key_id, _)) => rows.signing.iter().find(|row| row.key_id == *key_id),
            None => in_state(&rows, algorithm, KeyState::Pending),
        };
        // The key was pending, and is not any more: a retry gets another.
        let key = key.ok_or(Error::Overloaded)?;
        self.known_everywhere(key.times.published).await?;
        let active = in_state(&rows, algorithm, KeyState::Active);
        let replaced = active.filter(|row| row.key_id != key.key_id).cloned();
        Ok(Rotated { key: key.clone(), replaced })
    }

    /// Makes a signing key for each algorithm whose key was revoked. If this fails, the task that rotates tries again;
    /// until then minting answers that no key may sign.
    pub(in crate::authority) async fn replace_revoked(&self, caller: &Caller) {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            let replaced = async {
                if in_state(&self.store.keys().await?, algorithm, KeyState::Active).is_none() {
                    self.sign_with_a_new_key(algorithm, |action| self.audit(caller, action)).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = replaced.await {
                tracing::error!(error = %error, "no key could be made in place of a revoked one");
            }
        }
        self.lease.join().await;
    }

    /// Makes a new key sign before it returns: publishes one unless one is pending, waits for every replica, activates
    /// it, and waits for every replica again.
    async fn sign_with_a_new_key(
        &self,
        algorithm: Algorithm,
        audit: impl Fn(&'static str) -> NewAudit,
    ) -> Result<Rotated, Error> {
        // The key that signs now is the one to replace: if somebody else replaces it meanwhile, the work is done.
        let before = self.store.keys().await?;
        self.must_fit(algorithm, &before)?;
        let replaced = in_state(&before, algorithm, KeyState::Active).cloned();
        for _ in 0..TRIES_MAX {
            let rows = self.store.keys().await?;
            let active = in_state(&rows, algorithm, KeyState::Active);
            let is_new = |row: &&SigningKeyRow| replaced.as_ref().is_none_or(|it| it.key_id != row.key_id);
            if let Some(key) = active.filter(is_new) {
                let key = key.clone();
                self.in_effect(self.head().await?).await?;
                return Ok(Rotated { key, replaced: self.again(replaced).await? });
            }
            let pending = in_state(&rows, algorithm, KeyState::Pending);
            // The caller's first act bears the name of what was requested.
            let act = if pending.is_some() { "RotateKey" } else { "ActivateKey" };
            let published = match pending {
                Some(row) => Some((row.key_id.clone(), row.times.published)),
                None => self.keys.publish(&self.store, algorithm, 0, None, &audit("RotateKey")).await?,
            };
            let Some((key_id, revision)) = published else { continue };
            self.known_everywhere(revision).await?;
            self.keys.activate(&self.store, &key_id, false, &audit(act)).await?;
        }
        Err(Error::Overloaded)
    }

    /// Reads the row again.
    async fn again(&self, row: Option<SigningKeyRow>) -> Result<Option<SigningKeyRow>, Error> {
        let Some(row) = row else { return Ok(None) };
        let now = self.store.keys().await?.signing;
        Ok(Some(now.into_iter().find(|it| it.key_id == row.key_id).unwrap_or(row)))
    }

    /// Waits until every replica knows a key that is in the tables. Each replica that is in this epoch knows the keys
    /// of earlier epochs, so for these the position is the head.
    async fn known_everywhere(&self, published: Revision) -> Result<(), Error> {
        let head = self.head().await?;
        self.in_effect(if head.epoch() > published.epoch() { head } else { published }).await
    }

    async fn head(&self) -> Result<Revision, Error> {
        Ok(self.store.connection_of(Task::Feed).head().await?.revision)
    }

    /// A server with another master key must not add keys that no other server can open.
    fn must_fit(&self, algorithm: Algorithm, rows: &KeyRows) -> Result<(), Error> {
        if self.keys.fits(rows) {
            return Ok(());
        }
        tracing::error!("the keys are sealed under another master key than this server's: none is added");
        Err(Error::SigningKeyUnavailable(Some(algorithm)))
    }
}

/// The key of an algorithm in this state: pending or active, of which there is at most one.
fn in_state(rows: &KeyRows, algorithm: Algorithm, state: KeyState) -> Option<&SigningKeyRow> {
    let is_it = |row: &&SigningKeyRow| {
        row.refused.is_none()
            && row.algorithm == algorithm
            && life(&row.times, row.revoke_time.is_some()).state == state
    };
    rows.signing.iter().find(is_it)
}

impl RotateRequest {
    fn check(self) -> Result<(), Invalid> {
        let field = "publication_lead";
        match self.lead_s {
            Some(lead_s) if !(0..=LEAD_MAX_S).contains(&lead_s) => {
                Err(Invalid::field(field, format!("0 to {LEAD_MAX_S} s, not {lead_s} s")))
            }
            Some(lead_s) if self.emergency && lead_s > 0 => {
                Err(Invalid::field(field, "unset in an emergency: the key signs at once"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A page of keys: the time of the last one's creation, and its id.
impl Page {
    fn after_key(&self) -> Result<Option<(i64, &str)>, Invalid> {
        let split = |after| -> Option<(i64, &str)> {
            let (micros, key_id) = <[u8]>::split_first_chunk::<8>(after)?;
            Some((i64::from_be_bytes(*micros), str::from_utf8(key_id).ok()?))
        };
        self.after().map(|after| split(after).ok_or(Invalid::PageToken)).transpose()
    }
}
