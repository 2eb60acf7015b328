//! The credentials of a client, which follow their files.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ClientConfig;
use std::sync::Mutex;

use crate::{JetonError, Secret, clock::Clock, tls};

/// Files are looked at so often at most, milliseconds.
const LOOK_EVERY_MS: u64 = 1000;
/// The greatest length of a file: one that is longer, or has no end, is none of a credential.
const FILE_BYTES_MAX: u64 = 4 << 20;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where the credentials of a client come from.
#[derive(Clone, Default, Debug)]
pub(crate) struct Origins {
    pub(crate) api_key: Option<Secret>,
    pub(crate) api_key_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// Whether an endpoint needs TLS.
    pub(crate) uses_tls: bool,
}

impl Origins {
    pub(crate) fn has_key(&self) -> bool {
        self.api_key.is_some() || self.api_key_file.is_some()
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.api_key_file, &self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten()
    }
}

/// What was read.
pub(crate) struct Loaded {
    /// `Bearer jtk_…`.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Grows when contents for TLS change.
    pub(crate) version: u64,
    pem: Vec<Vec<u8>>,
}

/// What a file looked like: its size, modification time and inode. `None`: it cannot be seen.
type Look = Option<(u64, String, u64)>;

/// The credentials that are in use.
pub(crate) struct Credentials {
    origins: Origins,
    clock: Clock,
    current: ArcSwap<Loaded>,
    next_look_ms: AtomicU64,
    seen: Mutex<Vec<Look>>,
}

impl Credentials {
    pub(crate) fn load(origins: Origins, clock: Clock) -> Result<Self, JetonError> {
        let seen = Mutex::new(look(&origins));
        let current = ArcSwap::from_pointee(read(&origins, None)?);
        let next_look_ms = AtomicU64::new(millis(&clock).saturating_add(LOOK_EVERY_MS));
        Ok(Self { origins, clock, current, next_look_ms, seen })
    }

    /// Looks at the files if it is time. What does not fit together leaves the old contents in use.
    pub(crate) fn latest(&self) -> Arc<Loaded> {
        if self.origins.paths().next().is_none() {
            return self.current.load_full();
        }
        let now = millis(&self.clock);
        if now < self.next_look_ms.load(Ordering::Relaxed) {
            return self.current.load_full();
        }
        // Whoever comes second uses what is there.
        let Ok(mut seen) = self.seen.try_lock() else { return self.current.load_full() };
        self.next_look_ms.store(now.saturating_add(LOOK_EVERY_MS), Ordering::Relaxed);
        let found = look(&self.origins);
        if *seen != found {
            *seen = found;
            match read(&self.origins, Some(&self.current.load())) {
                Ok(changed) => self.current.store(Arc::new(changed)),
                Err(error) => tracing::warn!(
                    error = %error,
                    "changed credentials cannot be used, the old ones stay in use"
                ),
            }
        }
        self.current.load_full()
    }
}

fn millis(clock: &Clock) -> u64 {
    clock.now().as_millis().try_into().unwrap_or(u64::MAX)
}

fn look(origins: &Origins) -> Vec<Look> {
    let look = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        let modified = format!("{:?}", metadata.modified().ok());
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.len(), modified, inode))
    };
    origins.paths().map(look).collect()
}

fn read(origins: &Origins, before: Option<&Loaded>) -> Result<Loaded, JetonError> {
    let authorization = authorization(origins)?;
    let ca = origins.ca_file.as_deref().map(read_file).transpose()?;
    let pair = match (&origins.cert_file, &origins.key_file) {
        (Some(certificate), Some(key)) => {
            Some((read_file(certificate)?, read_file(key)?, certificate.as_path(), key.as_path()))
        }
        (None, None) => None,
        _ => {
            let message = "A client certificate needs both, cert_file and key_file.";
            return Err(JetonError::credential_invalid(None, message));
        }
    };
    let mut pem: Vec<Vec<u8>> = ca.clone().into_iter().collect();
    pem.extend(pair.iter().flat_map(|(certificate, key, ..)| [certificate.clone(), key.clone()]));
    if let Some(before) = before.filter(|before| before.pem == pem) {
        // The API key changed, or nothing did: connections stay.
        return Ok(Loaded { authorization, tls: before.tls.clone(), version: before.version, pem });
    }
    let needed = origins.uses_tls || !pem.is_empty();
    let tls = needed.then(|| tls::config(ca.as_deref().zip(origins.ca_file.as_deref()), pair)).transpose()?;
    let version = before.map_or(0, |before| before.version.saturating_add(1));
    Ok(Loaded { authorization, tls, version, pem })
}

fn authorization(origins: &Origins) -> Result<Option<HeaderValue>, JetonError> {
    let file = origins.api_key_file.as_deref();
    let (key, place) = match (&origins.api_key, file) {
        (Some(_), Some(_)) => {
            let message = "There are two API keys. Give api_key or api_key_file.";
            return Err(JetonError::credential_invalid(None, message));
        }
        (Some(key), None) => (key.clone(), "The text".to_owned()),
        (None, Some(path)) => {
            let text = String::from_utf8(read_file(path)?).unwrap_or_default();
            (Secret::new(text.trim()), format!("The file {}", path.display()))
        }
        (None, None) => return Ok(None),
    };
    let invalid = || {
        let message = format!("{place} holds no API key. Give one as jeton printed it: jtk_…");
        JetonError::credential_invalid(file, message)
    };
    if !is_api_key(key.reveal()) {
        return Err(invalid());
    }
    bearer(&key).map(Some).ok_or_else(invalid)
}

/// The header of a credential; `None` if it holds what no header may hold.
pub(crate) fn bearer(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns whether a text has the form of an API key: `jtk_`, an id, `_`, and a secret.
fn is_api_key(text: &str) -> bool {
    let Some((id, secret)) = text.strip_prefix("jtk_").and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let of_secret = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    is_id && (20..=128).contains(&secret.len()) && secret.bytes().all(of_secret)
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, JetonError> {
    read_whole(path).map_err(|error| unreadable(path, &error))
}

/// Reads a file up to a length, without the mark of its encoding with which some editors begin a file.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 MiB"));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

pub(crate) fn unreadable(path: &Path, error: &io::Error) -> JetonError {
    let message = format!("The file {} cannot be read: {error}. Check its path and rights.", path.display());
    JetonError::credential_invalid(Some(path), message).with_cause(error.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;

    const KEY: &str = "jtk_0123456789_aaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn an_api_key_has_its_form() {
        assert!(is_api_key(KEY) && is_api_key("jtk_a_bbbbbbbbbb_bbbbbbbb-b"));
        for bad in [
            "",
            "jtk_",
            "jtk_a",
            "jtk_a_short",
            "key",
            "jtk__aaaaaaaaaaaaaaaaaaaaaaaa",
            "jtk_a_aaaaaaaaaaaaaaaaaaaaaaa\n",
        ] {
            assert!(!is_api_key(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_changes_and_the_old_contents_stay_if_it_is_bad() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let write = |text: &str| {
            fs::write(directory.path().join("new"), text).unwrap();
            fs::rename(directory.path().join("new"), &path).unwrap();
        };
        write(&format!("{KEY}\n"));
        let time = Arc::new(watch::Sender::new(Duration::ZERO));
        let origins = Origins { api_key_file: Some(path.clone()), ..Origins::default() };
        let credentials = Credentials::load(origins, Clock::Manual(Arc::clone(&time))).unwrap();
        let shown = || {
            let loaded = credentials.latest();
            loaded.authorization.as_ref().and_then(|it| it.to_str().ok().map(str::to_owned))
        };
        let other = KEY.replace('a', "b");
        write(&other);
        assert_eq!(shown(), Some(format!("Bearer {KEY}")), "it is not time to look");
        time.send_modify(|now| *now += Duration::from_secs(1));
        assert_eq!(shown(), Some(format!("Bearer {other}")));
        write("no key");
        time.send_modify(|now| *now += Duration::from_secs(1));
        assert_eq!(shown(), Some(format!("Bearer {other}")));
    }

    #[test]
    fn what_cannot_be_used_names_its_file() {
        let load = |origins| Credentials::load(origins, Clock::Machine).err().unwrap();
        let missing = load(Origins { ca_file: Some("/nowhere/ca.pem".into()), ..Origins::default() });
        assert!(missing.message().contains("/nowhere/ca.pem") && missing.cause().is_some());
        let endless = load(Origins { ca_file: Some("/dev/zero".into()), ..Origins::default() });
        assert_eq!(endless.cause(), Some("it is longer than 4 MiB"));
        let bad = load(Origins { api_key: Some("hidden".into()), ..Origins::default() });
        assert!(!bad.message().contains("hidden") && bad.kind().name() == "CredentialInvalid");
        load(Origins { cert_file: Some("a".into()), ..Origins::default() });
    }
}
