//! The server and the credential: from flags, then the context, then the files of `jeton dev` in `./.jeton`.

use std::{collections::HashMap, future::Future, io::ErrorKind, path::PathBuf, sync::Once, time::Duration};

use jeton_client::{Bearer, Trust};
use secrecy::SecretString;
use serde::Deserialize;
use tonic::{Code, Request, Response, Status, transport::Channel};

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::{
        contexts,
        tls::{self, Files},
        tls_words::{Explained, explain},
    },
    term::{
        exit::{Exit, Failure},
        output, token_input,
    },
};
use jeton_io::files;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The client as which the command line calls a server that `jeton dev` started.
const DEV_CLIENT: &str = "dev-admin";

/// One of a server's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The listener of every service but `AdminService`.
    Public,
    /// For people, and for wide targets.
    Admin,
}

/// The authentication of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A credential is sent; without one the call fails.
    Required,
    /// Public facts: no credential is sent.
    Anonymous,
}

/// A channel, and the credential and deadline that every request on it carries.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    url: String,
    authorization: Option<Bearer>,
    timeout: Duration,
}

impl Connection {
    /// The channel, for a generated client.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// A request with credential and deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        if let Some(bearer) = &self.authorization {
            bearer.add_to(&mut request);
        }
        request
    }

    /// Waits for an answer, no longer than the deadline: a server that hangs does not hold a script.
    pub async fn call<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let late = || {
            let waited = self.timeout.as_secs_f64();
            Status::deadline_exceeded(format!(
                "No answer within {waited} s. Try again, or give more with --timeout."
            ))
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            // Either side's transport may enforce the same deadline first, with a text that helps nobody.
            Ok(Err(status)) if is_bare_timeout(&status) => Err(late().into()),
            // Not an answer of the server: the source of the error says more than "transport error".
            Ok(Err(status)) => match std::error::Error::source(&status) {
                Some(cause) if status.details().is_empty() => {
                    let Explained { cause, advice } = explain(&root_cause(cause), &self.url);
                    Err(Failure::Unreachable(format!("the connection failed: {cause}. {advice}")))
                }
                _ => Err(status.into()),
            },
            Err(_) => Err(late().into()),
        }
    }
}

/// Returns whether a transport enforced the deadline: the server's refusals carry details.
fn is_bare_timeout(status: &Status) -> bool {
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) && status.details().is_empty()
}

/// The API key of a source, and the URLs to which it may be sent.
enum Credential {
    Key(SecretString),
    File(PathBuf),
}

/// The facts that one source (a context, or `dev.json`) has about a deployment.
#[derive(Default)]
struct Source {
    public: Option<String>,
    admin: Option<String>,
    ops: Option<String>,
    credential: Option<Credential>,
    /// The other URLs that the credential is good for.
    also: Vec<String>,
    /// Its files for TLS.
    tls: Files,
}

/// Connects to a listener.
pub async fn open(cli: &Cli<'_>, listener: Listener, identity: Identity) -> Result<Connection, Failure> {
    destination(cli, listener, identity)?.dial().await
}

/// The target of a connection, with credential and TLS. Nothing is sent yet.
pub struct Destination {
    url: String,
    tls: Files,
    authorization: Option<Bearer>,
    timeout: Duration,
}

impl Destination {
    /// Connects.
    pub async fn dial(self) -> Result<Connection, Failure> {
        let Self { url, tls, authorization, timeout } = self;
        arm_interrupt();
        if authorization.is_some() && tls::is_exposed(&url) {
            output::talk(&format!(
                "warning: the API key goes to {url} in plaintext. Use https://, or a mesh that encrypts."
            ));
        }
        let channel = dial(&url, &tls, timeout).await?;
        Ok(Connection { channel, url, authorization, timeout })
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The files for TLS.
    #[must_use]
    pub fn tls(&self) -> &Files {
        &self.tls
    }
}

/// The destination that flags, context and `dev.json` give for a listener.
pub fn destination(cli: &Cli<'_>, listener: Listener, identity: Identity) -> Result<Destination, Failure> {
    let source = source(cli)?;
    let (flag, known, name) = match listener {
        Listener::Public => (&cli.globals.endpoint, &source.public, "--endpoint"),
        Listener::Admin => (&cli.globals.admin_endpoint, &source.admin, "--admin-endpoint"),
    };
    let Some(given) = flag.as_ref().or(known.as_ref()) else {
        return Err(Failure::Usage(format!(
            "no server is known for this verb. Give {name}, add a context, or start `jeton dev` in this directory."
        )));
    };
    let url = url(given);
    let known = if source.knows(&url) { source.tls.clone() } else { Files::default() };
    let tls = Files::given(cli.globals)?.or(known);
    let authorization = match identity {
        Identity::Required => authorization(cli, &source, &url, &tls)?,
        Identity::Anonymous => None,
    };
    Ok(Destination { url, tls, authorization, timeout: timeout(cli) })
}

/// The ops listener of the server that calls go to, if `dev.json` names it.
pub fn ops_address(cli: &Cli<'_>) -> Result<Option<String>, Failure> {
    Ok(source(cli)?.ops.filter(|_| cli.globals.endpoint.is_none()))
}

/// The ops listener of that server, if both of its listeners have their usual ports.
pub fn usual_ops_address(cli: &Cli<'_>) -> Option<String> {
    const PUBLIC: &str = ":7070";
    const OPS: &str = ":7072";
    let destination = destination(cli, Listener::Public, Identity::Anonymous).ok()?;
    let (_, authority) = destination.url.split_once("://")?;
    Some(format!("{}{OPS}", authority.strip_suffix(PUBLIC)?))
}

/// The deadline of one call.
#[must_use]
pub fn timeout(cli: &Cli<'_>) -> Duration {
    cli.globals.timeout.and_then(|asked| asked.try_into().ok()).unwrap_or(DEFAULT_TIMEOUT)
}

async fn dial(url: &str, tls: &Files, timeout: Duration) -> Result<Channel, Failure> {
    // The files are read only where they are used.
    let trust = if url.starts_with("https://") { tls.trust()? } else { Trust::default() };
    let endpoint =
        jeton_client::endpoint(url, &trust).map_err(|error| Failure::Usage(escape(&error.to_string())))?;
    let unreachable = |cause: String| {
        let Explained { cause, advice } = explain(&cause, url);
        Failure::Unreachable(format!("cannot reach {url}: {cause}. {advice}"))
    };
    match tokio::time::timeout(timeout, endpoint.connect()).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(unreachable(root_cause(&error))),
        Err(_) => Err(unreachable(format!("no connection within {} s", timeout.as_secs_f64()))),
    }
}

/// The end of the chain of errors, fit for a terminal.
fn root_cause(error: &dyn std::error::Error) -> String {
    escape(&jeton_client::root_cause(error))
}

/// Completes a URL: ready files contain, and people write, a bare `host:port`.
fn url(given: &str) -> String {
    let url = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    url.trim_end_matches('/').to_owned()
}

impl Source {
    /// Returns whether its credential was given for this URL: a mistyped --endpoint must not collect it.
    fn knows(&self, url: &str) -> bool {
        let own = [&self.public, &self.admin].into_iter().flatten().chain(&self.also);
        own.map(|known| self::url(known)).any(|known| known == url)
    }
}

fn source(cli: &Cli<'_>) -> Result<Source, Failure> {
    if let Some(chosen) = contexts::chosen(cli)? {
        let tls = chosen.tls();
        return Ok(Source {
            public: chosen.endpoint,
            admin: chosen.admin_endpoint,
            ops: None,
            credential: chosen.api_key_file.map(Credential::File),
            also: Vec::new(),
            tls,
        });
    }
    dev_source(cli)
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

fn dev_source(cli: &Cli<'_>) -> Result<Source, Failure> {
    let path = cli.env.current_dir.join(".jeton").join("dev.json");
    let text = match files::read_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            return Err(Failure::Usage(format!("cannot read {}: {error}.", path.display())));
        }
        Err(_) => return Ok(Source::default()),
    };
    let mut dev: DevFile = serde_json::from_str(&text).map_err(|error| {
        Failure::Usage(format!("{} is not what `jeton dev` writes: {error}. Start it again.", path.display()))
    })?;
    Ok(Source {
        public: Some(dev.public),
        admin: Some(dev.admin),
        ops: dev.ops,
        credential: dev.clients.remove(DEV_CLIENT).map(|key| Credential::Key(key.into())),
        also: dev.servers.into_iter().flat_map(|server| [server.public, server.admin]).collect(),
        tls: Files::default(),
    })
}

/// The API key to send; `None` if a certificate authenticates.
fn authorization(cli: &Cli<'_>, source: &Source, url: &str, tls: &Files) -> Result<Option<Bearer>, Failure> {
    let from_source = || source.credential.as_ref().filter(|_| source.knows(url));
    let key = match (&cli.globals.api_key_file, from_source()) {
        (Some(path), _) | (None, Some(Credential::File(path))) => token_input::api_key_from_file(path)?,
        (None, Some(Credential::Key(key))) => key.clone(),
        (None, None) if tls.shows_certificate() && url.starts_with("https://") => return Ok(None),
        (None, None) => {
            return Err(Failure::Usage(format!(
                "no credential is known for {url}. Give --api-key-file or --tls-cert, or add a context with one."
            )));
        }
    };
    let bearer = Bearer::new(&key).map_err(|_| {
        Failure::Usage("the API key holds characters that no key has. Check the file.".into())
    })?;
    Ok(Some(bearer))
}

/// From the first call on, Ctrl-C ends the program with its own exit code. Before it nothing was sent, and a prompt
/// restores the terminal by itself.
fn arm_interrupt() {
    static ARMED: Once = Once::new();
    ARMED.call_once(|| {
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                output::talk(if token_input::is_asking() {
                    "interrupted. Nothing was done."
                } else {
                    "interrupted. The request may have taken effect: check, or run the command again."
                });
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Color, Environment, GlobalArgs, term::output::Output};

    #[test]
    fn a_credential_goes_where_it_was_given_for_and_nowhere_else() {
        let globals = GlobalArgs {
            context: None,
            endpoint: None,
            admin_endpoint: None,
            api_key_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            output: None,
            timeout: None,
            no_input: true,
            color: Color::Never,
        };
        let env = Environment {
            home: None,
            xdg_config_home: None,
            no_color: true,
            current_dir: PathBuf::new(),
            now: || Timestamp::UNIX_EPOCH,
        };
        let cli = Cli { globals: &globals, env: &env, output: Output::new(None, Color::Never, true) };
        let source = Source {
            public: Some("127.0.0.1:7070".into()),
            credential: Some(Credential::Key("jtk_x".into())),
            also: vec!["127.0.0.1:7080".into()],
            ..Source::default()
        };
        let sent = |url| authorization(&cli, &source, url, &Files::default()).is_ok();
        assert!(sent("http://127.0.0.1:7070"));
        assert!(sent("http://127.0.0.1:7080"));
        assert!(!sent("http://127.0.0.1:7090"));
    }

    #[test]
    fn an_address_becomes_a_url() {
        assert_eq!(url("127.0.0.1:7070"), "http://127.0.0.1:7070");
        assert_eq!(url("http://jeton:7070/"), "http://jeton:7070");
        assert_eq!(url("https://jeton"), "https://jeton");
    }
}
