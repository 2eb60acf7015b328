//! The place of Postgres' programs on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// jeton uses features of Postgres 15; older servers are not tried.
const OLDEST_MAJOR: u32 = 15;

/// Parents of versioned installations, and the part of a child's name before the version.
const INSTALLATIONS: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),                       // Debian, Ubuntu
    ("/usr", "pgsql-"), // the PostgreSQL project's packages for Fedora and its kin
    ("/opt/homebrew/opt", "postgresql@"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@"), // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"), // Homebrew on Linux
];

const ADVICE: &str = "install it (Debian and Ubuntu: `apt-get install postgresql`; Fedora: `dnf install \
                      postgresql-server`; macOS: `brew install postgresql@17`)";

/// The programs of one Postgres installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    /// The newest installation on the machine, or the one in `given`, which must be one.
    pub fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(directory) = given {
            return Self::given(directory);
        }
        newest(candidates().iter().filter_map(|directory| Self::inspect(directory).ok())).with_context(|| {
            format!(
                "PostgreSQL {OLDEST_MAJOR} or newer is needed and was not found: {ADVICE}, or give --database-url"
            )
        })
    }

    /// Like [`Binaries::find`], but of this major version: a cluster can be read only by the version that made it.
    pub fn find_major(given: Option<&Path>, major: u32) -> anyhow::Result<Self> {
        if let Some(directory) = given {
            let found = Self::given(directory)?;
            if found.major == major {
                return Ok(found);
            }
            bail!(
                "the cluster was made by PostgreSQL {major}, and {} holds {}",
                directory.display(),
                found.major
            );
        }
        candidates()
            .iter()
            .filter_map(|directory| Self::inspect(directory).ok())
            .find(|found| found.major == major)
            .with_context(|| {
                format!("the cluster was made by PostgreSQL {major}, which is not here any more: {ADVICE}")
            })
    }

    /// Its major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The full path of one of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn given(directory: &Path) -> anyhow::Result<Self> {
        let found = Self::inspect(directory)
            .with_context(|| format!("{} is no directory of PostgreSQL's programs", directory.display()))?;
        if found.major < OLDEST_MAJOR {
            bail!("{} holds PostgreSQL {}, and {OLDEST_MAJOR} is needed", directory.display(), found.major);
        }
        Ok(found)
    }

    /// Asks the programs themselves: a directory's name proves nothing, and on PATH there is none.
    fn inspect(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.canonicalize()?;
        for name in ["initdb", "pg_ctl"] {
            if !directory.join(name).is_file() {
                bail!("no {name}");
            }
        }
        let output = Command::new(directory.join("postgres"))
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .context("postgres")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let major = major_of(&text).with_context(|| format!("`postgres --version` said {text:?}"))?;
        Ok(Self { directory, major })
    }
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The first one of the highest version.
fn newest(found: impl Iterator<Item = Binaries>) -> Option<Binaries> {
    found
        .filter(|each| each.major >= OLDEST_MAJOR)
        .reduce(|best, each| if each.major > best.major { each } else { best })
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in INSTALLATIONS {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
                found.push(entry.path().join("bin"));
            }
        }
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH belongs to the system: it configures nothing of jeton's"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path).filter(|directory| directory.is_absolute()));
    found.retain(|directory| directory.join("postgres").is_file());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(directory: &str, major: u32) -> Binaries {
        Binaries { directory: directory.into(), major }
    }

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 17.2 (Homebrew)"), Some(17));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn the_newest_wins_and_old_ones_are_not_taken() {
        let found = [binaries("/a", 15), binaries("/b", 17), binaries("/c", 17), binaries("/d", 9)];
        assert_eq!(newest(found.into_iter()), Some(binaries("/b", 17)));
        assert_eq!(newest([binaries("/d", 14)].into_iter()), None);
    }

    #[test]
    fn a_directory_without_the_programs_is_refused_by_name() {
        let refusal = Binaries::find(Some(Path::new("/nowhere/bin"))).map_err(|e| e.to_string());
        assert!(refusal.as_ref().is_err_and(|text| text.contains("/nowhere/bin")), "{refusal:?}");
    }
}
