//! Doctor's first check: whether the server has started. One that waits to start answers only probes, on its ops listener.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::check::Check;
use crate::{
    invocation::Cli,
    remote::{
        connect,
        endpoint::{has_port, url},
    },
    term::exit::Failure,
};

/// The name of the check.
const NAME: &str = "ready";
/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// The ops listener, http://host:port, which answers before the server has started [default: that of `jeton dev`, or
    /// port 7072 if the public listener has port 7070]
    #[arg(long, env = "JETON_OPS_ENDPOINT", value_name = "URL")]
    ops_endpoint: Option<String>,
}

/// The result of the check.
pub enum Readiness {
    /// The server has started, or nobody knows.
    Started(Option<Check>),
    /// It has not started: it answers no other check.
    Starting(Check),
}

/// Asks `/readyz`.
pub async fn ready(cli: &Cli<'_>, args: &DoctorArgs) -> Result<Readiness, Failure> {
    let known = connect::ops_address(cli)?;
    let given = args.ops_endpoint.as_deref().or(known.as_deref());
    let guessed = if given.is_some() { None } else { connect::usual_ops_address(cli) };
    let Some(url) = given.or(guessed.as_deref()) else { return Ok(Readiness::Started(None)) };
    let authority = authority(url).map_err(|fault| {
        Failure::Usage(format!("--ops-endpoint is no address of a server: {fault}. Write http://host:port, as in http://127.0.0.1:7072."))
    })?;
    match tokio::time::timeout(connect::timeout(cli), asked(&authority)).await {
        Ok(Ok(Some(answer))) => Ok(judge(&answer)),
        // Whatever is there, it is not known to be this server's.
        _ if guessed.is_some() => Ok(Readiness::Started(None)),
        Ok(Ok(None)) => Ok(Readiness::Started(Some(unknown(format!("{url} does not answer as jeton does"))))),
        Ok(Err(error)) => Ok(Readiness::Started(Some(unknown(format!("{url} cannot be reached: {error}"))))),
        Err(_) => Ok(Readiness::Started(Some(unknown(format!("{url} did not answer in time"))))),
    }
}

fn unknown(detail: String) -> Check {
    Check::warn(NAME, detail, "Start the server, or correct --ops-endpoint.")
}

/// The host and the port of a URL; the ops listener speaks plaintext.
fn authority(given: &str) -> Result<String, &'static str> {
    let url = url(given)?;
    let authority = url.strip_prefix("http://").ok_or("the ops listener speaks http")?;
    if has_port(authority) { Ok(authority.to_owned()) } else { Err("it has no port") }
}

/// The body of the answer; `None` if it is not one of jeton's.
async fn asked(authority: &str) -> std::io::Result<Option<String>> {
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok(body.filter(|body| answer.starts_with("HTTP/1.1 ") && checks(body).next().is_some()))
}

/// The checks in a body: their texts, and whether they are good.
fn checks(body: &str) -> impl Iterator<Item = (bool, &str)> {
    body.lines().filter_map(|line| {
        line.strip_prefix("[+]").map(|text| (true, text)).or_else(|| Some((false, line.strip_prefix("[-]")?)))
    })
}

fn judge(body: &str) -> Readiness {
    let failed: Vec<&str> = checks(body).filter(|(good, _)| !good).map(|(_, text)| text).collect();
    if failed.iter().any(|text| text.starts_with("started ")) {
        let causes = failed.iter().filter(|text| !text.starts_with("started "));
        let causes: Vec<&str> =
            causes.map(|text| text.split_once(" failed: ").map_or(*text, |(_, cause)| cause)).collect();
        return Readiness::Starting(if causes.is_empty() {
            Check::fail(
                NAME,
                "the server has not started, and answers nothing but probes".into(),
                "It waits for the database, or has begun just now: look at its log.",
            )
        } else {
            Check::fail(
                NAME,
                format!("the server has not started: {}", causes.join("; ")),
                "It answers nothing but probes until then. Its log says more.",
            )
        });
    }
    Readiness::Started(Some(if failed.is_empty() {
        Check::ok(NAME, "it is".into())
    } else {
        let names: Vec<&str> = failed.iter().map(|text| text.trim_end_matches(" failed")).collect();
        Check::fail(
            NAME,
            format!("it is not: {}", names.join(", ")),
            "Balancers pass it over. The checks below, and its log, say why.",
        )
    }))
}

/// The check that stands for those that were not made since the server did not answer.
pub fn stopped(waited: Duration) -> Check {
    Check::warn(
        "rest",
        format!("not checked: there was no answer within {} s", waited.as_secs_f64()),
        "Give --ops-endpoint to see whether the server waits to start; otherwise look at its log, its load and the way to it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> (bool, bool, String) {
        match judge(body) {
            Readiness::Starting(check) => (true, check.is_ok(), check.detail.clone()),
            Readiness::Started(Some(check)) => (false, check.is_ok(), check.detail.clone()),
            Readiness::Started(None) => (false, true, String::new()),
        }
    }

    #[test]
    fn what_a_server_waits_for_is_said() {
        let waits = "[-]started failed\n[-]epoch failed: run `jeton epoch bump`\n";
        assert_eq!(said(waits), (true, false, "the server has not started: run `jeton epoch bump`".into()));
        assert!(said("[-]started failed\n").0);
        assert_eq!(said("[+]lease ok\n[+]key ok\n"), (false, true, "it is".into()));
        let text = "[-]lease failed\n[+]key ok\n[-]clock failed\n";
        assert_eq!(said(text), (false, false, "it is not: lease, clock".into()));
        assert_eq!(authority("http://[::1]:7072/").as_deref(), Ok("[::1]:7072"));
        for wrong in
            ["", "http://h", "http://[::1]", "https://h:1", "h:x", ":1", "http://h:1/x", "http://u:p@h:1"]
        {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }
}
