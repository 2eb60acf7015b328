//! A cluster for one run of tests or measurements: removed at the end, or by a later run if this one is killed.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{
    cluster::{self, Cluster, ClusterOptions},
    place::{self, User},
    process,
};

const PREFIX: &str = "jeton-test-";
const PRIMARY: &str = "postgres";
const STANDBY: &str = "standby";
/// One process starts a handful of these at most.
const ATTEMPTS: u32 = 1_000;

/// A [`Cluster`] in a directory of its own under the temporary directory; both end when this is dropped.
#[derive(Debug)]
pub struct ScratchCluster {
    /// An option, so that the server can end before its directory is removed.
    cluster: Option<Cluster>,
    directory: PathBuf,
    /// Held as long as we live, which tells others that the directory is in use.
    _lock: File,
}

impl ScratchCluster {
    /// Removes what killed runs left, and starts a new cluster that does not wait for the disk.
    pub fn start(binaries: Option<&Path>) -> anyhow::Result<Self> {
        Self::start_as(binaries, false)
    }

    /// The same, as durable as Postgres makes it: commits take their real time.
    pub fn start_durable(binaries: Option<&Path>) -> anyhow::Result<Self> {
        Self::start_as(binaries, true)
    }

    fn start_as(binaries: Option<&Path>, durable: bool) -> anyhow::Result<Self> {
        let Some(base) = place::temporary_directories(User::instead_of_root()).next() else {
            bail!("no directory for temporary files can be reached by whom Postgres runs as");
        };
        sweep(&base, binaries);
        let (directory, lock) = claim(&base)?;
        let options = ClusterOptions {
            directory: directory.join(PRIMARY),
            kept: durable,
            binaries: binaries.map(Path::to_owned),
            settings: Vec::new(),
        };
        // Before the server starts, so that its directory is removed even if it does not start.
        let mut scratch = Self { cluster: None, directory, _lock: lock };
        scratch.cluster = Some(Cluster::start(&options)?);
        Ok(scratch)
    }

    /// A second cluster beside it, a copy that follows it.
    pub fn standby(&self, binaries: Option<&Path>) -> anyhow::Result<Cluster> {
        let options = ClusterOptions {
            directory: self.directory.join(STANDBY),
            kept: false,
            binaries: binaries.map(Path::to_owned),
            settings: Vec::new(),
        };
        let primary = self.cluster.as_ref().context("the cluster has ended")?;
        Cluster::start_standby(&options, primary)
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.cluster.as_ref().map(|cluster| cluster.url(database)).unwrap_or_default()
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.cluster.as_ref().map(Cluster::pid)
    }

    /// Its directory, which is also used for other files of the tests.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for ScratchCluster {
    fn drop(&mut self) {
        drop(self.cluster.take());
        let _ = place::remove(&self.directory);
    }
}

/// A new directory, named by our process, and the lock in it.
fn claim(base: &Path) -> anyhow::Result<(PathBuf, File)> {
    // The user that Postgres runs as must pass through.
    let mode = if User::instead_of_root().is_some() { 0o711 } else { 0o700 };
    for attempt in 0..ATTEMPTS {
        let directory = base.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
        match DirBuilder::new().mode(mode).create(&directory) {
            Ok(()) => {
                place::own_directory(&directory, None, mode)?; // the umask may have taken bits
                // It is renamed when it is locked: whoever finds it unlocked removes the directory.
                let unnamed = directory.join("lock.new");
                let lock = File::create(&unnamed)?;
                lock.try_lock().context("cannot lock a directory that was just made")?;
                fs::rename(unnamed, directory.join("lock"))?;
                return Ok((directory, lock));
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| format!("cannot make {}", directory.display())),
        }
    }
    bail!("no name is left for a directory under {}", base.display())
}

/// Stops and removes abandoned clusters. Never an error: they are not ours.
fn sweep(base: &Path, binaries: Option<&Path>) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let directory = entry.path();
        let Some(pid) = entry.file_name().to_str().and_then(owner_of) else { continue };
        if is_abandoned(&directory, pid)
            && [STANDBY, PRIMARY]
                .iter()
                .all(|it| cluster::stop_leftover(&directory.join(it), binaries).is_ok())
        {
            let _ = place::remove(&directory);
        }
    }
}

/// `jeton-test-4711-0` was made by process 4711.
fn owner_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// The lock tells, which no other process can hold by accident. Before there is a lock, the process number tells.
fn is_abandoned(directory: &Path, pid: u32) -> bool {
    let ours = fs::symlink_metadata(directory)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
    ours && match File::open(directory.join("lock")) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_) => !process::is_alive(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_the_process_that_made_it() {
        assert_eq!(owner_of("jeton-test-4711-0"), Some(4711));
        assert_eq!(owner_of("jeton-test-x"), None);
        assert_eq!(owner_of("elsewhere-4711-0"), None);
    }

    #[test]
    fn a_directory_is_abandoned_only_when_nobody_holds_its_lock() -> anyhow::Result<()> {
        let base = tempfile::tempdir()?;
        let (directory, lock) = claim(base.path())?;
        assert!(!is_abandoned(&directory, std::process::id()));
        drop(lock);
        assert!(is_abandoned(&directory, std::process::id()));
        fs::remove_file(directory.join("lock"))?;
        assert!(!is_abandoned(&directory, std::process::id()), "its maker may not have come to the lock yet");
        Ok(())
    }
}
