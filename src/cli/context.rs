//! `jeton context`: named deployments in `contexts.toml`. It names the file that holds a credential, never the
//! credential.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Cli,
    exit::{Exit, Failure},
    json, output,
    tls::Files,
    token_input::check_key_file_name,
};
use crate::process;

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum ContextCommand {
    /// Keep --endpoint, --admin-endpoint, --api-key-file and the files of TLS under a name
    Add {
        /// Its name
        name: String,
    },
    /// Use this context from now on
    Use {
        /// Its name
        name: String,
    },
    /// List contexts
    List,
    /// Forget a context
    Remove {
        /// Its name
        name: String,
    },
}

/// One deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The public listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The admin listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_endpoint: Option<String>,
    /// The file with the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
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

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default, rename = "context")]
    contexts: BTreeMap<String, Context>,
}

/// The context to use: the named one, otherwise the current one, if any.
pub fn chosen(cli: &Cli<'_>) -> Result<Option<Context>, Failure> {
    let named = cli.globals.context.as_deref();
    let mut all = match (path(cli), named) {
        (Ok(path), _) => load(&path)?,
        (Err(_), None) => return Ok(None),
        (Err(failure), Some(_)) => return Err(failure),
    };
    let Some(name) = named.map(str::to_owned).or(all.current) else { return Ok(None) };
    all.contexts.remove(&name).map(Some).ok_or_else(|| unknown(&name))
}

/// Runs one of the verbs.
pub fn run(cli: &Cli<'_>, command: ContextCommand) -> Result<Exit, Failure> {
    let path = path(cli)?;
    let mut all = load(&path)?;
    match command {
        ContextCommand::Add { name } => {
            check_name(&name)?;
            let done = match all.contexts.insert(name.clone(), given(cli)?) {
                Some(_) => "replaced",
                None => "added",
            };
            save(&path, &all)?;
            output::talk(&format!(
                "{done} {name}. Use it with `jeton context use {name}`, or --context {name}."
            ));
        }
        ContextCommand::Use { name } => {
            if !all.contexts.contains_key(&name) {
                return Err(unknown(&name));
            }
            all.current = Some(name.clone());
            save(&path, &all)?;
            output::talk(&format!("using {name}."));
        }
        ContextCommand::List => list(cli, &all)?,
        ContextCommand::Remove { name } => {
            all.contexts.remove(&name).ok_or_else(|| unknown(&name))?;
            if all.current.as_ref() == Some(&name) {
                all.current = None;
            }
            save(&path, &all)?;
            output::talk(&format!("removed {name}. The file with its API key is untouched."));
        }
    }
    Ok(Exit::Done)
}

/// Checks a name: it is typed on command lines, and shown.
fn check_name(name: &str) -> Result<(), Failure> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Failure::Usage("a context's name is printable ASCII without spaces. Give another.".into()))
}

fn given(cli: &Cli<'_>) -> Result<Context, Failure> {
    let globals = cli.globals;
    if let Some(path) = &globals.api_key_file {
        check_key_file_name(path)?;
    }
    if globals.endpoint.is_none() && globals.admin_endpoint.is_none() {
        return Err(Failure::Usage(
            "a context needs a server. Give --endpoint, --admin-endpoint or both.".into(),
        ));
    }
    // The next call may come from another directory.
    let tls = Files::given(globals)?.absolute(&cli.env.current_dir);
    Ok(Context {
        endpoint: globals.endpoint.clone(),
        admin_endpoint: globals.admin_endpoint.clone(),
        api_key_file: globals.api_key_file.as_ref().map(|file| cli.env.current_dir.join(file)),
        tls_ca: tls.ca,
        tls_cert: tls.certificate,
        tls_key: tls.key,
    })
}

fn list(cli: &Cli<'_>, all: &Contexts) -> Result<(), Failure> {
    if cli.output.wants_json()? {
        let contexts: Vec<_> = all
            .contexts
            .iter()
            .map(|(name, context)| {
                serde_json::json!({
                    "name": name,
                    "current": all.current.as_ref() == Some(name),
                    "endpoint": context.endpoint,
                    "adminEndpoint": context.admin_endpoint,
                    "apiKeyFile": context.api_key_file,
                    "tlsCa": context.tls_ca,
                    "tlsCert": context.tls_cert,
                    "tlsKey": context.tls_key,
                })
            })
            .collect();
        return output::data(&json::of_own(&serde_json::json!({ "contexts": contexts }))?);
    }
    let row = |(name, context): (&String, &Context)| {
        let current = if all.current.as_ref() == Some(name) { "*" } else { "-" };
        let shown =
            |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        vec![
            current.to_owned(),
            name.clone(),
            context.endpoint.clone().unwrap_or_default(),
            context.admin_endpoint.clone().unwrap_or_default(),
            shown(&context.api_key_file),
            shown(&context.tls_ca),
            shown(&context.tls_cert),
        ]
    };
    let rows = all.contexts.iter().map(row).collect();
    output::table(&["", "NAME", "ENDPOINT", "ADMIN ENDPOINT", "API KEY FILE", "CA", "CERTIFICATE"], rows)
}

fn unknown(name: &str) -> Failure {
    Failure::Usage(format!("there is no context {name:?}. `jeton context list` shows them all."))
}

fn path(cli: &Cli<'_>) -> Result<PathBuf, Failure> {
    // Base directory specification: a relative path in the variable is ignored.
    let base = cli.env.xdg_config_home.clone().filter(|path| path.is_absolute());
    let base = base.or_else(|| cli.env.home.as_ref().map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        Failure::Usage("contexts need a home directory. Set HOME or XDG_CONFIG_HOME.".into())
    })?;
    Ok(base.join("jeton").join("contexts.toml"))
}

fn load(path: &Path) -> Result<Contexts, Failure> {
    let text = match process::read_text(path) {
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
fn save(path: &Path, all: &Contexts) -> Result<(), Failure> {
    let text = toml::to_string(all)
        .map_err(|error| Failure::Local(format!("cannot write the contexts: {error}.")))?;
    write_private(path, text.as_bytes())
}

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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_comes_back_as_it_was_and_is_private() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("jeton").join("contexts.toml");
        let context = Context {
            endpoint: Some("http://a:1".into()),
            admin_endpoint: None,
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
