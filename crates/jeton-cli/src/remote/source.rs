//! What is known of a deployment: from a context, or from the files of `jeton dev` in `./.jeton`.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use jeton_io::files;
use jeton_token::{ApiKey, pasted::without_blanks};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::{
    invocation::Cli,
    remote::{
        contexts,
        credential_command::{self, CredentialCommand},
        endpoint::{EXAMPLE, Endpoints},
        tls::Files,
    },
    term::{exit::Failure, token_input},
};

/// The client as which the command line calls a server that `jeton dev` started.
const DEV_CLIENT: &str = "dev-admin";
/// A file in the directory of `jeton dev`, from its first run on.
const DEV_LOCK: &str = "dev.lock";

/// Where an API key comes from.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Its text.
    Key(SecretString),
    /// A file that holds it.
    File(PathBuf),
    /// A program that prints it.
    Command(CredentialCommand),
}

impl Credential {
    /// The API key. A text of another form is sent nowhere, and not repeated.
    pub async fn read(&self) -> Result<SecretString, Failure> {
        let (text, place) = match self {
            Self::Key(key) => (key.clone(), ".jeton/dev.json".to_owned()),
            Self::File(path) => (token_input::api_key_from_file(path)?, path.display().to_string()),
            Self::Command(command) => {
                (credential_command::output(command).await?, "what credential_command printed".to_owned())
            }
        };
        let key = without_blanks(text.expose_secret());
        if ApiKey::parse(key).is_some() {
            return Ok(key.into());
        }
        Err(Failure::Usage(format!(
            "{place} is no API key, so it was not sent. Give what `jeton client add-key` printed: jtk_ and 66 characters."
        )))
    }
}

/// The facts that one source (a context, or `dev.json`) has about a deployment.
#[derive(Default)]
pub struct Source {
    /// The public listener.
    pub public: Option<Endpoints>,
    /// The admin listener.
    pub admin: Option<Endpoints>,
    /// The ops listener.
    pub ops: Option<String>,
    /// The credential, which may be sent to the URLs above.
    pub credential: Option<Credential>,
    /// Its files for TLS.
    pub tls: Files,
    /// Set if it is `jeton dev`: where it writes which servers run.
    pub dev: Option<PathBuf>,
}

impl Source {
    /// The source that the flags and the current directory give.
    pub fn of(cli: &Cli<'_>) -> Result<Self, Failure> {
        let Some((name, chosen)) = contexts::chosen(cli)? else {
            return of_dev(&cli.env.current_dir.join(".jeton").join("dev.json"));
        };
        let listener = |texts: &[String], key: &str| {
            Endpoints::of(texts).map_err(|fault| {
                Failure::Usage(format!(
                    "{key} of context {name} is no address of a server: {fault}. {EXAMPLE}."
                ))
            })
        };
        let command = chosen.credential_command.clone();
        let credential = match (&chosen.api_key_file, command.is_empty()) {
            (Some(file), _) => Some(Credential::File(file.clone())),
            (None, false) => {
                Some(Credential::Command(CredentialCommand { words: command, file: contexts::path(cli)? }))
            }
            (None, true) => None,
        };
        Ok(Self {
            public: listener(&chosen.endpoint, "endpoint")?,
            admin: listener(&chosen.admin_endpoint, "admin_endpoint")?,
            ops: None,
            credential,
            tls: chosen.tls(),
            dev: None,
        })
    }

    /// Returns whether its credential was given for this URL: a mistyped --endpoint must not collect it.
    #[must_use]
    pub fn knows(&self, url: &str) -> bool {
        let own = [&self.public, &self.admin];
        own.into_iter().flatten().any(|endpoints| endpoints.have(url))
    }
}

/// The part of `dev.json` that a client needs.
#[derive(Deserialize)]
struct DevFile {
    public: String,
    admin: String,
    #[serde(default)]
    ops: Option<String>,
    #[serde(default)]
    servers: Vec<DevServer>,
    #[serde(default)]
    clients: HashMap<String, String>,
}

#[derive(Deserialize)]
struct DevServer {
    public: String,
    admin: String,
}

/// The directory of a `jeton dev`, and one of the listeners of its servers.
#[derive(Clone, Debug)]
pub struct DevHome {
    /// Its `dev.json`.
    pub file: PathBuf,
    /// Of a source, the endpoints of that listener.
    pub listener: fn(&Source) -> Option<&Endpoints>,
}

impl DevHome {
    /// The URLs of the servers that run now; `None` if none does.
    #[must_use]
    pub fn urls(&self) -> Option<Vec<String>> {
        let source = of_dev(&self.file).ok()?;
        (self.listener)(&source).map(|endpoints| endpoints.urls().to_vec())
    }
}

/// The servers of the `jeton dev` that writes this file. It removes the file when they end, and keeps its directory.
fn of_dev(path: &Path) -> Result<Source, Failure> {
    let text = match files::read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            return Err(Failure::Usage(format!("cannot read {}: {error}.", path.display())));
        }
        Err(_) => {
            let was_here = path.parent().is_some_and(|home| home.join(DEV_LOCK).is_file());
            return Ok(Source { dev: was_here.then(|| path.to_owned()), ..Source::default() });
        }
    };
    let wrong = |fault: &dyn std::fmt::Display| {
        Failure::Usage(format!("{} is not what `jeton dev` writes: {fault}. Start it again.", path.display()))
    };
    let mut dev: DevFile = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    // The first server, and then the others: the first stands in the list, too.
    let all = |first: String, others: Vec<String>| {
        let others = others.into_iter().filter(|other| *other != first);
        let all: Vec<_> = std::iter::once(first.clone()).chain(others).collect();
        Endpoints::of(&all).map_err(|fault| wrong(&fault))
    };
    let (public, admin) = dev.servers.into_iter().map(|server| (server.public, server.admin)).unzip();
    Ok(Source {
        public: all(dev.public, public)?,
        admin: all(dev.admin, admin)?,
        ops: dev.ops,
        credential: dev.clients.remove(DEV_CLIENT).map(|key| Credential::Key(key.into())),
        tls: Files::default(),
        dev: Some(path.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_where_it_was_given_for_and_nowhere_else() {
        let source =
            Source { public: Endpoints::parse("127.0.0.1:7070,127.0.0.1:7080").ok(), ..Source::default() };
        assert!(source.knows("http://127.0.0.1:7070"));
        assert!(source.knows("http://127.0.0.1:7080"));
        assert!(!source.knows("http://127.0.0.1:7090"));
        assert!(!source.knows("https://127.0.0.1:7070"), "another scheme is another server");
    }

    #[tokio::test]
    async fn e22_a_text_that_is_no_api_key_is_not_sent() {
        let key = ApiKey::generate();
        assert!(Credential::Key(key.expose().into()).read().await.is_ok());
        let cut = key.expose().get(..30).unwrap_or_default();
        for text in ["", "jtk_x", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", cut] {
            let refused = Credential::Key(text.into()).read().await;
            let said = refused.err().map(|failure| failure.lines().concat()).unwrap_or_default();
            assert!(said.contains("is no API key") && (text.is_empty() || !said.contains(text)), "{said}");
        }
    }
}
