//! The place and the owner of a cluster's files.
//!
//! Postgres refuses to run as root, so for root it runs as another user, who must be able to reach its files, and whom
//! we do not trust with ours.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::hash::Hasher as _;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The place for root's clusters that cannot be in the wanted directory.
const ELSEWHERE: &str = "/var/lib/jeton";

/// The port that names the socket file; nothing listens on it.
pub(crate) const SOCKET_PORT: u16 = 5432;

/// `sun_path` holds 104 bytes on the narrowest system, one of them NUL; `/.s.PGSQL.5432` takes 14.
const LONGEST_SOCKET_DIRECTORY: usize = 104 - 1 - 14;

/// The user that Postgres runs as, if it is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl User {
    /// `postgres` if it exists, otherwise `nobody`; `None` unless we are root.
    #[must_use]
    pub fn instead_of_root() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let overflow = Self { uid: 65534, gid: 65534 }; // what kernels call nobody
        Some(named(&passwd, "postgres").or_else(|| named(&passwd, "nobody")).unwrap_or(overflow))
    }

    /// Returns whether this user may pass through `directory`, by owner, group and mode.
    fn may_pass(self, directory: &Path) -> bool {
        let Ok(meta) = fs::metadata(directory) else { return false };
        let bit = match (meta.uid() == self.uid, meta.gid() == self.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        meta.mode() & bit != 0
    }

    /// Returns whether this user may reach the contents of `directory`.
    pub(crate) fn may_reach(self, directory: &Path) -> bool {
        directory.ancestors().all(|each| self.may_pass(each))
    }
}

fn named(passwd: &str, name: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Creates `directory` and its parents, and returns the place of the cluster: there, or for root perhaps elsewhere,
/// with a symlink to it.
pub(crate) fn settle(directory: &Path, user: Option<User>) -> anyhow::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        bail!("{} cannot hold a cluster", directory.display());
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let wanted = parent.canonicalize()?.join(name);
    let reachable = user.is_none_or(|user| wanted.parent().is_some_and(|parent| user.may_reach(parent)));
    let place = if reachable { followed(&wanted)? } else { elsewhere(&wanted)? };
    own_directory(&place, None, if user.is_some() { 0o711 } else { 0o700 })?;
    Ok(place)
}

/// A symlink that somebody made on purpose is followed; one to another directory's cluster is not.
fn followed(wanted: &Path) -> anyhow::Result<PathBuf> {
    match fs::read_link(wanted) {
        Ok(target) if target.starts_with(ELSEWHERE) => bail!(misplaced(wanted, &target)),
        Ok(_) => wanted.canonicalize().with_context(|| format!("{} leads nowhere", wanted.display())),
        Err(_) => Ok(wanted.to_owned()),
    }
}

fn elsewhere(wanted: &Path) -> anyhow::Result<PathBuf> {
    let place = Path::new(ELSEWHERE).join(format!("dev-{}", short_hash(wanted)));
    match fs::read_link(wanted) {
        Ok(target) if target == place => return Ok(place),
        Ok(target) => bail!(misplaced(wanted, &target)),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(_) => bail!(
            "Postgres does not run as root, and whom it runs as cannot reach {}: choose another data directory",
            wanted.display()
        ),
    }
    // Without the link, the contents are left from a deleted data directory, whose master key is gone. A postmaster
    // that still runs there ends by itself when it misses its pid file.
    remove(&place)?;
    own_directory(Path::new(ELSEWHERE), None, 0o755)?;
    std::os::unix::fs::symlink(&place, wanted)
        .with_context(|| format!("cannot make {}", wanted.display()))?;
    Ok(place)
}

fn misplaced(wanted: &Path, target: &Path) -> String {
    format!(
        "{} leads to {}, the cluster of another directory: start over with --fresh",
        wanted.display(),
        target.display()
    )
}

/// Removes a cluster's directory, also behind a symlink that [`settle`] made.
pub fn remove_cluster(directory: &Path) -> anyhow::Result<()> {
    match fs::read_link(directory) {
        Ok(target) => {
            let ours = Path::new(ELSEWHERE).join(format!("dev-{}", short_hash(&absolute(directory)?)));
            if target == ours {
                remove(&ours)?;
            }
            fs::remove_file(directory).with_context(|| format!("cannot remove {}", directory.display()))
        }
        Err(_) => remove(directory),
    }
}

/// The path by which [`settle`] identifies a directory: its parent resolved, its last part unchanged.
fn absolute(directory: &Path) -> anyhow::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    match (directory.parent(), directory.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        (_, _) => Ok(directory),
    }
}

/// Removes a directory with its contents, if it exists.
pub(crate) fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", directory.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Creates a directory with this owner (ours, without a user) and mode. An existing one must be ours or theirs: where
/// anybody may write, somebody else could have created it first.
pub fn own_directory(directory: &Path, user: Option<User>, mode: u32) -> anyhow::Result<()> {
    let context = || format!("cannot make {}", directory.display());
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(directory).with_context(context)?;
            let owners = [Some(rustix::process::geteuid().as_raw()), user.map(|user| user.uid)];
            if !meta.is_dir() || !owners.contains(&Some(meta.uid())) {
                bail!("{} is somebody else's", directory.display());
            }
        }
        Err(e) => return Err(e).with_context(context),
    }
    if let Some(user) = user {
        std::os::unix::fs::lchown(directory, Some(user.uid), Some(user.gid)).with_context(context)?;
    }
    fs::set_permissions(directory, Permissions::from_mode(mode)).with_context(context)
}

/// A directory for the socket that only `user` (or we) may enter: in the cluster's directory, or a short one under the
/// temporary directory if that is too long for a socket's address.
pub(crate) fn socket_directory(cluster: &Path, user: Option<User>) -> anyhow::Result<PathBuf> {
    let inside = cluster.join("socket");
    if fits(&inside) {
        own_directory(&inside, user, 0o700)?;
        return Ok(inside);
    }
    for base in temporary_directories(user) {
        let short =
            base.join(format!("jeton-{}-{}", rustix::process::geteuid().as_raw(), short_hash(cluster)));
        if fits(&short) && own_directory(&short, user, 0o700).is_ok() {
            return Ok(short);
        }
    }
    bail!(
        "{} is too long for a socket, and no directory for temporary files will do instead",
        inside.display()
    )
}

fn fits(directory: &Path) -> bool {
    directory.as_os_str().len() <= LONGEST_SOCKET_DIRECTORY
}

/// The directories for temporary files that `user` can reach, the system's choice first.
pub(crate) fn temporary_directories(user: Option<User>) -> impl Iterator<Item = PathBuf> {
    [std::env::temp_dir(), PathBuf::from("/tmp")]
        .into_iter()
        .filter_map(|directory| directory.canonicalize().ok())
        .filter(move |directory| user.is_none_or(|user| user.may_reach(directory)))
}

/// 16 hex digits that stay the same between versions of jeton and of Rust.
fn short_hash(path: &Path) -> String {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(path.as_os_str().as_bytes());
    format!("{:016x}", hasher.finish())
}

/// Percent-encodes all but RFC 3986's unreserved characters and the slash, which a query may contain.
pub(crate) fn percent_encode(text: &OsStr) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(*byte));
            }
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgresql:x:7:8::/:\npostgres:x:105:112:,,,:/var:/bin/bash\n\
                          nobody:*:-2:-2::/:/bin/false\n";

    #[test]
    fn users_are_found_by_their_whole_name() {
        assert_eq!(named(PASSWD, "postgres"), Some(User { uid: 105, gid: 112 }));
        assert_eq!(named(PASSWD, "post"), None);
        assert_eq!(named(PASSWD, "nobody"), None);
    }

    #[test]
    fn a_directory_closed_to_others_stops_them() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let mode = |mode| fs::set_permissions(directory.path(), Permissions::from_mode(mode));
        let stranger = User { uid: 4_000_001, gid: 4_000_001 };
        mode(0o700)?;
        assert!(!stranger.may_pass(directory.path()));
        assert!(!stranger.may_reach(&directory.path().join("below")));
        mode(0o711)?;
        assert!(stranger.may_pass(directory.path()));
        let owner = User { uid: rustix::process::geteuid().as_raw(), gid: 4_000_001 };
        mode(0o077)?;
        assert!(!owner.may_pass(directory.path()), "the owner is judged by the owner's bits alone");
        mode(0o700)?;
        Ok(())
    }

    #[test]
    fn a_long_path_gets_a_short_socket_directory() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let long = directory.path().join("x".repeat(100));
        own_directory(&long, None, 0o700)?;
        let socket = socket_directory(&long, None)?;
        assert!(fits(&socket) && !socket.starts_with(&long), "{}", socket.display());
        assert_eq!(fs::metadata(&socket)?.mode() & 0o777, 0o700);
        assert_eq!(socket_directory(&long, None)?, socket, "the same directory serves again");
        fs::remove_dir(socket)?;
        Ok(())
    }

    #[test]
    fn a_symlink_in_the_place_of_a_directory_is_refused() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link)?;
        assert!(own_directory(&link, None, 0o700).is_err());
        Ok(())
    }

    #[test]
    fn only_what_must_be_is_percent_encoded() {
        assert_eq!(percent_encode(OsStr::new("/tmp/a-b_c.d~e/f")), "/tmp/a-b_c.d~e/f");
        assert_eq!(percent_encode(OsStr::new("/a b/ä?&#%")), "/a%20b/%C3%A4%3F%26%23%25");
    }

    #[test]
    fn hashes_stay_what_they_are() {
        assert_eq!(short_hash(Path::new("/a/b")).len(), 16);
        assert_eq!(short_hash(Path::new("")), "d1fba762150c532c");
    }
}
