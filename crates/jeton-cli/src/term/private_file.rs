//! Files that only their owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::exit::Failure;

/// Writes a file that only its owner can read, through a temporary file beside it and a rename: so it is complete or
/// absent.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = temporary(path);
    let write = || {
        let mut file = create_private(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // A left-over file may hold a secret; that it is gone already is no error.
        let _gone = fs::remove_file(&temporary);
        cannot_write(path, &error)
    })
}

/// Makes sure that [`write_private`] will find a directory that it may write to.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let temporary = temporary(path);
    if path.is_dir() {
        return Err(cannot_write(path, &ErrorKind::IsADirectory.into()));
    }
    create_private(&temporary)
        .and_then(|_| fs::remove_file(&temporary))
        .map_err(|error| cannot_write(path, &error))
}

fn create_private(path: &Path) -> std::io::Result<File> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Local(format!("cannot write {}: {error}.", path.display()))
}
