//! Files that only their owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::exit::Failure;

/// Writes a file of jeton's own, through a temporary file beside it and a rename: so it is complete or absent. Makes its
/// directory.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = temporary(path);
    let write = || {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = create(&temporary)?;
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

/// Makes sure that [`write_new_secret`] will be able to write: nothing has this name, and the directory is there. It is
/// called before the secret is made.
pub fn check_new_secret(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    if path.symlink_metadata().is_ok() {
        return Err(Failure::Usage(format!(
            "{shown} exists, and is not replaced: it may hold another secret. Give a new name, or move it away first."
        )));
    }
    let temporary = temporary(path);
    match create(&temporary).and_then(|_| fs::remove_file(&temporary)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path).display();
            Err(Failure::Usage(format!(
                "{shown} cannot be written: there is no directory {directory}. Make it first: mkdir -p {directory}"
            )))
        }
        Err(error) => Err(cannot_write(path, &error)),
    }
}

/// Writes a secret to a file that did not exist, for its owner alone. A file that was not written whole is removed.
pub fn write_new_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = create(path).map_err(|error| cannot_write(path, &error))?;
    file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // That it is gone already is no error.
        let _gone = fs::remove_file(path);
        cannot_write(path, &error)
    })
}

/// Creates a file, and follows no link.
fn create(path: &Path) -> std::io::Result<File> {
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
