//! The server and the credential: from flags, then the context, then the files of `jeton dev` in `./.jeton`.

use std::{path::Path, sync::Once, time::Duration};

use jeton_client::{Client, Code, JetonError, Secret};
use secrecy::ExposeSecret as _;

use crate::{
    invocation::Cli,
    remote::{
        endpoint::Endpoints,
        failover::{self, Access, Found},
        failures,
        methods::Method,
        patience::{Patience, Ways, attempt},
        source::{Credential, DevHome, Source},
        tls::{self, Files},
    },
    term::{
        exit::{Exit, Failure, Refusal},
        interrupt, output, token_input,
    },
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A server that answered, and how it is called.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    url: String,
    timeout: Duration,
    again: Option<(Patience, Ways)>,
}

impl Connection {
    /// The client, for a call that streams: it sets no deadline.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The deadline of a call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Makes a call, and waits for its answer no longer than the deadline: a server that hangs does not hold a script.
    pub async fn call<M: Method>(&self, request: M) -> Result<M::Answer, Failure> {
        let answer = match &self.again {
            Some((patience, ways)) if M::REPEATS => {
                Box::pin(ways.insist(self.client.clone(), request, self.timeout, patience)).await
            }
            _ => Box::pin(request.send(&attempt(&self.client, self.timeout))).await,
        };
        answer.map_err(|error| self.failed(&error))
    }

    /// The same for a call that changes something. If no answer came, these words also say what is not known, and what to
    /// do.
    pub async fn change<M: Method>(&self, request: M, in_doubt: &str) -> Result<M::Answer, Failure> {
        self.call(request).await.map_err(|failure| self::in_doubt(failure, in_doubt))
    }

    /// An error of a call to this server, in words of the command line.
    #[must_use]
    pub fn failed(&self, error: &JetonError) -> Failure {
        failures::of_call(error, &self.url, self.timeout)
    }
}

/// What to do after a call whose answer was lost, if a second one does no harm.
pub const SAFE_AGAIN: &str = "Whether it was done is not known: run the same command again, which is safe.";

/// The failure, with these words if no answer came.
pub fn in_doubt(failure: Failure, words: &str) -> Failure {
    match failure {
        Failure::Unreachable(text) => Failure::Unreachable(format!("{text} {words}")),
        Failure::Refused(refusal) if is_no_answer(&refusal) => {
            let message = format!("{} {words}", refusal.message.trim_end());
            Failure::Refused(Refusal { message, ..refusal })
        }
        failure @ (Failure::Usage(_)
        | Failure::Local(_)
        | Failure::Interrupted
        | Failure::Refused(_)
        | Failure::BadValue { .. }) => failure,
    }
}

/// Returns whether it is not an answer of a server: those carry details.
fn is_no_answer(refusal: &Refusal) -> bool {
    let codes = [Code::Cancelled, Code::DeadlineExceeded, Code::Unavailable, Code::Unknown, Code::Internal];
    codes.contains(&refusal.code) && refusal.is_bare()
}

/// Connects to a listener.
pub async fn open(cli: &Cli<'_>, listener: Listener, identity: Identity) -> Result<Connection, Failure> {
    let patience = Patience::of(cli);
    loop {
        // Looked up at each attempt: the servers of `jeton dev` have other ports when it was started again.
        let reached = match destination(cli, listener, identity) {
            Ok(destination) => destination.dial().await,
            Err(failure) => Err(failure),
        };
        match reached {
            Err(failure @ Failure::Unreachable(_)) => match &patience {
                Some(patience) if patience.wait(&format!("{}.", short(&failure))).await => {}
                _ => return Err(failure),
            },
            reached => return reached,
        }
    }
}

/// The target of a connection, with credential and TLS. Nothing is sent yet.
#[derive(Clone, Debug)]
pub struct Destination {
    /// At least one; the first that answers is used.
    urls: Vec<String>,
    dev: Option<DevHome>,
    tls: Files,
    credential: Option<Credential>,
    timeout: Duration,
    patience: Option<Patience>,
}

impl Destination {
    /// Connects: to the first of the servers that answers. It tries each once.
    pub async fn dial(self) -> Result<Connection, Failure> {
        arm_interrupt();
        let Self { urls, dev, tls, credential, timeout, patience } = self;
        let key = match &credential {
            Some(credential) => Some(Secret::new(credential.read().await?.expose_secret())),
            None => None,
        };
        let access = Access { key, tls };
        let found = failover::first_that_answers(&urls, &access, timeout).await?;
        found.tell();
        let Found { client, url, .. } = found;
        if access.key.is_some() && tls::is_exposed(&url) {
            output::talk(&format!(
                "warning: the API key goes to {url} in plaintext. Use https://, or a mesh that encrypts."
            ));
        }
        let again = patience.map(|patience| (patience, Ways { urls, dev, access, timeout }));
        Ok(Connection { client, url, timeout, again })
    }

    /// The same, giving up at the first failure.
    #[must_use]
    pub fn without_patience(self) -> Self {
        Self { patience: None, ..self }
    }

    /// The URLs: at least one.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The files for TLS.
    #[must_use]
    pub fn tls(&self) -> &Files {
        &self.tls
    }
}

/// The destination that flags, context and `dev.json` give for a listener.
pub fn destination(cli: &Cli<'_>, listener: Listener, identity: Identity) -> Result<Destination, Failure> {
    let source = Source::of(cli)?;
    let (flag, name) = match listener {
        Listener::Public => (&cli.globals.endpoint, "--endpoint"),
        Listener::Admin => (&cli.globals.admin_endpoint, "--admin-endpoint"),
    };
    let own: fn(&Source) -> Option<&Endpoints> = match listener {
        Listener::Public => |source| source.public.as_ref(),
        Listener::Admin => |source| source.admin.as_ref(),
    };
    let Some(given) = flag.as_ref().or_else(|| own(&source)) else {
        if let Some(file) = &source.dev {
            return Err(dev_is_away(file, name));
        }
        return Err(Failure::Usage(format!(
            "no server is known for this verb. Give {name}, add a context, or start `jeton dev` in this directory."
        )));
    };
    let urls = given.urls().to_vec();
    let is_known = urls.iter().all(|url| source.knows(url));
    let known = if is_known { source.tls.clone() } else { Files::default() };
    let tls = Files::given(cli.globals)?.or(known);
    let credential = match identity {
        Identity::Required => credential(cli, &source, &urls, &tls)?,
        Identity::Anonymous => None,
    };
    let dev = source.dev.clone().filter(|_| flag.is_none()).map(|file| DevHome { file, listener: own });
    Ok(Destination { urls, dev, tls, credential, timeout: timeout(cli), patience: Patience::of(cli) })
}

/// The failure where `jeton dev` ran, and none of its servers runs now.
fn dev_is_away(file: &Path, flag: &str) -> Failure {
    Failure::Unreachable(format!(
        "no server of `jeton dev` runs in this directory: it would be named in {}. Start it again, or give {flag}.",
        file.display()
    ))
}

/// Returns whether a server is known for a listener.
pub fn is_known(cli: &Cli<'_>, listener: Listener) -> bool {
    destination(cli, listener, Identity::Anonymous).is_ok()
}

/// The ops listener of the server that calls go to, if `dev.json` names it.
pub fn ops_address(cli: &Cli<'_>) -> Result<Option<String>, Failure> {
    Ok(Source::of(cli)?.ops.filter(|_| cli.globals.endpoint.is_none()))
}

/// The ops listener of that server, if both of its listeners have their usual ports, and it is the only one.
pub fn usual_ops_address(cli: &Cli<'_>) -> Option<String> {
    const PUBLIC: &str = ":7070";
    const OPS: &str = ":7072";
    let destination = destination(cli, Listener::Public, Identity::Anonymous).ok()?;
    let [url] = destination.urls.as_slice() else { return None };
    let (_, authority) = url.split_once("://")?;
    Some(format!("{}{OPS}", authority.strip_suffix(PUBLIC)?))
}

/// The deadline of one call.
#[must_use]
pub fn timeout(cli: &Cli<'_>) -> Duration {
    cli.globals.timeout.and_then(|asked| asked.try_into().ok()).unwrap_or(DEFAULT_TIMEOUT)
}

/// The credential to send; `None` if a certificate authenticates.
fn credential(
    cli: &Cli<'_>,
    source: &Source,
    urls: &[String],
    tls: &Files,
) -> Result<Option<Credential>, Failure> {
    if let Some(path) = &cli.globals.api_key_file {
        return Ok(Some(Credential::File(path.clone())));
    }
    if let Some(credential) = source.credential.as_ref().filter(|_| urls.iter().all(|url| source.knows(url)))
    {
        return Ok(Some(credential.clone()));
    }
    if tls.shows_certificate() && urls.iter().all(|url| url.starts_with("https://")) {
        return Ok(None);
    }
    if let Some(file) = source.dev.as_ref().filter(|_| source.public.is_none()) {
        return Err(dev_is_away(file, "--api-key-file"));
    }
    let urls = urls.join(", ");
    Err(Failure::Usage(format!(
        "no credential is known for {urls}. Give --api-key-file or --tls-cert, or add a context with one."
    )))
}

/// The first sentence of a failure, with a capital.
fn short(failure: &Failure) -> String {
    let text = failure.lines().into_iter().next().unwrap_or_default();
    let text = text.trim_start_matches("error: ");
    let clause = text.split_once(". ").map_or(text, |(clause, _)| clause);
    let mut letters = clause.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// From the first call on, Ctrl-C ends the program with its own exit code. Before it nothing was sent, and a prompt
/// restores the terminal by itself.
fn arm_interrupt() {
    static ARMED: Once = Once::new();
    ARMED.call_once(|| {
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                let usual = if token_input::is_asking() {
                    "interrupted. Nothing was done."
                } else {
                    "interrupted. The request may have taken effect: check, or run the command again."
                };
                output::talk(&interrupt::words().unwrap_or_else(|| usual.to_owned()));
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        });
    });
}
