//! The key set of each trusted issuer, as it was last read.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jeton_assertion::{Discovery, DiscoveryError, KeySet, KeySetError};
use jeton_io::files;
use jeton_token::{Revision, chance_of, new_uuid_v7};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    state::{KeySource, Roots, TrustedIssuer},
    trust::{FetchError, Fetcher},
};

/// The keys of an issuer are read again after so long; an eighth more or less, so that not all are read at once.
const READ_EVERY: Duration = Duration::from_mins(10);
/// After a failure they are read again so soon.
const READ_AGAIN: Duration = Duration::from_secs(30);
/// A key that is not in the set has it read again, at most so often: whoever sends made-up ids causes no more.
const UNKNOWN_EVERY: Duration = Duration::from_secs(10);
/// The registry is looked at so often for issuers that are new or changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The reason why there are no keys, or no newer ones, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysFault {
    /// They are about to be read.
    #[error("the keys of this issuer have not been read yet: try again")]
    NotYet,
    /// A document could not be fetched.
    #[error("{url} {fault}")]
    Fetch {
        /// Its URL.
        url: String,
        /// The reason.
        fault: FetchError,
    },
    /// A file could not be read.
    #[error("{} cannot be read: {fault}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The reason.
        fault: String,
    },
    /// The document is no key set that can be used.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The discovery document cannot be used.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
}

/// What is held of one issuer.
#[derive(Clone)]
struct Held {
    /// Of the registration that the keys were read for.
    revision: Revision,
    keys: Option<Arc<KeySet>>,
    /// Why the latest attempt failed.
    fault: Option<KeysFault>,
    /// The attempts so far.
    attempts: u64,
    /// The time of the latest attempt.
    read: Instant,
    /// They are due to be read then.
    due: Instant,
    is_reading: bool,
}

#[derive(Default)]
struct Shared {
    held: Mutex<HashMap<String, Held>>,
    /// Something is due before its time.
    poke: Notify,
}

/// Gives out key sets. Clones are the same.
#[derive(Clone)]
pub struct IssuerKeys {
    shared: Arc<Shared>,
    /// Counts the attempts of all issuers.
    changes: watch::Receiver<u64>,
}

impl IssuerKeys {
    /// The keys of an issuer, without waiting. If they lack the key with this id they are soon read again.
    pub fn of(&self, issuer: &TrustedIssuer, key_id: Option<&str>) -> Result<Arc<KeySet>, KeysFault> {
        if let KeySource::Static(keys) = &issuer.keys {
            return Ok(Arc::clone(keys));
        }
        let mut all = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get_mut(&issuer.issuer_id).filter(|held| held.revision == issuer.revision);
        let Some(held) = held else {
            self.shared.poke.notify_one();
            return Err(KeysFault::NotYet);
        };
        let Some(keys) = &held.keys else {
            return Err(held.fault.clone().unwrap_or(KeysFault::NotYet));
        };
        let keys = Arc::clone(keys);
        let is_unknown = key_id.is_some_and(|key_id| !keys.contains(key_id));
        if is_unknown && !held.is_reading && held.read.elapsed() >= UNKNOWN_EVERY {
            held.due = Instant::now();
            self.shared.poke.notify_one();
        }
        Ok(keys)
    }

    /// The same, once they have been read for this registration; and for a key that they lack, once they have been read
    /// again, if that is due.
    pub async fn ready(
        &self,
        issuer: &TrustedIssuer,
        key_id: Option<&str>,
    ) -> Result<Arc<KeySet>, KeysFault> {
        let mut changes = self.changes.clone();
        let before = self.attempts(issuer);
        loop {
            let found = self.of(issuer, key_id);
            let is_enough = match &found {
                Ok(keys) => key_id.is_none_or(|key_id| keys.contains(key_id)) || !self.is_due(issuer),
                Err(_) => self.attempts(issuer) > before || !self.is_due(issuer),
            };
            // The task has ended: the server ends, too. What was read meanwhile counts.
            if is_enough || changes.changed().await.is_err() {
                return self.of(issuer, key_id);
            }
        }
    }

    /// Why the latest attempt to read the keys failed, if it did.
    #[must_use]
    pub fn fault(&self, issuer_id: &str) -> Option<KeysFault> {
        let all = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(issuer_id).and_then(|held| held.fault.clone())
    }

    fn attempts(&self, issuer: &TrustedIssuer) -> u64 {
        let all = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get(&issuer.issuer_id).filter(|held| held.revision == issuer.revision);
        held.map_or(0, |held| held.attempts)
    }

    /// Returns whether they are being read, or are about to be.
    fn is_due(&self, issuer: &TrustedIssuer) -> bool {
        let all = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get(&issuer.issuer_id).filter(|held| held.revision == issuer.revision);
        held.is_none_or(|held| held.is_reading || held.due <= Instant::now())
    }
}

/// The task that reads keys.
pub struct KeysKeeper {
    shared: Arc<Shared>,
    changes: watch::Sender<u64>,
    fetcher: Fetcher,
    roots: Arc<Roots>,
}

impl KeysKeeper {
    /// The task, and what it keeps.
    #[must_use]
    pub fn new(fetcher: Fetcher, roots: Arc<Roots>) -> (Self, IssuerKeys) {
        let shared = Arc::<Shared>::default();
        let (changes, seen) = watch::channel(0);
        let keys = IssuerKeys { shared: Arc::clone(&shared), changes: seen };
        (Self { shared, changes, fetcher, roots }, keys)
    }

    /// Reads keys until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut reading = JoinSet::new();
        loop {
            for issuer in self.due() {
                let fetcher = self.fetcher.clone();
                reading.spawn(async move {
                    let read = read(&fetcher, &issuer).await;
                    (issuer, read)
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = reading.join_next() => {
                    // One that panicked is read again after the next start of the process; the hook has logged it.
                    if let Ok((issuer, read)) = ended {
                        self.store(&issuer, read);
                    }
                }
                () = self.shared.poke.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The issuers whose keys are due. What is held of those that are gone is dropped.
    fn due(&self) -> Vec<Arc<TrustedIssuer>> {
        let issuers = self.roots.current().issuing.issuers.load_full();
        let mut all = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| issuers.get(id).is_some());
        let now = Instant::now();
        let mut due = Vec::new();
        for issuer in issuers.iter().filter(|issuer| !matches!(issuer.keys, KeySource::Static(_))) {
            let fresh = || Held {
                revision: issuer.revision,
                keys: None,
                fault: None,
                attempts: 0,
                read: now,
                due: now,
                is_reading: false,
            };
            let held = all.entry(issuer.issuer_id.clone()).or_insert_with(fresh);
            if held.revision != issuer.revision {
                // Keys of another source vouch for nothing.
                *held = fresh();
            }
            if !held.is_reading && held.due <= now {
                held.is_reading = true;
                due.push(Arc::clone(issuer));
            }
        }
        due
    }

    fn store(&self, issuer: &TrustedIssuer, read: Result<KeySet, KeysFault>) {
        let now = Instant::now();
        {
            let mut all = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
            let held = all.get_mut(&issuer.issuer_id).filter(|held| held.revision == issuer.revision);
            let Some(held) = held else { return };
            held.attempts = held.attempts.saturating_add(1);
            (held.is_reading, held.read) = (false, now);
            match read {
                Ok(keys) => {
                    held.due = later(now, spread(READ_EVERY));
                    (held.keys, held.fault) = (Some(Arc::new(keys)), None);
                }
                Err(fault) => {
                    tracing::warn!(
                        jeton.issuer_id = issuer.issuer_id,
                        error = %fault,
                        "the keys of a trusted issuer cannot be read; those that were read before stay in use"
                    );
                    held.due = later(now, spread(READ_AGAIN));
                    held.fault = Some(fault);
                }
            }
        }
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn read(fetcher: &Fetcher, issuer: &TrustedIssuer) -> Result<KeySet, KeysFault> {
    let private = issuer.allow_private_addresses;
    let fetch = async |url: &str| {
        let document = fetcher.fetch(url, private).await;
        document.map_err(|fault| KeysFault::Fetch { url: url.to_owned(), fault })
    };
    let document = match &issuer.keys {
        KeySource::Static(keys) => return Ok(KeySet::clone(keys)),
        KeySource::JwksUri(url) | KeySource::SpiffeBundleUri(url) => fetch(url).await?,
        KeySource::OidcDiscovery => {
            // OpenID Connect Discovery 1.0 section 4.1.
            let base = issuer.issuer.trim_end_matches('/');
            let document = fetch(&format!("{base}/.well-known/openid-configuration")).await?;
            fetch(&Discovery::parse(&document, &issuer.issuer)?.jwks_uri).await?
        }
        KeySource::SpiffeBundleFile(path) => {
            let fault =
                |fault: std::io::Error| KeysFault::File { path: path.clone(), fault: fault.to_string() };
            files::read(path).map_err(fault)?
        }
    };
    Ok(KeySet::parse(&document)?)
}

fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

/// An eighth more or less.
fn spread(time: Duration) -> Duration {
    let part = u32::try_from(chance_of(new_uuid_v7(0)).rem_euclid(256)).unwrap_or_default();
    // 7/8 of it, and up to 2/8 more.
    let parts = part.saturating_add(7 * 128);
    time.saturating_mul(parts).checked_div(1_024).unwrap_or(time)
}
