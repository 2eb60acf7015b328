//! What this process may do to the machine, and the machine to it: set once, at start. And files of others, of which no
//! more is read than belongs into them.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::disable_transparent_huge_pages,
};

/// Keeps keys out of core dumps, and memory to what is used of it: a page that is touched is not to take two megabytes.
/// What the system refuses is left as it is: it protects, and nothing depends on it.
pub fn settle() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _refused = setrlimit(Resource::Core, none);
    let _refused = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _refused = disable_transparent_huge_pages(true);
}

/// Raises the limit of open descriptors to what this process may have, and gives it.
#[must_use]
pub fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|current| usize::try_from(current).ok()).unwrap_or(usize::MAX)
}

/// Bytes of a file that belongs to the configuration: certificates are the longest.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Permission bits of everybody but a file's owner and group.
const OF_OTHERS: u32 = 0o007;

/// A file of the configuration, whole. Refuses one that is longer than any is, or has no end.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 MiB"));
    }
    Ok(bytes)
}

/// The same, of text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read_file(path)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Whether every user of the machine can read the file.
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|facts| facts.permissions().mode() & OF_OTHERS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_a_file_without_an_end_is_refused() {
        let refused = read_file(Path::new("/dev/zero")).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::FileTooLarge));
        assert!(read_text(Path::new("Cargo.toml")).is_ok_and(|text| text.contains("jeton")));
    }
}
