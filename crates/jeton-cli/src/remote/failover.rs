//! The first of several servers that answers.

use std::time::Duration;

use jeton_client::Trust;
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    remote::{
        tls::Files,
        tls_words::{Explained, explain},
    },
    term::{escape::escape, exit::Failure, output},
};

/// The longest wait for one of several servers, before the next one is tried.
const OTHERS_WAIT: Duration = Duration::from_secs(3);

/// A server that answers.
#[derive(Debug)]
pub struct Found {
    /// The connection to it.
    pub channel: Channel,
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
pub async fn first_that_answers(urls: &[String], tls: &Files, timeout: Duration) -> Result<Found, Failure> {
    let mut faults = Vec::new();
    if let [url] = urls {
        return Ok(Found { channel: dial(url, tls, timeout).await?, url: url.clone(), faults });
    }
    for url in urls {
        match answering(url, tls, timeout).await? {
            Ok(channel) => return Ok(Found { channel, url: url.clone(), faults }),
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
    tls: &Files,
    timeout: Duration,
) -> Result<Result<Channel, String>, Failure> {
    let patience = timeout.min(OTHERS_WAIT);
    match dial(url, tls, patience).await {
        Ok(channel) => Ok(match look(channel.clone(), patience).await {
            Ok(()) => Ok(channel),
            Err(fault) => Err(format!("{url} {fault}")),
        }),
        Err(Failure::Unreachable(text)) => {
            Ok(Err(text.split_once(". ").map_or(text.clone(), |(clause, _)| clause.to_owned())))
        }
        Err(failure) => Err(failure),
    }
}

/// Asks whether a server serves. One that does not know the question answers, too.
async fn look(channel: Channel, patience: Duration) -> Result<(), &'static str> {
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(patience);
    match tokio::time::timeout(patience, HealthClient::new(channel).check(request)).await {
        Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::NotServing => Err("does not serve"),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) if !is_no_answer(status.code()) => Ok(()),
        Ok(Err(_)) | Err(_) => Err("does not answer"),
    }
}

/// Returns whether a refusal may come from the way to the server, or from one that ends.
fn is_no_answer(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
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
pub fn root_cause(error: &dyn std::error::Error) -> String {
    escape(&jeton_client::root_cause(error))
}
