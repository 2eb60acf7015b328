//! Files, read up to a length.

use std::{
    fs::File,
    io::{self, BufRead as _, Read as _},
    iter,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// The greatest length of a configuration file, bytes: certificates are the longest.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The greatest length of a log that is read, bytes, and of a line in it.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const LINE_BYTES_MAX: u64 = 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Permission bits of everybody but a file's owner and group.
const OF_OTHERS: u32 = 0o007;

/// Reads a configuration file. Refuses one that is too long or endless.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(too_large("it is longer than 4 MiB"));
    }
    Ok(bytes)
}

/// The same for PEM, without a byte order mark.
pub fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = read(path)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// The same for text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// A clause for people, if every user of the machine can read a file that holds a secret.
#[must_use]
pub fn open_to_others(path: &Path, what: &str) -> Option<String> {
    let is_open = path.metadata().is_ok_and(|facts| facts.permissions().mode() & OF_OTHERS != 0);
    is_open.then(|| format!("every user of this machine can read the {what} {}: chmod o= it", path.display()))
}

/// The lines of a file that may be as long as a log. Refuses longer lines and reads no more than the greatest length of
/// a log.
pub fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let mut file = io::BufReader::new(File::open(path)?.take(LOG_BYTES_MAX));
    Ok(iter::from_fn(move || {
        let mut line = Vec::new();
        match file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) if file.get_ref().limit() == 0 => Some(Err(too_large("it is longer than 4 GiB"))),
            Ok(0) => None,
            Ok(_)
                if !line.ends_with(b"\n")
                    && u64::try_from(line.len()).is_ok_and(|len| len >= LINE_BYTES_MAX) =>
            {
                Some(Err(too_large("it has a line longer than 1 MiB")))
            }
            Ok(_) => Some(Ok(String::from_utf8_lossy(&line).into_owned())),
            Err(error) => Some(Err(error)),
        }
    }))
}

fn too_large(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_a_file_without_an_end_is_refused() {
        let refused = read(Path::new("/dev/zero")).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::FileTooLarge));
        assert!(read_text(Path::new("Cargo.toml")).is_ok_and(|text| text.contains("jeton-io")));
    }

    #[test]
    fn e15_a_log_is_read_line_by_line_and_up_to_a_length() {
        let of = |path: &str| lines(Path::new(path)).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let refused = of("/dev/zero").map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::FileTooLarge));
        assert!(of("Cargo.toml").is_ok_and(|lines| lines.concat().contains("\nname = \"jeton-io\"\n")));
        assert!(of("/dev/null").is_ok_and(|lines| lines.is_empty()));
    }
}
