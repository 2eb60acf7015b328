//! The data directory of `jeton dev`: used by one process at a time, and containing only our files.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jeton_io::files;
use jeton_postgres::place::{self, User};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::{dev::DevClient, mint::MasterKey};

/// Locked while `jeton dev` runs; it also marks the directory as ours.
const LOCK: &str = "dev.lock";
const CLUSTER: &str = "postgres";
const MASTER_KEY: &str = "master.key";
const CLIENTS: &str = "clients.json";
const PROBE_KEY: &str = "probe.key";
const ADMIN_KEY: &str = "dev-admin.key";
const DEV_JSON: &str = "dev.json";
/// `server-1.json`: the ready file of one server.
const READY_FILE: (&str, &str) = ("server-", ".json");

/// The directory in which the client verbs look by default.
const DEFAULT: &str = ".jeton";

/// The data directory, locked.
#[derive(Debug)]
pub(super) struct Home {
    directory: PathBuf,
    _lock: File,
}

impl Home {
    /// Creates or takes the directory. A directory with other contents, or in use, is refused.
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        if !directory.join(LOCK).is_file() && fs::read_dir(&directory)?.next().is_some() {
            bail!("{} is not empty and not from `jeton dev`: choose another --data-dir", directory.display());
        }
        // The user that Postgres runs as must pass through to its own files.
        let mode = if User::instead_of_root().is_some() { 0o711 } else { 0o700 };
        place::own_directory(&directory, None, mode)?;
        let lock = lock(&directory)?;
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.directory.join(CLUSTER)
    }

    pub(super) fn dev_json(&self) -> PathBuf {
        self.directory.join(DEV_JSON)
    }

    /// The ready file of a server; the first server has number 1.
    pub(super) fn ready_file(&self, number: u8) -> PathBuf {
        let (prefix, suffix) = READY_FILE;
        self.directory.join(format!("{prefix}{number}{suffix}"))
    }

    /// The ready files that exist, also of runs with more servers than this one.
    pub(super) fn ready_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let is_ready_file = |name: &str| {
            let (prefix, suffix) = READY_FILE;
            let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
            number.is_some_and(|number| number.parse::<u8>().is_ok())
        };
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_ready_file))
            .map(|entry| entry.path())
            .collect()
    }

    /// Returns whether the client verbs find it by default, from here.
    pub(super) fn is_default(&self) -> bool {
        Path::new(DEFAULT).canonicalize().is_ok_and(|default| default == self.directory)
    }

    /// Removes everything that we may have made, except the lock.
    pub(super) fn empty(&self) -> anyhow::Result<()> {
        place::remove_cluster(&self.cluster())?;
        for name in [MASTER_KEY, CLIENTS, PROBE_KEY, ADMIN_KEY, DEV_JSON] {
            remove_file(&self.directory.join(name))?;
        }
        self.ready_files().iter().try_for_each(|file| Ok(remove_file(file)?))
    }

    /// The file of the master key; made once, 64 hex digits.
    pub(super) fn master_key_file(&self) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(MASTER_KEY);
        if !path.exists() {
            let key = MasterKey::generate()
                .map_err(|malformed| anyhow::anyhow!("no master key: {}", malformed.rule))?;
            let text = key.to_text();
            self.write_private(MASTER_KEY, &format!("{}\n", text.as_str()))?;
        }
        Ok(path)
    }

    /// The clients with their API keys, which stay the same between runs.
    pub(super) fn clients(
        &self,
        wanted: &[(&'static str, bool)],
        generate_api_key: fn() -> String,
    ) -> anyhow::Result<Vec<DevClient>> {
        let path = self.directory.join(CLIENTS);
        let mut keys: serde_json::Map<String, Value> = match files::read_text(&path) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?
            }
            Err(e) if e.kind() == ErrorKind::NotFound => serde_json::Map::new(),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let known = keys.len();
        let mut clients = Vec::new();
        for &(client_id, admin) in wanted {
            let key = keys.entry(client_id).or_insert_with(|| generate_api_key().into());
            let text = key.as_str().with_context(|| format!("{} is damaged", path.display()))?;
            clients.push(DevClient { client_id, api_key: SecretString::from(text), admin });
        }
        if keys.len() != known {
            self.write_private(CLIENTS, &format!("{:#}\n", Value::from(keys)))?;
        }
        Ok(clients)
    }

    /// The file of the API key with which the servers probe each other: that of one of the clients.
    pub(super) fn probe_key_file(&self, client: &DevClient) -> anyhow::Result<PathBuf> {
        self.write_private(PROBE_KEY, &format!("{}\n", client.api_key.expose_secret()))?;
        Ok(self.directory.join(PROBE_KEY))
    }

    pub(super) fn write_dev_json(&self, content: &Value) -> anyhow::Result<()> {
        self.write_private(DEV_JSON, &format!("{content:#}\n"))
    }

    /// The file with the administrator's API key, for client verbs elsewhere.
    pub(super) fn write_admin_key(&self, api_key: &SecretString) -> anyhow::Result<PathBuf> {
        self.write_private(ADMIN_KEY, &format!("{}\n", api_key.expose_secret()))?;
        Ok(self.directory.join(ADMIN_KEY))
    }

    /// Removes the files of servers, so that an ended server does not look like a running one.
    pub(super) fn forget_servers(&self) {
        for file in self.ready_files().iter().chain([&self.dev_json()]) {
            let _ = remove_file(file);
        }
    }

    /// Writes a whole file that only we can read.
    fn write_private(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let new = self.directory.join(format!("{name}.new"));
        let write = || {
            remove_file(&new)?; // of a run that was killed
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

fn lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join(LOCK);
    let context = || format!("cannot lock {}", path.display());
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(context)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).with_context(context)?;
            bail!("another `jeton dev` (process {}) uses {}", pid.trim(), directory.display());
        }
        Err(fs::TryLockError::Error(e)) => return Err(e).with_context(context),
    }
    file.set_len(0).and_then(|()| file.rewind()).with_context(context)?;
    writeln!(file, "{}", std::process::id()).with_context(context)?;
    Ok(file)
}

/// Removes a file, if it exists.
fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode_of(path: &Path) -> std::io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_refused_and_left_alone() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let theirs = directory.path().join("thesis.tex");
        fs::write(&theirs, "words")?;
        assert!(Home::open(directory.path()).is_err());
        assert_eq!(fs::read_dir(directory.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_directory() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let home = Home::open(&directory.path().join("data"))?;
        let second = Home::open(home.directory()).map(|_| ()).map_err(|e| e.to_string());
        let pid = format!("(process {})", std::process::id());
        assert!(second.as_ref().is_err_and(|text| text.contains(&pid)), "{second:?}");
        Ok(())
    }

    #[test]
    fn secrets_are_kept_between_runs_and_are_ours_alone() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("data");
        let first = Home::open(&path)?;
        let key = fs::read_to_string(first.master_key_file()?)?;
        assert!(MasterKey::parse(&key).is_ok());
        assert_eq!(mode_of(&first.master_key_file()?)?, 0o600);
        let generated = first.clients(&[("a", false)], || "one".to_owned())?;
        drop(first);
        let second = Home::open(&path)?;
        assert_eq!(fs::read_to_string(second.master_key_file()?)?, key);
        let read = second.clients(&[("a", false), ("b", true)], || "two".to_owned())?;
        let texts: Vec<_> = generated.iter().chain(&read).map(|each| each.api_key.expose_secret()).collect();
        assert_eq!(texts, ["one", "one", "two"]);
        assert_eq!(mode_of(&second.directory().join(CLIENTS))?, 0o600);
        let [client, _] = read.as_slice() else { anyhow::bail!("two clients") };
        let probe_key = second.probe_key_file(client)?;
        assert_eq!((fs::read_to_string(&probe_key)?.as_str(), mode_of(&probe_key)?), ("one\n", 0o600));
        second.empty()?;
        assert!(!probe_key.exists());
        Ok(())
    }

    #[test]
    fn starting_over_removes_only_our_files() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let home = Home::open(&directory.path().join("data"))?;
        home.master_key_file()?;
        fs::create_dir_all(home.cluster().join("data"))?;
        fs::write(home.ready_file(20), "{}")?;
        for name in ["note", "server-x.json"] {
            fs::write(home.directory().join(name), "theirs")?;
        }
        home.empty()?;
        let mut left: Vec<_> =
            fs::read_dir(home.directory())?.flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, [LOCK, "note", "server-x.json"]);
        Ok(())
    }
}
