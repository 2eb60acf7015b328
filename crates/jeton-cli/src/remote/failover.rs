//! The first of several servers that answers.

use std::time::Duration;

use jeton_client::{Client, Code, Health, Secret};

use crate::{
    remote::{failures, tls::Files},
    term::{exit::Failure, output},
};

/// The longest wait for one of several servers, before the next one is tried.
const OTHERS_WAIT: Duration = Duration::from_secs(3);

/// What a server is shown, and how it is known.
#[derive(Clone, Debug)]
pub struct Access {
    /// The API key.
    pub key: Option<Secret>,
    /// The files for TLS.
    pub tls: Files,
}

/// A server that answers.
#[derive(Debug)]
pub struct Found {
    /// The client that is connected to it.
    pub client: Client,
    /// Its URL.
    pub url: String,
    /// Why those before it were passed over.
    faults: Vec<String>,
}

impl Found {
    /// Says which servers were passed over, if any was.
    pub fn tell(&self) {
        if !self.faults.is_empty() {
            output::talk(&format!("{}; using {}.", self.faults.join("; "), self.url));
        }
    }
}

/// Connects to the first of these that answers. Nothing but a question about its health is sent to it, and that only if
/// there are several.
pub async fn first_that_answers(
    urls: &[String],
    access: &Access,
    timeout: Duration,
) -> Result<Found, Failure> {
    let mut faults = Vec::new();
    if let [url] = urls {
        return Ok(Found { client: dial(url, access, timeout).await?, url: url.clone(), faults });
    }
    for url in urls {
        match answering(url, access, timeout).await? {
            Ok(client) => return Ok(Found { client, url: url.clone(), faults }),
            Err(fault) => faults.push(fault),
        }
    }
    let (count, faults) = (urls.len(), faults.join("; "));
    Err(Failure::Unreachable(format!(
        "none of the {count} endpoints answers: {faults}. Are the servers running, and the addresses right?"
    )))
}

/// Connects to one of several servers, and asks whether it serves. The inner error is a clause that names it.
pub async fn answering(
    url: &str,
    access: &Access,
    timeout: Duration,
) -> Result<Result<Client, String>, Failure> {
    let patience = timeout.min(OTHERS_WAIT);
    match dial(url, access, patience).await {
        Ok(client) => Ok(match look(&client, patience).await {
            Ok(()) => Ok(client),
            Err(fault) => Err(format!("{url} {fault}")),
        }),
        Err(Failure::Unreachable(text)) => {
            Ok(Err(text.split_once(". ").map_or(text.clone(), |(clause, _)| clause.to_owned())))
        }
        Err(failure) => Err(failure),
    }
}

/// Asks whether a server serves. One that does not know the question answers, too.
async fn look(client: &Client, patience: Duration) -> Result<(), &'static str> {
    match client.within(patience).health("").await {
        Ok(Health::NotServing) => Err("does not serve"),
        Err(error) if is_no_answer(error.code()) => Err("does not answer"),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns whether a refusal may come from the way to the server, or from one that ends.
fn is_no_answer(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

async fn dial(url: &str, access: &Access, timeout: Duration) -> Result<Client, Failure> {
    // Whoever sends a key in plaintext is warned.
    let builder = Client::builder(url).allow_plaintext().connect_timeout(timeout);
    let builder = access.key.iter().fold(builder, |builder, key| builder.api_key(key.clone()));
    // The files are read only where they are used.
    let builder = if url.starts_with("https://") { access.tls.given_to(builder) } else { builder };
    let client = builder.build().map_err(|error| failures::of_client(&error))?;
    client.connect().await.map_err(|error| failures::of_connection(&error, url))?;
    Ok(client)
}
