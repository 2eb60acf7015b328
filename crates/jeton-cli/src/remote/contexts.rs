//! Named deployments, kept in `contexts.toml`. It names the file or the program that has a credential, never the
//! credential.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use jeton_io::files;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::tls::Files;
use crate::{
    invocation::Cli,
    term::{exit::Failure, private_file::write_private},
};

/// One deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The public listeners: one, or several, of which the first that answers is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_several")]
    pub endpoint: Vec<String>,
    /// The addresses of the admin listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_several")]
    pub admin_endpoint: Vec<String>,
    /// The file with the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The program that prints the API key, and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credential_command: Vec<String>,
    /// The authorities of the servers' certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// The client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
}

impl Context {
    /// Its files for TLS.
    #[must_use]
    pub fn tls(&self) -> Files {
        Files { ca: self.tls_ca.clone(), certificate: self.tls_cert.clone(), key: self.tls_key.clone() }
    }
}

/// Texts in TOML: one text, or a list of them.
mod one_or_several {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Several(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(texts: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match texts {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Texts::deserialize(deserializer)? {
            Texts::One(one) => vec![one],
            Texts::Several(several) => several,
        })
    }
}

/// All deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The name of the one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default, rename = "context")]
    pub contexts: BTreeMap<String, Context>,
}

/// The context to use, with its name: the named one, otherwise the current one, if any.
pub fn chosen(cli: &Cli<'_>) -> Result<Option<(String, Context)>, Failure> {
    let named = cli.globals.context.as_deref();
    let mut all = match (path(cli), named) {
        (Ok(path), _) => load(&path)?,
        (Err(_), None) => return Ok(None),
        (Err(failure), Some(_)) => return Err(failure),
    };
    let Some(name) = named.map(str::to_owned).or(all.current) else { return Ok(None) };
    let context = all.contexts.remove(&name).ok_or_else(|| unknown(&name))?;
    Ok(Some((name, context)))
}

/// The failure for a name that no context has.
#[must_use]
pub fn unknown(name: &str) -> Failure {
    Failure::Usage(format!("there is no context {name:?}. `jeton context list` shows them all."))
}

/// The file that holds the contexts.
pub fn path(cli: &Cli<'_>) -> Result<PathBuf, Failure> {
    // Base directory specification: a relative path in the variable is ignored.
    let base = cli.env.xdg_config_home.clone().filter(|path| path.is_absolute());
    let base = base.or_else(|| cli.env.home.as_ref().map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        Failure::Usage("contexts need a home directory. Set HOME or XDG_CONFIG_HOME.".into())
    })?;
    Ok(base.join("jeton").join("contexts.toml"))
}

/// Reads all contexts.
pub fn load(path: &Path) -> Result<Contexts, Failure> {
    let text = match files::read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
        Err(error) => return Err(Failure::Local(format!("cannot read {}: {error}.", path.display()))),
    };
    toml::from_str(&text).map_err(|error| {
        Failure::Usage(format!(
            "{} is malformed: {}. Mend it, or remove it.",
            path.display(),
            error.message()
        ))
    })
}

/// Saves all contexts or none, readable by this user alone.
pub fn save(path: &Path, all: &Contexts) -> Result<(), Failure> {
    let text = toml::to_string(all)
        .map_err(|error| Failure::Local(format!("cannot write the contexts: {error}.")))?;
    write_private(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn the_file_comes_back_as_it_was_and_is_private() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("jeton").join("contexts.toml");
        let context = Context {
            endpoint: vec!["http://a:1".into()],
            admin_endpoint: vec!["http://a:2".into(), "http://b:2".into()],
            api_key_file: Some("/keys/a".into()),
            tls_ca: Some("/keys/ca.pem".into()),
            ..Context::default()
        };
        let all = Contexts { current: Some("prod".into()), contexts: [("prod".to_owned(), context)].into() };
        assert!(save(&path, &all).is_ok());
        assert!(matches!(load(&path), Ok(read) if read == all));
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap_or(&path))?.count(), 1, "no temporary file is left");
        Ok(())
    }

    #[test]
    fn no_file_means_no_contexts() {
        assert!(
            matches!(load(Path::new("/nonexistent/contexts.toml")), Ok(all) if all == Contexts::default())
        );
    }
}
